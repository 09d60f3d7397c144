"""Optimisers and schedules."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from skae._optimizers import SCHEDULES, Adam, cosine, linear, warm_up


@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_adams_steps_are_those_of_keras(l2):
    rng = np.random.default_rng(0)
    params = {"w": rng.normal(size=(3, 2)).astype("f"), "b": [rng.normal(size=2).astype("f")]}
    optimizer, theirs = Adam(), keras.optimizers.Adam(epsilon=1e-8)
    state = optimizer.init(params, {"w": l2, "b": [0.0]})
    variables = [tf.Variable(params["w"]), tf.Variable(params["b"][0])]
    for step in range(1, 6):
        gradients = {
            "w": rng.normal(size=(3, 2)).astype("f"),
            "b": [rng.normal(size=2).astype("f")],
        }
        rate = np.float32(0.01 * step)
        theirs.learning_rate = rate
        penalised = [gradients["w"] + np.float32(l2) * variables[0], gradients["b"][0]]
        theirs.apply_gradients(zip(map(tf.constant, penalised), variables, strict=True))
        params, state = optimizer.update(gradients, state, params, step, rate)
        np.testing.assert_allclose(params["w"], variables[0], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(params["b"][0], variables[1], rtol=1e-4, atol=1e-6)


def test_the_penalty_is_zero_unless_asked_for():
    params = {"w": np.ones((2, 2), "f")}
    state = Adam().init(params)
    assert state["l2"] == {"w": 0}
    assert not state["m"]["w"].any()
    assert not state["v"]["w"].any()


@pytest.mark.parametrize("schedule", [linear, cosine])
@given(n_steps=st.integers(1, 5000))
def test_schedules_climb_in_a_twentieth_and_fall_to_zero(schedule, n_steps):
    rates = schedule(n_steps)
    top = max(1, round(n_steps / 20))
    assert rates[top - 1] == 1
    assert (np.diff(rates[:top]) > 0).all()
    assert (np.diff(rates[top - 1 :]) < 0).all()
    assert n_steps == 1 or rates[-1] == pytest.approx(0, abs=1e-12)


def test_the_constant_schedule_stays_at_one():
    np.testing.assert_array_equal(SCHEDULES["constant"](7), np.ones(7))


@given(st.integers(1, 300), st.integers(0, 300))
def test_the_warm_up_of_a_stream_goes_on_where_it_was(n_steps, step):
    np.testing.assert_array_equal(warm_up(n_steps, step), warm_up(n_steps + step, 0)[step:])
    assert warm_up(1, 99) == 1
