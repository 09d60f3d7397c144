"""Distances from rows to the closest training rows, in the units of a fitted density.

The coordinates of a row are its code and its residual, each divided by its unit: components of the
code by their posterior standard deviation, residuals by their standard deviation. Two rows that the
model cannot distinguish have a distance of about one for each coordinate.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import iqr
from sklearn.neighbors import NearestNeighbors

# Coordinates are clipped to this size, so that their squares are finite.
_MAX_COORDINATE = 1e100
# A training row is its own neighbour at a distance of zero, but for rounding errors of this size,
# relative to the distance of the farthest neighbour.
_SAME_ROW = 1e-3


def units_of(
    codes_and_residuals: NDArray[np.float64],
    code_variances: NDArray[np.float64],
    *,
    per_feature: bool,
    n_pseudo_rows: int = 0,
) -> NDArray[np.float64]:
    """Return the units of the coordinates, from the codes and residuals of training rows.

    Parameters
    ----------
    codes_and_residuals : ndarray of shape (n_rows, n_components + n_features)
        Codes and residuals of training rows.
    code_variances : ndarray of shape (n_rows, n_components)
        Posterior variances of the codes.
    per_feature : bool
        Whether the residual of each feature has its own unit.
    n_pseudo_rows : int, default=0
        Number of additional rows whose residuals are one, so that no unit is zero.

    Returns
    -------
    units : ndarray of shape (n_components + n_features,)
        Positive units.
    """
    n_components = code_variances.shape[1]
    residuals = codes_and_residuals[:, n_components:]
    total = np.square(residuals).sum(axis=0) + n_pseudo_rows
    variances = total / (len(residuals) + n_pseudo_rows)
    if not per_feature:
        variances[:] = variances.mean()
    units = np.sqrt(np.concatenate([code_variances.mean(axis=0), variances]))
    return np.where(units > 0, units, 1.0)


def mean_distances(
    rows: NDArray[np.float64], training_rows: NDArray[np.float64], n_neighbors: int
) -> NDArray[np.float64]:
    """Return the mean distance of rows to their closest training rows.

    A training row is not a neighbour of itself: one neighbour at the distance zero is left out.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_coordinates)
        Coordinates of rows.
    training_rows : ndarray of shape (n_training_rows, n_coordinates)
        Coordinates of training rows.
    n_neighbors : int
        Number of neighbours, less than the number of training rows.

    Returns
    -------
    distances : ndarray of shape (n_rows,)
    """
    rows, training_rows = (
        np.clip(part, -_MAX_COORDINATE, _MAX_COORDINATE) for part in (rows, training_rows)
    )
    search = NearestNeighbors(n_neighbors=n_neighbors + 1, algorithm="brute").fit(training_rows)
    distances, _ = search.kneighbors(rows)
    is_itself = distances[:, 0] <= _SAME_ROW * distances[:, -1]
    others = np.where(is_itself[:, None], distances[:, 1:], distances[:, :-1])
    means: NDArray[np.float64] = others.mean(axis=1)
    return means


@dataclass(frozen=True)
class DistanceScore:
    """Score of a distance with the median and the spread that another score has.

    Attributes
    ----------
    intercept, slope : float
        The score is ``intercept - slope * distance``.
    """

    intercept: float
    slope: float

    @classmethod
    def with_spread_of(
        cls, scores: NDArray[np.float64], distances: NDArray[np.float64]
    ) -> "DistanceScore":
        """Return the score with the median and spread of `scores` for the given distances.

        The spread is the interquartile range, or the standard deviation if the interquartile range
        of the distances is zero. If all distances are equal, no row has a low score.
        """
        for spread in (iqr, np.std):
            if unit := float(spread(distances)):
                slope = float(spread(scores)) / unit
                return cls(float(np.median(scores) + slope * np.median(distances)), slope)
        return cls(np.inf, 0.0)

    def __call__(self, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the scores of distances."""
        return self.intercept - self.slope * distances
