"""Plans of runs: chunks, length, learning rates, evaluations."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import config_context

from skae import AutoencoderTransformer
from skae._data.splits import Split, all_rows
from skae._data.table import Table
from skae._initialization.architecture import Architecture
from skae._initialization.initial_network import init_from_pca, init_random
from skae._networks.network import Autoencoder, forward
from skae._parameters import training_config
from skae._training.losses import Reconstruction
from skae._training.plan import Plan, batch_rows, chunk_shape, plan_fit, plan_stream
from skae._training.problem import Problem

ARCHITECTURE = Architecture(
    n_components=2,
    hidden_layer_sizes=(4,),
    activations=("silu", "identity", "identity"),
    bounds="auto",
)
OBJECTIVE = Reconstruction(ARCHITECTURE.activations)


def problem(table, splits=None, architecture=ARCHITECTURE, encoder_axes=None, **params):
    """A fit that starts at PCA, with these parameters of the estimator."""
    return Problem(
        table=table,
        splits=splits or [all_rows(table.n_rows)],
        architecture=architecture,
        objective=OBJECTIVE,
        initial_network=None,
        config=training_config(AutoencoderTransformer(**{"batch_size": 100} | params)),
        seed=0,
        pca_is_baseline=True,
        encoder_axes=encoder_axes,
    )


def planned(n_training=1000, pca_is_baseline=True, n_validation=0, **params):
    """The plan of a fit: ten steps in an epoch."""
    splits = [Split(np.arange(n_training), np.arange(n_validation))]
    stated = problem(Table(np.empty((n_training, 7))), splits, **params)
    return plan_fit(replace(stated, pca_is_baseline=pca_is_baseline))


def planned_stream(n_rows=1000, step=0, **params):
    return plan_stream(problem(Table(np.empty((n_rows, 7))), **params), step)


def network():
    params = init_random("normal", [7, 4, 2], np.random.default_rng(0))
    bounds = np.full((2, 7), [[-np.inf], [np.inf]])
    return Autoencoder(
        params=params,
        offset=np.zeros(7),
        scale=1.0,
        bounds=bounds,
        activations=("silu", "identity", "identity"),
    )


def shape_of(n_samples, n_features, batch_size, n_hidden, n_stacked=1):
    """Return the chunk shape of a network with n_features * 4 * n_hidden weights."""
    table = Table(np.broadcast_to(0.0, (n_samples, n_features)))
    architecture = replace(ARCHITECTURE, n_components=n_features, hidden_layer_sizes=(n_hidden,))
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
def test_chunks_are_long_for_long_tables_and_short_for_slow_steps(arguments, shape):
    assert shape_of(*arguments) == shape
    assert all(isinstance(size, int) for size in shape_of(*arguments))


def test_the_arrays_of_a_batch_have_the_size_of_the_longest_batch():
    assert batch_rows(256, 270, 300) == 192
    assert batch_rows(256, 200, 300) == 256
    assert batch_rows(np.int8(100), 10**6) == 100


@pytest.mark.parametrize(
    ("n_rows", "params", "budget", "is_on_device"),
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
def test_a_long_table_is_on_the_device_if_it_fits_and_has_several_epochs(
    n_rows, params, budget, is_on_device
):
    table = Table(np.broadcast_to(np.float32(0), (n_rows, 7)))
    with config_context(working_memory=budget):
        plan = plan_fit(problem(table, **params))
    assert plan.n_on_device == (40_960 if is_on_device else None)
    several = replace(table, workers=replace(table.workers, strategy="a strategy"))
    plan = plan_fit(problem(several, **params))
    assert plan.n_on_device is None


@pytest.mark.parametrize("budget", [0, 1])
def test_encoders_are_trained_along_given_axes_if_the_table_may_be_on_the_device(budget):
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(7, 5)))[0].T
    table = Table(np.zeros((100, 7)))
    with config_context(working_memory=budget):
        plan = plan_fit(problem(table, batch_size=256, encoder_axes=axes))
    assert plan.n_on_device == (128 if budget else None)
    params = init_from_pca(axes[:2], np.ones(2), [7, 4, 2], np.random.default_rng(0))
    inner = plan.params_in_axes(params)
    rows = np.random.default_rng(1).normal(size=(9, 5)) @ axes
    inputs = rows @ axes.T if budget else rows
    code = forward(params["encoder"], rows, "silu", "identity")
    np.testing.assert_allclose(
        forward(inner["encoder"], inputs, "silu", "identity"), code, atol=1e-6
    )
    outer = plan.params_in_columns(inner)
    np.testing.assert_allclose(forward(outer["encoder"], rows, "silu", "identity"), code, atol=1e-6)


def test_chunks_of_a_table_on_the_device_have_a_bounded_time():
    table = Table(np.broadcast_to(0.0, (60_000, 784)))
    architecture = replace(ARCHITECTURE, n_components=64, hidden_layer_sizes=(512,))
    assert chunk_shape(table, architecture, 256)[0] == 20  # 16 MB
    assert chunk_shape(table, architecture, 256, is_on_device=True)[0] == 77  # a tenth of a second


def test_folds_of_a_cross_validation_share_a_shape():
    assert len({shape_of(n, 13, 256, 25) for n in (142, 143, 178)}) == 1


@pytest.mark.parametrize(("n_hidden", "n_stacked"), [(4, 3), (300_000, 3), (400_000, 1)])
def test_runs_over_several_splits_are_made_together_as_far_as_memory_goes(n_hidden, n_stacked):
    table = Table(np.empty((50, 7)))
    architecture = replace(ARCHITECTURE, hidden_layer_sizes=(n_hidden,))
    splits = 5 * [Split(np.arange(45), np.arange(45, 50))]
    assert plan_fit(problem(table, splits, architecture)).n_stacked == n_stacked
    workers = replace(table.workers, strategy="a strategy")
    table = replace(table, workers=workers)
    assert plan_fit(problem(table, splits, architecture)).n_stacked == 1


@given(st.integers(0, 3000), st.integers(1, 500), st.integers(1, 128))
def test_a_chunk_ends_at_each_evaluation(stop, evaluate_every, most):
    rates = np.ones(3000, dtype=np.float32)
    plan = Plan(
        objective=None,
        chunk_shape=(most, 4, 7),
        n_training=1000,
        learning_rates=rates,
        evaluate_every=evaluate_every,
        n_steps=stop,
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
    # the minimum number of chunks
    between = np.diff([0, *expected])
    assert len(lengths) == sum(-(-distance // most) for distance in between)


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
def test_the_number_of_steps_is_given_or_computed_from_the_table(n_training, params, n_steps):
    plan = planned(n_training, **params)
    assert plan.n_steps == len(plan.learning_rates) == n_steps
    assert isinstance(plan.n_steps, int)
    assert plan.steps_per_epoch == -(-n_training // 100)
    assert (plan.objective, plan.chunk_shape[1:], plan.n_training) == (
        OBJECTIVE,
        (100, 7),
        n_training,
    )
    assert list(planned(n_training, **params).chunk_lengths()) == list(plan.chunk_lengths())


@pytest.mark.parametrize("params", [{"max_steps": 10**9 + 1}, {"max_iter": 10**8 + 1}], ids=str)
def test_too_many_steps_are_an_error(params):
    (name,) = params
    message = rf"{name}={params[name]}.* 1\.0e\+09 gradient steps \(10 per epoch\), but at most"
    with pytest.raises(ValueError, match=message):
        planned(**params)
    assert planned(max_iter=10**30, max_steps=50).n_steps == 50


FALLS = {"linear": lambda share: 1 - share, "cosine": lambda share: np.cos(np.pi * share) / 2 + 0.5}


@pytest.mark.parametrize("learning_rate", FALLS)
@pytest.mark.parametrize("n_steps", [1, 2, 20, 21, 1000])
def test_learning_rates_increase_for_a_twentieth_and_decrease_to_zero(learning_rate, n_steps):
    plan = planned(max_steps=n_steps, learning_rate=learning_rate, learning_rate_init=0.02)
    assert plan.learning_rates[:].dtype == np.float32
    warm_up = max(1, round(n_steps / 20))
    climb = 0.02 * np.arange(1, warm_up + 1) / warm_up
    np.testing.assert_allclose(plan.learning_rates[:warm_up], climb, rtol=1e-6)
    n_falling = n_steps - warm_up
    fall = 0.02 * FALLS[learning_rate](np.arange(1, n_falling + 1) / max(1, n_falling))
    np.testing.assert_allclose(plan.learning_rates[warm_up:], fall, rtol=1e-5, atol=1e-9)


def test_a_constant_rate_is_one_number():
    plan = planned(learning_rate="constant", learning_rate_init=0.02)
    np.testing.assert_array_equal(plan.learning_rates[:], np.full(1000, 0.02, dtype=np.float32))


@pytest.mark.parametrize("learning_rate", ["constant", *FALLS])
def test_a_rate_above_the_float32_range_is_finite(learning_rate):
    for plan in (
        planned(learning_rate=learning_rate, learning_rate_init=1e300, max_steps=3),
        planned_stream(learning_rate=learning_rate, learning_rate_init=1e300, step=1000),
    ):
        assert np.isfinite(plan.learning_rates[:]).all()
        assert plan.learning_rates[:].max() == np.finfo(np.float32).max


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
def test_validation_rows_are_evaluated_forty_times_and_at_most_once_an_epoch(params, every):
    assert planned(**params).evaluate_every == every


@pytest.mark.parametrize(
    ("n_validation", "max_iter", "every"),
    [
        (0, 1, 250),  # a thousand steps in an epoch
        (10_000, 1, 334),  # an evaluation takes as long as 33 steps: a tenth of the interval
        (50_000, 1, 1000),
        (0, 5, 250),
        (0, 20, 500),  # forty times in all
        (0, 61, 2000),
    ],
)
def test_a_long_epoch_has_several_evaluations(n_validation, max_iter, every):
    plan = planned(100_000, n_validation=n_validation, max_iter=max_iter)
    assert plan.evaluate_every == every


@pytest.mark.parametrize("n_training", [1000, 20_000, 100_000, 300_000])
def test_the_patience_of_a_run_is_a_quarter_of_its_evaluations(n_training):
    plan = planned(n_training)
    assert plan.patience * plan.evaluate_every >= plan.n_steps / 4
    assert (plan.patience - 1) * plan.evaluate_every < plan.n_steps / 4


@given(st.integers(1, 2000), st.integers(0, 300))
def test_the_rate_of_a_stream_increases_for_a_hundred_steps(n_training, step):
    plan = planned_stream(n_training, step, learning_rate_init=0.02)
    n_steps = -(-n_training // 100)
    assert plan.n_steps == len(plan.learning_rates) == plan.evaluate_every == n_steps
    assert plan.learning_rates[:].dtype == np.float32
    steps = np.arange(step + 1, step + n_steps + 1)
    np.testing.assert_allclose(plan.learning_rates[:], 0.02 * np.minimum(steps / 100, 1), rtol=1e-6)


@given(st.lists(st.integers(1, 2000), min_size=1, max_size=5))
def test_the_rates_of_a_stream_do_not_depend_on_the_batches(sizes):
    rates, step = [], 0
    for size in sizes:
        rates.append(planned_stream(size, step).learning_rates[:])
        step += len(rates[-1])
    np.testing.assert_array_equal(
        np.concatenate(rates), planned_stream(100 * step).learning_rates[:]
    )


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
def test_the_penalty_is_on_the_coefs_and_divided_by_the_rows(alpha, n_before, l2):
    state = planned(alpha=alpha).initial_state(network().params, n_before)
    for half in ("encoder", "decoder"):
        penalties = state.optimizer_state["l2"][half]
        assert all(penalty.dtype == np.float32 for penalty in penalties["coefs"])
        np.testing.assert_allclose(penalties["coefs"], l2, rtol=1e-6)
        assert not np.any(penalties["intercepts"])


def test_the_penalty_excludes_the_linear_path():
    params = network().params
    params["encoder"]["linear"] = np.ones((7, 2))
    assert planned(alpha=3.0).initial_state(params).optimizer_state["l2"]["encoder"]["linear"] == 0
