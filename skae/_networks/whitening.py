"""Whitening of the code of a network over the rows of a table."""

import numpy as np


class Canonical:
    """Function that returns the network of an outcome with a whitened code.

    The last result is cached, because callbacks request it at each evaluation, and the best network
    changes less often.

    Parameters
    ----------
    start : callable
        ``start(table)`` returns the network that is kept if no trained network is.
    whiten : bool
        Whether to whiten the code.
    subspace : Subspace, optional
        Row space in which the network was trained; None if it was trained in all columns.
    """

    def __init__(self, start, whiten, subspace=None):
        self.start, self.whiten, self.subspace = start, whiten, subspace
        self._of, self._network = self, None

    def __call__(self, outcome, table):
        """Return the network, in the float type of the table of all rows."""
        if self._of is not outcome.network:
            is_pca = outcome.network is None
            network = self.start(table) if is_pca else outcome.network
            if self.subspace and not is_pca:
                network = self.subspace.embed(network)
            network = network.astype(table.dtype)
            if self.whiten and table.n_rows:  # the only remaining shard may have no rows
                mean, covariance = moments(table.n_rows, *code_sums(network, table))
                # PCA: components are already sorted; a rotation would mix those of equal variance
                whitening = network.whitening(covariance, canonical=not is_pca)
                network = network.recode(*whitening, mean)
            self._network = table.workers.broadcast_object(network)
            self._of = outcome.network
        return self._network


def code_sums(network, table):
    """Return the sum of the codes of the rows of a table, and the sum of their outer products."""

    def sums(rows):
        codes = network.encode(rows).astype(np.float64)
        return codes.sum(axis=0), codes.T @ codes

    return table.total(sums, network.width)


def moments(n_samples, total, cross):
    """Return the mean and the covariance, given a sum and a sum of outer products."""
    mean = total / n_samples
    return mean, (cross - n_samples * np.outer(mean, mean)) / max(1, n_samples - 1)
