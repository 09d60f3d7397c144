"""Minibatches: the arrays of a gradient step, and which rows each batch has."""

from itertools import islice
from typing import Any, NamedTuple

import numpy as np


class Batch(NamedTuple):
    """The rows of a gradient step; in a chunk of steps, each array has a leading axis of them.

    Attributes
    ----------
    inputs : ndarray of shape (n_rows, n_features), float32
        What the network is given: the targets, with noise if there is any.
    targets : ndarray of shape (n_rows, n_features), float32
        What it should give back, centred and scaled. Where the table is resident in the runtime,
        this and the inputs are the indices of its rows, of shape (n_rows,).
    weights : ndarray of shape (n_rows,) or (n_rows, n_features), float32
        Weight of each row in the loss. They sum to one; those of padding are zero. Where entries
        are missing or hidden, one for each entry, on average the row's.
    y : ndarray of shape (n_rows, ...) or tuple
        The rows' y; an empty tuple where the table has none.
    draws : ndarray of shape (n_rows, n_draws), float32, or tuple
        Standard normal numbers; an empty tuple where none are asked for.
    """

    inputs: Any
    targets: Any
    weights: Any
    y: Any = ()
    draws: Any = ()


def shuffled_batches(counts, shard, batch_size, rng):
    """Yield batches of shuffled rows without end; those of an epoch are equally long.

    Up to one row for each shard: a short last batch would count as much as the others, and be
    noisier. A batch of fewer rows than shards may be empty.

    Parameters
    ----------
    counts : sequence of int
        Number of rows of each shard, of which each batch has an equal part.
    shard : int
        Whose part of the batches to give.
    batch_size : int
        Number of rows of a batch, of all shards, at most.
    rng : numpy.random.Generator
        Shuffles the shard.

    Yields
    ------
    rows : ndarray of int
        Indices into the rows of all shards, of those of this one.
    length : int
        Number of rows of the whole batch.
    """
    n_batches, first = int(-(-sum(counts) // batch_size)), int(sum(counts[:shard]))
    ends = np.arange(n_batches + 1)[:, None] * np.asarray(counts) // n_batches
    lengths, ends = np.diff(ends.sum(axis=1)), ends[:, shard]
    while True:
        order = first + rng.permutation(counts[shard])
        for i, length in enumerate(lengths):
            yield order[ends[i] : ends[i + 1]], int(length)


def chunks(batches, lengths, shape, padding):
    """Yield chunks of batches: how many, the indices of their rows, and the rows' weights.

    Each is padded to the first two numbers of a shape, with weights of zero: a batch with its first
    row, and an empty one with the row `padding`.
    """
    for n_steps in lengths:
        weights = np.zeros(shape[:2], dtype=np.float32)
        read = np.full(shape[:2], padding, dtype=np.intp)
        for step, (batch, length) in enumerate(islice(batches, n_steps)):
            read[step, : len(batch)] = batch
            read[step, len(batch) :] = batch[0] if len(batch) else padding
            weights[step, : len(batch)] = 1 / max(1, length)
        yield n_steps, read, weights
