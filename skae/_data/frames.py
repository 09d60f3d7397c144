"""Columns of data frames of pandas and polars, and of arrays. Neither library is imported."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array

from .. import _sklearn_compat
from .inputs import has_missing, is_frame, with_nan


def labels_of(X: Any) -> list[Any]:
    """Return the names of the columns, or their indices if they have no names."""
    return list(getattr(X, "columns", range(X.shape[1])))


def errors_naming_column(X: Any, i: int) -> AbstractContextManager[None]:
    """Return a context in which errors name a column."""
    name = X.columns[i] if hasattr(X, "columns") else i
    return _sklearn_compat.errors_naming(f"column {name!r} of X")


def column_of(X: Any, i: int) -> Any:
    """Return a column of a data frame or an array."""
    if isinstance(X, np.ndarray):
        return X[:, i]
    return X.iloc[:, i] if is_frame(X, "pandas") else X.to_series(i)


def entries_of(column: Any) -> NDArray[Any]:
    """Return the entries of a column as objects, with None for missing entries."""
    if isinstance(column, np.ndarray):
        entries = column.astype(object)
    elif hasattr(column, "array"):  # pandas
        entries = column.to_numpy(dtype=object, na_value=None)
    else:
        entries = as_objects(column.to_list())
    entries = entries.copy()
    entries[entries != entries] = None  # NaN
    return entries


def missing_in(X: Any) -> NDArray[np.bool_]:
    """Return a mask of the missing entries of a data frame or an array."""
    if is_frame(X, "pandas"):
        mask: NDArray[np.bool_] = X.isna().to_numpy()
        return mask
    columns = (entries_of(column_of(X, i)) for i in range(X.shape[1]))
    return np.array([[entry is None for entry in column] for column in columns]).T


def floats_of(column: Any) -> NDArray[np.float64]:
    """Return the entries of a column of numbers as floats, with NaN for missing entries."""
    table = column.to_frame() if hasattr(column, "to_frame") else column[:, None]
    options = {"dtype": np.float64, "ensure_all_finite": False, "ensure_min_samples": 0}
    values: NDArray[np.float64] = check_array(with_nan(table), **options)
    has_missing(values)  # infinity is an error
    return values[:, 0]


def as_objects(values: Sequence[Any]) -> NDArray[Any]:
    """Return values as an array of objects of one dimension."""
    objects = np.empty(len(values), dtype=object)
    objects[:] = values
    return objects


def column_like(column: Any, entries: NDArray[Any]) -> Any:
    """Return entries as a column with the name and the dtype of a column of a data frame."""
    if hasattr(column, "array"):  # pandas
        values = entries.tolist() if entries.dtype == object else entries
        return type(column)(values, name=column.name, dtype=column.dtype)
    return type(column)(column.name, entries.tolist(), dtype=column.dtype, strict=False)


def with_entries(column: Any, chosen: NDArray[np.bool_], entries: NDArray[Any]) -> Any:
    """Return a column of a data frame with other entries at the chosen rows."""
    values, like = np.where(chosen, entries, entries_of(column)), column
    if hasattr(column, "array") and hasattr(column.array, "add_categories"):
        known = set(column.array.categories) | {None}
        new = [entry for entry in dict.fromkeys(entries[chosen]) if entry not in known]
        like = column.cat.add_categories(new)
    filled = column_like(like, values)
    return filled.set_axis(column.index) if hasattr(column, "array") else filled


def with_columns(X: Any, names: Sequence[str], values: NDArray[Any]) -> Any:
    """Return a data frame with more columns at the end."""
    new = dict(zip(names, values.T, strict=True))
    if is_frame(X, "pandas"):
        return X.assign(**new)
    series = type(X.to_series(0))
    return X.with_columns([series(name, column) for name, column in new.items()])


def without_rows(X: Any) -> Any:
    """Return a copy of the columns of a table, without its rows."""
    if isinstance(X, np.ndarray):
        return X[:0].copy()
    return X.iloc[:0].reset_index(drop=True) if is_frame(X, "pandas") else X.clear()


def is_integer(dtype: Any) -> bool:
    """Whether a dtype of NumPy, pandas or polars is an integer type."""
    if hasattr(dtype, "is_integer"):  # polars
        return bool(dtype.is_integer())
    return getattr(dtype, "kind", "O") in "iu"
