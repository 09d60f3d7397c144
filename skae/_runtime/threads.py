"""Functions that run in a thread, and the limit of BLAS threads."""

import sys
import threading
import time
from _thread import allocate_lock, start_new_thread
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

_Item = TypeVar("_Item")
_limiting = threading.Lock()


class _Call:
    """Call of a function in a new thread.

    Executors and `Thread` hold locks in Python code. A KeyboardInterrupt in that code could leave a
    lock held.
    """

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._outcome: tuple[Any, BaseException | None] | None = None
        self._is_running = allocate_lock()
        self._is_running.acquire()
        start_new_thread(self._run, (function, arguments))

    def _run(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        try:
            self._outcome = function(*arguments), None
        except BaseException as error:
            self._outcome = None, error
        self._is_running.release()

    def wait(self) -> None:
        """Wait for the end, also after a KeyboardInterrupt.

        Otherwise the process could end before the thread, and the thread could crash it.
        """
        # other threads do not run any more while the interpreter is finalised
        if self._outcome is not None or sys.is_finalizing():
            return
        try:
            with self._is_running:
                return
        except KeyboardInterrupt:
            while self._outcome is None:
                time.sleep(0.001)
            raise

    def result(self) -> Any:
        """Wait for the end, and return the result or raise the error of the function."""
        self.wait()
        assert self._outcome is not None
        (result, error), self._outcome = self._outcome, (None, None)
        if error is None:
            return result
        try:
            raise error
        finally:
            del error  # otherwise the error and this frame would be a reference cycle


def in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a thread, so that KeyboardInterrupt is not raised within TensorFlow code.

    TensorFlow would lose the interrupt, raise another error or crash. Python raises
    KeyboardInterrupt in the main thread only.
    """
    return _Call(function, *arguments).result()


def prefetch(iterator: Iterator[_Item]) -> Iterator[_Item]:
    """Yield the items of `iterator`, and compute the next item in a thread meanwhile."""
    upcoming = _Call(next, iterator, None)
    try:
        while (item := upcoming.result()) is not None:
            upcoming = _Call(next, iterator, None)
            yield item
    finally:
        upcoming.wait()


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
