"""Training runs over validation splits, and selection of the network that is kept.

A run trains one network and keeps its best snapshot. A fit makes one run, or one run for each of
several splits and a last run on all rows. The validation errors of all runs select PCA or a step.
"""

import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from enum import Enum
from itertools import pairwise

import numpy as np
import optree
from scipy.special import stdtrit

from .._data.splits import all_rows
from .._networks.network import Autoencoder
from .._runtime.threads import one_blas_thread
from .._runtime.workers import WorkerLostError
from . import loop
from .losses import Resident

# An initial network is exact up to rounding if its error is at most this fraction of the variance.
_EXACT = 1e-10
# Training has diverged if the loss exceeds this multiple of the first loss, and of the variance of
# the data, unless the present chunk contains a loss that is not above the first loss.
_EXPLODED = 1e6
# Significance level of the test that a network must pass to be kept instead of PCA: for independent
# rows, and for groups. The second is stricter, because there may be few groups, and blocks of one
# series are not quite independent.
_SIGNIFICANCE, _SIGNIFICANCE_OF_GROUPS = 0.05, 0.01


class StopReason(Enum):
    """Reason why a run or a fit ended."""

    COMPLETED = "all steps were made"
    EXACT = "the initial network leaves no error"
    EARLY = "early stopping, a callback, or a rising validation error"
    DIVERGED = "the loss or the weights are not finite, or the loss exploded"
    INTERRUPTED = "KeyboardInterrupt"
    WORKER_LOST = "another worker was lost"

    @property
    def is_abort(self):
        """Whether the cause was outside of training."""
        return self in (StopReason.INTERRUPTED, StopReason.WORKER_LOST)


class Run:
    """State and results of a training run.

    Losses and errors are in the squared units of X, or in nats for the variational network.

    Parameters
    ----------
    table : Table
        All rows.
    split : Split
        Training rows and validation rows.
    start : Autoencoder
        The initial network.
    plan : Plan
        Plan of the run.

    Attributes
    ----------
    training, held_out : Table
        Training rows and validation rows.
    plan : Plan
        Plan of the run.
    network : Autoencoder
        The snapshot with the lowest validation error, or the last snapshot if there are no
        validation rows. Snapshots are taken at the evaluations.
    state : TrainState or None
        State of training at the last snapshot, from which training can continue; None if there are
        validation rows.
    unit : float
        Factor from the loss to row errors.
    steps : list of int
        Number of gradient steps at each evaluation; the first is 0.
    errors : list of ndarray of shape (n_held_out,)
        Error of each validation row at each evaluation.
    groups : ndarray of shape (n_held_out,), or None
        See `Split`.
    stop_reason : StopReason
        Reason why the run ended.
    error : Exception or None
        Error that was raised when a worker was lost.
    """

    def __init__(self, table, split, start, plan):
        self.training, self.held_out = split.tables(table)
        self.groups = split.groups
        self.start, self.plan, self.state = start, plan, None
        self.network = plan.kept_start(start)
        self.unit = plan.objective.unit(start, table)
        row_errors, first = plan.objective.row_errors, self.network.with_params_in(np.float32)
        errors = row_errors(first, self.held_out)
        sample = self.training.select(slice(None, None, max(1, self.training.n_rows // 1000)))
        rest = row_errors(first, sample).mean() - plan.objective.least
        is_exact = rest <= _EXACT * self.unit
        self.steps, self.errors, self.error = [0], [errors], None
        self.stop_reason = StopReason.EXACT if is_exact else StopReason.COMPLETED
        self._losses, self._latest, self._stale, self._worst = [], None, 0, 0.0
        self._lowest, self._index = errors.mean() if len(errors) else np.nan, ...

    def as_trained_on(self):
        """Return the standardised training rows, with the imputation model if it is needed."""
        table = self.training.standardised(self.start.offset, self.start.scale)
        fills = table.is_incomplete or self.plan.corruption.hides
        return table._replace(filling=self.start.filling) if fills else table

    @property
    def losses(self):
        """Training loss of each gradient step."""
        return np.concatenate([np.empty(0), *self._losses]) * self.unit

    @property
    def step(self):
        """Number of gradient steps made."""
        return sum(map(len, self._losses))

    def add(self, state, losses, index):
        """Record a chunk of steps; return whether the loss is finite and has not exploded.

        `index` is the position of this run among the stacked runs, or an ellipsis if it is the only
        one.
        """
        self._latest, self._index, losses = state, index, losses[:, index]
        self._losses.append(losses.astype(np.float64))
        first, self._worst = self._losses[0][0], max(self._worst, losses.max())
        has_exploded = self._worst > _EXPLODED * max(1.0, first) and losses.min() > first
        return bool(np.isfinite(losses).all() and not has_exploded)

    def evaluate(self):
        """Evaluate the network, and keep a snapshot if its validation error is the lowest so far.

        Without validation rows, every new snapshot replaces the last one. Return whether the params
        are finite; if they are not, nothing is recorded.
        """
        params = optree.tree_map(lambda part: part.numpy()[self._index], self._latest.params)
        network = self.start._replace(params=self.plan.outer_params(params))
        if not network.is_finite():
            return False
        errors = self.plan.objective.row_errors(network, self.held_out)
        self.steps.append(self.step)
        self.errors.append(errors)
        if not len(errors):
            self.network, self.state = network, self._latest.to_numpy()
            return True
        error = errors.mean()
        is_gain = error < self._lowest - self.plan.config.tol * self.unit
        self._stale = 0 if is_gain else self._stale + 1
        if error < self._lowest:
            self.network, self._lowest = network, error
        return True

    def has_lost_patience(self):
        """Whether `early_stopping` stops the run; always False without validation rows."""
        config = self.plan.config
        return config.early_stopping and self._stale >= config.n_iter_no_change


class TrainingCallback:
    """Base class of training callbacks. The methods of this class do nothing.

    Attributes
    ----------
    outcome : Outcome or None
        Result of the fit if the current run is discarded; None during the first run.
    """

    outcome = None

    def log(self, text):
        """Report a line of text."""

    def on_interval_begin(self):
        """Handle the start of training, or its continuation after an evaluation."""

    def on_evaluation(self, run, seconds_left):
        """Handle an evaluation of the validation rows; return True to stop the run.

        `seconds_left` estimates the remaining time of the run; None if there is no estimate yet.
        """

    def on_run_end(self, run):
        """Handle the end of a run, which may be between two evaluations."""


def train(runs, rngs, callback=None, state=None):
    """Train the networks of several runs in parallel, and keep the best snapshot of each.

    The arrays of the runs are stacked, and one step of the loop makes a step of every run. For
    small tables, several splits then take hardly more calls of the runtime than one split. A reason
    to stop one run stops all of them.

    Parameters
    ----------
    runs : list of Run
        Runs with the same plan; their results are stored in them.
    rngs : list of numpy.random.Generator
        Generator of each run, which shuffles the minibatches and draws the noise.
    callback : TrainingCallback, optional
        Called at the evaluations of the first run.
    state : TrainState, optional
        Initial state of training. By default it is computed from the initial networks.
    """
    plan, workers = runs[0].plan, runs[0].training.workers
    if any(run.stop_reason == StopReason.EXACT for run in runs):
        for run in runs:
            run.stop_reason = StopReason.EXACT
        return
    params = _stacked([plan.inner_params(run.start.params) for run in runs])
    tables = [run.as_trained_on() for run in runs]
    chunks = loop.train(
        state or plan.initial_state(params),
        _stacked_batches(tables, plan, rngs),
        plan.rates,
        **_minimised(runs, tables, plan),
        optimizer=plan.optimizer,
        workers=workers,
        n_stacked=len(runs) if len(runs) > 1 else None,
    )
    callback, error = callback or TrainingCallback(), None
    # NumPy imputes missing values in a separate thread while the compiled step runs: use one BLAS
    # thread, because more threads would compete with those of the compiled step
    is_filled = any(table.filling is not None for table in tables)
    try:
        with one_blas_thread() if is_filled else nullcontext():
            stop_reason = _advance(runs, chunks, callback)
    except KeyboardInterrupt:
        if workers.n_workers > 1:  # the other workers would wait for this one
            raise
        stop_reason = StopReason.INTERRUPTED
    except WorkerLostError as lost:
        stop_reason, error = StopReason.WORKER_LOST, lost
    for run in runs:
        run.stop_reason, run.error = stop_reason, error
        held_out = run.held_out
        others_hold_some = held_out.shards is not None and held_out.n_rows > 0
        if stop_reason.is_abort and run.step > run.steps[-1] and not others_hold_some:
            run.held_out = held_out.alone()
            run.evaluate()
    callback.on_run_end(runs[0])


def _stacked(nests, axis=0):
    """Stack nests of arrays of equal shapes; a single nest is returned without a new axis."""
    if len(nests) == 1:
        return nests[0]
    return optree.tree_map(lambda *arrays: np.stack(arrays, axis), *nests)


def _minimised(runs, tables, plan):
    """Return the arguments `objective` and `constants` of `loop.train`.

    They are not stored elsewhere, so that their memory is freed when training ends.
    """
    constants = _stacked([plan.objective.constants(run.start) for run in runs])
    if plan.n_resident is None:
        return {"objective": plan.objective, "constants": constants}
    rows = [(table.resident(plan.n_resident),) for table in tables]
    if plan.axes is not None:
        rows = [(targets @ plan.axes.T, targets) for (targets,) in rows]
    return {"objective": Resident(plan.objective), "constants": (_stacked(rows), constants)}


def _stacked_batches(tables, plan, rngs):
    chunks = [
        table.batches(
            plan.chunk_lengths(),
            plan.shape,
            plan.corruption,
            rng,
            is_resident=plan.n_resident is not None,
            n_draws=plan.objective.n_draws,
        )
        for table, rng in zip(tables, rngs, strict=True)
    ]
    for parts in zip(*chunks, strict=True):
        batches, (n_steps, *_) = zip(*parts, strict=True)
        yield _stacked(batches, axis=1), n_steps


def _advance(runs, chunks, callback):
    """Train until a reason to stop occurs, and return the reason."""
    began, first, plan = None, runs[0], runs[0].plan
    indices = [...] if len(runs) == 1 else range(len(runs))
    callback.on_interval_begin()
    for state, losses in chunks:
        pairs = zip(runs, indices, strict=True)
        if not all(run.add(state, losses, index) for run, index in pairs):
            return StopReason.DIVERGED
        # exclude the first chunk from the time estimate, because it compiles the step
        began = began or (time.monotonic(), first.step)
        if not plan.evaluates_at(first.step):
            continue
        if not all(run.evaluate() for run in runs):
            return StopReason.DIVERGED
        stop = callback.on_evaluation(first, _seconds_left(first.step, plan.stop, *began))
        stops = first.training.workers.all_gather_object(bool(stop))
        if any(stops) or first.has_lost_patience() or _error_rises(runs):
            return StopReason.EARLY
        if first.step < plan.stop:
            callback.on_interval_begin()
    return StopReason.COMPLETED


def _seconds_left(step, last_step, began, first_step):
    """Estimate the seconds until the last step; None if there is no estimate yet.

    `began` is the time at which `first_step` was reached.
    """
    if step == first_step:
        return None
    return (time.monotonic() - began) * (last_step - step) / (step - first_step)


def _error_rises(runs):
    """Whether the validation error had no new minimum for `plan.patience` evaluations.

    It must also be above the error of the initial network.
    """
    patience, errors = runs[0].plan.patience, np.hstack([run.errors for run in runs])
    if patience is None or not errors.size:
        return False
    errors = errors.mean(axis=1)
    n_since = len(errors) - 1 - errors.argmin()
    return n_since >= patience and errors[-1] > errors[0]


def choose(runs, against_pca):
    """Select the step whose network is kept, by the validation errors of all runs.

    Parameters
    ----------
    runs : list of Run
        Runs over different splits, with evaluations at the same steps.
    against_pca : bool
        Whether the initial network is PCA. Step 0 is then selected unless the errors at the best
        step are significantly lower in a one-sided paired t-test, at the 5 % level, or at the 1 %
        level with groups. If False, the step with the lowest mean error is selected.

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
    groups = None if runs[0].groups is None else np.hstack([run.groups for run in runs])
    curve = errors.mean(axis=1)
    best = np.nan_to_num(curve, nan=np.inf).argmin()
    level = _SIGNIFICANCE if groups is None else _SIGNIFICANCE_OF_GROUPS
    if against_pca and not clearly_lower(errors[best], errors[0], level, groups):
        best = 0
    return int(steps[best]), np.column_stack([steps, curve])


def clearly_lower(errors, baseline, significance, groups=None):
    """Whether errors are significantly lower than the errors of a baseline on the same rows.

    One-sided paired t-test: the mean decrease of the error is compared with its standard error. In
    a small sample, a large decrease in a few rows is therefore not significant. If rows of the same
    group depend on each other, the cluster-robust standard error is computed from the total
    decrease of each group, and the number of degrees of freedom is the number of groups minus one
    (Cameron & Miller, "A Practitioner's Guide to Cluster-Robust Inference", Journal of Human
    Resources 50, 2015, section II).

    Parameters
    ----------
    errors, baseline : ndarray of shape (n_rows,)
        Errors of the same rows.
    significance : float
        Significance level of the test.
    groups : ndarray of int of shape (n_rows,), optional
        Group number of each row; None if all rows are independent.
    """
    n_rows = len(errors)
    n_groups = n_rows if groups is None else len(np.unique(groups))
    if n_groups < 2 or not np.isfinite(baseline).all():
        return False
    gains = (baseline - errors) / (abs(baseline.mean()) or 1.0)  # relative, to avoid overflow
    if groups is None:
        standard_error = gains.std(ddof=1) / np.sqrt(n_rows)
    else:
        totals = np.bincount(np.unique(groups, return_inverse=True)[1], gains - gains.mean())
        standard_error = np.sqrt(n_groups / (n_groups - 1)) * np.linalg.norm(totals) / n_rows
    return bool(gains.mean() > stdtrit(n_groups - 1, 1 - significance) * standard_error)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of the runs of a fit, from which the fitted attributes are computed.

    Attributes
    ----------
    network : Autoencoder or None
        The network to keep; None means PCA of all rows.
    step : int
        The selected step, after which `network` was taken.
    curve : ndarray of shape (n_evaluations, 2)
        Steps, and mean validation errors of the runs that selected the step.
    losses : ndarray of shape (n_steps,)
        Training losses of the first run.
    stop_reason : StopReason
        Reason why the fit ended.
    error : Exception or None
        Error that was raised when a worker was lost.
    """

    network: Autoencoder | None
    step: int
    curve: np.ndarray
    losses: np.ndarray
    stop_reason: StopReason
    error: Exception | None = None

    @classmethod
    def of(cls, runs, against_pca):
        """Return the outcome of runs over different splits.

        The errors of all runs select the step; the network is that of the first run.
        """
        step, curve = choose(runs, against_pca)
        network = None if against_pca and step == 0 else runs[0].network
        reasons = [run.stop_reason for run in runs]
        diverged = StopReason.DIVERGED in reasons
        return cls(
            network=network,
            step=step,
            curve=curve,
            losses=runs[0].losses,
            stop_reason=StopReason.DIVERGED if diverged else reasons[-1],
            error=runs[-1].error,
        )

    def aborted(self, error, workers):
        """Return the outcome of a fit that an exception ended after a run, or raise the exception.

        KeyboardInterrupt is raised if it is the second one, or if other workers would wait for this
        worker.
        """
        is_lost = isinstance(error, WorkerLostError)
        is_second = self.stop_reason == StopReason.INTERRUPTED
        if is_second or not (is_lost or workers.n_workers == 1):
            raise error
        reason = StopReason.WORKER_LOST if is_lost else StopReason.INTERRUPTED
        return replace(self, stop_reason=reason, error=error)


def stacks(splits, size):
    """Group splits into lists of `size` splits, which are trained in parallel.

    The remaining splits are trained one by one.
    """
    n_stacked = len(splits) // size * size
    firsts = [*range(0, n_stacked, size), *range(n_stacked, len(splits) + 1)]
    return [splits[first:end] for first, end in pairwise(firsts)]


def run_fit(table, start, plan, splits, seed, callback):
    """Make the runs of a fit.

    With one split, one run is made. With several splits, one run is made for each split. The errors
    of all runs then select PCA or a step, and if a step is selected, a last run trains on all rows
    up to this step. If the last run does not complete, or if an interrupt or the loss of a worker
    ends the run of another split, the outcome is that of the first split alone.

    Parameters
    ----------
    table : Table
        All rows.
    start : callable
        ``start(training)`` returns the initial network for a table of training rows.
    plan : Plan
        Plan of a run over a split.
    splits : list of Split
        The splits.
    seed : int
        Seed of the order of minibatches and of the noise.
    callback : TrainingCallback
        Called at each evaluation.

    Returns
    -------
    Outcome
    """

    def make(splits, plan, number):
        callback.log(f"{len(splits)} x {len(splits[0].training)} rows to train on")
        starts = [start(table.select(split.training)) for split in splits]
        plan = replace(plan, n_training=len(splits[0].training))
        both = zip(splits, starts, strict=True)
        runs = [Run(table, split, first, plan) for split, first in both]
        rngs = [np.random.default_rng([seed, number + i]) for i in range(len(runs))]
        train(runs, rngs, callback)
        return runs

    runs = []
    try:
        for group in stacks(splits, plan.n_stacked):
            latest = make(group, plan, len(runs))
            if not runs:
                callback.outcome = Outcome.of(latest[:1], plan.against_pca)
                if callback.outcome.network is None and table.shards is not None:
                    # a lost worker's rows are lost too, and PCA of all rows is then impossible
                    pca = plan.kept_start(latest[0].start)
                    callback.outcome = replace(callback.outcome, network=pca)
            reason, error = latest[0].stop_reason, latest[0].error
            if reason.is_abort:
                return replace(callback.outcome, stop_reason=reason, error=error)
            runs += latest
            plan = replace(plan, stop=runs[0].steps[-1])  # same length for all splits
        together = Outcome.of(runs, plan.against_pca)
        if len(runs) == 1 or together.network is None:
            return together
        (last,) = make([all_rows(table.n_rows)], replace(plan, stop=together.step), len(runs))
        if last.stop_reason == StopReason.COMPLETED:
            return replace(together, network=last.network)
        return replace(callback.outcome, stop_reason=last.stop_reason, error=last.error)
    except (KeyboardInterrupt, WorkerLostError) as error:
        if callback.outcome is None:
            raise
        return callback.outcome.aborted(error, table.workers)


def concluded(outcome, conclude, workers):
    """Return an outcome, and the fitted attributes that ``conclude(outcome)`` computes.

    If an interrupt or the loss of a worker ends `conclude`, it is called again, with an outcome
    that has this stop reason. A second interrupt is raised.
    """
    try:
        return outcome, conclude(outcome)
    except (KeyboardInterrupt, WorkerLostError) as error:
        outcome = outcome.aborted(error, workers)
        return outcome, conclude(outcome)
