"""The number of threads of BLAS, which belongs to the whole process."""

import threading
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

_limiting = threading.Lock()


@contextmanager
def one_blas_thread():
    """Let BLAS use one thread, unless another thread of this process does that already.

    Contexts of `threadpool_limits` in several threads must not overlap: the second one would note
    the limit of the first as the number of threads to restore.
    """
    if not _limiting.acquire(blocking=False):
        yield
        return
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        _limiting.release()
