"""Dependence between rows that are near each other in a table, as in a time series."""

import numpy as np

# The distances of this many rows to others are compared: fewer in wide tables.
_MOST_ROWS, _FEWEST_ROWS, _MOST_NUMBERS, _SEED = 300, 16, 2**20, 29
# A row is compared with the next one and with those at these lags. Rows of one class, in a table
# sorted by class, are as near to the second as to the first.
_LAGS = (2, 3, 4, 6, 8)
# Rows depend on each other if this share of them is nearer to the next row than to one of these,
# at a median of the squared distance that is at most this share.
_NEARER, _RATIO = 0.75, 0.5
# That share must also be this many standard errors above the half that independent rows have.
_STANDARD_ERRORS = 4
# The dependence ends where the median squared distance at this many lags in turn, of a geometric
# series of this many, differs by at most this share from that between random rows.
_LAGS_IN_TURN, _MOST_LAGS, _TOLERANCE = 3, 40, 0.25


def dependence_reach(table):
    """Return how many rows the dependence between rows of a table reaches.

    Parameters
    ----------
    table : Table
        The rows, in their order.

    Returns
    -------
    reach : int
        Zero if the rows are independent, at least within a class where they are sorted by class.
        At most a quarter of the rows.
    """
    n_rows = min(_MOST_ROWS, max(_FEWEST_ROWS, _MOST_NUMBERS // table.n_features))
    rng, margin = np.random.default_rng(_SEED), _LAGS[-1]
    if table.n_rows <= 2 * margin:
        return 0
    rows = rng.permutation(table.n_rows - margin)[:n_rows]
    others = (rows + rng.integers(1, table.n_rows, size=len(rows))) % table.n_rows
    first = _take(table, rows)
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
    return _reach(table, first, rows, unit, np.median(random))


def _reach(table, first, rows, unit, typical):
    """Return the first lag from which on distances are those between random rows.

    A periodic series has no such lag: the longest is returned.
    """
    longest, n_in_turn = table.n_rows // 4, 0
    lags = np.unique(np.geomspace(1, longest, _MOST_LAGS).astype(int))
    for i, lag in enumerate(lags):
        inside = rows + lag < table.n_rows
        others = _take(table, rows[inside] + lag)
        median = np.median(_squared_distances(first[inside], others, unit)[0])
        n_in_turn = n_in_turn + 1 if abs(median - typical) <= _TOLERANCE * typical else 0
        if n_in_turn == _LAGS_IN_TURN:
            return int(lags[i + 1 - _LAGS_IN_TURN])
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
