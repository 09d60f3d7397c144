"""What training does to the rows that the network is shown, and should give back clean.

Missing values are filled here too: they are what nature has corrupted.
"""

from typing import NamedTuple

import numpy as np

# What other entries count in the loss beside those that are hidden, set or replaced, which teach
# (Vincent et al., JMLR 11, 2010, section 3.5: emphasis); they keep the network close to its input.
_WEIGHT_OF_OTHERS = 0.3


class Corruption(NamedTuple):
    """A way to corrupt rows.

    Attributes
    ----------
    kind : {"gaussian", "masking", "swap", "missing"}
        Gaussian noise is added; entries are set to zero; entries are replaced by those of the same
        column in another row; entries are hidden and filled as missing values are.
    noise : float
        Standard deviation of the noise; the probability that an entry is set or replaced; the
        largest share of a row's entries that is hidden. Each row's share is drawn between zero and
        that.
    """

    kind: str = "gaussian"
    noise: float = 0.0

    @property
    def hides(self):
        """Whether entries are hidden."""
        return self.kind == "missing" and self.noise > 0

    @property
    def mixes_rows(self):
        """Whether a row gets entries of other rows of its batch."""
        return self.kind == "swap" and self.noise > 0

    def __call__(self, rows, weights, shape, share, rng, filling, seen_share):
        """Corrupt a chunk of standardised rows.

        Parameters
        ----------
        rows : ndarray of shape (n_steps, n_rows, n_features), float32
            This worker's share of each batch; all of it where rows are mixed. The rows of a batch
            come first, and padding after them.
        weights : ndarray of shape (n_steps, n_rows), float32
            Weight of each row; zero for padding.
        shape : tuple of int
            Shape of the chunk of all workers, for which random numbers are drawn.
        share : slice
            The rows that are this worker's.
        rng : numpy.random.Generator
            Draws them.
        filling : Filling or None
            Fills what is missing or hidden; None where neither is.
        seen_share : float
            Share of the table's entries that are there.

        Returns
        -------
        inputs, targets : ndarray of shape (n_steps, n_rows, n_features), float32
            The same array if there is no corruption.
        weights : ndarray of shape (n_steps, n_rows) or (n_steps, n_rows, n_features), float32
            Of each entry where some are missing, hidden, set or replaced.
        """
        inputs = targets = rows
        if filling is None and not self.noise:
            return inputs, targets, weights
        chosen, seen = self._chosen(shape, rng)[:, share], True
        if filling is not None:
            seen = ~np.isnan(rows)
            hidden = chosen & seen if self.kind == "missing" else np.False_
            inputs = np.where(hidden, np.float32(np.nan), rows)
            inputs = filling(inputs.reshape(-1, shape[2])).reshape(rows.shape)
            targets = np.where(seen, rows, np.float32(0))
        if self.kind == "masking":
            inputs = np.where(chosen, np.float32(0), inputs)
        elif self.kind == "swap":
            inputs = np.where(chosen, _other_rows(inputs, weights, rng), inputs)
        elif self.kind == "gaussian" and self.noise:
            noise = rng.standard_normal(shape, dtype=np.float32)[:, share]
            noise *= np.float32(min(self.noise, 1e30))  # more would overflow all the same
            inputs = noise + inputs
        if self.kind == "gaussian" and filling is None:  # all entries are corrupted
            return inputs, targets, weights
        counts = np.where(chosen, 1.0, self._weight_of_others) * seen
        mean = self._chosen_share + (1 - self._chosen_share) * self._weight_of_others
        counts = (counts / (mean * (seen_share or 1.0))).astype(np.float32)
        return inputs, targets, weights[..., None] * counts

    def _chosen(self, shape, rng):
        """Draw the entries that are hidden, set or replaced."""
        if self.kind == "gaussian" or not self.noise:
            return np.zeros((*shape[:2], 1), dtype=bool)
        share = self.noise
        if self.kind == "missing":
            share = rng.uniform(0, share, (*shape[:2], 1))
        return rng.random(shape, dtype=np.float32) < share

    @property
    def _chosen_share(self):
        """Share of the entries that are hidden, set or replaced, in the mean."""
        if self.kind == "gaussian":
            return 0.0
        return self.noise / (2 if self.kind == "missing" else 1)

    @property
    def _weight_of_others(self):
        """What they count in the loss."""
        return 1.0 if self.kind == "gaussian" or not self.noise else _WEIGHT_OF_OTHERS


def _other_rows(rows, weights, rng):
    """Return another row of the batch for each row; padding, of weight zero, is never given."""
    n_steps, n_rows = weights.shape
    n_real = np.maximum(1, (weights > 0).sum(axis=1, keepdims=True))
    shifts = 1 + rng.integers(np.maximum(1, n_real - 1))
    return rows[np.arange(n_steps)[:, None], (np.arange(n_rows) + shifts) % n_real]
