"""TensorFlow as a guest of the process."""

import os
import subprocess
import sys
from importlib.metadata import version

import pytest


def run(program, **environment):
    """Run a program in a process of its own; variables that are None are unset."""
    environment = {k: v for k, v in (os.environ | environment).items() if v is not None}
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )


ENVIRONMENT = """
import os, sys
before = dict(os.environ)
from skae._tensorflow import import_tensorflow
assert "tensorflow" not in sys.modules
tf = import_tensorflow()
tf.function(lambda x: x @ x, jit_compile=True)(tf.eye(3))
# what TensorFlow and Keras set for themselves stays
assert dict(os.environ) | before == dict(os.environ)
assert "TF_NUM_INTRAOP_THREADS" not in os.environ
print(os.environ["TF_CPP_MIN_LOG_LEVEL"])
"""


@pytest.mark.slow
@pytest.mark.parametrize(("level", "expected"), [(None, "3"), ("1", "1")])
def test_the_log_level_is_set_where_it_is_unset_and_nothing_else(level, expected):
    result = run(ENVIRONMENT, TF_CPP_MIN_LOG_LEVEL=level, OMP_NUM_THREADS="1")
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{expected}\n"


STDERR = """
import os, sys
before = os.fstat(2)
class Watched:
    def find_spec(self, name, path, target=None):
        if name == "tensorflow":
            same = os.path.samestat(os.fstat(2), before)
            print("the same stderr" if same else "another stderr", flush=True)
sys.meta_path.insert(0, Watched())
from skae._tensorflow import import_tensorflow
import_tensorflow()
"""


@pytest.mark.slow
def test_file_descriptors_are_left_alone():
    assert run(STDERR).stdout == "the same stderr\n"


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["sys.stderr = None; os.close(2)", "sys.stderr = object()"])
def test_a_process_without_stderr_can_fit(closed):
    program = f"import os, sys; {closed}\nfrom skae._tensorflow import import_tensorflow\n"
    program += "print(import_tensorflow().constant(1).numpy())"
    assert run(program).stdout == "1\n"


THREADS = """
import contextlib, glob
import numpy as np
from skae import AutoencoderTransformer
AutoencoderTransformer(2, max_steps=1).fit(np.random.default_rng(0).normal(size=(50, 3)))
names = []
for path in glob.glob("/proc/self/task/*/comm"):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that just ended
        names.append(open(path).read())
print(sum("XLAEigen" in name for name in names))
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="threads are counted in /proc")
@pytest.mark.skipif(
    tuple(map(int, version("tensorflow").split(".")[:2])) < (2, 21),
    reason="before TensorFlow 2.21 the threads have no names of their own",
)
@pytest.mark.parametrize("n_threads", [1, 3])
def test_training_uses_the_threads_that_the_process_is_given(n_threads):
    result = run(THREADS, OMP_NUM_THREADS=str(n_threads))
    assert result.stdout == f"{n_threads}\n", result.stderr


RUNNING = """
import tensorflow as tf
tf.constant(1)  # starts the runtime
before = tf.config.threading.get_intra_op_parallelism_threads()
import numpy as np
from skae import AutoencoderTransformer
AutoencoderTransformer(2, max_steps=1).fit(np.random.default_rng(0).normal(size=(50, 3)))
assert tf.config.threading.get_intra_op_parallelism_threads() == before
"""


@pytest.mark.slow
def test_a_running_runtime_is_left_as_it_is():
    result = run(RUNNING, OMP_NUM_THREADS="1")
    assert result.returncode == 0, result.stderr
