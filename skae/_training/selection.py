"""Selection of the network that a fit keeps.

A fit makes one run, or one run for each of several splits and a last run on all rows. The
validation errors of all runs determine which network is kept: PCA, or the network after a certain
step.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from .._data.splits import Split, all_rows
from .._data.weights import Weights, weights_or_ones
from .._networks.network import Autoencoder
from .._runtime.workers import WorkerLostError, Workers
from .callbacks import FitCallback
from .plan import Plan
from .problem import Problem
from .run import Run, StopReason, train

# Significance levels of the test that decides whether a network is kept instead of PCA. The level
# for groups is stricter than the level for independent rows, because there may be few groups, and
# blocks of one series are not completely independent.
_SIGNIFICANCE, _SIGNIFICANCE_OF_GROUPS = 0.05, 0.01


def select_step(runs: Sequence[Run], pca_is_baseline: bool) -> tuple[int, NDArray[np.float64]]:
    """Select the step after which the network is kept, from the validation errors of all runs.

    Parameters
    ----------
    runs : sequence of Run
        Runs over different splits, with evaluations at the same steps.
    pca_is_baseline : bool
        Whether the initial network is PCA. If True, the step with the lowest mean error is selected
        only if its errors are significantly lower than the errors at step 0 in a one-sided paired
        t-test, at the 5 % level, or at the 1 % level with groups. Otherwise step 0 is selected. If
        False, the step with the lowest mean error is selected without a test.

    Returns
    -------
    step : int
        The selected step; the last step if there are no validation rows.
    curve : ndarray of shape (n_evaluations, 2)
        Steps, and mean validation errors over all splits.
    """
    n_evaluations = min(len(run.steps) for run in runs)
    steps = runs[0].steps[:n_evaluations]
    errors = np.hstack([run.errors[:n_evaluations] for run in runs])
    if not errors.size:
        return int(steps[-1]), np.empty((0, 2))
    parts = [run.groups for run in runs if run.groups is not None]
    groups = np.hstack(parts) if parts else None
    parts_of_weights = [run.weights for run in runs if run.weights is not None]
    weights = np.hstack(parts_of_weights) if parts_of_weights else None
    curve = np.average(errors, axis=1, weights=weights)
    best = int(np.nan_to_num(curve, nan=np.inf).argmin())
    level = _SIGNIFICANCE if groups is None else _SIGNIFICANCE_OF_GROUPS
    is_better = is_significantly_lower(errors[best], errors[0], level, groups, weights)
    if pca_is_baseline and not is_better:
        best = 0
    return int(steps[best]), np.column_stack([steps, curve])


def is_significantly_lower(
    errors: NDArray[np.float64],
    baseline: NDArray[np.float64],
    significance: float,
    groups: NDArray[np.int_] | None = None,
    weights: Weights = None,
) -> bool:
    """Whether errors are significantly lower than the errors of a baseline on the same rows.

    One-sided paired t-test: the mean decrease of the error is compared with its standard error. In
    a small sample, a large decrease in a few rows is therefore not significant. If rows of the same
    group depend on each other, the cluster-robust standard error is computed from the total
    decrease of each group, and the number of degrees of freedom is the number of groups minus one
    (Cameron & Miller, "A Practitioner's Guide to Cluster-Robust Inference", Journal of Human
    Resources 50, 2015, section II). A row of weight 2 counts as a group of two equal rows.

    Parameters
    ----------
    errors, baseline : ndarray of shape (n_rows,)
        Errors of the same rows.
    significance : float
        Significance level of the test.
    groups : ndarray of int of shape (n_rows,), optional
        Group number of each row; None if all rows are independent.
    weights : ndarray of shape (n_rows,), optional
        Weight of each row; None if all weights are one.
    """
    groups = np.arange(len(errors)) if groups is None else groups
    names, numbers = np.unique(groups, return_inverse=True)
    n_groups = len(names)
    if n_groups < 2 or not np.isfinite(baseline).all():
        return False
    weights = weights_or_ones(weights, len(errors))
    shares = weights / weights.sum()
    gains = (baseline - errors) / (abs(shares @ baseline) or 1.0)  # relative, to avoid overflow
    gain = shares @ gains
    totals = np.bincount(numbers, shares * (gains - gain))
    standard_error = np.sqrt(n_groups / (n_groups - 1)) * np.linalg.norm(totals)
    return bool(gain > stdtrit(n_groups - 1, 1 - significance) * standard_error)


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """Result of the runs of a fit, from which the fitted attributes are computed.

    Attributes
    ----------
    network : Autoencoder or None
        The network to keep; None means PCA of all rows.
    step : int
        The selected step; `network` has the weights after this step.
    curve : ndarray of shape (n_evaluations, 2)
        Steps, and mean validation errors of the runs that selected the step.
    losses : ndarray of shape (n_steps,)
        Training losses of the first run.
    stop_reason : StopReason
        Reason why the fit ended.
    exception : BaseException or None
        Exception that was raised when a worker was lost, or that interrupted the fit.
    """

    network: Autoencoder | None
    step: int
    curve: NDArray[np.float64]
    losses: NDArray[np.float64]
    stop_reason: StopReason
    exception: BaseException | None = None

    @classmethod
    def from_runs(cls, runs: Sequence[Run], pca_is_baseline: bool) -> "Outcome":
        """Return the outcome of runs over different splits.

        The errors of all runs select the step; the network is that of the first run.
        """
        step, curve = select_step(runs, pca_is_baseline)
        network = None if pca_is_baseline and step == 0 else runs[0].network
        reasons = [run.stop_reason for run in runs]
        diverged = StopReason.DIVERGED in reasons
        return cls(
            network=network,
            step=step,
            curve=curve,
            losses=runs[0].losses,
            stop_reason=StopReason.DIVERGED if diverged else reasons[-1],
            exception=runs[-1].exception,
        )

    def aborted(self, exception: BaseException, workers: Workers) -> "Outcome":
        """Return the outcome of a fit that an exception ended after a run, or raise the exception.

        KeyboardInterrupt is raised if it is the second one, or if other workers would wait for this
        worker.
        """
        is_lost = isinstance(exception, WorkerLostError)
        is_second = self.stop_reason == StopReason.INTERRUPTED
        if is_second or not (is_lost or workers.n_workers == 1):
            raise exception
        reason = StopReason.WORKER_LOST if is_lost else StopReason.INTERRUPTED
        return replace(self, stop_reason=reason, exception=exception)


def stack_splits(splits: Sequence[Split], size: int) -> list[Sequence[Split]]:
    """Group splits into sequences of `size` splits, which are trained in parallel.

    The remaining splits, fewer than `size`, are trained one after another.
    """
    n_stacked = len(splits) // size * size
    firsts = [*range(0, n_stacked, size), *range(n_stacked, len(splits) + 1)]
    return [splits[first:end] for first, end in pairwise(firsts)]


def train_splits(
    problem: Problem, plan: Plan, splits: Sequence[Split], number: int, callback: FitCallback
) -> list[Run]:
    """Train a network on each of several splits in parallel, and return the runs.

    `number` is the number of earlier runs of this fit. It is part of the seed, so that all runs of
    a fit have different random numbers.
    """
    n_training = len(splits[0].training)
    callback.log(f"{len(splits)} x {n_training} training rows")
    plan = replace(plan, n_training=n_training)
    starts = [problem.initial_network_for(problem.table.select(split.training)) for split in splits]
    pairs = zip(splits, starts, strict=True)
    runs = [Run.begin(problem.table, split, start, plan) for split, start in pairs]
    rngs = [np.random.default_rng([problem.seed, number + i]) for i in range(len(runs))]
    train(runs, rngs, callback)
    return runs


class Selection:
    """Training over all splits of a problem, and selection of the network that is kept.

    With one split, one run is made. With several splits, one run is made for each split. The errors
    of all runs then select PCA or a step, and if a step is selected, a last run trains on all rows
    up to this step. If the last run does not complete, or if an interrupt or the loss of a worker
    ends the run of another split, the outcome is that of the first split alone.

    Parameters
    ----------
    problem : Problem
        Rows, splits and network.
    plan : Plan
        Plan of a run over a split.
    train_splits : callable, default=train_splits
        Function that trains the runs. Tests pass a function that returns runs with given errors.
    """

    def __init__(
        self,
        problem: Problem,
        plan: Plan,
        train_splits: Callable[..., list[Run]] = train_splits,
    ) -> None:
        self._problem, self._plan, self._train_splits = problem, plan, train_splits
        self._first: Outcome | None = None

    @property
    def n_intervals(self) -> int:
        """Maximum number of intervals between two evaluations, over all runs."""
        splits = self._problem.splits
        n_runs = len(stack_splits(splits, self._plan.n_stacked)) + (len(splits) > 1)
        return n_runs * self._plan.n_evaluations

    def outcome_now(self, run: Run) -> Outcome:
        """Return the outcome that the fit would have if it ended now, during `run`."""
        if self._first is not None:
            return self._first
        return Outcome.from_runs([run], self._plan.pca_is_baseline)

    def train(self, callback: FitCallback) -> Outcome:
        """Train over all splits, and return the outcome. See `FitCallback` for `callback`."""
        try:
            return self._train(callback)
        except (KeyboardInterrupt, WorkerLostError) as exception:
            if self._first is None:
                raise
            return self._first.aborted(exception, self._problem.table.workers)

    def _train(self, callback: FitCallback) -> Outcome:
        problem, plan, runs = self._problem, self._plan, list[Run]()
        for splits in stack_splits(problem.splits, plan.n_stacked):
            latest = self._train_splits(problem, plan, splits, len(runs), callback)
            if self._first is None:
                self._first = self._outcome_of_first(latest[0])
            if latest[0].stop_reason.is_abort:
                return _ended_by(latest[0], self._first)
            runs += latest
            plan = replace(plan, n_steps=runs[0].steps[-1])  # same length for all splits
        outcome = Outcome.from_runs(runs, plan.pca_is_baseline)
        if len(runs) == 1 or outcome.network is None:
            return outcome
        everything = [all_rows(problem.table.n_rows)]
        plan = replace(plan, n_steps=outcome.step)
        (last,) = self._train_splits(problem, plan, everything, len(runs), callback)
        if last.stop_reason == StopReason.COMPLETED or self._first is None:
            return replace(outcome, network=last.network)
        return _ended_by(last, self._first)

    def _outcome_of_first(self, run: Run) -> Outcome:
        """Return the outcome of the run over the first split alone."""
        outcome = Outcome.from_runs([run], self._plan.pca_is_baseline)
        if outcome.network is None and self._problem.table.shards is not None:
            # a lost worker's rows are lost too, and PCA of all rows is then impossible
            return replace(outcome, network=self._plan.kept_initial_network(run.initial_network))
        return outcome


def _ended_by(run: Run, outcome: Outcome) -> Outcome:
    """Return an earlier outcome with the stop reason and the exception of a run."""
    return replace(outcome, stop_reason=run.stop_reason, exception=run.exception)
