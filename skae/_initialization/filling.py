"""The model that fills missing values: the mean, PCA, or probabilistic PCA fitted by EM."""

import numpy as np

from .._networks.ppca import Filling, choose_effort, fit_filling, probabilistic_pca
from .statistics import location_and_scale

# So many components fill the missing values of rows, at most, where none were missing in training.
_MAX_FILLING_COMPONENTS = 64


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
