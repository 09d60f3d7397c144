"""Training runs.

A run trains one network on the training rows of a split, evaluates it on the validation rows at
regular intervals, and keeps the weights with the lowest validation error (the best snapshot).
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._data.splits import Split
from .._data.table import Table
from .._data.weights import Weights
from .._networks.nests import map_nest
from .._networks.network import Autoencoder
from .._runtime.threads import one_blas_thread
from .._runtime.workers import WorkerLostError
from . import loop
from .callbacks import FitCallback
from .loop import GradientStep, TrainState
from .losses import OnDeviceLoss, mean_error
from .plan import Plan

# An initial network is exact up to rounding if its error is at most this fraction of the variance.
_EXACT = 1e-10
# Training has diverged if two conditions hold: some loss was above this number times the first loss
# and times the variance of the data, and all losses of the latest chunk of steps are above the
# first loss.
_EXPLODED = 1e6
# Maximum number of training rows on which a run tests whether its initial network is exact.
_EXACT_SAMPLE = 1000


class StopReason(Enum):
    """Reason why a run or a fit ended."""

    COMPLETED = "all planned steps were made"
    EXACT = "the error of the initial network is zero"
    EARLY = "early stopping, a callback, or a rising validation error"
    DIVERGED = "the loss or the weights are not finite, or the loss exploded"
    INTERRUPTED = "KeyboardInterrupt"
    WORKER_LOST = "another worker was lost"

    @property
    def is_abort(self) -> bool:
        """Whether an interrupt or the loss of a worker ended the run."""
        return self in (StopReason.INTERRUPTED, StopReason.WORKER_LOST)


@dataclass(eq=False)
class Run:
    """State and results of a training run; `Run.begin` creates it.

    Losses and errors are in the squared units of X, or in nats for the variational network.

    Attributes
    ----------
    plan : Plan
        Plan of the run.
    training, validation_rows : Table
        Training rows and validation rows.
    groups : ndarray of shape (n_validation,), or None
        See `Split`.
    weights : ndarray of shape (n_validation,), or None
        Weights of the validation rows; None if all weights are one.
    initial_network : Autoencoder
        The initial network.
    loss_scale : float
        Factor that converts training losses to the unit of row errors.
    network : Autoencoder
        The snapshot with the lowest validation error, or the last snapshot if there are no
        validation rows. Snapshots are taken at the evaluations.
    stop_reason : StopReason
        Reason why the run ended.
    steps : list of int
        Number of gradient steps at each evaluation; the first is 0.
    errors : list of ndarray of shape (n_validation,)
        Error of each validation row at each evaluation.
    state : TrainState or None
        State of training at the last snapshot, from which training can continue; None if there are
        validation rows.
    exception : Exception or None
        Exception that was raised when a worker was lost.
    """

    plan: Plan
    training: Table
    validation_rows: Table
    groups: NDArray[Any] | None
    weights: Weights
    initial_network: Autoencoder
    loss_scale: float
    network: Autoencoder
    stop_reason: StopReason
    steps: list[int]
    errors: list[NDArray[Any]]
    state: TrainState | None = None
    exception: Exception | None = None
    _losses: list[NDArray[np.float64]] = field(default_factory=list)
    _max_loss: float = 0.0
    _lowest_error: float = np.nan
    _n_without_improvement: int = 0
    _latest: TrainState | None = None
    _index: int | None = None

    @classmethod
    def begin(cls, table: Table, split: Split, initial_network: Autoencoder, plan: Plan) -> "Run":
        """Create a run before its first step, and evaluate its initial network.

        Parameters
        ----------
        table : Table
            All rows.
        split : Split
            Training rows and validation rows.
        initial_network : Autoencoder
            The initial network.
        plan : Plan
            Plan of the run.
        """
        training, validation_rows = split.tables(table)
        objective, network = plan.objective, plan.kept_initial_network(initial_network)
        loss_scale = objective.loss_scale(initial_network, table)
        first = network.with_params_in(np.float32)
        errors = objective.row_errors(first, validation_rows)
        sample = training.select(slice(None, None, max(1, training.n_rows // _EXACT_SAMPLE)))
        excess = mean_error(objective.row_errors(first, sample), sample) - objective.least
        return cls(
            plan=plan,
            training=training,
            validation_rows=validation_rows,
            groups=split.groups,
            weights=split.validation_weights(table),
            initial_network=initial_network,
            loss_scale=loss_scale,
            network=network,
            stop_reason=StopReason.EXACT if excess <= _EXACT * loss_scale else StopReason.COMPLETED,
            steps=[0],
            errors=[errors],
            _lowest_error=mean_error(errors, validation_rows),
        )

    def training_table(self) -> Table:
        """Return the standardised training rows, with the imputer if training needs it."""
        table = self.training.standardised(self.initial_network.offset, self.initial_network.scale)
        imputes = table.is_incomplete or self.plan.corruption.hides
        return replace(table, imputer=self.initial_network.imputer) if imputes else table

    @property
    def losses(self) -> NDArray[np.float64]:
        """Training loss of each gradient step."""
        return np.concatenate([np.empty(0), *self._losses]) * self.loss_scale

    @property
    def step(self) -> int:
        """Number of gradient steps made."""
        return sum(map(len, self._losses))

    def add(self, state: TrainState, losses: NDArray[np.float32], index: int | None) -> bool:
        """Record a chunk of steps; return True if the loss is finite and has not exploded.

        `index` is the position of this run among the stacked runs; None if it is the only one.
        """
        self._latest, self._index = state, index
        losses = losses if index is None else losses[:, index]
        self._losses.append(losses.astype(np.float64))
        first = self._losses[0][0]
        self._max_loss = max(self._max_loss, losses.max())
        has_exploded = self._max_loss > _EXPLODED * max(1.0, first) and losses.min() > first
        return bool(np.isfinite(losses).all() and not has_exploded)

    def evaluate(self) -> bool:
        """Evaluate the network, and keep a snapshot if its validation error is the lowest so far.

        Without validation rows, every new snapshot replaces the last one. Return False, and record
        nothing, if some params are not finite; otherwise return True.
        """
        state = self._latest
        assert state is not None  # after a step
        network = self._network_of(state)
        if not network.is_finite():
            return False
        errors = self.plan.objective.row_errors(network, self.validation_rows)
        self.steps.append(self.step)
        self.errors.append(errors)
        if not len(errors):
            self.network, self.state = network, state.to_numpy()
            return True
        error = mean_error(errors, self.validation_rows)
        is_improved = error < self._lowest_error - self.plan.config.tol * self.loss_scale
        self._n_without_improvement = 0 if is_improved else self._n_without_improvement + 1
        if error < self._lowest_error:
            self.network, self._lowest_error = network, error
        return True

    def _network_of(self, state: TrainState) -> Autoencoder:
        """Return the network of a state of training."""

        def to_numpy(part: Any) -> NDArray[np.float32]:
            array: NDArray[np.float32] = np.asarray(part)
            return array if self._index is None else array[self._index]

        params = map_nest(to_numpy, state.params)
        return self.initial_network.with_params(self.plan.params_in_columns(params))

    def end(self, reason: StopReason, exception: Exception | None = None) -> None:
        """Record why the run ended.

        If the run was aborted between two evaluations, the network after the last step is evaluated
        here, unless other workers hold validation rows.
        """
        self.stop_reason, self.exception = reason, exception
        others_have_rows = (
            self.validation_rows.shards is not None and self.validation_rows.n_rows > 0
        )
        if reason.is_abort and self.step > self.steps[-1] and not others_have_rows:
            self.validation_rows = self.validation_rows.local()
            self.evaluate()

    def should_stop_early(self) -> bool:
        """Whether `early_stopping` stops the run; always False without validation rows."""
        config = self.plan.config
        return config.early_stopping and self._n_without_improvement >= config.n_iter_no_change


def train(
    runs: Sequence[Run],
    rngs: Sequence[np.random.Generator],
    callback: FitCallback | None = None,
    state: TrainState | None = None,
) -> None:
    """Train the networks of several runs in parallel, and keep the best snapshot of each.

    The arrays of the runs are stacked, and one step of the loop makes a step of every run. Several
    splits of a small table then need about as many calls of the TensorFlow runtime as one split. If
    one run has to stop, all of them stop.

    Parameters
    ----------
    runs : sequence of Run
        Runs with the same plan; their results are stored in them.
    rngs : sequence of numpy.random.Generator
        Generator of each run, which shuffles the minibatches and draws the noise.
    callback : FitCallback, optional
        Called during the first run; see `FitCallback`.
    state : TrainState, optional
        Initial state of training. By default it is computed from the initial networks.
    """
    if any(run.stop_reason == StopReason.EXACT for run in runs):
        for run in runs:
            run.end(StopReason.EXACT)
        return
    callback, exception = FitCallback() if callback is None else callback, None
    tables = [run.training_table() for run in runs]
    chunks = _chunks_of_steps(runs, tables, rngs, state)
    # NumPy imputes missing values in a separate thread while the compiled step runs: use one BLAS
    # thread, because more threads would compete with those of the compiled step
    is_imputed = any(table.imputer is not None for table in tables)
    try:
        with one_blas_thread() if is_imputed else nullcontext():
            reason = _train_until_stop(runs, chunks, callback)
    except KeyboardInterrupt:
        if runs[0].training.workers.n_workers > 1:  # the other workers would wait for this one
            raise
        reason = StopReason.INTERRUPTED
    except WorkerLostError as lost:
        reason, exception = StopReason.WORKER_LOST, lost
    for run in runs:
        run.end(reason, exception)
    callback.on_run_end(runs[0])


def _chunks_of_steps(
    runs: Sequence[Run],
    tables: Sequence[Table],
    rngs: Sequence[np.random.Generator],
    state: TrainState | None,
) -> Iterator[tuple[TrainState, NDArray[np.float32]]]:
    """Return an iterator that trains the runs and yields states and losses; see `loop.train`.

    The arguments of `loop.train` are not stored elsewhere, so that their memory is freed when
    training ends.
    """
    plan = runs[0].plan
    params = _stacked([plan.params_in_axes(run.initial_network.params) for run in runs])
    constants: Any = _stacked([plan.objective.constants(run.initial_network) for run in runs])
    objective: Any = plan.objective
    if plan.n_on_device is not None:
        objective = OnDeviceLoss(objective)
        rows = [_rows_on_device(table, plan.n_on_device, plan.axes) for table in tables]
        constants = _stacked(rows), constants
    return loop.train(
        plan.initial_state(params) if state is None else state,
        _stacked_batches(tables, plan, rngs),
        plan.learning_rates,
        GradientStep(objective, constants, plan.optimizer, len(runs) if len(runs) > 1 else None),
        runs[0].training.workers,
    )


def _rows_on_device(
    table: Table, n_rows: int, axes: NDArray[np.float32] | None
) -> tuple[NDArray[np.float32], ...]:
    """Return the arrays for the TensorFlow runtime: inputs and targets, or one array for both."""
    targets = table.rows_on_device(n_rows)
    return (targets,) if axes is None else (targets @ axes.T, targets)


def _stacked(nests: Sequence[Any], axis: int = 0) -> Any:
    """Stack nested dicts and lists of arrays of equal shapes; a single nest gets no new axis."""
    if len(nests) == 1:
        return nests[0]
    return map_nest(lambda *arrays: np.stack(arrays, axis), *nests)


def _stacked_batches(
    tables: Sequence[Table], plan: Plan, rngs: Sequence[np.random.Generator]
) -> Iterator[tuple[Any, int]]:
    chunks = [
        table.batches(
            plan.chunk_lengths(),
            plan.chunk_shape,
            plan.corruption,
            rng,
            is_on_device=plan.n_on_device is not None,
            n_draws=plan.objective.n_draws,
        )
        for table, rng in zip(tables, rngs, strict=True)
    ]
    for parts in zip(*chunks, strict=True):
        batches, (n_steps, *_) = zip(*parts, strict=True)
        yield _stacked(batches, axis=1), n_steps


def _train_until_stop(
    runs: Sequence[Run],
    chunks: Iterator[tuple[TrainState, NDArray[np.float32]]],
    callback: FitCallback,
) -> StopReason:
    """Train to the last step or to an early stop, and return the stop reason."""
    began, first, plan = None, runs[0], runs[0].plan
    indices: Sequence[int | None] = [None] if len(runs) == 1 else range(len(runs))
    callback.on_interval_begin()
    for state, losses in chunks:
        pairs = zip(runs, indices, strict=True)
        if not all(run.add(state, losses, index) for run, index in pairs):
            return StopReason.DIVERGED
        # exclude the first chunk from the time estimate, because the step is compiled during it
        began = began or (time.monotonic(), first.step)
        if not plan.evaluates_at(first.step):
            continue
        if not all(run.evaluate() for run in runs):
            return StopReason.DIVERGED
        stop = callback.on_evaluation(first, _seconds_left(first.step, plan.n_steps, *began))
        stops = first.training.workers.all_gather_object(bool(stop))
        if any(stops) or first.should_stop_early() or _validation_error_rises(runs):
            return StopReason.EARLY
        if first.step < plan.n_steps:
            callback.on_interval_begin()
    return StopReason.COMPLETED


def _seconds_left(step: int, last_step: int, began: float, first_step: int) -> float | None:
    """Estimate the seconds until the last step; None if there is no estimate yet.

    `began` is the time at which `first_step` was reached.
    """
    if step == first_step:
        return None
    return (time.monotonic() - began) * (last_step - step) / (step - first_step)


def _validation_error_rises(runs: Sequence[Run]) -> bool:
    """Whether the validation error rises, which is a stop condition of max_iter="auto".

    It rises if it had no new minimum in the last `plan.patience` evaluations, and is above the
    validation error of the initial network.
    """
    patience, errors = runs[0].plan.patience, np.hstack([run.errors for run in runs])
    if patience is None or not errors.size:
        return False
    errors = errors.mean(axis=1)
    n_since = len(errors) - 1 - errors.argmin()
    return bool(n_since >= patience and errors[-1] > errors[0])
