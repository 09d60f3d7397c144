"""The network: its params, the forward pass, and other networks that compute the same.

Params are a nest of float arrays::

    encoder, decoder
        coefs       list of (n_in, n_out), one per layer
        intercepts  list of (n_out,), one per layer
        linear      (n_in, n_out), the linear path beside the layers; absent in a plain stack

and, in training alone, where the code is taught a y, ``head``: one layer from the code to that.
Training and fitted estimators hold them in this form. The forward pass is written once, for NumPy,
which serves, and TensorFlow, which trains.
"""

from typing import Any, NamedTuple

import numpy as np
import optree
from sklearn.utils.extmath import svd_flip

from .activations import activation

# A direction of the code with less than this share of the largest variance is rounding, for codes
# are computed in float32; and where nothing varies, there is no largest. So is a code with less
# than this share of an average column's variance: PCA keeps at least as much as that.
FLAT = 1e-10


def forward(params, x, hidden, last, ops=np):
    """Compute the layers of the encoder or the decoder, and the linear path beside them.

    Parameters
    ----------
    params : dict
        The encoder's or the decoder's, as arrays or as tensors. Those of several networks may be
        stacked along a first axis.
    x : ndarray or tensor of shape (n_rows, n_in)
        Its input; with a first axis for the networks, if they are stacked.
    hidden, last : str
        Names of the activations of the hidden layers and of the output.
    ops : module, default=numpy
        `numpy` or `tensorflow`.

    Returns
    -------
    out : ndarray or tensor of shape (n_rows, n_out)
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
    """Clip rows to the bounds of each feature; NumPy arrays in place.

    The derivative of a clip is zero outside the bounds, and a unit that starts there could not come
    back. So it counts as one in training: the data lie inside, and the residual itself points the
    right way.
    """
    if ops is np:
        return np.clip(rows, low, high, out=rows)
    clipped = ops.minimum(ops.maximum(rows, low), high)
    # the value is that of the first term to the bit, the derivative that of the second
    return ops.stop_gradient(clipped) + (rows - ops.stop_gradient(rows))


def reconstruct(params, rows, bounds, activations, ops=np):
    """Encode and decode rows that are centred and scaled, in NumPy or TensorFlow."""
    return decode(params, encode(params, rows, activations, ops), bounds, activations, ops)


def encode(params, rows, activations, ops=np):
    """Codes of rows that are centred and scaled."""
    hidden, code, _ = activations
    return forward(params["encoder"], rows, hidden, code, ops)


def decode(params, codes, bounds, activations, ops=np):
    """Rows of codes, centred and scaled, within bounds in that unit."""
    hidden, _, output = activations
    return clip(forward(params["decoder"], codes, hidden, output, ops), *bounds, ops)


def with_inputs(encoder, matrix):
    """Return the encoder that takes ``x`` where another takes ``x @ matrix``."""
    first, *others = encoder["coefs"]
    encoder = encoder | {"coefs": [matrix @ first, *others]}
    if "linear" in encoder:
        encoder["linear"] = matrix @ encoder["linear"]
    return encoder


def rounded_inwards(bounds, dtype):
    """Return bounds in a float type in which rows within them are within the given ones too.

    Bounds beyond the type become infinite.

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
    """Sum of the squares of each row, in double precision.

    Where something is missing, a mask says so, and the sum over what is there is scaled up to all
    columns; it is zero where nothing is there.
    """
    if missing is None or not missing.any():
        return np.einsum("ij,ij->i", rows, rows).astype(np.float64)
    rows = np.where(missing, 0, rows)
    n_seen = rows.shape[1] - missing.sum(axis=1)
    scale = rows.shape[1] / np.maximum(n_seen, 1)
    return np.einsum("ij,ij->i", rows, rows).astype(np.float64) * scale


class Autoencoder(NamedTuple):
    """Params, and the units they work in.

    Attributes
    ----------
    params : dict
        See the module's docstring.
    offset : ndarray of shape (n_features,)
        Subtracted from each row before the encoder and added back after the decoder.
    scale : float
        The one number that rows are divided by, and multiplied by after the decoder: the unit of
        training. One where the params do that, see `rescaled`.
    bounds : ndarray of shape (2, n_features)
        Lower and upper bounds of the reconstruction in the units of X, infinite where it is
        unclipped.
    activations : tuple of str
        Names of the hidden, code and output activations.
    filling : Filling or None
        Completes rows with missing values before they are encoded; None where there are none.
    """

    params: dict
    offset: np.ndarray
    scale: float
    bounds: np.ndarray
    activations: tuple
    filling: Any = None

    @property
    def dtype(self):
        """Float type of the params, in which the forward pass is computed."""
        return self.params["encoder"]["intercepts"][-1].dtype

    def astype(self, dtype):
        """Return the same network in another float type; arrays of that type are shared."""
        offset = self.offset.astype(dtype, copy=False)
        bounds = rounded_inwards(self.bounds, dtype)
        return self.with_params_in(dtype)._replace(offset=offset, bounds=bounds)

    def with_params_in(self, dtype):
        """Return the same network with params in another float type, and units as they are."""
        params = optree.tree_map(lambda array: array.astype(dtype, copy=False), self.params)
        return self._replace(params=params)

    def is_finite(self):
        """Whether every weight is a finite number."""
        return all(np.isfinite(array).all() for array in optree.tree_leaves(self.params))

    def standardise(self, X):
        """Centre and scale dense rows in their own precision, and cast them to that of params."""
        scaled = X - self.offset
        if self.scale != 1:
            scaled *= 1 / self.scale
        return scaled.astype(self.dtype, copy=False)

    def standardised_bounds(self, dtype):
        """Bounds (low, high) of standardised rows."""
        with np.errstate(over="ignore"):
            return ((self.bounds - self.offset) / self.scale).astype(dtype)

    def encode(self, X):
        """Codes (n_samples, n_components) of dense rows."""
        hidden, code, _ = self.activations
        with np.errstate(over="ignore", invalid="ignore"):
            rows = self.standardise(self.completed(X))
            codes = forward(self.params["encoder"], rows, hidden, code)
        return self._again_in_double_precision("encode", X, codes)

    def completed(self, X):
        """Dense rows with their missing values filled."""
        return X if self.filling is None else self.filling(X)

    def decode(self, codes):
        """Rows (n_samples, n_features) of codes."""
        hidden, _, output = self.activations
        with np.errstate(over="ignore", invalid="ignore"):
            rows = forward(self.params["decoder"], codes, hidden, output)
            if self.scale != 1:
                rows *= self.scale
            rows += self.offset
        return clip(self._again_in_double_precision("decode", codes, rows), *self.bounds)

    def _again_in_double_precision(self, method, X, results):
        """Return results, those that are not finite in single precision computed once more.

        What single precision cannot hold becomes its largest number.
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
        """Squared error of each dense row, summed over the features, in units of (unit * scale)².

        Where a row misses something, the errors of the others stand for it; of a row that misses
        everything, the error is zero. In the precision of the params, and in double precision for
        rows that are too far from the training rows for that.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            Rows.
        hidden : ndarray of bool, of the same shape, optional
            Entries that the network is not shown, whose errors alone are summed.
        unit : float, default=1.0
            What residuals are divided by before they are squared.
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

        The affine map goes into the weights of the encoder's last and the decoder's first layers,
        so the code must not pass through an activation. Params of the result are float64.

        Parameters
        ----------
        to_code, from_code : ndarray of shape (n_components, n_components)
            A matrix and its inverse.
        origin : ndarray of shape (n_components,)
            The present code that becomes zero.
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
        """Return the same network with another scale, and float64 params that make up for it.

        With a scale of one the rows are only centred, which saves a pass over them. A network with
        an output activation keeps its scale: the activation is not linear.
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
        """Return the network that does with rows what this one does with their coordinates.

        Rows are projected onto a subspace, and their reconstruction lies in it. Unit and code are
        those of a network that is trained on the rows.

        Parameters
        ----------
        axes : ndarray of shape (n_features, n_columns)
            Orthonormal axes of the subspace, one for each of this network's features.
        origin : ndarray of shape (n_columns,)
            The row whose coordinates are zero.
        """
        factor = np.sqrt(axes.shape[1] / len(axes))  # the same squares over more columns
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
        """Copy them, to be changed without this network noticing."""
        return optree.tree_map(lambda array: array.astype(np.float64), self.params)

    def whitening(self, covariance, *, canonical=True):
        """Return the map that makes the code white, for `recode`.

        Of all white codes, which differ by a rotation, the canonical one is that whose
        components send orthogonal directions into the output through the decoder's linear path
        (the first layer in a plain stack), the strongest first: the singular value decomposition
        of what a unit of code does. Signs are those of scikit-learn's ``svd_flip``, as in PCA. The
        other choice is the symmetric map, which rotates the code as little as possible (Kessy,
        Lewin & Strimmer, The American Statistician 72, 2018, "ZCA"). Directions along which the
        code does not vary keep their scale.

        Parameters
        ----------
        covariance : ndarray of shape (n_components, n_components)
            Of the present code over the training rows.
        canonical : bool, default=True
            Which of the two.

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
        unit = (axes * (std * varies)) @ axes.T @ carrier  # what a unit of white code does
        rotation, _, vt = np.linalg.svd(unit, full_matrices=unit.shape[0] > unit.shape[1])
        # what carries nothing, where a code is wider than the carrier, has no sign
        signed = rotation[:, : len(vt)]
        signed[...], _ = svd_flip(signed, vt[: len(rotation)], u_based_decision=False)
        return to_code @ rotation, rotation.T @ from_code

    def rescale_code(self, factors):
        """Return a network with each code column multiplied by its factor."""
        return self.recode(np.diag(factors), np.diag(1 / factors), np.zeros_like(factors))

    def as_started(self):
        """Return a network with a code of the size that PCA starts with, and the same output."""
        return self.rescale_code(1 / self.direction_norms())

    @property
    def width(self):
        """Numbers that a row takes in the widest layer."""
        halves = [half for half in self.params.values() if isinstance(half, dict)]
        return max(len(b) for half in halves for b in half["intercepts"])

    @property
    def code_size(self):
        """Number of code columns."""
        return len(self.params["encoder"]["intercepts"][-1])

    def linear_path(self):
        """Return the encoder's linear path, which may be its only layer, or None."""
        encoder = self.params["encoder"]
        layers = encoder["coefs"]
        return encoder.get("linear", layers[0] if len(layers) == 1 else None)

    def direction_norms(self):
        """Length of each code column's direction in the linear path; ones where there is none.

        PCA starts them at one.
        """
        path = self.linear_path()
        if path is None:
            return np.ones(self.code_size)
        norms = np.linalg.norm(path.astype(np.float64), axis=0)
        return np.where(norms > 0, norms, 1.0)

    def without_bounds(self):
        """Return the same network with every feature unclipped."""
        return self._replace(bounds=np.full_like(self.bounds, [[-np.inf], [np.inf]]))
