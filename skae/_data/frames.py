"""Columns of data frames of pandas and polars, and of arrays.

pandas is imported only to save and load its dtypes, and polars is not imported.
"""

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from numbers import Integral, Number
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array

from .. import _sklearn_compat
from .inputs import has_missing, is_frame, with_nan

# Names of the dtypes of pandas, Arrow and polars whose entries are categories.
_CATEGORICAL_DTYPE = re.compile(r"(categor|enum|dictionary|bool|(large_)?str(ing)?\b)", re.I)


def labels_of(X: Any) -> list[Any]:
    """Return the names of the columns, or their indices if they have no names."""
    return list(getattr(X, "columns", range(X.shape[1])))


def errors_naming_column(name: Any) -> AbstractContextManager[None]:
    """Return a context in which errors name a column."""
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
    elif hasattr(column, "array") and hasattr(column.array, "codes"):  # categories of pandas
        entries = as_objects([*column.array.categories, None])[column.array.codes]
    elif hasattr(column, "array"):  # pandas
        entries = column.to_numpy(dtype=object, na_value=None)
    else:
        entries = as_objects(column.to_list())
    entries = entries.copy()
    entries[entries != entries] = None  # NaN
    return entries


def entries_of_table(X: Any) -> NDArray[Any]:
    """Return the entries of a table as an array of objects, with None for missing entries."""
    X = np.asarray(X, dtype=object) if isinstance(X, list | tuple) else X
    return np.column_stack([entries_of(column_of(X, i)) for i in range(X.shape[1])])


def columns_with_categories(X: Any) -> list[int]:
    """Return the indices of the columns of a data frame whose type is a type of categories."""
    found, names = [], labels_of(X)
    for i, dtype in enumerate(map(str, X.dtypes)):
        if dtype.lower() == "object":
            with errors_naming_column(names[i]):
                found += [i] * _are_categories(entries_of(column_of(X, i)))
        elif _CATEGORICAL_DTYPE.match(dtype):
            found.append(i)
    return found


def _are_categories(entries: NDArray[Any]) -> bool:
    """Whether the types of the entries of a column of objects are types of categories."""
    types = set(map(type, entries)) - {type(None)}
    if all(issubclass(kind, str) for kind in types) or types <= {bool, np.bool_}:
        return bool(types)
    if all(issubclass(kind, Number) for kind in types):
        return False
    raise TypeError(f"its entries have {type_names(types)}. Convert them to numbers or to strings.")


def type_names(types: set[type]) -> str:
    """Return a text with the names of types."""
    return f"the types {', '.join(sorted(kind.__name__ for kind in types))}"


def floats_of(column: Any) -> NDArray[np.float64]:
    """Return the entries of a column of numbers as floats, with NaN for missing entries."""
    table = column.to_frame() if hasattr(column, "to_frame") else column[:, None]
    options = {"dtype": np.float64, "ensure_all_finite": False, "ensure_min_samples": 0}
    values: NDArray[np.float64] = check_array(with_nan(table), **options)
    has_missing(values)  # infinity is an error
    return values[:, 0]


def as_objects(values: Sequence[Any]) -> NDArray[Any]:
    """Return values as an array of objects of one dimension."""
    return np.fromiter(values, dtype=object, count=len(values))


def integers_between(values: NDArray[Any], least: float, most: float) -> NDArray[Any]:
    """Return rounded values in a range, as integers that floats may not represent."""
    return as_objects([min(max(int(value), least), most) for value in np.rint(values)])


def column_like(column: Any, entries: NDArray[Any]) -> Any:
    """Return entries as a column with the name and the dtype of a column of a data frame.

    The dtype Null of polars, which has no entries, is replaced by the dtype of the entries.
    """
    if hasattr(column, "array"):  # pandas
        values = entries.tolist() if entries.dtype == object else entries
        return type(column)(values, name=column.name, dtype=column.dtype)
    dtype = None if str(column.dtype) == "Null" else column.dtype
    return type(column)(column.name, entries.tolist(), dtype=dtype, strict=False)


def with_entries(
    column: Any, chosen: NDArray[np.bool_], entries: NDArray[Any], template: Any
) -> Any:
    """Return a column of a data frame with other entries at the chosen rows.

    If the dtype of the column cannot hold the entries, the result has the dtype of `template`.

    Raises
    ------
    ValueError
        If neither dtype can hold the entries.
    """
    values, likes = np.where(chosen, entries, entries_of(column)), [column, template]
    if hasattr(column, "array") and hasattr(column.array, "add_categories"):
        known = set(column.array.categories) | {None}
        new = [entry for entry in dict.fromkeys(entries[chosen]) if entry not in known]
        likes[0] = column.cat.add_categories(new)
    elif is_integer(column) and not is_integer(template):  # would cut fractions
        likes = [template]
    is_missing = values == None  # noqa: E711
    for like in likes:
        try:
            filled = column_like(like, values)
        except (TypeError, ValueError, OverflowError):
            continue
        if np.array_equal(entries_of(filled) == None, is_missing):  # noqa: E711
            return filled.set_axis(column.index) if hasattr(column, "array") else filled
    raise ValueError(
        f"its dtype {column.dtype} cannot hold an imputed value. Convert it to {template.dtype}, "
        "the dtype in fit."
    )


def with_columns(X: Any, names: Sequence[str], values: NDArray[Any]) -> Any:
    """Return a data frame with more columns at the end; `names` are the names of all columns."""
    old, new = names[: X.shape[1]], dict(zip(names[X.shape[1] :], values.T, strict=True))
    repeated = [name for name in new if name in old]
    if repeated:
        raise ValueError(f"X has a column {repeated[0]!r}, the name of a new column: rename it.")
    if is_frame(X, "pandas"):
        has_names = all(isinstance(name, str) for name in X.columns)
        return (X if has_names else X.set_axis(old, axis=1)).assign(**new)
    series = type(X.to_series(0))
    return X.with_columns([series(name, column) for name, column in new.items()])


def without_rows(X: Any) -> Any:
    """Return a copy of the columns of a table, without its rows."""
    if isinstance(X, np.ndarray):
        return X[:0].copy()
    return X.iloc[:0].reset_index(drop=True) if is_frame(X, "pandas") else X.clear()


def state_of(template: Any) -> Any:
    """Return a table without rows as plain data, which skops can save, if that is possible."""
    if not is_frame(template, "pandas"):
        return template
    with suppress(TypeError, ValueError, NotImplementedError):
        dtypes = [_dtype_state(dtype) for dtype in template.dtypes]
        state = {"columns": _index_state(template.columns), "dtypes": dtypes}
        again = template_of(state)
        has_columns = again.columns.identical(template.columns)
        if has_columns and again.dtypes.tolist() == template.dtypes.tolist():
            return state
    return template


def template_of(state: Any) -> Any:
    """Return the table without rows whose `state_of` is given."""
    if not isinstance(state, dict):
        return state
    import pandas as pd

    columns = []
    for dtype in state["dtypes"]:
        if isinstance(dtype, dict):
            dtype = pd.CategoricalDtype(pd.Index(**dtype["categories"]), dtype["ordered"])
        columns.append(pd.Series(dtype=dtype))
    template = pd.DataFrame(dict(enumerate(columns)))
    template.columns = pd.Index(**state["columns"])
    return template


def _dtype_state(dtype: Any) -> Any:
    """Return the name of a dtype of pandas, or its categories."""
    if not hasattr(dtype, "categories"):
        return str(dtype)
    return {"categories": _index_state(dtype.categories), "ordered": dtype.ordered}


def _index_state(index: Any) -> dict[str, Any]:
    """Return the arguments of `pandas.Index`; TypeError if the labels are no text or numbers."""
    labels = index.tolist()
    if not all(isinstance(label, str | Number) for label in labels):
        raise TypeError("The labels are neither text nor numbers.")
    return {"data": labels, "name": index.name, "dtype": str(index.dtype)}


def is_integer(column: Any) -> bool:
    """Whether the dtype of a column, or the type of all of its entries, is an integer type."""
    dtype = column.dtype
    if hasattr(dtype, "is_integer"):  # polars
        return bool(dtype.is_integer())
    if getattr(dtype, "kind", None) == "O":
        types = set(map(type, entries_of(column))) - {type(None)}
        return bool(types) and all(issubclass(kind, Integral) for kind in types)
    return getattr(dtype, "kind", "O") in "iu"
