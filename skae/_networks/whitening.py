"""The canonical code of a network: its moments over the rows, and the map that makes it white."""

import numpy as np


class Canonical:
    """Gives the network of an outcome its canonical code.

    It keeps what it has computed, for callbacks ask at each evaluation, and as long as PCA leads,
    or a snapshot, the answer is the same.

    Parameters
    ----------
    start : callable
        Returns the network of a table that is kept where no trained one is.
    whiten : bool
        See the estimator.
    subspace : Subspace, optional
        Where the network was trained, if not in all columns.
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
            if self.whiten and table.n_rows:  # a shard that is left alone may have none
                mean, covariance = moments(table.n_rows, *code_sums(network, table))
                # PCA's components are in order; a rotation would mix those of equal variance
                whitening = network.whitening(covariance, canonical=not is_pca)
                network = network.recode(*whitening, mean)
            self._network = table.workers.broadcast_object(network)
            self._of = outcome.network
        return self._network


def code_sums(network, table):
    """Sum of the codes of the rows of a table, and of their outer products."""

    def sums(rows):
        codes = network.encode(rows).astype(np.float64)
        return codes.sum(axis=0), codes.T @ codes

    return table.total(sums, network.width)


def moments(n_samples, total, cross):
    """Mean and covariance from a sum and a sum of outer products."""
    mean = total / n_samples
    return mean, (cross - n_samples * np.outer(mean, mean)) / max(1, n_samples - 1)
