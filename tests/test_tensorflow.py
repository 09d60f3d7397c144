"""TensorFlow as a guest of the process."""

import os
import subprocess
import sys

import pytest

from skae import _tensorflow

IMPORT = """
import os, sys
before = dict(os.environ)
from skae._tensorflow import import_tensorflow
assert "tensorflow" not in sys.modules
tf = import_tensorflow()
tf.function(lambda x: x @ x, jit_compile=True)(tf.eye(3))
# what TensorFlow and Keras set for themselves stays
assert dict(os.environ) | before == dict(os.environ)
assert not {"TF_CPP_MIN_LOG_LEVEL", "TF_NUM_INTRAOP_THREADS"} & set(os.environ)
print("said something", file=sys.stderr)
"""


def test_tensorflow_is_imported_in_silence_and_the_environment_is_left_as_it_was():
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TF_")}
    environment["OMP_NUM_THREADS"] = "1"
    result = subprocess.run(
        [sys.executable, "-c", IMPORT], env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout == ""
    assert result.stderr == "said something\n"


def test_other_lines_on_stderr_are_not_lost(capfd):
    with _tensorflow._without_native_logs():
        os.write(2, b"I0000 00:00:1.5 1 port.cc:153] oneDNN\nimportant\n")
    assert capfd.readouterr().err == "important\n"


@pytest.mark.parametrize("closed", ["sys.stderr = None; os.close(2)", "sys.stderr = object()"])
def test_a_process_without_stderr_can_fit(closed):
    program = f"import os, sys; {closed}\nfrom skae._tensorflow import import_tensorflow\n"
    program += "print(import_tensorflow().constant(1).numpy())"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stdout == "1\n"


THREADS = """
import glob
import numpy as np
from skae import AutoencoderTransformer
AutoencoderTransformer(2, max_steps=1).fit(np.random.default_rng(0).normal(size=(50, 3)))
names = [open(path).read() for path in glob.glob("/proc/self/task/*/comm")]
print(sum("XLAEigen" in name for name in names))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="threads are counted in /proc")
@pytest.mark.parametrize("n_threads", [1, 3])
def test_training_uses_the_threads_that_the_process_is_given(n_threads):
    environment = os.environ | {"OMP_NUM_THREADS": str(n_threads)}
    result = subprocess.run(
        [sys.executable, "-c", THREADS], env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout == f"{n_threads}\n"
