"""Settings and fixtures of all tests."""

import os
import signal
from pathlib import Path

# pytest runs two processes, and each of them should use one of two cores: with two threads of BLAS
# and TensorFlow in each process, the threads would wait for each other. The processes of pytest
# inherit these variables, and those that tests start do as well. They are set here, for NumPy and
# TensorFlow read them when they are loaded; test modules import TensorFlow without skae, which
# would pass OMP_NUM_THREADS on to it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import numpy as np
import pytest
from hypothesis import settings
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skae._training import loop

# tests do not time anything
settings.register_profile("skae", settings.default, deadline=None)
settings.load_profile("skae")


@pytest.fixture(scope="session")
def digits():
    """Training and test rows of scikit-learn's digits."""
    X, y = load_digits(return_X_y=True)
    return train_test_split(X, test_size=0.25, random_state=0, stratify=y)


@pytest.fixture(scope="session")
def mnist():
    """MNIST / 255: training rows and labels, test rows and labels."""
    path = os.environ.get("SKAE_MNIST", "")
    if not Path(path).is_file():
        pytest.skip("SKAE_MNIST does not name a file")
    with np.load(path, allow_pickle=False) as data:
        X, X_test = (data[f"x_{part}"].reshape(-1, 784) / 255 for part in ("train", "test"))
        return X, data["y_train"], X_test, data["y_test"]


@pytest.fixture(scope="session")
def walled_rows():
    """Rows far from zero, two of whose columns pile up at a wall."""
    X = 3 + np.random.default_rng(0).normal(size=(80, 6))
    X[:, 0] = X[:, 0].clip(3, None)
    X[:, 1] = X[:, 1].clip(2.5, 3.5)
    return X


@pytest.fixture
def compilations(monkeypatch):
    """A list that grows by the objective whenever the training loop is traced."""
    traced, make_steps = [], loop._make_steps

    def counting(tf, objective, *options):
        steps = make_steps(tf, objective, *options)

        def counted(*arguments):
            traced.append(objective)
            return steps(*arguments)

        return counted

    monkeypatch.setattr(loop, "_make_steps", counting)
    loop._Compiled.cache_clear()
    yield traced
    loop._Compiled.cache_clear()


@pytest.fixture
def interruptible():
    """Let SIGINT raise KeyboardInterrupt here and in child processes.

    A shell without job control starts its background processes with SIGINT ignored.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
