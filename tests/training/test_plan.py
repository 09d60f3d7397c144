"""The plan of a run: chunks, length, learning rates, evaluations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import config_context

from skae import AutoencoderTransformer
from skae._data.splits import Split, all_rows
from skae._data.table import Table
from skae._initialization.initial_network import Architecture, start_at_pca, start_at_random
from skae._networks.network import Autoencoder, forward
from skae._parameters import training_config
from skae._training.losses import Reconstruction
from skae._training.plan import Plan, batch_rows, chunk_shape, plan_fit, plan_stream

ARCHITECTURE = Architecture(2, (4,), ("silu", "identity", "identity"), "pca", "auto")
OBJECTIVE = Reconstruction(ARCHITECTURE.activations)


def planned(n_training=1000, against_pca=True, n_held_out=0, **params):
    """The plan of a fit: ten steps in an epoch."""
    config = training_config(AutoencoderTransformer(**{"batch_size": 100} | params))
    table = Table(np.empty((n_training, 7)))
    splits = [Split(np.arange(n_training), np.arange(n_held_out))]
    return plan_fit(OBJECTIVE, table, ARCHITECTURE, splits, config, against_pca=against_pca)


def planned_stream(n_rows=1000, step=0, **params):
    config = training_config(AutoencoderTransformer(**{"batch_size": 100} | params))
    return plan_stream(OBJECTIVE, Table(np.empty((n_rows, 7))), ARCHITECTURE, config, step)


def network():
    params = start_at_random("normal", [7, 4, 2], np.random.default_rng(0))
    bounds = np.full((2, 7), [[-np.inf], [np.inf]])
    return Autoencoder(params, np.zeros(7), 1.0, bounds, ("silu", "identity", "identity"))


def shape_of(n_samples, n_features, batch_size, n_hidden, n_stacked=1):
    """Shape of a chunk for a network with n_features * 4 * n_hidden weights."""
    table = Table(np.broadcast_to(0.0, (n_samples, n_features)))
    architecture = ARCHITECTURE._replace(n_components=n_features, hidden_layer_sizes=(n_hidden,))
    n_rows = batch_rows(batch_size, n_samples)
    return chunk_shape(table, architecture, n_rows, n_stacked)


@given(
    st.integers(1, 10**7),
    st.integers(1, 10**5),
    st.integers(1, 10**5),
    st.integers(1, 10**5),
    st.integers(1, 30),
)
def test_chunks_have_a_bounded_size(n_samples, n_features, batch_size, n_hidden, n_stacked):
    n_steps, n_rows, width = shape_of(n_samples, n_features, batch_size, n_hidden, n_stacked)
    assert width == n_features
    assert n_steps == 1 or n_stacked * n_steps * n_rows * width <= 2**22
    assert n_steps == 1 or n_stacked * n_steps * n_rows * 4 * width * n_hidden <= 2**34
    assert n_rows <= batch_size
    n_batches = -(-n_samples // batch_size)
    assert n_batches == -(-n_samples // n_rows)
    assert n_rows < n_samples / n_batches + 65


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ((100, 10, 256, 25), (32, 128, 10)),
        ((1024, 10, 5000, 25), (32, 1024, 10)),
        ((1025, 10, 5000, 25), (32, 1088, 10)),
        ((300, 10, 256, 25), (32, 192, 10)),
        ((2**15 - 1, 10, 64, 25), (32, 64, 10)),
        ((2**15, 10, 64, 25), (128, 64, 10)),
        ((2**15, 1000, 256, 1), (16, 256, 1000)),
        ((2**15, 10, 256, 250_000), (6, 256, 10)),
        ((2**15, 10, 256, 250_000, 3), (2, 256, 10)),
        ((2**15, 10, 256, 25_000_000), (1, 256, 10)),
    ],
    ids=str,
)
def test_chunks_are_long_where_tables_are_and_short_where_steps_are(arguments, shape):
    assert shape_of(*arguments) == shape
    assert all(isinstance(size, int) for size in shape_of(*arguments))


def test_the_arrays_of_a_batch_hold_the_batches_of_all_tables_of_a_fit():
    assert batch_rows(256, 270, 300) == 192
    assert batch_rows(256, 200, 300) == 256
    assert batch_rows(np.int8(100), 10**6) == 100


@pytest.mark.parametrize(
    ("n_rows", "params", "budget", "is_resident"),
    [
        (40_000, {}, 2, True),
        (40_000, {}, 1, False),
        (40_000, {}, 0, False),
        (40_000, {"noise": 0.1}, 2, False),
        (40_000, {"max_iter": 1}, 2, False),
        (40_000, {"max_iter": 2, "max_steps": 400}, 2, False),
        (30_000, {}, 2, False),
    ],
    ids=str,
)
def test_a_long_table_is_resident_where_it_is_read_again_and_fits(
    n_rows, params, budget, is_resident
):
    table = Table(np.broadcast_to(np.float32(0), (n_rows, 7)))
    config = training_config(AutoencoderTransformer(batch_size=100, **params))
    with config_context(working_memory=budget):
        plan = plan_fit(OBJECTIVE, table, ARCHITECTURE, [all_rows(n_rows)], config, True)
    assert plan.n_resident == (40_960 if is_resident else None)
    several = table._replace(workers=table.workers._replace(strategy="a strategy"))
    plan = plan_fit(OBJECTIVE, several, ARCHITECTURE, [all_rows(n_rows)], config, True)
    assert plan.n_resident is None


@pytest.mark.parametrize("budget", [0, 1])
def test_encoders_train_along_given_axes_where_the_table_may_be_resident(budget):
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(7, 5)))[0].T
    table, config = Table(np.zeros((100, 7))), training_config(AutoencoderTransformer())
    with config_context(working_memory=budget):
        plan = plan_fit(OBJECTIVE, table, ARCHITECTURE, [all_rows(100)], config, True, axes)
    assert plan.n_resident == (128 if budget else None)
    params = start_at_pca(axes[:2], np.ones(2), [7, 4, 2], np.random.default_rng(0))
    inner = plan.inner_params(params)
    rows = np.random.default_rng(1).normal(size=(9, 5)) @ axes
    inputs = rows @ axes.T if budget else rows
    code = forward(params["encoder"], rows, "silu", "identity")
    np.testing.assert_allclose(
        forward(inner["encoder"], inputs, "silu", "identity"), code, atol=1e-6
    )
    outer = plan.outer_params(inner)
    np.testing.assert_allclose(forward(outer["encoder"], rows, "silu", "identity"), code, atol=1e-6)


def test_chunks_of_a_resident_table_are_as_long_as_an_interrupt_may_wait():
    table = Table(np.broadcast_to(0.0, (60_000, 784)))
    architecture = ARCHITECTURE._replace(n_components=64, hidden_layer_sizes=(512,))
    assert chunk_shape(table, architecture, 256)[0] == 20  # 16 MB
    assert chunk_shape(table, architecture, 256, is_resident=True)[0] == 77  # a tenth of a second


def test_folds_of_a_cross_validation_share_a_shape():
    assert len({shape_of(n, 13, 256, 25) for n in (142, 143, 178)}) == 1


@pytest.mark.parametrize(("n_hidden", "n_stacked"), [(4, 3), (300_000, 3), (400_000, 1)])
def test_runs_over_several_splits_are_made_together_as_far_as_memory_goes(n_hidden, n_stacked):
    table, config = Table(np.empty((50, 7))), training_config(AutoencoderTransformer())
    architecture = ARCHITECTURE._replace(hidden_layer_sizes=(n_hidden,))
    splits = 5 * [Split(np.arange(45), np.arange(45, 50))]
    assert plan_fit(OBJECTIVE, table, architecture, splits, config, True).n_stacked == n_stacked
    workers = table.workers._replace(strategy="a strategy")
    table = table._replace(workers=workers)
    assert plan_fit(OBJECTIVE, table, architecture, splits, config, True).n_stacked == 1


@given(st.integers(0, 3000), st.integers(1, 500), st.integers(1, 128))
def test_chunks_end_wherever_held_out_rows_are_evaluated(stop, evaluate_every, most):
    rates = np.ones(3000, dtype=np.float32)
    plan = Plan(
        objective=None,
        shape=(most, 4, 7),
        n_training=1000,
        rates=rates,
        evaluate_every=evaluate_every,
        stop=stop,
        config=training_config(AutoencoderTransformer()),
    )
    lengths = list(plan.chunk_lengths())
    assert sum(lengths) == stop
    assert all(1 <= length <= most for length in lengths)
    ends = np.cumsum(lengths)
    evaluations = [end for end in ends if plan.evaluates_at(end)]
    expected = sorted({*range(evaluate_every, stop + 1, evaluate_every), *([stop] if stop else [])})
    assert evaluations == expected
    assert plan.n_evaluations == len(expected)
    # no more chunks than it takes
    between = np.diff([0, *expected])
    assert len(lengths) == sum(-(-gap // most) for gap in between)


@pytest.mark.parametrize(
    ("n_training", "params", "n_steps"),
    [
        (100, {}, 600),
        (1000, {}, 1000),
        (10**6, {}, 2400),
        (1000, {"max_steps": 70}, 70),
        (1000, {"max_steps": 70_000}, 70_000),
        (1000, {"max_iter": 3}, 30),
        (1001, {"max_iter": 3}, 33),
        (1000, {"max_iter": 3, "max_steps": 100}, 30),
        (1000, {"max_iter": 30, "max_steps": 100}, 100),
        (1000, {"max_iter": np.int32(3), "max_steps": np.int8(9)}, 9),
    ],
    ids=str,
)
def test_a_fit_is_as_long_as_asked_for_or_as_the_table_needs(n_training, params, n_steps):
    plan = planned(n_training, **params)
    assert plan.stop == len(plan.rates) == n_steps
    assert isinstance(plan.stop, int)
    assert plan.steps_per_epoch == -(-n_training // 100)
    assert (plan.objective, plan.shape[1:], plan.n_training) == (OBJECTIVE, (100, 7), n_training)
    assert list(planned(n_training, **params).chunk_lengths()) == list(plan.chunk_lengths())


@pytest.mark.parametrize("params", [{"max_steps": 10**9 + 1}, {"max_iter": 10**8 + 1}], ids=str)
def test_more_steps_than_can_be_made_are_refused(params):
    (name,) = params
    message = rf"{name}={params[name]}.* ask for 1\.0e\+09 gradient steps, 10 in an epoch; at most"
    with pytest.raises(ValueError, match=message):
        planned(**params)
    assert planned(max_iter=10**30, max_steps=50).stop == 50


FALLS = {"linear": lambda share: 1 - share, "cosine": lambda share: np.cos(np.pi * share) / 2 + 0.5}


@pytest.mark.parametrize("learning_rate", FALLS)
@pytest.mark.parametrize("n_steps", [1, 2, 20, 21, 1000])
def test_schedules_climb_for_a_twentieth_and_fall_to_zero(learning_rate, n_steps):
    plan = planned(max_steps=n_steps, learning_rate=learning_rate, learning_rate_init=0.02)
    assert plan.rates[:].dtype == np.float32
    warm_up = max(1, round(n_steps / 20))
    climb = 0.02 * np.arange(1, warm_up + 1) / warm_up
    np.testing.assert_allclose(plan.rates[:warm_up], climb, rtol=1e-6)
    n_falling = n_steps - warm_up
    fall = 0.02 * FALLS[learning_rate](np.arange(1, n_falling + 1) / max(1, n_falling))
    np.testing.assert_allclose(plan.rates[warm_up:], fall, rtol=1e-5, atol=1e-9)


def test_a_constant_rate_is_one_number():
    plan = planned(learning_rate="constant", learning_rate_init=0.02)
    np.testing.assert_array_equal(plan.rates[:], np.full(1000, 0.02, dtype=np.float32))


@pytest.mark.parametrize("learning_rate", ["constant", *FALLS])
def test_a_rate_beyond_float32_stays_a_number(learning_rate):
    for plan in (
        planned(learning_rate=learning_rate, learning_rate_init=1e300, max_steps=3),
        planned_stream(learning_rate=learning_rate, learning_rate_init=1e300, step=1000),
    ):
        assert np.isfinite(plan.rates[:]).all()
        assert plan.rates[:].max() == np.finfo(np.float32).max


@pytest.mark.parametrize(
    ("params", "every"),
    [
        ({}, 20),  # 100 epochs: fifty evaluations
        ({"max_steps": 30}, 10),
        ({"max_iter": 59}, 10),
        ({"max_iter": 61}, 20),
        ({"max_iter": 8000}, 2000),
        ({"max_iter": 8000, "early_stopping": True}, 100),
        ({"early_stopping": True}, 20),
    ],
    ids=str,
)
def test_held_out_rows_are_evaluated_forty_times_and_at_most_once_an_epoch(params, every):
    assert planned(**params).evaluate_every == every


@pytest.mark.parametrize(
    ("n_held_out", "max_iter", "every"),
    [
        (0, 1, 250),  # a thousand steps in an epoch
        (10_000, 1, 334),  # as long as thirty-three steps: a tenth of the time between
        (50_000, 1, 1000),
        (0, 5, 250),
        (0, 20, 500),  # forty times in all
        (0, 61, 2000),
    ],
)
def test_a_long_epoch_has_several_evaluations_where_they_take_a_tenth(n_held_out, max_iter, every):
    plan = planned(100_000, n_held_out=n_held_out, max_iter=max_iter)
    assert plan.evaluate_every == every


@pytest.mark.parametrize("n_training", [1000, 20_000, 100_000, 300_000])
def test_a_run_is_given_a_quarter_of_its_steps_to_get_better(n_training):
    plan = planned(n_training)
    assert plan.patience * plan.evaluate_every >= plan.stop / 4
    assert (plan.patience - 1) * plan.evaluate_every < plan.stop / 4


@given(st.integers(1, 2000), st.integers(0, 300))
def test_a_stream_climbs_for_a_hundred_steps_and_stays(n_training, step):
    plan = planned_stream(n_training, step, learning_rate_init=0.02)
    n_steps = -(-n_training // 100)
    assert plan.stop == len(plan.rates) == plan.evaluate_every == n_steps
    assert plan.rates[:].dtype == np.float32
    steps = np.arange(step + 1, step + n_steps + 1)
    np.testing.assert_allclose(plan.rates[:], 0.02 * np.minimum(steps / 100, 1), rtol=1e-6)


@given(st.lists(st.integers(1, 2000), min_size=1, max_size=5))
def test_the_rates_of_a_stream_do_not_depend_on_how_it_is_cut(sizes):
    rates, step = [], 0
    for size in sizes:
        rates.append(planned_stream(size, step).rates[:])
        step += len(rates[-1])
    np.testing.assert_array_equal(np.concatenate(rates), planned_stream(100 * step).rates[:])


def test_training_starts_from_float32_params_and_moments_of_zero():
    state = planned(alpha=3.0).initial_state(network().params)
    assert state.step == 0
    for half, parts in network().params.items():
        for name in ("coefs", "intercepts"):
            for place, part in enumerate(parts[name]):
                param = state.params[half][name][place]
                assert param.dtype == np.float32
                np.testing.assert_array_equal(param, part.astype(np.float32))
                for moment in "mv":
                    zeros = state.optimizer_state[moment][half][name][place]
                    assert zeros.shape == part.shape
                    assert zeros.dtype == np.float32
                    assert not zeros.any()


@pytest.mark.parametrize(
    ("alpha", "n_before", "l2"),
    [(3.0, 0, 3 / 1000), (3.0, 500, 3 / 1500), (0.0, 0, 0.0), (1e300, 0, np.finfo("f4").max)],
)
def test_the_penalty_is_on_the_coefs_and_shared_by_the_rows(alpha, n_before, l2):
    state = planned(alpha=alpha).initial_state(network().params, n_before)
    for half in ("encoder", "decoder"):
        penalties = state.optimizer_state["l2"][half]
        assert all(penalty.dtype == np.float32 for penalty in penalties["coefs"])
        np.testing.assert_allclose(penalties["coefs"], l2, rtol=1e-6)
        assert not np.any(penalties["intercepts"])


def test_the_penalty_leaves_the_linear_path_free():
    params = network().params
    params["encoder"]["linear"] = np.ones((7, 2))
    assert planned(alpha=3.0).initial_state(params).optimizer_state["l2"]["encoder"]["linear"] == 0
