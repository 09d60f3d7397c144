"""The autoencoder as NumPy arrays: where it starts, what it computes, and the canonical code.

A half (the encoder or the decoder) is a dictionary of float arrays::

    coefs       list of (n_in, n_out), one per layer
    intercepts  list of (n_out,), one per layer
    linear      (n_in, n_out), the linear path beside the layers; absent in a plain stack

This is the shape in which training gets and gives the weights, and in which a fitted estimator
keeps them.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh
from scipy.sparse import issparse
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from sklearn.utils.extmath import svd_flip
from sklearn.utils.sparsefuncs import min_max_axis

from ._activations import ACTIVATIONS
from ._minibatches import float_type, read_rows, row_blocks, standardise

# Up to here the covariance and its eigenvectors cost less than a few passes of training.
_MAX_COVARIANCE_FEATURES = 1500
# An eighth of a gigabyte in double precision, on which PCA's solvers make copies. Of larger tables
# they get a random subset, and the axes then make so many steps towards those of all rows.
_MAX_PCA_NUMBERS = 2**24
_SUBSPACE_ITERATIONS = 3

# A direction of the code with less than this share of the largest variance is rounding, for codes
# are computed in float32; and where nothing varies, there is no largest. So is a code with less
# than this share of an average column's variance: PCA keeps at least as much as that.
_FLAT = 1e-10

TOO_FAR = "X holds numbers whose squares overflow: divide it by a constant."
# So far from the mean, squares of rows and of their codes can still be summed.
_FARTHEST = 1e150
# Beyond this, numbers that are some times larger or smaller leave the type.
_LARGE_FLOAT32 = 1e37


def map_arrays(function, half):
    """Apply `function` to each array of a half."""
    return {
        name: [function(a) for a in arrays] if isinstance(arrays, list) else function(arrays)
        for name, arrays in half.items()
    }


def _forward(half, x, hidden, last):
    """Output of one half for the rows of x."""
    hidden, last = ACTIVATIONS[hidden].numpy, ACTIVATIONS[last].numpy
    out = x
    for depth, (coef, intercept) in enumerate(
        zip(half["coefs"], half["intercepts"], strict=True), start=1
    ):
        out = out @ coef
        out += intercept
        if depth < len(half["coefs"]):
            out = hidden(out)
    if "linear" in half:
        out += x @ half["linear"]
    return last(out)


class Autoencoder(NamedTuple):
    """An encoder, a decoder, and the units they work in.

    Attributes
    ----------
    encoder, decoder : dict
        The two halves, see the module's docstring.
    offset : ndarray of shape (n_features,)
        Subtracted from each row before the encoder and added back after the decoder.
    scale : float
        The one number that rows are divided by, and multiplied by after the decoder: training's
        unit. One where the weights do that, see `rescaled`.
    low, high : ndarray of shape (n_features,)
        Range of each reconstructed feature in the units of X, infinite where it is free.
    activations : tuple of str
        Names of the hidden, code and output activations.
    """

    encoder: dict
    decoder: dict
    offset: np.ndarray
    scale: float
    low: np.ndarray
    high: np.ndarray
    activations: tuple

    def astype(self, dtype):
        """Return the same network in another float type; arrays of that type are shared."""

        def cast(array):
            return array.astype(dtype, copy=False)

        with np.errstate(over="ignore"):  # of bounds that are too far to matter
            return self._replace(
                encoder=map_arrays(cast, self.encoder),
                decoder=map_arrays(cast, self.decoder),
                offset=cast(self.offset),
                low=cast(self.low),
                high=cast(self.high),
            )

    def in_scaled_units(self):
        """Return the same network for rows that are centred and scaled already, in float32."""
        low, high = ((bound - self.offset) / self.scale for bound in (self.low, self.high))
        scaled = self._replace(offset=np.zeros_like(low), scale=1.0, low=low, high=high)
        return scaled.astype(np.float32)

    def is_finite(self):
        """Whether every weight is a finite number."""
        return all(
            np.isfinite(array).all()
            for half in (self.encoder, self.decoder)
            for arrays in half.values()
            for array in arrays
        )

    def encode(self, X):
        """Codes (n_samples, n_components) of dense rows."""
        hidden, code, _ = self.activations
        scaled = X - self.offset
        if self.scale != 1:
            scaled /= self.scale
        return _forward(self.encoder, scaled, hidden, code)

    def decode(self, codes):
        """Rows (n_samples, n_features) of codes."""
        hidden, _, output = self.activations
        rows = _forward(self.decoder, codes, hidden, output)
        if self.scale != 1:
            rows *= self.scale
        rows += self.offset
        return np.clip(rows, self.low, self.high, out=rows)

    def squared_errors(self, X, unit=1.0):
        """Squared reconstruction error of each row, summed over the features, in a unit of X.

        In double precision, as the network is for rows that are too far for float32.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            residual = self.decode(self.encode(X))
            residual -= X
            residual /= unit
            errors = np.einsum("ij,ij->i", residual, residual).astype(np.float64)
        far = ~np.isfinite(errors)
        if X.dtype == np.float32 and far.any():
            errors[far] = self.astype(np.float64).squared_errors(X[far].astype(np.float64), unit)
        return errors

    def _halves_in_double_precision(self):
        """Copy both, to be changed without the reconstruction noticing."""
        return (map_arrays(lambda a: a.astype(np.float64), h) for h in (self.encoder, self.decoder))

    def recode(self, to_code, from_code, origin):
        """Return a network with the code ``(z - origin) @ to_code`` and the same output.

        The affine map goes into the weights of the encoder's last and the decoder's first layers,
        so the code must not pass through an activation. Weights of the result are float64.

        Parameters
        ----------
        to_code, from_code : ndarray of shape (n_components, n_components)
            A matrix and its inverse.
        origin : ndarray of shape (n_components,)
            The present code that becomes zero.
        """
        encoder, decoder = self._halves_in_double_precision()
        encoder["coefs"][-1] = encoder["coefs"][-1] @ to_code
        encoder["intercepts"][-1] = (encoder["intercepts"][-1] - origin) @ to_code
        decoder["intercepts"][0] += origin @ decoder["coefs"][0]
        decoder["coefs"][0] = from_code @ decoder["coefs"][0]
        if "linear" in encoder:
            encoder["linear"] = encoder["linear"] @ to_code
            decoder["intercepts"][-1] += origin @ decoder["linear"]
            decoder["linear"] = from_code @ decoder["linear"]
        return self._replace(encoder=encoder, decoder=decoder)

    def rescaled(self, scale):
        """Return the same network with another scale, and weights that make up for it in float64.

        With a scale of one the rows are only centred, which saves a pass over them.
        """
        factor = scale / self.scale
        encoder, decoder = self._halves_in_double_precision()
        encoder["coefs"][0] *= factor
        decoder["coefs"][-1] /= factor
        decoder["intercepts"][-1] /= factor
        if "linear" in encoder:
            encoder["linear"] *= factor
            decoder["linear"] /= factor
        return self._replace(encoder=encoder, decoder=decoder, scale=scale)

    def whitening(self, covariance, *, canonical=True):
        """Return the map that makes the code white, for `recode`.

        Of all white codes, which differ by a rotation, the canonical one is that whose
        components send orthogonal directions into the output through the decoder's linear path
        (the first layer in a plain stack), the strongest first: the singular value decomposition
        of what a unit of code does. Signs are those of scikit-learn's ``svd_flip``, as in PCA. The
        other choice is the symmetric map, which turns the code as little as possible (Kessy, Lewin
        & Strimmer, The American Statistician 72, 2018, "ZCA"). Directions along which the code does
        not vary keep their scale.

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
        varies = variance > max(variance.max(initial=0) * _FLAT, _FLAT**2)
        std = np.sqrt(variance, where=varies, out=np.ones_like(variance))
        to_code, from_code = (axes / std) @ axes.T, (axes * std) @ axes.T
        if not canonical:
            return to_code, from_code
        carrier = self.decoder.get("linear", self.decoder["coefs"][0])
        turn, _, vt = np.linalg.svd((axes * (std * varies)) @ axes.T @ carrier)
        turn, _ = svd_flip(turn, vt[: len(turn)], u_based_decision=False)
        return to_code @ turn, turn.T @ from_code

    def rescale_code(self, factors):
        """Return a network with each code column multiplied by its factor."""
        return self.recode(np.diag(factors), np.diag(1 / factors), np.zeros_like(factors))

    @property
    def code_size(self):
        """Number of code columns."""
        return len(self.encoder["intercepts"][-1])

    def linear_path(self):
        """Return the encoder's linear path, which may be its only layer, or None."""
        layers = self.encoder["coefs"]
        return self.encoder.get("linear", layers[0] if len(layers) == 1 else None)

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
        """Return the same network with every feature free."""
        free = np.full_like(self.low, np.inf)
        return self._replace(low=-free, high=free)

    def check_distance(self, X):
        """Refuse rows that are too far from those that the network was trained on.

        Raises
        ------
        ValueError
            If their squares overflow.
        """
        with np.errstate(over="ignore"):
            distances = [abs(extreme - self.offset) for extreme in column_ranges(X)]
        if float(np.max(distances)) > _FARTHEST:  # a NumPy float32 cannot be compared with that
            raise ValueError(TOO_FAR)

    def with_room_for(self, X):
        """Return the same network with bounds moved out to the rows of X that exceed them.

        Moved and not removed: the network has learned to rely on the clip.
        """
        least, most = column_ranges(X)
        return self._replace(low=np.minimum(self.low, least), high=np.maximum(self.high, most))


def column_ranges(X):
    """Least and largest number of each column."""
    return min_max_axis(X, axis=0) if issparse(X) else (X.min(axis=0), X.max(axis=0))


def location_and_scale(X, rows):
    """Mean of each column over some rows, and the root mean square of what it leaves.

    Parameters
    ----------
    X : array, memmap or CSR of shape (n_samples, n_features)
        The table.
    rows : ndarray of int
        Which of its rows count.

    Returns
    -------
    mean : ndarray of shape (n_features,)
        In double precision.
    scale : float
        One number for all columns; 1 if no column varies.

    Raises
    ------
    ValueError
        If numbers are so large or small that those of training would overflow.
    """
    statistics = StandardScaler()
    with np.errstate(over="ignore", invalid="ignore"):
        for block in row_blocks(len(rows), X.shape[1]):
            statistics.partial_fit(read_rows(X, rows[block]).astype(np.float64, copy=False))
        scale = float(np.sqrt(statistics.var_.mean())) or 1.0
    if not np.isfinite(scale):
        raise ValueError(TOO_FAR)
    if float_type(X) == np.float32 and not 1 / _LARGE_FLOAT32 <= scale <= _LARGE_FLOAT32:
        raise ValueError(
            f"X varies by {scale:.0e}, which is near the limits of its type, {X.dtype}: convert it "
            "to float64, or divide it by a constant."
        )
    return statistics.mean_, scale


def tied_bounds(X, rows, min_ties, min_share):
    """Extremes of the features that have many rows exactly on them; infinity for the others.

    Pixels, counts, percentages and one-hot columns end at a wall, and their rows pile up there.
    The largest value of a column with a long tail is no wall: the next row may exceed it.

    Parameters
    ----------
    X : array, memmap or CSR of shape (n_samples, n_features)
        The table.
    rows : ndarray of int
        Which of its rows count.
    min_ties, min_share : int, float
        An extreme is a bound if at least so many rows, and this share of them, sit on it.

    Returns
    -------
    low, high : ndarray of shape (n_features,)
        In the type of X.
    """
    n_samples, n_features = len(rows), X.shape[1]
    least, most = np.full(n_features, np.inf), np.full(n_features, -np.inf)
    for block in row_blocks(n_samples, n_features):
        values = read_rows(X, rows[block])
        least, most = np.minimum(least, values.min(axis=0)), np.maximum(most, values.max(axis=0))
    at_least, at_most = np.zeros((2, n_features))
    for block in row_blocks(n_samples, n_features):
        values = read_rows(X, rows[block])
        at_least += (values == least).sum(axis=0)
        at_most += (values == most).sum(axis=0)
    needed = max(min_ties, min_share * n_samples)
    low, high = (
        np.where(at_least >= needed, least, -np.inf),
        np.where(at_most >= needed, most, np.inf),
    )
    return low.astype(float_type(X)), high.astype(float_type(X))


def given_bounds(bounds, X):
    """Bounds that the user gave, for each feature of X.

    Parameters
    ----------
    bounds : tuple or None
        Lower and upper bound, each None, a number or an array of shape (n_features,).
    X : array, memmap or CSR of shape (n_samples, n_features)
        Says how many features there are, and their type.

    Returns
    -------
    low, high : ndarray of shape (n_features,)
        In the type of X, infinite where a side is free.

    Raises
    ------
    ValueError
        If bounds are not a pair, do not fit the features, or leave no room.
    """
    n_features = X.shape[1]
    bounds = (None, None) if bounds is None else bounds
    if len(bounds) != 2:
        raise ValueError(f"bounds must be 'auto', None or a pair (low, high), got {bounds!r}.")
    sides = []
    for side, free in zip(bounds, (-np.inf, np.inf), strict=True):
        try:
            with np.errstate(over="ignore"):
                side = np.asarray(free if side is None else side, dtype=float_type(X))
            sides.append(np.broadcast_to(side, n_features).copy())
        except (TypeError, ValueError):
            raise ValueError(
                "Each side of bounds must be None, a number or an array of shape "
                f"(n_features,) = ({n_features},), got {bounds!r}."
            ) from None
    if not (sides[0] < sides[1]).all():
        raise ValueError(f"bounds must have low < high for each feature, got {bounds!r}.")
    return tuple(sides)


def principal_components(X, rows, offset, scale, n_components, random_state):
    """Principal axes of some rows of X, always as many as asked for.

    From the covariance, summed block by block, where rows are many and columns few; else by
    scikit-learn's PCA. Where a copy of the rows would be large, it sees a random subset, and its
    axes go through a few subspace iterations over all rows (Golub & Van Loan, Matrix Computations,
    section 8.2.4).

    Parameters
    ----------
    X : array, memmap or CSR of shape (n_samples, n_features)
        The table.
    rows : ndarray of int
        Which of its rows count.
    offset, scale : ndarray of shape (n_features,), float
        Rows are centred by the one and divided by the other, for numbers of a size that their
        squares do not overflow.
    n_components : int or float in (0, 1)
        Number of axes, or the share of variance that they must explain.
    random_state : int
        For subsets, for the solvers of PCA that draw, and for the axes that the data leave open.

    Returns
    -------
    components : ndarray of shape (n_components, n_features)
        Orthonormal rows, with PCA's signs. If rows are fewer than components, the last are
        arbitrary.
    std : ndarray of shape (n_components,)
        Standard deviation of the centred and scaled rows along each, with ``n_samples - 1`` as in
        PCA.
    """
    n_samples, n_features = len(rows), X.shape[1]
    dtype = float_type(X)
    is_share = n_components < 1
    subset = rows
    if n_features <= _MAX_COVARIANCE_FEATURES and n_samples > n_features:
        covariance = np.zeros((n_features, n_features))
        for block in row_blocks(n_samples, n_features):
            scaled = standardise(X, rows[block], offset, scale, dtype=dtype)
            covariance += scaled.T @ scaled
        covariance /= n_samples - 1
        most = [n_features - min(n_components, n_features), n_features - 1]
        variance, axes = eigh(covariance, subset_by_index=None if is_share else most)
        variance, components = variance[::-1].clip(min=0), axes.T[::-1]
    elif n_samples > 1:
        rng = np.random.default_rng(random_state)
        most = max(_MAX_PCA_NUMBERS // n_features, 2 if is_share else 2 * n_components)
        if n_samples > most:
            subset = np.sort(rng.choice(rows, size=most, replace=False))
        wanted = None if is_share else min(n_components, len(subset), n_features)
        pca = PCA(wanted, copy=False, random_state=random_state)
        with np.errstate(invalid="ignore"):  # shares of a variance that is zero
            pca.fit(standardise(X, subset, offset, scale, dtype=dtype))
        variance, components = pca.explained_variance_, pca.components_
    else:
        variance, components = np.zeros(0), np.zeros((0, n_features))
    if is_share:
        explained = np.cumsum(variance) / (variance.sum() or 1.0)
        n_components = 1 + np.searchsorted(explained[:-1], n_components, side="right")
    n_components = min(n_components, n_features)
    components, variance = components[:n_components], variance[:n_components]
    if len(subset) < n_samples:
        components, variance = _subspace_iterations(components, X, rows, offset, scale)
    std = np.sqrt(variance)
    _, components = svd_flip(None, components, u_based_decision=False)
    missing = n_components - len(components)
    if missing:
        open_axes = np.random.default_rng(random_state).standard_normal((missing, n_features))
        basis, _ = np.linalg.qr(np.vstack([components, open_axes]).T)
        components = np.vstack([components, basis.T[len(components) :]])
        std = np.append(std, np.zeros(missing))
    return components.astype(dtype), std.astype(dtype)


def _subspace_iterations(components, X, rows, offset, scale):
    """Turn orthonormal axes towards the principal ones of all rows; return their variance too."""
    for _ in range(_SUBSPACE_ITERATIONS):
        product = np.zeros(components.T.shape)  # of the covariance and the axes
        for block in row_blocks(len(rows), X.shape[1]):
            scaled = standardise(X, rows[block], offset, scale, dtype=components.dtype)
            product += scaled.T @ (scaled @ components.T)
        product /= len(rows) - 1
        variance, turn = np.linalg.eigh(components @ product)
        axes, _ = np.linalg.qr(product @ turn[:, ::-1])  # the strongest first, so that they stay it
        components = axes.T.astype(components.dtype)
    return components, variance[::-1].clip(min=0)


def start_at_pca(components, std, hidden_layer_sizes, rng):
    """Start both halves at PCA: the linear path is PCA, the branch beside it adds zero.

    The branch's hidden layers are drawn so that their units start at unit scale for inputs of unit
    variance; the last layer is zero and opens as it is trained. The random intercepts
    spread the units' bends over the data, which matters where the input has few dimensions.

    Parameters
    ----------
    components : ndarray of shape (n_components, n_features)
        PCA's axes.
    std : ndarray of shape (n_components,)
        Standard deviation of the scaled data along each axis.
    hidden_layer_sizes : tuple of int
        Sizes of the encoder's hidden layers; the decoder mirrors them.
    rng : numpy.random.Generator
        Where the hidden layers are drawn from.

    Returns
    -------
    encoder, decoder : dict
        In the type of `components`.
    """
    n_components, n_features = components.shape
    variance = np.mean(std**2)
    code_scale = np.sqrt(variance) if variance > _FLAT else 1.0
    halves = []
    for sizes, linear, input_scale in (
        ([n_features, *hidden_layer_sizes, n_components], components.T, 1.0),
        ([n_components, *hidden_layer_sizes[::-1], n_features], components, code_scale),
    ):
        half = {"coefs": [], "intercepts": []}
        for n_in, n_out in pairwise(sizes[:-1]):
            half["coefs"].append(
                rng.normal(scale=np.sqrt(2 / n_in) / input_scale, size=(n_in, n_out))
            )
            half["intercepts"].append(rng.uniform(-1, 1, size=n_out))
            input_scale = 1.0
        half["intercepts"].append(np.zeros(sizes[-1]))
        if hidden_layer_sizes:
            half["coefs"].append(np.zeros(sizes[-2:]))
            half["linear"] = linear
        else:
            half["coefs"].append(linear)
        halves.append(map_arrays(lambda a: np.array(a, dtype=components.dtype, order="C"), half))
    return tuple(halves)


def start_at_random(init, n_features, hidden_layer_sizes, n_components, dtype, rng):
    """Start both halves as plain stacks.

    Parameters
    ----------
    init : {"glorot", "normal"}
        Uniform coefs of variance 2 / (n_in + n_out) and zero intercepts (Glorot & Bengio, AISTATS
        2010, section 4.2.1), or everything from N(0, 0.05²).
    n_features, hidden_layer_sizes, n_components : int, tuple of int, int
        Sizes of the encoder's layers; the decoder mirrors them.
    dtype : dtype
        Type of the arrays.
    rng : numpy.random.Generator
        Where they are drawn from.

    Returns
    -------
    encoder, decoder : dict
    """
    sizes = [n_features, *hidden_layer_sizes, n_components]
    halves = []
    for half_sizes in (sizes, sizes[::-1]):
        half = {"coefs": [], "intercepts": []}
        for n_in, n_out in pairwise(half_sizes):
            if init == "glorot":
                bound = np.sqrt(6 / (n_in + n_out))
                half["coefs"].append(rng.uniform(-bound, bound, size=(n_in, n_out)))
                half["intercepts"].append(np.zeros(n_out))
            else:
                half["coefs"].append(rng.normal(scale=0.05, size=(n_in, n_out)))
                half["intercepts"].append(rng.normal(scale=0.05, size=n_out))
        halves.append(map_arrays(lambda a: a.astype(dtype), half))
    return tuple(halves)
