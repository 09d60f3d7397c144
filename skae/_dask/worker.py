"""The process that trains for a worker of a Dask cluster: `python -m skae._dask.worker FOLDER`.

It ends with its worker, which holds the other end of its standard input, and stops at the next
evaluation when it is told so there.
"""

import json
import os
import pickle
import socket
import sys
import threading
import warnings
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain
from pathlib import Path

import numpy as np
import sklearn

from .._data.table import Shard
from .._runtime.tensorflow import import_tensorflow
from .client import JOB, RESULT, ROWS, STOP, TARGET, Result


def main(folder):
    """Do the job in a folder, and leave the result there."""
    job, stop = pickle.loads((folder / JOB).read_bytes()), threading.Event()
    threading.Thread(target=_listen, args=(stop,), daemon=True).start()
    sklearn.set_config(working_memory=0)  # rows stay in the file, also where there is one process
    stopped = []  # what it was told at the evaluations

    def should_stop():
        stopped.append(stop.is_set())
        return stopped[-1]

    estimator, params = job.estimator, job.estimator.get_params(deep=False)
    before = getattr(estimator, "encoder_", None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        error = _train(job, folder, should_stop)
    state = {name: value for name, value in vars(estimator).items() if name not in params}
    is_new = getattr(estimator, "encoder_", None) is not before
    not_for_users = (DeprecationWarning, FutureWarning)
    warned = [(str(w.message), w.category) for w in caught]
    warned = [pair for pair in warned if not issubclass(pair[1], not_for_users)]
    # without an error the state is that before where the rows of a stream taught nothing
    result = Result(state if is_new or error is None else None, warned, error, any(stopped))
    path = folder / RESULT
    path.with_suffix(".part").write_bytes(pickle.dumps(result))
    path.with_suffix(".part").rename(path)


def _listen(stop):
    """Set the event when the worker asks for it; end with the worker."""
    for line in sys.stdin.buffer:
        if line == STOP:
            stop.set()
    os._exit(1)


@contextmanager
def reserved(endpoint):
    """Listen on a port at all addresses of this machine except for that of an endpoint.

    TensorFlow's server listens at all addresses, and lets anybody in. A connection to one of the
    others reaches the socket that listens there alone, and is not accepted. Where processes cannot
    share a port, as on Windows, this does nothing.

    Parameters
    ----------
    endpoint : str
        Host and port.

    Raises
    ------
    OSError
        If another program has got the port meanwhile, which it would share from now on.
    """
    import psutil  # comes with distributed

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
            with suppress(OSError):  # the address is not in use, or gone
                listener.bind(socket.getaddrinfo(one.address, port, one.family)[0][4])
                listener.listen(1)
        yield


@contextmanager
def _scope(tf):
    """Enter the scope of the strategy of TF_CONFIG, if there is one."""
    if "TF_CONFIG" not in os.environ:
        yield
        return
    config = json.loads(os.environ["TF_CONFIG"])
    endpoint = config["cluster"]["worker"][config["task"]["index"]]
    with reserved(endpoint), tf.distribute.MultiWorkerMirroredStrategy().scope():
        yield


def _train(job, folder, should_stop):
    """Call the estimator's method on the rows; return what it raises."""
    rows, y = np.empty(job.shape, job.dtype), None
    try:
        tf = import_tensorflow()
        if job.shape[0]:
            rows = np.memmap(folder / ROWS, job.dtype, "r", shape=job.shape)
        if job.has_y:  # labels may be objects; the worker wrote the files
            paths = sorted(folder.glob(f"{TARGET}-*.npy"))
            parts = [np.load(path, allow_pickle=True) for path in paths]
            y = np.concatenate([part for part in parts if len(part)] or parts[:1])
        with _scope(tf):
            getattr(job.estimator, job.method)(Shard(rows), y, should_stop)
    except (Exception, KeyboardInterrupt) as error:  # the latter if it has nothing to keep yet
        return error
    return None


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    sys.stdout.flush()
    os._exit(0)  # without waiting for the others, or for threads of TensorFlow's
