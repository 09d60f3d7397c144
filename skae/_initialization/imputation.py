"""Initial imputation model: column means, PCA, or probabilistic PCA fitted by EM."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._data.table import Table
from .._networks.ppca import (
    PPCAParams,
    ProbabilisticPCA,
    fit_ppca,
    probabilistic_pca,
    select_ppca_params,
)
from .statistics import location_and_scale

# Maximum number of components of the imputation model if the training rows are complete.
_MAX_IMPUTATION_COMPONENTS = 64


def mean_imputer(table: Table) -> ProbabilisticPCA:
    """Return the imputation model that imputes the mean of each column."""
    loadings = np.zeros((table.n_features, 0))
    return ProbabilisticPCA(mean=table.mean(), scale=1.0, loadings=loadings, noise_variance=1.0)


def pca_imputer(
    table: Table, components: NDArray[Any], std: NDArray[Any], offset: NDArray[Any], scale: float
) -> ProbabilisticPCA:
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
    size = int(min(_MAX_IMPUTATION_COMPONENTS, (table.total_weight - 1) // 2))
    variance = np.square(std[:size].astype(np.float64))
    noise_variance, lengths = probabilistic_pca(
        variance, table.total_weight, table.n_features, table.n_features_in_loss
    )
    return ProbabilisticPCA(
        mean=offset,
        scale=scale,
        loadings=components[: len(lengths)].T * lengths,
        noise_variance=noise_variance,
    )


def initial_imputer(
    table: Table, ppca_params: PPCAParams | None, seed: int
) -> ProbabilisticPCA | None:
    """Return the imputation model fitted by EM, in the units of X; None without `ppca_params`."""
    if ppca_params is None:
        return None
    offset, scale, standardised = _standardised_not_imputed(table)
    imputer = fit_ppca(standardised, ppca_params, seed)
    return imputer.standardised(-offset / scale, 1 / scale)


def select_imputation_params(table: Table, n_components: int, seed: int) -> PPCAParams:
    """Select the size and the EM steps of the imputation model for a table of unscaled rows."""
    return select_ppca_params(_standardised_not_imputed(table)[-1], n_components, seed)


def _standardised_not_imputed(table: Table) -> tuple[NDArray[Any], float, Table]:
    """Return the mean and the scale of a table, and its standardised rows, without imputation."""
    offset, scale = location_and_scale(table.imputed(mean_imputer(table)))
    return offset, scale, table.standardised(offset, scale)


def imputation_paths(
    components: NDArray[Any], imputer: ProbabilisticPCA
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return linear paths of encoder and decoder that reconstruct missing values as imputed.

    The first components of the code are the posterior mean of the latent variables of the
    imputation model, along its principal axes. The other components are those of PCA; their weights
    in the linear path of the decoder are zero.

    Parameters
    ----------
    components : ndarray of shape (n_components, n_features)
        Axes of PCA.
    imputer : ProbabilisticPCA
        The imputation model.

    Returns
    -------
    to_code : ndarray of shape (n_features, n_components)
        Linear path of the encoder.
    to_rows : ndarray of shape (n_components, n_features)
        Linear path of the decoder.
    """
    axes, std, _ = np.linalg.svd(imputer.loadings, full_matrices=False)
    size = len(std)
    to_code, to_rows = components.T.astype(np.float64), np.zeros(components.shape)
    to_code[:, :size] = axes * (std**2 / (std**2 + imputer.noise_variance))
    to_rows[:size] = axes.T
    return to_code, to_rows
