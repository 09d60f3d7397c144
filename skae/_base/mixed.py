"""Tables with categories: the methods of the estimators that accept them."""

from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from .._data.columns import (
    MixedColumns,
    categorical_columns,
    errors_naming_categories,
    mixed_columns,
)
from .._data.frames import labels_of
from .._data.inputs import is_data_frame, is_frame, with_nan


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
    # encoding of a table with categories, and one that an outer estimator has fitted
    _columns_: MixedColumns | None = None
    _encoding: MixedColumns | None = None

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

    def _mixed_table(self, X: Any, *, reset: bool) -> Any:
        """Return X as a data frame or an array that `_columns_` encodes; None for numbers.

        If `reset` is True, set `_columns_` and the names of the columns. Otherwise check them.
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
            limits = (self.max_categories, self.min_frequency)
            self._columns_ = self._encoding or mixed_columns(X, features, *limits)
        if self._columns_ is None:
            return None
        self._check_mixed(X)
        validate_data(self, X, reset=reset, skip_check_array=True)
        return X

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

    def _check_collection(self, X: Any) -> None:
        """Raise ValueError if a Dask collection has categories."""
        if not hasattr(X, "columns"):
            return
        if chosen := categorical_columns(X._meta, self.categorical_features):
            names = [labels_of(X)[i] for i in chosen]
            raise ValueError(
                f"X is a Dask collection with categories in columns {names}. Encode them first, "
                "for example with dask_ml.preprocessing.OneHotEncoder, or pass X.compute()."
            )
