"""Limit of the number of BLAS threads, which is a setting of the whole process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

_limiting = threading.Lock()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread, unless another thread of this process has set the limit.

    Contexts of `threadpool_limits` in several threads must not overlap: the second context
    would save the limit of the first as the number of threads to restore.
    """
    if not _limiting.acquire(blocking=False):
        yield
        return
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        _limiting.release()
