"""Checks of Dask collections, and methods of fitted estimators applied to their partitions."""

import sys
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from .. import _sklearn_compat
from .._data.column_statistics import TableStatistics
from .._data.columns import categorical_mask
from .._data.inputs import is_frame, with_nan

Collection: TypeAlias = Any  # a Dask array or data frame; Dask is imported only where it is used


def is_collection(X: object) -> bool:
    """Whether X is a Dask array or data frame. Dask is not imported."""
    return "dask" in sys.modules and hasattr(X, "__dask_graph__") and hasattr(X, "to_delayed")


def with_whole_rows(X: Collection) -> Collection:
    """Return a collection whose partitions have all columns.

    Raises
    ------
    TypeError
        If the collection has dates, times or durations.
    ValueError
        If the collection is not two-dimensional.
    """
    with_nan(X._meta)
    if X.ndim != 2:
        raise ValueError(f"Expected 2D array, got a Dask collection of {X.ndim} dimensions.")
    if hasattr(X, "rechunk") and len(X.chunks[1]) > 1:
        return X.rechunk({1: -1})
    return X


def dtype_of_rows(X: Collection) -> str:
    """Return the dtype in which rows of a collection are stored, as a string."""
    if not hasattr(X, "dtypes"):  # an array
        is_kept = X.dtype.kind in "biuf" and X.dtype.itemsize <= 8
        return str(X.dtype.str) if is_kept else "<f8"
    try:
        return "<f4" if np.result_type(*X.dtypes) == np.float32 else "<f8"
    except TypeError:  # extension dtypes of pandas
        return "<f8"


def lazily(
    estimator: BaseEstimator,
    method: str,
    X: Collection,
    columns: Sequence[str | int] | None = None,
    dtype: DTypeLike | None = None,
) -> Collection:
    """Apply a method of a fitted estimator lazily to the partitions of a collection.

    The columns of X are checked immediately. The partitions are computed when the
    result is computed.

    Parameters
    ----------
    estimator : estimator
        A fitted estimator. It is copied, so that fitting it again does not change the result.
    method : str
        Name of the method. For each row, it returns a row, or a number if `columns` is None.
    X : Dask array or data frame
        The rows.
    columns : sequence of str or int, optional
        Names of the columns of the result.
    dtype : dtype, optional
        Dtype of the result; by default float32 if the rows are stored as float32, else float64.

    Returns
    -------
    result : Dask array, data frame or series
        The lazy result. A data frame or series has the index of X.

    Raises
    ------
    ValueError
        If the method does not accept the columns of X.
    """
    X = with_whole_rows(X)
    function, example = _bound(estimator, method, X)
    if is_frame(example, "pandas"):
        return _frames(function, example.iloc[:0], X)
    if dtype is None:
        dtype = np.float32 if dtype_of_rows(X) == "<f4" else np.float64
    dtype = np.dtype(object if example.dtype == object else dtype)
    shape = (0,) if columns is None else (0, len(columns))
    empty = np.empty(shape, dtype)
    if hasattr(X, "map_blocks"):
        options = {"drop_axis": 1} if columns is None else {"chunks": (X.chunks[0], shape[1:])}
        return X.map_blocks(partial(_of_block, function, empty), dtype=dtype, meta=empty, **options)
    import pandas as pd

    meta = pd.Series(empty) if columns is None else pd.DataFrame(empty, columns=list(columns))
    meta.index = X._meta.index[:0]
    return X.map_partitions(partial(_of_frame, function, meta), meta=meta)


def of_partitions(estimator: BaseEstimator, method: str, X: Collection) -> list[Any]:
    """Apply a method of a fitted estimator to each partition with rows, and compute the results.

    Returns
    -------
    results : list
        Results of the method, in the order of the partitions.

    Raises
    ------
    ValueError
        If the method does not accept the columns of X, or X has no row.
    """
    X = with_whole_rows(X)
    return _mapped(_bound(estimator, method, X)[0], X)


def table_statistics(X: Collection, categorical_features: Any) -> TableStatistics | None:
    """Compute the statistics of the columns of a collection; None if no column has categories.

    Raises
    ------
    ValueError, TypeError
        If a column has values of another type, or if two columns have the same name.
    """
    X = with_whole_rows(X)
    find = partial(categorical_mask, categorical_features=categorical_features)
    # the entries of columns of objects determine whether they are categories
    has_objects = hasattr(X, "columns") and any(_are_objects(X))
    masks = _mapped(find, X) if has_objects else [find(example_rows(X, 1))]
    is_categorical = np.any(masks, axis=0)
    if not is_categorical.any():
        return None
    parts = _mapped(partial(TableStatistics.of, is_categorical=is_categorical), X)
    template = parts[0].template
    if hasattr(X, "columns"):
        from dask.dataframe.dispatch import concat

        frames = [part.template for part in parts]
        template = concat(frames)  # type: ignore[no-untyped-call]  # with the categories of all
    return TableStatistics.merged(parts, template)


def _are_objects(X: Collection) -> list[bool]:
    """Return whether each column of a frame has the dtype object."""
    return [str(dtype) == "object" for dtype in X.dtypes]


def _mapped(function: Callable[[Any], Any], X: Collection) -> list[Any]:
    """Return the results of a function for the partitions that have rows, or for no rows."""
    from dask.base import compute
    from dask.delayed import delayed

    call = delayed(partial(_if_any, function), pure=True)
    parts = [call(part) for part in np.ravel(X.to_delayed()).tolist()]
    results = compute(*parts)  # type: ignore[no-untyped-call]  # Dask has types in part
    return [result for result in results if result is not None] or [function(example_rows(X, 0))]


def of_rows_or_partitions(estimator: BaseEstimator, method: str, X: Any) -> list[Any]:
    """Return the result of a method for rows, or the results for each partition of a collection."""
    check_is_fitted(estimator)
    if is_collection(X):
        return of_partitions(estimator, method, X)
    return [getattr(estimator, method)(X)]


def _bound(
    estimator: BaseEstimator, method: str, X: Collection
) -> tuple[Callable[[Any], Any], Any]:
    """Return a method of a copy of an estimator, and its result for a row like the rows of X."""
    check_is_fitted(estimator)
    if method == "transform" and _sklearn_compat.output_container(method, estimator) != "default":
        raise ValueError(
            "transform gives a Dask array for a Dask array, and a frame for a frame: it cannot "
            "give what set_output asks for. Use set_output(transform='default')."
        )
    estimator = _sklearn_compat.with_output_container(estimator, "default")
    example = getattr(estimator, method)(example_rows(X, 1))
    copied = _sklearn_compat.without_callbacks(deepcopy(estimator))
    bound: Callable[[Any], Any] = getattr(copied, method)
    return bound, example


def example_rows(X: Collection, n_rows: int) -> Any:
    """Return zero or one rows with the columns and the types of a collection.

    Objects are zeros, which are valid as numbers and as categories.
    """
    if hasattr(X, "columns"):
        rows = X._meta_nonempty.iloc[:n_rows].copy()
        rows.loc[:, _are_objects(rows)] = 0
        return rows
    return np.zeros((n_rows, X.shape[1]), object if X.dtype == object else np.float64)


def _frames(function: Callable[[Any], Any], meta: Any, X: Collection) -> Collection:
    """Apply a function that returns frames lazily to the partitions of a collection."""
    function = partial(_or_meta, function, meta)
    if hasattr(X, "map_partitions"):
        return X.map_partitions(function, meta=meta)
    from dask.dataframe import from_delayed
    from dask.delayed import delayed

    parts = [delayed(function)(block) for block in np.ravel(X.to_delayed()).tolist()]
    return from_delayed(parts, meta=meta, verify_meta=False)


def _or_meta(function: Callable[[Any], Any], meta: Any, rows: Any) -> Any:
    return function(rows) if rows.shape[0] else meta


def _if_any(function: Callable[[Any], Any], rows: Any) -> Any:
    return function(rows) if rows.shape[0] else None


def _of_block(function: Callable[[Any], Any], empty: NDArray[Any], block: Any) -> NDArray[Any]:
    return np.asarray(function(block), dtype=empty.dtype) if block.shape[0] else empty


def _of_frame(function: Callable[[Any], Any], meta: Any, frame: Any) -> Any:
    if not len(frame):
        return meta
    options = {"index": frame.index} | ({"columns": meta.columns} if meta.ndim > 1 else {})
    dtype = meta.dtype if meta.ndim == 1 else meta.dtypes.iloc[0]
    return type(meta)(np.asarray(function(frame), dtype=dtype), **options)
