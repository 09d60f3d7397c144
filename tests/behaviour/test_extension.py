"""Losses, optimisers, activations, exports and displays that are defined outside of the package.

The page for developers shows the classes and functions of this module.
"""

import json
from dataclasses import dataclass, replace
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import optree
import pytest
import tensorflow as tf
from onnxruntime import InferenceSession
from skl2onnx import to_onnx
from sklearn import config_context
from sklearn.utils.validation import check_is_fitted

import skae.onnx
from skae import AutoencoderTransformer
from skae._data.corruption import Corruption
from skae._data.splits import random_splits
from skae._data.table import Table
from skae._initialization.architecture import Architecture
from skae._initialization.initial_network import first_network, init_random
from skae._networks.activations import ACTIVATIONS
from skae._networks.forward import decode
from skae._parameters import training_config
from skae._training import loop
from skae._training.callbacks import FitCallback
from skae._training.losses import Reconstruction
from skae._training.plan import plan_fit
from skae._training.problem import Problem
from skae._training.run import StopReason
from skae._training.selection import Selection
from skae.plotting._base import AxesDisplay

TANH = ("tanh", "identity", "identity")


@dataclass(frozen=True)
class Huber(Reconstruction):
    """Huber's loss of the reconstruction (The Annals of Mathematical Statistics 35, 1964)."""

    delta: float = 1.0

    def loss(self, params, codes, batch, constants):
        rows = decode(params, codes, constants, self.activations, ops=tf)
        distance = tf.abs(rows - batch.targets)
        near = tf.minimum(distance, self.delta)
        losses = tf.reduce_mean(near * (distance - near / 2), axis=-1)
        return tf.reduce_sum(batch.weights * losses, axis=-1)


class HuberTransformer(AutoencoderTransformer):
    """Autoencoder with Huber's loss."""

    def _objective(self, architecture, target):
        return Huber(architecture.activations, delta=0.5)


class Momentum(NamedTuple):
    """Stochastic gradient descent with momentum (Polyak, 1964), without a penalty."""

    decay: float = 0.9

    def init(self, params, l2=None):
        return {"velocity": optree.tree_map(np.zeros_like, params)}

    def update(self, gradients, state, params, step, rate):
        each = tf.nest.map_structure
        velocity = each(lambda v, g: self.decay * v + g, state["velocity"], gradients)
        return each(lambda p, v: p - rate * v, params, velocity), {"velocity": velocity}


def outcome_with(optimizer, problem):
    """Return the outcome of a fit with another optimiser."""
    plan = replace(plan_fit(problem), optimizer=optimizer)
    return Selection(problem, plan).train(FitCallback())


IN_ACTIVATIONS = {"softsign": (lambda x: x / (1 + abs(x)), "nn.softsign")}
IN_ONNX = {"softsign": lambda add, x: add("Div", x, add("Add", add("Abs", x), 1))}


def encoder_as_json(estimator):
    """Return the encoder of a fitted autoencoder as JSON."""
    check_is_fitted(estimator)
    estimator._check_exportable()
    network = estimator._network
    encoder = optree.tree_map(np.ndarray.tolist, network.params["encoder"])
    parts = {"offset": network.offset.tolist(), "activations": network.activations}
    return json.dumps(parts | encoder)


class ErrorDisplay(AxesDisplay):
    """Histogram of the squared errors of rows."""

    def __init__(self, errors):
        self.errors = errors

    @classmethod
    def from_estimator(cls, estimator, X, *, ax=None):
        check_is_fitted(estimator)
        return cls(-estimator.score_samples(X)).plot(ax=ax)

    def _draw(self, ax):
        ax.hist(self.errors, bins=20)
        ax.set(xlabel="squared error", ylabel="number of rows")


class LinearRegression(NamedTuple):
    """Squared loss of the y in the batch, with params of another shape."""

    def __call__(self, params, batch, constants):
        predicted = tf.linalg.matvec(batch.inputs, params["w"]) + params["b"][0]
        return tf.reduce_sum(batch.weights * tf.square(predicted - batch.y))


OPTIONS = {"hidden_layer_sizes": (16,), "activation": "tanh", "max_steps": 200, "random_state": 0}


@pytest.fixture(scope="module", name="X")
def make_rows():
    """Return rows near a curved surface, with a few outlying entries."""
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(300, 2))
    rows = np.tanh(codes @ rng.normal(size=(2, 6))) + 0.02 * rng.normal(size=(300, 6))
    return rows + 3 * (rng.random(rows.shape) < 0.01)


@pytest.fixture(scope="module")
def fitted(X):
    """Return an autoencoder that was trained with Huber's loss."""
    return HuberTransformer(2, **OPTIONS).fit(X, X_val=X)


def problem_of(X):
    """Return the problem of a fit with one split."""
    table = Table(X)
    architecture = Architecture(n_components=2, hidden_layer_sizes=(16,), activations=TANH)
    return Problem(
        table=table,
        splits=random_splits(table.n_rows, 0.2, 1, np.random.default_rng(0)),
        architecture=architecture,
        objective=Reconstruction(architecture.activations),
        initial_network=lambda training, architecture: first_network(training, architecture, 0),
        config=training_config(AutoencoderTransformer(learning_rate_init=0.1, max_steps=200)),
        seed=0,
        pca_is_baseline=True,
    )


# ---- through a fit


def test_a_loss_trains_an_estimator(X, fitted):
    assert fitted.best_step_ > 0
    assert fitted.loss_curve_[-20:].mean() < fitted.loss_curve_[:20].mean()


def test_an_optimiser_trains_a_network(X):
    outcome = outcome_with(Momentum(), problem_of(X))
    assert outcome.step > 0  # significantly better than PCA
    assert outcome.stop_reason == StopReason.COMPLETED


def test_an_activation_is_trained_and_exported(X, monkeypatch):
    for registry, lines in ((ACTIVATIONS, IN_ACTIVATIONS), (skae.onnx._ACTIVATIONS, IN_ONNX)):
        for name, line in lines.items():
            monkeypatch.setitem(registry, name, line)
    ae = AutoencoderTransformer(2, **OPTIONS | {"activation": "softsign"})
    with config_context(skip_parameter_validation=True):  # the constraint is made at import
        ae.fit(X, X_val=X)
    assert ae.best_step_ > 0
    codes, rows = ae.transform(X), X.astype(np.float32)
    session = InferenceSession(to_onnx(ae, rows[:1]).SerializeToString())
    for exported in (session.run(None, {"X": rows})[0], ae.to_keras().get_layer("encoder")(rows)):
        np.testing.assert_allclose(exported, codes, rtol=1e-4, atol=1e-5)


def test_an_export_gives_the_codes_of_the_estimator(X, fitted):
    parts = json.loads(encoder_as_json(fitted))
    rows = X - parts["offset"]
    (first, last), (one, two) = parts["coefs"], parts["intercepts"]
    codes = np.tanh(rows @ first + one) @ last + two + rows @ parts["linear"]
    np.testing.assert_allclose(codes, fitted.transform(X), rtol=1e-9, atol=1e-9)


def test_a_display_draws_the_errors_of_all_rows(X, fitted):
    display = ErrorDisplay.from_estimator(fitted, X)
    assert sum(bar.get_height() for bar in display.ax_.patches) == len(X)
    assert display.ax_.get_xlabel() == "squared error"
    plt.close(display.figure_)


# ---- through the loop


def random_problem(seed=0, bound=3):
    """Return random params, a table of rows with heavy tails, and bounds."""
    rng = np.random.default_rng(seed)
    params = optree.tree_map(np.float32, init_random("glorot", [5, 4, 2], rng))
    X = rng.standard_t(2, size=(40, 5)).astype(np.float32)
    bounds = (np.full((1, 5), -bound, "f"), np.full((1, 5), bound, "f"))
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
        loop.GradientStep(objective, constants, optimizer),
    )
    return state.to_numpy()


def by_hand(params, table, delta, bounds, rates):
    """Return the params after the same steps, computed eagerly."""
    params = tf.nest.map_structure(tf.Variable, params)
    variables = tf.nest.flatten(params)
    velocities = [np.zeros(v.shape, "f") for v in variables]
    steps = [
        (batch.targets[i], batch.weights[i])
        for batch, n_steps in batches(table, len(rates))
        for i in range(n_steps)
    ]
    for (rows, weights), rate in zip(steps, rates, strict=True):
        with tf.GradientTape() as tape:
            out = rows
            for half in (params["encoder"], params["decoder"]):
                (first, last), (one, two) = half["coefs"], half["intercepts"]
                out = tf.tanh(out @ first + one) @ last + two
            clipped = out + tf.stop_gradient(tf.clip_by_value(out, *bounds) - out)
            distance = tf.abs(clipped - rows)
            losses = tf.where(distance < delta, distance**2 / 2, delta * (distance - delta / 2))
            loss = tf.reduce_sum(weights * tf.reduce_mean(losses, axis=1))
        for i, gradient in enumerate(tape.gradient(loss, variables)):
            velocities[i] = 0.9 * velocities[i] + gradient.numpy()
            variables[i].assign_sub(rate * velocities[i])
    return tf.nest.map_structure(lambda v: v.numpy(), params)


def test_the_loop_makes_the_steps_of_another_objective_and_another_optimiser():
    params, table, bounds = random_problem()
    rates = np.linspace(0.05, 0.1, 6)
    state = train(params, table, Huber(TANH, 0.5), bounds, Momentum(), rates)
    expected = by_hand(params, table, 0.5, bounds, rates)
    for ours, theirs in zip(tf.nest.flatten(state.params), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    assert state.step == 6


@pytest.mark.slow
def test_other_objectives_are_compiled_and_other_constants_and_states_are_not(compilations):
    for seed, bound in enumerate((1, 2, 3)):
        params, table, bounds = random_problem(seed, bound)
        train(params, table, Huber(TANH, 0.5), bounds, Momentum(), np.full(6, 0.1 / bound))
    assert len(compilations) == 1
    train(params, table, Huber(TANH, 0.7), bounds, Momentum(), np.full(6, 0.1))
    assert len(compilations) == 2
    train(params, table, Huber(TANH, 0.7), bounds, Momentum(0.5), np.full(6, 0.1))
    assert len(compilations) == 3


@pytest.mark.slow
def test_params_of_any_shape_are_trained_with_y():
    rng = np.random.default_rng(0)
    X, w = rng.normal(size=(300, 3)), np.array([1.0, -2.0, 0.5])
    table = Table(X, y=(X @ w + 4).astype("f")).standardised(np.zeros(3), 1.0)
    params = {"w": np.zeros(3, "f"), "b": np.zeros(1, "f")}
    rates = np.full(300, 0.02)
    state = train(params, table, LinearRegression(), (), Momentum(), rates)
    np.testing.assert_allclose(state.params["w"], w, atol=1e-3)
    np.testing.assert_allclose(state.params["b"], [4], atol=1e-3)
