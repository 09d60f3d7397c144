"""Selection of the network, and aborted fits."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from skae._data.splits import Split, all_rows
from skae._data.table import Table
from skae._runtime.workers import SINGLE_PROCESS, WorkerLostError, Workers
from skae._training.callbacks import FitCallback
from skae._training.run import StopReason
from skae._training.selection import Outcome, Selection, is_significantly_lower, select_step


@dataclass
class FakePlan:
    """Attributes of a plan that `Selection` reads."""

    n_steps: int
    n_training: int | None
    pca_is_baseline: bool
    n_stacked: int


def fake_run(
    *errors,
    stop_reason=StopReason.COMPLETED,
    name="trained",
    error=None,
    groups=None,
    weights=None,
):
    """Return a run with these validation errors at steps 0, 10, ..."""
    return SimpleNamespace(
        network=name,
        steps=[10 * i for i in range(len(errors))],
        errors=[np.asarray(row, dtype=float) for row in errors],
        losses=np.arange(10.0 * (len(errors) - 1)),
        stop_reason=stop_reason,
        exception=error,
        groups=groups,
        weights=weights,
    )


def kept(outcome):
    """Return the kept network and its step."""
    return outcome.network, outcome.step


def end(outcome):
    """What ended the fit, and the error of a lost worker."""
    return outcome.stop_reason, outcome.exception


ROWS = np.linspace(1, 2, 50)
BETTER, WORSE = (fake_run(ROWS, scale * ROWS, scale**2 * ROWS) for scale in (0.9, 1.1))


@given(st.integers(2, 60), st.floats(-0.2, 0.2), st.sampled_from([0.01, 0.05, 0.3]))
@settings(max_examples=50)
def test_the_test_is_the_paired_one_sided_t_test(n_rows, gain, significance):
    rng = np.random.default_rng(n_rows)
    baseline = rng.uniform(1, 2, size=n_rows)
    errors = baseline - gain + rng.normal(0, 0.2, size=n_rows)
    p_value = ttest_rel(errors, baseline, alternative="less").pvalue
    assume(abs(p_value - significance) > 1e-9)
    assert is_significantly_lower(errors, baseline, significance) == (p_value < significance)


@given(st.floats(-150, 150))
@example(-150)
@example(150)
@settings(max_examples=25)
def test_the_test_does_not_depend_on_the_unit_of_the_errors(exponent):
    rng = np.random.default_rng(0)
    baseline = rng.uniform(1, 2, size=50)
    for gain, expected in ((0.3, True), (0.0, False)):
        errors = baseline - gain * rng.uniform(0.5, 1, size=50) + 1e-3 * rng.normal(size=50)
        unit = 10.0**exponent
        assert is_significantly_lower(unit * errors, unit * baseline, 0.01) == expected


def test_nothing_is_lower_than_one_row_or_errors_that_are_no_numbers():
    assert not is_significantly_lower(np.array([0.0]), np.array([1.0]), 0.05)
    for number in (np.inf, np.nan):
        assert not is_significantly_lower(np.zeros(3), np.array([1, 1, number]), 0.05)
    assert not is_significantly_lower(np.array([0, 0, np.nan]), np.ones(3), 0.05)
    assert not is_significantly_lower(np.zeros(3), np.zeros(3), 0.05)
    assert is_significantly_lower(np.zeros(3), np.ones(3), 0.05)


def test_groups_of_one_row_are_tested_as_rows():
    rng = np.random.default_rng(0)
    baseline = rng.uniform(1, 2, size=(200, 12))
    errors = baseline - 0.1 + rng.normal(0, 0.2, size=baseline.shape)
    groups = rng.permutation(12)
    for ours, theirs in zip(errors, baseline, strict=True):
        expected = is_significantly_lower(ours, theirs, 0.05)
        assert is_significantly_lower(ours, theirs, 0.05, groups) == expected


@pytest.mark.parametrize("n_groups", [6, 30])
def test_rows_of_one_group_are_one_observation(n_groups):
    rng = np.random.default_rng(n_groups)
    groups = np.repeat(np.arange(n_groups), rng.integers(15, 25, size=n_groups))
    baseline = rng.uniform(1, 2, size=len(groups))
    gains = rng.normal(0, 0.3, size=(400, n_groups))[:, groups]
    gains += rng.normal(0, 0.1, size=gains.shape)
    with_groups, without = (
        np.mean([is_significantly_lower(baseline - gain, baseline, 0.05, given) for gain in gains])
        for given in (groups, None)
    )
    assert 0.01 < with_groups < 0.1
    assert without > 0.3
    better = baseline - gains[0] - 1
    assert is_significantly_lower(better, baseline, 0.05, groups)


def test_one_group_decides_nothing_and_few_must_agree():
    assert not is_significantly_lower(ROWS / 2, ROWS, 0.05, np.zeros(50, int))
    assert is_significantly_lower(ROWS / 2, ROWS, 0.05)
    groups = np.arange(50) // 10
    assert select_step([fake_run(ROWS, ROWS / 2, groups=groups)], pca_is_baseline=True)[0] == 10
    mixed = np.where(groups == 4, 1.1 * ROWS, ROWS / 2)
    assert select_step([fake_run(ROWS, mixed)], pca_is_baseline=True)[0] == 10
    assert select_step([fake_run(ROWS, mixed, groups=groups)], pca_is_baseline=True)[0] == 0
    both = [fake_run(ROWS, ROWS / 2, groups=np.full(50, number)) for number in range(2)]
    assert select_step(both[:1], pca_is_baseline=True)[0] == 0
    assert select_step(both, pca_is_baseline=True)[0] == 10


def test_splits_that_disagree_select_together():
    assert Outcome.from_runs([BETTER], pca_is_baseline=True).step == 20
    together = Outcome.from_runs([BETTER, WORSE], pca_is_baseline=True)
    assert (together.network, together.step) == (None, 0)
    np.testing.assert_allclose(
        together.curve, [[0, 1.5], [10, 1.5], [20, 1.5 * (0.81 + 1.21) / 2]], rtol=1e-12
    )
    # without PCA step 0 is a network as any other
    assert kept(Outcome.from_runs([WORSE], pca_is_baseline=False)) == ("trained", 0)


def test_an_outcome_has_the_losses_of_the_first_run_and_the_end_of_the_last():
    gone = WorkerLostError("gone")
    last = fake_run(ROWS, ROWS, stop_reason=StopReason.WORKER_LOST, error=gone)
    outcome = Outcome.from_runs([BETTER, last], pca_is_baseline=True)
    assert (outcome.stop_reason, outcome.exception) == (StopReason.WORKER_LOST, gone)
    np.testing.assert_array_equal(outcome.losses, BETTER.losses)
    diverged = fake_run(ROWS, ROWS, stop_reason=StopReason.DIVERGED)
    assert (
        Outcome.from_runs([diverged, BETTER], pca_is_baseline=True).stop_reason
        == StopReason.DIVERGED
    )
    assert (
        Outcome.from_runs(
            [fake_run(ROWS, stop_reason=StopReason.EXACT)], pca_is_baseline=True
        ).stop_reason
        == StopReason.EXACT
    )


def test_the_choice_is_of_python_numbers():
    step, curve = select_step([BETTER], pca_is_baseline=True)
    assert type(step) is int
    assert curve.dtype == np.float64


def test_an_interrupt_is_kept_once_and_where_no_other_worker_waits():
    several, done = Workers(None, range(2), 4), Outcome.from_runs([BETTER], pca_is_baseline=True)
    interrupt, lost = KeyboardInterrupt(), WorkerLostError("gone")
    assert end(done.aborted(interrupt, SINGLE_PROCESS)) == (StopReason.INTERRUPTED, interrupt)
    for workers in (SINGLE_PROCESS, several):
        assert end(done.aborted(lost, workers)) == (StopReason.WORKER_LOST, lost)
    assert kept(done.aborted(lost, several)) == kept(done)
    with pytest.raises(KeyboardInterrupt):
        done.aborted(interrupt, several)
    interrupted = replace(done, stop_reason=StopReason.INTERRUPTED)
    for error in (interrupt, lost):
        with pytest.raises(type(error)):
            interrupted.aborted(error, SINGLE_PROCESS)


@dataclass(frozen=True)
class Asked:
    """The arguments with which the runs of a group of splits were asked for."""

    splits: list
    plan: FakePlan
    number: int


class FakeTraining:
    """Training that returns or raises given runs and exceptions in turn."""

    def __init__(self, *to_come):
        self.to_come, self.asked = list(to_come), []

    def __call__(self, problem, plan, splits, number, callback):
        plan = replace(plan, n_training=len(splits[0].training))
        self.asked.append(Asked(splits, plan, number))
        runs = [self.to_come.pop(0) for _ in splits]
        for run in runs:
            if isinstance(run, BaseException):
                raise run
        return runs


def fit_over(n_splits, *to_come, pca_is_baseline=True, n_stacked=1):
    """Fit with these runs; return the outcome, the training and the splits."""
    rows = np.arange(12)
    splits = [Split(np.delete(rows, i), rows[i : i + 1]) for i in range(n_splits)]
    plan = FakePlan(
        n_steps=1000, n_training=None, pca_is_baseline=pca_is_baseline, n_stacked=n_stacked
    )
    problem = SimpleNamespace(table=Table(np.zeros((12, 3))), splits=splits)
    training = FakeTraining(*to_come)
    return Selection(problem, plan, training).train(FitCallback()), training, splits


def test_one_split_is_one_run():
    outcome, training, _ = fit_over(1, BETTER)
    assert kept(outcome) == ("trained", 20)
    (asked,) = training.asked
    assert (asked.plan.n_steps, asked.plan.n_training) == (1000, 11)


LAST = fake_run([], [], name="last")


def test_several_splits_choose_the_length_of_a_last_run_on_all_rows():
    outcome, training, splits = fit_over(3, BETTER, BETTER, BETTER, LAST)
    assert (*kept(outcome), outcome.stop_reason) == ("last", 20, StopReason.COMPLETED)
    assert [asked.plan.n_steps for asked in training.asked] == [1000, 20, 20, 20]
    assert [asked.plan.n_training for asked in training.asked] == [11, 11, 11, 12]
    for asked, expected in zip(training.asked, [*splits, all_rows(12)], strict=True):
        (split,) = asked.splits
        for name in ("training", "validation_rows"):
            ours, theirs = getattr(split, name), getattr(expected, name)
            np.testing.assert_array_equal(ours, theirs)
    # each run has a number of its own, which seeds its generator
    assert [asked.number for asked in training.asked] == [0, 1, 2, 3]


def test_splits_that_fit_into_memory_are_trained_in_parallel():
    outcome, training, _ = fit_over(3, BETTER, BETTER, BETTER, LAST, n_stacked=2)
    assert (outcome.network, outcome.step) == ("last", 20)
    assert [len(asked.splits) for asked in training.asked] == [2, 1, 1]
    assert [asked.plan.n_steps for asked in training.asked] == [1000, 20, 20]


def test_if_the_splits_keep_pca_there_is_no_last_run():
    outcome, training, _ = fit_over(2, BETTER, WORSE)
    assert (outcome.network, outcome.step) == (None, 0)
    assert len(training.asked) == 2


@pytest.mark.parametrize("reason", [StopReason.INTERRUPTED, StopReason.WORKER_LOST])
@pytest.mark.parametrize("n_made", [1, 2])
def test_an_aborted_run_leaves_the_network_of_the_first_split(reason, n_made):
    gone = WorkerLostError("gone") if reason == StopReason.WORKER_LOST else None
    aborted = fake_run(ROWS, 0 * ROWS, stop_reason=reason, name="aborted", error=gone)
    outcome, _, _ = fit_over(2, *[BETTER] * n_made, aborted)
    assert kept(outcome) == ("trained", 20)
    assert end(outcome) == (reason, gone)


@pytest.mark.parametrize("reason", [StopReason.DIVERGED, StopReason.EARLY])
def test_a_last_run_that_does_not_complete_leaves_the_network_of_the_first_split(reason):
    other = fake_run(ROWS, 0.8 * ROWS, 0.7 * ROWS, name="other")
    outcome, _, _ = fit_over(2, BETTER, other, fake_run([], [], stop_reason=reason, name="last"))
    assert (*kept(outcome), outcome.stop_reason) == ("trained", 20, reason)
    np.testing.assert_array_equal(outcome.curve, select_step([BETTER], pca_is_baseline=True)[1])


@pytest.mark.parametrize("error", [KeyboardInterrupt(), WorkerLostError("gone")], ids=repr)
def test_an_exception_between_two_runs_leaves_the_first_network(error):
    is_lost = isinstance(error, WorkerLostError)
    reason = StopReason.WORKER_LOST if is_lost else StopReason.INTERRUPTED
    for n_made in (1, 2):
        outcome, _, _ = fit_over(2, *[BETTER] * n_made, error)
        assert kept(outcome) == ("trained", 20)
        assert end(outcome) == (reason, error)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), WorkerLostError("gone")], ids=repr)
def test_an_exception_before_the_first_network_is_raised(error):
    with pytest.raises(type(error)):
        fit_over(2, error)


def test_a_weight_counts_as_a_group_of_equal_rows():
    rng = np.random.default_rng(0)
    weights = rng.integers(1, 5, size=50)
    repeated = np.repeat(np.arange(50), weights)
    for gain in np.linspace(0, 0.6, 20):
        errors = ROWS - gain * rng.exponential(size=50) + 0.2 * rng.normal(size=50)
        expected = is_significantly_lower(errors[repeated], ROWS[repeated], 0.05, repeated)
        assert is_significantly_lower(errors, ROWS, 0.05, None, weights.astype(float)) == expected
    run = fake_run(ROWS, 3 - ROWS, weights=1 / ROWS)
    _, curve = select_step([run], pca_is_baseline=False)
    expected = [np.average(errors, weights=1 / ROWS) for errors in run.errors]
    assert curve[:, 1] == pytest.approx(expected)
