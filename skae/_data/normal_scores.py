"""Encoding of a column of numbers as normal scores, for densities.

A number is mapped to the quantile of the standard normal distribution at its rank in the training
rows, so that the encoded column is normal for any distribution of the column, as in a Gaussian
copula. Equal numbers have the same, mean rank.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtr, ndtri

from . import frames
from .column_statistics import LEVELS, NumberStatistics

_LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True, eq=False)
class NormalScores:
    """Encoding of a column of numbers as normal scores.

    Beyond the range of the training rows, the score is linear, with one standard deviation of the
    column as unit.

    Attributes
    ----------
    quantiles : ndarray of shape (n_levels,)
        Quantiles of the training rows.
    n_values : int
        Number of values in the training rows.
    scale : float
        Standard deviation of the training rows.
    least, most : float or int
        Minimum and maximum of the training rows.
    is_integer, is_whole : bool
        Whether the type of the column is an integer type, and whether all values are whole numbers.
    """

    quantiles: NDArray[np.float64]
    n_values: int
    scale: float
    least: float
    most: float
    is_integer: bool
    is_whole: bool
    width = 1

    @classmethod
    def from_statistics(cls, column: NumberStatistics) -> Self:
        """Return the encoding of a column with given statistics."""
        return cls(
            quantiles=column.quantiles,
            n_values=column.n_values,
            scale=column.scale,
            least=column.least,
            most=column.most,
            is_integer=column.is_integer,
            is_whole=column.is_whole,
        )

    @property
    def _levels(self) -> NDArray[np.float64]:
        """Level of each quantile; the extremes are half a rank within zero and one."""
        margin = 0.5 / self.n_values
        return LEVELS.clip(margin, 1 - margin)

    def encode(self, column: Any) -> NDArray[np.float64]:
        """Return the normal scores, with NaN for missing entries."""
        values, low, high = frames.floats_of(column), self.quantiles[0], self.quantiles[-1]
        first = np.interp(values, self.quantiles, self._levels)
        last = -np.interp(-values, -self.quantiles[::-1], -self._levels[::-1])
        scores = ndtri((first + last) / 2) + (values - values.clip(low, high)) / self.scale
        encoded: NDArray[np.float64] = scores[:, None]
        return encoded

    def missing(self, column: Any) -> NDArray[np.bool_]:
        """Return a mask of the missing entries of a column."""
        return np.isnan(frames.floats_of(column))

    def decode(self, encoded: NDArray[Any]) -> NDArray[Any]:
        """Return the numbers with given normal scores, in the range of the training rows."""
        levels = ndtr(encoded[:, 0].astype(np.float64))
        values: NDArray[Any] = np.interp(levels, self._levels, self.quantiles)
        if self.is_integer:
            return frames.integers_between(values, self.least, self.most)
        return np.rint(values) if self.is_whole else values

    def errors(self, encoded: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
        """Return the squared differences of normal scores."""
        errors: NDArray[Any] = np.square(encoded - others)[:, 0]
        return errors

    def matched(self, encoded: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
        """Return scores, mapped so that `others` would have the distribution of training rows."""
        quantiles = np.quantile(others[:, 0], LEVELS)
        matched: NDArray[Any] = ndtri(np.interp(encoded[:, 0], quantiles, self._levels))
        return matched[:, None]

    def measures(
        self, encoded: NDArray[Any]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return what the likelihood of normal scores in the units of X depends on.

        Returns
        -------
        log_units : ndarray of shape (n_rows,)
            Logarithm of the density of X minus that of the normal score.
        lower, upper : ndarray of shape (n_rows,)
            Normal scores of the first and the last rank of a repeated value; NaN for other values.
        """
        widths, shares, ends = np.diff(self.quantiles), np.diff(LEVELS), ndtri(LEVELS)
        is_repeated = widths == 0
        levels = ndtr(encoded.astype(np.float64))
        interval = np.searchsorted(self._levels, levels).clip(1, len(shares)) - 1
        with np.errstate(divide="ignore"):
            log_units = np.log(shares / widths)[interval] + (np.square(encoded) + _LOG_2PI) / 2
        is_inside = (levels >= self._levels[0]) & (levels <= self._levels[-1])
        log_units = np.where(is_inside, log_units, -np.log(self.scale))
        first = np.searchsorted(self.quantiles, self.quantiles[interval], side="left")
        last = np.searchsorted(self.quantiles, self.quantiles[interval], side="right") - 1
        has_rank = is_inside & is_repeated[interval]
        lower, upper = (np.where(has_rank, ends[end], np.nan) for end in (first, last))
        return log_units, lower, upper


@dataclass(frozen=True, eq=False)
class Measures:
    """Conversion of densities of normal scores to densities and probabilities of X.

    A value that more than one in 200 training rows have has a probability, and not a density.

    Attributes
    ----------
    columns : list of int
        Numbers of the columns.
    log_units, lower, upper : ndarray of shape (n_rows, n_columns)
        See `NormalScores.measures`.
    """

    columns: list[int]
    log_units: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]

    def log_likelihoods(
        self, log_densities: NDArray[Any], means: NDArray[Any], deviations: NDArray[Any]
    ) -> NDArray[Any]:
        """Return the log-likelihood of each entry of X under a normal distribution of its score.

        Parameters
        ----------
        log_densities, means : ndarray of shape (n_rows, n_columns)
            Log-densities of the normal scores, and means of their distributions.
        deviations : ndarray of shape (n_columns,)
            Standard deviations of their distributions.
        """
        in_units_of_x = log_densities + self.log_units
        is_repeated = ~np.isnan(self.lower)
        lower, upper = (
            ((end - means) / deviations)[is_repeated] for end in (self.lower, self.upper)
        )
        is_high = lower > 0  # more accurate in the lower tail
        lower, upper = np.where(is_high, -upper, lower), np.where(is_high, -lower, upper)
        log_upper = log_ndtr(upper)
        in_units_of_x[is_repeated] = log_upper + np.log1p(-np.exp(log_ndtr(lower) - log_upper))
        return in_units_of_x
