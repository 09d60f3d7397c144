"""Products and quantiles of rows with weights. A row with the weight 2 counts as two equal rows."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

# Weights of rows; None if all weights are one.
Weights = NDArray[np.float64] | None


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
        Positive weights. Their sum is at least one. If they are integers, the result is the same as
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
    values, ends = values[order], np.cumsum(weights[order])
    position = np.asarray(q) * (ends[-1] - 1)
    numbers = np.floor(position) + np.array([0, 1]).reshape(2, *np.ones(position.ndim, int))
    indices = np.searchsorted(ends, numbers, side="right")
    lower, upper = values[indices.clip(max=len(values) - 1)]
    return lower if method == "lower" else lower + (position % 1) * (upper - lower)
