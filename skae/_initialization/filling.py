"""Initial imputation model: column means, PCA, or probabilistic PCA fitted by EM."""

import numpy as np

from .._networks.ppca import Filling, choose_effort, fit_filling, probabilistic_pca
from .statistics import location_and_scale

# Maximum number of components of the imputation model if the training rows are complete.
_MAX_FILLING_COMPONENTS = 64


def mean_filling(table):
    """Return the imputation model that imputes the mean of each column."""
    return Filling(table.mean(), 1.0, np.zeros((table.n_features, 0)), 1.0)


def pca_filling(table, components, std, offset, scale):
    """Return the probabilistic PCA of complete rows, given their first principal axes.

    It has at most half as many components as there are rows. With few rows, the variances along the
    last axes are far too small, and the imputed values would depend on errors of the observed
    values.

    Parameters
    ----------
    table : Table
        The rows.
    components : ndarray of shape (n_components, n_features)
        Principal axes of the standardised rows.
    std : ndarray of shape (n_components,)
        Standard deviation of the standardised rows along each axis.
    offset : ndarray of shape (n_features,)
        Mean of each column.
    scale : float
        Scale of all columns.
    """
    size = min(_MAX_FILLING_COMPONENTS, (table.n_rows - 1) // 2)
    variance = np.square(std[:size].astype(np.float64))
    noise_variance, lengths = probabilistic_pca(
        variance, table.n_rows, table.n_features, table.n_averaged
    )
    return Filling(offset, scale, components[: len(lengths)].T * lengths, noise_variance)


def first_filling(table, effort, seed):
    """Return the imputation model fitted by EM, in the units of X; None if `effort` is None."""
    if effort is None:
        return None
    offset, scale, standardised = _standardised_as_they_are(table)
    filling = fit_filling(standardised, effort, seed)
    return filling.standardised(-offset / scale, 1 / scale)


def filling_effort(table, n_components, seed):
    """Select the size and the EM steps of the imputation model for a table of unscaled rows."""
    return choose_effort(_standardised_as_they_are(table)[-1], n_components, seed)


def _standardised_as_they_are(table):
    """Return the mean and the scale of a table, and its standardised rows, without imputation."""
    location = location_and_scale(table.filled(mean_filling(table)))
    return *location, table.standardised(*location)


def filling_paths(components, filling):
    """Return linear paths of encoder and decoder that reconstruct missing values as imputed.

    The first components of the code are the posterior mean of the latent variables of the
    imputation model, along its principal axes. The other components are those of PCA; their weights
    in the linear path of the decoder are zero.

    Parameters
    ----------
    components : ndarray of shape (n_components, n_features)
        Axes of PCA.
    filling : Filling
        The imputation model.

    Returns
    -------
    to_code : ndarray of shape (n_features, n_components)
        Linear path of the encoder.
    to_rows : ndarray of shape (n_components, n_features)
        Linear path of the decoder.
    """
    axes, std, _ = np.linalg.svd(filling.loadings, full_matrices=False)
    size = len(std)
    to_code, to_rows = components.T.astype(np.float64), np.zeros(components.shape)
    to_code[:, :size] = axes * (std**2 / (std**2 + filling.noise_variance))
    to_rows[:size] = axes.T
    return to_code, to_rows
