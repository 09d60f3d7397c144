"""Access to the rows of X, in one process or in several workers.

X stays in its format: an array, a memmap or a CSR matrix. No other module reads rows from X.
`Rows` reads them as floats, in blocks, and assigns them to the workers.
"""

from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Protocol, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix, issparse, vstack

from .._runtime.workers import SINGLE_PROCESS, Workers
from .category_columns import CategoryColumns
from .weights import Weights, with_mean_of_at_least_one

# Maximum number of entries of a block of rows for computations: it fits in the last-level cache.
_BLOCK = 2**20
# Maximum number of entries of a block that is only copied and scaled: it fits in a core's cache.
_GATHERED = 2**17
_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)

# Indices of rows.
Indices: TypeAlias = NDArray[Any] | slice


class ImputationModel(Protocol):
    """Model that imputes missing values, such as `ProbabilisticPCA`."""

    def __call__(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return rows with missing values imputed."""

    def standardised(self, offset: NDArray[Any], scale: float) -> Self:
        """Return the model of rows ``(X - offset) / scale``."""


def drawn_in_groups(
    draw: Callable[[tuple[int, ...]], Any],
    shape: tuple[int, ...],
    groups: NDArray[np.intp] | None,
) -> NDArray[Any]:
    """Draw random numbers for entries, the same for the columns of a group; see `Rows`.

    ``draw(shape)`` returns random numbers. `shape` is the shape of the entries.
    """
    n_groups = shape[-1] if groups is None else int(groups.max()) + 1
    numbers: NDArray[Any] = draw((*shape[:-1], n_groups))
    return numbers if groups is None else numbers[..., groups]


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of X, unchanged or standardised, and the workers that read them.

    Attributes
    ----------
    X : array, memmap or CSR of shape (n_samples, n_features)
        The data. In a sharded table, the rows that this worker holds.
    y : ndarray of shape (n_samples, ...) or None
        Targets y of all rows, including rows that other workers hold.
    weights : ndarray of shape (n_samples,), or None
        Positive weight of each row of X in sums, means and losses. None means that all weights are
        one. A table in shards has no weights.
    rows : ndarray of int, or None
        Indices of the rows of X that are in this table; None means all rows. In a sharded
        table, the indices are sorted, and rows are numbered in the order of the workers.
    offset, scale : ndarray of shape (n_features,) and float, or None
        Rows are standardised when they are read: the offset is subtracted, and the result is
        divided by the scale. If None, rows are not standardised.
    workers : Workers
        Workers that compute over this table. Each worker reads its share of the rows.
    n_original_features : int or None
        If the columns of X are coordinates in a subspace, the number of columns of the original
        space; else None.
    is_incomplete : bool
        Whether X has missing values (NaN), in any worker.
    imputer : ImputationModel or None
        Imputes the missing values of rows, before they are standardised.
    groups : ndarray of int of shape (n_features,), or None
        Number of the group of each column, from zero. The entries of a row in one group are hidden
        and replaced together. None means that each column is a group.
    categories : CategoryColumns or None
        The columns of categories; None for a table of numbers.
    shards : ndarray of shape (n_workers + 1,), or None
        Number of the first row of each worker's shard, and at the end the number of rows of all
        shards. None if X has all rows.
    """

    X: Any
    _: KW_ONLY
    y: NDArray[Any] | None = None
    weights: Weights = None
    rows: NDArray[Any] | None = None
    offset: NDArray[Any] | None = None
    scale: float | None = None
    workers: Workers = SINGLE_PROCESS
    n_original_features: int | None = None
    is_incomplete: bool = False
    imputer: ImputationModel | None = None
    groups: NDArray[np.intp] | None = None
    categories: CategoryColumns | None = None
    shards: NDArray[Any] | None = None

    def in_shards(self, workers: Workers) -> Self:
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
        return replace(self, workers=workers, shards=ends, is_incomplete=any(incomplete))

    def with_rows_before(self, rows: NDArray[Any]) -> Self:
        """Return a table with dense rows before the rows of this table.

        In a sharded table, the first worker holds the dense rows.
        """
        X, shards = self.X, self.shards
        if shards is None or self.workers.index == 0:
            X = vstack([csr_matrix(rows), X], "csr") if issparse(X) else np.vstack([rows, X])
        else:  # the same dtype as in the first worker
            X = X.astype(np.result_type(rows, X), copy=False)
        if shards is not None:
            shards = np.append(shards[:1], shards[1:] + len(rows))
        is_incomplete = self.is_incomplete or bool(np.isnan(rows).any())
        return replace(self, X=X, shards=shards, is_incomplete=is_incomplete)

    @property
    def n_rows(self) -> int:
        """Number of rows, over all workers."""
        if self.rows is not None:
            return len(self.rows)
        return int(self.X.shape[0] if self.shards is None else self.shards[-1])

    @property
    def total_weight(self) -> float:
        """Sum of the weights of the rows: without weights, the number of rows."""
        weights = self.take_weights()
        return self.n_rows if weights is None else float(weights.sum())

    @property
    def _ends(self) -> list[int] | NDArray[Any]:
        """Index of the first row of each worker's share, and at the end the number of rows."""
        if self.shards is None:
            return self.workers.ends(self.n_rows)
        return self.shards if self.rows is None else np.searchsorted(self.rows, self.shards)

    @property
    def share(self) -> slice:
        """Rows that this worker reads, as a slice."""
        return slice(*map(int, self._ends[self.workers.index :][:2]))

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return int(self.X.shape[1])

    @property
    def n_features_in_loss(self) -> int:
        """Number of columns over which the errors of a row are averaged."""
        return self.n_original_features or self.n_features

    @property
    def dtype(self) -> np.dtype[Any]:
        """Float type of the rows that are read: float32 if X is float32, else float64."""
        return self.X.dtype if self.X.dtype == _FLOAT32 else _FLOAT64

    def matrix(self) -> Any:
        """Return the rows in the format of X, unchanged; this worker must hold all of them."""
        return self.X if self.rows is None else self.X[self.rows]

    def take_y(self) -> NDArray[Any]:
        """Return the y of the table's rows."""
        assert self.y is not None
        return self.y if self.rows is None else self.y[self.rows]

    def take_weights(self, rows: Indices = slice(None)) -> Weights:
        """Return the weights of some rows of the table."""
        return None if self.weights is None else self.weights[self._numbers(rows)]

    def select(self, rows: Indices) -> Self:
        """Return a table of some rows of this table, given by indices or a slice.

        Their weights are divided by their mean if it is below one.
        """
        numbers = np.arange(self.n_rows) if self.rows is None else self.rows
        numbers, weights = numbers[rows], self.weights
        if weights is not None:
            weights = weights.copy()
            weights[numbers] = with_mean_of_at_least_one(weights[numbers])
        return replace(self, rows=numbers, weights=weights)

    def standardised(self, offset: ArrayLike, scale: float) -> Self:
        """Return a table of the same rows, standardised when they are read."""
        return replace(self, offset=np.asarray(offset, dtype=self.dtype), scale=scale)

    def imputed(self, imputer: ImputationModel | None) -> Self:
        """Return a table of the same rows, with missing values imputed when they are read."""
        return replace(self, imputer=imputer) if self.is_incomplete else self

    def local(self) -> Self:
        """Return the table for a computation in this process alone.

        This process reads all rows. For a sharded table, the result has the rows of this worker.
        """
        if self.shards is None:
            return replace(self, workers=SINGLE_PROCESS)
        first, end = self.shards[self.workers.index :][:2]
        rows = None if self.rows is None else self.rows[self.share] - first
        y = None if self.y is None else self.y[first:end]
        return replace(self, rows=rows, y=y, workers=SINGLE_PROCESS, shards=None)

    def local_sample(self, n_rows: int) -> Self:
        """Return a table of about `n_rows` rows of this worker, which this process reads."""
        table = self.local()
        return table.select(slice(None, None, 1 + table.n_rows // n_rows))

    def gather(self, rows: Indices) -> NDArray[Any]:
        """Read some rows from all workers, and return them in every worker.

        The rows are given by sorted indices or a slice; see `take`.
        """
        if self.shards is None:
            return self.take(rows)
        chosen = self.select(rows)
        return np.concatenate(self.workers.all_gather_object(chosen.take(chosen.share)))

    def take(self, rows: Indices, out: NDArray[Any] | None = None) -> NDArray[Any]:
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
        dense: NDArray[Any] = block.astype(self.dtype, order="C", copy=False)
        if self.imputer is not None:
            dense = self.imputer(dense)
        if self.offset is None or self.scale is None:
            if out is not None:
                out[...] = dense
            return dense
        # in place if the block is a copy, because memory traffic dominates the cost
        centred = np.subtract(dense, self.offset, out=dense if dense.flags.owndata else None)
        scaled: NDArray[Any] = np.multiply(centred, 1 / self.scale, out=out)
        return scaled

    def blocks(self, *widths: int) -> Iterator[NDArray[Any]]:
        """Yield this worker's share of the rows in dense blocks that fit in the cache.

        `widths` are the numbers of columns of the arrays that are computed from a block. Blocks
        have fewer rows if a width is larger than the number of features.
        """
        return map(self.take, self._slices(*widths))

    def _slices(self, *widths: int) -> Iterator[slice]:
        """Yield the slices of the rows of each block; see `blocks`."""
        share, n_block = self.share, max(1, _BLOCK // max(self.n_features, *widths, 1))
        for first in range(share.start, share.stop, n_block):
            yield slice(first, min(first + n_block, share.stop))

    def _read_into(self, indices: NDArray[Any], out: NDArray[Any]) -> None:
        """Write rows, given by indices, to an array; do nothing if the shard is empty."""
        if self.share.start == self.share.stop:
            return
        n_block = max(1, _GATHERED // self.n_features)
        for first in range(0, len(indices), n_block):
            block = indices[first : first + n_block]
            self.take(block, out=out[first : first + len(block)])

    def _numbers(self, rows: Indices) -> Indices:
        """Return the row numbers, over all workers, of some rows of this table."""
        return rows if self.rows is None else self.rows[rows]

    def _indices(self, rows: Indices) -> Indices:
        """Return the indices into X of some rows of this table."""
        numbers = self._numbers(rows)
        if self.shards is None:
            return numbers
        first = int(self.shards[self.workers.index])
        if isinstance(numbers, slice):
            return slice(numbers.start - first, numbers.stop - first)
        return numbers - first
