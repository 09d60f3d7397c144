"""The table that an estimator is given: the only room that reads X.

X stays as it was given (array, memmap or CSR). Its rows are read as floats, block by block, and
whatever is computed over all of them is a call of `Table`: a sum, the extremes, a result for each
row, the minibatches of training. `Table` also knows which rows each of several workers reads.
"""

from functools import reduce
from itertools import chain, islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from ._workers import ALONE, Workers

# A million numbers: what is computed on a block of rows stays in the last level of the cache...
_BLOCK = 2**20
# ... and what is only moved and scaled, in that of a core.
_GATHERED = 2**17
_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


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


class Table(NamedTuple):
    """Rows of X, as they are or standardised, and the workers that share them.

    Attributes
    ----------
    X : array, memmap or CSR of shape (n_samples, n_features)
        The data.
    y : ndarray of shape (n_samples, ...) or None
        What belongs to each row.
    rows : ndarray of int, or None
        Indices of the rows of X that belong to this table; None means all of them.
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

    @property
    def n_rows(self):
        """Number of rows, of all workers."""
        return self.X.shape[0] if self.rows is None else len(self.rows)

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
        return self._replace(rows=self._indices(np.arange(self.n_rows)[rows]))

    def standardised(self, offset, scale):
        """Return the same rows, centred and divided by the scale when they are read."""
        return self._replace(offset=np.asarray(offset, dtype=self.dtype), scale=scale)

    def filled(self, filling):
        """Return the same rows, whose missing values are filled when they are read."""
        return self._replace(filling=filling) if self.is_incomplete else self

    def alone(self):
        """Return the same table with all its rows read by this process."""
        return self._replace(workers=ALONE)

    def take(self, rows, out=None):
        """Read some rows, given by indices or a slice.

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
        share = self.workers.share(self.n_rows)
        n_block = max(1, _BLOCK // max(self.n_features, *widths, 1))
        for first in range(share.start, share.stop, n_block):
            yield self.take(slice(first, min(first + n_block, share.stop)))

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
        """Mean of each column over what is there, in double precision; zero of an empty column."""
        if not self.is_incomplete:
            return self.sum() / self.n_rows
        total, n_seen = self.total(
            lambda block: (
                np.nansum(block, axis=0, dtype=np.float64),
                (~np.isnan(block)).sum(axis=0),
            )
        )
        return total / np.maximum(n_seen, 1)

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
        share = self.workers.share(self.n_rows)
        n_rows = share.stop - share.start
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
        max_steps, batch_size, n_features = shape
        share = self.workers.share(batch_size)
        shuffled = shuffled_batches(self.n_rows, batch_size, rng)
        filling, seen_share = None, 1.0
        if self.filling is not None:
            filling = self.filling.standardised(self.offset, self.scale)
            seen_share = self.seen_share()
        as_they_are = self._replace(filling=None)
        for n_steps in lengths:
            weights = np.zeros((max_steps, batch_size), dtype=np.float32)
            read = np.zeros((max_steps, batch_size), dtype=np.intp)
            for step, batch in enumerate(islice(shuffled, n_steps)):
                read[step, : len(batch)] = batch
                read[step, len(batch) :] = batch[0]
                weights[step, : len(batch)] = 1 / len(batch)
            read, weights = read[:, share], weights[:, share]
            if is_resident:
                targets = read.astype(np.int32)
            else:
                targets = np.zeros((*weights.shape, n_features), dtype=np.float32)
                as_they_are._gather(read[:n_steps].ravel(), targets.reshape(-1, n_features))
            inputs = targets
            if not is_resident:
                parts = (shape, share, rng, filling, seen_share)
                inputs, targets, weights = corruption(targets, weights, *parts)
            y = () if self.y is None else self.y[self._indices(read)]
            draws = ()
            if n_draws:  # for all workers, so that they draw alike
                draws = rng.standard_normal((max_steps, batch_size, n_draws), np.float32)[:, share]
            yield Batch(inputs, targets, weights, y, draws), n_steps

    def _gather(self, indices, out):
        """Write rows, given by indices, to the first rows of an array."""
        n_block = max(1, _GATHERED // self.n_features)
        for first in range(0, len(indices), n_block):
            block = indices[first : first + n_block]
            self.take(block, out=out[first : first + len(block)])

    def _indices(self, rows):
        """Return the indices into X of some of the table's rows."""
        return rows if self.rows is None else self.rows[rows]


def shuffled_batches(n_rows, batch_size, rng):
    """Yield batches of shuffled row indices without end; those of an epoch are equally long.

    Up to one row: a short last batch would count as much as the others, and be noisier.
    """
    n_batches = -(-n_rows // batch_size)
    while True:
        order = rng.permutation(n_rows)
        for i in range(n_batches):
            yield order[i * n_rows // n_batches : (i + 1) * n_rows // n_batches]
