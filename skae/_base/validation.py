"""Validation of the arguments of `fit` and `partial_fit`, in one process or in several workers."""

from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
from scipy.sparse import issparse
from sklearn import config_context
from sklearn.utils import assert_all_finite, check_consistent_length, check_random_state

from .. import _sklearn_compat
from .._dask.collections import is_collection
from .._data.dependence import dependence_reach
from .._data.splits import (
    MIN_VALIDATION_GROUPS,
    MIN_VALIDATION_ROWS,
    Split,
    all_rows,
    block_splits,
    group_numbers,
    group_splits,
    random_splits,
)
from .._data.table import Shard, Table
from .._data.targets import Target
from .._data.weights import Weights, with_mean_of_at_least_one
from .._initialization.architecture import Architecture
from .._parameters import check_not_given
from .._runtime.workers import current_workers

if TYPE_CHECKING:
    from .training import BaseAutoencoder


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingData:
    """Validated rows of a call of `fit` or `partial_fit`.

    Attributes
    ----------
    table : Table
        The rows, with the workers that read them.
    columns : dict
        Fitted attributes that describe the columns.
    seed : int
        Seed of all random numbers, the same in all workers.
    architecture : Architecture
        Architecture of the network for these rows.
    """

    table: Table
    columns: dict[str, Any]
    seed: int
    architecture: Architecture


def with_positive_weights(X: Any, given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return X, and the other arguments of `fit`, without rows of weight zero, in all workers.

    Parameters
    ----------
    X : object
        Rows.
    given : dict
        Other arguments of `fit`; y only if it is used. Its `sample_weight` becomes an array of
        positive weights, if it is given. They are divided by their mean if it is below one, as for
        weights that sum to one.

    Raises
    ------
    ValueError
        If `sample_weight` cannot be used with X, or if the weights are invalid.
    """
    if given["sample_weight"] is None:
        return X, given
    weighted: tuple[Any, dict[str, Any]] = current_workers().run_checked(
        _without_weights_of_zero, X, given
    )
    return weighted


def _without_weights_of_zero(X: Any, given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the result of `with_positive_weights` in this process, if there are weights."""
    if isinstance(X, Shard):
        check_not_given("a Shard", sample_weight=given["sample_weight"])
    if is_collection(X):
        check_not_given("a Dask collection", sample_weight=given["sample_weight"])
    weights = _sklearn_compat.check_sample_weight(given["sample_weight"], X)
    with np.errstate(over="ignore"):
        total = weights.sum()
    if not 0 < total < np.inf:
        raise ValueError(
            f"The sum of sample_weight must be positive and finite, got {total:g}: give at least "
            "one row a positive weight, and smaller weights if they overflow."
        )
    chosen = np.flatnonzero(weights)
    if len(chosen) < len(weights):
        parts = {name: given[name] for name in ("y", "groups") if name in given}
        check_consistent_length(X, *parts.values())
        take = _sklearn_compat.safe_indexing
        X = take(X.tocsr() if issparse(X) else X, chosen)
        given = given | {
            name: take(part, chosen) for name, part in parts.items() if part is not None
        }
    return X, given | {"sample_weight": with_mean_of_at_least_one(weights[chosen])}


def read_table(
    estimator: "BaseAutoencoder", X: object, *, reset: bool, weights: Weights = None
) -> tuple[Table, dict[str, Any]]:
    """Validate the rows of X, which may be a `Shard`, in all workers.

    Return their table, and the fitted attributes that describe its columns. Unless `reset` is True,
    the columns are checked against the columns of the fitted estimator.
    """
    workers, is_shard = current_workers(), isinstance(X, Shard)
    workers.check_agreement({"X": "a Shard" if is_shard else "all rows"})
    rows = X.X if isinstance(X, Shard) else X
    others_have_rows = is_shard and workers.n_workers > 1
    min_samples = 0 if others_have_rows else 1
    table, columns = workers.run_checked(
        estimator._validate, rows, reset=reset, min_samples=min_samples, weights=weights
    )
    if others_have_rows:
        if columns.get("_columns_") is not None and estimator._encoding is None:
            raise ValueError(
                "A Shard has categories, and other shards may have others: encode them first."
            )
        return table.in_shards(workers), columns
    return replace(table, workers=workers), columns


def agreed_seed(estimator: "BaseAutoencoder", table: Table, columns: dict[str, Any]) -> int:
    """Return the seed, which is the same in all workers.

    Raises
    ------
    ValueError
        If the workers have different parameters, tables or fitted networks.
    """
    seed = int(check_random_state(estimator.random_state).randint(np.iinfo(np.int32).max))
    if table.workers.n_workers > 1:
        facts = {name: repr(value) for name, value in estimator.get_params().items()}
        facts["the callbacks"] = repr(_sklearn_compat.callback_names(estimator))
        facts["random_state"] = "None" if estimator.random_state is None else f"seed {seed}"
        if table.shards is None:
            facts["the shape of X"] = str(table.X.shape)
            sample = np.arange(table.n_rows)[:: max(1, table.n_rows // 100)]
            facts["the hash of sample_weight"] = joblib.hash(table.weights)
            facts["the hash of 100 rows of X"] = joblib.hash(table.take(sample))
        facts["the number of columns of X"] = str(table.n_features)
        facts["the names of the columns"] = str(columns.get("feature_names_in_"))
        facts["the type of X"] = str(table.X.dtype)
        facts["the hash of the fitted network"] = joblib.hash(getattr(estimator, "encoder_", None))
        table.workers.check_agreement(facts)
    return int(table.workers.broadcast_object(seed))


def read_validation_rows(
    estimator: "BaseAutoencoder",
    X_val: object,
    y_val: object,
    data: TrainingData,
    target: Target | None,
) -> Table | None:
    """Return the table of the validation rows that the user passed, or None.

    Raises
    ------
    ValueError, TypeError
        If X_val has other columns than X, or if it is invalid for a reason that also makes X
        invalid.
    """
    if X_val is None:
        return None
    fitted = copy(estimator)
    fitted.__dict__.update(data.columns)
    with _sklearn_compat.errors_naming("X_val"):
        validation, _ = read_table(fitted, X_val, reset=False)
        estimator._check_rows(validation, data.columns)
        validation = _with_dtype_of(validation, data.table)
    if target is not None:
        validation = replace(validation, y=target.encode_validation(y_val, validation).y)
    if data.table.workers.n_workers > 1:
        hashed = joblib.hash((validation.X, validation.y))
        data.table.workers.check_agreement({"the hash of X_val and y_val": hashed})
    return validation


def _with_dtype_of(validation: Table, table: Table) -> Table:
    """Return validation rows in the dtype of the training rows.

    Raises
    ------
    ValueError
        If an entry becomes infinite.
    """
    if validation.dtype == table.dtype:
        return validation
    with np.errstate(over="ignore"):
        validation = replace(validation, X=validation.X.astype(table.dtype))
    with config_context(assume_finite=False):
        assert_all_finite(validation.X, allow_nan=True)
    return validation


def split_rows(
    estimator: "BaseAutoencoder",
    table: Table,
    validation: Table | None,
    groups: object,
    seed: int,
    pca_is_baseline: bool,
) -> list[Split]:
    """Return the splits into training and validation rows; see the module `_data.splits`.

    Raises
    ------
    ValueError
        If early stopping has no validation rows, or `groups` do not fit the table.
    """
    if validation is not None:
        return [all_rows(table.n_rows, validation)]
    fraction, rng = float(estimator.validation_fraction), np.random.default_rng(seed)
    if estimator.early_stopping and fraction == 0:
        raise ValueError(
            "early_stopping=True needs validation rows, and validation_fraction=0 holds none "
            "out. Set validation_fraction=0.1, pass X_val, or set early_stopping=False."
        )
    min_rows = MIN_VALIDATION_ROWS[estimator._spec().is_imputer] if pca_is_baseline else 1
    min_groups = MIN_VALIDATION_GROUPS if pca_is_baseline else 1
    if groups is None:
        reach = dependence_reach(table) if fraction else 0
        if not reach:
            return random_splits(table.n_rows, fraction, min_rows, rng)
        return block_splits(table.n_rows, reach, fraction, min_rows, min_groups, rng)
    groups = table.workers.run_checked(group_numbers, groups, table.X)
    table.workers.check_agreement({"the hash of groups": joblib.hash(groups)})
    return group_splits(groups, fraction, min_rows, min_groups, rng, table.weights)


def warn_of_empty_columns(table: Table, columns: dict[str, Any]) -> None:
    """Warn about columns without any value."""
    mixed = columns.get("_columns_")
    if len(empty := table.empty_columns() if mixed is None else mixed.empty_columns):
        labels = _sklearn_compat.column_labels(empty, columns.get("feature_names_in_"))
        meaning = "they count as zeros"
        if mixed is not None:
            meaning = "their numbers count as zeros, and their categories as missing"
        _sklearn_compat.warn(f"X has no value in columns {labels}: {meaning}.", UserWarning)
