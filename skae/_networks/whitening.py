"""Whitening of the code of a network over the rows of a table."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._data.table import Table
from .._data.weights import Weights, weighted
from .network import Autoencoder


def whitened(network: Autoencoder, table: Table, *, is_pca: bool) -> Autoencoder:
    """Return a network with a code that is whitened over the rows of a table.

    The code of PCA is scaled but not rotated: its components are already sorted, and a rotation
    would mix components of equal variance.
    """
    mean, covariance = mean_and_covariance(table.total_weight, *code_sums(network, table))
    return network.transform_code(*network.whitening(covariance, canonical=not is_pca), mean)


def code_sums(network: Autoencoder, table: Table) -> list[NDArray[np.float64]]:
    """Return the weighted sums of the codes of a table, and of the outer products of the codes."""

    def sums(
        rows: NDArray[Any], weights: Weights
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        codes = network.encode(rows).astype(np.float64)
        products = weighted(codes, weights)
        return products.sum(axis=0), products.T @ codes

    return table.sum_blocks(sums, network.width)


def mean_and_covariance(
    n_samples: float, total: NDArray[np.float64], cross: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean and the covariance, given a sum and a sum of outer products."""
    mean = total / n_samples
    return mean, (cross - n_samples * np.outer(mean, mean)) / max(1, n_samples - 1)
