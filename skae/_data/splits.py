"""Splits of the rows into training and validation rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.utils import check_consistent_length

from .table import Table
from .weights import Weights

# Maximum number of validation rows. More rows would take time and add no information.
_MAX_VALIDATION_ROWS = 2**16
# Minimum number of validation rows for the choice between PCA and a trained network: 100, or 50
# for an imputer (key True), where each row has several hidden entries. With groups, the minimum
# number of groups is MIN_VALIDATION_GROUPS.
MIN_VALIDATION_ROWS, MIN_VALIDATION_GROUPS = {False: 100, True: 50}, 5
# Maximum number of blocks of dependent rows that a split holds out.
_MAX_BLOCKS = 10


@dataclass(frozen=True, eq=False)
class Split:
    """Training rows and validation rows.

    Attributes
    ----------
    training : ndarray of int
        Sorted indices of the training rows.
    validation_rows : ndarray of int
        Sorted indices of the validation rows.
    groups : ndarray of int of shape (n_validation,), or None
        Group number of each validation row. Rows of the same group may depend on each other. None
        if all rows are independent.
    validation : Table or None
        Table that contains the validation rows; None if it is the table of the training rows.
    """

    training: NDArray[np.intp]
    validation_rows: NDArray[np.intp]
    groups: NDArray[np.intp] | None = None
    validation: Table | None = None

    def tables(self, table: Table) -> tuple[Table, Table]:
        """Return the table of the training rows and that of the validation rows."""
        validation = table if self.validation is None else self.validation
        return table.select(self.training), validation.select(self.validation_rows)

    def validation_weights(self, table: Table) -> Weights:
        """Return the weights of the validation rows, all with the scale of the table of all rows.

        Rows of another table have none.
        """
        return None if self.validation is not None else table.take_weights(self.validation_rows)


def all_rows(n_samples: int, validation: Table | None = None) -> Split:
    """Return the split that trains on all rows.

    Parameters
    ----------
    n_samples : int
        Number of rows.
    validation : Table, optional
        Table whose rows are all validation rows. If None, there are no validation rows.
    """
    n_validation = 0 if validation is None else validation.n_rows
    rows = np.arange(n_samples)
    return Split(rows, np.arange(n_validation), validation=validation)


def random_splits(
    n_samples: int, fraction: float, min_validation: int, rng: np.random.Generator
) -> list[Split]:
    """Split independent rows at random, several times if one split holds out too few rows.

    Parameters
    ----------
    n_samples : int
        Number of rows.
    fraction : float
        Fraction of the rows that each split holds out. Each split holds out at least one row and
        leaves at least one training row. It holds out at most 65 536 rows.
    min_validation : int
        Minimum number of validation rows over all splits. Splits are added, with disjoint
        validation rows, until they have this number of rows or no rows are left.
    rng : numpy.random.Generator
        Random numbers for the order of the rows.

    Returns
    -------
    list of Split
        One split without validation rows if no row can be held out.
    """
    if fraction == 0 or n_samples < 2:
        return [all_rows(n_samples)]
    order, size = rng.permutation(n_samples), _n_validation(n_samples, fraction)
    n_splits = min(-(-min_validation // size), n_samples // size)
    parts = [slice(i * size, (i + 1) * size) for i in range(n_splits)]
    return [Split(np.sort(np.delete(order, part)), np.sort(order[part])) for part in parts]


def _n_validation(n_samples: float, fraction: float) -> int:
    return min(max(1, round(fraction * n_samples)), int(n_samples - 1), _MAX_VALIDATION_ROWS)


def group_splits(
    groups: NDArray[np.intp],
    fraction: float,
    min_validation: int,
    min_groups: int,
    rng: np.random.Generator,
    weights: Weights = None,
) -> list[Split]:
    """Split rows so that all rows of a group are training rows, or all are validation rows.

    The rows of a group with more than half of all rows are always training rows.

    Parameters
    ----------
    groups : ndarray of int of shape (n_samples,)
        Group number of each row, from `group_numbers`.
    fraction : float
        Fraction of the rows that each split holds out, as closely as complete groups allow. Each
        split holds out at least one group.
    min_validation, min_groups : int
        Minimum numbers of validation rows and of validation groups over all splits. Splits are
        added, with disjoint validation groups, until they have these numbers or no groups are left.
    rng : numpy.random.Generator
        Random numbers for the order of the groups.
    weights : ndarray of shape (n_samples,), optional
        Weights of the rows: a row of weight 2 counts as two rows. By default, all are one.

    Returns
    -------
    list of Split
        One split without validation rows if `fraction` is zero.

    Raises
    ------
    ValueError
        If there is only one group.
    """
    counts = np.bincount(groups, weights)
    n_samples = counts.sum()
    if fraction == 0:
        return [all_rows(len(groups))]
    if len(counts) < 2:
        raise ValueError(
            "groups has one group, but at least two are needed, because all rows of a group are "
            "training rows or all are validation rows. Pass X_val, or set validation_fraction=0."
        )
    order = rng.permutation(len(counts))
    order = order[counts[order] <= n_samples / 2]
    splits, n_rows, n_groups = [], 0, 0
    for part in _parts(order, counts, _n_validation(n_samples, fraction)):
        is_validation = np.isin(groups, part)
        validation_rows = np.flatnonzero(is_validation)
        splits.append(
            Split(np.flatnonzero(~is_validation), validation_rows, groups[validation_rows])
        )
        n_rows, n_groups = n_rows + counts[part].sum(), n_groups + len(part)
        if n_rows >= min_validation and n_groups >= min_groups:
            break
    return splits


def block_splits(
    n_samples: int,
    reach: int,
    fraction: float,
    min_validation: int,
    min_blocks: int,
    rng: np.random.Generator,
) -> list[Split]:
    """Split dependent rows: blocks of consecutive rows are held out.

    The blocks of each split are spread over the table. The first of all blocks begins at the first
    row of the table, and the last of all blocks ends at the last row, because new rows may lie
    outside the range of the table, such as later times. Rows within the reach of the dependence
    from a block are neither training rows nor validation rows. They are at most a third of the rows
    that are not held out.

    Parameters
    ----------
    n_samples, fraction, min_validation, rng
        See `random_splits`.
    reach : int
        Reach of the dependence, as a number of rows; see `dependence_reach`. Blocks have about this
        length, or are longer.
    min_blocks : int
        Minimum number of blocks that are held out over all splits, if the table has enough rows.
    """
    size = _n_validation(n_samples, fraction)
    n_blocks = int(np.clip(size // reach, 1, _MAX_BLOCKS))
    length = size // n_blocks
    n_validation = n_blocks * length
    wanted = max(-(-min_validation // n_validation), -(-min_blocks // n_blocks))
    n_splits = min(wanted, n_samples // n_validation)
    margin = min(reach, (n_samples - size) // (6 * n_blocks))
    ends = np.linspace(0, n_samples, n_splits * n_blocks + 1).astype(int)
    firsts = rng.integers(ends[:-1], ends[1:] - length + 1)
    firsts[0], firsts[-1] = 0, n_samples - length
    rows = np.arange(n_samples)
    splits = []
    for number in range(n_splits):
        validation_rows = firsts[number::n_splits, None] + np.arange(length)
        near = firsts[number::n_splits, None] + np.arange(-margin, length + margin)
        is_trained_on = ~np.isin(rows, near)
        blocks = np.repeat(np.arange(number, len(firsts), n_splits), length)
        splits.append(Split(rows[is_trained_on], validation_rows.ravel(), blocks))
    return splits


def _parts(order: NDArray[np.intp], counts: NDArray[Any], size: int) -> list[list[int]]:
    """Divide a sequence of groups into consecutive parts with about `size` rows each.

    The last part is dropped if it has fewer than ``size / 2`` rows, unless it is the only part.
    """
    parts, n_rows = [[order[0]]], counts[order[0]]
    for group in order[1:]:
        enlarged = n_rows + counts[group]
        if abs(enlarged - size) < abs(n_rows - size) and enlarged < counts.sum():
            parts[-1].append(group)
            n_rows = enlarged
        else:
            parts.append([group])
            n_rows = counts[group]
    return parts[:-1] if len(parts) > 1 and n_rows < size / 2 else parts


def group_numbers(groups: Any, X: Any) -> NDArray[np.intp]:
    """Return the group number of each row of X.

    Parameters
    ----------
    groups : array-like of shape (n_samples,)
        Hashable values. Rows of the same group have the same value.
    X : array of shape (n_samples, n_features)
        The rows.

    Returns
    -------
    ndarray of int of shape (n_samples,)
        Group numbers from 0. Groups are numbered in the order of their first rows.

    Raises
    ------
    ValueError
        If `groups` does not have one value for each row, or has missing values.
    TypeError
        If a value is not hashable.
    """
    check_consistent_length(X, groups)
    if isinstance(groups, list | tuple):  # a value may be a tuple
        groups = np.fromiter(groups, dtype=object, count=len(groups))
    is_masked = np.ma.is_masked(groups)
    groups = np.asarray(groups)
    if groups.shape != (len(groups),) and groups.shape != (len(groups), 1):
        raise ValueError(
            f"groups must have one value for each row, got an array of shape {groups.shape}."
        )
    groups = groups.ravel()
    if groups.dtype.kind not in "biufcmMUS":
        return _numbers_of_objects(groups.tolist())
    if is_masked or (groups != groups).any():  # NaN and NaT
        raise ValueError(_MISSING_GROUPS)
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    numbers: NDArray[np.intp] = rankdata(first, "ordinal")[inverse] - 1
    return numbers


_MISSING_GROUPS = "groups has missing values: give each row a group, or leave such rows out."


def _numbers_of_objects(groups: list[Any]) -> NDArray[np.intp]:
    numbers: dict[Any, int] = {}
    try:
        inverse = [numbers.setdefault(group, len(numbers)) for group in groups]
    except TypeError as error:
        raise TypeError(f"groups must have hashable values: {error}.") from None
    if any(map(_is_missing, numbers)):
        raise ValueError(_MISSING_GROUPS)
    return np.array(inverse)


def _is_missing(value: Any) -> bool:
    try:
        return value is None or bool(value != value)  # NaN and NaT
    except TypeError:  # pandas.NA
        return True
