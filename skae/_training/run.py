"""Training runs over validation splits, and the selection of the network that is kept.

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

# A start that leaves less than this share of the variance is exact, up to rounding.
_EXACT = 1e-10
# A loss this many times the first one, or the data's variance, has exploded, unless a later chunk
# comes back below the first.
_EXPLODED = 1e6
# Level of the test that a network must pass to be kept instead of PCA: over rows, and over groups,
# of which there may be few, and blocks of one series are not quite independent.
_SIGNIFICANCE, _SIGNIFICANCE_OF_GROUPS = 0.05, 0.01


class StopReason(Enum):
    """What ended a run, or a fit."""

    COMPLETED = "all steps were made"
    EXACT = "the initial network leaves no error"
    EARLY = "early stopping, a callback, or a rising validation error"
    DIVERGED = "the loss or the weights are not finite, or the loss exploded"
    INTERRUPTED = "KeyboardInterrupt"
    WORKER_LOST = "another worker was lost"

    @property
    def is_abort(self):
        """Whether the cause came from outside of training."""
        return self in (StopReason.INTERRUPTED, StopReason.WORKER_LOST)


class Run:
    """A training run as it goes on, and what it leaves behind; losses and errors in units of X.

    Attributes
    ----------
    plan : Plan
        The plan that it follows.
    network : Autoencoder
        The snapshot with the lowest held-out error; without held-out rows, the last one. Snapshots
        are taken when the held-out rows are evaluated, or would be.
    state : TrainState or None
        Without held-out rows, the state of training then, to go on with.
    steps : list of int
        When the held-out rows were evaluated, from 0 on.
    errors : list of ndarray of shape (n_held_out,)
        Mean squared error of each held-out row then.
    groups : ndarray of shape (n_held_out,), or None
        See `Split`.
    stop_reason : StopReason
        What ended the run.
    error : Exception or None
        Error that the loss of a worker raised.
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
        """Return the training rows as training reads them."""
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
        """Take note of a chunk of steps; return whether the loss is still a reasonable number.

        The index is the run's place in the stack, or an ellipsis if it is alone.
        """
        self._latest, self._index, losses = state, index, losses[:, index]
        self._losses.append(losses.astype(np.float64))
        first, self._worst = self._losses[0][0], max(self._worst, losses.max())
        has_exploded = self._worst > _EXPLODED * max(1.0, first) and losses.min() > first
        return bool(np.isfinite(losses).all() and not has_exploded)

    def evaluate(self):
        """Keep a snapshot if its held-out errors are lower, or if there are no held-out rows.

        Return whether its params are finite numbers; otherwise it does not count.
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
        """Whether the last evaluations improved too little; never without held-out rows."""
        config = self.plan.config
        return config.early_stopping and self._stale >= config.n_iter_no_change


class TrainingCallback:
    """Methods that a fit calls; here they do nothing.

    Attributes
    ----------
    outcome : Outcome or None
        Result of the fit if the present run is discarded; None during the first run.
    """

    outcome = None

    def log(self, text):
        """Report a line of text."""

    def on_interval_begin(self):
        """Note that training starts, or continues after an evaluation."""

    def on_evaluation(self, run, seconds_left):
        """Note that the validation rows were evaluated; return True to stop the run.

        `seconds_left` estimates the remaining time of the run; None if there is no estimate yet.
        """

    def on_run_end(self, run):
        """Note that a run ended, which may be between two evaluations."""


def train(runs, rngs, callback=None, state=None):
    """Train the networks of some runs together, and remember the best snapshot of each.

    A step of all is one step of the loop, whose arrays are stacked; so the splits of a small table
    cost hardly more calls than one. What ends one run ends them all.

    Parameters
    ----------
    runs : list of Run
        Runs that are paced alike.
    rngs : list of numpy.random.Generator
        For each, shuffles the minibatches and makes the noise.
    callback : TrainingCallback, optional
        Called at the evaluations of the first run.
    state : TrainState, optional
        What to go on from, where one run follows another.
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
    # NumPy fills rows in a thread of its own, beside the threads of the compiled step: more of them
    # would get in each other's way
    is_filled = any(table.filling is not None for table in tables)
    try:
        with one_blas_thread() if is_filled else nullcontext():
            stop_reason = _advance(runs, chunks, callback)
    except KeyboardInterrupt:
        if workers.n_workers > 1:  # the others cannot know, and wait
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
    """Stack nests of arrays of equal shapes; one alone stays as it is."""
    if len(nests) == 1:
        return nests[0]
    return optree.tree_map(lambda *arrays: np.stack(arrays, axis), *nests)


def _minimised(runs, tables, plan):
    """Return the objective and its constants, as arguments: who trains should hold them alone."""
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
        # the first chunk compiles the step, which says nothing of the time that the others take
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
    """Estimate the seconds that the steps up to the last one take; None if nothing is known yet."""
    if step == first_step:
        return None
    return (time.monotonic() - began) * (last_step - step) / (step - first_step)


def _error_rises(runs):
    """Whether the held-out error has long been above its minimum, and is above the start's."""
    patience, errors = runs[0].plan.patience, np.hstack([run.errors for run in runs])
    if patience is None or not errors.size:
        return False
    errors = errors.mean(axis=1)
    n_since = len(errors) - 1 - errors.argmin()
    return n_since >= patience and errors[-1] > errors[0]


def choose(runs, against_pca):
    """Choose the step at which to stop, by the held-out errors of all runs.

    Parameters
    ----------
    runs : list of Run
        Runs over different splits, paced alike.
    against_pca : bool
        Whether the start is PCA, which is kept unless another step is better beyond chance: at the
        5 % level of a one-sided paired t-test, or with groups the 1 % level. If not, the best step
        is taken.

    Returns
    -------
    step : int
        The best step; without held-out rows, the last.
    curve : ndarray of shape (n_evaluations, 2)
        Steps, and the mean held-out error over all splits.
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
    """Whether errors are lower than the baseline's on the same rows, beyond chance.

    One-sided paired t-test: the mean gain of a row is compared with its standard error, so a few
    lucky rows in a small sample decide nothing. With groups of rows that depend on each other, the
    standard error is the cluster-robust one, from the total gain of each group, and the number of
    degrees of freedom is that of the groups (Cameron & Miller, "A Practitioner's Guide to
    Cluster-Robust Inference", Journal of Human Resources 50, 2015, section II).

    Parameters
    ----------
    errors, baseline : ndarray of shape (n_rows,)
        Errors of the same rows.
    significance : float
        Level of the test.
    groups : ndarray of int of shape (n_rows,), optional
        Number of the group of each row; None if all rows are independent.
    """
    n_rows = len(errors)
    n_groups = n_rows if groups is None else len(np.unique(groups))
    if n_groups < 2 or not np.isfinite(baseline).all():
        return False
    gains = (baseline - errors) / (abs(baseline.mean()) or 1.0)  # so that their squares are numbers
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
        The network to keep; None means the start on all rows, which is PCA.
    step : int
        The step that was chosen; the network is that of this step.
    curve : ndarray of shape (n_evaluations, 2)
        Steps and mean held-out errors of the runs that chose.
    losses : ndarray of shape (n_steps,)
        Training losses of the first run.
    stop_reason : StopReason
        What ended the fit.
    error : Exception or None
        Error that the loss of a worker raised.
    """

    network: Autoencoder | None
    step: int
    curve: np.ndarray
    losses: np.ndarray
    stop_reason: StopReason
    error: Exception | None = None

    @classmethod
    def of(cls, runs, against_pca):
        """Choose by the held-out errors of some runs; of several, the first one's network."""
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
        """Return the outcome of a fit that an exception ended after a run; or raise it.

        A second interrupt is raised, and one where other workers would wait for this one.
        """
        is_lost = isinstance(error, WorkerLostError)
        is_second = self.stop_reason == StopReason.INTERRUPTED
        if is_second or not (is_lost or workers.n_workers == 1):
            raise error
        reason = StopReason.WORKER_LOST if is_lost else StopReason.INTERRUPTED
        return replace(self, stop_reason=reason, error=error)


def stacks(splits, size):
    """Cut splits into those that are trained together: so many, and what remains one by one."""
    n_stacked = len(splits) // size * size
    firsts = [*range(0, n_stacked, size), *range(n_stacked, len(splits) + 1)]
    return [splits[first:end] for first, end in pairwise(firsts)]


def run_fit(table, start, plan, splits, seed, callback):
    """Make the runs of a fit.

    With one split, a run over it. With several, a run over each; their joint errors choose between
    PCA and a step, and a last run on all rows is made up to there. Where that run, or one of the
    splits after the first, is not made to its end, the first split decides alone: its network and
    its errors are those of one run.

    Parameters
    ----------
    table : Table
        All rows.
    start : callable
        Returns the network that training on a table starts from.
    plan : Plan
        Of a run over a split.
    splits : list of Split
        See `splits`.
    seed : int
        For the order of minibatches, and noise.
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
                    # if a worker is lost, so are its rows: no PCA of all could be made then
                    pca = plan.kept_start(latest[0].start)
                    callback.outcome = replace(callback.outcome, network=pca)
            reason, error = latest[0].stop_reason, latest[0].error
            if reason.is_abort:
                return replace(callback.outcome, stop_reason=reason, error=error)
            runs += latest
            plan = replace(plan, stop=runs[0].steps[-1])  # the others run as long as the first
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
    """Return an outcome and what `conclude` makes of it.

    An interrupt meanwhile costs nothing that was learnt: what was asked for is done first, and
    then the fit ends. A second one is raised.
    """
    try:
        return outcome, conclude(outcome)
    except (KeyboardInterrupt, WorkerLostError) as error:
        outcome = outcome.aborted(error, workers)
        return outcome, conclude(outcome)
