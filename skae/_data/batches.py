"""Minibatches of training: their arrays and the order of their rows."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


# A NamedTuple, because TensorFlow and `map_nest` apply functions to its arrays.
class Batch(NamedTuple):
    """The arrays of one gradient step, or of a chunk of steps.

    In a chunk, each array has an additional first axis, the steps.

    Attributes
    ----------
    inputs : ndarray of shape (n_rows, n_features), float32
        Input of the network: the targets, corrupted if corruption is used.
    targets : ndarray of shape (n_rows, n_features), float32
        Rows that the network should reconstruct, centred and scaled. If the table is stored on the
        device, `inputs` and `targets` are the indices of its rows, of shape (n_rows,).
    weights : ndarray of shape (n_rows,) or (n_rows, n_features), float32
        Weight of each row in the loss. Padding has weight zero. The weights sum to one; with sample
        weights, they sum to one on average over the batches. With missing values, or if corruption
        selects entries, each entry has a weight. The average weight of the entries of a row is
        about the weight of the row.
    y : ndarray of shape (n_rows, ...) or tuple
        Targets y of the rows; an empty tuple if the table has no y.
    draws : ndarray of shape (n_rows, n_draws), float32, or tuple
        Standard normal numbers; an empty tuple if `n_draws` is 0.
    """

    inputs: Any
    targets: Any
    weights: Any
    y: Any = ()
    draws: Any = ()


def shuffled_batches(
    counts: Sequence[int] | NDArray[Any], shard: int, batch_size: int, rng: np.random.Generator
) -> Iterator[tuple[NDArray[Any], int]]:
    """Yield batches of shuffled rows without end.

    The sizes of the batches of an epoch differ by at most one row for each shard, because a short
    last batch would have the same weight as the others, and a noisier gradient. If a batch has
    fewer rows than there are shards, the part of a shard may be empty.

    Parameters
    ----------
    counts : sequence of int
        Number of rows of each shard. All batches have about the same number of rows of a shard.
    shard : int
        Index of the shard whose rows are yielded.
    batch_size : int
        Maximum number of rows of a batch, over all shards.
    rng : numpy.random.Generator
        Random numbers for the order of the rows.

    Yields
    ------
    rows : ndarray of int
        Rows of this shard in the batch, as indices into the rows of all shards.
    length : int
        Number of rows of the batch, over all shards.
    """
    n_batches, first = int(-(-sum(counts) // batch_size)), int(sum(counts[:shard]))
    ends = np.arange(n_batches + 1)[:, None] * np.asarray(counts) // n_batches
    lengths, ends = np.diff(ends.sum(axis=1)), ends[:, shard]
    while True:
        order = first + rng.permutation(counts[shard])
        for i, length in enumerate(lengths):
            yield order[ends[i] : ends[i + 1]], int(length)


def chunks(
    batches: Iterator[tuple[NDArray[Any], int]],
    lengths: Iterable[int],
    shape: tuple[int, int, int],
    padding: int,
) -> Iterator[tuple[int, NDArray[np.intp], NDArray[np.float32]]]:
    """Yield chunks of batches: the number of steps, the row indices, and the row weights.

    Indices and weights are padded to `shape[:2]`. Padding has weight zero. A batch is padded with
    its first row, and an empty batch with the row `padding`.
    """
    for n_steps in lengths:
        weights = np.zeros(shape[:2], dtype=np.float32)
        read = np.full(shape[:2], padding, dtype=np.intp)
        for step, (batch, length) in enumerate(islice(batches, n_steps)):
            read[step, : len(batch)] = batch
            read[step, len(batch) :] = batch[0] if len(batch) else padding
            weights[step, : len(batch)] = 1 / max(1, length)
        yield n_steps, read, weights
