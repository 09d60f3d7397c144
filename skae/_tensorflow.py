"""TensorFlow as a guest of the process: imported when training starts, silent, well-behaved."""

import os
import re
import sys
import tempfile
import threading
from contextlib import contextmanager, nullcontext

# One thread at a time plays with the environment and stderr.
_IMPORT_LOCK = threading.Lock()
# The form of what TensorFlow's native code logs on stderr, severity first.
_NATIVE_LOG = re.compile(rb"[IWE]\d{4} .*|WARNING: All log messages before absl.*|To enable the .*")


@contextmanager
def _without_native_logs():
    """Drop native log lines from stderr; what else comes by is passed on at the end.

    TensorFlow's libraries log while they are loaded, before any of its switches works, straight
    to the file descriptor.
    """
    try:
        stderr = os.dup(2)
    except OSError:  # it is closed
        stderr = None
    if stderr is None:
        yield
        return
    flush = getattr(sys.stderr, "flush", lambda: None)  # without a console, sys.stderr is None
    with tempfile.TemporaryFile() as caught:
        flush()
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            caught.seek(0)
            for line in caught:
                if not _NATIVE_LOG.match(line):
                    os.write(2, line)


# Set in a child process that was forked from one that had TensorFlow.
_forked_with_tensorflow = False


def _note_fork():
    global _forked_with_tensorflow
    _forked_with_tensorflow = "tensorflow" in sys.modules


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def import_tensorflow():
    """Import TensorFlow as a guest: silent, and with the threads that this process is given.

    TensorFlow reads some environment variables once, when it is loaded and when its runtime starts.
    They are set meanwhile and removed at once: TF_CPP_MIN_LOG_LEVEL, so that it does not log on
    stderr, and TF_NUM_INTRAOP_THREADS where OMP_NUM_THREADS says how many threads to use, as
    in the workers of joblib and Dask. Nothing is changed where the user imported TensorFlow first
    or has set them. What TensorFlow and Keras set for themselves when they are loaded stays.

    Raises
    ------
    RuntimeError
        In a process that was forked from one that had imported TensorFlow: its threads are gone
        here, and it would hang.
    """
    if _forked_with_tensorflow:
        raise RuntimeError(
            "This process was forked from one that had imported TensorFlow, which cannot train "
            "here. Start workers with 'spawn' or joblib's 'loky' backend, or import TensorFlow "
            "and fit in the workers alone. transform works in a forked process."
        )
    if "tensorflow" in sys.modules:
        import tensorflow

        return tensorflow
    variables = {"TF_CPP_MIN_LOG_LEVEL": "3"}
    if os.environ.get("OMP_NUM_THREADS", "").isdigit():
        variables["TF_NUM_INTRAOP_THREADS"] = os.environ["OMP_NUM_THREADS"]
    with _IMPORT_LOCK:
        ours = {name: value for name, value in variables.items() if name not in os.environ}
        logs_are_wanted = "TF_CPP_MIN_LOG_LEVEL" not in ours
        os.environ.update(ours)
        try:
            with nullcontext() if logs_are_wanted else _without_native_logs():
                import tensorflow

                tensorflow.config.list_logical_devices()  # starts the runtime
        finally:
            for name in ours:
                del os.environ[name]
    return tensorflow
