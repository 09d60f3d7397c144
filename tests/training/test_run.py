"""Training runs, stop reasons, and selection of the network."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skae import AutoencoderTransformer
from skae._data.splits import Split, all_rows, random_splits
from skae._data.table import Table
from skae._initialization.architecture import Architecture
from skae._initialization.initial_network import first_network
from skae._parameters import training_config
from skae._runtime.workers import WorkerLostError
from skae._training.callbacks import FitCallback
from skae._training.losses import Reconstruction
from skae._training.plan import plan_fit
from skae._training.problem import Problem
from skae._training.run import Run, StopReason, train
from skae._training.selection import Selection, is_significantly_lower, select_step

from ..faults import TRAINING_LOOP, raising

ACTIVATIONS = ("silu", "identity", "identity")
ARCHITECTURE = Architecture(n_components=2, hidden_layer_sizes=(8,), activations=ACTIVATIONS)


def curved_rows(n_samples=200, seed=0):
    t = np.random.default_rng(seed).uniform(-2, 2, size=(n_samples, 1))
    return np.hstack([np.sin(t), np.cos(2 * t), t**2, np.sin(3 * t), t])


def start(table):
    return first_network(table, ARCHITECTURE, 0)


def problem(table, splits, **params):
    params = {"max_steps": 40, "learning_rate_init": 1e-2, "tol": 0.0} | params
    return Problem(
        table=table,
        splits=splits,
        architecture=ARCHITECTURE,
        objective=Reconstruction(ACTIVATIONS),
        initial_network=lambda table, architecture: first_network(table, architecture, 0),
        config=training_config(AutoencoderTransformer(**params)),
        seed=0,
        pca_is_baseline=True,
    )


def planned(n_training, **params):
    return plan_fit(problem(Table(np.empty((n_training, 5))), [all_rows(n_training)], **params))


class Recorder(FitCallback):
    """Records its calls, and stops the run after some evaluations."""

    def __init__(self, stop_after=10**9):
        self.called, self.stop_after = [], stop_after

    def on_interval_begin(self):
        self.called.append("interval begins")

    def on_evaluation(self, run, seconds_left):
        self.called.append("evaluation")
        return self.called.count("evaluation") >= self.stop_after

    def on_run_end(self, run):
        self.called.append("run ends")


def trained(callback=None, n_samples=200, **params):
    table = Table(curved_rows(n_samples))
    split = random_splits(n_samples, 0.2, 1, np.random.default_rng(0))[0]
    first = start(table.select(split.training))
    run = Run.begin(table, split, first, planned(len(split.training), **params))
    train([run], [np.random.default_rng(0)], callback)
    return run


# ---- runs


def test_a_run_keeps_the_snapshot_with_the_lowest_validation_error():
    run = trained(max_steps=400)
    errors = np.mean(run.errors, axis=1)
    assert run.stop_reason == StopReason.COMPLETED
    assert run.steps[0] == 0
    assert run.steps[-1] == run.step == len(run.losses) == 400
    assert errors.min() < errors[0] / 1.5
    validation_rows = Table(curved_rows()).select(
        random_splits(200, 0.2, 1, np.random.default_rng(0))[0].validation_rows
    )
    again = run.plan.objective.row_errors(run.network, validation_rows)
    assert again.mean() == errors.min()


def test_a_callback_is_called_at_each_evaluation_and_can_end_the_run():
    recorder = Recorder(stop_after=2)
    run = trained(recorder)
    assert run.stop_reason == StopReason.EARLY
    assert recorder.called == [
        "interval begins",
        "evaluation",
        "interval begins",
        "evaluation",
        "run ends",
    ]
    recorder = Recorder()
    assert trained(recorder).stop_reason == StopReason.COMPLETED
    assert recorder.called[-3:] == ["interval begins", "evaluation", "run ends"]


def test_early_stopping_requires_validation_rows():
    params = {"early_stopping": True, "n_iter_no_change": 2, "tol": 10.0, "max_steps": 40}
    run = trained(**params)
    assert run.stop_reason == StopReason.EARLY
    assert len(run.steps) == 3
    table = Table(curved_rows())
    everyone = Run.begin(table, all_rows(200), start(table), planned(200, **params))
    train([everyone], [np.random.default_rng(0)])
    assert everyone.stop_reason == StopReason.COMPLETED
    assert everyone.state.step == 40


def test_a_run_that_explodes_stops_and_keeps_its_initial_network():
    run = trained(learning_rate_init=1e30)
    assert run.stop_reason == StopReason.DIVERGED
    assert run.network is run.initial_network


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KeyboardInterrupt(), StopReason.INTERRUPTED),
        (WorkerLostError("gone"), StopReason.WORKER_LOST),
    ],
)
def test_the_reason_of_an_abort_is_stored(error, reason):
    recorder = Recorder()
    with raising(TRAINING_LOOP, error, after=2):
        run = trained(recorder, max_steps=400)
    assert run.stop_reason == reason
    assert (run.exception is error) == (reason == StopReason.WORKER_LOST)
    assert run.steps[-1] == run.step > 0
    assert recorder.called[-1] == "run ends"


# ---- selection


def fake_run(*errors):
    """Return a run whose validation errors at steps 0, 10, ... are these rows."""
    errors = [np.asarray(row, dtype=float) for row in errors]
    table = Table(curved_rows(20))
    run = Run.begin(table, all_rows(20), start(table), planned(20))
    run.steps, run.errors = [10 * i for i in range(len(errors))], errors
    return run


def test_pca_is_kept_unless_the_gain_is_significant():
    rng = np.random.default_rng(0)
    baseline = rng.uniform(1, 2, size=100)
    lucky, better = baseline + rng.normal(0, 1, 100) - 0.01, baseline - rng.uniform(0.1, 0.3, 100)
    assert not is_significantly_lower(lucky, baseline, 0.05)
    assert is_significantly_lower(better, baseline, 0.05)
    assert select_step([fake_run(baseline, lucky)], pca_is_baseline=True)[0] == 0
    step, curve = select_step([fake_run(baseline, lucky, better)], pca_is_baseline=True)
    assert step == 20
    np.testing.assert_allclose(curve[:, 1], [baseline.mean(), lucky.mean(), better.mean()])


@given(st.integers(0, 200))
@settings(max_examples=25)
def test_the_false_positive_rate_is_one_in_twenty(seed):
    rng = np.random.default_rng(seed)
    baseline = rng.uniform(1, 2, size=(400, 50))
    taken = [is_significantly_lower(row + rng.normal(0, 0.1, 50), row, 0.05) for row in baseline]
    assert 0.01 < np.mean(taken) < 0.1


def test_without_pca_the_lowest_error_is_selected_and_without_rows_the_last_step():
    errors = np.array([2.0, 3.0])
    assert select_step([fake_run(errors, errors - 1e-9, errors)], pca_is_baseline=False)[0] == 10
    step, curve = select_step([fake_run([], [], [])], pca_is_baseline=False)
    assert step == 20
    assert curve.shape == (0, 2)


def test_all_splits_select_among_the_steps_of_the_shortest_run():
    one, other = fake_run([4, 4], [1, 1], [2, 2]), fake_run([4, 4], [9, 9])
    assert select_step([one], pca_is_baseline=False)[0] == 10
    step, curve = select_step([one, other], pca_is_baseline=False)
    assert step == 0
    assert curve.tolist() == [[0, 4], [10, 5]]


# ---- several splits


def fitted(n_samples=60, callback=None, **params):
    table = Table(curved_rows(n_samples))
    splits = random_splits(n_samples, 0.2, 40, np.random.default_rng(0))
    stated = problem(table, splits, **{"max_steps": 120} | params)
    plan = planned(len(splits[0].training), **{"max_steps": 120} | params)
    return Selection(stated, plan).train(callback or FitCallback())


@pytest.mark.slow
def test_the_last_run_of_several_splits_trains_on_all_rows_up_to_the_selected_step():
    outcome = fitted()
    assert outcome.stop_reason == StopReason.COMPLETED
    assert outcome.step > 0
    np.testing.assert_allclose(outcome.network.offset, curved_rows(60).mean(axis=0))


@pytest.mark.slow
def test_the_outcome_has_no_network_if_pca_is_kept():
    outcome = fitted(learning_rate_init=1e-30)
    assert outcome.network is None
    assert outcome.step == 0


def test_a_fit_that_a_callback_ends_reports_the_first_split_alone():
    class StopAtOnce(FitCallback):
        def on_evaluation(self, run, seconds_left):
            return len(run.errors[-1]) == 0  # in the last run

    outcome = fitted(callback=StopAtOnce())
    first = outcome.curve[outcome.curve[:, 0] == outcome.step, 1]
    assert first == outcome.curve[:, 1].min()
    assert not np.allclose(outcome.network.offset, curved_rows(60).mean(axis=0))


# ---- several runs at once


def runs_over_splits(n_splits, **params):
    table = Table(curved_rows(60))
    splits = random_splits(60, 0.2, 12 * n_splits, np.random.default_rng(0))
    plan = planned(48, **params)
    return [Run.begin(table, split, start(table.select(split.training)), plan) for split in splits]


def rngs(n_runs):
    return [np.random.default_rng(i) for i in range(n_runs)]


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.slow
def test_parallel_runs_equal_single_runs(noise):
    parallel, single = runs_over_splits(3, noise=noise), runs_over_splits(3, noise=noise)
    train(parallel, rngs(3))
    for run, rng in zip(single, rngs(3), strict=True):
        train([run], [rng])
    assert len({run.losses[0] for run in parallel}) == 3
    for ours, theirs in zip(parallel, single, strict=True):
        assert ours.steps == theirs.steps
        np.testing.assert_allclose(ours.losses, theirs.losses, rtol=1e-4)
        np.testing.assert_allclose(ours.errors, theirs.errors, rtol=1e-3)


def test_a_stop_reason_of_one_run_stops_all_parallel_runs():
    runs = runs_over_splits(3, early_stopping=True, n_iter_no_change=1, tol=10.0)
    train(runs, rngs(3))
    assert [run.stop_reason for run in runs] == [StopReason.EARLY] * 3
    assert len({run.step for run in runs}) == 1
    runs = runs_over_splits(3)
    runs[1].stop_reason = StopReason.EXACT
    train(runs, rngs(3))
    assert [run.stop_reason for run in runs] == [StopReason.EXACT] * 3
    assert [run.step for run in runs] == [0] * 3


def test_a_run_of_automatic_length_stops_if_its_error_has_risen():
    noise = Table(np.random.default_rng(0).normal(size=(80, 5)))
    ends = {}
    for name, params in {
        "auto": {"max_steps": None},
        "asked for": {"max_steps": 600},
    }.items():
        plan = planned(60, **params)
        split = Split(np.arange(60), np.arange(60, 80))
        run = Run.begin(noise, split, start(noise.select(split.training)), plan)
        train([run], rngs(1))
        ends[name] = run.stop_reason, run.step
    assert ends["auto"][0] == StopReason.EARLY
    assert ends["auto"][1] < 300
    assert ends["asked for"] == (StopReason.COMPLETED, 600)
    curved = trained(max_steps=None)
    assert (curved.stop_reason, curved.step) == (StopReason.COMPLETED, 600)


def test_validation_weights_of_several_splits_have_one_scale():
    weights = np.random.default_rng(0).uniform(0.2, 1.8, size=40)
    table, rng = Table(curved_rows(40), weights=weights), np.random.default_rng(0)
    for split in random_splits(40, 0.25, 40, rng):
        run = Run.begin(table, split, start(table), planned(30))
        np.testing.assert_array_equal(run.weights, weights[split.validation_rows])
