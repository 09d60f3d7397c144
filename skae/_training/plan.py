"""Plans of training runs: length, learning rates, objective, evaluation and array shapes."""

from dataclasses import dataclass, field, replace
from functools import partial
from math import ceil
from typing import Any

import numpy as np
import optree
from sklearn import get_config

from .._data.corruption import Corruption
from .._networks.network import with_inputs
from .config import TrainingConfig
from .loop import TrainState
from .optimizers import SCHEDULES, Adam, Rates, warm_up

# Length of training with max_iter="auto": number of epochs, and maximum number of gradient steps.
# The minimum number of steps is `objective.min_steps`.
_AUTO_EPOCHS, _AUTO_MAX_STEPS = 100, 2400
# max_iter="auto" also stops a run if the validation error has had no new minimum for this fraction
# of the steps, and is above the error of the initial network.
_AUTO_PATIENCE = 0.25
# Approximate number of evaluations in a run, at most one per epoch unless an epoch is long; minimum
# number of steps between two evaluations within a long epoch; and time of a forward pass as a
# fraction of the time of a gradient step.
_EVALUATIONS, _MIN_STEPS_BETWEEN, _FORWARD = 40, 250, 1 / 3
# With early stopping, the validation rows are evaluated at least after this number of epochs, so
# that a run with a large max_iter can stop early.
_MAX_EPOCHS_BETWEEN = 10
# Maximum number of steps of a run, because the losses of all steps are kept in memory.
_MOST_STEPS = 10**9
_FLOAT32_BYTES = 4
_LARGEST = float(np.finfo(np.float32).max)

# Maximum number of float32 entries in a chunk, 16 MB.
_CHUNK = 2**22
# Maximum number of multiplications in a chunk, which takes about 0.1 to 0.5 seconds. Training can
# be interrupted between chunks only.
_CHUNK_PRODUCTS = 2**34
# Maximum number of steps in a chunk of a table with fewer rows than _LONG_TABLE, and of a longer
# table. Passing a chunk to the runtime takes about a millisecond, which matters less per step in
# long chunks. Small tables evaluate their validation rows too often to fill long chunks.
_CHUNK_STEPS, _LONG_CHUNK_STEPS, _LONG_TABLE = 32, 128, 2**15
# The number of rows in the arrays of a batch is a multiple of this number, so that the folds of a
# cross-validation have arrays of the same shapes.
_BATCH_UNIT = 64
# A table of at least _LONG_TABLE rows is held in the runtime, padded to a multiple of this number
# of rows, so that the folds of a cross-validation share a compiled loop.
_RESIDENT_UNIT = 2**12
# Number of splits that are trained in parallel, if their networks have at most this many weights in
# total (0.25 GB with the moments of Adam). More splits in parallel would gain little, and each
# number of splits is another shape that must be compiled.
_STACK, _MOST_STACKED_WEIGHTS = 3, 2**24


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Length, learning rates, objective, evaluation and array shapes of a run.

    Attributes
    ----------
    objective : callable
        Loss function and validation errors; see `losses`.
    shape : tuple of int
        Shape of a chunk, see `chunk_shape`.
    n_training : int
        Number of training rows.
    rates : Rates
        Learning rate of each gradient step.
    evaluate_every : int
        Number of steps between two evaluations of the validation rows.
    stop : int
        Number of steps to make.
    config : TrainingConfig
        Parameters of the estimator.
    against_pca : bool
        Whether the initial network is PCA, which is kept unless another step is significantly
        better.
    frees_pca : bool
        Whether PCA is evaluated and kept without bounds, because the bounds are automatic.
    patience : int or None
        The run stops if the validation error has had no new minimum for this number of evaluations,
        and is above the error of the initial network. None: no such stop.
    n_stacked : int
        Number of runs over different splits that are made in parallel.
    n_resident : int or None
        Number of rows, including padding, of the table in the runtime; None if the table is not
        held there.
    axes : ndarray of shape (n_axes, n_features), float32, or None
        Orthonormal axes of the row space in which the encoder is trained; None if it is trained in
        the columns of the table.
    optimizer : object
        See `optimizers`.
    """

    objective: Any
    shape: tuple
    n_training: int
    rates: Rates
    evaluate_every: int
    stop: int
    config: TrainingConfig
    against_pca: bool = False
    frees_pca: bool = False
    patience: int | None = None
    n_stacked: int = 1
    n_resident: int | None = None
    axes: np.ndarray | None = None
    optimizer: Any = field(default_factory=Adam)

    @property
    def corruption(self):
        """Corruption of the training inputs."""
        return Corruption(self.config.corruption, self.config.noise)

    @property
    def steps_per_epoch(self):
        """Number of gradient steps in a pass over the training rows."""
        return -(-self.n_training // self.shape[1])

    @property
    def n_evaluations(self):
        """Number of evaluations of the validation rows, without that of the initial network."""
        return -(-self.stop // self.evaluate_every)

    def evaluates_at(self, step):
        """Whether the validation rows are evaluated after this step."""
        return step % self.evaluate_every == 0 or step == self.stop

    def chunk_lengths(self):
        """Yield the lengths of chunks of steps; a chunk ends at each evaluation."""
        for first in range(0, self.stop, self.evaluate_every):
            n_steps = min(self.evaluate_every, self.stop - first)
            for done in range(0, n_steps, self.shape[0]):
                yield min(self.shape[0], n_steps - done)

    def inner_params(self, params):
        """Return the trained params, given the params of a network of all columns."""
        if self.axes is None:
            return params
        return params | {"encoder": with_inputs(params["encoder"], self.axes)}

    def outer_params(self, params):
        """Return the params of a network of all columns, given the trained params."""
        if self.axes is None:
            return params
        return params | {"encoder": with_inputs(params["encoder"], self.axes.T)}

    def kept_start(self, network):
        """Return an initial network as it is kept: PCA is kept without automatic bounds."""
        return network.without_bounds() if self.frees_pca else network

    def initial_state(self, params, n_before=0):
        """Return the initial state of training: float32 params, and moments of zero.

        `alpha` is divided by the number of training rows plus `n_before`, the number of earlier
        rows of the stream.
        """
        params = optree.tree_map(np.float32, params)
        l2 = min(self.config.alpha / (n_before + self.n_training), _LARGEST)
        # no penalty on the linear path, so that a large alpha leads to a linear autoencoder
        penalty = optree.tree_map_with_path(lambda path, _: l2 * ("coefs" in path), params)
        return TrainState(params, self.optimizer.init(params, penalty))


def plan_fit(objective, table, architecture, splits, config, against_pca, axes=None):
    """Plan runs over splits of the rows of a table.

    Parameters
    ----------
    objective : callable
        See `losses`.
    table : Table
        All rows.
    architecture : Architecture
        The network.
    splits : list of Split
        Splits of the rows.
    config : TrainingConfig
        Parameters of the estimator.
    against_pca : bool
        See `Plan`.
    axes : ndarray of shape (n_axes, n_features), optional
        See `Plan`. Only used if the table may be held in the runtime.

    Returns
    -------
    Plan

    Raises
    ------
    ValueError
        If `max_iter` and `max_steps` give more steps than can be made.
    """
    n_training = len(splits[0].training)
    fit_in = _STACK * architecture.n_weights(table.n_features) <= _MOST_STACKED_WEIGHTS
    is_stacked = table.workers.strategy is None and len(splits) >= _STACK and fit_in
    n_stacked = _STACK if is_stacked else 1
    n_rows = batch_rows(config.batch_size, n_training, table.n_rows)
    steps_per_epoch = -(-n_training // n_rows)
    max_iter, max_steps = config.max_iter, config.max_steps
    auto = np.clip(_AUTO_EPOCHS * steps_per_epoch, objective.min_steps, _AUTO_MAX_STEPS)
    n_steps = int(max_steps or auto) if max_iter == "auto" else int(max_iter) * steps_per_epoch
    n_steps = min(n_steps, int(max_steps or n_steps))
    if n_steps > _MOST_STEPS:
        asked = f"{min(n_steps, 10**300):.1e}"  # larger integers cannot be formatted as floats
        raise ValueError(
            f"max_iter={max_iter!r} and max_steps={max_steps!r} ask for {asked} gradient "
            f"steps, {steps_per_epoch} in an epoch; at most {_MOST_STEPS:.0e} can be made."
        )
    n_resident = None
    is_clean = not (config.noise or table.is_incomplete)
    if axes is not None and is_clean:
        n_resident = _resident_rows(table, _BATCH_UNIT, n_stacked)
        axes = None if n_resident is None else np.float32(axes)
    elif table.n_rows >= _LONG_TABLE and n_steps > steps_per_epoch and is_clean:
        n_resident = _resident_rows(table, _RESIDENT_UNIT)
    shape = chunk_shape(table, architecture, n_rows, n_stacked, n_resident is not None)
    n_held_out = len(splits[0].held_out) / n_rows
    every = _steps_between(config, n_steps, steps_per_epoch, n_held_out)
    # an imputer keeps automatic bounds, because imputed values should lie within them
    is_free = isinstance(architecture.bounds, str) and not architecture.is_imputer
    is_auto = max_iter == "auto" and max_steps is None
    plan = Plan(
        objective=objective,
        shape=shape,
        n_training=n_training,
        rates=_rates(config, SCHEDULES[config.learning_rate], n_steps),
        evaluate_every=every,
        stop=n_steps,
        config=config,
        against_pca=against_pca,
        frees_pca=against_pca and is_free,
        n_stacked=n_stacked,
        n_resident=n_resident,
        axes=axes,
    )
    return replace(plan, patience=ceil(_AUTO_PATIENCE * plan.n_evaluations)) if is_auto else plan


def _steps_between(config, n_steps, steps_per_epoch, n_held_out):
    """Return the number of steps between two evaluations of the validation rows.

    There are about 40 evaluations, each after one or a few epochs. A long epoch has several
    evaluations, if they take at most a tenth of its time, so that progress is shown and snapshots
    are taken. `n_held_out` is the number of validation rows divided by the rows of a batch.
    """
    n_epochs = max(1, round(n_steps / steps_per_epoch / _EVALUATIONS))
    if config.early_stopping:
        n_epochs = min(n_epochs, _MAX_EPOCHS_BETWEEN)
    fewest = max(_MIN_STEPS_BETWEEN, n_steps / _EVALUATIONS, 10 * _FORWARD * n_held_out)
    n_parts = max(1, int(steps_per_epoch / fewest))
    return steps_per_epoch * n_epochs if n_epochs > 1 else -(-steps_per_epoch // n_parts)


def plan_stream(objective, table, architecture, config, step):
    """Plan one pass of partial_fit over a table, after `step` steps of the stream."""
    n_rows = batch_rows(config.batch_size, table.n_rows)
    n_steps = -(-table.n_rows // n_rows)
    return Plan(
        objective=objective,
        shape=chunk_shape(table, architecture, n_rows),
        n_training=table.n_rows,
        rates=_rates(config, partial(warm_up, step=step), n_steps),
        evaluate_every=n_steps,
        stop=n_steps,
        config=config,
    )


def _rates(config, schedule, n_steps):
    return Rates(schedule, n_steps, min(config.learning_rate_init, _LARGEST))


def _resident_rows(table, unit, n_stacked=1):
    """Return the number of rows of a table in the runtime, a multiple of `unit`, or None.

    The runtime holds a table if one process trains on it and if it fits into the `working_memory`
    of scikit-learn.
    """
    n_rows = -(-table.n_rows // unit) * unit
    n_bytes = _FLOAT32_BYTES * n_stacked * n_rows * table.n_features
    fits = n_bytes <= get_config()["working_memory"] * 2**20
    return n_rows if fits and table.workers.strategy is None else None


def batch_rows(batch_size, *numbers_of_rows):
    """Return the number of rows in the arrays of a batch, for tables of these numbers of rows.

    The batches of an epoch differ by one row at most. The arrays have room for the longest batch,
    and at most `batch_size` rows.
    """
    batch_size = int(batch_size)
    longest = max(-(-n // -(-n // batch_size)) for n in numbers_of_rows)
    return min(batch_size, -(-longest // _BATCH_UNIT) * _BATCH_UNIT)


def chunk_shape(table, architecture, n_rows, n_stacked=1, is_resident=False):
    """Return the shape (n_steps, n_rows, n_features) of a chunk of each stacked network.

    The shape hardly depends on the number of rows of the table: the folds of a cross-validation and
    the fit on all rows have chunks of the same shape, and share one compiled loop. If the runtime
    holds the table, a chunk contains row indices.
    """
    n_samples, n_features = table.n_rows, table.n_features
    n_steps = _LONG_CHUNK_STEPS if n_samples >= _LONG_TABLE else _CHUNK_STEPS
    n_numbers = n_stacked * n_rows * (1 if is_resident else n_features)
    n_products = n_stacked * n_rows * architecture.n_weights(n_features)
    most = min(_CHUNK // n_numbers, _CHUNK_PRODUCTS // n_products)
    return min(n_steps, max(1, most)), n_rows, n_features
