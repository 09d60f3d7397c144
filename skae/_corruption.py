"""What training does to the rows that the network is shown, and should give back clean.

Missing values are filled here too: they are what nature has corrupted.
"""

from typing import NamedTuple

import numpy as np

# What a seen entry counts in the loss beside one that was hidden on purpose: the hidden ones teach,
# and the others keep the network close to what it is given.
_SEEN_WEIGHT = 0.3


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

    def __call__(self, rows, weights, shape, share, rng, filling, seen_share):
        """Corrupt a chunk of standardised rows.

        Parameters
        ----------
        rows : ndarray of shape (n_steps, n_rows, n_features), float32
            This worker's share of each batch.
        weights : ndarray of shape (n_steps, n_rows), float32
            Weight of each row.
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
            With missing or hidden entries, of each entry.
        """
        inputs = targets = rows
        if filling is not None:
            seen, hidden, taught = ~np.isnan(rows), np.False_, 1.0
            if self.hides:
                shares = rng.uniform(0, min(self.noise, 1.0), (*shape[:2], 1))
                hidden = (rng.random(shape, dtype=np.float32) < shares)[:, share] & seen
                mean = min(self.noise, 1.0) / 2
                taught = mean + (1 - mean) * _SEEN_WEIGHT
            inputs = np.where(hidden, np.float32(np.nan), rows)
            inputs = filling(inputs.reshape(-1, shape[2])).reshape(rows.shape)
            counts = np.where(hidden, 1.0, _SEEN_WEIGHT if self.hides else 1.0) * seen
            weights = weights[..., None] * (counts / (taught * (seen_share or 1.0))).astype(
                np.float32
            )
            targets = np.where(seen, rows, np.float32(0))
        if self.noise and self.kind in _KINDS:
            inputs = _KINDS[self.kind](inputs, self.noise, shape, share, rng)
        return inputs, targets, weights


def _add_noise(rows, noise, shape, share, rng):
    """Add Gaussian noise."""
    added = rng.standard_normal(shape, dtype=np.float32)[:, share]
    added *= np.float32(min(noise, 1e30))  # more would overflow all the same
    return added + rows


def _mask(rows, noise, shape, share, rng):
    """Set entries to zero, which is the column's mean."""
    return np.where(rng.random(shape, dtype=np.float32)[:, share] < noise, np.float32(0), rows)


def _swap(rows, noise, shape, share, rng):
    """Put in entries of another row of the batch, of those that this worker has."""
    n_steps, n_rows = rows.shape[:2]
    shifts = 1 + rng.integers(max(1, n_rows - 1), size=(n_steps, 1))
    others = rows[np.arange(n_steps)[:, None], (np.arange(n_rows) + shifts) % n_rows]
    return np.where(rng.random(shape, dtype=np.float32)[:, share] < noise, others, rows)


# Corruptions of what is there, besides "missing".
_KINDS = {"gaussian": _add_noise, "masking": _mask, "swap": _swap}
