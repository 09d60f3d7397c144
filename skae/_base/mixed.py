"""Tables with categories: the methods of the estimators that accept them."""

from contextlib import AbstractContextManager
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from .._dask.collections import Collection, example_rows, lazily, table_statistics
from .._data.columns import (
    CategoryLimits,
    MixedColumns,
    columns_from_statistics,
    errors_naming_categories,
    mixed_columns,
)
from .._data.frames import labels_of
from .._data.inputs import is_data_frame, is_frame, with_nan
from .._data.weights import Weights


def naming_categories(estimator: Any, X: Any) -> AbstractContextManager[None]:
    """Return a context in which an error of conversion to numbers names columns with categories."""
    hint = "Encode them first, for example with sklearn.preprocessing.OneHotEncoder."
    if hasattr(estimator, "categorical_features"):
        hint = f"Set categorical_features='from_dtype'. Or: {hint}"
    return errors_naming_categories(X, hint)


class MixedTables:
    """Mixin of estimators that accept tables with categories."""

    categorical_features: Any
    max_categories: int | None
    min_frequency: float | None
    bounds: Any
    n_features_in_: int
    _columns_: MixedColumns | None = None  # encoding of a table with categories
    _has_normal_scores = False  # whether numbers are encoded as normal scores

    @property
    def categories_(self) -> list[NDArray[Any]]:
        """Categories of each column that has categories."""
        check_is_fitted(self)
        return [] if self._columns_ is None else self._columns_.categories

    @property
    def is_categorical_(self) -> NDArray[np.bool_]:
        """Whether each column has categories."""
        check_is_fitted(self)
        if self._columns_ is None:
            return np.zeros(self.n_features_in_, dtype=bool)
        return self._columns_.is_categorical

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]  # of BaseEstimator
        tags.input_tags.categorical = True
        return tags

    def _encoded(
        self, X: Any, *, reset: bool = False, weights: Weights = None
    ) -> NDArray[np.float64] | None:
        """Return X, a table with categories, as an encoded array; None for a table of numbers."""
        mixed = self._mixed_table(X, reset=reset, weights=weights)
        if mixed is None:
            return None
        assert self._columns_ is not None
        return self._columns_.encode(mixed)

    def _mixed_table(self, X: Any, *, reset: bool, weights: Weights = None) -> Any:
        """Return X as a data frame or an array that `_columns_` encodes; None for numbers.

        If `reset` is True, set `_columns_` and the names of the columns. Otherwise check them.
        `weights` are the weights of the rows.
        """
        features = self.categorical_features
        if not is_data_frame(X):
            is_array_of_numbers = features is None or isinstance(features, str)
            if is_array_of_numbers if reset else self._columns_ is None:
                self._columns_ = None
                return None
            options = {"ensure_all_finite": False, "ensure_min_samples": 0, "estimator": self}
            is_text = getattr(getattr(X, "dtype", None), "kind", "U") in "US"
            X = check_array(with_nan(X), dtype=object if is_text else None, **options)
        elif reset or self._columns_ is not None:
            with_nan(X)  # dates are an error
        if reset:
            self._columns_ = mixed_columns(
                X,
                features,
                self._category_limits,
                weights=weights,
                as_normal_scores=self._has_normal_scores,
            )
        if self._columns_ is None:
            return None
        self._check_mixed(X)
        validate_data(self, X, reset=reset, skip_check_array=True)
        return X

    @property
    def _category_limits(self) -> CategoryLimits:
        return CategoryLimits(self.max_categories, self.min_frequency)

    def _check_mixed(self, X: Any) -> None:
        """Raise ValueError if X, a table with categories, or the bounds are of another kind."""
        assert self._columns_ is not None
        template = self._columns_.template
        names = [labels_of(template)[i] for i in np.flatnonzero(self._columns_.is_categorical)]
        if not (self.bounds is None or isinstance(self.bounds, str)):
            raise ValueError(
                "A pair of bounds is for a table of numbers, and X has categories in columns "
                f"{names}. Set bounds='auto' or None."
            )
        if is_data_frame(template) and not is_data_frame(X):
            raise ValueError(
                f"X is no data frame, but this {type(self).__name__} was fitted to one with "
                f"categories in columns {names}. Pass a data frame with the same columns."
            )

    def _decode(self, rows: NDArray[Any], like: Any = None) -> Any:
        """Return rows of the network's output as rows of the table.

        The rows of a pandas frame get the index of `like`, if it is one too.
        """
        if self._columns_ is None:
            return rows
        return self._columns_.decode(rows, like.index if is_frame(like, "pandas") else None)

    def _check_exportable(self) -> None:
        super()._check_exportable()  # type: ignore[misc]  # of FittedAutoencoder
        if self._columns_ is not None:
            raise ValueError(
                f"This {type(self).__name__} was fitted to a table with categories, and an "
                "exported network does not encode them. Encode them first, for example with "
                "sklearn.preprocessing.OneHotEncoder, and fit to the encoded table."
            )

    def _columns_of_collection(self, X: Collection, *, reset: bool) -> MixedColumns | None:
        """Return the encoding of a Dask collection, or None if no column has categories.

        If `reset` is True, compute the partitions. Otherwise check that the fitted encoding fits.
        """
        if not reset:
            self._mixed_table(example_rows(X, 1), reset=False)
            return self._columns_
        table = table_statistics(X, self.categorical_features)
        if table is None:
            return None
        as_scores = self._has_normal_scores
        return columns_from_statistics(table, self._category_limits, as_normal_scores=as_scores)

    def _encoded_collection(self, X: Collection, columns: MixedColumns) -> Collection:
        """Return a Dask collection as a Dask array with encoded rows."""
        encoder = copy(self)
        encoder._columns_ = columns
        validate_data(encoder, columns.template, skip_check_array=True)
        rows = lazily(encoder, "_encoded", X, list(range(len(columns.groups))), np.float64)
        return rows.to_dask_array() if hasattr(rows, "to_dask_array") else rows
