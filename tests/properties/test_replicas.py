"""Several replicas train as one process does, for every objective."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone

from skae import AutoencoderImputer, AutoencoderTransformer, VariationalAutoencoder

from ..runtime.test_workers import run_workers

# 990 training rows and 110 validation rows: batches of 99 rows, in arrays of 101 rows
rng = np.random.default_rng(0)
X = rng.normal(size=(1100, 2)) @ rng.normal(size=(2, 6)) + 0.1 * rng.normal(size=(1100, 6))
X = np.hstack([X, np.sin(X)])
INCOMPLETE = np.where(rng.random(X.shape) < 0.1, np.nan, X)
NUMBERS = np.where(rng.random(len(X)) < 0.1, np.nan, X[:, 0] * X[:, 1])
PARTLY = np.where(rng.random(len(X)) < 0.3, -1, (X[:, 0] > 0) + 1 * (X[:, 1] > 0))
BINARY = (X > 0).astype(float)
WIDE = np.hstack([X[:40], np.random.default_rng(1).normal(size=(40, 60))])
SETTINGS = {"random_state": 0, "max_steps": 4, "batch_size": 101, "hidden_layer_sizes": 8}


def transformer(**params):
    return AutoencoderTransformer(2, **SETTINGS, **params)


def imputer(**params):
    return AutoencoderImputer(n_components=2, **SETTINGS, **params)


def variational(**params):
    return VariationalAutoencoder(2, **SETTINGS, **params)


def noisy(kind, **params):
    return transformer(corruption=kind, noise=0.3, **params)


# the estimator and the arguments of `fit`; cases of the same shapes share a compiled function
CASES = {
    # after init="pca", rounding errors decide the first step of an encoder of complete rows: its
    # gradient is zero, and Adam divides a gradient by its size
    "complete": (transformer(init="glorot"), X),
    **{kind: (noisy(kind), INCOMPLETE) for kind in ("gaussian", "masking", "swap", "missing")},
    "imputer": (imputer(), INCOMPLETE),
    "labels, swap": (noisy("swap", target_weight=0.3), INCOMPLETE, PARTLY),
    "numbers": (transformer(target_weight=0.3), X, NUMBERS),
    "variational": (variational(noise_variance="feature", beta=0.5), INCOMPLETE),
    "wide": (transformer(bounds=None), WIDE),
    "bernoulli": (variational(likelihood="bernoulli"), BINARY),
    "trimmed": (variational(contamination=0.3), INCOMPLETE),
    "trimmed, equal rows": (
        variational(contamination=0.3),
        np.repeat(INCOMPLETE[::10], 10, axis=0),
    ),
}
# cases in which each process reads its own rows; an imputer does not accept shards
SHARDED = ("swap", "labels, swap", "trimmed")
ACROSS_PROCESSES = (*SHARDED, "imputer", "missing")


def trained(name, part=lambda rows: rows, wrap=lambda rows: rows):
    """Fit the estimator of a case to a part of the rows; return losses, errors and network."""
    estimator, X, *y = CASES[name]
    estimator = clone(estimator).fit(wrap(part(X)), *map(part, y))
    model = getattr(estimator, "autoencoder_", estimator)
    return model.loss_curve_, model.validation_curve_


def check_same(theirs, ours, is_narrow=True):
    for found, expected in zip(theirs, ours, strict=True):
        # Adam amplifies rounding errors of small gradients, of which wide tables have many
        np.testing.assert_allclose(found, expected, rtol=2e-4 if is_narrow else 2e-3)


MIRRORED = """
import pickle, sys
import tensorflow as tf
n = int(sys.argv[1])
devices = [tf.config.LogicalDeviceConfiguration()] * n
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
from tests.properties.test_replicas import CASES, trained
single = {name: trained(name) for name in CASES}
with tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(n)]).scope():
    parallel = {name: trained(name) for name in CASES}
with open(sys.argv[2], "wb") as file:
    pickle.dump((single, parallel), file)
"""


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    """Return the results of one replica, and of two replicas in one process."""
    path = tmp_path_factory.mktemp("mirrored") / "results"
    paths = os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(
        [sys.executable, "-c", MIRRORED, "2", str(path)],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return pickle.loads(path.read_bytes())


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_replicas_of_one_process_train_as_one(mirrored, name):
    single, parallel = mirrored
    check_same(parallel[name], single[name], is_narrow=name != "wide")


WORKERS = """
from tests.properties.test_replicas import ACROSS_PROCESSES, SHARDED, trained
for name in ACROSS_PROCESSES:
    results[name] = trained(name)
    shard = lambda rows: np.split(rows, [500])[index]
    if name in SHARDED:
        results["shards", name] = trained(name, shard, _table.Shard)
"""


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    """Return the results of two worker processes."""
    _, results = run_workers(WORKERS, tmp_path_factory.mktemp("workers"), timeout=600)
    return results


@pytest.mark.slow
@pytest.mark.parametrize("name", ACROSS_PROCESSES)
def test_workers_train_as_one_process(mirrored, workers, name):
    for results in workers:
        check_same(results[name], mirrored[0][name])


@pytest.mark.slow
@pytest.mark.parametrize("name", SHARDED)
def test_shards_train_as_one_table(mirrored, workers, name):
    single, chief = mirrored[0][name], workers[0]["shards", name]
    np.testing.assert_array_equal(chief[0], workers[1]["shards", name][0])
    # each worker shuffles its own rows, so that batches have other rows
    np.testing.assert_allclose(chief[1][0], single[1][0], rtol=2e-4)  # before the first step
    np.testing.assert_allclose(chief[0].mean(), single[0].mean(), rtol=0.25)
