"""Optimisers and schedules."""

import tracemalloc
from functools import partial
from itertools import pairwise

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from skae._training.optimizers import SCHEDULES, Adam, Rates, cosine, linear, warm_up


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


def test_the_penalty_is_zero_by_default():
    params = {"w": np.ones((2, 2), "f")}
    state = Adam().init(params)
    assert state["l2"] == {"w": 0}
    assert not state["m"]["w"].any()
    assert not state["v"]["w"].any()


@pytest.mark.parametrize("schedule", [linear, cosine])
@given(n_steps=st.integers(1, 5000))
def test_schedules_increase_for_a_twentieth_and_decrease_to_zero(schedule, n_steps):
    rates = schedule(n_steps)
    top = max(1, round(n_steps / 20))
    assert rates[top - 1] == 1
    assert (np.diff(rates[:top]) > 0).all()
    assert (np.diff(rates[top - 1 :]) < 0).all()
    assert n_steps == 1 or rates[-1] == pytest.approx(0, abs=1e-12)


def test_the_constant_schedule_stays_at_one():
    np.testing.assert_array_equal(SCHEDULES["constant"](7), np.ones(7))


@given(st.integers(1, 300), st.integers(0, 300))
def test_the_warm_up_of_a_stream_continues(n_steps, step):
    whole = warm_up(n_steps + step, step=0)
    np.testing.assert_array_equal(warm_up(n_steps, step=step), whole[step:])
    assert warm_up(1, step=99) == 1


@pytest.mark.parametrize("schedule", [*SCHEDULES.values(), partial(warm_up, step=37)])
@given(st.integers(1, 3000), st.lists(st.integers(0, 3000)))
def test_slices_of_a_schedule_have_the_same_bits(schedule, n_steps, cuts):
    rates = Rates(schedule, n_steps, 7e-3)
    ends = [0, *sorted(min(cut, n_steps) for cut in cuts), n_steps]
    parts = [rates[first:end] for first, end in pairwise(ends)]
    np.testing.assert_array_equal(np.concatenate(parts), np.float32(7e-3 * schedule(n_steps)))
    assert len(rates) == n_steps


@pytest.mark.parametrize("schedule", SCHEDULES.values())
def test_a_schedule_of_many_steps_is_computed_in_slices(schedule):
    tracemalloc.start()
    rates = Rates(schedule, 10**9, 7e-3)
    assert [len(rates[first : first + 128]) for first in (0, 10**8, 10**9 - 5)] == [128, 128, 5]
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2**20
