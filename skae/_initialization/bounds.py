"""Bounds of the output: automatic bounds from a table, and bounds given by the user."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._data.table import Table
from .._data.weights import weighted
from .._networks.network import rounded_inwards

if TYPE_CHECKING:
    from .architecture import Architecture

# A feature has an automatic bound if at least this number of rows, and at least this fraction of
# the rows, are equal to its minimum (maximum).
_MIN_TIES, _MIN_TIED_SHARE = 5, 1e-3


def first_bounds(table: Table, architecture: "Architecture") -> NDArray[Any]:
    """Return the bounds of an initial network, of shape (2, n_features): automatic or given."""
    is_auto = isinstance(architecture.bounds, str)
    if is_auto and architecture.activations[-1] == "identity":
        return tied_bounds(table, _MIN_TIES, _MIN_TIED_SHARE)
    return given_bounds(architecture.bounds, table)


def tied_bounds(table: Table, min_ties: int, min_share: float) -> NDArray[Any]:
    """Return bounds at the minima and maxima that are equal to the values of many rows.

    Pixels, counts, percentages and one-hot columns are bounded, and many of their values are
    exactly at a bound. The maximum of a column with a long tail is not a bound: the value of a new
    row may exceed it.

    Parameters
    ----------
    table : Table
        The rows.
    min_ties, min_share : int, float
        A minimum (maximum) is a bound if at least this number of rows, and at least this fraction
        of the rows, are equal to it. A row counts with its weight.

    Returns
    -------
    bounds : ndarray of shape (2, n_features)
        Lower and upper bounds in the float type of the table; infinite where there is no bound.
    """
    extremes = table.min_max()
    ties = table.sum_blocks(
        lambda block, weights: [
            weighted(block == extreme, weights).sum(axis=0) for extreme in extremes
        ]
    )
    is_bound = np.stack(ties) >= max(min_ties, min_share * table.total_weight)
    return np.where(is_bound, extremes, [[-np.inf], [np.inf]]).astype(table.dtype)


def given_bounds(bounds: Any, table: Table) -> NDArray[Any]:
    """Return the bounds of each feature that the user gave.

    Parameters
    ----------
    bounds : "auto", None or pair
        Lower and upper bound, each None, a number or an array of shape (n_features,). None and
        "auto" give no bounds.
    table : Table
        The rows, whose number of features and float type are used.

    Returns
    -------
    bounds : ndarray of shape (2, n_features)
        Lower and upper bounds in the float type of the table; infinite where there is no bound.
        They are rounded inwards, so that rows within them are also within the given bounds.

    Raises
    ------
    ValueError
        If bounds are not a pair, have another number of features than the table, are too large for
        a float, or if a lower bound is not below the upper bound.
    """
    pair = (None, None) if bounds is None or isinstance(bounds, str) else bounds
    if getattr(pair, "ndim", 1) == 0 or len(pair) != 2:
        raise ValueError(f"bounds must be 'auto', None or a pair (low, high), got {bounds!r}.")
    try:
        with np.errstate(over="ignore"):
            exact = [
                np.full(table.n_features, none if side is None else side, dtype=np.float64)
                for side, none in zip(pair, (-np.inf, np.inf), strict=True)
            ]
    except (TypeError, ValueError):
        raise ValueError(
            "Each side of bounds must be None, a number or an array of shape "
            f"(n_features,) = ({table.n_features},), got {bounds!r}."
        ) from None
    except OverflowError:
        raise ValueError("bounds are too large for a float: set None for a side.") from None
    low, high = rounded = rounded_inwards(np.stack(exact), table.dtype)
    if not (low < high).all():
        raise ValueError(f"bounds must have low < high for each feature, got {bounds!r}.")
    return rounded
