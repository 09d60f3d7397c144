"""Settings and fixtures of all tests."""

import os
import signal
from pathlib import Path

# pytest runs two processes, and each should use one of two cores. With two threads of BLAS and
# TensorFlow in each process, the threads would wait for each other. The processes of pytest, and
# processes that tests start, inherit these variables. They are set before the imports, because
# NumPy and TensorFlow read them when they are imported. TensorFlow has its own variable, because
# test modules import it without skae, which would pass OMP_NUM_THREADS to it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
# Most of the time of the tests is compilation. Without optimisation of the compiled code, a short
# fit takes about three quarters of the time. A value that is set before is kept.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import numpy as np
import pytest
from hypothesis import settings
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skae._runtime.tensorflow import import_tensorflow
from skae._training import loop

# tests have no time limit
settings.register_profile("skae", settings.default, deadline=None)
settings.load_profile("skae")


@pytest.fixture(scope="session")
def digits():
    """Return training and test rows of scikit-learn's digits."""
    X, y = load_digits(return_X_y=True)
    return train_test_split(X, test_size=0.25, random_state=0, stratify=y)


@pytest.fixture(scope="session")
def mnist():
    """Return MNIST / 255: training rows and labels, test rows and labels."""
    path = os.environ.get("SKAE_MNIST", "")
    if not Path(path).is_file():
        pytest.skip("SKAE_MNIST does not name a file")
    with np.load(path, allow_pickle=False) as data:
        X, X_test = (data[f"x_{part}"].reshape(-1, 784) / 255 for part in ("train", "test"))
        return X, data["y_train"], X_test, data["y_test"]


@pytest.fixture(scope="session")
def bounded_rows():
    """Return rows far from zero; two columns have many values at a bound."""
    X = 3 + np.random.default_rng(0).normal(size=(80, 6))
    X[:, 0] = X[:, 0].clip(3, None)
    X[:, 1] = X[:, 1].clip(2.5, 3.5)
    return X


@pytest.fixture
def compilations(monkeypatch):
    """Return a list to which a function is added whenever TensorFlow traces it."""
    tf = import_tensorflow()
    traced, function = [], tf.function

    def counting(f, **options):
        def counted(*arguments):
            traced.append(f)
            return f(*arguments)

        return function(counted, **options)

    monkeypatch.setattr(tf, "function", counting)
    loop.compiled_steps.cache_clear()
    yield traced
    loop.compiled_steps.cache_clear()


@pytest.fixture
def interruptible():
    """Let SIGINT raise KeyboardInterrupt here and in child processes.

    A shell without job control starts its background processes with SIGINT ignored.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
