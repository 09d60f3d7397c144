"""Access to the rows of X, in one process or in several workers.

X stays in its format: an array, a memmap or a CSR matrix. No other module reads its rows.
`Table` reads them as floats, in blocks, and computes over all rows: sums, minima and maxima, a
result for each row, the minibatches of training. It also assigns the rows to the workers.
"""

from dataclasses import dataclass
from functools import reduce
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, issparse, vstack

from .._runtime.workers import ALONE, Workers
from .batches import Batch, chunks, shuffled_batches

# Maximum number of entries of a block of rows for computations: it fits in the last-level cache.
_BLOCK = 2**20
# Maximum number of entries of a block that is only copied and scaled: it fits in a core's cache.
_GATHERED = 2**17
_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


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


class Table(NamedTuple):
    """Rows of X, unchanged or standardised, and the workers that read them.

    Attributes
    ----------
    X : array, memmap or CSR of shape (n_samples, n_features)
        The data. In a table in shards, the rows that this worker holds.
    y : ndarray of shape (n_samples, ...) or None
        Targets y of all rows, including rows that other workers hold.
    rows : ndarray of int, or None
        Indices of the rows of X that belong to this table; None means all rows. In a table in
        shards, the indices are sorted, and rows are numbered in the order of the workers.
    offset, scale : ndarray of shape (n_features,) and float, or None
        Rows are standardised when they are read: the offset is subtracted, and the result is
        divided by the scale. If None, rows are not standardised.
    workers : Workers
        Workers that compute over this table. Each worker reads its share of the rows.
    n_embedding : int or None
        If the columns of X are coordinates in a subspace, the number of columns of the original
        space; else None.
    is_incomplete : bool
        Whether X has missing values (NaN), in any worker.
    filling : Filling or None
        Imputes the missing values of rows, before they are standardised.
    shards : ndarray of shape (n_workers + 1,), or None
        Number of the first row of each worker's shard, then the number of rows of all shards. None
        if X has all rows.
    """

    X: Any
    y: NDArray[Any] | None = None
    rows: NDArray[Any] | None = None
    offset: NDArray[Any] | None = None
    scale: float | None = None
    workers: Workers = ALONE
    n_embedding: int | None = None
    is_incomplete: bool = False
    filling: Any = None
    shards: NDArray[Any] | None = None

    def in_shards(self, workers):
        """Return the table of all shards, where X is the shard of this worker.

        Raises
        ------
        ValueError
            If all shards are empty.
        """
        facts = workers.all_gather_object((self.X.shape[0], self.is_incomplete))
        counts, incomplete = zip(*facts, strict=True)
        if not any(counts):
            raise ValueError("Found array with 0 sample(s) in every Shard: one row is required.")
        ends = np.cumsum([0, *counts])
        return self._replace(workers=workers, shards=ends, is_incomplete=any(incomplete))

    def with_rows_before(self, rows):
        """Return a table with dense rows before the rows of this table.

        In a table in shards, the first worker holds the dense rows.
        """
        X, shards = self.X, self.shards
        if shards is None or self.workers.index == 0:
            X = vstack([csr_matrix(rows), X], "csr") if issparse(X) else np.vstack([rows, X])
        else:  # the dtype of the first worker
            X = X.astype(np.result_type(rows, X), copy=False)
        if shards is not None:
            shards = np.append(shards[:1], shards[1:] + len(rows))
        is_incomplete = self.is_incomplete or bool(np.isnan(rows).any())
        return self._replace(X=X, shards=shards, is_incomplete=is_incomplete)

    @property
    def n_rows(self):
        """Number of rows, over all workers."""
        if self.rows is not None:
            return len(self.rows)
        return self.X.shape[0] if self.shards is None else int(self.shards[-1])

    @property
    def _ends(self):
        """Index of the first row of each worker's share, then the number of rows."""
        if self.shards is None:
            return self.workers.ends(self.n_rows)
        return self.shards if self.rows is None else np.searchsorted(self.rows, self.shards)

    @property
    def share(self):
        """Rows that this worker reads, as a slice."""
        return slice(*map(int, self._ends[self.workers.index :][:2]))

    @property
    def n_features(self):
        """Number of columns."""
        return self.X.shape[1]

    @property
    def n_averaged(self):
        """Number of columns over which the errors of a row are averaged."""
        return self.n_embedding or self.n_features

    @property
    def dtype(self):
        """Float type of the rows that are read: float32 if X is float32, else float64."""
        return self.X.dtype if self.X.dtype == _FLOAT32 else _FLOAT64

    def take_y(self):
        """Return the y of the table's rows."""
        return self.y if self.rows is None else self.y[self.rows]

    def select(self, rows):
        """Return a table of some rows of this table, given by indices or a slice."""
        return self._replace(rows=self._numbers(np.arange(self.n_rows)[rows]))

    def standardised(self, offset, scale):
        """Return a table of the same rows, standardised when they are read."""
        return self._replace(offset=np.asarray(offset, dtype=self.dtype), scale=scale)

    def filled(self, filling):
        """Return a table of the same rows, with missing values imputed when they are read."""
        return self._replace(filling=filling) if self.is_incomplete else self

    def alone(self):
        """Return the table for a computation in this process alone.

        This process reads all rows. In a table in shards, the result has the rows of this worker.
        """
        if self.shards is None:
            return self._replace(workers=ALONE)
        first, end = self.shards[self.workers.index :][:2]
        rows = None if self.rows is None else self.rows[self.share] - first
        y = None if self.y is None else self.y[first:end]
        return self._replace(rows=rows, y=y, workers=ALONE, shards=None)

    def sample_alone(self, n_rows):
        """Return a table of about `n_rows` rows of this worker, which this process reads."""
        table = self.alone()
        return table.select(slice(None, None, 1 + table.n_rows // n_rows))

    def collect(self, rows):
        """Read some rows from all workers, and return them in every worker.

        The rows are given by sorted indices or a slice; see `take`.
        """
        if self.shards is None:
            return self.take(rows)
        chosen = self.select(rows)
        return np.concatenate(self.workers.all_gather_object(chosen.take(chosen.share)))

    def take(self, rows, out=None):
        """Read some rows, given by indices or a slice, which this worker must hold.

        The result is in C order for every memory order of X, because the last bits of sums and of
        BLAS products depend on the memory order. Rows are centred and scaled in the precision of
        the table, and then cast to the dtype of `out`.

        Parameters
        ----------
        rows : ndarray of int or slice
            Indices into the rows of the table.
        out : ndarray, optional
            Array to which the rows are also written, of any float type.

        Returns
        -------
        rows : ndarray of shape (n_rows, n_features)
            A copy, or a view of X if the rows are given by a slice, are floats, and are not
            standardised.
        """
        block = self.X[self._indices(rows)]
        if issparse(block):
            block = block.toarray()
        block = block.astype(self.dtype, order="C", copy=False)
        if self.filling is not None:
            block = self.filling(block)
        if self.scale is None:
            if out is not None:
                out[...] = block
            return block
        # in place if the block is a copy, because memory traffic dominates the cost
        centred = np.subtract(block, self.offset, out=block if block.flags.owndata else None)
        return np.multiply(centred, 1 / self.scale, out=out)

    def blocks(self, *widths):
        """Yield this worker's share of the rows in dense blocks that fit in the cache.

        `widths` are the numbers of columns of the arrays that are computed from a block. Blocks
        have fewer rows if a width is larger than the number of features.
        """
        share, n_block = self.share, max(1, _BLOCK // max(self.n_features, *widths, 1))
        for first in range(share.start, share.stop, n_block):
            yield self.take(slice(first, min(first + n_block, share.stop)))

    @np.errstate(under="ignore")  # results that underflow become zero
    def fold(self, ufunc, function, *widths):
        """Apply a function to dense blocks, and reduce the results over all blocks and workers.

        Parameters
        ----------
        ufunc : numpy.ufunc
            Combines two results, such as `numpy.add` or `numpy.maximum`.
        function : callable
            Maps a block of rows to a sequence of arrays.
        *widths : int
            See `blocks`.

        Returns
        -------
        results : list of ndarray
            The reduced arrays, identical to the last bit in all workers.
        """
        results = None
        for block in self.blocks(*widths):
            parts = function(block)
            results = parts if results is None else list(map(ufunc, results, parts))
        everyone = self.workers.all_gather_object(results)  # None from a worker without rows
        return [reduce(ufunc, parts) for parts in zip(*filter(None, everyone), strict=True)]

    def total(self, function, *widths):
        """Sum a function of dense blocks over all blocks, in double precision; see `fold`."""
        return self.fold(
            np.add,
            lambda block: [np.asarray(part, dtype=np.float64) for part in function(block)],
            *widths,
        )

    def sum(self):
        """Sum of each column, in double precision."""
        return self.total(lambda block: [block.sum(axis=0, dtype=np.float64)])[0]

    def mean(self):
        """Mean of the observed values of each column, in double precision.

        The mean of a column without observed values is zero.
        """
        return self.mean_and_count()[0]

    def mean_and_count(self):
        """Mean and number of the observed values of each column, in double precision."""
        with np.errstate(over="ignore", invalid="ignore"):
            if self.is_incomplete:
                total, n_observed = self.total(
                    lambda block: (
                        np.nansum(block, axis=0, dtype=np.float64),
                        (~np.isnan(block)).sum(axis=0),
                    )
                )
            else:
                total, n_observed = self.sum(), np.full(self.n_features, float(self.n_rows))
        divisor = np.maximum(n_observed, 1)
        if np.isfinite(total).all():
            return total / divisor, n_observed
        # the sum overflows: subtract the minimum, and divide the rows before they are summed
        shift = np.nan_to_num(self.extremes()[0]).astype(np.float64)
        (mean,) = self.total(lambda block: [np.nansum((block - shift) / divisor, axis=0)])
        return shift + mean, n_observed

    def empty_columns(self):
        """Return the indices of the columns without observed values."""
        return np.flatnonzero(np.isnan(self.extremes()[0])) if self.is_incomplete else []

    def seen_share(self):
        """Fraction of the entries that are observed."""
        if not self.is_incomplete:
            return 1.0
        (n_seen,) = self._replace(filling=None).total(lambda block: [np.isfinite(block).sum()])
        return float(n_seen) / (self.n_rows * self.n_features)

    def extremes(self):
        """Minimum and maximum of each column; NaN for a column without observed values."""
        least, most = self.fold(
            np.fmax, lambda block: (-np.fmin.reduce(block, axis=0), np.fmax.reduce(block, axis=0))
        )
        return -least, most

    @np.errstate(under="ignore")
    def map(self, function, *widths):
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
        parts = [part for part in self.workers.all_gather_object(out) if len(part)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts or [out])

    def resident(self, n_rows):
        """Return all rows in float32, padded with rows of zeros to `n_rows` rows."""
        rows = np.zeros((n_rows, self.n_features), dtype=np.float32)
        self._gather(np.arange(self.n_rows), rows)
        return rows

    def batches(self, lengths, shape, corruption, rng, *, is_resident=False, n_draws=0):
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
        is_resident : bool
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
        batches, n_rows, share, rng = self._own_batches(shape[1], rng)
        shape = (shape[0], n_rows, shape[2])
        filling, seen_share = None, 1.0
        if self.filling is not None:
            filling = self.filling.standardised(self.offset, self.scale)
            seen_share = self.seen_share()
        as_they_are = self._replace(filling=None)
        padding = 0 if self.shards is None else min(self.share.start, self.n_rows - 1)
        # for corruption="swap", every worker reads the whole batch, or the batch part of its shard
        part = slice(None) if corruption.mixes_rows else share
        for n_steps, read, weights in chunks(batches, lengths, shape, padding):
            read, weights = read[:, part], weights[:, part]
            if is_resident:
                targets = read.astype(np.int32)
            else:
                targets = np.zeros((*weights.shape, self.n_features), dtype=np.float32)
                as_they_are._gather(read[:n_steps].ravel(), targets.reshape(-1, self.n_features))
            inputs = targets
            if not is_resident:
                options = (shape, part, rng, filling, seen_share)
                arrays = corruption(targets, weights, *options)
                if corruption.mixes_rows:
                    *arrays, read = (array[:, share] for array in (*arrays, read))
                inputs, targets, weights = arrays
            y = () if self.y is None else self.y[self._numbers(read)]
            draws = ()
            if n_draws:  # for all rows of the batch, so that all workers draw the same
                draws = rng.standard_normal((*shape[:2], n_draws), np.float32)[:, share]
            yield Batch(inputs, targets, weights, y, draws), n_steps

    def _own_batches(self, batch_size, rng):
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

    def _gather(self, indices, out):
        """Write rows, given by indices, to an array; do nothing if the shard is empty."""
        if self.share.start == self.share.stop:
            return
        n_block = max(1, _GATHERED // self.n_features)
        for first in range(0, len(indices), n_block):
            block = indices[first : first + n_block]
            self.take(block, out=out[first : first + len(block)])

    def _numbers(self, rows):
        """Return the row numbers, over all workers, of some rows of this table."""
        return rows if self.rows is None else self.rows[rows]

    def _indices(self, rows):
        """Return the indices into X of some rows of this table."""
        numbers = self._numbers(rows)
        if self.shards is None:
            return numbers
        first = int(self.shards[self.workers.index])
        if isinstance(numbers, slice):
            return slice(numbers.start - first, numbers.stop - first)
        return numbers - first
