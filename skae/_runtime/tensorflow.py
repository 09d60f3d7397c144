"""TensorFlow as a guest of the process: imported when training starts."""

import os
import sys
import threading

_IMPORT_LOCK = threading.Lock()
# Set in a child process that was forked from one that had TensorFlow.
_forked_with_tensorflow = False


def _note_fork():
    global _forked_with_tensorflow
    _forked_with_tensorflow = "tensorflow" in sys.modules


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def import_tensorflow(*, eagerly=True):
    """Import TensorFlow, with few words and with the threads that this process is given.

    Nothing is changed where the user imported TensorFlow first. Otherwise TF_CPP_MIN_LOG_LEVEL is
    set to 3 where it is unset, because TensorFlow's libraries log to stderr; and TensorFlow gets as
    many threads as OMP_NUM_THREADS says, as in the workers of joblib and Dask. What TensorFlow and
    Keras set or print when they are loaded is theirs. No other function imports TensorFlow.

    Parameters
    ----------
    eagerly : bool, default=True
        Whether the caller computes eagerly. What is called inside of a compiled function does not.

    Returns
    -------
    tensorflow : module

    Raises
    ------
    RuntimeError
        In a process that was forked from one that had imported TensorFlow: its threads are gone
        here, and it would hang. Inside of a graph or a tf.function, if called eagerly.
    """
    if _forked_with_tensorflow:
        raise RuntimeError(
            "This process was forked from one that had imported TensorFlow, which cannot train "
            "here. Start workers with 'spawn' or joblib's 'loky' backend, or import TensorFlow "
            "and fit in the workers alone. transform works in a forked process."
        )
    with _IMPORT_LOCK:
        is_first, n_threads = "tensorflow" not in sys.modules, os.environ.get("OMP_NUM_THREADS", "")
        if is_first:
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import tensorflow

        if is_first and n_threads.isdigit():
            tensorflow.config.threading.set_intra_op_parallelism_threads(int(n_threads))
    if eagerly and not tensorflow.executing_eagerly():
        raise RuntimeError(
            "fit and partial_fit need TensorFlow's eager mode. Call them outside of "
            "tf.Graph().as_default() and tf.function, and do not disable eager execution."
        )
    return tensorflow
