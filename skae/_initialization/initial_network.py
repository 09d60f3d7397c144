"""Where training starts: statistics of the table, PCA, bounds, and the first network."""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import eigh
from sklearn.decomposition import PCA
from sklearn.utils.extmath import svd_flip

from .._networks.network import FLAT, Autoencoder, rounded_inwards
from .._networks.ppca import Filling, choose_effort, fit_filling, probabilistic_pca

# Up to here the covariance and its eigenvectors cost less than a few passes of training.
_MAX_COVARIANCE_FEATURES = 1500
# An eighth of a gigabyte in double precision, on which PCA's solvers make copies. Of larger tables
# they get a random subset, and the axes then make so many steps towards those of all rows.
_MAX_PCA_NUMBERS = 2**24
_SUBSPACE_ITERATIONS = 3
# A side of a feature is bounded if so many rows, and this share of them, sit on its extreme.
_MIN_TIES, _MIN_TIED_SHARE = 5, 1e-3

# An imputer's code keeps all of a row, up to so many columns, unless it is told otherwise.
_MAX_AUTO_COMPONENTS = 128
# So many components fill the missing values of rows, at most, where none were missing in training.
_MAX_FILLING_COMPONENTS = 64

# Up to here the axes of rows that are fewer than columns cost less than a few passes of training.
_MAX_SUBSPACE_ROWS, _MAX_SUBSPACE_NUMBERS = 2000, 2**25
# The axes of a code that the training rows leave open may lie outside the subspace if there is so
# many times the room for them: arbitrary ones would then catch less than a twentieth of an error.
_OPEN_AXES_ROOM = 20

_TOO_FAR = "X holds numbers whose squares overflow: divide it by a constant."
# So far from the mean, squares of rows and of their codes can still be summed.
_FARTHEST = 1e150
# Squares of smaller numbers lose digits. Weights divided by a smaller scale would overflow.
_SMALL, _SMALLEST = 1e-140, 1e-290
# Beyond this, numbers that are some times larger or smaller leave the type.
_LARGE_FLOAT32 = 1e37


class Subspace(NamedTuple):
    """The subspace in which the rows of a wide table lie.

    Attributes
    ----------
    axes : ndarray of shape (n_axes, n_features)
        Orthonormal: the rows' principal axes.
    origin : ndarray of shape (n_features,)
        Their mean.
    is_bounded : bool
        Whether the network has bounds, so that its decoder must be trained in all columns.
    """

    axes: np.ndarray
    origin: np.ndarray
    is_bounded: bool

    @classmethod
    def of(cls, table, architecture, n_training):
        """Return the subspace of a table, or None where training in it is not the same or no gain.

        Rows that are fewer than the columns span as many dimensions as there are rows. A network
        that starts at PCA and has no bounds does there what it does in all columns, at a cost that
        does not depend on their number. With bounds, its encoder does. If the training rows of a
        split, of which there are `n_training`, have fewer axes than the code, the others are
        arbitrary. In the subspace they would be those of the held-out rows, so they lie outside,
        where there is room.
        """
        if table.is_incomplete or architecture.is_imputer or architecture.likelihood:
            return None
        if table.shards is not None:  # no worker has all rows
            return None
        is_wide = 1 < table.n_rows <= min(_MAX_SUBSPACE_ROWS, table.n_features)
        is_small = table.n_rows * table.n_features <= _MAX_SUBSPACE_NUMBERS
        n_open = architecture.n_components - (n_training - 1)
        has_room = _OPEN_AXES_ROOM * n_open <= table.n_features - table.n_rows
        if not (is_wide and is_small and has_room and architecture.init == "pca"):
            return None
        is_bounded = bool(np.isfinite(first_bounds(table, architecture)).any())
        if is_bounded and n_open > 0:
            return None
        origin, scale = location_and_scale(table)
        # A QR decomposition first makes the singular vectors several times as cheap (Chan, ACM TOMS
        # 8, 1982, section 2). The last one is nothing, for the mean takes a dimension.
        basis, triangle = np.linalg.qr(table.standardised(origin, scale).take(slice(None)).T)
        axes = (basis @ np.linalg.svd(triangle)[0][:, :-1]).T
        _, axes = svd_flip(None, axes, u_based_decision=False)
        return table.workers.broadcast_object(cls(axes, origin.astype(table.dtype), is_bounded))

    def coordinates(self, table):
        """Return the table of the rows' coordinates."""
        X = table.alone().map(lambda rows: (rows - self.origin) @ self.axes.T, len(self.axes))
        return table._replace(X=X, n_embedding=table.n_features)

    def embed(self, network):
        """Return the network of rows, from that of their coordinates."""
        return network.embedded(self.axes, self.origin)


class Architecture(NamedTuple):
    """What the parameters say of the network.

    Attributes
    ----------
    n_components : int
        Size of the code.
    hidden_layer_sizes : tuple of int
        Sizes of the encoder's hidden layers; the decoder mirrors them.
    activations : tuple of str
        Hidden, code and output activation.
    init : {"pca", "glorot", "normal"}
        See the estimator.
    bounds : "auto", None or pair
        See the estimator.
    effort : Effort or None
        How closely the model that fills missing values is fitted; None where it is PCA's.
    is_imputer : bool
        Whether training starts at that model, and not at PCA.
    likelihood : {"gaussian", "bernoulli"} or None
        Of a variational network; see `VariationalAutoencoder`.
    """

    n_components: int
    hidden_layer_sizes: tuple
    activations: tuple
    init: str
    bounds: object
    effort: Any = None
    is_imputer: bool = False
    likelihood: str | None = None

    def sized(self, table, seed):
        """Return the architecture for a table: its effort and the size of its code are chosen."""
        effort = None
        if table.seen_share() == 0:
            raise ValueError("X has no value at all: all of it is missing.")
        if table.is_incomplete or self.is_imputer:
            effort = filling_effort(table, table.n_features, seed)
        if self.n_components == "auto":
            is_wide = table.n_features > _MAX_AUTO_COMPONENTS
            n_components = max(1, effort.n_components) if is_wide else table.n_features
        else:
            # a share of the variance is that of filled rows
            is_share = table.is_incomplete and self.n_components < 1
            complete = table.filled(first_filling(table, effort, seed)) if is_share else table
            n_components = code_size(complete, self.n_components, seed)
        if self.is_imputer and n_components < effort.n_components:  # which starts in the code
            effort = filling_effort(table, n_components, seed)
        return self._replace(n_components=n_components, effort=effort)

    def sizes(self, n_features):
        """Sizes of the encoder's layers, from the features to the code."""
        return [n_features, *self.hidden_layer_sizes, self.n_components]

    def n_weights(self, n_features):
        """Count the coefs of the layers of encoder and decoder."""
        return 2 * sum(n_in * n_out for n_in, n_out in pairwise(self.sizes(n_features)))


def first_network(table, architecture, seed):
    """Return the network that training on a table starts from.

    Parameters
    ----------
    table : Table
        The training rows.
    architecture : Architecture
        What to build.
    seed : int
        For the hidden layers, and for PCA's solvers.

    Returns
    -------
    Autoencoder
        In the float type of the table.
    """
    rng = np.random.default_rng(seed)
    n_features, bounds = table.n_features, first_bounds(table, architecture)
    filling = first_filling(table, architecture.effort, seed)
    table = table.filled(filling)
    offset, scale = np.zeros(n_features), 1.0
    if architecture.activations[-1] == "identity":  # others have a range, in which the data come
        offset, scale = location_and_scale(table)
    if table.n_embedding:  # the other axes of a larger code lie outside the subspace
        n_axes = max(1, min(architecture.n_components, table.n_rows - 1))
        architecture = architecture._replace(n_components=n_axes)
    sizes = architecture.sizes(n_features)
    if architecture.init == "pca":
        standardised = table.standardised(offset, scale)
        components, std = principal_components(standardised, architecture.n_components, seed)
        paths = None
        if architecture.is_imputer and architecture.n_components < n_features:
            offset, paths = filling.mean, filling_paths(components, filling)
        params = start_at_pca(components, std, sizes, rng, paths)
        filling = filling or pca_filling(table, components, std, offset, scale)
    else:
        params = start_at_random(architecture.init, sizes, rng)
        filling = filling or mean_filling(table)
    network = Autoencoder(params, offset, scale, bounds, architecture.activations, filling)
    return table.workers.broadcast_object(network.astype(table.dtype))


def mean_filling(table):
    """Return the filling that takes the mean of each column."""
    return Filling(table.mean(), 1.0, np.zeros((table.n_features, 0)), 1.0)


def pca_filling(table, components, std, offset, scale):
    """Return the probabilistic PCA of complete rows, from the first principal axes.

    It has at most half as many components as rows: the variances along the last axes of few rows
    are far too small, and then the missing values depend on errors of the observed ones.
    """
    size = min(_MAX_FILLING_COMPONENTS, (table.n_rows - 1) // 2)
    variance = np.square(std[:size].astype(np.float64))
    noise_variance, lengths = probabilistic_pca(
        variance, table.n_rows, table.n_features, table.n_averaged
    )
    return Filling(offset, scale, components[: len(lengths)].T * lengths, noise_variance)


def first_filling(table, effort, seed):
    """Return the model that fills missing values, fitted by EM; None if none is needed."""
    if effort is None:
        return None
    offset, scale, standardised = _standardised_as_they_are(table)
    filling = fit_filling(standardised, effort, seed)
    return filling.standardised(-offset / scale, 1 / scale)


def filling_effort(table, n_components, seed):
    """Choose how closely the model is fitted that fills missing values; see `choose_effort`."""
    return choose_effort(_standardised_as_they_are(table)[-1], n_components, seed)


def _standardised_as_they_are(table):
    """Return the mean and the scale of a table, and its rows in these units, still incomplete."""
    location = location_and_scale(table.filled(mean_filling(table)))
    return *location, table.standardised(*location)


def filling_paths(components, filling):
    """Return linear paths of encoder and decoder that reconstruct what is missing as it was filled.

    The first components of the code are the mean of the filling's latent variables, in its
    principal axes. The others are those of PCA, for which the decoder's path is silent.
    """
    axes, std, _ = np.linalg.svd(filling.loadings, full_matrices=False)
    size = len(std)
    to_code, to_rows = components.T.astype(np.float64), np.zeros(components.shape)
    to_code[:, :size] = axes * (std**2 / (std**2 + filling.noise_variance))
    to_rows[:size] = axes.T
    return to_code, to_rows


def restarted(network, scale, bounds, table):
    """Return a fitted network with params of the size that PCA starts with.

    Adam moves each weight by about the learning rate, whatever its size; the code that the last fit
    folded into the weights would give it others than those it started from. Automatic bounds are
    those that were found, moved out to rows that exceed them, and not removed: the network has
    learned to rely on the clip.

    Parameters
    ----------
    network : Autoencoder
        The fitted one.
    scale : float
        The unit that it was trained in.
    bounds : "auto", None or pair
        See the estimator.
    table : Table
        The rows to train on now.

    Raises
    ------
    ValueError
        If their squares overflow.
    """
    network = network.rescaled(scale).as_started()
    least, most = table.extremes()
    with np.errstate(over="ignore"):
        distances = abs(np.stack([least, most]) - network.offset)
        farthest = np.fmax.reduce(distances, axis=None, initial=0)
    if float(farthest) > _FARTHEST:  # a NumPy float32 cannot be compared with that
        raise ValueError(_TOO_FAR)
    if isinstance(bounds, str):
        low, high = network.bounds
        bounds = np.stack([np.fmin(low, least), np.fmax(high, most)])
    else:
        bounds = given_bounds(bounds, table)
    return table.workers.broadcast_object(network._replace(bounds=bounds))


def code_size(table, n_components, seed):
    """Return the number of components, which may be given as a share of the variance."""
    if n_components >= 1:
        return int(min(n_components, table.n_features))
    standardised = table.standardised(*location_and_scale(table))
    return len(principal_components(standardised, n_components, seed)[0])


def location_and_scale(table):
    """Mean of each column, and the root mean square of what it leaves.

    Parameters
    ----------
    table : Table
        The rows.

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
    # Sums of distances from a row of the table, so that large means cost no digits of the variance
    # (Chan, Golub & LeVeque, The American Statistician 37, 1983, section 3: shifted data).
    shift = table.collect(slice(0, 1))[0].astype(np.float64)

    def moments(unit):
        def sums(block):
            distances = block - shift if unit == 1 else (block - shift) / unit
            return distances.sum(axis=0), np.einsum("ij,ij->j", distances, distances)

        total, squares = table.total(sums)
        mean = total / table.n_rows
        variance = squares / table.n_rows - mean**2
        return unit * mean, unit * float(np.sqrt(variance.clip(min=0).mean()))

    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        mean, scale = moments(1)
        if scale < _SMALL:  # squares may have vanished
            (farthest,) = table.fold(np.maximum, lambda block: [abs(block - shift).max(initial=0)])
            mean, scale = moments(float(farthest)) if farthest > 0 else (mean, 1.0)
            scale = max(scale, _SMALLEST)
    if not np.isfinite(scale):
        raise ValueError(_TOO_FAR)
    if table.dtype == np.float32 and not 1 / _LARGE_FLOAT32 <= scale <= _LARGE_FLOAT32:
        raise ValueError(
            f"X varies by {scale:.0e}, which is near the limits of its type, {table.dtype}: "
            "convert it to float64, or divide it by a constant."
        )
    return shift + mean, scale


def first_bounds(table, architecture):
    """Return the bounds (2, n_features) of a first network: those found, or those given."""
    is_auto = isinstance(architecture.bounds, str)
    if is_auto and architecture.activations[-1] == "identity":
        return tied_bounds(table, _MIN_TIES, _MIN_TIED_SHARE)
    return given_bounds(architecture.bounds, table)


def tied_bounds(table, min_ties, min_share):
    """Extremes of the features that have many rows exactly on them; infinity for the others.

    Pixels, counts, percentages and one-hot columns end at a wall, and their rows pile up there.
    The largest value of a column with a long tail is no wall: the next row may exceed it.

    Parameters
    ----------
    table : Table
        The rows.
    min_ties, min_share : int, float
        An extreme is a bound if at least so many rows, and this share of them, sit on it.

    Returns
    -------
    bounds : ndarray of shape (2, n_features)
        Lower and upper ones, in the type of the table.
    """
    extremes = table.extremes()
    ties = table.total(lambda block: [(block == extreme).sum(axis=0) for extreme in extremes])
    is_wall = np.stack(ties) >= max(min_ties, min_share * table.n_rows)
    return np.where(is_wall, extremes, [[-np.inf], [np.inf]]).astype(table.dtype)


def given_bounds(bounds, table):
    """Bounds that the user gave, for each feature.

    Parameters
    ----------
    bounds : "auto", None or pair
        Lower and upper bound, each None, a number or an array of shape (n_features,). None and
        "auto" bound nothing.
    table : Table
        Says how many features there are, and their type.

    Returns
    -------
    bounds : ndarray of shape (2, n_features)
        Lower and upper ones in the type of the table, infinite where a side is unbounded. What the
        type cannot hold is rounded inwards, so that rows within are within what was given.

    Raises
    ------
    ValueError
        If bounds are not a pair, do not fit the features, or leave no room.
    """
    pair = (None, None) if bounds is None or isinstance(bounds, str) else bounds
    if getattr(pair, "ndim", 1) == 0 or len(pair) != 2:
        raise ValueError(f"bounds must be 'auto', None or a pair (low, high), got {bounds!r}.")
    try:
        with np.errstate(over="ignore"):
            exact = [
                np.full(table.n_features, none if side is None else side, dtype=np.float64)
                for side, none in zip(pair, (-np.inf, np.inf), strict=True)
            ]
    except (TypeError, ValueError):
        raise ValueError(
            "Each side of bounds must be None, a number or an array of shape "
            f"(n_features,) = ({table.n_features},), got {bounds!r}."
        ) from None
    except OverflowError:
        raise ValueError("bounds are too large for a float: set None for a side.") from None
    low, high = rounded = rounded_inwards(np.stack(exact), table.dtype)
    if not (low < high).all():
        raise ValueError(f"bounds must have low < high for each feature, got {bounds!r}.")
    return rounded


def principal_components(table, n_components, seed):
    """Principal axes of a table, always as many as asked for.

    From the covariance, summed block by block, where rows are many and columns few; else by
    scikit-learn's PCA.

    Parameters
    ----------
    table : Table
        Standardised rows, so that their squares do not overflow.
    n_components : int or float in (0, 1)
        Number of axes, or the share of variance that they must explain.
    seed : int
        For subsets, for the solvers of PCA that draw, and for the axes that the data leave open.

    Returns
    -------
    components : ndarray of shape (n_components, n_features)
        Orthonormal rows, with PCA's signs. If rows are fewer than components, the last are
        arbitrary.
    std : ndarray of shape (n_components,)
        Standard deviation of the rows along each, with ``n_samples - 1`` as in PCA.
    """
    n_features = table.n_features
    if n_features <= _MAX_COVARIANCE_FEATURES and table.n_rows > n_features:
        variance, components = _axes_of_covariance(table, n_components)
    elif table.n_rows > 1:
        variance, components = _axes_of_rows(table, n_components, seed)
    else:
        variance, components = np.zeros(0), np.zeros((0, n_features))
    std = np.sqrt(variance)
    _, components = svd_flip(None, components, u_based_decision=False)
    missing = int(max(1, min(n_components, n_features))) - len(components)
    if missing > 0:
        open_axes = np.random.default_rng(seed).standard_normal((missing, n_features))
        basis, _ = np.linalg.qr(np.vstack([components, open_axes]).T)
        components = np.vstack([components, basis.T[len(components) :]])
        std = np.append(std, np.zeros(missing))
    return components.astype(table.dtype), std.astype(table.dtype)


def _first(n_components, variance, components):
    """Return the first axes: so many or, given a share of the variance, as many as PCA takes."""
    if n_components < 1:
        explained = np.cumsum(variance) / (variance.sum() or 1.0)
        n_components = 1 + np.searchsorted(explained[:-1], n_components, side="right")
    return variance[:n_components], components[:n_components]


def _axes_of_covariance(table, n_components):
    """Return variances and axes, the strongest first."""
    (covariance,) = table.total(lambda rows: (rows.T @ rows,))
    covariance /= table.n_rows - 1
    last = table.n_features - 1
    needed = None if n_components < 1 else [max(0, last + 1 - n_components), last]
    variance, axes = eigh(covariance, subset_by_index=needed)
    return _first(n_components, variance[::-1].clip(min=0), axes.T[::-1])


def _axes_of_rows(table, n_components, seed):
    """Return variances and axes from scikit-learn's PCA, the strongest first.

    Where a copy of the rows would be large, it sees a random subset, and its axes go through a few
    subspace iterations over all rows.
    """
    n_rows, n_features, is_share = table.n_rows, table.n_features, n_components < 1
    size = min(n_rows, max(_MAX_PCA_NUMBERS // n_features, 2 if is_share else 2 * n_components))
    chosen = np.random.default_rng(seed).choice(n_rows, size, replace=False)
    rows = table.collect(np.sort(chosen))
    pca = PCA(None if is_share else min(n_components, *rows.shape), copy=False, random_state=seed)
    with np.errstate(invalid="ignore"):  # shares of a variance that is zero
        pca.fit(rows)
    variance, components = _first(n_components, pca.explained_variance_, pca.components_)
    if size < n_rows:
        variance, components = _subspace_iterations(components, table)
    return variance, components


def _subspace_iterations(components, table):
    """Rotate orthonormal axes towards the principal ones of all rows; return variances and axes.

    Golub & Van Loan, Matrix Computations, section 8.2.4.
    """
    for _ in range(_SUBSPACE_ITERATIONS):
        # the product of the covariance and the axes
        (product,) = table.total(lambda rows, axes=components.T: (rows.T @ (rows @ axes),))
        product /= table.n_rows - 1
        variance, rotation = np.linalg.eigh(components @ product)
        # the strongest first, so that they stay it
        axes, _ = np.linalg.qr(product @ rotation[:, ::-1])
        components = axes.T.astype(components.dtype)
    return variance[::-1].clip(min=0), components


def start_at_pca(components, std, sizes, rng, paths=None):
    """Start encoder and decoder at PCA: the linear path is PCA, the branch beside it adds zero.

    The branch's hidden layers are drawn so that their units start at unit scale for inputs of unit
    variance; the last layer is zero and opens as it is trained. The random intercepts
    spread the units' bends over the data, which matters where the input has few dimensions.

    Parameters
    ----------
    components : ndarray of shape (n_components, n_features)
        PCA's axes.
    std : ndarray of shape (n_components,)
        Standard deviation of the scaled data along each axis.
    sizes : list of int
        Sizes of the encoder's layers, from the features to the code; the decoder mirrors them.
    rng : numpy.random.Generator
        Where the hidden layers are drawn from.
    paths : (ndarray, ndarray), optional
        Other linear paths of encoder and decoder than the axes.

    Returns
    -------
    params : dict
    """
    to_code, to_rows = paths or (components.T, components)
    variance = np.mean(std**2)
    code_scale = np.sqrt(variance) if variance > FLAT else 1.0
    return {
        "encoder": _half_at_pca(sizes, np.array(to_code, order="C"), 1.0, rng),
        "decoder": _half_at_pca(sizes[::-1], np.array(to_rows, order="C"), code_scale, rng),
    }


def _half_at_pca(sizes, linear, input_scale, rng):
    half = {"coefs": [], "intercepts": []}
    for n_in, n_out in pairwise(sizes[:-1]):
        std = np.sqrt(2 / n_in) / input_scale
        half["coefs"].append(rng.normal(scale=std, size=(n_in, n_out)))
        half["intercepts"].append(rng.uniform(-1, 1, size=n_out))
        input_scale = 1.0
    half["intercepts"].append(np.zeros(sizes[-1]))
    if len(sizes) == 2:  # the linear path is the only layer
        return half | {"coefs": [linear]}
    return half | {"coefs": [*half["coefs"], np.zeros(sizes[-2:])], "linear": linear}


def start_at_random(init, sizes, rng):
    """Start encoder and decoder as plain stacks.

    Parameters
    ----------
    init : {"glorot", "normal"}
        Uniform coefs of variance 2 / (n_in + n_out) and zero intercepts (Glorot & Bengio, AISTATS
        2010, section 4.2.1), or everything from N(0, 0.05²).
    sizes : list of int
        Sizes of the encoder's layers, from the features to the code; the decoder mirrors them.
    rng : numpy.random.Generator
        Where they are drawn from.

    Returns
    -------
    params : dict
    """

    def layer(n_in, n_out):
        if init == "normal":
            return rng.normal(scale=0.05, size=(n_in, n_out)), rng.normal(scale=0.05, size=n_out)
        bound = np.sqrt(6 / (n_in + n_out))
        return rng.uniform(-bound, bound, size=(n_in, n_out)), np.zeros(n_out)

    params = {}
    for half, half_sizes in (("encoder", sizes), ("decoder", sizes[::-1])):
        layers = [layer(n_in, n_out) for n_in, n_out in pairwise(half_sizes)]
        coefs, intercepts = map(list, zip(*layers, strict=True))
        params[half] = {"coefs": coefs, "intercepts": intercepts}
    return params
