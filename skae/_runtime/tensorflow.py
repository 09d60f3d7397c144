"""Lazy import of TensorFlow."""

import os
import sys
import threading
from contextlib import suppress
from typing import Any

_IMPORT_LOCK = threading.Lock()
_MISSING = (
    "fit, partial_fit and to_keras need TensorFlow. Install it: pip install tensorflow. "
    "The other methods of a fitted estimator do not need it."
)
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
    in their workers. On a GPU, memory is allocated as it is needed, so that several processes can
    share the GPU. Other settings and output of TensorFlow and Keras at import are not changed. No
    other function imports TensorFlow.

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
    ImportError
        If TensorFlow is not installed.
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
        try:
            import tensorflow
        except ModuleNotFoundError as error:
            if error.name != "tensorflow":
                raise
            raise ImportError(_MISSING) from error
        if is_first:
            # errors if another thread has imported, configured and started TensorFlow meanwhile
            with suppress(RuntimeError, ValueError):
                _configure(tensorflow.config, n_threads)
    if eagerly and not tensorflow.executing_eagerly():
        raise RuntimeError(
            "fit and partial_fit need TensorFlow's eager mode. Call them outside of "
            "tf.Graph().as_default() and tf.function, and do not disable eager execution."
        )
    return tensorflow


def _configure(config: Any, n_threads: str) -> None:
    """Set the number of threads, and turn memory growth on for each GPU.

    By default, TensorFlow reserves nearly all memory of each GPU for the first process. The
    environment variable TF_FORCE_GPU_ALLOW_GROWTH takes precedence. Nothing is initialised, so the
    settings can still be changed after this call.
    """
    if n_threads.isdigit():
        config.threading.set_intra_op_parallelism_threads(int(n_threads))
    if "TF_FORCE_GPU_ALLOW_GROWTH" not in os.environ:
        for gpu in config.list_physical_devices("GPU"):
            config.experimental.set_memory_growth(gpu, True)
