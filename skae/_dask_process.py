"""The process that trains for a worker of a Dask cluster: `python -m skae._dask_process FOLDER`.

It ends with its worker, which holds the other end of its standard input, and stops at the next
evaluation when it is told so there.
"""

import os
import pickle
import sys
import threading
import warnings
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import sklearn

from ._dask import JOB, RESULT, ROWS, STOP, TARGET, Result
from ._table import Shard
from ._tensorflow import import_tensorflow


def main(folder):
    """Do the job in a folder, and leave the result there."""
    job, stop = pickle.loads((folder / JOB).read_bytes()), threading.Event()
    threading.Thread(target=_listen, args=(stop,), daemon=True).start()
    sklearn.set_config(working_memory=0)  # rows stay in the file, also where there is one process
    stopped = []  # what it was told at the evaluations

    def asks_to_stop():
        stopped.append(stop.is_set())
        return stopped[-1]

    estimator, params = job.estimator, job.estimator.get_params(deep=False)
    before = getattr(estimator, "encoder_", None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        error = _train(job, folder, asks_to_stop)
    state = {name: value for name, value in vars(estimator).items() if name not in params}
    is_new = getattr(estimator, "encoder_", None) is not before
    not_for_users = (DeprecationWarning, FutureWarning)
    warned = [(str(w.message), w.category) for w in caught]
    warned = [pair for pair in warned if not issubclass(pair[1], not_for_users)]
    result = Result(state if is_new else None, warned, error, any(stopped))
    path = folder / RESULT
    path.with_suffix(".part").write_bytes(pickle.dumps(result))
    path.with_suffix(".part").rename(path)


def _listen(stop):
    """Set the event when the worker asks for it; end with the worker."""
    for line in sys.stdin.buffer:
        if line == STOP:
            stop.set()
    os._exit(1)


def _train(job, folder, asks_to_stop):
    """Call the estimator's method on the rows; return what it raises."""
    rows, y, scope = np.empty(job.shape, job.dtype), None, nullcontext()
    try:
        tf = import_tensorflow()
        if job.shape[0]:
            rows = np.memmap(folder / ROWS, job.dtype, "r", shape=job.shape)
        if job.has_y:  # labels may be objects; the worker wrote the files
            paths = sorted(folder.glob(f"{TARGET}-*.npy"))
            parts = [np.load(path, allow_pickle=True) for path in paths]
            y = np.concatenate([part for part in parts if len(part)] or parts[:1])
        if "TF_CONFIG" in os.environ:
            scope = tf.distribute.MultiWorkerMirroredStrategy().scope()
        with scope:
            getattr(job.estimator, job.method)(Shard(rows), y, asks_to_stop)
    except (Exception, KeyboardInterrupt) as error:  # the latter if it has nothing to keep yet
        return error
    return None


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    sys.stdout.flush()
    os._exit(0)  # without waiting for the others, or for threads of TensorFlow's
