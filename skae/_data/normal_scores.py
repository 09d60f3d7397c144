"""Encoding of a column of numbers as normal scores, for densities.

A number is mapped to the quantile of the standard normal distribution at its rank in the training
rows, so that the encoded column is normal for any distribution of the column, as in a Gaussian
copula. Equal numbers have the same, mean rank.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtr, ndtri

from . import frames
from .column_statistics import LEVELS, NumberStatistics

_LOG_2PI = float(np.log(2 * np.pi))
# Smallest mean number of training rows between two ranks for which a density is estimated.
_MIN_ROWS = 25
# Normal scores are exact up to this number: the score of an extreme is not outside of the range.
_TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class NormalScores:
    """Encoding of a column of numbers as normal scores.

    Beyond the range of the training rows, the score is linear, with one standard deviation of the
    column as unit.

    Attributes
    ----------
    statistics : NumberStatistics
        Statistics of the training rows.
    """

    statistics: NumberStatistics
    width = 1

    @property
    def _levels(self) -> NDArray[np.float64]:
        """Level of each quantile; the extremes are half a rank within zero and one."""
        margin = 0.5 / self.statistics.n_values
        return LEVELS.clip(margin, 1 - margin)

    @property
    def _are_repeated(self) -> NDArray[np.bool_]:
        """Whether the quantiles at both ends of an interval of levels are the same number."""
        repeated: NDArray[np.bool_] = np.diff(self.statistics.quantiles) == 0
        return repeated

    def encode(self, column: Any) -> NDArray[np.float64]:
        """Return the normal scores, with NaN for missing entries."""
        values, quantiles = frames.floats_of(column), self.statistics.quantiles
        first = np.interp(values, quantiles, self._levels)
        last = -np.interp(-values, -quantiles[::-1], -self._levels[::-1])
        beyond = values - values.clip(quantiles[0], quantiles[-1])
        scores: NDArray[np.float64] = ndtri((first + last) / 2) + beyond / self.statistics.scale
        return scores[:, None]

    def missing(self, column: Any) -> NDArray[np.bool_]:
        """Return a mask of the missing entries of a column."""
        return np.isnan(frames.floats_of(column))

    def decode(self, encoded: NDArray[Any]) -> NDArray[Any]:
        """Return the numbers with given normal scores, in the range of the training rows.

        Between two repeated numbers, the closer one is returned.
        """
        statistics, quantiles = self.statistics, self.statistics.quantiles
        positions = np.interp(
            ndtr(encoded[:, 0].astype(np.float64)), self._levels, np.arange(len(LEVELS))
        )
        repeated = np.pad(self._are_repeated, 1)
        is_between = repeated[:-2] & ~repeated[1:-1] & repeated[2:]
        inside = positions.astype(int).clip(max=len(LEVELS) - 2)
        positions = np.where(is_between[inside], np.rint(positions), positions)
        values: NDArray[Any] = np.interp(positions, np.arange(len(LEVELS)), quantiles)
        if statistics.is_integer:
            return frames.integers_between(values, statistics.least, statistics.most)
        return np.rint(values) if statistics.is_whole else values

    def errors(self, encoded: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
        """Return the squared differences of normal scores."""
        errors: NDArray[Any] = np.square(encoded - others)[:, 0]
        return errors

    def matched(self, encoded: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
        """Return scores, mapped so that `others` would have the distribution of training rows."""
        quantiles = np.quantile(others[:, 0], LEVELS)
        matched: NDArray[Any] = ndtri(np.interp(encoded[:, 0], quantiles, self._levels))
        return matched[:, None]

    def _log_densities(self) -> NDArray[np.float64]:
        """Return the logarithm of the density of X in each interval of levels without repetition.

        It is a mean over intervals with at least `_MIN_ROWS` training rows.
        """
        shares = np.where(self._are_repeated, 0, np.diff(self._levels))
        n_joined = min(len(shares), int(-(-len(shares) * _MIN_ROWS // self.statistics.n_values)))
        block = np.arange(len(shares)) // n_joined
        widths = np.bincount(block, np.diff(self.statistics.quantiles))
        with np.errstate(divide="ignore", invalid="ignore"):
            log_densities: NDArray[np.float64] = np.log(np.bincount(block, shares) / widths)
        return log_densities[block]

    def units(self, encoded: NDArray[Any]) -> list[NDArray[np.float64]]:
        """Return what converts densities of normal scores to densities and probabilities of X.

        Returns
        -------
        log_units : ndarray of shape (n_rows,)
            Logarithm of the density of X minus that of the normal score.
        lower, upper : ndarray of shape (n_rows,)
            Normal scores of the first and the last rank of a repeated number; NaN for others.
        """
        quantiles, edges = self.statistics.quantiles, ndtri(self._levels)
        interval = np.searchsorted(edges, encoded).clip(1, len(edges) - 1) - 1
        inside = (encoded > edges[0] - _TOLERANCE) & (encoded < edges[-1] + _TOLERANCE)
        log_units = self._log_densities()[interval] + (np.square(encoded) + _LOG_2PI) / 2
        log_units = np.where(inside, log_units, -np.log(self.statistics.scale))
        is_repeated = inside & self._are_repeated[interval]
        first = np.searchsorted(quantiles, quantiles[interval], side="left")
        last = np.searchsorted(quantiles, quantiles[interval], side="right") - 1
        return [log_units, *(np.where(is_repeated, edges[end], np.nan) for end in (first, last))]


@dataclass(frozen=True, eq=False)
class UnitsOfX:
    """Conversion of densities of normal scores to densities and probabilities of X.

    A number that more than one in 200 training rows have has a probability, and not a density.

    Attributes
    ----------
    columns : list of int
        Numbers of the encoded columns that are normal scores.
    log_units, lower, upper : ndarray of shape (n_rows, n_columns)
        See `NormalScores.units`.
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
        log_likelihoods = log_densities + self.log_units
        is_repeated = ~np.isnan(self.lower)
        lower = ((self.lower - means) / deviations)[is_repeated]
        upper = ((self.upper - means) / deviations)[is_repeated]
        is_high = lower > 0  # the lower tail is more accurate
        lower, upper = np.where(is_high, -upper, lower), np.where(is_high, -lower, upper)
        log_upper = log_ndtr(upper)
        log_likelihoods[is_repeated] = log_upper + np.log1p(-np.exp(log_ndtr(lower) - log_upper))
        return log_likelihoods
