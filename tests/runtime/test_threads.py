"""The number of BLAS threads is restored after fits that run at the same time."""

import os
import subprocess
import sys

import pytest

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
