"""Detection of dependence between neighbouring rows, as in a time series."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .table import Table

# Number of rows whose distances to other rows are compared: at most _MAX_ROWS. It is smaller in
# wide tables, so that the rows have at most _MAX_ENTRIES entries, but at least _MIN_ROWS.
_MAX_ROWS, _MIN_ROWS, _MAX_ENTRIES, _SEED = 300, 16, 2**20, 29
# A row is compared with the next row (lag 1) and with the rows at these lags. In a table that is
# sorted by class, the rows of a class have similar distances at all lags, and are not dependent.
_LAGS = (2, 3, 4, 6, 8)
# The next row is compared with the row at the lag with the largest median squared distance. Rows
# depend on each other if at least the fraction _NEARER of them is nearer to the next row, and the
# median squared distance to the next row is at most _RATIO times the median at that lag.
_NEARER, _RATIO = 0.75, 0.5
# The fraction must also be this many standard errors above 0.5, its value for independent rows.
_STANDARD_ERRORS = 4
# The reach of the dependence is the first of _LAGS_IN_TURN consecutive lags at which the median
# squared distance differs from that of random pairs of rows by at most the fraction _TOLERANCE. The
# lags are a geometric series of at most _MAX_LAGS numbers.
_LAGS_IN_TURN, _MAX_LAGS, _TOLERANCE = 3, 40, 0.25


def dependence_reach(table: Table) -> int:
    """Return the reach of the dependence between the rows of a table, as a number of rows.

    Parameters
    ----------
    table : Table
        The rows, in their order.

    Returns
    -------
    reach : int
        Zero if the rows are independent, or independent within each class in a table sorted by
        class. At most a quarter of the number of rows.
    """
    n_rows = min(_MAX_ROWS, max(_MIN_ROWS, _MAX_ENTRIES // table.n_features))
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


def _reach(
    table: Table, first: NDArray[Any], rows: NDArray[np.intp], unit: float, typical: float
) -> int:
    """Return the first lag at which distances are the same as between random rows.

    If there is no such lag, as in a periodic series, the largest lag is returned.
    """
    longest, n_in_turn = table.n_rows // 4, 0
    lags = np.unique(np.geomspace(1, longest, _MAX_LAGS).astype(int))
    for i, lag in enumerate(lags):
        inside = rows + lag < table.n_rows
        others = _take(table, rows[inside] + lag)
        median = np.median(_squared_distances(first[inside], others, unit)[0])
        n_in_turn = n_in_turn + 1 if abs(median - typical) <= _TOLERANCE * typical else 0
        if n_in_turn == _LAGS_IN_TURN:
            return int(lags[i + 1 - _LAGS_IN_TURN])
    return longest


def _take(table: Table, rows: NDArray[np.intp]) -> NDArray[Any]:
    """Read rows, given by indices in any order, from any worker."""
    indices, inverse = np.unique(rows, return_inverse=True)
    return table.gather(indices)[inverse]


def _squared_distances(
    rows: NDArray[Any], others: NDArray[Any], unit: float | None = None
) -> tuple[NDArray[np.float64], float]:
    """Return the mean squared differences of pairs of rows, and the unit of the differences.

    The mean is over the columns that are observed in both rows. Differences are divided by the unit
    before they are squared. It is by default the largest absolute difference, so that the squares
    neither overflow nor underflow.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        differences = abs(rows.astype(np.float64) - others)
    is_observed = np.isfinite(differences)
    differences = np.where(is_observed, differences, 0)
    unit = unit or differences.max(initial=0) or 1.0
    counts = np.maximum(is_observed.sum(axis=1), 1)
    with np.errstate(over="ignore", under="ignore"):
        return np.square(differences / unit).sum(axis=1) / counts, unit
