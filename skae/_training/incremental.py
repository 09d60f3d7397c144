"""Training on the batches of a stream, and the state that `partial_fit` keeps between calls."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._data.splits import all_rows
from .._data.table import Table
from .._networks.network import Autoencoder
from .._networks.whitening import code_sums, mean_and_covariance
from .loop import TrainState
from .plan import Plan, plan_stream
from .problem import Problem
from .run import Run, StopReason, train

# Number of distinct rows that determine the initial network, for each component of the code and for
# the mean: the first number if all columns vary, the second one if there are at least `batch_size`
# rows.
_ROWS_PER_DIMENSION, _ROWS_OF_A_BATCH_PER_DIMENSION = 8, 2
# Attribute of an estimator that stores each field of its `Stream`; `_stream_` stores the others.
_ATTRIBUTES = {
    "n_samples": "n_samples_seen_",
    "n_steps": "n_steps_",
    "n_batches": "n_iter_",
    "mean": "mean_",
    "losses": "loss_curve_",
    "curve": "validation_curve_",
    "n_observed": "_n_observed_",
    "kept": "_kept_rows_",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Stream:
    """Statistics of all rows seen so far, and the state of training.

    Attributes
    ----------
    n_samples, n_steps, n_batches : int
        Number of rows, of gradient steps, and of calls of `fit` and `partial_fit`.
    mean : ndarray of shape (n_features,)
        Mean of the observed values of each column.
    losses, curve : ndarray
        Values of `loss_curve_` and `validation_curve_`.
    n_observed : ndarray of shape (n_features,)
        Number of observed values of each column.
    kept : ndarray of shape (n_kept, n_features) or None
        Rows with which training starts again at the next call; see `rows_to_keep`.
    step : int
        Number of optimiser steps. It is zero after `fit`: the first call of `partial_fit` then
        starts with new moments, and the learning rate increases from zero again.
    params : dict or None
        Float32 params in the units of training. None: use the params of the fitted network.
    moments : dict or None
        Moments "m" and "v" of the optimiser.
    code_sums : tuple
        Number of encoded rows, sum of their codes, and sum of the outer products of the codes. Each
        row was encoded by the network at the time of its call.
    code : tuple of ndarray or None
        Matrix that maps the code of `params` to the whitened code, and its inverse.
    """

    n_samples: int = 0
    n_steps: int = 0
    n_batches: int = 0
    mean: Any = 0.0
    losses: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    curve: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 2)))
    n_observed: Any = 0.0
    kept: NDArray[Any] | None = None
    step: int = 0
    params: dict[str, Any] | None = None
    moments: dict[str, Any] | None = None
    code_sums: tuple[Any, Any, Any] = (0, 0.0, 0.0)
    code: tuple[NDArray[Any], NDArray[Any]] | None = None

    @classmethod
    def from_estimator(cls, estimator: Any) -> "Stream":
        """Return the stream of an estimator, which may be unfitted."""
        if not hasattr(estimator, "encoder_"):
            return cls()
        state = getattr(estimator, "_stream_", None)
        if state is None:
            # the whitened code of fit has unit variance: compute its sums in the units of training
            norms = estimator._network.rescaled(estimator.scale_).direction_norms()
            n_rows = estimator.n_samples_seen_
            cross = (n_rows - 1) * np.diag(norms**-2)
            code = np.diag(norms), np.diag(1 / norms)
            state = {"code_sums": (n_rows, 0.0, cross), "code": code}
        stored = {field: getattr(estimator, name) for field, name in _ATTRIBUTES.items()}
        return cls(**stored, **state)

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of an estimator that store this stream."""
        values = dict(vars(self))
        stored = {name: values.pop(field) for field, name in _ATTRIBUTES.items()}
        return {**stored, "best_step_": self.n_steps, "_stream_": values}

    @property
    def starts(self) -> bool:
        """Whether training starts at a new initial network at the next call."""
        return self.n_samples == 0 or self.kept is not None

    def restarted(self) -> "Stream":
        """Return the stream without the state of training; row and call counts are kept."""
        return Stream(
            n_samples=self.n_samples,
            n_batches=self.n_batches,
            mean=self.mean,
            n_observed=self.n_observed,
            kept=self.kept,
        )

    def resumed(self, network: Autoencoder) -> Autoencoder:
        """Return a network with the params of this stream; the same network if it has none."""
        return network if self.params is None else network.with_params(self.params)

    def state(self, network: Autoencoder, plan: Plan) -> TrainState:
        """Return the initial state of a run, with the optimiser moments of this stream."""
        n_kept = 0 if self.kept is None else len(self.kept)
        state = plan.initial_state(network.params, self.n_samples - n_kept)
        if self.moments is None:
            return state
        optimizer_state = state.optimizer_state | self.moments
        return state._replace(optimizer_state=optimizer_state, step=self.step)

    def with_batch(self, run: Run, error: float, new: Table) -> "Stream":
        """Return the stream after a run over a batch, without the codes of the batch.

        Parameters
        ----------
        run : Run
            The run over the batch.
        error : float
            Mean squared error of the batch before the run.
        new : Table
            The rows of the batch.
        """
        moments = self.moments
        if run.state is not None:
            moments = {name: run.state.optimizer_state[name] for name in ("m", "v")}
        mean, n_new = new.mean_and_count()
        n_observed = n_new + self.n_observed
        gain = (mean - self.mean) * (n_new / np.maximum(n_observed, 1))
        return replace(
            self,
            n_samples=self.n_samples + new.n_rows,
            n_steps=self.n_steps + len(run.losses),
            n_batches=self.n_batches + 1,
            mean=self.mean + gain,
            n_observed=n_observed,
            losses=np.concatenate([self.losses, run.losses]),
            curve=np.vstack([self.curve, [[self.n_steps, error]]]),
            step=self.step + len(run.losses),
            params=run.network.params,
            moments=moments,
        )

    def with_codes_of(self, network: Autoencoder, table: Table) -> "Stream":
        """Return the stream with the codes of a batch added, and a new whitening of all codes."""
        pairs = zip(self.code_sums, (table.n_rows, *code_sums(network, table)), strict=True)
        n_rows, total, cross = (before + new for before, new in pairs)
        _, covariance = mean_and_covariance(n_rows, total, cross)
        if self.code is None:
            code = network.whitening(covariance)
        else:  # ZCA whitening rotates least, so that codes of successive calls stay comparable
            to_code, from_code = self.code
            change, back = network.whitening(to_code.T @ covariance @ to_code, canonical=False)
            code = to_code @ change, back @ from_code
        return replace(self, code_sums=(n_rows, total, cross), code=code)


@dataclass(frozen=True, kw_only=True, eq=False)
class BatchResult:
    """Result of training on a batch of a stream.

    Attributes
    ----------
    network : Autoencoder
        The trained network, with a whitened code if that was asked for.
    stream : Stream
        The stream including the batch.
    stop_reason : StopReason
        Reason why training ended.
    exception : Exception or None
        Exception that was raised when a worker was lost.
    """

    network: Autoencoder
    stream: Stream
    stop_reason: StopReason
    exception: Exception | None


def train_on_batch(stream: Stream, problem: Problem, new: Table) -> BatchResult | None:
    """Make one pass of training over a batch of a stream.

    Parameters
    ----------
    stream : Stream
        The stream before the batch.
    problem : Problem
        The network, and the table of the rows to train on: the rows kept from earlier calls if
        training starts again, followed by the rows of the batch.
    new : Table
        The rows of the batch.

    Returns
    -------
    BatchResult or None
        None if training diverged: the batch would change the whitening, and should be ignored. On
        the first batch the result is the initial network in this case.
    """
    table, starts = problem.table, stream.starts
    network = stream.resumed(problem.initial_network_for(table))
    error = problem.objective.row_errors(network.with_params_in(np.float32), table).mean()
    plan = plan_stream(problem, stream.step)
    run = Run.begin(table, all_rows(table.n_rows), network, plan)
    rng = np.random.default_rng([problem.seed, stream.n_steps])
    train([run], [rng], state=stream.state(network, plan))
    if run.stop_reason == StopReason.DIVERGED and stream.n_samples:
        return None
    if run.stop_reason == StopReason.WORKER_LOST:
        table, new = table.local(), new.local()
    kept = None
    if starts:
        kept = rows_to_keep(table, network.code_size, problem.config.batch_size)
    stream = replace(stream.with_batch(run, error, new), kept=kept)
    network = run.network.astype(table.dtype)
    if problem.whiten:
        stream = stream.with_codes_of(network, table)
        mean, _ = mean_and_covariance(*stream.code_sums)
        assert stream.code is not None  # computed from the codes
        network = network.transform_code(*stream.code, mean)
    network, stream = table.workers.broadcast_object((network, stream))
    return BatchResult(
        network=network, stream=stream, stop_reason=run.stop_reason, exception=run.exception
    )


def rows_to_keep(table: Table, n_components: int, batch_size: int) -> NDArray[Any] | None:
    """Return the rows with which a stream must start again at the next call, or None.

    A few distinct rows do not determine the scale, the bounds, the PCA and the noise variance of
    the initial network, and neither do a few rows with a constant column. A row with missing values
    counts as the fraction of its values that is observed.

    Parameters
    ----------
    table : Table
        All rows from which the initial network was computed.
    n_components : int
        Number of components of the code.
    batch_size : int
        From this number of rows on, fewer distinct rows are enough, and columns may be constant.

    Returns
    -------
    rows : ndarray of shape (n_kept, n_features) or None
        All rows if there are fewer than `batch_size`. Otherwise the distinct rows with at least one
        observed value, at most `batch_size` of them. None if the initial network is determined.
    """
    distinct = _distinct_rows(table, batch_size)
    n_observed = np.isfinite(distinct).sum() / table.n_features
    if table.n_rows >= batch_size:
        is_enough = n_observed >= _ROWS_OF_A_BATCH_PER_DIMENSION * (n_components + 1)
        return None if is_enough else distinct
    least, most = table.min_max()
    is_enough = n_observed >= _ROWS_PER_DIMENSION * (n_components + 1)
    return None if is_enough and (most > least).all() else np.array(table.gather(slice(None)))


def _distinct_rows(table: Table, n_most: int) -> NDArray[Any]:
    """Return at most `n_most` distinct rows of all workers; rows without any value are left out."""

    def add(rows: NDArray[Any]) -> None:
        for row in rows[~np.isnan(rows).all(axis=1)] + 0.0:  # adding zero makes -0.0 positive
            if len(found) == n_most:
                return
            found.setdefault(row.tobytes(), row)

    found: dict[bytes, NDArray[Any]] = {}
    for block in table.blocks():
        add(block)
        if len(found) == n_most:
            break
    parts = table.workers.all_gather_object(list(found.values()))
    found.clear()
    for rows in filter(None, parts):
        add(np.array(rows))
    return np.array(list(found.values()), table.dtype).reshape(len(found), table.n_features)


def equal_row(table: Table) -> NDArray[Any] | None:
    """Return the row of shape (1, n_features) to which all rows of a table are equal, or None."""
    if not table.is_incomplete:  # the search stops at the second distinct row
        distinct = _distinct_rows(table, 2)
        return distinct if len(distinct) == 1 else None
    least, most = table.min_max()
    return None if (most > least).any() else most[None].astype(table.dtype)
