"""The network that training starts from: its architecture and its first weights."""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from .._networks.network import FLAT, Autoencoder
from .bounds import first_bounds, given_bounds
from .filling import filling_effort, filling_paths, first_filling, mean_filling, pca_filling
from .pca import code_size, principal_components
from .statistics import TOO_FAR, location_and_scale

# An imputer's code keeps all of a row, up to so many columns, unless it is told otherwise.
_MAX_AUTO_COMPONENTS = 128
# So far from the mean, squares of rows and of their codes can still be summed.
_FARTHEST = 1e150


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
        raise ValueError(TOO_FAR)
    if isinstance(bounds, str):
        low, high = network.bounds
        bounds = np.stack([np.fmin(low, least), np.fmax(high, most)])
    else:
        bounds = given_bounds(bounds, table)
    return table.workers.broadcast_object(network._replace(bounds=bounds))


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
