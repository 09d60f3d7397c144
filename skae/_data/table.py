"""Computations over the rows of X, in one process or in several workers.

`Table` reads the rows in blocks and computes over all rows: sums, minima and maxima, a result for
each row, the minibatches of training.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .batches import Batch, chunks, shuffled_batches
from .corruption import Corruption, WorkerShare
from .rows import Rows
from .weights import Weights, weighted


@dataclass(frozen=True)
class Shard:
    """Rows of X that one worker holds, for training on several workers.

    Pass a shard to `fit` or `partial_fit` instead of X, in every worker, in the scope of a
    `tf.distribute` strategy. The estimator is fitted to the rows of all shards, in the order of the
    workers. Every row has the same weight. A worker with more rows processes more rows in each
    step.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_held, n_features)
        Rows of this worker. The number of rows may be zero. Columns and dtype must be the same in
        all workers.

    See Also
    --------
    AutoencoderTransformer : Its notes describe training on several machines.

    Examples
    --------
    With one worker, the shard contains all rows.

    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderTransformer, Shard
    >>> X, _ = load_digits(return_X_y=True)
    >>> AutoencoderTransformer(2, max_steps=20).fit(Shard(X)).n_samples_seen_
    1797
    """

    X: Any


# Function of a block of rows and their weights; see `Table.reduce_blocks`.
BlockFunction: TypeAlias = Callable[[NDArray[Any], Weights], Sequence[Any]]


class Table(Rows):
    """Rows of X, and computations over them; see `Rows`."""

    @np.errstate(under="ignore")  # results that underflow become zero
    def reduce_blocks(
        self,
        ufunc: np.ufunc,
        function: BlockFunction,
        *widths: int,
    ) -> list[NDArray[Any]]:
        """Apply a function to dense blocks, and reduce the results over all blocks and workers.

        Parameters
        ----------
        ufunc : numpy.ufunc
            Combines two results, such as `numpy.add` or `numpy.maximum`.
        function : callable
            Maps a block of rows and their weights to a sequence of arrays. The weights are None
            if all weights are one.
        *widths : int
            See `blocks`.

        Returns
        -------
        results : list of ndarray
            The reduced arrays, identical to the last bit in all workers.
        """
        results: Sequence[Any] | None = None
        for rows in self._slices(*widths):
            parts = function(self.take(rows), self.take_weights(rows))
            results = parts if results is None else list(map(ufunc, results, parts))
        everyone = self.workers.all_gather_object(results)  # None from a worker without rows
        return [reduce(ufunc, parts) for parts in zip(*filter(None, everyone), strict=True)]

    def sum_blocks(self, function: BlockFunction, *widths: int) -> list[NDArray[np.float64]]:
        """Sum a function of blocks, in double precision; see `reduce_blocks`."""
        return self.reduce_blocks(
            np.add,
            lambda rows, weights: [
                np.asarray(part, dtype=np.float64) for part in function(rows, weights)
            ],
            *widths,
        )

    def sum(self) -> NDArray[np.float64]:
        """Weighted sum of each column, in double precision."""
        (total,) = self.sum_blocks(
            lambda rows, weights: [weighted(rows, weights).sum(axis=0, dtype=np.float64)]
        )
        return total

    def mean(self) -> NDArray[np.float64]:
        """Mean of the observed values of each column, in double precision.

        The mean of a column without observed values is zero.
        """
        return self.mean_and_count()[0]

    @np.errstate(over="ignore", invalid="ignore")
    def mean_and_count(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weighted mean and total weight of the observed values of each column."""
        if self.is_incomplete:
            total, n_observed = self.sum_blocks(
                lambda block, weights: (
                    np.nansum(weighted(block, weights), axis=0, dtype=np.float64),
                    weighted(~np.isnan(block), weights).sum(axis=0),
                )
            )
        else:
            total, n_observed = self.sum(), np.full(self.n_features, float(self.total_weight))
        divisor = np.where(n_observed > 0, n_observed, 1)
        if np.isfinite(total).all():
            return total / divisor, n_observed
        # the sum overflows: subtract the minimum, and divide the rows before they are summed
        shift = np.nan_to_num(self.min_max()[0]).astype(np.float64)
        (mean,) = self.sum_blocks(
            lambda block, weights: [np.nansum(weighted((block - shift) / divisor, weights), axis=0)]
        )
        return shift + mean, n_observed

    def empty_columns(self) -> NDArray[np.intp]:
        """Return the indices of the columns without observed values."""
        if not self.is_incomplete:
            return np.empty(0, dtype=np.intp)
        return np.flatnonzero(np.isnan(self.min_max()[0]))

    def observed_share(self) -> float:
        """Fraction of the entries that are observed."""
        if not self.is_incomplete:
            return 1.0
        (n_observed,) = replace(self, imputer=None).sum_blocks(
            lambda block, _: [np.isfinite(block).sum()]
        )
        return float(n_observed) / (self.n_rows * self.n_features)

    def min_max(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Minimum and maximum of each column; NaN for a column without observed values."""
        least, most = self.reduce_blocks(
            np.fmax,
            lambda block, _: (-np.fmin.reduce(block, axis=0), np.fmax.reduce(block, axis=0)),
        )
        return -least, most

    @np.errstate(under="ignore")
    def map(self, function: Callable[[NDArray[Any]], NDArray[Any]], *widths: int) -> NDArray[Any]:
        """Apply a function to dense blocks, with one result for each row.

        Parameters
        ----------
        function : callable
            Maps a block of rows to an array with as many rows.
        *widths : int
            See `blocks`.

        Returns
        -------
        results : ndarray
            One result for each row of the table, in order, over all workers.
        """
        n_rows = self.share.stop - self.share.start
        parts = map(function, self.blocks(*widths))
        out = first = next(parts, np.empty(0))
        if len(first) < n_rows:
            out, done = np.empty((n_rows, *first.shape[1:]), first.dtype), 0
            for part in chain([first], parts):
                out[done : done + len(part)] = part
                done += len(part)
        shares = [share for share in self.workers.all_gather_object(out) if len(share)]
        return shares[0] if len(shares) == 1 else np.concatenate(shares or [out])

    def rows_on_device(self, n_rows: int) -> NDArray[np.float32]:
        """Return all rows in float32, padded with rows of zeros to `n_rows` rows."""
        rows = np.zeros((n_rows, self.n_features), dtype=np.float32)
        self._read_into(np.arange(self.n_rows), rows)
        return rows

    def batches(
        self,
        lengths: Iterable[int],
        shape: tuple[int, int, int],
        corruption: Corruption,
        rng: np.random.Generator,
        *,
        is_on_device: bool = False,
        n_draws: int = 0,
    ) -> Iterator[tuple[Batch, int]]:
        """Yield the shuffled minibatches of training, a chunk of steps at a time.

        Parameters
        ----------
        lengths : iterable of int
            Number of steps of each chunk. A chunk with fewer steps than ``shape[0]`` is padded.
        shape : tuple of int
            Shape of a chunk: number of steps, rows of a batch, features. A batch with fewer rows is
            padded with rows of weight zero.
        corruption : Corruption
            Corruption of the inputs.
        rng : numpy.random.Generator
            Random numbers for the order of the rows, the corruption and the draws.
        is_on_device : bool
            Whether the table is stored on the device. Batches then have the indices of rows instead
            of rows. Corruption and missing values are not supported then.
        n_draws : int
            Number of standard normal numbers for each row of a batch.

        Yields
        ------
        batches : Batch
            This worker's share of each batch.
        n_steps : int
            Number of steps that are not padding.
        """
        batches, n_rows, share, rng = self._worker_batches(shape[1], rng)
        shape = (shape[0], n_rows, shape[2])
        imputer = self.imputer
        if imputer is not None and self.offset is not None and self.scale is not None:
            imputer = imputer.standardised(self.offset, self.scale)
        observed_share = 1.0 if imputer is None else self.observed_share()
        not_imputed = replace(self, imputer=None)
        padding = 0 if self.shards is None else min(self.share.start, self.n_rows - 1)
        # for corruption="swap", every worker reads the whole batch, or the batch part of its shard
        part = slice(None) if corruption.mixes_rows else share
        mean_weight = self.total_weight / self.n_rows
        for n_steps, read, weights in chunks(batches, lengths, shape, padding):
            read, weights = read[:, part], weights[:, part]
            if (of_rows := self.take_weights(read)) is not None:
                weights = (weights * (of_rows / mean_weight)).astype(np.float32)
            inputs: NDArray[Any]
            targets: NDArray[Any]
            if is_on_device:
                inputs = targets = read.astype(np.int32)
            else:
                rows = np.zeros((*weights.shape, self.n_features), dtype=np.float32)
                not_imputed._read_into(read[:n_steps].ravel(), rows.reshape(-1, self.n_features))
                inputs, targets, weights = corruption(
                    rows,
                    weights,
                    WorkerShare(shape, part, self.groups),
                    rng,
                    imputer,
                    observed_share,
                )
                if corruption.mixes_rows:
                    inputs, targets, weights = (a[:, share] for a in (inputs, targets, weights))
                    read = read[:, share]
            y = () if self.y is None else self.y[self._numbers(read)]
            draws: Any = ()
            if n_draws:  # for all rows of the batch, so that all workers draw the same
                draws = rng.standard_normal((*shape[:2], n_draws), np.float32)[:, share]
            yield Batch(inputs, targets, weights, y, draws), n_steps

    def _worker_batches(
        self, batch_size: int, rng: np.random.Generator
    ) -> tuple[Iterator[tuple[NDArray[Any], int]], int, slice, np.random.Generator]:
        """Return an endless iterator of shuffled batches, and this worker's share of a batch.

        Returns
        -------
        batches : iterator of (ndarray of int, int)
            See `shuffled_batches`.
        n_rows : int
            Maximum number of rows of a batch; in a table in shards, of the part of this worker.
        share : slice
            Rows of a batch that this worker reads.
        rng : numpy.random.Generator
            Random numbers for `n_rows` rows.
        """
        if self.shards is None:
            batches = shuffled_batches([self.n_rows], 0, batch_size, rng)
            return batches, batch_size, self.workers.share(batch_size), rng
        # a batch has rows of each shard; each worker shuffles its own rows and draws for them
        counts, index = np.diff(self._ends), self.workers.index
        rng = np.random.default_rng([int(rng.integers(2**63)), index])
        n_rows = int(-(-counts.max() // -(-self.n_rows // batch_size)))
        return shuffled_batches(counts, index, batch_size, rng), n_rows, slice(None), rng
