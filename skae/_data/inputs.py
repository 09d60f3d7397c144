"""Conversion of missing values in X to NaN, and rejection of dates."""

import sys
from collections.abc import Iterable, Sequence
from datetime import date, time, timedelta
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn import config_context
from sklearn.utils import assert_all_finite

DATES = (date, time, timedelta, np.datetime64, np.timedelta64)


def with_nan(X: Any, missing_value: Any = np.nan) -> Any:
    """Return X in a form for which scikit-learn reads every missing value as NaN.

    scikit-learn reads None, the null of polars, and pandas.NA in columns of a nullable dtype as
    NaN. It ignores the mask of masked arrays, cannot convert pandas.NA in columns of dtype object,
    and converts dates to integers.

    Parameters
    ----------
    X : array-like or data frame
        Rows before validation.
    missing_value : float, default=np.nan
        Value of masked entries in the result.

    Returns
    -------
    X : array-like or data frame
        The same object if no value has to be replaced.

    Raises
    ------
    TypeError
        If X contains dates, times or durations.
    """
    if isinstance(X, list | tuple) and any(isinstance(row, np.ma.MaskedArray) for row in X):
        X = np.ma.stack(X)
    if isinstance(X, list | tuple) and _need_care(_types_in_lists(X)):
        X = _as_objects(X)
    if isinstance(X, np.ndarray) and X.dtype.kind in "mM":
        _check_no_dates([X.dtype])
    if isinstance(X, np.ma.MaskedArray):
        X = _filled(X, missing_value)
    if isinstance(X, np.ndarray) and X.dtype.kind == "O":
        return _objects_with_nan(X)
    if is_frame(X, "pandas"):
        return _pandas_with_nan(X)
    if is_frame(X, "polars"):
        _check_no_dates([name for name, dtype in X.schema.items() if dtype.is_temporal()])
    return X


def has_missing(X: Any, estimator_name: str | None = None, *, allow_nan: bool = True) -> bool:
    """Return whether a validated array or sparse matrix contains NaN.

    If the sum of the values is finite, one pass is enough, as in scikit-learn's own check. The
    result does not depend on scikit-learn's option ``assume_finite``.

    Raises
    ------
    ValueError
        If X contains infinity, or NaN and `allow_nan` is False. The message is scikit-learn's.
    """
    values = X.data if issparse(X) else X
    if values.dtype.kind != "f":
        return False
    with np.errstate(all="ignore"):
        if np.isfinite(values.sum()):
            return False
        with config_context(assume_finite=False):
            options = {"estimator_name": estimator_name, "input_name": "X"}
            assert_all_finite(values, allow_nan=allow_nan, **options)
        return bool(np.isnan(np.min(values)))


def _filled(X: np.ma.MaskedArray[Any, Any], missing_value: Any) -> NDArray[Any]:
    """Return a masked array as a plain array, with `missing_value` at masked entries."""
    if not np.ma.is_masked(X):
        return np.asarray(X)
    entries: Any = X.astype(np.float64) if X.dtype.kind in "biu" else X
    value = missing_value if isinstance(missing_value, Real) else np.nan
    filled: NDArray[Any] = entries.filled(value)
    return filled


def _types_in_lists(rows: Sequence[Any]) -> set[type]:
    """Return the types of the entries of rows, which are lists, tuples or arrays."""
    types: set[type] = set()
    for row in rows:
        if isinstance(row, list | tuple):
            types.update(map(type, row))
        elif isinstance(row, np.ndarray):
            types.add(row.dtype.type)
    return types


def _need_care(types: Iterable[type]) -> bool:
    """Whether one of the types is a date type or a type of missing values."""
    return any(_is_date(kind) or _is_missing_value(kind) for kind in types)


def _is_date(kind: type) -> bool:
    """Whether a type is a type of dates, times or durations."""
    return issubclass(kind, DATES) or kind.__name__ == "Period"


def _is_missing_value(kind: type) -> bool:
    """Whether a type is the type of pandas.NA or of numpy.ma.masked."""
    return kind.__name__ == "NAType" or issubclass(kind, np.ma.core.MaskedConstant)


def _as_objects(rows: Sequence[Any]) -> NDArray[np.object_] | Sequence[Any]:
    """Return lists as an array of objects.

    Lists of unequal lengths are returned unchanged, and scikit-learn rejects them.
    """
    try:
        return np.array(rows, dtype=object)
    except ValueError:
        return rows


def _objects_with_nan(X: NDArray[Any]) -> NDArray[Any]:
    """Return an array of objects in which NaN replaces other missing values."""
    types = set(map(type, X.ravel()))
    _check_no_dates(sorted(kind.__name__ for kind in types if _is_date(kind)))
    if not _need_care(types):
        return X
    is_missing = np.frompyfunc(lambda entry: _is_missing_value(type(entry)), 1, 1)
    return np.where(is_missing(X).astype(bool), np.nan, X)


def is_frame(X: Any, library: str) -> bool:
    """Whether X is a data frame of a library. The library is not imported."""
    module = sys.modules.get(library)
    return module is not None and isinstance(X, module.DataFrame)


def is_data_frame(X: Any) -> bool:
    """Whether X is a data frame of pandas or polars."""
    return is_frame(X, "pandas") or is_frame(X, "polars")


def _pandas_with_nan(X: Any) -> Any:
    """Return a pandas frame in which NaN replaces pandas.NA in columns of dtype object."""
    kinds = [getattr(dtype, "kind", "O") for dtype in X.dtypes]
    _check_no_dates([name for name, kind in zip(X.columns, kinds, strict=True) if kind in "mM"])
    is_object = np.array([kind == "O" for kind in kinds], dtype=bool)
    if not is_object.any():
        return X
    objects = X.loc[:, is_object].to_numpy(dtype=object)
    if _objects_with_nan(objects) is objects:
        return X
    entries = X.to_numpy(dtype=object, copy=True)
    entries[X.isna().to_numpy()] = np.nan
    return type(X)(entries, index=X.index, columns=X.columns)


def _check_no_dates(found: Sequence[Any]) -> None:
    """Raise TypeError if a list of columns or types with dates is not empty."""
    if found:
        raise TypeError(
            f"X has dates, times or durations ({', '.join(map(str, found))}), which are no "
            "numbers. Convert them to numbers first, for instance to days since a date."
        )
