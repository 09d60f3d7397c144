"""Lazy import of TensorFlow."""

import os
import sys
import threading
from typing import Any

_IMPORT_LOCK = threading.Lock()
# True in a process that was forked from a process that had imported TensorFlow.
_forked_with_tensorflow = False


def _note_fork() -> None:
    global _forked_with_tensorflow
    _forked_with_tensorflow = "tensorflow" in sys.modules


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def import_tensorflow(*, eagerly: bool = True) -> Any:
    """Import TensorFlow with little log output and a limited number of threads.

    If the user has imported TensorFlow before, no setting is changed. Otherwise
    TF_CPP_MIN_LOG_LEVEL is set to 3 if it is unset, because TensorFlow's libraries log to stderr.
    The number of threads within an operation is set to OMP_NUM_THREADS, which joblib and Dask set
    in their workers. Other settings and output of TensorFlow and Keras at import are not changed.
    No other function imports TensorFlow.

    Parameters
    ----------
    eagerly : bool, default=True
        Whether eager execution is required. Pass False in code that runs inside a compiled
        function.

    Returns
    -------
    tensorflow : module
        The TensorFlow module.

    Raises
    ------
    RuntimeError
        If this process was forked from a process that had imported TensorFlow: TensorFlow's threads
        do not exist here, and it would hang. If `eagerly` is True and the caller is inside a graph
        or a tf.function.
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
