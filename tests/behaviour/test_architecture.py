"""An objective and an optimiser that are defined here train through the loop.

Also the imports between modules.
"""

import ast
from pathlib import Path
from typing import NamedTuple

import numpy as np
import optree
import pytest
import tensorflow as tf

import skae
from skae._data.corruption import Corruption
from skae._data.table import Table
from skae._initialization.initial_network import start_at_random
from skae._networks.activations import activation
from skae._networks.network import reconstruct
from skae._training import loop

ACTIVATIONS = ("tanh", "identity", "identity")


class Huber(NamedTuple):
    """Huber's loss of the reconstruction (The Annals of Mathematical Statistics 35, 1964)."""

    delta: float

    def __call__(self, params, batch, constants):
        rows = reconstruct(params, batch.inputs, constants["bounds"], ACTIVATIONS, ops=tf)
        distance = tf.abs(rows - batch.targets)
        near = tf.minimum(distance, self.delta)
        losses = near * (distance - near / 2)
        return constants["factor"] * tf.reduce_sum(batch.weights * tf.reduce_mean(losses, axis=1))


class Momentum(NamedTuple):
    """Stochastic gradient descent with momentum (Polyak, 1964)."""

    decay: float = 0.9

    def init(self, params):
        return {"velocity": optree.tree_map(np.zeros_like, params)}

    def update(self, gradients, state, params, step, rate):
        each = tf.nest.map_structure
        velocity = each(lambda v, g: self.decay * v + g, state["velocity"], gradients)
        return each(lambda p, v: p - rate * v, params, velocity), {"velocity": velocity}


class LinearRegression(NamedTuple):
    """A loss of the y in the batch, over params of another shape."""

    def __call__(self, params, batch, constants):
        predicted = tf.linalg.matvec(batch.inputs, params["w"]) + params["b"][0]
        return tf.reduce_sum(batch.weights * tf.square(predicted - batch.y))


def huber_problem(seed=0):
    rng = np.random.default_rng(seed)
    params = start_at_random("glorot", [5, 4, 2], rng)
    params = optree.tree_map(np.float32, params)
    X = rng.standard_t(2, size=(40, 5)).astype(np.float32)
    bounds = (np.full(5, -3, "f"), np.full(5, 3, "f"))
    return params, Table(X).standardised(np.zeros(5, "f"), 1.0), bounds


def batches(table, n_steps=6, seed=0):
    lengths = [min(4, n_steps - done) for done in range(0, n_steps, 4)]
    return table.batches(
        lengths, (4, 16, table.n_features), Corruption(), np.random.default_rng(seed)
    )


def train(params, table, objective, constants, optimizer, rates):
    *_, (state, _) = loop.train(
        loop.TrainState(params, optimizer.init(params)),
        batches(table, len(rates)),
        rates,
        objective=objective,
        constants=constants,
        optimizer=optimizer,
    )
    return state.to_numpy()


def by_hand(params, table, delta, factor, bounds, rates):
    """The same steps, eagerly, one row of arithmetic at a time."""
    params = tf.nest.map_structure(tf.Variable, params)
    variables = tf.nest.flatten(params)
    velocities = [np.zeros(v.shape, "f") for v in variables]
    steps = [
        (batch.targets[i], batch.weights[i])
        for batch, n_steps in batches(table, len(rates))
        for i in range(n_steps)
    ]
    tanh = activation("tanh", tf)
    for (rows, weights), rate in zip(steps, rates, strict=True):
        with tf.GradientTape() as tape:
            out = rows
            for half in (params["encoder"], params["decoder"]):
                (first, last), (one, two) = half["coefs"], half["intercepts"]
                out = tanh(out @ first + one) @ last + two
            clipped = out + tf.stop_gradient(tf.clip_by_value(out, *bounds) - out)
            distance = tf.abs(clipped - rows)
            losses = tf.where(distance < delta, distance**2 / 2, delta * (distance - delta / 2))
            loss = factor * tf.reduce_sum(weights * tf.reduce_mean(losses, axis=1))
        for i, gradient in enumerate(tape.gradient(loss, variables)):
            velocities[i] = 0.9 * velocities[i] + gradient.numpy()
            variables[i].assign_sub(rate * velocities[i])
    return tf.nest.map_structure(lambda v: v.numpy(), params)


def test_another_objective_and_another_optimiser_train_through_the_loop():
    params, table, bounds = huber_problem()
    rates = np.linspace(0.05, 0.1, 6)
    constants = {"bounds": bounds, "factor": np.float32(2)}
    state = train(params, table, Huber(0.5), constants, Momentum(), rates)
    expected = by_hand(params, table, 0.5, 2.0, bounds, rates)
    for ours, theirs in zip(tf.nest.flatten(state.params), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    assert state.step == 6


def test_other_constants_and_states_compile_nothing_and_other_objectives_do(compilations):
    for seed, factor in enumerate((1, 2, 3)):
        params, table, bounds = huber_problem(seed)
        constants = {"bounds": bounds, "factor": np.float32(factor)}
        train(params, table, Huber(0.5), constants, Momentum(), np.full(6, 0.1 / factor))
    assert len(compilations) == 1
    train(params, table, Huber(0.7), constants, Momentum(), np.full(6, 0.1))
    assert len(compilations) == 2
    train(params, table, Huber(0.7), constants, Momentum(0.5), np.full(6, 0.1))
    assert len(compilations) == 3


def test_params_of_any_shape_are_trained_on_the_y_in_the_batch():
    rng = np.random.default_rng(0)
    X, w = rng.normal(size=(300, 3)), np.array([1.0, -2.0, 0.5])
    table = Table(X, y=(X @ w + 4).astype("f")).standardised(np.zeros(3), 1.0)
    params = {"w": np.zeros(3, "f"), "b": np.zeros(1, "f")}
    rates = np.full(300, 0.02)
    state = train(params, table, LinearRegression(), (), Momentum(), rates)
    np.testing.assert_allclose(state.params["w"], w, atol=1e-3)
    np.testing.assert_allclose(state.params["b"], [4], atol=1e-3)


ROOT = Path(skae.__file__).parent
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in ROOT.rglob("*.py")
}
ESTIMATORS_AND_EXPORTS = {
    "_autoencoder",
    "_imputer",
    "_outlier_detector",
    "_variational_autoencoder",
    "onnx",
    "_checkpoint",
    "__init__",
    *(name for name in MODULES if name.startswith("plotting.")),
}


def imports(name):
    """Return the modules of skae that a module imports, in functions too."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            package = name.split(".")[: -node.level]
            path = [*package, *(node.module.split(".") if node.module else [])]
            names = [".".join(path), *(".".join([*path, alias.name]) for alias in node.names)]
            found |= {imported for imported in names if imported in MODULES}
    return found


def test_the_loop_knows_neither_network_nor_objective_nor_optimiser_nor_table():
    assert imports("_training.loop") <= {
        "_sklearn_compat",
        "_runtime.tensorflow",
        "_runtime.workers",
    }


@pytest.mark.parametrize("name", sorted(MODULES.keys() - ESTIMATORS_AND_EXPORTS))
def test_other_modules_do_not_import_estimators_and_exports(name):
    assert not imports(name) & ESTIMATORS_AND_EXPORTS


def test_imports_between_modules_make_no_cycle():
    below, waiting = set(), set(MODULES)
    while waiting:
        free = {name for name in waiting if imports(name) <= below}
        assert free, f"a cycle among {sorted(waiting)}"
        below, waiting = below | free, waiting - free


def test_private_names_of_scikit_learn_are_imported_in_one_module():
    for name in MODULES.keys() - {"_sklearn_compat"}:
        for node in ast.walk(ast.parse(MODULES[name].read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sklearn"):
                parts = [*node.module.split("."), *(alias.name for alias in node.names)]
                assert not any(part.startswith("_") for part in parts), (name, parts)
