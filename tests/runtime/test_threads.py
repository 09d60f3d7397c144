"""Items are computed ahead in a thread, and the number of BLAS threads is restored after fits."""

import gc
import os
import subprocess
import sys
import threading
import time
import weakref

import pytest

from skae._runtime.threads import in_thread, prefetch

OVERLAP = """
import sys, threading
import numpy, scipy.linalg
from threadpoolctl import threadpool_info
from skae._runtime.threads import one_blas_thread

def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

def enter(i):
    with one_blas_thread():
        entered[i].set()
        leave[i].wait(60)

before = blas_threads()
with one_blas_thread():
    limited = blas_threads()
entered, leave = ([threading.Event(), threading.Event()] for _ in range(2))
threads = [threading.Thread(target=enter, args=(i,)) for i in range(2)]
for thread, event in zip(threads, entered):
    thread.start()
    assert event.wait(60)
first = int(sys.argv[1])
for i in (first, 1 - first):
    leave[i].set()
    threads[i].join(60)
print(before, limited, blas_threads(), sep="|")
"""


@pytest.mark.slow
@pytest.mark.parametrize("first_to_leave", [0, 1])
def test_contexts_that_overlap_restore_the_number_of_threads(first_to_leave):
    output = subprocess.run(
        [sys.executable, "-c", OVERLAP, str(first_to_leave)],
        env=os.environ | {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"},
        check=True,
        capture_output=True,
        text=True,
    )
    before, limited, after = map(eval, output.stdout.split("|"))
    if not before or set(before) == {1}:
        pytest.skip("BLAS has one thread here")
    assert set(limited) == {1}
    assert after == before


def test_the_next_item_is_computed_while_one_is_used():
    started = [threading.Event() for _ in range(4)]

    def items():
        for i, event in enumerate(started):
            event.set()
            yield i

    for i in prefetch(items()):
        assert all(event.wait(60) for event in started[: i + 2])


def test_prefetch_keeps_the_order_and_stays_one_ahead():
    made = []

    def numbers():
        for i in range(10):
            made.append(i)
            yield i

    seen = []
    for number in prefetch(numbers()):
        seen.append(number)
        assert len(made) <= number + 2
    assert seen == list(range(10))


def test_prefetch_of_an_empty_iterator_is_empty():
    assert list(prefetch(iter([]))) == []


def test_prefetch_raises_errors_of_the_iterator():
    def broken():
        yield 1
        raise OSError("cannot read rows 256 to 511")

    stream = prefetch(broken())
    assert next(stream) == 1
    with pytest.raises(OSError, match="rows 256"):
        next(stream)


def test_a_stream_that_is_closed_waits_for_the_item_that_is_computed():
    closing, ends = threading.Event(), []

    def items():
        yield 1
        assert closing.wait(60)
        time.sleep(0.1)
        ends.append(2)
        yield 2

    stream = prefetch(items())
    assert next(stream) == 1
    closing.set()
    stream.close()
    assert ends == [2]


def test_a_thread_raises_the_error_of_its_function():
    assert in_thread(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        in_thread(divmod, 7, 0)


AT_EXIT = """
import time
from skae._runtime.threads import prefetch

def items():
    yield 1
    time.sleep(1)
    yield 2

stream = prefetch(items())
next(stream)
raise ValueError("an error while the next item is computed")
"""


@pytest.mark.slow
def test_a_process_ends_while_an_item_is_computed():
    ended = subprocess.run(
        [sys.executable, "-c", AT_EXIT], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert "an error while the next item" in ended.stderr


def test_the_error_of_a_thread_is_not_in_a_reference_cycle():
    class Argument:
        pass

    argument = Argument()
    reference = weakref.ref(argument)
    gc.disable()
    try:
        with pytest.raises(AttributeError, match="missing"):
            in_thread(getattr, argument, "missing")
        del argument
        assert reference() is None
    finally:
        gc.enable()
