"""Products and quantiles of rows with weights. A row with the weight 2 counts as two equal rows."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

# Weights of rows; None if all weights are one.
Weights = NDArray[np.float64] | None
# Relative rounding error of a sum of weights.
ROUNDING = 1e-9


def with_mean_of_at_least_one(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return positive weights, multiplied by a number if their mean is below one.

    Statistics that subtract one row, such as unbiased variances, are then defined also for weights
    that sum to one. Positive integers are not changed.
    """
    if weights.max(initial=0) == weights.min(initial=np.inf) < 1:
        return np.ones(len(weights))
    shares = weights / weights.max(initial=0)  # their sum does not underflow
    return weights if weights.sum() >= len(weights) else shares * (len(shares) / shares.sum())


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
        Positive weights. If they are integers, the result is the same as
        ``numpy.quantile(numpy.repeat(values, weights), q)``.
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
    numbers = np.floor(position) + np.array([0, 1]).reshape(2, *np.ones(position.ndim, int))
    indices = np.searchsorted(ends, numbers, side="right")
    lower, upper = values[indices.clip(max=len(values) - 1)]
    return lower if method == "lower" else lower + (position % 1) * (upper - lower)
