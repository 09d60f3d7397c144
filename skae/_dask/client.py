"""Training on the workers of a Dask cluster.

Each worker writes its partitions to a file in its local directory, and starts a training process.
The process reads the file as a memmap, and trains on it as a `Shard` under a
MultiWorkerMirroredStrategy. Rows never pass through the client or the scheduler. The client
receives the fitted state.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from copy import copy
from typing import Any, Self, TypeAlias
from uuid import uuid4

import numpy as np
from sklearn.base import BaseEstimator

from .. import _sklearn_compat
from .._runtime.workers import WorkerLostError
from .collections import Collection
from .job import INTERVAL, TOPIC, Job, Result
from .partitions import Partitions
from .tasks import (
    append_rows,
    end_process,
    free_endpoint,
    make_folder,
    run_process,
    stop_process,
)

Future: TypeAlias = Any  # distributed.Future, which is imported only for a fit in a cluster

# Time in seconds in which the other workers must return their state after a worker is lost: on an
# idle machine TensorFlow notices within eight seconds. And timeout of the clean-up, in seconds.
_REPORT, _CLEAN_UP = 30.0, 1.5
_NO_MODEL = "No model is available yet."


def trained(
    estimator: BaseEstimator, method: str, X: Collection, y: Any, is_continued: bool
) -> Result:
    """Train an estimator on the workers of the current Dask client.

    Parameters
    ----------
    estimator : estimator
        Estimator to train. It is not modified.
    method : str
        Name of the method that is called with a `Shard` and y.
    X : Dask array or data frame
        The rows.
    y : Dask collection, array or None
        Targets of the rows.
    is_continued : bool
        Whether training continues from the fitted network.

    Returns
    -------
    result : Result
        Result with the fitted state. If a worker was lost, its error is a `WorkerLostError`.

    Raises
    ------
    ValueError
        If the client is asynchronous, the estimator has callbacks, or the cluster uses TLS.
    WorkerLostError
        If a worker was lost and there is no fitted state.
    """
    client = _client()
    _check_client(client)
    if _sklearn_compat.callback_names(estimator):
        raise ValueError(
            "Callbacks are not called while a Dask collection is fitted: fit without them, and set "
            "verbose=1 to see the progress."
        )
    partitions = Partitions.from_collections(
        X, y if getattr(estimator, "target_weight", 0) else None
    )
    estimator = _copy_for_workers(estimator, is_continued)
    with _free_thread(), _Training(client, partitions.assign_workers(client)) as training:
        shapes = training.store(partitions)
        has_y = partitions.y is not None
        return training.run(
            [
                Job(
                    estimator=estimator,
                    method=method,
                    shape=shape,
                    dtype=partitions.dtype,
                    has_y=has_y,
                )
                for shape in shapes
            ]
        )


def _check_client(client: Any) -> None:
    """Raise ValueError if estimators cannot be trained in the cluster of a client."""
    if client.asynchronous:
        raise ValueError(
            "fit waits for the cluster, which an asynchronous distributed.Client does not allow: "
            "make a client with asynchronous=False, and call fit outside of coroutines."
        )
    if client.scheduler.address.startswith("tls://"):
        raise ValueError(
            "The cluster is encrypted, and training in it would not be: its processes talk by "
            "tf.distribute. Use a cluster in a network that you trust, without tls."
        )


def _copy_for_workers(estimator: BaseEstimator, is_continued: bool) -> BaseEstimator:
    """Return a copy of the estimator for the workers.

    Unless training continues, the copy has no fitted attributes.
    """
    copied = copy(estimator)
    if not is_continued:
        copied._set_fitted({})
    if isinstance(estimator.random_state, np.random.RandomState):  # copies would not advance it
        copied.random_state = int(estimator.random_state.randint(np.iinfo(np.int32).max))
    return copied


def _client() -> Any:
    """Return the current client, or None; in a Dask task, a client of the task's cluster."""
    with suppress(ImportError, ValueError):
        from distributed import get_client

        return get_client()
    return None


def _free_thread() -> AbstractContextManager[Any]:
    """Return a context in which a Dask task releases its thread for other tasks.

    Outside a Dask task, the context does nothing.
    """
    from distributed import get_worker, worker_client

    with suppress(ValueError):  # not in a task
        get_worker()
        return worker_client()
    return nullcontext()


def has_client() -> bool:
    """Whether there is a current Dask client, in whose cluster a collection can be fitted."""
    return _client() is not None


class _Training:
    """Training processes in the workers of a cluster, as a context manager.

    At exit, all processes are ended and their files are removed.

    Parameters
    ----------
    client : distributed.Client
        Client of the cluster.
    assigned : list of str
        Address of the worker of each partition.
    """

    def __init__(self, client: Any, assigned: list[str]) -> None:
        self.client, self.assigned, self.token = client, assigned, f"skae-{uuid4().hex}"
        self.workers = list(dict.fromkeys(assigned))
        self.futures: list[Future] = []
        self.folders: list[str] = []

    def __enter__(self) -> Self:
        try:
            self.client.subscribe_topic(TOPIC, self._print)
            self.folders = self._results([self._submit(w, make_folder) for w in self.workers])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(Exception):  # a closed client: the error that ended training is raised
            self.client.unsubscribe_topic(TOPIC)
            self.client.cancel(self.futures)
        self._run_on_workers(end_process)

    def _run_on_workers(self, function: Callable[[str, Any], None]) -> None:
        """Call a function with the token in all present workers; wait `_CLEAN_UP` seconds."""

        def call() -> None:
            present = [worker for worker in self.workers if worker not in self._lost()]
            with suppress(Exception):
                self.client.run(function, self.token, workers=present, on_error="ignore")

        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        thread.join(_CLEAN_UP)  # with a timeout, because a worker may be unreachable

    def _print(self, event: tuple[Any, tuple[str, str]]) -> None:
        """Print a line that a training process of this fit has printed."""
        _, (token, line) = event
        if token == self.token:
            print(line, end="", flush=True)  # noqa: T201

    def store(self, partitions: Partitions) -> list[tuple[int, int]]:
        """Write the partitions of each worker to its file, and return the shapes of the files."""
        from dask.base import annotate
        from dask.delayed import delayed

        shapes: dict[str, Any] = dict.fromkeys(self.workers, (0, partitions.n_features))
        folders = dict(zip(self.workers, self.folders, strict=True))
        ys = partitions.y or [None] * len(partitions.X)
        blocks = zip(partitions.X, ys, self.assigned, strict=True)
        for number, (block, y, worker) in enumerate(blocks):
            arguments = (folders[worker], number, block, y, partitions.dtype, shapes[worker])
            with annotate(workers=[worker], allow_other_workers=False):
                shapes[worker] = delayed(append_rows, pure=False)(*arguments)
        # Any worker may compute the other parts of the graph: another computation may share them,
        # and these workers may no longer exist then.
        futures = [
            self.client.compute(shape, workers=[worker], allow_other_workers=True)
            for worker, shape in shapes.items()
        ]
        self.futures += futures
        return self._results(futures)

    def run(self, jobs: Sequence[Job]) -> Result:
        """Start the processes and return their joint result.

        The first KeyboardInterrupt requests a stop, and the second is raised.
        """
        futures = self._start(jobs)
        results: dict[str, Result] = {}
        lost: list[str] = []
        is_stopped, deadline = False, np.inf
        while not futures.keys() <= {*results, *lost} and time.monotonic() < deadline:
            try:
                time.sleep(INTERVAL)
                lost = self._lost()
                _collect(results, futures)
                failed = [result for result in results.values() if result.error is not None]
                if any(result.state for result in failed):
                    break
                if lost or failed:
                    deadline = min(deadline, time.monotonic() + _REPORT)
            except KeyboardInterrupt:
                if is_stopped:
                    raise
                is_stopped = True
                self._run_on_workers(stop_process)
        return _joint(list(results.values()), lost)

    def _start(self, jobs: Sequence[Job]) -> dict[str, Future]:
        """Start a training process in each worker, and return the futures of their results."""
        endpoints = self._results([self._submit(w, free_endpoint) for w in self.workers])
        tasks = zip(self.workers, self.folders, jobs, strict=True)
        return {
            worker: self._submit(worker, run_process, folder, job, endpoints, index)
            for index, (worker, folder, job) in enumerate(tasks)
        }

    def _submit(self, worker: str, function: Callable[..., Any], *arguments: object) -> Future:
        """Call a function with the token and arguments in a worker, and return the future."""
        options = {"workers": [worker], "allow_other_workers": False, "pure": False}
        future = self.client.submit(function, self.token, *arguments, **options)
        self.futures.append(future)
        return future

    def _results(self, futures: Sequence[Future]) -> list[Any]:
        """Wait for futures and return their results.

        Raises
        ------
        WorkerLostError
            If a worker is lost.
        """
        while any(future.status == "pending" for future in futures):
            time.sleep(INTERVAL / 10)
            if lost := self._lost():
                raise WorkerLostError(f"{_lost_text(lost)} {_NO_MODEL}")
        return [future.result() for future in futures]

    def _lost(self) -> list[str]:
        """Return the workers that the scheduler no longer lists; all, if it is unreachable.

        A busy worker may send no heartbeat for minutes. The scheduler has a timeout for that.
        """
        present: dict[str, int] = {}
        with suppress(OSError, AttributeError):  # the client has closed
            present = self.client.nthreads()
        return [worker for worker in self.workers if worker not in present]


def _collect(results: dict[str, Result], futures: dict[str, Future]) -> None:
    """Add the results of the processes that have ended since the last call."""
    for worker, future in futures.items():
        if worker not in results and future.status != "pending":
            results[worker] = _result(future)


def _result(future: Future) -> Result:
    """Return the result of a process, or a result with an error if Dask has lost the process."""
    if future.status == "finished":
        result: Result = future.result()
        return result
    reason = repr(future.exception()) if future.status == "error" else future.status
    error = WorkerLostError(f"Dask has lost a training process: {reason}.")
    return Result(state=None, warned=[], error=error)


def _lost_text(workers: Sequence[str]) -> str:
    return f"Lost workers of the Dask cluster: {', '.join(map(str, workers))}."


def _joint(results: Sequence[Result], lost: Sequence[str]) -> Result:
    """Return one of the results of all processes, with a fitted state.

    Its error is a `WorkerLostError` if a worker was lost.

    Raises
    ------
    WorkerLostError
        If no result has a fitted state, and a worker was lost.
    Exception
        The exception of the method, if no result has a fitted state.
    """
    # All results without an error have the same state. A process that lost another worker may
    # return a state and an error.
    for result in sorted(results, key=lambda result: result.error is not None):
        if result.state is not None:
            return result
    errors = [result.error for result in results if result.error is not None]
    for error in errors:
        if not isinstance(error, WorkerLostError):
            raise error
    text = _lost_text(lost) if lost else str(errors[0])
    raise WorkerLostError(f"{text} {_NO_MODEL}")
