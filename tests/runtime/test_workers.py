"""Training under a tf.distribute strategy: real worker processes on this machine."""

import json
import os
import pickle
import socket
import subprocess
import sys
from contextlib import ExitStack

import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits

from skae import AutoencoderTransformer
from skae._data.corruption import Corruption
from skae._data.table import Table
from skae._initialization.architecture import Architecture
from skae._initialization.initial_network import first_network
from skae._runtime.workers import SINGLE_PROCESS, WorkerLostError, Workers, current_workers
from skae._training import loop
from skae._training.losses import Reconstruction
from skae._training.optimizers import Adam

X, y = (part[:1000] for part in load_digits(return_X_y=True))
SUPERVISED = {"corruption": "swap", "noise": 0.3, "target_weight": 0.1, "max_steps": 60}
SETTINGS = {
    "defaults": {},
    "odd batches": {"batch_size": 101, "noise": 0.1, "max_steps": 60},
    "early": {"early_stopping": True, "n_iter_no_change": 1, "tol": 0.01},
}
PREAMBLE = """
import os, pickle, signal, sys, time
import numpy as np
import tensorflow as tf
from tests.runtime.test_workers import SETTINGS, SUPERVISED, X, autoencoder, first_step, y
from skae._data import table as _table
from skae._runtime import workers as _workers
from skae._training import losses as _losses

index = int(sys.argv[1])
strategy = tf.distribute.MultiWorkerMirroredStrategy()
scope = strategy.scope()
scope.__enter__()
results = {}

def error_of(fit, *arguments):
    try:
        fit(*arguments)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
"""
POSTAMBLE = """
with open(sys.argv[2], "wb") as file:
    pickle.dump(results, file)
"""


def autoencoder(**params):
    return AutoencoderTransformer(**{"n_components": 8, "random_state": 0, **params})


def first_step(workers=SINGLE_PROCESS):
    """Return loss and gradients (Adam's first moments) of the first step from random weights."""
    activations = ("silu", "identity", "identity")
    architecture = Architecture(
        n_components=8, hidden_layer_sizes=(128,), activations=activations, init="glorot"
    )
    network = first_network(Table(X), architecture, seed=0)
    params = network.with_params_in(np.float32).params
    objective, rng = Reconstruction(activations), np.random.default_rng(0)
    table = Table(X, workers=workers).standardised(network.offset, network.scale)
    ((state, losses),) = loop.train(
        loop.TrainState(params, Adam().init(params)),
        table.batches([1], (1, 256, X.shape[1]), Corruption(), rng),
        [1e-3],
        loop.GradientStep(objective, objective.constants(network), Adam()),
        workers=workers,
    )
    return losses, tf.nest.flatten(state.to_numpy().optimizer_state["m"])


def free_ports(n):
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for s in sockets:
            s.bind(("localhost", 0))
        return [s.getsockname()[1] for s in sockets]


def run_workers(program, folder, n=2, timeout=300):
    """Run a program in n worker processes; return their exit codes and results."""
    addresses = [f"localhost:{port}" for port in free_ports(n)]
    script = folder / "worker.py"
    script.write_text(PREAMBLE + program + POSTAMBLE)
    processes = []
    for index in range(n):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        environment = os.environ | {
            "TF_CONFIG": json.dumps(task),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")]),
        }
        with open(folder / f"log{index}", "wb") as log:
            command = [sys.executable, str(script), str(index), str(folder / f"{index}.pickle")]
            processes.append(
                subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
            )
    try:
        codes = [process.wait(timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()
    results = []
    for index, code in enumerate(codes):
        log = (folder / f"log{index}").read_text(errors="replace")
        assert code in (0, -9), log
        results.append(pickle.loads((folder / f"{index}.pickle").read_bytes()) if not code else log)
    return codes, results


TRAIN = """
results["first step"] = first_step(_workers.current_workers())
for name, params in SETTINGS.items():
    results[name] = autoencoder(**params).fit(X)
    results[name, "state"] = pickle.dumps(vars(results[name]))
results["stream"] = pickle.dumps(vars(autoencoder().partial_fit(X[:500]).partial_fit(X[500:])))
results["supervised"] = pickle.dumps(vars(autoencoder(**SUPERVISED).fit(X, y)))
results["y"] = error_of(autoencoder(**SUPERVISED).fit, X, np.roll(y, index))
results["no seed"] = pickle.dumps(vars(autoencoder(random_state=None, max_steps=5).fit(X)))
results["parameters"] = error_of(autoencoder(noise=index / 10).fit, X)
results["columns"] = error_of(autoencoder().fit, X[:, index:])
results["rows"] = error_of(autoencoder().fit, X[index:][:900])

other = autoencoder(max_steps=2, warm_start=True).fit(X)
other.encoder_["intercepts"][0] += index
results["network"] = error_of(other.fit, X)

def shard(rows, *cuts):
    return _table.Shard(np.split(rows, cuts)[index])

for name, params in {**SETTINGS, "supervised": SUPERVISED}.items():
    ours = autoencoder(**params).fit(shard(X, 650), np.split(y, [650])[index])
    results["shards", name] = ours
    results["shards", name, "state"] = pickle.dumps(vars(ours))
few = autoencoder(max_steps=40).fit(shard(X[:200], 120))  # several splits
results["shards", "few"], results["shards", "few", "state"] = few, pickle.dumps(vars(few))
ours = autoencoder().partial_fit(shard(X[:500], 200)).partial_fit(shard(X[500:], 500))
results["shards", "stream"], results["shards", "stream", "state"] = ours, pickle.dumps(vars(ours))
infinite = np.where(X + index > 16, np.inf, X)  # in the second shard
results["shards", "refused"] = error_of(autoencoder().fit, shard(infinite, 650))
results["shards", "columns"] = error_of(autoencoder().fit, shard(X[:, index:], 650))
results["shards", "one"] = error_of(autoencoder().fit, shard(X, 650) if index else X)
results["shards", "none"] = error_of(autoencoder().fit, shard(X[:0], 0))
with_groups = lambda rows: autoencoder().fit(rows, groups=y)
results["shards", "groups"] = error_of(with_groups, shard(X, 650))
with_groups = lambda rows: autoencoder().fit(rows, groups=y if index else None)
results["given"] = error_of(with_groups, X)

workers = _workers.current_workers()
_workers._MAX_BYTES = 1000
results["message"] = error_of(workers.all_gather_object, bytes(2000 * index))
_workers._MAX_BYTES = 2**31 - 1

# The second worker is killed while it evaluates its validation rows, early in training.
row_errors, evaluations = _losses.Reconstruction.row_errors, []

def deadly(*arguments):
    evaluations.append(1)
    if index == 1 and len(evaluations) == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    return row_errors(*arguments)

if index == 1:
    results["killed"] = None
    with open(sys.argv[2], "wb") as file:
        pickle.dump(results, file)
_losses.Reconstruction.row_errors = deadly
survivor = autoencoder()
began = time.monotonic()
results["loss"] = error_of(survivor.fit, X)
results["seconds"] = time.monotonic() - began
results["survivor"] = survivor
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return the results of two workers."""
    folder = tmp_path_factory.mktemp("workers")
    codes, (chief, _) = run_workers(TRAIN, folder)
    assert codes == [0, -9]
    return chief, pickle.loads((folder / "1.pickle").read_bytes())


@pytest.fixture(scope="module")
def single():
    return {name: autoencoder(**params).fit(X) for name, params in SETTINGS.items()}


def mean_squared_error(estimator):
    return (
        (estimator.reconstruct(load_digits().data[1000:]) - load_digits().data[1000:]) ** 2
    ).mean()


@pytest.mark.slow
def test_gradients_of_the_first_step_are_those_of_one_process(trained):
    losses, gradients = first_step()
    for results in trained:
        np.testing.assert_allclose(results["first step"][0], losses, rtol=1e-6)
        for theirs, ours in zip(results["first step"][1], gradients, strict=True):
            np.testing.assert_allclose(theirs, ours, atol=1e-6 * np.abs(ours).max())


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_training_follows_that_of_one_process(trained, single, name):
    theirs, ours = trained[0][name], single[name]
    np.testing.assert_allclose(theirs.loss_curve_[:200], ours.loss_curve_[:200], rtol=0.01)
    assert mean_squared_error(theirs) == pytest.approx(mean_squared_error(ours), rel=0.02)
    np.testing.assert_array_equal(theirs.mean_, ours.mean_)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [*((name, "state") for name in SETTINGS), "stream", "supervised", "no seed"]
)
def test_all_workers_end_with_the_same_bits(trained, name):
    chief, other = trained
    assert chief[name] == other[name]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("parameters", "noise is 0.0 on worker 0 and 0.1 on worker 1"),
        ("columns", "the shape of X is (1000, 64) on worker 0 and (1000, 63) on worker 1"),
        ("rows", "the hash of 100 rows of X is"),
        ("y", "the hash of y is"),
        ("network", "the hash of the fitted network is"),
        ("given", "what fit is given is X on worker 0 and X, groups on worker 1"),
    ],
)
def test_different_workers_are_an_error_before_training(trained, name, match):
    for results in trained:
        assert results[name].startswith("ValueError: All workers must be given the same")
        assert match in results[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SETTINGS, "supervised", "few", "stream"])
def test_shards_train_as_one_table(trained, single, name):
    chief, other = trained
    assert chief["shards", name, "state"] == other["shards", name, "state"]
    theirs = chief["shards", name]
    if name in SETTINGS:
        assert theirs.n_samples_seen_ == len(X)
        ours = single[name]
    elif name == "supervised":
        ours = autoencoder(**SUPERVISED).fit(X, y)
    elif name == "few":
        ours = autoencoder(max_steps=40).fit(X[:200])
    else:
        ours = autoencoder().partial_fit(X[:500]).partial_fit(X[500:])
    np.testing.assert_allclose(theirs.mean_, ours.mean_, atol=1e-9)
    np.testing.assert_array_equal(theirs.bounds_, ours.bounds_)
    assert mean_squared_error(theirs) == pytest.approx(mean_squared_error(ours), rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("refused", "infinity"),
        ("columns", "the number of columns of X is 64 on worker 0 and 63 on worker 1"),
        ("one", "X is all rows on worker 0 and a Shard on worker 1"),
        ("none", "in every Shard"),
        ("groups", "groups is for a table in one process, and X is a Shard"),
    ],
)
def test_an_invalid_shard_is_an_error_in_all_workers(trained, name, match):
    for results in trained:
        assert results["shards", name].startswith("ValueError")
        assert match in results["shards", name]


@pytest.mark.slow
def test_messages_that_are_too_large_are_an_error_in_all_workers(trained):
    for results in trained:
        assert results["message"].startswith(
            "ValueError: Workers can exchange at most 1.0e+03 bytes"
        )
        assert "Set a smaller hidden_layer_sizes" in results["message"]


@pytest.mark.parametrize("name", ["InternalError", "FailedPreconditionError"])
def test_a_local_error_is_not_reported_as_the_loss_of_a_worker(name):
    workers = Workers(None, range(1), 2)

    def fail():
        raise getattr(tf.errors, name)(None, None, "XLA failed here")

    with pytest.raises(getattr(tf.errors, name), match="XLA failed here"):
        workers.run_collective(fail)


@pytest.mark.parametrize(
    "name", ["AbortedError", "CancelledError", "DeadlineExceededError", "UnavailableError"]
)
def test_the_loss_of_a_worker_is_recognised(name):
    workers = Workers(None, range(1), 2)

    def fail():
        raise getattr(tf.errors, name)(None, None, "Connection reset by peer\nand details")

    with pytest.raises(WorkerLostError, match="Worker 0 of 2 has lost another one: Connection"):
        workers.run_collective(fail)


def test_an_internal_error_of_the_coordination_service_is_the_loss_of_a_worker():
    workers = Workers(None, range(1), 2)
    error = tf.errors.InternalError(None, None, "a heartbeat is missing")
    error._experimental_payloads = {b"type.googleapis.com/tensorflow.CoordinationServiceError": b""}

    def fail():
        raise error

    with pytest.raises(WorkerLostError, match="a heartbeat is missing"):
        workers.run_collective(fail)


@pytest.mark.slow
def test_the_loss_of_a_worker_stops_training_and_keeps_the_network(trained):
    chief, _ = trained
    assert chief["loss"].startswith("WorkerLostError: Worker 0 of 2 has lost another one")
    assert chief["seconds"] < 60
    survivor = chief["survivor"]
    assert survivor.best_step_ > 0
    before = mean_squared_error(survivor)
    survivor.set_params(warm_start=True).fit(X)
    assert mean_squared_error(survivor) < before


ABSENT = """
_workers.TIMEOUT = 5
if index == 0:
    began = time.monotonic()
    results["loss"] = error_of(autoencoder().fit, X)
    results["seconds"] = time.monotonic() - began
    open(sys.argv[2] + ".done", "w").close()
else:
    while not os.path.exists(sys.argv[2].replace("1.pickle", "0.pickle.done")):
        time.sleep(0.1)
"""


@pytest.mark.slow
def test_a_worker_that_does_not_call_a_collective_is_lost_after_the_timeout(tmp_path):
    _, (chief, _) = run_workers(ABSENT + POSTAMBLE + "os._exit(0)\n", tmp_path)
    assert "nothing heard for 5 seconds" in chief["loss"]
    assert chief["seconds"] < 20


MIRRORED = """
import sys
import numpy as np
import tensorflow as tf
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], two)
from tests.runtime.test_workers import X, autoencoder, mean_squared_error
params = {"max_steps": 100, "batch_size": 101}
ours = autoencoder(**params).fit(X)
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    theirs = autoencoder(**params).fit(X)
np.testing.assert_allclose(theirs.loss_curve_, ours.loss_curve_, rtol=0.01)
np.testing.assert_allclose(mean_squared_error(theirs), mean_squared_error(ours), rtol=0.02)
"""


@pytest.mark.slow
def test_two_devices_of_one_machine_train_as_one():
    path = os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path}
    result = subprocess.run(
        [sys.executable, "-c", MIRRORED], env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_a_strategy_with_one_device_gives_the_same_bits():
    ours = autoencoder(max_steps=40).fit(X)
    with tf.distribute.OneDeviceStrategy("CPU:0").scope():
        theirs = autoencoder(max_steps=40).fit(X)
    np.testing.assert_array_equal(theirs.loss_curve_, ours.loss_curve_)
    np.testing.assert_array_equal(theirs.transform(X), ours.transform(X))


def test_asynchronous_strategies_are_an_error(monkeypatch):
    strategy = object.__new__(tf.distribute.ParameterServerStrategy)
    monkeypatch.setattr(tf.distribute, "has_strategy", lambda: True)
    monkeypatch.setattr(tf.distribute, "get_strategy", lambda: strategy)
    with pytest.raises(ValueError, match="MultiWorkerMirroredStrategy"):
        autoencoder().fit(X)


def test_shares_cover_all_rows_once():
    for n_workers, n_local, n_rows in ((1, 1, 7), (3, 2, 256), (4, 1, 3), (2, 3, 101)):
        covered = []
        for index in range(n_workers):
            replicas = range(index * n_local, (index + 1) * n_local)
            workers = Workers(None, replicas, n_workers * n_local)
            ours = np.arange(n_rows)[workers.share(n_rows)]
            covered += [row for part in workers.split(len(ours)) for row in ours[part]]
        assert covered == list(range(n_rows))


def test_without_a_strategy_there_is_one_worker():
    workers = current_workers()
    assert workers is SINGLE_PROCESS
    assert workers.all_gather_object("x") == ["x"]
