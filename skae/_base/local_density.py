"""Distances from rows to the closest training rows, in the units of a fitted density.

The coordinates of a row are its code and its residual, each divided by its unit: components of the
code by their posterior standard deviation, residuals by their standard deviation. Two rows that the
model cannot distinguish have a distance of about one for each coordinate.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from .._data.weights import ROUNDING, Weights, quantile

# At most this number of training rows, and of their coordinates, is stored.
_MAX_ROWS, _MAX_NUMBERS = 10_000, 2**23
# Coordinates are clipped to this size, so that their squares are finite.
_MAX_COORDINATE = 1e100
# A training row is its own neighbour at a distance of zero, but for rounding errors of this size,
# relative to the distance of the farthest neighbour.
_SAME_ROW = 1e-3
_QUARTILES = (0.25, 0.5, 0.75)
# Smallest spread of distances that is not zero, for one coordinate.
_MIN_SPREAD = 0.01


def n_stored_rows(n_coordinates: int) -> int:
    """Return the maximum number of training rows that are stored."""
    return min(_MAX_ROWS, max(2, _MAX_NUMBERS // n_coordinates))


def units_of(
    code_variances: NDArray[np.float64], residual_variances: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the units of the coordinates of a row, given variances; one for a variance of zero."""
    units = np.sqrt(np.concatenate([code_variances, residual_variances]))
    return np.where(units > 0, units, 1.0)


def coordinates_of(
    codes_and_residuals: NDArray[np.float64], units: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the coordinates of rows; numbers that overflow become the largest coordinate."""
    with np.errstate(over="ignore"):
        coordinates = codes_and_residuals / units
    np.nan_to_num(coordinates, copy=False, nan=_MAX_COORDINATE)
    return np.clip(coordinates, -_MAX_COORDINATE, _MAX_COORDINATE, out=coordinates)


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """Training rows that are stored, with which other rows are compared.

    Attributes
    ----------
    coordinates : ndarray of shape (n_training_rows, n_coordinates)
        Coordinates of the training rows.
    units : ndarray of shape (n_coordinates,)
        Units of the coordinates.
    weights : ndarray of shape (n_training_rows,) or None
        Weights of the training rows. A row of weight 2 counts as two neighbours. None means that
        all weights are one.
    """

    coordinates: NDArray[np.float64]
    units: NDArray[np.float64]
    weights: Weights

    @property
    def n_rows(self) -> int:
        """Number of rows, or the sum of their weights, rounded down."""
        if self.weights is None:
            return len(self.coordinates)
        return int(self.weights.sum() * (1 + ROUNDING))  # such as 19.9999999, which is 20 rows

    def mean_distances(
        self, codes_and_residuals: NDArray[np.float64], n_neighbors: int
    ) -> NDArray[np.float64]:
        """Return the mean distance of rows to their closest training rows.

        A training row is not a neighbour of itself: one neighbour at the distance zero is left out.

        Parameters
        ----------
        codes_and_residuals : ndarray of shape (n_rows, n_coordinates)
            Codes and residuals of rows.
        n_neighbors : int
            Number of neighbours, less than the number of training rows.

        Returns
        -------
        distances : ndarray of shape (n_rows,)
        """
        rows, training_rows = coordinates_of(codes_and_residuals, self.units), self.coordinates
        squares = np.einsum("ij,ij->i", training_rows, training_rows) - 2 * rows @ training_rows.T
        nearest = _nearest(squares, self.weights, n_neighbors + 1)
        # `squares` has rounding errors: equal rows would not have the distance zero
        distances = np.array([np.linalg.norm(rows - training_rows[i], axis=1) for i in nearest.T])
        order = np.argsort(distances, axis=0)
        distances = np.take_along_axis(distances, order, axis=0)
        counts = np.ones(distances.shape)
        if self.weights is not None:
            counts = np.take_along_axis(self.weights[nearest.T], order, axis=0)
        before = np.cumsum(counts, axis=0) - counts
        farthest = np.where(before < n_neighbors + 1, distances, 0).max(axis=0)
        is_itself = distances[0] <= _SAME_ROW * farthest
        parts = np.clip(n_neighbors + is_itself - before, 0, counts)
        parts -= is_itself * np.clip(1 - before, 0, counts)
        means: NDArray[np.float64] = (distances * parts).sum(axis=0) / n_neighbors
        return means


def _nearest(squares: NDArray[np.float64], weights: Weights, n_neighbors: int) -> NDArray[np.intp]:
    """Return the indices of the lowest numbers of each row, with a weight of at least n_neighbors.

    Parameters
    ----------
    squares : ndarray of shape (n_rows, n_training_rows)
        Numbers.
    weights : ndarray of shape (n_training_rows,) or None
        Weights of the columns; None if all weights are one.
    n_neighbors : int
        Total weight that is needed. Without weights, the number of indices.

    Returns
    -------
    indices : ndarray of shape (n_rows, n_nearest)
    """
    if weights is None:
        return np.argpartition(squares, n_neighbors - 1, axis=1)[:, :n_neighbors]
    order = np.argsort(squares, axis=1)
    n_nearer = (np.cumsum(weights[order], axis=1) < n_neighbors).sum(axis=1)
    return order[:, : 1 + n_nearer.max()]


def _std(values: NDArray[np.float64], weights: Weights) -> float:
    """Return the standard deviation of values with weights."""
    mean = np.average(values, weights=weights)
    return float(np.sqrt(np.average(np.square(values - mean), weights=weights)))


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
        cls,
        scores: NDArray[np.float64],
        distances: NDArray[np.float64],
        n_coordinates: int,
        weights: Weights = None,
    ) -> Self:
        """Return the score with the median and spread of `scores` for the given distances.

        The spread is the interquartile range. If that of the distances is nearly zero, the spread
        is the standard deviation, and rows at the median distance have the maximum of `scores`.
        Scores that are not finite are ignored. `weights` are the weights of the rows.
        """
        least = _MIN_SPREAD * np.sqrt(n_coordinates)
        is_finite = np.isfinite(scores)
        finite = scores[is_finite]
        if not len(finite):
            return cls(np.inf, 0.0)
        finite_weights = None if weights is None else weights[is_finite]
        low, middle, high = quantile(distances, _QUARTILES, weights)
        score_low, typical, score_high = quantile(finite, _QUARTILES, finite_weights)
        spread, score_spread = high - low, score_high - score_low
        if spread <= least:
            spread, score_spread = _std(distances, weights), _std(finite, finite_weights)
            typical = finite.max()
        slope = float(score_spread / max(spread, least))
        return cls(float(typical + slope * middle), slope)

    def __call__(self, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the scores of distances."""
        return self.intercept - self.slope * distances
