"""Compiled functions are shared only by objectives and optimisers of the same class."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from skae._data.corruption import Corruption
from skae._data.table import Table
from skae._training import loop
from skae._training.losses import OnDeviceLoss
from skae._training.optimizers import Adam

X = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
PARAMS = {"shift": np.zeros(3, np.float32)}


class Squares(NamedTuple):
    """Weighted squares of shifted rows."""

    factor: float

    def __call__(self, params, batch, constants):
        errors = tf.square(batch.targets - params["shift"])
        return self.factor * tf.reduce_sum(batch.weights * tf.reduce_mean(errors, axis=-1))


class Absolutes(NamedTuple):
    """Weighted absolute values of shifted rows, with equal fields."""

    factor: float

    def __call__(self, params, batch, constants):
        errors = tf.abs(batch.targets - params["shift"])
        return self.factor * tf.reduce_sum(batch.weights * tf.reduce_mean(errors, axis=-1))


@dataclass(frozen=True)
class Wrapper:
    """Objective with an inner objective."""

    objective: Any

    def __call__(self, params, batch, constants):
        return self.objective(params, batch, constants)


class Pair(NamedTuple):
    """Objective with an inner objective in a tuple."""

    objectives: tuple

    def __call__(self, params, batch, constants):
        return self.objectives[0](params, batch, constants)


class Descent(NamedTuple):
    """Gradient descent."""

    factor: float = 1.0

    def update(self, gradients, state, params, step, rate):
        step = tf.nest.map_structure(lambda p, g: p - self.factor * rate * g, params, gradients)
        return step, state


class Ascent(NamedTuple):
    """Gradient ascent, with equal fields."""

    factor: float = 1.0

    def update(self, gradients, state, params, step, rate):
        step = tf.nest.map_structure(lambda p, g: p + self.factor * rate * g, params, gradients)
        return step, state


def step(objective, optimizer=Descent(), state=(), is_on_device=False):  # noqa: B008
    """Make a step; return the loss before and the params after it."""
    table = Table(X).standardised(np.zeros(3), 1.0)
    rng, constants = np.random.default_rng(0), ()
    if is_on_device:
        objective, constants = OnDeviceLoss(objective), ((table.rows_on_device(8),), ())
    chunks = table.batches([1], (1, 8, 3), Corruption(), rng, is_on_device=is_on_device)
    gradient_step = loop.GradientStep(objective, constants, optimizer)
    ((after, losses),) = loop.train(loop.TrainState(PARAMS, state), chunks, [0.1], gradient_step)
    return losses.item(), after.to_numpy().params["shift"]


SQUARES, ABSOLUTES = np.square(X).mean(), np.abs(X).mean()
WRAPPERS = {
    "plain": lambda objective: objective,
    "in a dataclass": Wrapper,
    "in a tuple": lambda objective: Pair((objective,)),
    "in a dataclass in a tuple": lambda objective: Pair((Wrapper(objective),)),
}


@pytest.mark.parametrize("wrapper", WRAPPERS.values(), ids=WRAPPERS)
@pytest.mark.parametrize("is_on_device", [False, True])
def test_objectives_of_two_classes_with_equal_fields_share_no_function(wrapper, is_on_device):
    assert Squares(1.0) == Absolutes(1.0)
    loss, _ = step(wrapper(Squares(1.0)), is_on_device=is_on_device)
    assert loss == pytest.approx(SQUARES, rel=1e-5)
    loss, _ = step(wrapper(Absolutes(1.0)), is_on_device=is_on_device)
    assert loss == pytest.approx(ABSOLUTES, rel=1e-5)


def test_optimizers_of_two_classes_with_equal_fields_share_no_function():
    _, down = step(Squares(1.0), Descent())
    _, up = step(Squares(1.0), Ascent())
    np.testing.assert_allclose(up, -down, rtol=1e-5)
    assert np.abs(down).min() > 0


def test_functions_of_equal_classes_and_fields_are_shared(compilations):
    for _ in range(2):
        for objective in (Squares(1.0), Pair((Wrapper(Squares(np.float32(1))),)), Squares(2.0)):
            step(objective)
            step(objective, Adam(), Adam().init(PARAMS))
    assert len(compilations) == 6


class SumOf(NamedTuple):
    """Loss of one additional field of a batch, y or the draws."""

    def __call__(self, params, batch, constants):
        if isinstance(batch.y, tuple):
            return tf.reduce_sum(batch.draws * params["shift"])
        return 1000 + tf.reduce_sum(tf.cast(batch.y, tf.float32) * params["shift"])


def test_batches_of_equal_shapes_with_other_fields_or_types_share_no_function():
    losses = []
    for y, n_draws in ((X, 0), (None, 3), (X.astype(np.int32), 0)):
        table = Table(X, y=y).standardised(np.zeros(3), 1.0)
        rng = np.random.default_rng(0)
        chunks = table.batches([1], (1, 8, 3), Corruption(), rng, n_draws=n_draws)
        gradient_step = loop.GradientStep(SumOf(), (), Descent())
        ((_, loss),) = loop.train(loop.TrainState(PARAMS, ()), chunks, [0.1], gradient_step)
        losses.append(loss.item())
    assert losses == [1000, 0, 1000]
