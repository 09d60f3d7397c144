"""The table that an estimator is given: the only room that reads X.

X stays as it was given (array, memmap or CSR). Its rows are read as floats, block by block, and
whatever is computed over all of them is a call of `Table`: a sum, the extremes, a result for each
row, the minibatches of training. `Table` also knows which rows each of several workers reads, or
which of them it holds.
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

# A million numbers: what is computed on a block of rows stays in the last level of the cache...
_BLOCK = 2**20
# ... and what is only moved and scaled, in that of a core.
_GATHERED = 2**17
_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


@dataclass(frozen=True)
class Shard:
    """The rows that this worker holds of a table, where each worker holds others.

    Give it to `fit` or `partial_fit` in the scope of a `tf.distribute` strategy, in every worker,
    in place of X. The table is that of all shards, in the order of the workers. Every row counts
    the same, wherever it lies: a worker with more rows has more to do in each step.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_held, n_features)
        This worker's rows, perhaps none; of the same columns and type in all.

    See Also
    --------
    AutoencoderTransformer : Its notes describe training on several machines.

    Examples
    --------
    Where there is no other worker, its rows are all.

    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderTransformer, Shard
    >>> X, _ = load_digits(return_X_y=True)
    >>> AutoencoderTransformer(2, max_steps=20).fit(Shard(X)).n_samples_seen_
    1797
    """

    X: Any


class Table(NamedTuple):
    """Rows of X, as they are or standardised, and the workers that share them.

    Attributes
    ----------
    X : array, memmap or CSR of shape (n_samples, n_features)
        The data; of a table in shards, the rows that this worker holds.
    y : ndarray of shape (n_samples, ...) or None
        What belongs to each row, also to those that others hold.
    rows : ndarray of int, or None
        Indices of the rows of X that belong to this table; None means all of them. Sorted where the
        table is in shards, whose rows are numbered in the order of the workers.
    offset, scale : ndarray of shape (n_features,) and float, or None
        Rows are read with the first subtracted, divided by the second. None reads them as they are.
    workers : Workers
        The workers that compute over this table together, each reading its share of the rows.
    n_embedding : int or None
        Where the columns of X are coordinates in a subspace, the number of columns around it.
    is_incomplete : bool
        Whether X has missing values, which are NaN.
    filling : Filling or None
        Fills the missing values of rows, before they are standardised.
    shards : ndarray of shape (n_workers + 1,), or None
        Where the shard of each worker begins, and the last one ends. None where X has all rows.
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
        """Return the table of which X is the shard of this one of several workers.

        Raises
        ------
        ValueError
            If no worker has a row.
        """
        facts = workers.all_gather_object((self.X.shape[0], self.is_incomplete))
        counts, incomplete = zip(*facts, strict=True)
        if not any(counts):
            raise ValueError("Found array with 0 sample(s) in every Shard: one row is required.")
        ends = np.cumsum([0, *counts])
        return self._replace(workers=workers, shards=ends, is_incomplete=any(incomplete))

    def with_rows_before(self, rows):
        """Return the table of dense rows and then the rows of this one.

        In a table in shards, the first worker holds them.
        """
        X, shards = self.X, self.shards
        if shards is None or self.workers.index == 0:
            X = vstack([csr_matrix(rows), X], "csr") if issparse(X) else np.vstack([rows, X])
        else:  # in the type that the first worker has
            X = X.astype(np.result_type(rows, X), copy=False)
        if shards is not None:
            shards = np.append(shards[:1], shards[1:] + len(rows))
        is_incomplete = self.is_incomplete or bool(np.isnan(rows).any())
        return self._replace(X=X, shards=shards, is_incomplete=is_incomplete)

    @property
    def n_rows(self):
        """Number of rows, of all workers."""
        if self.rows is not None:
            return len(self.rows)
        return self.X.shape[0] if self.shards is None else int(self.shards[-1])

    @property
    def _ends(self):
        """Where each worker's part of the rows begins, and the last one ends."""
        if self.shards is None:
            return self.workers.ends(self.n_rows)
        return self.shards if self.rows is None else np.searchsorted(self.rows, self.shards)

    @property
    def share(self):
        """Slice of the rows that this worker reads."""
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
        """Type in which rows are read and served: float32 stays, all else is float64."""
        return self.X.dtype if self.X.dtype == _FLOAT32 else _FLOAT64

    def take_y(self):
        """Return the y of the table's rows."""
        return self.y if self.rows is None else self.y[self.rows]

    def select(self, rows):
        """Return the table of some of these rows, given by indices or a slice."""
        return self._replace(rows=self._numbers(np.arange(self.n_rows)[rows]))

    def standardised(self, offset, scale):
        """Return the same rows, centred and divided by the scale when they are read."""
        return self._replace(offset=np.asarray(offset, dtype=self.dtype), scale=scale)

    def filled(self, filling):
        """Return the same rows, whose missing values are filled when they are read."""
        return self._replace(filling=filling) if self.is_incomplete else self

    def alone(self):
        """Return the same table with all its rows read by this process; of shards, its own rows."""
        if self.shards is None:
            return self._replace(workers=ALONE)
        first, end = self.shards[self.workers.index :][:2]
        rows = None if self.rows is None else self.rows[self.share] - first
        y = None if self.y is None else self.y[first:end]
        return self._replace(rows=rows, y=y, workers=ALONE, shards=None)

    def sample_alone(self, n_rows):
        """Return a table of about so many of this worker's rows, read by this process."""
        table = self.alone()
        return table.select(slice(None, None, 1 + table.n_rows // n_rows))

    def collect(self, rows):
        """Read some rows, given by sorted indices or a slice, wherever they lie; see `take`."""
        if self.shards is None:
            return self.take(rows)
        chosen = self.select(rows)
        return np.concatenate(self.workers.all_gather_object(chosen.take(chosen.share)))

    def take(self, rows, out=None):
        """Read some rows, given by indices or a slice, which this worker must hold.

        In C order, whatever that of X: sums, and products in BLAS, depend on the order in their
        last bits. Rows are centred and scaled in the precision of X, and then cast.

        Parameters
        ----------
        rows : ndarray of int or slice
            Which of the table's rows.
        out : ndarray, optional
            Where to write the rows too, in any float type.

        Returns
        -------
        rows : ndarray of shape (n_rows, n_features)
            A copy, or a view of rows that are floats and not standardised.
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
        # in place where the block is a copy, for what this costs is memory traffic
        centred = np.subtract(block, self.offset, out=block if block.flags.owndata else None)
        return np.multiply(centred, 1 / self.scale, out=out)

    def blocks(self, *widths):
        """Yield this worker's share of the rows in dense blocks that stay in the cache.

        They are smaller where what is computed of them has rows of more numbers, `widths`.
        """
        share, n_block = self.share, max(1, _BLOCK // max(self.n_features, *widths, 1))
        for first in range(share.start, share.stop, n_block):
            yield self.take(slice(first, min(first + n_block, share.stop)))

    @np.errstate(under="ignore")  # what is so small counts as zero
    def fold(self, ufunc, function, *widths):
        """Fold a function of dense blocks over all blocks and workers.

        Parameters
        ----------
        ufunc : numpy.ufunc
            Joins two results: `numpy.add`, `numpy.maximum`.
        function : callable
            Maps a block of rows to a sequence of arrays.
        *widths : int
            See `blocks`.

        Returns
        -------
        results : list of ndarray
            The same bits for all workers.
        """
        results = None
        for block in self.blocks(*widths):
            parts = function(block)
            results = parts if results is None else list(map(ufunc, results, parts))
        everyone = self.workers.all_gather_object(results)  # None of a worker that has no rows
        return [reduce(ufunc, parts) for parts in zip(*filter(None, everyone), strict=True)]

    def total(self, function, *widths):
        """Sum the arrays that a function makes of dense blocks, in double precision; see `fold`."""
        return self.fold(
            np.add,
            lambda block: [np.asarray(part, dtype=np.float64) for part in function(block)],
            *widths,
        )

    def sum(self):
        """Sum of each column, in double precision."""
        return self.total(lambda block: [block.sum(axis=0, dtype=np.float64)])[0]

    def mean(self):
        """Mean of the observed values of each column, in double precision; zero without any."""
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
        # the sum overflows, and sums of small parts do not
        shift = np.nan_to_num(self.extremes()[0]).astype(np.float64)
        (mean,) = self.total(lambda block: [np.nansum((block - shift) / divisor, axis=0)])
        return shift + mean, n_observed

    def empty_columns(self):
        """Return the indices of the columns without any value."""
        return np.flatnonzero(np.isnan(self.extremes()[0])) if self.is_incomplete else []

    def seen_share(self):
        """Share of the entries that are there."""
        if not self.is_incomplete:
            return 1.0
        (n_seen,) = self._replace(filling=None).total(lambda block: [np.isfinite(block).sum()])
        return float(n_seen) / (self.n_rows * self.n_features)

    def extremes(self):
        """Least and largest number of each column; NaN of an empty one."""
        least, most = self.fold(
            np.fmax, lambda block: (-np.fmin.reduce(block, axis=0), np.fmax.reduce(block, axis=0))
        )
        return -least, most

    @np.errstate(under="ignore")
    def map(self, function, *widths):
        """Apply a function of dense blocks that gives a result for each row.

        Parameters
        ----------
        function : callable
            Maps a block of rows to an array with as many rows.
        *widths : int
            See `blocks`.

        Returns
        -------
        results : ndarray
            One for each row of the table, in order, of all workers.
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
        """Return all rows in float32, with rows of zeros up to this number of rows."""
        rows = np.zeros((n_rows, self.n_features), dtype=np.float32)
        self._gather(np.arange(self.n_rows), rows)
        return rows

    def batches(self, lengths, shape, corruption, rng, *, is_resident=False, n_draws=0):
        """Yield the shuffled minibatches of training, a chunk of steps at a time.

        Parameters
        ----------
        lengths : iterable of int
            Number of steps of each chunk; a chunk shorter than its shape is padded.
        shape : tuple of int
            Steps, rows of a batch and features of a chunk. A batch shorter than its rows is padded
            with rows of weight zero.
        corruption : Corruption
            What is done to the inputs.
        rng : numpy.random.Generator
            Shuffles, corrupts and draws.
        is_resident : bool
            Whether to give the indices of the rows instead; there must be no corruption then, and
            nothing missing.
        n_draws : int
            How many random numbers each row of a batch gets.

        Yields
        ------
        batches : Batch
            This worker's share of each batch.
        n_steps : int
            How many of its steps are no padding.
        """
        batches, n_rows, share, rng = self._own_batches(shape[1], rng)
        shape = (shape[0], n_rows, shape[2])
        filling, seen_share = None, 1.0
        if self.filling is not None:
            filling = self.filling.standardised(self.offset, self.scale)
            seen_share = self.seen_share()
        as_they_are = self._replace(filling=None)
        padding = 0 if self.shards is None else min(self.share.start, self.n_rows - 1)
        # where rows are mixed, every worker reads the whole batch, of its shard if there are shards
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
            if n_draws:  # for all workers, so that they draw alike
                draws = rng.standard_normal((*shape[:2], n_draws), np.float32)[:, share]
            yield Batch(inputs, targets, weights, y, draws), n_steps

    def _own_batches(self, batch_size, rng):
        """Return shuffled batches without end, of which this worker reads a share.

        Returns
        -------
        batches : iterator of (ndarray of int, int)
            See `shuffled_batches`.
        n_rows : int
            Number of rows of the longest.
        share : slice
            Those that this worker reads.
        rng : numpy.random.Generator
            Draws for so many rows.
        """
        if self.shards is None:
            batches = shuffled_batches([self.n_rows], 0, batch_size, rng)
            return batches, batch_size, self.workers.share(batch_size), rng
        # a batch has a part of each shard, for which its worker shuffles and draws
        counts, index = np.diff(self._ends), self.workers.index
        rng = np.random.default_rng([int(rng.integers(2**63)), index])
        n_rows = int(-(-counts.max() // -(-self.n_rows // batch_size)))
        return shuffled_batches(counts, index, batch_size, rng), n_rows, slice(None), rng

    def _gather(self, indices, out):
        """Write rows, given by indices, to the first rows of an array; none of an empty shard."""
        if self.share.start == self.share.stop:
            return
        n_block = max(1, _GATHERED // self.n_features)
        for first in range(0, len(indices), n_block):
            block = indices[first : first + n_block]
            self.take(block, out=out[first : first + len(block)])

    def _numbers(self, rows):
        """Return the numbers, over all workers, of some of the table's rows."""
        return rows if self.rows is None else self.rows[rows]

    def _indices(self, rows):
        """Return the indices into X of some of the table's rows."""
        numbers = self._numbers(rows)
        if self.shards is None:
            return numbers
        first = int(self.shards[self.workers.index])
        if isinstance(numbers, slice):
            return slice(numbers.start - first, numbers.stop - first)
        return numbers - first
