"""Initial network of a fit."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._data.table import Table
from .._networks.forward import Params
from .._networks.network import RELATIVE_VARIANCE_TOL, Autoencoder
from .architecture import Architecture
from .bounds import first_bounds, given_bounds
from .imputation import (
    imputation_paths,
    initial_imputer,
    mean_imputer,
    pca_imputer,
)
from .pca import principal_components
from .statistics import OVERFLOW_MESSAGE, location_and_scale

# Up to this distance from the mean, sums of squares of rows and of codes do not overflow.
_MAX_DISTANCE = 1e150


def first_network(table: Table, architecture: Architecture, seed: int) -> Autoencoder:
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
    imputer = initial_imputer(table, architecture.ppca_params, seed)
    table = table.imputed(imputer)
    offset, scale = np.zeros(n_features), 1.0
    # with an output activation, rows are in its range and are neither centred nor scaled
    if architecture.activations[-1] == "identity":
        offset, scale = location_and_scale(table)
    # the rows span at most n_rows - 1 axes; more axes of a code would lie outside the row space
    if table.n_original_features:
        n_axes = max(1, min(architecture.n_components, table.n_rows - 1))
        architecture = replace(architecture, n_components=n_axes)
    sizes = architecture.sizes(n_features)
    if architecture.init == "pca":
        standardised = table.standardised(offset, scale)
        components, std = principal_components(standardised, architecture.n_components, seed)
        paths = None
        is_narrow = architecture.n_components < n_features
        if imputer is not None and architecture.is_imputer and is_narrow:
            offset, paths = imputer.mean, imputation_paths(components, imputer)
        params = init_from_pca(components, std, sizes, rng, paths)
        if imputer is None:
            imputer = pca_imputer(table, components, std, offset, scale)
    else:
        params = init_random(architecture.init, sizes, rng)
        if imputer is None:
            imputer = mean_imputer(table)
    network = Autoencoder(
        params=params,
        offset=offset,
        scale=scale,
        bounds=bounds,
        activations=architecture.activations,
        imputer=imputer,
    )
    shared: Autoencoder = table.workers.broadcast_object(network.astype(table.dtype))
    return shared


def warm_start_network(
    network: Autoencoder, scale: float, bounds: Any, table: Table
) -> Autoencoder:
    """Return a fitted network as the initial network of another fit.

    The whitening of the last fit has changed the magnitude of the weights. They are rescaled to the
    magnitude that they have in PCA, because Adam changes each weight by about the learning rate,
    independently of its magnitude. Automatic bounds of the last fit are widened to include the new
    rows. They are not removed, because the network was usually trained with clipping.

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
    network = network.rescaled(scale).with_unit_directions()
    least, most = table.min_max()
    with np.errstate(over="ignore"):
        distances = abs(np.stack([least, most]) - network.offset)
        max_distance = np.fmax.reduce(distances, axis=None, initial=0)
    if (
        float(max_distance) > _MAX_DISTANCE
    ):  # `float`, because the limit would be infinite in a comparison with a NumPy float32
        raise ValueError(OVERFLOW_MESSAGE)
    if isinstance(bounds, str):
        low, high = network.bounds
        bounds = np.stack([np.fmin(low, least), np.fmax(high, most)])
    else:
        bounds = given_bounds(bounds, table)
    shared: Autoencoder = table.workers.broadcast_object(replace(network, bounds=bounds))
    return shared


def init_from_pca(
    components: NDArray[Any],
    std: NDArray[Any],
    sizes: list[int],
    rng: np.random.Generator,
    paths: tuple[NDArray[Any], NDArray[Any]] | None = None,
) -> Params:
    """Initialise encoder and decoder with PCA: the linear path is PCA, the branch outputs zero.

    The hidden layers of the branch are drawn so that their units have a scale of about one if the
    inputs have unit variance. The last layer of the branch is zero before training. Because of the
    random intercepts, the units are nonlinear at different positions in the data, which is
    important for inputs with few dimensions.

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
        Linear paths of encoder and decoder. By default these are the transposed axes and the axes.

    Returns
    -------
    params : dict
        Params of encoder and decoder.
    """
    to_code, to_rows = paths or (components.T, components)
    variance = np.mean(std**2)
    code_scale = np.sqrt(variance) if variance > RELATIVE_VARIANCE_TOL else 1.0
    return {
        "encoder": _init_half_from_pca(sizes, np.array(to_code, order="C"), 1.0, rng),
        "decoder": _init_half_from_pca(sizes[::-1], np.array(to_rows, order="C"), code_scale, rng),
    }


def _init_half_from_pca(
    sizes: list[int], linear: NDArray[Any], input_scale: float, rng: np.random.Generator
) -> Params:
    half: Params = {"coefs": [], "intercepts": []}
    for n_in, n_out in pairwise(sizes[:-1]):
        std = np.sqrt(2 / n_in) / input_scale
        half["coefs"].append(rng.normal(scale=std, size=(n_in, n_out)))
        half["intercepts"].append(rng.uniform(-1, 1, size=n_out))
        input_scale = 1.0
    half["intercepts"].append(np.zeros(sizes[-1]))
    if len(sizes) == 2:  # the linear path is the only layer
        return half | {"coefs": [linear]}
    return half | {"coefs": [*half["coefs"], np.zeros(sizes[-2:])], "linear": linear}


def init_random(init: str, sizes: list[int], rng: np.random.Generator) -> Params:
    """Initialise encoder and decoder at random, as stacks of layers without a linear path.

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

    def layer(n_in: int, n_out: int) -> tuple[NDArray[Any], NDArray[Any]]:
        if init == "normal":
            return rng.normal(scale=0.05, size=(n_in, n_out)), rng.normal(scale=0.05, size=n_out)
        bound = np.sqrt(6 / (n_in + n_out))
        return rng.uniform(-bound, bound, size=(n_in, n_out)), np.zeros(n_out)

    params: Params = {}
    for half, half_sizes in (("encoder", sizes), ("decoder", sizes[::-1])):
        layers = [layer(n_in, n_out) for n_in, n_out in pairwise(half_sizes)]
        coefs, intercepts = map(list, zip(*layers, strict=True))
        params[half] = {"coefs": coefs, "intercepts": intercepts}
    return params
