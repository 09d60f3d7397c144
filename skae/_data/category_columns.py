"""Encoded columns of categories, as the outputs of a network that are logits."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from .normal_scores import NormalScores, UnitsOfX


def with_temperature(probabilities: NDArray[Any], temperature: float) -> NDArray[Any]:
    """Return probabilities to the power ``1 / temperature``, which sum to one along the last axis.

    With a temperature of 1, the probabilities are not changed. With 0, the largest one becomes one.
    """
    if temperature == 1:
        return probabilities
    largest = probabilities.max(axis=-1, keepdims=True)
    if temperature == 0:
        is_largest = probabilities == largest
        shares: NDArray[Any] = is_largest / is_largest.sum(axis=-1, keepdims=True)
        return shares
    with np.errstate(divide="ignore", over="ignore", under="ignore"):
        logits = np.log((probabilities / largest).clip(min=0)) / temperature
    powers: NDArray[Any] = softmax(logits, axis=-1)
    return powers


@dataclass(frozen=True, eq=False)
class CategoryColumns:
    """Encoded columns of a table with categories.

    Attributes
    ----------
    slices : tuple of (int, int)
        First and last encoded column, exclusive, of each column of categories.
    frequencies : ndarray of shape (n_encoded,)
        Frequency of each category; NaN for a column of numbers.
    scores : dict of int to NormalScores
        Encoding of the columns of numbers that are normal scores.
    """

    slices: tuple[tuple[int, int], ...]
    frequencies: NDArray[np.float64]
    scores: dict[int, NormalScores]

    @property
    def are_categories(self) -> NDArray[np.bool_]:
        """Mask of the encoded columns of categories."""
        return ~np.isnan(self.frequencies)

    @property
    def middles(self) -> NDArray[np.float64]:
        """Mean of the two values of the encoded column of each category; zero for numbers."""
        middles: NDArray[np.float64] = (0.5 - self.frequencies) / np.sqrt(self.frequencies)
        return np.where(self.are_categories, middles, 0)

    def units(self, rows: NDArray[Any]) -> UnitsOfX:
        """Return how densities of the normal scores of encoded rows become densities of X."""
        columns = list(self.scores)
        parts = [self.scores[column].units(rows[:, column]) for column in columns]
        stacked = np.reshape(parts, (len(columns), 3, len(rows)))
        return UnitsOfX(columns, *stacked.transpose(1, 2, 0))

    def encoded(self, logits: NDArray[Any]) -> NDArray[Any]:
        """Return the encoded probabilities of categories, in place, from their logits.

        The columns of numbers are unchanged.
        """
        for start, stop in self.slices:
            p = self.frequencies[start:stop]
            probabilities = softmax(logits[:, start:stop], axis=1)
            logits[:, start:stop] = (probabilities - p) / np.sqrt(p)
        return logits

    def drawn(
        self, rows: NDArray[Any], rng: np.random.RandomState, temperature: float
    ) -> NDArray[Any]:
        """Return rows with drawn categories, in place, from their encoded probabilities.

        See `with_temperature` for `temperature`.
        """
        for start, stop in self.slices:
            p = self.frequencies[start:stop]
            probabilities = rows[:, start:stop] * np.sqrt(p) + p
            cumulative = np.cumsum(with_temperature(probabilities, temperature), axis=1)
            numbers = rng.uniform(size=(len(rows), 1)) * cumulative[:, -1:]
            chosen = np.minimum((cumulative <= numbers).sum(axis=1), stop - start - 1)
            rows[:, start:stop] = (np.eye(stop - start)[chosen] - p) / np.sqrt(p)
        return rows
