"""Autoencoder: the params of a network, with the offset, scale and bounds of its rows."""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray
from sklearn.utils.extmath import svd_flip

from .forward import Activations, Params, clip, forward, reconstruct, with_inputs
from .nests import arrays_of, map_nest
from .ppca import ProbabilisticPCA

# A direction of the code is constant, except for float32 rounding, if its variance is at most this
# fraction of the largest variance of the code. A code is constant if its mean variance is at most
# this fraction of the mean variance of the columns; PCA's code of rows that vary is never constant.
RELATIVE_VARIANCE_TOL = 1e-10


def rounded_inwards(bounds: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    """Return bounds in a float type, rounded so that they are within the given bounds.

    Bounds that exceed the range of the type become infinite.

    Parameters
    ----------
    bounds : ndarray of shape (2, n_features)
        Lower and upper bounds.
    dtype : dtype
        Float type of the rows.
    """
    if bounds.dtype == dtype:
        return bounds
    with np.errstate(over="ignore", under="ignore"):
        rounded = bounds.astype(dtype)
        inwards = np.nextafter(rounded, np.array([[np.inf], [-np.inf]], dtype=dtype))
    is_outside = np.stack([rounded[0] < bounds[0], rounded[1] > bounds[1]]) & np.isfinite(rounded)
    return np.where(is_outside, inwards, rounded) if is_outside.any() else rounded


def squared_norms(
    rows: NDArray[Any], missing: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Return the sum of squares of each row, in double precision.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_features)
        Rows.
    missing : ndarray of bool, of the same shape, optional
        Mask of missing entries. The sum over the observed entries is divided by the fraction of
        columns that are observed. It is zero for a row without observed entries.
    """
    scale = None
    if missing is not None and missing.any():
        rows = np.where(missing, 0, rows)
        n_observed = rows.shape[1] - missing.sum(axis=1)
        scale = rows.shape[1] / np.maximum(n_observed, 1)
    norms: NDArray[np.float64] = np.einsum("ij,ij->i", rows, rows).astype(np.float64)
    return norms if scale is None else norms * scale


def _cast(params: Any, dtype: DTypeLike, *, copy: bool) -> Any:
    """Return params in a float type; without `copy`, arrays of that type are the same arrays."""
    return map_nest(lambda array: array.astype(dtype, copy=copy), params)


@dataclass(frozen=True, kw_only=True, eq=False)
class Autoencoder:
    """Params of a network, and the offset, scale and bounds of its rows.

    Attributes
    ----------
    params : dict
        See the module `forward`.
    offset : ndarray of shape (n_features,)
        Subtracted from each row before the encoder and added back after the decoder.
    scale : float
        Common scale of all columns: rows are divided by it before the encoder and multiplied by it
        after the decoder. It is one if the params include the scale; see `rescaled`.
    bounds : ndarray of shape (2, n_features)
        Lower and upper bounds of the reconstruction in the units of X; infinite where there is no
        bound.
    activations : tuple of str
        Names of the hidden, code and output activations.
    imputer : ProbabilisticPCA or None
        Imputation model for missing values, used before rows are encoded; None for complete rows.
    """

    params: Params
    offset: NDArray[Any]
    scale: float
    bounds: NDArray[Any]
    activations: Activations
    imputer: ProbabilisticPCA | None = None

    @classmethod
    def from_network(cls, network: "Autoencoder", params: Params) -> Self:
        """Return a network of this class with other params, and the other fields of `network`."""
        return cls(**vars(network) | {"params": params})

    @property
    def dtype(self) -> np.dtype[Any]:
        """Float type of the params and of the forward pass."""
        dtype: np.dtype[Any] = self.params["encoder"]["intercepts"][-1].dtype
        return dtype

    def astype(self, dtype: DTypeLike) -> Self:
        """Return the same network in another float type; arrays of that type are not copied."""
        offset = self.offset.astype(dtype, copy=False)
        bounds = rounded_inwards(self.bounds, dtype)
        return replace(self.with_params_in(dtype), offset=offset, bounds=bounds)

    def with_params(self, params: Params) -> Self:
        """Return the same network with other params."""
        return replace(self, params=params)

    def with_params_in(self, dtype: DTypeLike) -> Self:
        """Return the same network with params in another float type; the rest is unchanged."""
        return self.with_params(_cast(self.params, dtype, copy=False))

    def is_finite(self) -> bool:
        """Whether all params are finite."""
        return all(np.isfinite(array).all() for array in arrays_of(self.params))

    def standardise(self, X: NDArray[Any]) -> NDArray[Any]:
        """Centre and scale dense rows in their own float type, and cast them to that of params."""
        scaled: NDArray[Any] = X - self.offset
        if self.scale != 1:
            scaled *= 1 / self.scale
        return scaled.astype(self.dtype, copy=False)

    def standardised_bounds(self, dtype: DTypeLike) -> NDArray[Any]:
        """Return the bounds (low, high) of standardised rows."""
        with np.errstate(over="ignore"):
            bounds: NDArray[Any] = (self.bounds - self.offset) / self.scale
            return bounds.astype(dtype)

    def encode(self, X: NDArray[Any]) -> NDArray[Any]:
        """Return the codes (n_samples, n_components) of dense rows."""
        hidden, code, _ = self.activations
        with np.errstate(over="ignore", invalid="ignore"):
            rows = self.standardise(self.impute(X))
            codes = forward(self.params["encoder"], rows, hidden, code)
        return self._again_in_double_precision("encode", X, codes)

    def impute(self, X: NDArray[Any]) -> NDArray[Any]:
        """Return dense rows with missing values imputed."""
        return X if self.imputer is None else self.imputer(X)

    def decode(self, codes: NDArray[Any]) -> NDArray[Any]:
        """Return the rows (n_samples, n_features) that codes are decoded to."""
        hidden, _, output = self.activations
        with np.errstate(over="ignore", invalid="ignore"):
            rows = forward(self.params["decoder"], codes, hidden, output)
            if self.scale != 1:
                rows *= self.scale
            rows += self.offset
            rows = self._finished(rows)
        rows = self._again_in_double_precision("decode", codes, rows)
        clipped: NDArray[Any] = clip(rows, *self.bounds)
        return clipped

    def _finished(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return decoded rows before they are clipped, in place; a subclass may change them."""
        return rows

    def _again_in_double_precision(
        self, method: str, X: NDArray[Any], results: NDArray[Any]
    ) -> NDArray[Any]:
        """Return results in which rows with non-finite values are recomputed in double precision.

        Values that exceed the range of single precision become its largest number.

        Parameters
        ----------
        method : str
            Name of the method that computed the results.
        X : ndarray
            Argument of the method.
        results : ndarray
            Result of the method, which is changed in place.
        """
        if self.dtype == np.float64 or np.isfinite(results).all():
            return results
        overflown = ~np.isfinite(results).all(axis=1)
        rows = np.asarray(X[overflown], dtype=np.float64)
        again = getattr(self.astype(np.float64), method)(rows)
        most = np.finfo(results.dtype).max
        results[overflown] = again.clip(-most, most)
        return results

    def squared_errors(
        self, X: NDArray[Any], hidden: NDArray[np.bool_] | None = None, unit: float = 1.0
    ) -> NDArray[np.float64]:
        """Return the squared error of each dense row, in units of (unit * scale)².

        It is the sum over the features. If values are missing, the sum over the observed values is
        divided by the fraction of features that are observed. The error of a row without any value
        is zero. The residuals are in the float type of the params; rows whose squares overflow are
        recomputed in double precision.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            Rows.
        hidden : ndarray of bool, of the same shape, optional
            Mask of entries that are hidden from the network. If it is given, only the errors of the
            hidden entries are summed.
        unit : float, default=1.0
            Residuals are divided by this number before they are squared.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            shown = X if hidden is None else np.where(hidden, X.dtype.type(np.nan), X)
            rows = self.standardise(self.impute(shown))
            bounds = self.standardised_bounds(self.dtype)
            residual = reconstruct(self.params, rows, bounds, self.activations)
            if hidden is not None:
                residual = np.where(hidden, residual - self.standardise(X), 0)
            else:
                residual -= rows
            if unit != 1:
                residual *= 1 / unit
            is_incomplete = hidden is None and self.imputer is not None
            errors = squared_norms(residual, np.isnan(X) if is_incomplete else None)
            overflown = ~np.isfinite(errors)
            if self.dtype != np.float64 and overflown.any():
                in_double, rows = self.astype(np.float64), X[overflown].astype(np.float64)
                hidden = None if hidden is None else hidden[overflown]
                errors[overflown] = in_double.squared_errors(rows, hidden, unit)
        return errors

    def transform_code(
        self, to_code: NDArray[Any], from_code: NDArray[Any], origin: NDArray[Any]
    ) -> Self:
        """Return a network with the code ``(z - origin) @ to_code`` and the same output.

        The affine map is multiplied into the weights of the encoder's last and the decoder's first
        layers. The activation of the code must therefore be the identity. The params of the result
        are float64.

        Parameters
        ----------
        to_code, from_code : ndarray of shape (n_components, n_components)
            A matrix and its inverse.
        origin : ndarray of shape (n_components,)
            The code z of this network that is mapped to zero.
        """
        params = self._params_in_double_precision()
        encoder, decoder = params["encoder"], params["decoder"]
        encoder["coefs"][-1] = encoder["coefs"][-1] @ to_code
        encoder["intercepts"][-1] = (encoder["intercepts"][-1] - origin) @ to_code
        decoder["intercepts"][0] += origin @ decoder["coefs"][0]
        decoder["coefs"][0] = from_code @ decoder["coefs"][0]
        if "linear" in encoder:
            encoder["linear"] = encoder["linear"] @ to_code
            decoder["intercepts"][-1] += origin @ decoder["linear"]
            decoder["linear"] = from_code @ decoder["linear"]
        if "head" in params:
            head = params["head"]
            head["intercepts"][0] += origin @ head["coefs"][0]
            head["coefs"][0] = from_code @ head["coefs"][0]
        return self.with_params(params)

    def rescaled(self, scale: float) -> Self:
        """Return an equivalent network with another scale, whose params are float64.

        With a scale of one the rows are only centred, which saves a pass over them. A network with
        an output activation is returned unchanged, because the activation is not linear.
        """
        if self.activations[-1] != "identity":
            return self
        factor = scale / self.scale
        params = self._params_in_double_precision()
        encoder, decoder = params["encoder"], params["decoder"]
        encoder["coefs"][0] *= factor
        decoder["coefs"][-1] /= factor
        decoder["intercepts"][-1] /= factor
        if "linear" in encoder:
            encoder["linear"] *= factor
            decoder["linear"] /= factor
        return replace(self, params=params, scale=scale)

    def embedded(self, axes: NDArray[Any], origin: NDArray[Any]) -> Self:
        """Return the network for rows in all columns, given this network for their coordinates.

        The returned network projects rows onto a subspace, and its reconstructions lie in this
        subspace. Its scale and its code have the units of a network that is trained on the rows.

        Parameters
        ----------
        axes : ndarray of shape (n_features, n_columns)
            Orthonormal axes of the subspace, one for each feature of this network.
        origin : ndarray of shape (n_columns,)
            The row whose coordinates are zero.
        """
        factor = np.sqrt(axes.shape[1] / len(axes))  # the mean square is over more columns
        network = self.rescaled(self.scale / factor).rescale_code(np.full(self.code_size, factor))
        params = network._params_in_double_precision()
        decoder = params["decoder"]
        decoder["coefs"][-1] = decoder["coefs"][-1] @ axes
        decoder["intercepts"][-1] = decoder["intercepts"][-1] @ axes
        if "linear" in decoder:
            decoder["linear"] = decoder["linear"] @ axes
        params["encoder"] = with_inputs(params["encoder"], axes.T)
        offset = (origin + self.offset @ axes).astype(origin.dtype)
        bounds = np.full((2, len(offset)), [[-np.inf], [np.inf]], offset.dtype)
        imputer = None if self.imputer is None else self.imputer.embedded(axes, origin)
        return replace(network, params=params, offset=offset, bounds=bounds, imputer=imputer)

    def _params_in_double_precision(self) -> Params:
        """Return a float64 copy of the params, which may be modified in place."""
        params: Params = _cast(self.params, np.float64, copy=True)
        return params

    def whitening(
        self, covariance: NDArray[Any], *, canonical: bool = True
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the matrix that whitens the code, for `transform_code`.

        Whitening is unique up to a rotation of the code. The canonical whitening is defined by the
        decoder's linear path, or by its first layer if there is no linear path: different
        components change the output of this path in orthogonal directions, and the components are
        sorted by decreasing length of this change. It is computed by a singular value decomposition
        of the change of the output per unit of whitened code, with the signs of scikit-learn's
        ``svd_flip``, as in PCA. The symmetric whitening ("ZCA") rotates the code as little as
        possible (Kessy, Lewin & Strimmer, The American Statistician 72, 2018). Directions along
        which the code does not vary keep their scale.

        Parameters
        ----------
        covariance : ndarray of shape (n_components, n_components)
            Covariance of the code of this network over the training rows.
        canonical : bool, default=True
            Whether to return the canonical whitening or the symmetric one.

        Returns
        -------
        to_code, from_code : ndarray of shape (n_components, n_components)
            The matrix and its inverse.
        """
        variance, axes = np.linalg.eigh(covariance)
        varies = variance > max(
            variance.max(initial=0) * RELATIVE_VARIANCE_TOL, RELATIVE_VARIANCE_TOL**2
        )
        std = np.sqrt(variance, where=varies, out=np.ones_like(variance))
        to_code, from_code = (axes / std) @ axes.T, (axes * std) @ axes.T
        if not canonical:
            return to_code, from_code
        decoder = self.params["decoder"]
        linear_decoder = decoder.get("linear", decoder["coefs"][0])
        # change of output per unit of white code
        unit = (axes * (std * varies)) @ axes.T @ linear_decoder
        rotation, _, vt = np.linalg.svd(unit, full_matrices=unit.shape[0] > unit.shape[1])
        # if the code has more components than the path has outputs, the last signs stay arbitrary
        signed = rotation[:, : len(vt)]
        signed[...], _ = svd_flip(signed, vt[: len(rotation)], u_based_decision=False)
        return to_code @ rotation, rotation.T @ from_code

    def rescale_code(self, factors: NDArray[Any]) -> Self:
        """Return a network with each component of the code multiplied by its factor."""
        return self.transform_code(np.diag(factors), np.diag(1 / factors), np.zeros_like(factors))

    def with_unit_directions(self) -> Self:
        """Return an equivalent network whose `direction_norms` are one, as in PCA.

        The code is rescaled accordingly.
        """
        return self.rescale_code(1 / self.direction_norms())

    @property
    def width(self) -> int:
        """Number of units of the widest layer."""
        halves = [half for half in self.params.values() if isinstance(half, dict)]
        return max(len(b) for half in halves for b in half["intercepts"])

    @property
    def code_size(self) -> int:
        """Number of components of the code."""
        return len(self.params["encoder"]["intercepts"][-1])

    def linear_path(self) -> NDArray[Any] | None:
        """Return the encoder's linear path, or its only layer; None if it has neither."""
        encoder = self.params["encoder"]
        layers = encoder["coefs"]
        path: NDArray[Any] | None = encoder.get("linear", layers[0] if len(layers) == 1 else None)
        return path

    def direction_norms(self) -> NDArray[Any]:
        """Return the norm of each component's weights in the linear path of the encoder.

        The norms are one in PCA. Ones are returned if there is no linear path, and for components
        whose weights are zero.
        """
        path = self.linear_path()
        if path is None:
            return np.ones(self.code_size)
        norms = np.linalg.norm(path.astype(np.float64), axis=0)
        return np.where(norms > 0, norms, 1.0)

    def without_bounds(self) -> Self:
        """Return the same network without bounds."""
        return replace(self, bounds=np.full_like(self.bounds, [[-np.inf], [np.inf]]))
