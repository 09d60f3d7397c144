"""Initial network: its architecture and its initial weights."""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from .._networks.network import FLAT, Autoencoder
from .bounds import first_bounds, given_bounds
from .filling import filling_effort, filling_paths, first_filling, mean_filling, pca_filling
from .pca import code_size, principal_components
from .statistics import TOO_FAR, location_and_scale

# With n_components="auto", the code has as many components as the table has columns, up to this
# number of columns. For wider tables it has as many as the imputation model.
_MAX_AUTO_COMPONENTS = 128
# Up to this distance from the mean, sums of squares of rows and of codes do not overflow.
_FARTHEST = 1e150


class Architecture(NamedTuple):
    """Architecture of the network, given by the parameters of the estimator.

    Attributes
    ----------
    n_components : int, float or "auto"
        Number of components of the code; an int after `sized`.
    hidden_layer_sizes : tuple of int
        Sizes of the encoder's hidden layers; the decoder mirrors them.
    activations : tuple of str
        Hidden, code and output activation.
    init : {"pca", "glorot", "normal"}
        Initial network; see `AutoencoderTransformer`.
    bounds : "auto", None or pair
        Bounds of the output; see `AutoencoderTransformer`.
    effort : Effort or None
        Numbers of components and EM steps of the imputation model; None if that model is computed
        from complete rows.
    is_imputer : bool
        Whether training starts at the imputation model, and not at PCA.
    likelihood : {"gaussian", "bernoulli"} or None
        Likelihood of a variational network, see `VariationalAutoencoder`; None for other networks.
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
        """Return the architecture for a table, with `effort` and the number of components set.

        Raises
        ------
        ValueError
            If all values of the table are missing.
        """
        effort = None
        if table.seen_share() == 0:
            raise ValueError("X has no value at all: all of it is missing.")
        if table.is_incomplete or self.is_imputer:
            effort = filling_effort(table, table.n_features, seed)
        if self.n_components == "auto":
            is_wide = table.n_features > _MAX_AUTO_COMPONENTS
            n_components = max(1, effort.n_components) if is_wide else table.n_features
        else:
            # the fraction of the variance is computed on imputed rows
            is_share = table.is_incomplete and self.n_components < 1
            complete = table.filled(first_filling(table, effort, seed)) if is_share else table
            n_components = code_size(complete, self.n_components, seed)
        # the code of an imputer starts as the latent variables of the imputation model
        if self.is_imputer and n_components < effort.n_components:
            effort = filling_effort(table, n_components, seed)
        return self._replace(n_components=n_components, effort=effort)

    def sizes(self, n_features):
        """Return the sizes of the encoder's layers, from the features to the code."""
        return [n_features, *self.hidden_layer_sizes, self.n_components]

    def n_weights(self, n_features):
        """Return the number of coefs in the layers of encoder and decoder."""
        return 2 * sum(n_in * n_out for n_in, n_out in pairwise(self.sizes(n_features)))


def first_network(table, architecture, seed):
    """Return the initial network for a table of training rows.

    Parameters
    ----------
    table : Table
        The training rows.
    architecture : Architecture
        Architecture of the network.
    seed : int
        Seed of the hidden layers and of the solvers of PCA.

    Returns
    -------
    Autoencoder
        The network, in the float type of the table.
    """
    rng = np.random.default_rng(seed)
    n_features, bounds = table.n_features, first_bounds(table, architecture)
    filling = first_filling(table, architecture.effort, seed)
    table = table.filled(filling)
    offset, scale = np.zeros(n_features), 1.0
    # with an output activation, rows are in its range and are neither centred nor scaled
    if architecture.activations[-1] == "identity":
        offset, scale = location_and_scale(table)
    if table.n_embedding:  # the other axes of a larger code lie outside the row space
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
    """Return a fitted network as the initial network of another fit.

    Its weights are rescaled to the magnitude of initial weights at PCA: Adam changes each weight by
    about the learning rate, independently of its magnitude, and the whitening of the last fit has
    changed the magnitudes. Automatic bounds of the last fit are widened to include the new rows,
    and are not removed, because the network was trained with clipping.

    Parameters
    ----------
    network : Autoencoder
        The fitted network.
    scale : float
        Scale of the rows in the last fit.
    bounds : "auto", None or pair
        Bounds of the output; see `AutoencoderTransformer`.
    table : Table
        The new training rows.

    Raises
    ------
    ValueError
        If squares of the rows overflow.
    """
    network = network.rescaled(scale).as_started()
    least, most = table.extremes()
    with np.errstate(over="ignore"):
        distances = abs(np.stack([least, most]) - network.offset)
        farthest = np.fmax.reduce(distances, axis=None, initial=0)
    if float(farthest) > _FARTHEST:  # the limit overflows in a comparison with a NumPy float32
        raise ValueError(TOO_FAR)
    if isinstance(bounds, str):
        low, high = network.bounds
        bounds = np.stack([np.fmin(low, least), np.fmax(high, most)])
    else:
        bounds = given_bounds(bounds, table)
    return table.workers.broadcast_object(network._replace(bounds=bounds))


def start_at_pca(components, std, sizes, rng, paths=None):
    """Initialise encoder and decoder at PCA: the linear path is PCA, the branch outputs zero.

    The hidden layers of the branch are drawn so that their units have a scale of about one if the
    inputs have unit variance. The last layer of the branch is zero before training. The random
    intercepts distribute the bends of the activation functions over the data, which is important
    for inputs with few dimensions.

    Parameters
    ----------
    components : ndarray of shape (n_components, n_features)
        Axes of PCA.
    std : ndarray of shape (n_components,)
        Standard deviation of the scaled data along each axis.
    sizes : list of int
        Sizes of the encoder's layers, from the features to the code; the decoder mirrors them.
    rng : numpy.random.Generator
        Generator of the hidden layers.
    paths : (ndarray, ndarray), optional
        Linear paths of encoder and decoder. By default they are the axes.

    Returns
    -------
    params : dict
        Params of encoder and decoder.
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
    """Initialise encoder and decoder at random, as plain stacks of layers.

    Parameters
    ----------
    init : {"glorot", "normal"}
        Uniform coefs of variance 2 / (n_in + n_out) and zero intercepts (Glorot & Bengio, AISTATS
        2010, section 4.2.1), or everything from N(0, 0.05²).
    sizes : list of int
        Sizes of the encoder's layers, from the features to the code; the decoder mirrors them.
    rng : numpy.random.Generator
        Generator of the layers.

    Returns
    -------
    params : dict
        Params of encoder and decoder.
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
