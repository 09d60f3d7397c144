"""Dask: a collection is fitted where its partitions lie.

Each worker of the cluster appends its partitions to a file in its local directory, and starts a
process that reads them as a memmap and trains on them, as its `Shard`, under a
MultiWorkerMirroredStrategy. Rows never pass through the client or the scheduler. What the client
gets back is the fitted state.
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

# The client looks after the workers at this interval, in seconds, and the workers after the client.
_INTERVAL = 0.5
# When one is lost, the others have so many seconds to report what was learnt, for TensorFlow may
# need eight to notice; and cleaning up is waited for so long.
_REPORT, _CLEAN_UP = 8.0, 1.5
# What the process finds and leaves in the folder of its job.
JOB, ROWS, TARGET, RESULT, STOPPED = "job", "rows", "y", "result", "stopped"
STOP = b"stop\n"
# Of the events that tell the client what a process prints.
TOPIC = "skae"


class Job(NamedTuple):
    """What a training process is to do.

    Attributes
    ----------
    estimator : estimator
        Not fitted, unless it is to go on.
    method : str
        The name of the method to call with rows and y.
    shape, dtype : tuple of int and str
        Of the rows in the file.
    has_y : bool
        Whether there is a y.
    """

    estimator: Any
    method: str
    shape: tuple
    dtype: str
    has_y: bool


class Result(NamedTuple):
    """What a training process has come to.

    Attributes
    ----------
    state : dict or None
        Fitted attributes, if there are any.
    warned : list of (str, type)
        Warnings, with their categories.
    error : Exception or None
        What the method raised.
    is_stopped : bool
        Whether training ended because it was asked to.
    """

    state: dict | None
    warned: list
    error: Exception | None
    is_stopped: bool = False


# ---- the client


def trained(estimator, method, X, y):
    """Train an estimator in the workers of the current client.

    Parameters
    ----------
    estimator : estimator
        Stays as it is.
    method : str
        The name of its method to call with a `Shard` and y.
    X : Dask array or data frame
        The rows.
    y : Dask collection, array or None
        What belongs to them.

    Returns
    -------
    result : Result
        Of a fitted estimator. With a `WorkerLostError` where a worker was lost.
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
    """Return the estimator for the workers, without what an earlier fit has left."""
    copied = copy(estimator)
    if not goes_on:
        copied._adopt({})
    if isinstance(estimator.random_state, np.random.RandomState):  # which copies would not advance
        copied.random_state = int(estimator.random_state.randint(np.iinfo(np.int32).max))
    return copied


def _client():
    """Return the current client, in a task that of its cluster, or None."""
    with suppress(ImportError, ValueError):
        from distributed import get_client

        return get_client()
    return None


def _free_thread():
    """Return a context in which the thread of a Dask task, if this is one, is for other tasks."""
    from distributed import get_worker, worker_client

    with suppress(ValueError):  # not in a task
        get_worker()
        return worker_client()
    return nullcontext()


def has_client():
    """Whether there is a client in whose cluster a collection can be fitted."""
    return _client() is not None


class _Partitions(NamedTuple):
    """The partitions of a collection.

    Attributes
    ----------
    X, y : list of Delayed, or None
        Blocks of rows, and what belongs to them.
    sizes : list of float
        Number of rows of each; all the same where they are not known.
    n_features : int
        Number of columns.
    meta : object
        An empty block.
    dtype : str
        What their rows are stored as.
    futures : list of Future
        Of what of the collection lies in the cluster already.
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
        """Return those of a table, and of a y that is a collection too, or an array."""
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
        """Return the address of the worker that is to train on each partition.

        Where it lies, or what it is made of; or else by its place in the table, so that each worker
        gets about as many rows and the same ones again.
        """
        # client.scheduler_info would say what the client's heartbeat has heard meanwhile: no worker
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
            # of several, who has got least
            holders = holders or [workers[min(place, len(workers) - 1)]]
            homes.append(min(holders, key=lambda worker: (homes.count(worker), worker)))
        return homes

    @staticmethod
    def _holders(part, where):
        """Return the workers that have a partition, or the first thing that it is made of."""
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
    """Return the part of y that belongs to each partition of X."""
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
    """The processes that train in the workers of a cluster; all are gone when it is left.

    Parameters
    ----------
    client : distributed.Client
        Of the cluster.
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
        with suppress(Exception):  # a client that has closed is told by what ended the training
            self.client.unsubscribe_topic(TOPIC)
            self.client.cancel(self.futures)
        self._run_on_workers(_end)

    def _run_on_workers(self, function):
        """Call a function of the token in all workers that are there, and wait for them shortly."""

        def call():
            present = [worker for worker in self.workers if worker not in self._lost()]
            with suppress(Exception):
                self.client.run(function, self.token, workers=present, on_error="ignore")

        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        thread.join(_CLEAN_UP)  # one that cannot be reached would be waited for

    def _print(self, event):
        """Print what a training process of this fit has printed."""
        _, (token, line) = event
        if token == self.token:
            print(line, end="", flush=True)  # noqa: T201

    def store(self, partitions):
        """Let each worker write its partitions to a file; return the shapes of the files."""
        from dask import annotate, delayed

        shapes = dict.fromkeys(self.workers, (0, partitions.n_features))
        folders = dict(zip(self.workers, self.folders, strict=True))
        ys = partitions.y or [None] * len(partitions.X)
        for number, (block, y, home) in enumerate(zip(partitions.X, ys, self.homes, strict=True)):
            parts = (folders[home], number, block, y, partitions.dtype, shapes[home])
            with annotate(workers=[home], allow_other_workers=False):
                shapes[home] = delayed(_append, pure=False)(*parts)
        # the rest not strictly, for others may compute the same, and these workers may be gone then
        futures = [
            self.client.compute(shape, workers=[worker], allow_other_workers=True)
            for worker, shape in shapes.items()
        ]
        self.futures += futures
        return self._results(futures)

    def run(self, jobs):
        """Start the processes and return what they come to; an interrupt lets them stop."""
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
        """Wait for some futures.

        Raises
        ------
        WorkerLostError
            If one of the workers is lost.
        """
        while any(future.status == "pending" for future in futures):
            time.sleep(_INTERVAL / 10)
            if lost := self._lost():
                raise WorkerLostError(_lost_text(lost) + " Nothing was learnt yet.")
        return [future.result() for future in futures]

    def _lost(self):
        """Return the workers that the scheduler does not count any more, all if it is gone itself.

        A worker that is busy may not be heard of for minutes: the scheduler knows how long to wait.
        """
        present = ()
        with suppress(OSError, AttributeError):  # the client has closed
            present = self.client.nthreads()
        return [worker for worker in self.workers if worker not in present]


def _result(future):
    """Return the result of a process; of one that Dask has lost, its error."""
    if future.status == "finished":
        return future.result()
    reason = repr(future.exception()) if future.status == "error" else future.status
    return Result(None, [], WorkerLostError(f"Dask has lost a training process: {reason}."))


def _lost_text(workers):
    return f"Lost of the Dask cluster: {', '.join(map(str, workers))}."


def _joint(results, lost):
    """Return one result for those of all processes: a fitted state, with an error if one was lost.

    Raises
    ------
    WorkerLostError
        If there is no state.
    Exception
        What the method raised, if there is none.
    """
    # the same of all that came to an end; else of one that has lost another
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

# Processes of the workers of this process, by folder.
_processes = {}


def _prepare(token):
    """Make the folder of a training, and return it.

    It stays as long as the client keeps what this task returns.
    """
    from distributed import get_worker

    worker = get_worker()
    folder = Path(worker.local_directory) / token
    folder.mkdir(mode=0o700, parents=True)
    key = worker.get_current_task()
    threading.Thread(target=_end_with_client, args=(token, key, worker), daemon=True).start()
    return str(folder)


def _end_with_client(token, key, worker):
    """End a training when nobody keeps the result of a task, as when its client is gone."""
    folder = Path(worker.local_directory) / token
    while folder.exists() and _is_kept(key, worker):
        time.sleep(_INTERVAL)
    _end(token, worker)


def _is_kept(key, worker):
    """Whether the cluster keeps the result of a task of this worker, here or elsewhere."""
    from distributed.utils import sync

    if key in worker.state.tasks:
        return True
    try:
        return bool(sync(worker.loop, worker.scheduler.who_has, keys=[key])[key])
    except (OSError, RuntimeError):  # the scheduler does not answer; the worker will end with it
        return True


def _free_endpoint(_):
    """Return an address at which a process of this worker can listen."""
    from distributed import get_worker

    host = urlsplit(get_worker().address).hostname
    family = socket.AF_INET6 if ":" in (host or "") else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind((host or "localhost", 0))
        port = listener.getsockname()[1]
    return f"[{host}]:{port}" if family == socket.AF_INET6 else f"{host}:{port}"


def _append(folder, number, block, y, dtype, shape):
    """Write a block of rows behind those that are there, and its y; return the new shape.

    At its place, for a task may be made twice.
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
    """Train in a process of its own, and return its result."""
    from distributed import get_worker, secede

    secede()  # the worker's threads are for others: this one waits
    folder, worker = Path(folder), get_worker()
    (folder / JOB).write_bytes(pickle.dumps(job))
    environ = os.environ | {"OMP_NUM_THREADS": str(worker.state.nthreads)}
    environ.pop("TF_CONFIG", None)
    if len(endpoints) > 1:
        task = {"cluster": {"worker": endpoints}, "task": {"type": "worker", "index": index}}
        environ["TF_CONFIG"] = json.dumps(task)
        environ["TF_GRPC_REUSE_PORT"] = "1"  # see `reserved`
    # -P: modules are not looked for in the working directory
    command = [sys.executable, "-P", "-m", "skae._dask.worker", str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environ, stderr=log, **pipes)
    _processes[folder] = process
    if not folder.exists():  # the training was ended meanwhile
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
    """Ask the process of this worker to stop at its next evaluation, now or when it has started."""
    folder = Path(dask_worker.local_directory) / token
    (folder / STOPPED).touch()
    _tell_to_stop(folder)


def _tell_to_stop(folder):
    if process := _processes.get(folder):
        with suppress(OSError):  # it has ended
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
    """Kill the process of this worker, and remove its folder."""
    folder = Path(dask_worker.local_directory) / token
    shutil.rmtree(folder, ignore_errors=True)
    _kill(folder)
