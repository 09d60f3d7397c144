"""Input corruption for denoising training.

Missing values are imputed here too.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from .rows import ImputationModel, drawn_in_groups

# Loss weight of uncorrupted entries, relative to a corrupted entry (Vincent et al., JMLR 11, 2010,
# section 3.5: emphasis). Uncorrupted entries keep the output of the network close to its input.
_UNCORRUPTED_WEIGHT = 0.3


@dataclass(frozen=True)
class WorkerShare:
    """The part of a chunk that a worker has.

    Attributes
    ----------
    shape : tuple of int
        Shape of the chunk over all workers: steps, rows of a batch, features.
    rows : slice
        Rows of each batch that the worker has.
    groups : ndarray of int, or None
        Number of the group of each feature, see `Rows`.
    """

    shape: tuple[int, int, int]
    rows: slice
    groups: NDArray[np.intp] | None = None


@dataclass(frozen=True)
class Corruption:
    """Corruption of rows.

    Attributes
    ----------
    kind : {"gaussian", "masking", "swap", "missing"}
        "gaussian" adds noise to all entries; "masking" sets entries to zero; "swap" replaces
        entries by the entries of the same column in another row; "missing" hides entries and
        imputes them like missing values.
    noise : float
        For "gaussian", the standard deviation of the noise. For "masking" and "swap", the
        probability that an entry is corrupted. For "missing", the maximum fraction of hidden
        entries in a row; the fraction of each row is drawn uniformly from 0 to this value.
    """

    kind: str = "gaussian"
    noise: float = 0.0

    @property
    def hides(self) -> bool:
        """Whether entries are hidden."""
        return self.kind == "missing" and self.noise > 0

    @property
    def mixes_rows(self) -> bool:
        """Whether entries are replaced by entries of other rows of the batch."""
        return self.kind == "swap" and self.noise > 0

    def __call__(
        self,
        rows: NDArray[np.float32],
        weights: NDArray[np.float32],
        share: WorkerShare,
        rng: np.random.Generator,
        imputer: ImputationModel | None,
        observed_share: float,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Corrupt a chunk of standardised rows.

        Parameters
        ----------
        rows : ndarray of shape (n_steps, n_rows, n_features), float32
            Standardised rows, with NaN for missing values. They are this worker's share of each
            batch, or the whole batch if `mixes_rows`. Padding comes after the rows.
        weights : ndarray of shape (n_steps, n_rows), float32
            Weight of each row; zero for padding.
        share : WorkerShare
            The part of the chunk that these rows are. Random numbers are drawn in the shape of the
            whole chunk.
        rng : numpy.random.Generator
            Random numbers.
        imputer : ImputationModel or None
            Imputes missing and hidden values; None if there are none.
        observed_share : float
            Fraction of the entries of the table that are observed.

        Returns
        -------
        inputs, targets : ndarray of shape (n_steps, n_rows, n_features), float32
            The same array if nothing is corrupted or imputed.
        weights : ndarray of shape (n_steps, n_rows) or (n_steps, n_rows, n_features), float32
            Weight of each entry if some are missing, hidden, set or replaced; else of each row.
        """
        inputs = targets = rows
        if imputer is None and not self.noise:
            return inputs, targets, weights
        chosen = self._corrupted_mask(share.shape, share.groups, rng)[:, share.rows]
        seen: NDArray[np.bool_] | np.bool_ = np.True_
        if imputer is not None:
            seen = ~np.isnan(rows)
            hidden = chosen & seen if self.kind == "missing" else np.False_
            inputs = np.where(hidden, np.float32(np.nan), rows)
            inputs = imputer(inputs.reshape(-1, rows.shape[2])).reshape(rows.shape)
            targets = np.where(seen, rows, np.float32(0))
        if self.kind == "masking":
            inputs = np.where(chosen, np.float32(0), inputs)
        elif self.kind == "swap":
            inputs = np.where(chosen, _other_rows(inputs, weights, rng), inputs)
        elif self.kind == "gaussian" and self.noise:
            noise = rng.standard_normal(share.shape, dtype=np.float32)[:, share.rows]
            noise *= np.float32(min(self.noise, 1e30))  # larger values would overflow too
            inputs = noise + inputs
        if self.kind == "gaussian" and imputer is None:  # all entries are corrupted
            return inputs, targets, weights
        counts = np.where(chosen, 1.0, self._uncorrupted_weight) * seen
        mean = self._corrupted_share + (1 - self._corrupted_share) * self._uncorrupted_weight
        counts = (counts / (mean * (observed_share or 1.0))).astype(np.float32)
        return inputs, targets, weights[..., None] * counts

    def _corrupted_mask(
        self,
        shape: tuple[int, int, int],
        groups: NDArray[np.intp] | None,
        rng: np.random.Generator,
    ) -> NDArray[np.bool_]:
        """Draw a mask of the entries that are hidden, set or replaced."""
        if self.kind == "gaussian" or not self.noise:
            return np.zeros((*shape[:2], 1), dtype=bool)
        is_drawn = self.kind == "missing"
        share = rng.uniform(0, self.noise, (*shape[:2], 1)) if is_drawn else self.noise
        numbers = drawn_in_groups(partial(rng.random, dtype=np.float32), shape, groups)
        return numbers < share

    @property
    def _corrupted_share(self) -> float:
        """Expected fraction of entries that are hidden, set or replaced."""
        if self.kind == "gaussian":
            return 0.0
        return self.noise / (2 if self.kind == "missing" else 1)

    @property
    def _uncorrupted_weight(self) -> float:
        """Loss weight of uncorrupted entries."""
        return 1.0 if self.kind == "gaussian" or not self.noise else _UNCORRUPTED_WEIGHT


def _other_rows(
    rows: NDArray[np.float32], weights: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return another row of the batch for each row; padding (weight zero) is never returned."""
    n_steps, n_rows = weights.shape
    n_real = np.maximum(1, (weights > 0).sum(axis=1, keepdims=True))
    shifts = 1 + rng.integers(np.maximum(1, n_real - 1))
    others: NDArray[np.float32] = rows[
        np.arange(n_steps)[:, None], (np.arange(n_rows) + shifts) % n_real
    ]
    return others
