"""Splits of the rows into training and validation rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn.utils import check_consistent_length

# More validation rows than these would take time and tell nothing more.
_MOST_HELD_OUT = 2**16
# The choice between PCA and a trained network uses at least this many validation rows; for an
# imputer, where each row has several hidden entries, fewer. With groups it also uses at least this
# many groups.
MIN_HELD_OUT, MIN_HELD_OUT_GROUPS = {False: 100, True: 50}, 5
# A split holds out at most this many blocks of rows that depend on each other.
_MOST_BLOCKS = 10


@dataclass(frozen=True)
class Split:
    """Training rows and validation rows.

    Attributes
    ----------
    training : ndarray of int
        Sorted indices of the training rows.
    held_out : ndarray of int
        Sorted indices of the validation rows.
    groups : ndarray of int of shape (n_held_out,), or None
        Number of the group of each validation row: rows of one group depend on each other. None if
        all rows are independent.
    validation : Table or None
        The table that has the validation rows; None if it is the table of the training rows.
    """

    training: np.ndarray
    held_out: np.ndarray
    groups: np.ndarray | None = None
    validation: Any = None

    def tables(self, table):
        """Return the table of the training rows and that of the validation rows."""
        validation = table if self.validation is None else self.validation
        return table.select(self.training), validation.select(self.held_out)


def all_rows(n_samples, validation=None):
    """Return the split that trains on all rows.

    Parameters
    ----------
    n_samples : int
        Number of rows.
    validation : Table, optional
        A table whose rows are all validation rows. Without it there are none.
    """
    n_held_out = 0 if validation is None else validation.n_rows
    rows = np.arange(n_samples)
    return Split(rows, np.arange(n_held_out), validation=validation)


def random_splits(n_samples, fraction, min_held_out, rng):
    """Split independent rows at random, several times if one split holds out too few rows.

    Parameters
    ----------
    n_samples : int
        Number of rows.
    fraction : float
        Share of the rows that each split holds out: at least one row, and neither all nor more than
        65 536.
    min_held_out : int
        Splits are added, with other rows held out, until this number of rows was held out once or
        there are no more.
    rng : numpy.random.Generator
        Shuffles the rows.

    Returns
    -------
    list of Split
        The one split without validation rows if nothing can be held out.
    """
    if fraction == 0 or n_samples < 2:
        return [all_rows(n_samples)]
    order, size = rng.permutation(n_samples), _held_out_size(n_samples, fraction)
    n_splits = min(-(-min_held_out // size), n_samples // size)
    parts = [slice(i * size, (i + 1) * size) for i in range(n_splits)]
    return [Split(np.sort(np.delete(order, part)), np.sort(order[part])) for part in parts]


def _held_out_size(n_samples, fraction):
    return min(max(1, round(fraction * n_samples)), n_samples - 1, _MOST_HELD_OUT)


def group_splits(groups, fraction, min_held_out, min_groups, rng):
    """Split rows so that all rows of a group are training rows, or all are validation rows.

    A group with more than half of the rows is always trained on.

    Parameters
    ----------
    groups : ndarray of int of shape (n_samples,)
        Number of the group of each row, from `group_numbers`.
    fraction : float
        Share of the rows that each split holds out, as near as whole groups allow; at least one
        group.
    min_held_out, min_groups : int
        Splits are added, with other groups held out, until these numbers of rows and groups were
        held out once or there are no more.
    rng : numpy.random.Generator
        Shuffles the groups.

    Returns
    -------
    list of Split
        The one split without validation rows if `fraction` is zero.

    Raises
    ------
    ValueError
        If there is only one group.
    """
    n_samples, counts = len(groups), np.bincount(groups)
    if fraction == 0:
        return [all_rows(n_samples)]
    if len(counts) < 2:
        raise ValueError(
            "groups has one group, and groups are held out whole: at least two are needed. Pass "
            "X_val, or set validation_fraction=0 to hold no rows out."
        )
    order = rng.permutation(len(counts))
    order = order[counts[order] <= n_samples / 2]
    splits, n_rows, n_groups = [], 0, 0
    for part in _parts(order, counts, _held_out_size(n_samples, fraction)):
        is_held_out = np.isin(groups, part)
        held_out = np.flatnonzero(is_held_out)
        splits.append(Split(np.flatnonzero(~is_held_out), held_out, groups[held_out]))
        n_rows, n_groups = n_rows + len(held_out), n_groups + len(part)
        if n_rows >= min_held_out and n_groups >= min_groups:
            break
    return splits


def block_splits(n_samples, reach, fraction, min_held_out, min_blocks, rng):
    """Split rows that depend on those near them, by blocks of rows that follow each other.

    The blocks of each split are spread over the table, and its first and last rows are the ends of
    two blocks, for new rows may lie beyond them as later times do. Rows that are no farther from a
    block than the dependence reaches are neither trained on nor held out, at most a third of the
    rows that are not held out.

    Parameters
    ----------
    n_samples, fraction, min_held_out, rng
        See `random_splits`.
    reach : int
        How many rows the dependence reaches. Blocks are about as long, or longer.
    min_blocks : int
        Number of blocks to hold out at least, if there are as many.
    """
    size = _held_out_size(n_samples, fraction)
    n_blocks = int(np.clip(size // reach, 1, _MOST_BLOCKS))
    length = size // n_blocks
    n_held_out = n_blocks * length
    wanted = max(-(-min_held_out // n_held_out), -(-min_blocks // n_blocks))
    n_splits = min(wanted, n_samples // n_held_out)
    margin = min(reach, (n_samples - size) // (6 * n_blocks))
    ends = np.linspace(0, n_samples, n_splits * n_blocks + 1).astype(int)
    firsts = rng.integers(ends[:-1], ends[1:] - length + 1)
    firsts[0], firsts[-1] = 0, n_samples - length
    rows = np.arange(n_samples)
    splits = []
    for number in range(n_splits):
        held_out = firsts[number::n_splits, None] + np.arange(length)
        near = firsts[number::n_splits, None] + np.arange(-margin, length + margin)
        is_trained_on = ~np.isin(rows, near)
        blocks = np.repeat(np.arange(number, len(firsts), n_splits), length)
        splits.append(Split(rows[is_trained_on], held_out.ravel(), blocks))
    return splits


def _parts(order, counts, size):
    """Cut a sequence of groups into parts whose numbers of rows are as near to a size as possible.

    The last part is left out if it has less than half of that size, unless it is the only one.
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


def group_numbers(groups, X):
    """Return a number for the group of each row of X.

    Parameters
    ----------
    groups : array-like of shape (n_samples,)
        Hashable values, equal in the rows of one group.
    X : array of shape (n_samples, n_features)
        The rows.

    Returns
    -------
    ndarray of int of shape (n_samples,)
        From zero up, in the order of their first rows.

    Raises
    ------
    ValueError
        If there is not one value for each row, or some are missing.
    TypeError
        If values are not hashable.
    """
    check_consistent_length(X, groups)
    if isinstance(groups, list | tuple):  # whose values may be tuples
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
    return rankdata(first, "ordinal")[inverse] - 1


_MISSING_GROUPS = "groups has missing values: give each row a group, or leave such rows out."


def _numbers_of_objects(groups):
    numbers = {}
    try:
        inverse = [numbers.setdefault(group, len(numbers)) for group in groups]
    except TypeError as error:
        raise TypeError(f"groups must have hashable values: {error}.") from None
    if any(map(_is_missing, numbers)):
        raise ValueError(_MISSING_GROUPS)
    return np.array(inverse)


def _is_missing(value):
    try:
        return value is None or bool(value != value)  # NaN and NaT
    except TypeError:  # pandas.NA
        return True
