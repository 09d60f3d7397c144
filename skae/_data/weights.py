"""Products and quantiles of rows with weights. A row of weight 2 counts as two equal rows."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

# Weights of rows; None if all weights are one.
Weights = NDArray[np.float64] | None
# Relative rounding error of a sum of weights.
ROUNDING = 1e-9


def with_mean_of_at_least_one(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return positive weights, divided by their mean if it is below one.

    Statistics that subtract one row, such as unbiased variances, are then defined also for weights
    that sum to one. Positive integers are not changed.
    """
    if weights.sum() >= len(weights):
        return weights
    if weights.min() == weights.max():
        return np.ones(len(weights))
    shares = weights / weights.max()  # their sum does not underflow
    scaled: NDArray[np.float64] = shares * (len(shares) / shares.sum())
    return scaled


def weights_or_ones(weights: Weights, n_rows: int) -> NDArray[np.float64]:
    """Return the weights of rows as an array, also if all of them are one."""
    return np.ones(n_rows) if weights is None else weights


def weighted(rows: NDArray[Any], weights: Weights) -> NDArray[Any]:
    """Return rows multiplied by their weights."""
    return rows if weights is None else rows * weights[:, None]


def quantile(
    values: NDArray[Any],
    q: float | Sequence[float] | NDArray[np.float64],
    weights: Weights,
    *,
    method: Literal["linear", "lower"] = "linear",
) -> Any:
    """Return quantiles of values with weights.

    Parameters
    ----------
    values : ndarray of shape (n_values,)
        At least one value.
    q : float or array-like of float
        Levels of the quantiles, from 0 to 1.
    weights : ndarray of shape (n_values,) or None
        Positive weights; they are divided by their mean if it is below one. If they are integers,
        the result is the same as ``numpy.quantile(numpy.repeat(values, weights), q)``.
    method : {"linear", "lower"}
        See `numpy.quantile`.

    Returns
    -------
    float or ndarray of float
        The quantiles, in the shape of `q`.
    """
    if weights is None:
        return np.quantile(values, q, method=method)
    order = np.argsort(values)
    values, ends = values[order], np.cumsum(with_mean_of_at_least_one(weights)[order])
    position = np.asarray(q) * (ends[-1] - 1)
    rank = np.floor(position)
    indices = np.searchsorted(ends, np.stack([rank, rank + 1]), side="right")
    lower, upper = values[indices.clip(max=len(values) - 1)]
    return lower if method == "lower" else lower + (position % 1) * (upper - lower)
