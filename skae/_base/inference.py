"""Inference with a fitted autoencoder, using NumPy only."""

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse, sparray, spmatrix
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from .. import _sklearn_compat
from .._dask.collections import is_collection, lazily, of_rows_or_partitions
from .._data.columns import MixedColumns
from .._data.inputs import has_missing, with_nan
from .._data.table import Table
from .._data.weights import Weights
from .._networks.network import Autoencoder, squared_norms
from .._networks.ppca import ProbabilisticPCA
from .._sklearn_compat import EstimatorMixin
from .mixed import naming_categories

_LARGE_UNIT = 1e30

# Type of X in annotations.
MatrixLike: TypeAlias = ArrayLike | sparray | spmatrix


_Method = TypeVar("_Method", bound=Callable[..., Any])


def output_names(estimator: Any) -> NDArray[Any]:
    """Return the names of the columns of `transform`."""
    names: NDArray[Any] = estimator.get_feature_names_out()
    return names


def input_names(estimator: Any) -> NDArray[Any]:
    """Return the names of the columns of X."""
    names: NDArray[Any] = _sklearn_compat.check_feature_names_in(estimator)
    return names


def lazy_for_collections(
    names: Callable[[Any], Any] | None = None, dtype: type | None = None
) -> Callable[[_Method], _Method]:
    """Return a decorator that applies a method to each partition of a Dask collection, lazily.

    Parameters
    ----------
    names : callable, optional
        ``names(estimator)`` returns the names of the columns of the result; None if the method
        returns one number for each row.
    dtype : type, optional
        Dtype of the result; by default the float type of the rows.
    """

    def decorate(method: _Method) -> _Method:
        @wraps(method)
        def of_rows_or_collection(self: Any, X: Any) -> Any:
            if not is_collection(X):
                return method(self, X)
            check_is_fitted(self)
            return lazily(self, method.__name__, X, None if names is None else names(self), dtype)

        return cast(_Method, of_rows_or_collection)

    return decorate


class FittedAutoencoder(
    EstimatorMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Fitted attributes of an autoencoder, and the methods that encode, decode and score rows."""

    encoder_: dict[str, Any]
    decoder_: dict[str, Any]
    center_: NDArray[Any]
    bounds_: NDArray[Any]
    activations_: tuple[str, str, str]
    imputation_model_: dict[str, Any]
    scale_: float
    mean_: NDArray[np.float64]
    n_components_: int
    n_features_in_: int
    feature_names_in_: NDArray[Any]
    n_samples_seen_: int
    n_steps_: int
    n_iter_: int
    best_step_: int
    loss_curve_: NDArray[np.float64]
    validation_curve_: NDArray[np.float64]
    _trained_with_missing_: bool  # whether training rows had missing values
    # encoding of a table with categories, and the encoding of rows that are encoded before fit
    _columns_: MixedColumns | None = None
    _encoding: MixedColumns | None = None

    if TYPE_CHECKING:  # methods of scikit-learn's classes, which have no types

        def fit_transform(self, X: MatrixLike, y: object = None, **params: Any) -> NDArray[Any]: ...
        def get_feature_names_out(self, input_features: object = None) -> NDArray[Any]: ...
        def get_params(self, deep: bool = True) -> dict[str, Any]: ...
        def set_output(self, *, transform: str | None = None) -> Self: ...
        def set_params(self, **params: Any) -> Self: ...

    @property
    def _network(self) -> Autoencoder:
        """The fitted network that encodes and decodes rows."""
        params = {"encoder": self.encoder_, "decoder": self.decoder_}
        return Autoencoder(
            params=params,
            offset=self.center_,
            scale=1.0,
            bounds=self.bounds_,
            activations=self.activations_,
            imputer=ProbabilisticPCA(**self.imputation_model_),
        )

    @property
    def components_(self) -> NDArray[Any]:
        """Linear path of the encoder, which adds ``(X - center_) @ components_.T`` to the code."""
        check_is_fitted(self)
        path = self._network.linear_path()
        if path is None:
            raise AttributeError("components_ needs a linear path, which requires init='pca'.")
        return path.T

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    @lazy_for_collections(names=output_names)
    def transform(self, X: MatrixLike) -> NDArray[Any]:
        """Encode rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        codes : ndarray of shape (n_samples, n_components_)
            Latent codes of the rows; float32 for float32 rows, else float64.
        """
        network, table = self._prepare(X)
        return table.map(network.encode, network.width)

    @lazy_for_collections(names=input_names)
    def inverse_transform(self, X: ArrayLike) -> NDArray[Any]:
        """Decode codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components_)
            Codes.

        Returns
        -------
        rows : ndarray or data frame of shape (n_samples, n_features_in_)
            Reconstructed rows, clipped to ``bounds_``; float32 for float32 codes, else float64. A
            frame with the names of `feature_names_in_` if `set_output` asks for frames.

        Raises
        ------
        ValueError
            If the number of columns of X is not `n_components_`, if values are missing, or if X is
            a frame whose columns have the output names of `transform` in another order.
        """
        check_is_fitted(self)
        options = {"dtype": [np.float64, np.float32], "ensure_all_finite": False}
        codes: NDArray[Any] = check_array(with_nan(X), **options)
        has_missing(codes, allow_nan=False)
        if codes.shape[1] != self.n_components_:
            raise ValueError(
                f"X has {codes.shape[1]} columns, but the code of this {type(self).__name__} has "
                f"{self.n_components_} components."
            )
        self._check_names_of_codes(X)
        table, network = Table(codes), self._network
        rows = table.map(network.astype(table.dtype).decode, network.width)
        return self._named(self._decode(rows, X), X)

    def _check_names_of_codes(self, X: Any) -> None:
        """Raise ValueError if X is a frame with names of `transform`, but in another order."""
        names, expected = _sklearn_compat.names_of_columns(X), self.get_feature_names_out()
        if np.isin(names, expected).any() and not np.array_equal(names, expected):
            raise ValueError(
                "The feature names should match the output names of transform, in the same order: "
                f"{', '.join(expected)}. Select X[get_feature_names_out()]."
            )

    def _named(self, rows: Any, X: Any = None) -> NDArray[Any]:
        """Return rows with a column for each feature in the container that `set_output` asks for.

        The rows correspond to the rows of X.
        """
        named: NDArray[Any] = _sklearn_compat.in_output_container(self, rows, X)
        return named

    @lazy_for_collections(names=input_names)
    def reconstruct(self, X: MatrixLike) -> NDArray[Any]:
        """Encode and decode rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        rows : ndarray or data frame of shape (n_samples, n_features_in_)
            Reconstructed rows, clipped to ``bounds_``; float32 for float32 rows, else float64. A
            frame with the names of `feature_names_in_` if `set_output` asks for frames.
        """
        network, table = self._prepare(X)
        rows = table.map(lambda rows: network.decode(network.encode(rows)), network.width)
        return self._named(self._decode(rows, X), X)

    @lazy_for_collections(dtype=np.float64)
    def score_samples(self, X: MatrixLike) -> NDArray[Any]:
        """Compute the negative squared error of each row; unusual rows have low scores.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Minus the sum over the features of the squared reconstruction error, float64. Minus
            infinity if the sum overflows.
        """
        network, table = self._prepare(X)
        network = network.rescaled(self.scale_).astype(table.dtype)
        with np.errstate(over="ignore"):
            scores: NDArray[np.float64] = table.map(network.squared_errors, network.width)
            scores *= -(network.scale**2)
        return scores

    def score(self, X: MatrixLike, y: object = None) -> float:
        """Compute the fraction of the variance that the reconstruction retains.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        score : float
            One minus the total squared error divided by the total squared distance from ``mean_``.
            If the network is PCA, the score of its training rows is the sum of
            ``PCA.explained_variance_ratio_``.
        """
        parts = of_rows_or_partitions(self, "_error_and_total", X)
        errors, totals, units = np.transpose(parts)
        errors, totals = np.array([errors, totals]) * (units / units.max()) ** 2
        error, total = errors.sum(), totals.sum()
        if total == 0:
            return float(error == 0)
        return float(1 - error / total)

    def _error_and_total(self, X: MatrixLike) -> tuple[float, float, float]:
        """Return the total squared error, the total squared distance from the mean, and the unit.

        The unit is `scale_` or the largest distance of an entry from the mean, whichever is larger.
        The first two results are divided by the squared unit, so that squares neither overflow nor
        underflow.
        """
        network, table = self._prepare(X)
        max_distance = abs(np.stack(table.min_max()) - self.mean_)
        unit = float(np.fmax.reduce(max_distance, axis=None, initial=self.scale_))
        # with a large unit, rescaled weights may be too large for single precision
        dtype = np.float64 if unit > _LARGE_UNIT else table.dtype
        network = network.rescaled(unit).astype(dtype)

        def squared_distances(rows: NDArray[Any]) -> NDArray[Any]:
            missing = np.isnan(rows) if table.is_incomplete else None
            return squared_norms((rows - self.mean_) / unit, missing)

        squared_errors = partial(network.squared_errors, unit=unit / network.scale)
        errors = table.map(squared_errors, network.width)
        return errors.sum(), table.map(squared_distances).sum(), unit

    def to_keras(self) -> Any:
        """Build a Keras model that computes the same reconstruction.

        The model consists of built-in layers and has the dtype of the Keras dtype policy. It can be
        trained further, saved and exported, and it runs on GPUs.

        Returns
        -------
        model : keras.Model
            Model that maps complete rows to their reconstruction, with the sub-models
            ``model.get_layer("encoder")`` and ``model.get_layer("decoder")``.

        Raises
        ------
        ValueError
            If the training rows had missing values: the model does not impute them.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from skae import AutoencoderTransformer
        >>> X = load_iris().data.astype("float32")
        >>> ae = AutoencoderTransformer(2, max_steps=20, random_state=0).fit(X)
        >>> model = ae.to_keras()
        >>> bool(abs(model.predict(X, verbose=0) - ae.reconstruct(X)).max() < 1e-5)
        True
        >>> model.get_layer("encoder").output_shape
        (None, 2)
        """
        check_is_fitted(self)
        self._check_exportable()
        from .._keras import to_keras  # imports TensorFlow

        return to_keras(self._network)

    def _check_exportable(self) -> None:
        """Raise a ValueError if the training rows had missing values."""
        if self._trained_with_missing_:
            raise ValueError(
                f"This {type(self).__name__} was trained on rows with missing values, in this or "
                "an earlier call of fit or partial_fit, and an exported network does not impute "
                "them. Impute the rows first, for example with AutoencoderImputer, and fit and "
                "export a new estimator on the imputed rows."
            )

    def _validate(
        self, X: Any, *, reset: bool, min_samples: int = 1, weights: Weights = None
    ) -> tuple[Table, dict[str, Any]]:
        """Validate rows; numeric arrays, in memory or memory-mapped, are not copied or converted.

        Return the table of the rows, and the fitted attributes that describe its columns. These
        attributes are not set here, because the fit may fail later. `weights` are the weights of
        the rows.
        """
        checked = copy(self)
        options = {"ensure_min_samples": min_samples, "ensure_all_finite": False}
        groups = categories = None
        if self._encoding is not None:
            encoded, checked._columns_ = X, self._encoding
            validate_data(checked, self._encoding.template, reset=reset, skip_check_array=True)
        else:
            encoded = checked._encoded(X, reset=reset, weights=weights)
        if encoded is None:
            X = checked._validate_numbers(X, reset=reset, **options)
        else:
            assert checked._columns_ is not None
            groups, categories = checked._columns_.groups, checked._columns_.category_columns
            X = check_array(encoded, estimator=self, **options)
        is_incomplete = has_missing(X, type(self).__name__)
        table = Table(
            X, weights=weights, is_incomplete=is_incomplete, groups=groups, categories=categories
        )
        names = ("n_features_in_", "feature_names_in_", "_columns_")
        return table, {name: vars(checked)[name] for name in names if name in vars(checked)}

    def _validate_numbers(self, X: Any, *, reset: bool, **options: Any) -> Any:
        """Return a table of numbers as a validated array or CSR matrix."""
        with naming_categories(self, X):
            X = with_nan(X)
            is_numeric = getattr(getattr(X, "dtype", None), "kind", "none") in "biuf"
            as_it_is = is_numeric and X.dtype.itemsize <= 8 and not issparse(X)
            dtype = None if as_it_is else [np.float64, np.float32]
            return validate_data(self, X, accept_sparse="csr", dtype=dtype, reset=reset, **options)

    def _encoded(
        self, X: Any, *, reset: bool = False, weights: Weights = None
    ) -> NDArray[np.float64] | None:
        """Return X, a table with categories, as an encoded array; None for a table of numbers."""
        return None

    def _decode(self, rows: NDArray[Any], like: Any = None) -> Any:
        """Return rows of the network's output as rows of the table that `like` is part of."""
        return rows

    def _prepare(self, X: MatrixLike, network: Any = None) -> tuple[Any, Table]:
        """Return `network` (default: the fitted one) in the float type of X, and X as a table."""
        check_is_fitted(self)
        table, _ = self._validate(X, reset=False)
        network = (self._network if network is None else network).astype(table.dtype)
        return network if table.is_incomplete else replace(network, imputer=None), table

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
