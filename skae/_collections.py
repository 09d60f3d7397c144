"""Dask collections: what they are, and a fitted estimator's methods over their partitions."""

import sys
from functools import partial

import numpy as np


def is_collection(X):
    """Whether X is a Dask collection, which nothing is without Dask."""
    return "dask" in sys.modules and hasattr(X, "__dask_graph__") and hasattr(X, "to_delayed")


def with_whole_rows(X):
    """Return a collection whose partitions have all columns."""
    if X.ndim != 2:
        raise ValueError(f"Expected 2D array, got a Dask collection of {X.ndim} dimensions.")
    if hasattr(X, "rechunk") and len(X.chunks[1]) > 1:
        return X.rechunk({1: -1})
    return X


def dtype_of_rows(X):
    """Return the type in which rows of a collection are stored."""
    if not hasattr(X, "dtypes"):  # an array
        return X.dtype.str if X.dtype.kind in "biuf" and X.dtype.itemsize <= 8 else "<f8"
    try:
        return "<f4" if np.result_type(*X.dtypes) == np.float32 else "<f8"
    except TypeError:  # pandas' own types
        return "<f8"


def lazily(method, X, columns=None, dtype=None):
    """Apply a method of a fitted estimator to the partitions of a collection, when asked for.

    Parameters
    ----------
    method : callable
        Gives a row, or with `columns=None` a number, for each row of a block.
    X : Dask array or data frame
        The rows.
    columns : sequence of str, optional
        Names of the columns of the result.
    dtype : dtype, optional
        Of the result; by default that of the rows: float32 for float32, else float64.

    Returns
    -------
    result : Dask array, or a data frame or series with the index of X
    """
    X = with_whole_rows(X)
    dtype = np.dtype(dtype or (np.float32 if dtype_of_rows(X) == "<f4" else np.float64))
    shape = (0,) if columns is None else (0, len(columns))
    empty = np.empty(shape, dtype)
    if hasattr(X, "map_blocks"):
        options = {"drop_axis": 1} if columns is None else {"chunks": (X.chunks[0], shape[1:])}
        return X.map_blocks(partial(_of_block, method, empty), dtype=dtype, meta=empty, **options)
    import pandas as pd

    meta = pd.Series(empty) if columns is None else pd.DataFrame(empty, columns=list(columns))
    meta.index = X._meta.index[:0]
    return X.map_partitions(partial(_of_frame, method, meta), meta=meta)


def _of_block(method, empty, block):
    return np.asarray(method(block), dtype=empty.dtype) if len(block) else empty


def _of_frame(method, meta, frame):
    if not len(frame):
        return meta
    options = {"index": frame.index} | ({"columns": meta.columns} if meta.ndim > 1 else {})
    dtype = meta.dtype if meta.ndim == 1 else meta.dtypes.iloc[0]
    return type(meta)(np.asarray(method(frame), dtype=dtype), **options)
