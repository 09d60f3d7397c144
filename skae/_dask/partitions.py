"""Partitions of a collection, and the workers that train on them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np

from .._data.targets import target_array
from .collections import Collection, dtype_of_rows, is_collection, with_whole_rows

Delayed: TypeAlias = Any  # a lazy object of Dask


@dataclass(frozen=True, kw_only=True, eq=False)
class Partitions:
    """The partitions of a collection.

    Attributes
    ----------
    X, y : list of Delayed, or None
        Blocks of rows, and the blocks of y for them.
    sizes : list of float
        Number of rows of each partition; 1 for all if the numbers are unknown.
    n_features : int
        Number of columns.
    meta : object
        An empty block of the collection.
    dtype : str
        Dtype in which the rows are stored in the file.
    futures : list of Future
        Futures of the parts of the collection that are already in the cluster.
    """

    X: list[Delayed]
    y: list[Delayed] | None
    sizes: list[float]
    n_features: int
    meta: Any
    dtype: str
    futures: list[Any]

    @classmethod
    def from_collections(cls, X: Collection, y: Any) -> Self:
        """Return the partitions of a collection X, and of y, a collection, an array or None."""
        from distributed.client import futures_of

        X = with_whole_rows(X)
        futures = futures_of(X)  # type: ignore[no-untyped-call]  # Dask has types in part
        blocks = np.ravel(X.to_delayed(optimize_graph=not futures)).tolist()
        sizes = [1.0] * len(blocks)
        if hasattr(X, "chunks") and not np.isnan(X.chunks[0]).any():
            sizes = list(map(float, X.chunks[0]))
        return cls(
            X=blocks,
            y=None if y is None else _blocks_of_y(y, X, len(blocks)),
            sizes=sizes,
            n_features=X.shape[1],
            meta=X._meta,
            dtype=dtype_of_rows(X),
            futures=futures,
        )

    def assign_workers(self, client: Any) -> list[str]:
        """Return the address of the worker that trains on each partition.

        It is a worker that holds the partition, or a part from which the partition is computed. If
        there is none, workers are assigned by the position of the partition in the collection. All
        workers then have about the same number of rows, and the same rows in the next call.

        Parameters
        ----------
        client : distributed.Client
            Client of the cluster.

        Raises
        ------
        ValueError
            If the cluster has no worker.
        """
        by_position = self._workers_by_position(_sorted_workers(client))
        holders = client.who_has(self.futures) if self.futures else {}
        holders = {str(key): sorted(workers) for key, workers in holders.items()}
        assigned: list[str] = []
        for block, default in zip(self.X, by_position, strict=True):
            candidates = _holders_of_block(block, holders) if holders else []
            # of several holders, the worker with the fewest partitions so far
            assigned.append(
                min(candidates or [default], key=lambda worker: (assigned.count(worker), worker))
            )
        return assigned

    def _workers_by_position(self, workers: list[str]) -> list[str]:
        """Return a worker for each partition, so that all have about the same number of rows."""
        middles = np.cumsum(self.sizes) - np.asarray(self.sizes) / 2
        places = (middles / (sum(self.sizes) or 1) * len(workers)).astype(int)
        return [workers[min(place, len(workers) - 1)] for place in places]


def _sorted_workers(client: Any) -> list[str]:
    """Return the addresses of the workers, in the order of their names."""
    # the client's heartbeat may empty client.scheduler_info(): ask the scheduler instead
    workers = client.sync(client.scheduler.identity)["workers"]
    if not workers:
        raise ValueError("The cluster of the current distributed.Client has no worker.")
    names = {address: worker["name"] for address, worker in workers.items()}
    return sorted(names, key=lambda address: (str(type(names[address])), names[address]))


def _holders_of_block(block: Delayed, holders: Mapping[str, list[str]]) -> list[str]:
    """Return the workers that hold a block or, if there are none, a part of its graph."""
    from dask.core import get_dependencies

    graph = dict(block.__dask_graph__())
    upcoming, visited = [block.key], set()
    while upcoming:
        key = upcoming.pop()
        if found := holders.get(str(key)):
            return found
        if key in graph and key not in visited:
            upcoming += get_dependencies(graph, key)
        visited.add(key)
    return []


def _blocks_of_y(y: Any, X: Collection, n_partitions: int) -> list[Delayed]:
    """Return the block of y for each partition of X."""
    if not is_collection(y):
        import dask.array as da

        y = target_array(y)
        y = da.from_array(y, chunks=len(y))  # type: ignore[no-untyped-call]  # Dask has types in part
    if hasattr(y, "rechunk") and y.ndim > 1:
        y = y.rechunk({1: -1})
    if (
        hasattr(X, "chunks")
        and hasattr(y, "rechunk")
        and not np.isnan([X.shape[0], y.shape[0]]).any()
    ):
        if X.shape[0] != y.shape[0]:
            raise ValueError(f"X has {X.shape[0]} rows, and y has {y.shape[0]}.")
        y = y.rechunk({0: X.chunks[0]})
    blocks: list[Delayed] = np.ravel(y.to_delayed(optimize_graph=False)).tolist()
    if len(blocks) != n_partitions:
        raise ValueError(
            f"X has {n_partitions} partitions, and y has {len(blocks)}: give both the same, as "
            "columns of one frame have them, or arrays whose chunk sizes are known, as they are "
            "after compute_chunk_sizes()."
        )
    return blocks
