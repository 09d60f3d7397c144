"""Lazy import of TensorFlow, its settings and its output."""

import ast
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import skae


def run(program, **environment):
    """Run a program in a new process; variables that are None are unset.

    Only OMP_NUM_THREADS limits the number of its threads.
    """
    environment = {"TF_NUM_INTRAOP_THREADS": None} | environment
    environment = {k: v for k, v in (os.environ | environment).items() if v is not None}
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )


ENVIRONMENT = """
import os, sys
before = dict(os.environ)
from skae._runtime.tensorflow import import_tensorflow
assert "tensorflow" not in sys.modules
tf = import_tensorflow()
tf.function(lambda x: x @ x, jit_compile=True)(tf.eye(3))
# variables that TensorFlow and Keras set are not changed
assert dict(os.environ) | before == dict(os.environ)
assert "TF_NUM_INTRAOP_THREADS" not in os.environ
print(os.environ["TF_CPP_MIN_LOG_LEVEL"])
"""


@pytest.mark.slow
@pytest.mark.parametrize(("level", "expected"), [(None, "3"), ("1", "1")])
def test_only_an_unset_log_level_is_set(level, expected):
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
from skae._runtime.tensorflow import import_tensorflow
import_tensorflow()
"""


@pytest.mark.slow
def test_file_descriptors_are_unchanged():
    assert run(STDERR).stdout == "the same stderr\n"


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["sys.stderr = None; os.close(2)", "sys.stderr = object()"])
def test_a_process_without_stderr_can_fit(closed):
    program = f"import os, sys; {closed}\nfrom skae._runtime.tensorflow import import_tensorflow\n"
    program += "print(import_tensorflow().constant(1).numpy())"
    assert run(program).stdout == "1\n"


THREADS = """
import contextlib, glob
import numpy as np
from skae import AutoencoderTransformer
AutoencoderTransformer(2, max_steps=1).fit(np.random.default_rng(0).normal(size=(50, 3)))
names = []
for path in glob.glob("/proc/self/task/*/comm"):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended
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
def test_training_uses_the_number_of_threads_of_the_process(n_threads):
    result = run(THREADS, OMP_NUM_THREADS=str(n_threads))
    assert result.stdout == f"{n_threads}\n", result.stderr


def imported(path):
    """Return the names of all modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Call) and "import" in ast.unparse(node.func):
            yield from (value.value for value in node.args if isinstance(value, ast.Constant))


def test_one_function_imports_tensorflow():
    files = Path(skae.__file__).parent.rglob("*.py")
    pairs = [(path.name, name.partition(".")[0]) for path in files for name in imported(path)]
    # Keras is installed with TensorFlow, and imported after it
    imports = [pair for pair in pairs if pair[1] in ("tensorflow", "keras")]
    assert sorted(imports) == [("_keras.py", "keras"), ("tensorflow.py", "tensorflow")]


WITHOUT_TENSORFLOW = """
import sys, numpy as np
from skae import AutoencoderTransformer
sys.modules["tensorflow"] = None
AutoencoderTransformer(2).fit(np.random.default_rng(0).normal(size=(50, 3)))
"""


def test_training_without_tensorflow_is_an_error_that_names_it():
    result = run(WITHOUT_TENSORFLOW)
    assert result.stderr.splitlines()[-1].startswith("ImportError: fit, partial_fit and to_keras")
    assert "pip install tensorflow" in result.stderr


# Each case is the first fit of the process: an exception stops the import of TensorFlow, so that
# the next case imports it again.
FIRST_FITS = """
import itertools, os, sys, traceback
import numpy as np
from skae import AutoencoderImputer, AutoencoderTransformer, OutlierDetector, VariationalAutoencoder

class Stop(BaseException):
    pass

class Watched:
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in ("tensorflow", "keras"):
            raise Stop

sys.meta_path.insert(0, Watched())
X = np.random.default_rng(0).normal(size=(50, 3)) * [3, 1, 0.5]
incomplete = np.where(np.random.default_rng(1).random(X.shape) < 0.1, np.nan, X)
labels = np.arange(50) % 2
methods = [
    lambda estimator: estimator.fit(X),
    lambda estimator: estimator.fit(incomplete),
    lambda estimator: estimator.partial_fit(X),
]
with_labels = [
    lambda estimator: estimator.fit(X, labels),
    lambda estimator: estimator.fit(incomplete, labels.astype(float)),
]
cases = [
    *itertools.product([OutlierDetector(1), AutoencoderImputer(1)], methods[:2]),
    *itertools.product([VariationalAutoencoder(1)], methods),
    *itertools.product([VariationalAutoencoder(1, contamination=0.1)], methods),
]
options = [
    {}, {"n_components": 0.9}, {"init": "glorot"}, {"warm_start": True},
    {"early_stopping": True}, {"whiten": False}, {"validation_fraction": 0}, {"alpha": 1e9},
    *({"noise": 0.1, "corruption": kind} for kind in ("gaussian", "masking", "swap", "missing")),
]
for option in options:
    cases += itertools.product([AutoencoderTransformer(**{"n_components": 1, **option})], methods)
    option = {"n_components": 1, "target_weight": 0.1, **option}
    cases += itertools.product([AutoencoderTransformer(**option)], with_labels)
for estimator, method in cases:
    os.environ.pop("TF_CPP_MIN_LOG_LEVEL", None)
    try:
        method(estimator)
    except Stop as stop:
        names = [frame.name for frame in traceback.extract_tb(stop.__traceback__)]
        assert "import_tensorflow" in names, (estimator, names)
        assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "3", estimator
    else:
        raise AssertionError(f"{estimator} trains without TensorFlow")
    assert "tensorflow" not in sys.modules
print(len(cases))
"""


@pytest.mark.slow
def test_the_first_fit_of_any_kind_imports_tensorflow_through_that_function():
    result = run(FIRST_FITS)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 60


WITH_LABELS = """
import numpy as np
from skae import AutoencoderTransformer
X = np.random.default_rng(0).normal(size=(50, 3))
AutoencoderTransformer(2, max_steps=1, target_weight=0.1).fit(X, np.arange(50) % 2)
import tensorflow as tf
print(tf.config.threading.get_intra_op_parallelism_threads())
"""


@pytest.mark.slow
def test_a_first_fit_with_labels_uses_the_threads_of_the_process_and_logs_nothing():
    result = run(WITH_LABELS, OMP_NUM_THREADS="1", TF_CPP_MIN_LOG_LEVEL=None)
    assert result.stdout == "1\n", result.stderr
    assert "This TensorFlow binary is optimized" not in result.stderr  # the first line of its log


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
def test_a_running_runtime_is_not_changed():
    result = run(RUNNING, OMP_NUM_THREADS="1")
    assert result.returncode == 0, result.stderr


# A machine with two GPUs, of which only the names exist: TensorFlow lists them, and stores settings
# for them, but does not use them.
TWO_GPUS = """
import builtins, threading
original = builtins.__import__

def with_two_gpus(name, *arguments, **options):
    module = original(name, *arguments, **options)
    if name == "tensorflow" and hasattr(module, "config"):
        from tensorflow.python import pywrap_tfe
        names = [f"/physical_device:{device}".encode() for device in ("CPU:0", "GPU:0", "GPU:1")]
        pywrap_tfe.TF_ListPhysicalDevices = lambda: names
        if starts_meanwhile:
            thread = threading.Thread(target=module.constant, args=(1,))
            thread.start()
            thread.join()
    return module

builtins.__import__ = with_two_gpus
starts_meanwhile = False

def growth(tf):
    gpus = tf.config.list_physical_devices("GPU")
    return [tf.config.experimental.get_memory_growth(gpu) for gpu in gpus]
"""

FIRST_IMPORT = f"""{TWO_GPUS}
from skae._runtime.tensorflow import import_tensorflow
thread = threading.Thread(target=import_tensorflow)
thread.start()
thread.join()
tf = import_tensorflow()
print(growth(tf))
tf.config.threading.set_inter_op_parallelism_threads(2)  # an error after the runtime has started
for gpu in tf.config.list_physical_devices("GPU"):
    tf.config.experimental.set_memory_growth(gpu, False)
import_tensorflow()
print(growth(tf))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("variable", "expected"), [(None, [True, True]), ("false", [None, None])])
def test_memory_grows_on_each_gpu_unless_the_environment_variable_is_set(variable, expected):
    # with the variable, TensorFlow ignores the setting of each GPU
    result = run(FIRST_IMPORT, TF_FORCE_GPU_ALLOW_GROWTH=variable)
    assert result.stdout == f"{expected}\n[False, False]\n", result.stderr


IMPORTED_BEFORE = f"""{TWO_GPUS}
import tensorflow as tf
gpus = tf.config.list_physical_devices("GPU")
tf.config.experimental.set_memory_growth(gpus[1], False)
from skae._runtime.tensorflow import import_tensorflow
import_tensorflow()
print(growth(tf))
"""


@pytest.mark.slow
def test_gpus_of_a_tensorflow_that_the_user_imported_keep_their_settings():
    result = run(IMPORTED_BEFORE, TF_FORCE_GPU_ALLOW_GROWTH=None)
    assert result.stdout == "[None, False]\n", result.stderr


STARTED_MEANWHILE = f"""{TWO_GPUS}
starts_meanwhile = True
from skae._runtime.tensorflow import import_tensorflow
tf = import_tensorflow()
try:
    tf.config.experimental.set_memory_growth(tf.config.list_physical_devices("GPU")[0], True)
except RuntimeError as error:
    print(error)
print(growth(tf), tf.config.threading.get_intra_op_parallelism_threads())
"""


@pytest.mark.slow
@pytest.mark.parametrize("n_threads", [None, "1"])
def test_a_runtime_that_another_thread_starts_meanwhile_is_not_changed(n_threads):
    # without a driver, the two GPUs are ignored when the runtime starts
    environment = {"TF_FORCE_GPU_ALLOW_GROWTH": None, "CUDA_VISIBLE_DEVICES": "-1"}
    result = run(STARTED_MEANWHILE, OMP_NUM_THREADS=n_threads, **environment)
    message = "Physical devices cannot be modified after being initialized"
    assert result.stdout == f"{message}\n[None, None] 0\n", result.stderr
