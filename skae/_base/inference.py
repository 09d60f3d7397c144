"""Inference with a fitted autoencoder, using NumPy only.

The mixin of this module implements the methods of PCA for the fitted arrays of an estimator.
"""

from copy import copy
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse, sparray, spmatrix
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from .. import _sklearn_compat
from .._dask.collections import is_collection, lazily, of_partitions
from .._data.inputs import has_missing, with_nan
from .._data.table import Table
from .._networks.network import Autoencoder, squared_norms
from .._networks.ppca import Filling

_LARGE_UNIT = 1e30

# For type checkers.
Rows: TypeAlias = ArrayLike | sparray | spmatrix


class ServingMixin(ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """Mixin with the methods that encode, decode and score rows."""

    @property
    def _network(self):
        params = {"encoder": self.encoder_, "decoder": self.decoder_}
        filling = Filling(**self.filling_)
        return Autoencoder(params, self.offset_, 1.0, self.bounds_, self.activations_, filling)

    @property
    def components_(self) -> NDArray[Any]:
        """Linear path of the encoder; its part of the code is ``(X - offset_) @ components_.T``."""
        check_is_fitted(self)
        path = self._network.linear_path()
        if path is None:
            raise AttributeError("components_ is the linear path, which only init='pca' gives.")
        return path.T

    @property
    def _n_features_out(self):
        return self.n_components_

    def _names_in(self):
        """Return the names of the input columns."""
        return _sklearn_compat.check_feature_names_in(self)

    def transform(self, X: Rows) -> NDArray[Any]:
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
        if is_collection(X):
            check_is_fitted(self)
            return lazily(self, "transform", X, self.get_feature_names_out())
        network, table = self._prepare(X)
        return table.map(network.encode, network.width)

    def inverse_transform(self, X: ArrayLike) -> NDArray[Any]:
        """Decode codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components_)
            Codes.

        Returns
        -------
        rows : ndarray of shape (n_samples, n_features_in_)
            Reconstructed rows, clipped to ``bounds_``; float32 for float32 codes, else float64.

        Raises
        ------
        ValueError
            If the number of columns of X is not `n_components_`, if values are missing, or if X is
            a frame whose columns have the output names of `transform` in another order.
        """
        check_is_fitted(self)
        if is_collection(X):
            return lazily(self, "inverse_transform", X, self._names_in())
        columns = _sklearn_compat.names_of_columns(X)
        X = check_array(with_nan(X), dtype=[np.float64, np.float32], ensure_all_finite=False)
        has_missing(X, allow_nan=False)
        if X.shape[1] != self.n_components_:
            raise ValueError(
                f"X has {X.shape[1]} columns, but the code of this {type(self).__name__} has "
                f"{self.n_components_}."
            )
        expected = self.get_feature_names_out()
        if np.isin(columns, expected).any() and not np.array_equal(columns, expected):
            raise ValueError(
                "The feature names should match those that transform gives, in the same order. "
                f"They are {', '.join(expected)}: select X[get_feature_names_out()]."
            )
        table, network = Table(X), self._network
        return table.map(network.astype(table.dtype).decode, network.width)

    def reconstruct(self, X: Rows) -> NDArray[Any]:
        """Encode and decode rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        rows : ndarray of shape (n_samples, n_features_in_)
            Reconstructed rows, clipped to ``bounds_``; float32 for float32 rows, else float64.
        """
        if is_collection(X):
            check_is_fitted(self)
            return lazily(self, "reconstruct", X, self._names_in())
        network, table = self._prepare(X)
        return table.map(lambda rows: network.decode(network.encode(rows)), network.width)

    def score_samples(self, X: Rows) -> NDArray[Any]:
        """Compute the negated squared error of each row, which is low for unusual rows.

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
        if is_collection(X):
            check_is_fitted(self)
            return lazily(self, "score_samples", X, dtype=np.float64)
        network, table = self._prepare(X)
        network = network.rescaled(self.scale_).astype(table.dtype)
        with np.errstate(over="ignore"):
            return table.map(network.squared_errors, network.width) * -(network.scale**2)

    def score(self, X: Rows, y: object = None) -> float:
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
        if is_collection(X):
            check_is_fitted(self)
            parts = of_partitions(self, "_error_and_total", X)
        else:
            parts = [self._error_and_total(X)]
        errors, totals, units = np.transpose(parts)
        errors, totals = np.array([errors, totals]) * (units / units.max()) ** 2
        error, total = errors.sum(), totals.sum()
        if total == 0:
            return float(error == 0)
        return float(1 - error / total)

    def _error_and_total(self, X):
        """Return the total squared error, the total squared distance from the mean, and the unit.

        The first two are divided by the squared unit, so that squares neither overflow nor
        underflow.
        """
        network, table = self._prepare(X)
        distances = abs(np.stack(table.extremes()) - self.mean_)
        unit = float(np.fmax.reduce(distances, axis=None, initial=self.scale_))
        # with a large unit, rescaled weights may be too large for single precision
        dtype = np.float64 if unit > _LARGE_UNIT else table.dtype
        network = network.rescaled(unit).astype(dtype)

        def distances(rows):
            missing = np.isnan(rows) if table.is_incomplete else None
            return squared_norms((rows - self.mean_) / unit, missing)

        squared_errors = partial(network.squared_errors, unit=unit / network.scale)
        errors = table.map(squared_errors, network.width)
        return errors.sum(), table.map(distances).sum(), unit

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

    def _check_exportable(self):
        """Raise a ValueError if the training rows had missing values."""
        if self._had_gaps_:
            raise ValueError(
                f"This {type(self).__name__} was trained on rows with missing values, in this or "
                "an earlier call of fit or partial_fit, and an exported network does not fill "
                "them. Impute first, with AutoencoderImputer for instance, and fit and export a "
                "new estimator that comes after it."
            )

    def _validate(self, X, *, reset, min_samples=1):
        """Validate rows; numeric arrays, in memory or memory-mapped, are not copied or converted.

        Return the table of the rows, and the fitted attributes that describe its columns. This
        estimator is not changed, because the fit may fail.
        """
        X = with_nan(X)
        is_numeric = getattr(getattr(X, "dtype", None), "kind", "none") in "biuf"
        as_it_is = is_numeric and X.dtype.itemsize <= 8 and not issparse(X)
        checked = copy(self)
        X = validate_data(
            checked,
            X,
            accept_sparse="csr",
            dtype=None if as_it_is else [np.float64, np.float32],
            reset=reset,
            ensure_min_samples=min_samples,
            ensure_all_finite=False,
        )
        table = Table(X, is_incomplete=has_missing(X, type(self).__name__))
        names = ("n_features_in_", "feature_names_in_")
        return table, {name: vars(checked)[name] for name in names if name in vars(checked)}

    def _prepare(self, X, network=None):
        """Return the fitted network, or the given network, in the float type of X, and a table."""
        check_is_fitted(self)
        table, _ = self._validate(X, reset=False)
        network = (network or self._network).astype(table.dtype)
        return network if table.is_incomplete else network._replace(filling=None), table

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
