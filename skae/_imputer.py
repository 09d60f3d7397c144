"""Imputer based on a denoising autoencoder."""

from collections.abc import Sequence
from copy import copy
from numbers import Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn import config_context
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from . import _sklearn_compat
from ._autoencoder import AutoencoderTransformer
from ._base.composition import fit_inner
from ._base.inference import lazy_for_collections, output_names
from ._base.mixed import MixedTables, naming_categories
from ._base.validation import with_positive_weights
from ._dask.collections import is_collection, lazily, of_partitions, with_whole_rows
from ._data.frames import with_columns
from ._data.inputs import has_missing, with_nan
from ._data.markers import check_marker, equals_marker
from ._data.table import Table
from ._data.weights import Weights
from ._docstrings import with_shared_paragraphs
from ._initialization.architecture import automatic_layers
from ._initialization.bounds import given_bounds
from ._sklearn_compat import BaseImputer, EstimatorMixin, Interval, MissingValues

_AUTOENCODER = AutoencoderTransformer._parameter_constraints
# Parameters that are passed to the autoencoder.
_SHARED = (
    "n_components",
    "hidden_layer_sizes",
    "activation",
    "bounds",
    "noise",
    "batch_size",
    "learning_rate_init",
    "max_iter",
    "max_steps",
    "alpha",
    "validation_fraction",
    "random_state",
    "verbose",
    "categorical_features",
    "max_categories",
    "min_frequency",
)


@with_shared_paragraphs(
    default_layers='"auto"',
    automatic_bounds="Automatic bounds also hold if probabilistic PCA is kept: no negative number "
    "is imputed in a column of counts.",
    min_steps="600",
    random_part="the hidden entries",
)
class AutoencoderImputer(MixedTables, EstimatorMixin, BaseImputer):
    """Imputation of missing values with a denoising autoencoder.

    Tables may have numbers and categorical columns. The initial model is probabilistic PCA, fitted
    by EM. It imputes missing values with their conditional mean given the observed values of the
    row. An autoencoder starts exactly at this model. In each minibatch, a random share of the
    entries of each row is hidden, and the autoencoder is trained to restore these entries [1]_.
    `fit` keeps the network of a step, or probabilistic PCA, by the error of hidden entries of
    validation rows.

    The columns should have comparable units: standardise them first, as for PCA.
    :class:`~sklearn.preprocessing.StandardScaler` keeps missing values. A data frame with
    categories does not need to be standardised, see `categorical_features`.

    Parameters
    ----------
    n_components : int, float or "auto", default="auto"
        Number of components of the code. With at most 128 features, "auto" is the number of
        features, so that the code can contain all observed values. With more features, it is the
        number of components of the probabilistic PCA that best restores hidden entries.

    missing_values : int, float, np.nan or pandas.NA, default=np.nan
        Placeholder of missing values, a finite number or NaN. With np.nan, None, pandas.NA and null
        of polars are missing values too. If it is a number, this number rounded to the precision of
        X or to float32 is also missing. Masked entries are always missing.

    %(hidden_layer_sizes)s

    %(activation)s

    %(bounds)s

    noise : float, default=0.5
        Largest share of the entries of a row that are hidden in training. The share of each row is
        drawn uniformly between zero and this number.

    %(learning_rate_init)s

    %(batch_size)s

    %(max_iter)s

    %(max_steps)s

    %(alpha_of_error)s

    %(validation_fraction)s

    add_indicator : bool, default=False
        Whether to append columns that show which values were missing, see
        :class:`~sklearn.impute.MissingIndicator`.

    keep_empty_features : bool, default=False
        Whether to keep columns without any value in `fit`, and impute zeros in them. Otherwise
        `transform` drops these columns, and `fit` gives a warning. For a table without any value,
        `fit` raises an error.

    %(random_state)s

    %(verbose)s

    %(categorical_features)s

    %(max_categories)s

    %(min_frequency)s

    Attributes
    ----------
    autoencoder_ : AutoencoderTransformer or None
        Fitted network of the columns with values in `fit`. Its `transform` encodes rows whose
        missing values are NaN. The attribute is None if no column has a value.
    indicator_ : MissingIndicator or None
        Transformer that appends the columns of `add_indicator`.
    n_iter_ : int
        Number of epochs of training; 0 if no column has a value.
    %(n_features_in_)s
    %(feature_names_in_)s
    %(categories_)s
    %(is_categorical_)s

    See Also
    --------
    sklearn.impute.IterativeImputer : Fits a regression for each column.
    sklearn.impute.KNNImputer : Means over neighbours; stores the training rows.

    Notes
    -----
    `transform` uses only the weights and NumPy, also for new rows. A row without any value gets
    about the mean of each column. The number of components and the number of EM steps of
    probabilistic PCA are those that best restore hidden entries: often many components and few
    steps.

    A data frame with categories is encoded (:doc:`/guide/mixed`), and `transform` returns a data
    frame of the same kind. Observed entries are unchanged. A missing category is replaced by the
    most probable category, and a missing value in a column of integers by an integer. With
    `keep_empty_features`, a column of categories without any value stays missing.

    References
    ----------
    .. [1] P. Vincent et al. "Stacked Denoising Autoencoders", JMLR 11, 2010, section 3.3.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.preprocessing import scale
    >>> from skae import AutoencoderImputer
    >>> X = scale(load_breast_cancer().data)
    >>> hidden = np.random.default_rng(0).random(X.shape) < 0.2
    >>> imputer = AutoencoderImputer(random_state=0)
    >>> filled = imputer.fit_transform(np.where(hidden, np.nan, X))
    >>> print(f"error of hidden entries: {np.sqrt(np.square(filled - X)[hidden].mean()):.1f}")
    error of hidden entries: 0.4
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **{name: _AUTOENCODER[name] for name in _SHARED},
        "missing_values": [MissingValues(numeric_only=True)],
        "noise": [Interval(Real, 0, 1, closed="right")],
        "add_indicator": ["boolean"],
        "keep_empty_features": ["boolean"],
    }

    def __init__(
        self,
        n_components: float | Literal["auto"] = "auto",
        *,
        missing_values: Any = np.nan,
        hidden_layer_sizes: Literal["auto"] | int | Sequence[int] = "auto",
        activation: str = "silu",
        bounds: Any = "auto",
        noise: float = 0.5,
        learning_rate_init: float = 7e-3,
        batch_size: int = 256,
        max_iter: int | Literal["auto"] = "auto",
        max_steps: int | None = None,
        alpha: float = 0.1,
        validation_fraction: float = 0.1,
        add_indicator: bool = False,
        keep_empty_features: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        categorical_features: Literal["from_dtype"] | ArrayLike | None = "from_dtype",
        max_categories: int | None = None,
        min_frequency: float | None = None,
    ) -> None:
        super().__init__(
            missing_values=missing_values,
            add_indicator=add_indicator,
            keep_empty_features=keep_empty_features,
        )
        self.n_components = n_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.bounds = bounds
        self.noise = noise
        self.learning_rate_init = learning_rate_init
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.max_steps = max_steps
        self.alpha = alpha
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.verbose = verbose
        self.categorical_features = categorical_features
        self.max_categories = max_categories
        self.min_frequency = min_frequency

    @with_shared_paragraphs(rows="array-like")
    @_sklearn_compat.validating_parameters
    def fit(
        self,
        X: ArrayLike,
        y: object = None,
        *,
        X_val: ArrayLike | None = None,
        y_val: object = None,
        groups: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Fit probabilistic PCA, and train the network to restore hidden entries.

        Parameters
        ----------
        X : {array-like, Dask collection} of shape (n_samples, n_features)
            Rows, with or without missing values. A Dask array or frame is fitted by its workers,
            as in :class:`AutoencoderTransformer`, and its partitions are computed twice; three
            times if columns have categories.
        y : Ignored
            Not used, present for API consistency by convention.
        %(X_val)s
        y_val : Ignored
            Not used, present for API consistency by convention.
        %(groups)s
        %(sample_weight)s

        Returns
        -------
        self : AutoencoderImputer
            The fitted imputer.

        Raises
        ------
        ValueError
            If X has no value at all and `keep_empty_features` is False, X_val has other columns
            than X, or y_val or groups do not fit X_val, X and the parameters.
        """
        given: dict[str, Any] = {"y_val": y_val, "groups": groups, "sample_weight": sample_weight}
        X, given = with_positive_weights(X, given)
        fitted = copy(self)  # self is unchanged if the fit fails
        fitted._set_fitted({})
        if is_collection(X):
            X, missing = fitted._open_collection(X)
        else:
            X, missing = fitted._read(X, reset=True, weights=given["sample_weight"])
        if X_val is not None:
            with _sklearn_compat.errors_naming("X_val"):
                X_val, _ = fitted._read(X_val, reset=False)
        fitted._is_empty_ = is_empty = missing.all(axis=0)
        if is_empty.any() and not self.keep_empty_features:
            fitted._warn_of_dropped_columns()
        given["X_val"] = X_val

        def attributes_of(autoencoder: AutoencoderTransformer | None) -> dict[str, Any]:
            if autoencoder is not None:
                autoencoder.__dict__.pop("_encoding", None)
            fitted.autoencoder_ = autoencoder
            fitted.n_iter_ = 0 if autoencoder is None else autoencoder.n_iter_
            fitted._fit_indicator(missing)
            return fitted.__dict__

        if is_empty.all():
            self._set_fitted(attributes_of(None))
        else:
            autoencoder, X, given = fitted._without_empty_columns(X, given)
            fit_inner(self, autoencoder, attributes_of, X, **given)
        return self

    def _open_collection(self, X: Any) -> tuple[Any, NDArray[np.bool_]]:
        """Return a Dask array with NaN for missing values, and a mask of missing values.

        The mask has two rows for each partition: whether all values of a column are missing, and
        whether any value is missing.
        """
        X = with_whole_rows(X)
        self.n_features_in_, self._columns_ = X.shape[1], None
        self.__dict__.update(_sklearn_compat.feature_names(self, X._meta, reset=True))
        self._columns_ = self._columns_of_collection(X, reset=True)
        missing = np.concatenate(of_partitions(self, "_missing_columns", X))
        if self._columns_ is not None:
            return self._encoded_collection(X, self._columns_), missing
        rows = lazily(self, "_rows_with_nan", X, _sklearn_compat.check_feature_names_in(self))
        return (rows.to_dask_array() if hasattr(rows, "to_dask_array") else rows), missing

    def _missing_columns(self, X: ArrayLike) -> NDArray[np.bool_]:
        """Return two masks of columns: all values missing, and any value missing."""
        _, missing = self._read(X, reset=False)
        return np.stack([missing.all(axis=0), missing.any(axis=0)])

    def _rows_with_nan(self, X: ArrayLike) -> NDArray[Any]:
        """Validate rows and return them with NaN for missing values."""
        return _with_nan(*self._validate(X, reset=False))

    def _warn_of_dropped_columns(self) -> None:
        """Warn about columns without observed values; raise ValueError if all columns are empty."""
        if self._is_empty_.all():
            raise ValueError(
                "X has no value at all: all of it is missing. To fill it with zeros, set "
                "keep_empty_features=True."
            )
        names = getattr(self, "feature_names_in_", None)
        empty = _sklearn_compat.column_labels(np.flatnonzero(self._is_empty_), names)
        _sklearn_compat.warn(
            f"X has no value in columns {empty}: transform drops them. To keep them, filled with "
            "zeros, set keep_empty_features=True.",
            UserWarning,
        )

    def _without_empty_columns(
        self, X: Any, given: dict[str, Any]
    ) -> tuple[AutoencoderTransformer, Any, dict[str, Any]]:
        """Return an autoencoder for the columns with observed values, and these columns of X.

        The third result is `given`, with these columns of X_val.
        """
        params = {name: getattr(self, name) for name in _SHARED}
        has_value = ~self._is_empty_
        if not has_value.all() and self._columns_ is None:
            if not (self.bounds is None or isinstance(self.bounds, str)):  # bounds of all columns
                params["bounds"] = tuple(given_bounds(self.bounds, Table(X))[:, has_value])
            X = np.compress(has_value, X, axis=1)
            if given["X_val"] is not None:
                given = given | {"X_val": np.compress(has_value, given["X_val"], axis=1)}
        if self._columns_ is not None and isinstance(self.hidden_layer_sizes, str):
            # by the columns of the frame; the autoencoder would count the indicators of categories
            params["hidden_layer_sizes"] = automatic_layers(int(has_value.sum()))
        autoencoder = AutoencoderTransformer(**params, corruption="missing", whiten=False)
        autoencoder._is_of_imputer, autoencoder._encoding = True, self._columns_
        return autoencoder, X, given

    @lazy_for_collections(names=output_names)
    def transform(self, X: ArrayLike) -> NDArray[Any]:
        """Impute missing values.

        Parameters
        ----------
        X : {array-like, Dask collection} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        rows : ndarray or data frame of shape (n_samples, n_features_out)
            Rows with imputed values; a data frame if X is one that has categories. Observed values
            are unchanged, bit by bit. The dtype of an array is float32 for float32 rows, else
            float64. For a Dask array or frame, the result is a lazy Dask array or frame.
        """
        check_is_fitted(self)
        mixed = self._mixed_table(X, reset=False)
        if mixed is not None:
            filled: NDArray[Any] = self._transform_mixed(mixed)
            return filled
        X, missing = self._validate(X, reset=False)
        has_value = ~self._is_empty_
        if has_value.all():
            rows = self._filled(X.copy(), missing)
        else:
            rows = self._filled(*(np.compress(has_value, part, axis=1) for part in (X, missing)))
        if self.keep_empty_features and not has_value.all():
            imputed, rows = rows, np.where(missing, X.dtype.type(0), X)
            rows[:, has_value] = imputed
        result: NDArray[Any] = self._concatenate_indicator(rows, self._transform_indicator(missing))
        return result

    def _transform_mixed(self, X: Any) -> Any:
        """Impute missing values of a table with categories."""
        assert self._columns_ is not None
        missing = self._columns_.missing(X)
        encoded = check_array(self._columns_.encode(X), ensure_all_finite=False, estimator=self)
        encoded = self._filled(encoded, np.isnan(encoded))
        rows = self._columns_.filled(X, encoded, missing)
        if not self.keep_empty_features:
            rows = _sklearn_compat.safe_indexing(rows, np.flatnonzero(~self._is_empty_), axis=1)
        indicator = self._transform_indicator(missing)
        if indicator is None or isinstance(X, np.ndarray):
            return self._concatenate_indicator(rows, indicator)
        names = self.get_feature_names_out().tolist()
        return with_columns(rows, names, indicator)

    def _filled(self, rows: NDArray[Any], missing: NDArray[np.bool_]) -> NDArray[Any]:
        """Impute the missing values of rows in place, in blocks, and return the array.

        The array has only the columns that had observed values in `fit`.
        """
        incomplete = np.flatnonzero(missing.any(axis=1))
        if not len(incomplete):
            return rows
        rows[missing] = np.nan
        network = self.autoencoder_._network.astype(rows.dtype)
        first = 0
        for block in Table(rows, rows=incomplete, is_incomplete=True).blocks(network.width):
            index = incomplete[first : first + len(block)]
            first += len(block)
            filled = network.decode(network.encode(block))
            rows[index] = np.where(np.isnan(block), filled, block)
        return rows

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Return the names of the columns of `transform`.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the columns of X; None takes those of `fit`, or "x0", "x1" and so on.

        Returns
        -------
        names : ndarray of str
            Names of the columns of X that are kept, then the names of the indicator columns, which
            `add_indicator` adds.
        """
        check_is_fitted(self, "n_features_in_")
        names = _sklearn_compat.check_feature_names_in(self, input_features)
        kept = names if self.keep_empty_features else names[~self._is_empty_]
        names_out: NDArray[Any] = self._concatenate_indicator_feature_names_out(kept, names)
        return names_out

    def _read(
        self, X: Any, *, reset: bool, weights: Weights = None
    ) -> tuple[Any, NDArray[np.bool_]]:
        """Return rows, encoded or with NaN for missing values, and a mask of missing values.

        `weights` are the weights of the rows.
        """
        mixed = self._mixed_table(X, reset=reset, weights=weights)
        if mixed is None:
            rows, missing = self._validate(X, reset=reset)
            return _with_nan(rows, missing), missing
        value = self.missing_values
        if not (_sklearn_compat.is_scalar_nan(value) or _sklearn_compat.is_pandas_na(value)):
            raise ValueError(
                f"missing_values={value!r} is for a table of numbers, and X has categories. "
                "Replace it by NaN or None in X, and set missing_values=np.nan."
            )
        assert self._columns_ is not None
        return self._columns_.encode(mixed), self._columns_.missing(mixed)

    def _validate(self, X: Any, *, reset: bool) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return validated rows as floats, and a mask of missing values."""
        value, dtype, given = self.missing_values, [np.float64, np.float32], X
        X = with_nan(X, value)
        if _sklearn_compat.is_scalar_nan(value) or _sklearn_compat.is_pandas_na(value):
            with naming_categories(self, given):
                X = validate_data(self, X, dtype=dtype, ensure_all_finite=False, reset=reset)
            has_missing(X, type(self).__name__)
            return X, np.isnan(X)
        check_marker(value)
        with config_context(assume_finite=False), naming_categories(self, given):
            rows = validate_data(self, X, dtype=dtype, reset=reset)
        return rows, equals_marker(rows, value, getattr(X, "dtype", None))


def _with_nan(X: NDArray[Any], missing: NDArray[np.bool_]) -> NDArray[Any]:
    """Return rows with NaN for missing values."""
    return X if np.isnan(X[missing]).all() else np.where(missing, X.dtype.type(np.nan), X)
