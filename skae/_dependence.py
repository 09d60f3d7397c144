"""Dependence between rows that are near each other in a table, as in a time series."""

from itertools import pairwise

import numpy as np

# The distances of this many rows to others are compared, fewer of wide tables.
_MOST_ROWS, _MOST_NUMBERS, _SEED = 300, 2**21, 29
# A row is compared with the next one and with those at these lags. Rows of one class, in a table
# sorted by class, are as near to the second as to the first.
_LAGS = (2, 3, 4, 6, 8)
# Rows depend on each other if this share of them is nearer to the next row than to one of these,
# at a median of the squared distance that is at most this share.
_NEARER, _RATIO = 0.75, 0.5
# That share must also be this many standard errors above the half that independent rows have.
_STANDARD_ERRORS = 4
# The dependence ends where the median squared distance is this share of that between random rows.
_INDEPENDENT = 0.5


def dependence_reach(table):
    """Return how many rows the dependence between rows of a table reaches.

    Parameters
    ----------
    table : Table
        The rows, in their order.

    Returns
    -------
    reach : int
        Zero if the rows are independent, or in an order that says nothing about their distances
        within a class. At most a quarter of the rows.
    """
    n_rows = min(_MOST_ROWS, max(1, _MOST_NUMBERS // table.n_features))
    rng, margin = np.random.default_rng(_SEED), _LAGS[-1]
    if table.n_rows <= 2 * margin:
        return 0
    rows = rng.permutation(table.n_rows - margin)[:n_rows]
    others = (rows + rng.integers(1, table.n_rows, size=len(rows))) % table.n_rows
    first, unit = _take(table, rows), None
    random, unit = _squared_distances(first, _take(table, others))
    next_one = _squared_distances(first, _take(table, rows + 1), unit)[0]
    far = max(
        (_squared_distances(first, _take(table, rows + lag), unit)[0] for lag in _LAGS),
        key=np.median,
    )
    nearer = (next_one < far).mean() + (next_one == far).mean() / 2
    least = max(_NEARER, 0.5 + _STANDARD_ERRORS * 0.5 / np.sqrt(len(rows)))
    if nearer < least or np.median(next_one) > _RATIO * np.median(far):
        return 0
    return _reach(table, first, rows, unit, _INDEPENDENT * np.median(random))


def _reach(table, first, rows, unit, least):
    """Return the first lag at which rows have at least this median squared distance."""
    longest = table.n_rows // 4
    lags = np.unique(np.geomspace(1, longest, 40).astype(int))
    for lag, following in pairwise([*lags, longest]):
        inside = rows + following < table.n_rows
        others = _take(table, rows[inside] + following)
        if np.median(_squared_distances(first[inside], others, unit)[0]) >= least:
            return int(lag)
    return longest


def _take(table, rows):
    """Read rows in any order, wherever they are stored."""
    indices, inverse = np.unique(rows, return_inverse=True)
    return table.collect(indices)[inverse]


def _squared_distances(rows, others, unit=None):
    """Return the mean squared difference of rows over the columns observed in both, and the unit.

    The unit is the largest difference, so that the squares neither overflow nor vanish.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        differences = abs(rows.astype(np.float64) - others)
    is_observed = np.isfinite(differences)
    differences = np.where(is_observed, differences, 0)
    unit = unit or differences.max(initial=0) or 1.0
    counts = np.maximum(is_observed.sum(axis=1), 1)
    with np.errstate(over="ignore", under="ignore"):
        return np.square(differences / unit).sum(axis=1) / counts, unit
