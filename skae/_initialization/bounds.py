"""Bounds of the outputs: those found in a table, and those that the user gave."""

import numpy as np

from .._networks.network import rounded_inwards

# A side of a feature is bounded if so many rows, and this share of them, sit on its extreme.
_MIN_TIES, _MIN_TIED_SHARE = 5, 1e-3


def first_bounds(table, architecture):
    """Return the bounds (2, n_features) of a first network: those found, or those given."""
    is_auto = isinstance(architecture.bounds, str)
    if is_auto and architecture.activations[-1] == "identity":
        return tied_bounds(table, _MIN_TIES, _MIN_TIED_SHARE)
    return given_bounds(architecture.bounds, table)


def tied_bounds(table, min_ties, min_share):
    """Extremes of the features that have many rows exactly on them; infinity for the others.

    Pixels, counts, percentages and one-hot columns end at a wall, and their rows pile up there.
    The largest value of a column with a long tail is no wall: the next row may exceed it.

    Parameters
    ----------
    table : Table
        The rows.
    min_ties, min_share : int, float
        An extreme is a bound if at least so many rows, and this share of them, sit on it.

    Returns
    -------
    bounds : ndarray of shape (2, n_features)
        Lower and upper ones, in the type of the table.
    """
    extremes = table.extremes()
    ties = table.total(lambda block: [(block == extreme).sum(axis=0) for extreme in extremes])
    is_wall = np.stack(ties) >= max(min_ties, min_share * table.n_rows)
    return np.where(is_wall, extremes, [[-np.inf], [np.inf]]).astype(table.dtype)


def given_bounds(bounds, table):
    """Bounds that the user gave, for each feature.

    Parameters
    ----------
    bounds : "auto", None or pair
        Lower and upper bound, each None, a number or an array of shape (n_features,). None and
        "auto" bound nothing.
    table : Table
        Says how many features there are, and their type.

    Returns
    -------
    bounds : ndarray of shape (2, n_features)
        Lower and upper ones in the type of the table, infinite where a side is unbounded. What the
        type cannot hold is rounded inwards, so that rows within are within what was given.

    Raises
    ------
    ValueError
        If bounds are not a pair, do not fit the features, or leave no room.
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
