"""The choice between runs, and what breaks a fit off."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from skae._data.splits import Split, all_rows
from skae._data.table import Table
from skae._runtime.workers import ALONE, WorkerLostError, Workers
from skae._training.run import Outcome, StopReason, TrainingCallback, choose, clearly_lower, run_fit


@dataclass
class FakePlan:
    """The parts of a plan that the selection among several runs needs."""

    stop: int
    n_training: int | None
    against_pca: bool
    n_stacked: int


def fake_run(*errors, stop_reason=StopReason.COMPLETED, name="trained", error=None, groups=None):
    """A run that was evaluated at steps 0, 10, ..., with these errors of the held-out rows."""
    return SimpleNamespace(
        network=name,
        steps=[10 * i for i in range(len(errors))],
        errors=[np.asarray(row, dtype=float) for row in errors],
        losses=np.arange(10.0 * (len(errors) - 1)),
        stop_reason=stop_reason,
        error=error,
        groups=groups,
    )


def kept(outcome):
    """The kept network and its step."""
    return outcome.network, outcome.step


def end(outcome):
    """What ended the fit, and the error of a lost worker."""
    return outcome.stop_reason, outcome.error


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
    assert clearly_lower(errors, baseline, significance) == (p_value < significance)


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
        assert clearly_lower(unit * errors, unit * baseline, 0.01) == expected


def test_nothing_is_lower_than_one_row_or_errors_that_are_no_numbers():
    assert not clearly_lower(np.array([0.0]), np.array([1.0]), 0.05)
    for number in (np.inf, np.nan):
        assert not clearly_lower(np.zeros(3), np.array([1, 1, number]), 0.05)
    assert not clearly_lower(np.array([0, 0, np.nan]), np.ones(3), 0.05)
    assert not clearly_lower(np.zeros(3), np.zeros(3), 0.05)
    assert clearly_lower(np.zeros(3), np.ones(3), 0.05)


def test_groups_of_one_row_are_tested_as_rows():
    rng = np.random.default_rng(0)
    baseline = rng.uniform(1, 2, size=(200, 12))
    errors = baseline - 0.1 + rng.normal(0, 0.2, size=baseline.shape)
    groups = rng.permutation(12)
    for ours, theirs in zip(errors, baseline, strict=True):
        expected = clearly_lower(ours, theirs, 0.05)
        assert clearly_lower(ours, theirs, 0.05, groups) == expected


@pytest.mark.parametrize("n_groups", [6, 30])
def test_rows_that_depend_on_each_other_are_one_piece_of_evidence(n_groups):
    rng = np.random.default_rng(n_groups)
    groups = np.repeat(np.arange(n_groups), rng.integers(15, 25, size=n_groups))
    baseline = rng.uniform(1, 2, size=len(groups))
    gains = rng.normal(0, 0.3, size=(400, n_groups))[:, groups]
    gains += rng.normal(0, 0.1, size=gains.shape)
    with_groups, without = (
        np.mean([clearly_lower(baseline - gain, baseline, 0.05, given) for gain in gains])
        for given in (groups, None)
    )
    assert 0.01 < with_groups < 0.1
    assert without > 0.3
    better = baseline - gains[0] - 1
    assert clearly_lower(better, baseline, 0.05, groups)


def test_one_group_decides_nothing_and_few_must_agree():
    assert not clearly_lower(ROWS / 2, ROWS, 0.05, np.zeros(50, int))
    assert clearly_lower(ROWS / 2, ROWS, 0.05)
    groups = np.arange(50) // 10
    assert choose([fake_run(ROWS, ROWS / 2, groups=groups)], against_pca=True)[0] == 10
    mixed = np.where(groups == 4, 1.1 * ROWS, ROWS / 2)
    assert choose([fake_run(ROWS, mixed)], against_pca=True)[0] == 10
    assert choose([fake_run(ROWS, mixed, groups=groups)], against_pca=True)[0] == 0
    both = [fake_run(ROWS, ROWS / 2, groups=np.full(50, number)) for number in range(2)]
    assert choose(both[:1], against_pca=True)[0] == 0
    assert choose(both, against_pca=True)[0] == 10


def test_splits_that_disagree_select_together():
    assert Outcome.of([BETTER], against_pca=True).step == 20
    together = Outcome.of([BETTER, WORSE], against_pca=True)
    assert (together.network, together.step) == (None, 0)
    np.testing.assert_allclose(
        together.curve, [[0, 1.5], [10, 1.5], [20, 1.5 * (0.81 + 1.21) / 2]], rtol=1e-12
    )
    # without PCA step 0 is a network as any other
    assert kept(Outcome.of([WORSE], against_pca=False)) == ("trained", 0)


def test_an_outcome_has_the_losses_of_the_first_run_and_the_end_of_the_last():
    gone = WorkerLostError("gone")
    last = fake_run(ROWS, ROWS, stop_reason=StopReason.WORKER_LOST, error=gone)
    outcome = Outcome.of([BETTER, last], against_pca=True)
    assert (outcome.stop_reason, outcome.error) == (StopReason.WORKER_LOST, gone)
    np.testing.assert_array_equal(outcome.losses, BETTER.losses)
    diverged = fake_run(ROWS, ROWS, stop_reason=StopReason.DIVERGED)
    assert Outcome.of([diverged, BETTER], against_pca=True).stop_reason == StopReason.DIVERGED
    assert (
        Outcome.of([fake_run(ROWS, stop_reason=StopReason.EXACT)], against_pca=True).stop_reason
        == StopReason.EXACT
    )


def test_the_choice_is_of_python_numbers():
    step, curve = choose([BETTER], against_pca=True)
    assert type(step) is int
    assert curve.dtype == np.float64


def test_an_interrupt_is_kept_once_and_where_no_other_worker_waits():
    several, done = Workers(None, range(2), 4), Outcome.of([BETTER], against_pca=True)
    interrupt, gone = KeyboardInterrupt(), WorkerLostError("gone")
    assert end(done.aborted(interrupt, ALONE)) == (StopReason.INTERRUPTED, interrupt)
    for workers in (ALONE, several):
        assert end(done.aborted(gone, workers)) == (StopReason.WORKER_LOST, gone)
    assert kept(done.aborted(gone, several)) == kept(done)
    with pytest.raises(KeyboardInterrupt):
        done.aborted(interrupt, several)
    interrupted = replace(done, stop_reason=StopReason.INTERRUPTED)
    for error in (interrupt, gone):
        with pytest.raises(type(error)):
            interrupted.aborted(error, ALONE)


@pytest.fixture
def made(monkeypatch):
    """Runs and errors that training gives in turn, and what it was asked for."""
    to_come, asked = [], []

    def make_run(table, split, start, plan):
        run = to_come.pop(0)
        if isinstance(run, BaseException):
            raise run
        asked.append((split, plan))
        return run

    def train(runs, rngs, callback):
        asked[-len(runs) :] = [
            (*what, rng.random(), len(runs))
            for what, rng in zip(asked[-len(runs) :], rngs, strict=True)
        ]

    monkeypatch.setattr("skae._training.run.Run", make_run)
    monkeypatch.setattr("skae._training.run.train", train)
    return to_come, asked


def fit_over(n_splits, against_pca=True, n_stacked=1):
    rows = np.arange(12)
    splits = [Split(np.delete(rows, i), rows[i : i + 1]) for i in range(n_splits)]
    plan = FakePlan(stop=1000, n_training=None, against_pca=against_pca, n_stacked=n_stacked)
    callback = TrainingCallback()
    outcome = run_fit(Table(np.zeros((12, 3))), lambda table: None, plan, splits, 0, callback)
    return outcome, splits


def test_one_split_is_one_run(made):
    to_come, asked = made
    to_come[:] = [BETTER]
    outcome, _ = fit_over(1)
    assert kept(outcome) == ("trained", 20)
    ((_, plan, *_),) = asked
    assert (plan.stop, plan.n_training) == (1000, 11)


def test_several_splits_choose_the_length_of_a_last_run_on_all_rows(made):
    to_come, asked = made
    to_come[:] = [BETTER, BETTER, BETTER, fake_run([], [], name="last")]
    outcome, splits = fit_over(3)
    assert (*kept(outcome), outcome.stop_reason) == ("last", 20, StopReason.COMPLETED)
    assert [plan.stop for _, plan, *_ in asked] == [1000, 20, 20, 20]
    assert [plan.n_training for _, plan, *_ in asked] == [11, 11, 11, 12]
    for (split, *_), expected in zip(asked, [*splits, all_rows(12)], strict=True):
        for name in ("training", "held_out"):
            ours, theirs = getattr(split, name), getattr(expected, name)
            np.testing.assert_array_equal(ours, theirs)
    assert len({drawn for *_, drawn, _ in asked}) == 4  # each run shuffles anew
    before = [drawn for *_, drawn, _ in asked]
    asked.clear()
    to_come[:] = [BETTER, BETTER, BETTER, fake_run([], [], name="last")]
    fit_over(3)
    assert [drawn for *_, drawn, _ in asked] == before


def test_splits_that_fit_into_memory_together_are_trained_together(made):
    to_come, asked = made
    to_come[:] = [BETTER, BETTER, BETTER, fake_run([], [], name="last")]
    outcome, _ = fit_over(3, n_stacked=2)
    assert (outcome.network, outcome.step) == ("last", 20)
    assert [n_together for *_, n_together in asked] == [2, 2, 1, 1]
    assert [plan.stop for _, plan, *_ in asked] == [1000, 1000, 20, 20]


def test_where_the_splits_keep_pca_there_is_no_last_run(made):
    to_come, asked = made
    to_come[:] = [BETTER, WORSE]
    outcome, _ = fit_over(2)
    assert (outcome.network, outcome.step) == (None, 0)
    assert len(asked) == 2


@pytest.mark.parametrize("reason", [StopReason.INTERRUPTED, StopReason.WORKER_LOST])
@pytest.mark.parametrize("n_made", [1, 2])
def test_a_run_that_is_broken_off_leaves_the_first_split(made, reason, n_made):
    to_come, _ = made
    gone = WorkerLostError("gone") if reason == StopReason.WORKER_LOST else None
    broken = fake_run(ROWS, 0 * ROWS, stop_reason=reason, name="broken", error=gone)
    to_come[:] = [BETTER] * n_made + [broken]
    outcome, _ = fit_over(2)
    assert kept(outcome) == ("trained", 20)
    assert end(outcome) == (reason, gone)


@pytest.mark.parametrize("reason", [StopReason.DIVERGED, StopReason.EARLY])
def test_a_last_run_that_ends_before_its_time_leaves_the_first_split(made, reason):
    to_come, _ = made
    to_come[:] = [BETTER, BETTER, fake_run([], [], stop_reason=reason, name="last")]
    outcome, _ = fit_over(2)
    assert (*kept(outcome), outcome.stop_reason) == ("trained", 20, reason)
    np.testing.assert_array_equal(outcome.curve, choose([BETTER], against_pca=True)[1])


@pytest.mark.parametrize("error", [KeyboardInterrupt(), WorkerLostError("gone")], ids=repr)
def test_an_exception_between_two_runs_leaves_the_first_and_before_it_nothing(made, error):
    to_come, _ = made
    is_lost = isinstance(error, WorkerLostError)
    reason = StopReason.WORKER_LOST if is_lost else StopReason.INTERRUPTED
    for n_made in (1, 2):
        to_come[:] = [BETTER] * n_made + [error]
        outcome, _ = fit_over(2)
        assert kept(outcome) == ("trained", 20)
        assert end(outcome) == (reason, error)
    to_come[:] = [error]
    with pytest.raises(type(error)):
        fit_over(2)
