"""Network: params, forward pass, and transformations of the params.

Params are a nest of float arrays::

    encoder, decoder
        coefs       list of (n_in, n_out), one per layer
        intercepts  list of (n_out,), one per layer
        linear      (n_in, n_out), the linear path parallel to the layers; absent in a plain stack
    head            as encoder and decoder, with one layer that predicts y from the code; only in
                    training, and only with a target

Training and fitted estimators store params in this form. The same functions compute the forward
pass in NumPy for inference and in TensorFlow for training.
"""

from typing import Any, NamedTuple

import numpy as np
import optree
from sklearn.utils.extmath import svd_flip

from .activations import activation

# A direction of the code is constant, except for float32 rounding, if its variance is at most this
# fraction of the largest variance of the code. A code is constant if its mean variance is at most
# this fraction of the mean variance of the columns: if the rows vary, the code of PCA has more.
FLAT = 1e-10


def forward(params, x, hidden, last, ops=np):
    """Compute the output of the encoder or the decoder: the layers plus the linear path.

    Parameters
    ----------
    params : dict
        Params of the encoder or the decoder, as arrays or as tensors. The params of several
        networks may be stacked along a first axis.
    x : ndarray or tensor of shape (n_rows, n_in)
        Input; with an additional first axis if several networks are stacked.
    hidden, last : str
        Names of the activations of the hidden layers and of the output.
    ops : module, default=numpy
        `numpy` or `tensorflow`.

    Returns
    -------
    out : ndarray or tensor of shape (n_rows, n_out)
        Output; with an additional first axis if several networks are stacked.
    """
    hidden, last = activation(hidden, ops), activation(last, ops)
    layers = zip(params["coefs"], params["intercepts"], strict=True)
    out = x
    for depth, (coef, intercept) in enumerate(layers):
        out = (hidden(out) if depth > 0 else out) @ coef
        out += intercept[..., None, :]
    if "linear" in params:
        out += x @ params["linear"]
    return last(out)


def clip(rows, low, high, ops=np):
    """Clip rows to the bounds of each feature; NumPy arrays are clipped in place.

    In TensorFlow the derivative is one everywhere (straight-through gradient). The derivative of
    the clip is zero outside the bounds, and outputs outside the bounds would not be trained. The
    data are within the bounds, so that the residual has the right sign there.
    """
    if ops is np:
        return np.clip(rows, low, high, out=rows)
    clipped = ops.minimum(ops.maximum(rows, low), high)
    # the value is exactly that of the first term, the derivative that of the second term
    return ops.stop_gradient(clipped) + (rows - ops.stop_gradient(rows))


def reconstruct(params, rows, bounds, activations, ops=np):
    """Encode and decode standardised rows, in NumPy or TensorFlow."""
    return decode(params, encode(params, rows, activations, ops), bounds, activations, ops)


def encode(params, rows, activations, ops=np):
    """Return the codes of standardised rows."""
    hidden, code, _ = activations
    return forward(params["encoder"], rows, hidden, code, ops)


def decode(params, codes, bounds, activations, ops=np):
    """Return the standardised rows that codes are decoded to, clipped to standardised bounds."""
    hidden, _, output = activations
    return clip(forward(params["decoder"], codes, hidden, output, ops), *bounds, ops)


def with_inputs(encoder, matrix):
    """Return the encoder that maps ``x`` to the output of `encoder` for ``x @ matrix``."""
    first, *others = encoder["coefs"]
    encoder = encoder | {"coefs": [matrix @ first, *others]}
    if "linear" in encoder:
        encoder["linear"] = matrix @ encoder["linear"]
    return encoder


def rounded_inwards(bounds, dtype):
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


def squared_norms(rows, missing=None):
    """Return the sum of squares of each row, in double precision.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_features)
        Rows.
    missing : ndarray of bool, of the same shape, optional
        Mask of missing entries. The sum over the observed entries is scaled to all columns. It is
        zero for a row without observed entries.
    """
    if missing is None or not missing.any():
        return np.einsum("ij,ij->i", rows, rows).astype(np.float64)
    rows = np.where(missing, 0, rows)
    n_seen = rows.shape[1] - missing.sum(axis=1)
    scale = rows.shape[1] / np.maximum(n_seen, 1)
    return np.einsum("ij,ij->i", rows, rows).astype(np.float64) * scale


class Autoencoder(NamedTuple):
    """Params of a network, and the offset, scale and bounds of its rows.

    Attributes
    ----------
    params : dict
        See the docstring of this module.
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
    filling : Filling or None
        Imputation model for missing values, used before rows are encoded; None for complete rows.
    """

    params: dict
    offset: np.ndarray
    scale: float
    bounds: np.ndarray
    activations: tuple
    filling: Any = None

    @property
    def dtype(self):
        """Float type of the params and of the forward pass."""
        return self.params["encoder"]["intercepts"][-1].dtype

    def astype(self, dtype):
        """Return the same network in another float type; arrays of that type are not copied."""
        offset = self.offset.astype(dtype, copy=False)
        bounds = rounded_inwards(self.bounds, dtype)
        return self.with_params_in(dtype)._replace(offset=offset, bounds=bounds)

    def with_params_in(self, dtype):
        """Return the same network with params in another float type; the rest is unchanged."""
        params = optree.tree_map(lambda array: array.astype(dtype, copy=False), self.params)
        return self._replace(params=params)

    def is_finite(self):
        """Whether all params are finite."""
        return all(np.isfinite(array).all() for array in optree.tree_leaves(self.params))

    def standardise(self, X):
        """Centre and scale dense rows in their own float type, and cast them to that of params."""
        scaled = X - self.offset
        if self.scale != 1:
            scaled *= 1 / self.scale
        return scaled.astype(self.dtype, copy=False)

    def standardised_bounds(self, dtype):
        """Return the bounds (low, high) of standardised rows."""
        with np.errstate(over="ignore"):
            return ((self.bounds - self.offset) / self.scale).astype(dtype)

    def encode(self, X):
        """Return the codes (n_samples, n_components) of dense rows."""
        hidden, code, _ = self.activations
        with np.errstate(over="ignore", invalid="ignore"):
            rows = self.standardise(self.completed(X))
            codes = forward(self.params["encoder"], rows, hidden, code)
        return self._again_in_double_precision("encode", X, codes)

    def completed(self, X):
        """Return dense rows with missing values imputed."""
        return X if self.filling is None else self.filling(X)

    def decode(self, codes):
        """Return the rows (n_samples, n_features) that codes are decoded to."""
        hidden, _, output = self.activations
        with np.errstate(over="ignore", invalid="ignore"):
            rows = forward(self.params["decoder"], codes, hidden, output)
            if self.scale != 1:
                rows *= self.scale
            rows += self.offset
        return clip(self._again_in_double_precision("decode", codes, rows), *self.bounds)

    def _again_in_double_precision(self, method, X, results):
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

    def squared_errors(self, X, hidden=None, unit=1.0):
        """Return the squared error of each dense row, in units of (unit * scale)².

        It is the sum over the features. If values are missing, the sum over the observed values is
        scaled to all features. The error of a row without any value is zero. The residuals are in
        the float type of the params; rows whose squares overflow are recomputed in double
        precision.

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
            rows = self.standardise(self.completed(shown))
            bounds = self.standardised_bounds(self.dtype)
            residual = reconstruct(self.params, rows, bounds, self.activations)
            if hidden is not None:
                residual = np.where(hidden, residual - self.standardise(X), 0)
            else:
                residual -= rows
            if unit != 1:
                residual *= 1 / unit
            is_incomplete = hidden is None and self.filling is not None
            errors = squared_norms(residual, np.isnan(X) if is_incomplete else None)
            overflown = ~np.isfinite(errors)
            if self.dtype != np.float64 and overflown.any():
                in_double, rows = self.astype(np.float64), X[overflown].astype(np.float64)
                hidden = None if hidden is None else hidden[overflown]
                errors[overflown] = in_double.squared_errors(rows, hidden, unit)
        return errors

    def recode(self, to_code, from_code, origin):
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
        return self._replace(params=params)

    def rescaled(self, scale):
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
        return self._replace(params=params, scale=scale)

    def embedded(self, axes, origin):
        """Return the network of rows that is equivalent to this network of their coordinates.

        The returned network projects rows onto a subspace, which contains their reconstruction. Its
        scale and its code are those of a network that is trained on the rows.

        Parameters
        ----------
        axes : ndarray of shape (n_features, n_columns)
            Orthonormal axes of the subspace, one for each feature of this network.
        origin : ndarray of shape (n_columns,)
            The row whose coordinates are zero.
        """
        factor = np.sqrt(axes.shape[1] / len(axes))  # same squares, averaged over more columns
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
        filling = self.filling and self.filling.embedded(axes, origin)
        return network._replace(params=params, offset=offset, bounds=bounds, filling=filling)

    def _params_in_double_precision(self):
        """Return a float64 copy of the params, which may be modified in place."""
        return optree.tree_map(lambda array: array.astype(np.float64), self.params)

    def whitening(self, covariance, *, canonical=True):
        """Return the matrix that whitens the code, for `recode`.

        Whitened codes differ by a rotation. The canonical whitening is defined by the decoder's
        linear path (its first layer in a plain stack): different components change the output of
        this path in orthogonal directions, and the components are sorted by decreasing length of
        this change. It is computed by a singular value decomposition of the change of the output
        per unit of whitened code, with the signs of scikit-learn's ``svd_flip``, as in PCA. The
        other whitening is the symmetric matrix, which rotates the code as little as possible
        (Kessy, Lewin & Strimmer, The American Statistician 72, 2018, "ZCA"). Directions along which
        the code does not vary keep their scale.

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
        varies = variance > max(variance.max(initial=0) * FLAT, FLAT**2)
        std = np.sqrt(variance, where=varies, out=np.ones_like(variance))
        to_code, from_code = (axes / std) @ axes.T, (axes * std) @ axes.T
        if not canonical:
            return to_code, from_code
        decoder = self.params["decoder"]
        carrier = decoder.get("linear", decoder["coefs"][0])
        unit = (axes * (std * varies)) @ axes.T @ carrier  # change of output per unit of white code
        rotation, _, vt = np.linalg.svd(unit, full_matrices=unit.shape[0] > unit.shape[1])
        # if the code has more components than the path has outputs, the last ones have no sign
        signed = rotation[:, : len(vt)]
        signed[...], _ = svd_flip(signed, vt[: len(rotation)], u_based_decision=False)
        return to_code @ rotation, rotation.T @ from_code

    def rescale_code(self, factors):
        """Return a network with each component of the code multiplied by its factor."""
        return self.recode(np.diag(factors), np.diag(1 / factors), np.zeros_like(factors))

    def as_started(self):
        """Return an equivalent network whose directions have unit length, as those of PCA.

        See `direction_norms`.
        """
        return self.rescale_code(1 / self.direction_norms())

    @property
    def width(self):
        """Number of units of the widest layer."""
        halves = [half for half in self.params.values() if isinstance(half, dict)]
        return max(len(b) for half in halves for b in half["intercepts"])

    @property
    def code_size(self):
        """Number of components of the code."""
        return len(self.params["encoder"]["intercepts"][-1])

    def linear_path(self):
        """Return the encoder's linear path, or its only layer; None if it has neither."""
        encoder = self.params["encoder"]
        layers = encoder["coefs"]
        return encoder.get("linear", layers[0] if len(layers) == 1 else None)

    def direction_norms(self):
        """Return the norm of each component's weights in the linear path of the encoder.

        The norms are one in PCA. Ones are returned if there is no linear path, and for components
        whose weights are zero.
        """
        path = self.linear_path()
        if path is None:
            return np.ones(self.code_size)
        norms = np.linalg.norm(path.astype(np.float64), axis=0)
        return np.where(norms > 0, norms, 1.0)

    def without_bounds(self):
        """Return the same network without bounds."""
        return self._replace(bounds=np.full_like(self.bounds, [[-np.inf], [np.inf]]))
