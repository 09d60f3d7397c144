"""Training on the workers of a Dask cluster.

Each worker writes its partitions to a file in its local directory, and starts a training process.
The process reads the file as a memmap, and trains on it as a `Shard` under a
MultiWorkerMirroredStrategy. Rows never pass through the client or the scheduler. The client
receives the fitted state.
"""

import json
import os
import pickle
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import nullcontext, suppress
from copy import copy
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import check_array

from .. import _sklearn_compat
from .._data.inputs import with_nan
from .._data.targets import target_array
from .._runtime.workers import WorkerLostError
from .collections import dtype_of_rows, is_collection, with_whole_rows

# Interval in seconds at which the client checks the workers, and the workers check the client.
_INTERVAL = 0.5
# Time in seconds in which the other workers must return their state after a worker is lost, because
# TensorFlow may need eight seconds to notice; and timeout of the clean-up, in seconds.
_REPORT, _CLEAN_UP = 8.0, 1.5
# Names of the files in the folder of a training process.
JOB, ROWS, TARGET, RESULT, STOPPED = "job", "rows", "y", "result", "stopped"
STOP = b"stop\n"
# Topic of the events that send the output of a training process to the client.
TOPIC = "skae"


class Job(NamedTuple):
    """Task of a training process.

    Attributes
    ----------
    estimator : estimator
        Estimator to train. It is fitted only if training continues from its network.
    method : str
        Name of the method that is called with rows and y.
    shape, dtype : tuple of int and str
        Shape and dtype of the rows in the file.
    has_y : bool
        Whether files with y exist.
    """

    estimator: Any
    method: str
    shape: tuple
    dtype: str
    has_y: bool


class Result(NamedTuple):
    """Result of a training process.

    Attributes
    ----------
    state : dict or None
        Fitted attributes, or None if there is no fitted state.
    warned : list of (str, type)
        Messages and categories of warnings.
    error : Exception or None
        Exception of the method, or None.
    is_stopped : bool
        Whether training stopped because a stop was requested.
    """

    state: dict | None
    warned: list
    error: Exception | None
    is_stopped: bool = False


# ---- the client


def trained(estimator, method, X, y):
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
    if client.asynchronous:
        raise ValueError(
            "fit waits for the cluster, which an asynchronous distributed.Client does not allow: "
            "make a client with asynchronous=False, and call fit outside of coroutines."
        )
    if _sklearn_compat.callback_names(estimator):
        raise ValueError(
            "Callbacks are not called while a Dask collection is fitted: fit without them, and set "
            "verbose=1 to see how it goes on."
        )
    if client.scheduler.address.startswith("tls://"):
        raise ValueError(
            "The cluster is encrypted, and training in it would not be: its processes talk by "
            "tf.distribute. Use a cluster in a network that you trust, without tls."
        )
    partitions = _Partitions.of(X, y if getattr(estimator, "target_weight", 0) else None)
    goes_on = hasattr(estimator, "encoder_") and (method != "_fit" or estimator.warm_start)
    names = _sklearn_compat.feature_names(estimator, partitions.meta, reset=not goes_on)
    estimator = _to_train(estimator, goes_on)
    with _free_thread(), _Training(client, partitions.homes(client)) as training:
        shapes = training.store(partitions)
        facts = {"dtype": partitions.dtype, "has_y": partitions.y is not None}
        result = training.run([Job(estimator, method, shape, **facts) for shape in shapes])
    result.state.update(names)
    return result


def _to_train(estimator, goes_on):
    """Return a copy of the estimator for the workers.

    Unless training continues, the copy has no fitted attributes.
    """
    copied = copy(estimator)
    if not goes_on:
        copied._adopt({})
    if isinstance(estimator.random_state, np.random.RandomState):  # copies would not advance it
        copied.random_state = int(estimator.random_state.randint(np.iinfo(np.int32).max))
    return copied


def _client():
    """Return the current client, or None; in a Dask task, a client of the task's cluster."""
    with suppress(ImportError, ValueError):
        from distributed import get_client

        return get_client()
    return None


def _free_thread():
    """Return a context in which a Dask task releases its thread for other tasks.

    Outside a Dask task, the context does nothing.
    """
    from distributed import get_worker, worker_client

    with suppress(ValueError):  # not in a task
        get_worker()
        return worker_client()
    return nullcontext()


def has_client():
    """Whether there is a current Dask client, in whose cluster a collection can be fitted."""
    return _client() is not None


class _Partitions(NamedTuple):
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

    X: list
    y: list | None
    sizes: list
    n_features: int
    meta: Any
    dtype: str
    futures: list

    @classmethod
    def of(cls, X, y):
        """Return the partitions of a collection X, and of y, a collection, an array or None."""
        from distributed.client import futures_of

        X = with_whole_rows(X)
        futures = futures_of(X)
        parts = np.ravel(X.to_delayed(optimize_graph=not futures)).tolist()
        sizes = [1.0] * len(parts)
        if hasattr(X, "chunks") and not np.isnan(X.chunks[0]).any():
            sizes = list(map(float, X.chunks[0]))
        facts = (X.shape[1], X._meta, dtype_of_rows(X), futures)
        return cls(parts, _parts_of_y(y, X, parts), sizes, *facts)

    def homes(self, client):
        """Return the address of the worker that trains on each partition.

        It is a worker that holds the partition, or a part from which the partition is computed. If
        there is none, workers are assigned by the position of the partition in the collection. All
        workers then have about the same number of rows, and the same rows in the next call.

        Raises
        ------
        ValueError
            If the cluster has no worker.
        """
        # the client's heartbeat may empty client.scheduler_info(): ask the scheduler instead
        facts = client.sync(client.scheduler.identity)["workers"]
        names = {worker: fact["name"] for worker, fact in facts.items()}
        if not names:
            raise ValueError("The cluster of the current distributed.Client has no worker.")
        workers = sorted(names, key=lambda worker: (str(type(names[worker])), names[worker]))
        middles = np.cumsum(self.sizes) - np.asarray(self.sizes) / 2
        places = (middles / (sum(self.sizes) or 1) * len(workers)).astype(int)
        where = client.who_has(self.futures) if self.futures else {}
        where = {str(key): sorted(holders) for key, holders in where.items()}
        homes = []
        for part, place in zip(self.X, places, strict=True):
            holders = self._holders(part, where) if where else []
            holders = holders or [workers[min(place, len(workers) - 1)]]
            # of several holders, the worker with the fewest partitions so far
            homes.append(min(holders, key=lambda worker: (homes.count(worker), worker)))
        return homes

    @staticmethod
    def _holders(part, where):
        """Return the workers that hold a partition or, if there are none, a part of its graph."""
        from dask.core import get_dependencies

        graph = dict(part.__dask_graph__())
        upcoming, seen = [part.key], set()
        while upcoming:
            key = upcoming.pop()
            if found := where.get(str(key)):
                return found
            if key in graph and key not in seen:
                upcoming += get_dependencies(graph, key)
            seen.add(key)
        return []


def _parts_of_y(y, X, parts):
    """Return the part of y for each partition of X."""
    if y is None:
        return None
    if not is_collection(y):
        import dask.array as da

        y = da.from_array(target_array(y), chunks=len(y))
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
    of_y = np.ravel(y.to_delayed(optimize_graph=False)).tolist()
    if len(of_y) != len(parts):
        raise ValueError(
            f"X has {len(parts)} partitions, and y has {len(of_y)}: give both the same, as columns "
            "of one frame have them, or arrays whose chunk sizes are known, as they are after "
            "compute_chunk_sizes()."
        )
    return of_y


class _Training:
    """Training processes in the workers of a cluster, as a context manager.

    At exit, all processes are ended and their files are removed.

    Parameters
    ----------
    client : distributed.Client
        Client of the cluster.
    homes : list of str
        Address of the worker of each partition.
    """

    def __init__(self, client, homes):
        self.client, self.homes, self.token = client, homes, f"skae-{uuid4().hex}"
        self.workers = list(dict.fromkeys(homes))
        self.futures, self.folders = [], []

    def __enter__(self):
        try:
            self.client.subscribe_topic(TOPIC, self._print)
            self.folders = self._results([self._submit(w, _prepare) for w in self.workers])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        with suppress(Exception):  # a closed client: the error that ended training is raised
            self.client.unsubscribe_topic(TOPIC)
            self.client.cancel(self.futures)
        self._run_on_workers(_end)

    def _run_on_workers(self, function):
        """Call a function with the token in all present workers; wait `_CLEAN_UP` seconds."""

        def call():
            present = [worker for worker in self.workers if worker not in self._lost()]
            with suppress(Exception):
                self.client.run(function, self.token, workers=present, on_error="ignore")

        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        thread.join(_CLEAN_UP)  # with a timeout, because a worker may be unreachable

    def _print(self, event):
        """Print a line that a training process of this fit has printed."""
        _, (token, line) = event
        if token == self.token:
            print(line, end="", flush=True)  # noqa: T201

    def store(self, partitions):
        """Write the partitions of each worker to its file, and return the shapes of the files."""
        from dask import annotate, delayed

        shapes = dict.fromkeys(self.workers, (0, partitions.n_features))
        folders = dict(zip(self.workers, self.folders, strict=True))
        ys = partitions.y or [None] * len(partitions.X)
        for number, (block, y, home) in enumerate(zip(partitions.X, ys, self.homes, strict=True)):
            parts = (folders[home], number, block, y, partitions.dtype, shapes[home])
            with annotate(workers=[home], allow_other_workers=False):
                shapes[home] = delayed(_append, pure=False)(*parts)
        # Any worker may compute the other parts of the graph: another computation may share them,
        # and these workers may no longer exist then.
        futures = [
            self.client.compute(shape, workers=[worker], allow_other_workers=True)
            for worker, shape in shapes.items()
        ]
        self.futures += futures
        return self._results(futures)

    def run(self, jobs):
        """Start the processes and return their joint result.

        The first KeyboardInterrupt requests a stop, and the second is raised.
        """
        endpoints = self._results([self._submit(w, _free_endpoint) for w in self.workers])
        parts = zip(self.workers, self.folders, jobs, strict=True)
        futures = {
            worker: self._submit(worker, _run_process, folder, job, endpoints, index)
            for index, (worker, folder, job) in enumerate(parts)
        }
        results, lost, is_stopped, deadline = {}, [], False, np.inf
        while not futures.keys() <= {*results, *lost} and time.monotonic() < deadline:
            try:
                time.sleep(_INTERVAL)
                lost = self._lost()
                for worker, future in futures.items():
                    if worker not in results and future.status != "pending":
                        results[worker] = _result(future)
                failed = [result for result in results.values() if result.error is not None]
                if any(result.state for result in failed):
                    break
                if lost or failed:
                    deadline = min(deadline, time.monotonic() + _REPORT)
            except KeyboardInterrupt:
                if is_stopped:
                    raise
                is_stopped = True
                self._run_on_workers(_stop)
        return _joint(list(results.values()), lost)

    def _submit(self, worker, function, *arguments):
        options = {"workers": [worker], "allow_other_workers": False, "pure": False}
        future = self.client.submit(function, self.token, *arguments, **options)
        self.futures.append(future)
        return future

    def _results(self, futures):
        """Wait for futures and return their results.

        Raises
        ------
        WorkerLostError
            If a worker is lost.
        """
        while any(future.status == "pending" for future in futures):
            time.sleep(_INTERVAL / 10)
            if lost := self._lost():
                raise WorkerLostError(_lost_text(lost) + " Nothing was learnt yet.")
        return [future.result() for future in futures]

    def _lost(self):
        """Return the workers that the scheduler no longer lists; all, if it is unreachable.

        A busy worker may send no heartbeat for minutes. The scheduler has a timeout for that.
        """
        present = ()
        with suppress(OSError, AttributeError):  # the client has closed
            present = self.client.nthreads()
        return [worker for worker in self.workers if worker not in present]


def _result(future):
    """Return the result of a process, or a result with an error if Dask has lost the process."""
    if future.status == "finished":
        return future.result()
    reason = repr(future.exception()) if future.status == "error" else future.status
    return Result(None, [], WorkerLostError(f"Dask has lost a training process: {reason}."))


def _lost_text(workers):
    return f"Lost of the Dask cluster: {', '.join(map(str, workers))}."


def _joint(results, lost):
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
    raise WorkerLostError(f"{text} Nothing was learnt yet.")


# ---- the workers

# Training processes of the Dask workers in this process, by folder.
_processes = {}


def _prepare(token):
    """Create the folder of a training process, and return its path.

    The folder is removed when the client no longer holds the result of this task.
    """
    from distributed import get_worker

    worker = get_worker()
    folder = Path(worker.local_directory) / token
    folder.mkdir(mode=0o700, parents=True)
    key = worker.get_current_task()
    threading.Thread(target=_end_with_client, args=(token, key, worker), daemon=True).start()
    return str(folder)


def _end_with_client(token, key, worker):
    """End a training process when the result of a task is released, as after the client ends."""
    folder = Path(worker.local_directory) / token
    while folder.exists() and _is_kept(key, worker):
        time.sleep(_INTERVAL)
    _end(token, worker)


def _is_kept(key, worker):
    """Whether the cluster holds the result of a task, in this worker or another one."""
    from distributed.utils import sync

    if key in worker.state.tasks:
        return True
    try:
        return bool(sync(worker.loop, worker.scheduler.who_has, keys=[key])[key])
    except (OSError, RuntimeError):  # no response from the scheduler: the worker will end with it
        return True


def _free_endpoint(_):
    """Return an address (host and free port) at which a process of this worker can listen."""
    from distributed import get_worker

    host = urlsplit(get_worker().address).hostname
    family = socket.AF_INET6 if ":" in (host or "") else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind((host or "localhost", 0))
        port = listener.getsockname()[1]
    return f"[{host}]:{port}" if family == socket.AF_INET6 else f"{host}:{port}"


def _append(folder, number, block, y, dtype, shape):
    """Append a block of rows to the file, write its y, and return the new shape.

    The file is first truncated to the rows before this block, because Dask may run a task twice.
    """
    n_rows, n_features = shape
    options = {"ensure_all_finite": "allow-nan", "ensure_min_samples": 0}
    block = check_array(with_nan(block), accept_sparse="csr", **options)
    block = block.toarray() if issparse(block) else block
    if not np.can_cast(block.dtype, dtype, "same_kind"):
        raise ValueError(f"A partition is of type {block.dtype}, and X says that it is {dtype}.")
    block = block.astype(dtype, copy=False)
    if block.shape[1] != n_features:
        raise ValueError(f"A partition has {block.shape[1]} columns, another has {n_features}.")
    path = Path(folder) / ROWS
    path.touch()
    with path.open("r+b") as file:
        file.truncate(n_rows * n_features * block.itemsize)
        file.seek(0, os.SEEK_END)
        np.ascontiguousarray(block).tofile(file)
    if y is not None:
        y = target_array(y)
        if len(y) != len(block):
            raise ValueError(f"A partition of X has {len(block)} rows, and that of y {len(y)}.")
        np.save(Path(folder) / f"{TARGET}-{number:09}.npy", y)
    return n_rows + len(block), n_features


def _run_process(token, folder, job, endpoints, index):
    """Start a training process, wait for it, and return its result."""
    from distributed import get_worker, secede

    secede()  # this task only waits: release the worker's thread for other tasks
    folder, worker = Path(folder), get_worker()
    (folder / JOB).write_bytes(pickle.dumps(job))
    environ = os.environ | {"OMP_NUM_THREADS": str(worker.state.nthreads)}
    environ.pop("TF_CONFIG", None)
    if len(endpoints) > 1:
        task = {"cluster": {"worker": endpoints}, "task": {"type": "worker", "index": index}}
        environ["TF_CONFIG"] = json.dumps(task)
        environ["TF_GRPC_REUSE_PORT"] = "1"  # see `reserved`
    # -P: do not import modules from the working directory
    command = [sys.executable, "-P", "-m", "skae._dask.worker", str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environ, stderr=log, **pipes)
    _processes[folder] = process
    if not folder.exists():  # training was ended in the meantime
        _kill(folder)
    elif (folder / STOPPED).exists():
        _tell_to_stop(folder)
    try:
        for line in process.stdout:
            if index == 0:
                worker.log_event(TOPIC, (token, line.decode(errors="replace")))
        code = process.wait()
    finally:
        _kill(folder)
    if (folder / RESULT).exists():
        return pickle.loads((folder / RESULT).read_bytes())
    text = f"The training process of worker {index} ended with code {code}."
    if code > 0 and folder.exists():
        lines = (folder / "log").read_text(errors="replace").splitlines()
        text += f" It said: {' '.join(lines[-2:])}"
    return Result(None, [], WorkerLostError(text))


def _stop(token, dask_worker):
    """Request that the process of this worker stops at its next evaluation.

    If the process has not started, the request is sent when it starts.
    """
    folder = Path(dask_worker.local_directory) / token
    (folder / STOPPED).touch()
    _tell_to_stop(folder)


def _tell_to_stop(folder):
    if process := _processes.get(folder):
        with suppress(OSError):  # the process has ended
            process.stdin.write(STOP)
            process.stdin.flush()


def _kill(folder):
    if process := _processes.pop(folder, None):
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                pipe.close()


def _end(token, dask_worker):
    """Remove the folder of this worker's process, and kill the process."""
    folder = Path(dask_worker.local_directory) / token
    shutil.rmtree(folder, ignore_errors=True)
    _kill(folder)
