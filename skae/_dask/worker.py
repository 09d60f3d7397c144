"""Training process of a Dask worker: `python -m skae._dask.worker FOLDER`.

The process reads its standard input, which the Dask worker writes to. On a stop request, training
stops at the next evaluation. If the input is closed because the worker has ended, the process ends.
"""

import json
import os
import pickle
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import sklearn

from .._data.table import Shard
from .._runtime.tensorflow import import_tensorflow
from .job import JOB, RESULT, ROWS, STOP, TARGET, Job, Result


def main(folder: Path) -> None:
    """Run the job in a folder, and write the result to this folder."""
    job: Job = pickle.loads((folder / JOB).read_bytes())
    stop = threading.Event()
    threading.Thread(target=_listen, args=(stop,), daemon=True).start()
    sklearn.set_config(working_memory=0)  # keep rows in the file, even in a single process
    stopped: list[bool] = []  # one flag for each evaluation

    def should_stop() -> bool:
        stopped.append(stop.is_set())
        return stopped[-1]

    estimator = job.estimator
    before = getattr(estimator, "encoder_", None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        error = _train(job, folder, should_stop)
    state = {name: value for name, value in vars(estimator).items() if name.endswith("_")}
    is_new = getattr(estimator, "encoder_", None) is not before
    not_for_users = (DeprecationWarning, FutureWarning)
    warned = [(str(w.message), w.category) for w in caught]
    warned = [pair for pair in warned if not issubclass(pair[1], not_for_users)]
    # without an error, an unchanged state is valid too: partial_fit may not change the network
    result = Result(
        state=state if is_new or error is None else None,
        warned=warned,
        error=error,
        is_stopped=any(stopped),
    )
    path = folder / RESULT
    path.with_suffix(".part").write_bytes(pickle.dumps(result))
    path.with_suffix(".part").rename(path)


def _listen(stop: threading.Event) -> None:
    """Set the event at a stop request, and end this process when the worker ends."""
    for line in sys.stdin.buffer:
        if line == STOP:
            stop.set()
    os._exit(1)


@contextmanager
def reserved(endpoint: str) -> Iterator[None]:
    """Reserve the port of an endpoint at all other addresses of this machine.

    TensorFlow's server listens at all addresses, without authentication. Connections to the other
    addresses reach the sockets of this function, which do not accept them. If processes cannot
    share a port, as on Windows, this function does nothing.

    Parameters
    ----------
    endpoint : str
        Host and port.

    Raises
    ------
    OSError
        If another program has taken the port: it would share the port with TensorFlow.
    """
    import psutil  # type: ignore[import-untyped]  # comes with distributed, has no types

    host, _, port = endpoint.rpartition(":")
    with socket.socket() as alone:
        alone.bind(("", int(port)))
    kept = {info[4][0] for info in socket.getaddrinfo(host.strip("[]"), port)}
    cards = psutil.net_if_addrs() if hasattr(socket, "SO_REUSEPORT") else {}
    with ExitStack() as stack:
        for one in chain.from_iterable(cards.values()):
            if one.family not in (socket.AF_INET, socket.AF_INET6) or one.address in kept:
                continue
            listener = stack.enter_context(socket.socket(one.family))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            with suppress(OSError):  # the address is not available
                listener.bind(socket.getaddrinfo(one.address, port, one.family)[0][4])
                listener.listen(1)
        yield


@contextmanager
def _scope(tf: Any) -> Iterator[None]:
    """Enter the scope of a strategy for the workers in TF_CONFIG, if this variable is set."""
    if "TF_CONFIG" not in os.environ:
        yield
        return
    config = json.loads(os.environ["TF_CONFIG"])
    endpoint = config["cluster"]["worker"][config["task"]["index"]]
    with reserved(endpoint), tf.distribute.MultiWorkerMirroredStrategy().scope():
        yield


def _train(job: Job, folder: Path, should_stop: Callable[[], bool]) -> BaseException | None:
    """Call the method of the estimator with the rows, and return its exception or None."""
    rows, y = np.empty(job.shape, job.dtype), None
    try:
        tf = import_tensorflow()
        if job.shape[0]:
            rows = np.memmap(folder / ROWS, job.dtype, "r", shape=job.shape)
        if job.has_y:  # pickled labels are safe: the worker wrote the files
            paths = sorted(folder.glob(f"{TARGET}-*.npy"))
            parts = [np.load(path, allow_pickle=True) for path in paths]
            y = np.concatenate([part for part in parts if len(part)] or parts[:1])
        with _scope(tf):
            getattr(job.estimator, job.method)(Shard(rows), y, should_stop)
    except (Exception, KeyboardInterrupt) as error:  # an interrupt if there is no state yet
        return error
    return None


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    sys.stdout.flush()
    os._exit(0)  # do not wait for other workers, or for TensorFlow's threads
