"""Plans of training runs: length, learning rates, objective, evaluation and array shapes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import get_config

from .._data.corruption import Corruption
from .._data.table import Table
from .._initialization.architecture import Architecture
from .._networks.forward import with_inputs
from .._networks.nests import map_nest
from .._networks.network import Autoencoder
from .config import TrainingConfig
from .loop import Optimizer, TrainState
from .losses import Objective
from .optimizers import SCHEDULES, Adam, Rates, warm_up
from .problem import Problem

# Length of training with max_iter="auto": number of epochs, and maximum number of gradient steps.
# The minimum number of steps is `objective.min_steps`.
_AUTO_EPOCHS, _AUTO_MAX_STEPS = 100, 2400
# max_iter="auto" also stops a run if the validation error has had no new minimum for this fraction
# of the steps, and is above the error of the initial network.
_AUTO_PATIENCE = 0.25
# Three numbers for the evaluations on the validation rows: the approximate number of evaluations in
# a run, with at most one per epoch unless an epoch is long; the minimum number of steps between two
# evaluations within a long epoch; and the time of a forward pass, as a fraction of the time of a
# gradient step.
_EVALUATIONS, _MIN_STEPS_BETWEEN, _FORWARD = 40, 250, 1 / 3
# Maximum number of epochs between two evaluations with early stopping, so that a run with a large
# max_iter can stop early.
_MAX_EPOCHS_BETWEEN = 10
# Maximum number of steps of a run, because the losses of all steps are kept in memory.
_MAX_STEPS = 10**9
_FLOAT32_BYTES = 4
_LARGEST = float(np.finfo(np.float32).max)

# A chunk is the batches of several steps, which are passed to the TensorFlow runtime in one call.
# Maximum number of float32 entries in a chunk, 16 MB.
_CHUNK = 2**22
# Maximum number of multiplications in a chunk. This number takes about 0.1 to 0.5 seconds. Training
# can be interrupted only between two chunks.
_CHUNK_PRODUCTS = 2**34
# Maximum number of steps in a chunk, for a table with fewer rows than _LONG_TABLE and for a longer
# table. Passing a chunk to the runtime takes about a millisecond, so that longer chunks take less
# time per step. For small tables, evaluations are too frequent for long chunks, because no chunk
# extends beyond an evaluation.
_CHUNK_STEPS, _LONG_CHUNK_STEPS, _LONG_TABLE = 32, 128, 2**15
# The number of rows in the arrays of a batch is a multiple of this number, so that the folds of a
# cross-validation have arrays of the same shapes.
_BATCH_UNIT = 64
# A table of at least _LONG_TABLE rows is stored in the TensorFlow runtime, padded to a multiple of
# this number of rows, so that the folds of a cross-validation share a compiled loop.
_DEVICE_UNIT = 2**12
# Number of splits that are trained in parallel, if their networks have at most this many weights in
# total (0.25 GB with the moments of Adam). More splits in parallel would gain little, and each
# number of splits is another shape that must be compiled.
_STACK, _MAX_STACKED_WEIGHTS = 3, 2**24


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """Length, learning rates, objective, evaluation and array shapes of a run.

    Attributes
    ----------
    objective : callable
        Loss function and validation errors; see `losses`.
    chunk_shape : tuple of int
        Shape (n_steps, n_rows, n_features) of a chunk; see the function `chunk_shape`.
    n_training : int
        Number of training rows.
    learning_rates : Rates
        Learning rate of each gradient step.
    evaluate_every : int
        Number of steps between two evaluations of the validation rows.
    n_steps : int
        Number of steps to make.
    config : TrainingConfig
        Parameters of the estimator.
    pca_is_baseline : bool
        Whether the initial network is PCA, which is kept unless another step is significantly
        better.
    pca_is_unbounded : bool
        Whether PCA is evaluated and kept without bounds. This is so if the bounds are automatic.
    patience : int or None
        The run stops if the validation error has had no new minimum for this number of evaluations,
        and is above the error of the initial network. None: no such stop.
    n_stacked : int
        Number of runs over different splits that are made in parallel.
    n_on_device : int or None
        Number of rows, including padding, of the table in the TensorFlow runtime; None if the table
        is not stored there.
    axes : ndarray of shape (n_axes, n_features), float32, or None
        Orthonormal axes of the row space in which the encoder is trained; None if it is trained in
        the columns of the table.
    optimizer : object
        See `optimizers`.
    """

    objective: Objective
    chunk_shape: tuple[int, int, int]
    n_training: int
    learning_rates: Rates
    evaluate_every: int
    n_steps: int
    config: TrainingConfig
    pca_is_baseline: bool = False
    pca_is_unbounded: bool = False
    patience: int | None = None
    n_stacked: int = 1
    n_on_device: int | None = None
    axes: NDArray[np.float32] | None = None
    optimizer: Optimizer = field(default_factory=Adam)

    @property
    def corruption(self) -> Corruption:
        """Corruption of the training inputs."""
        return Corruption(self.config.corruption, self.config.noise)

    @property
    def steps_per_epoch(self) -> int:
        """Number of gradient steps in a pass over the training rows."""
        return -(-self.n_training // self.chunk_shape[1])

    @property
    def n_evaluations(self) -> int:
        """Number of evaluations of the validation rows, without that of the initial network."""
        return -(-self.n_steps // self.evaluate_every)

    def evaluates_at(self, step: int) -> bool:
        """Whether the validation rows are evaluated after this step."""
        return step % self.evaluate_every == 0 or step == self.n_steps

    def chunk_lengths(self) -> Iterator[int]:
        """Yield the lengths of chunks of steps; a chunk ends at each evaluation."""
        for first in range(0, self.n_steps, self.evaluate_every):
            n_steps = min(self.evaluate_every, self.n_steps - first)
            for done in range(0, n_steps, self.chunk_shape[0]):
                yield min(self.chunk_shape[0], n_steps - done)

    def params_in_axes(self, params: dict[str, Any]) -> dict[str, Any]:
        """Convert params of a network for all columns to the params that training updates."""
        if self.axes is None:
            return params
        return params | {"encoder": with_inputs(params["encoder"], self.axes)}

    def params_in_columns(self, params: dict[str, Any]) -> dict[str, Any]:
        """Convert params that training updates to params of a network for all columns."""
        if self.axes is None:
            return params
        return params | {"encoder": with_inputs(params["encoder"], self.axes.T)}

    def kept_initial_network(self, network: Autoencoder) -> Autoencoder:
        """Return the initial network in the form that `fit` keeps: PCA has no automatic bounds."""
        return network.without_bounds() if self.pca_is_unbounded else network

    def initial_state(self, params: dict[str, Any], n_before: int = 0) -> TrainState:
        """Return the initial state of training: float32 params, and the optimiser's initial state.

        `alpha` is divided by the number of training rows plus `n_before`, the number of earlier
        rows of the stream.
        """
        nest = map_nest(np.float32, params)
        l2 = min(self.config.alpha / (n_before + self.n_training), _LARGEST)
        # no penalty on the linear path, so that a large alpha leads to a linear autoencoder
        return TrainState(nest, self.optimizer.init(nest, _penalties(nest, l2)))


def _penalties(params: Any, l2: float) -> Any:
    """Return the nest of the penalty factors of params: `l2` for "coefs", zero for others."""
    if not isinstance(params, dict):
        return map_nest(lambda _: 0.0, params)
    return {
        name: map_nest(lambda _: l2, part) if name == "coefs" else _penalties(part, l2)
        for name, part in params.items()
    }


def plan_fit(problem: Problem) -> Plan:
    """Plan a run over each split of a problem.

    Raises
    ------
    ValueError
        If `max_iter` and `max_steps` give more steps than can be made.
    """
    table, architecture, config = problem.table, problem.architecture, problem.config
    n_training, n_validation = problem.n_training, len(problem.splits[0].validation_rows)
    n_rows = batch_rows(config.batch_size, n_training, table.n_rows)
    steps_per_epoch = -(-n_training // n_rows)
    n_steps = _n_steps(config, steps_per_epoch, problem.objective.min_steps)
    every = _steps_between(config, n_steps, steps_per_epoch, n_validation / n_rows)
    n_stacked = _n_stacked(problem)
    n_on_device = _n_rows_on_device(problem, n_stacked, n_steps / steps_per_epoch)
    is_auto = config.max_iter == "auto" and config.max_steps is None
    # an imputer keeps automatic bounds, because imputed values should lie within them
    is_free = isinstance(architecture.bounds, str) and not architecture.is_imputer
    axes = problem.encoder_axes
    return Plan(
        objective=problem.objective,
        chunk_shape=chunk_shape(table, architecture, n_rows, n_stacked, n_on_device is not None),
        n_training=n_training,
        learning_rates=_rates(config, SCHEDULES[config.learning_rate], n_steps),
        evaluate_every=every,
        n_steps=n_steps,
        config=config,
        pca_is_baseline=problem.pca_is_baseline,
        pca_is_unbounded=problem.pca_is_baseline and is_free,
        patience=ceil(_AUTO_PATIENCE * -(-n_steps // every)) if is_auto else None,
        n_stacked=n_stacked,
        n_on_device=n_on_device,
        axes=None if axes is None or n_on_device is None else axes.astype(np.float32),
    )


def _n_steps(config: TrainingConfig, steps_per_epoch: int, min_steps: int) -> int:
    """Return the number of gradient steps of a run.

    Raises
    ------
    ValueError
        If it is larger than the maximum.
    """
    max_iter, max_steps = config.max_iter, config.max_steps
    if isinstance(max_iter, str):
        auto = np.clip(_AUTO_EPOCHS * steps_per_epoch, min_steps, _AUTO_MAX_STEPS)
        n_steps = int(max_steps or auto)
    else:
        n_steps = int(max_iter) * steps_per_epoch
    n_steps = min(n_steps, int(max_steps or n_steps))
    if n_steps > _MAX_STEPS:
        asked = f"{min(n_steps, 10**300):.1e}"  # larger integers cannot be formatted as floats
        raise ValueError(
            f"max_iter={max_iter!r} and max_steps={max_steps!r} ask for {asked} gradient "
            f"steps ({steps_per_epoch} per epoch), but at most {_MAX_STEPS:.0e} are allowed."
        )
    return n_steps


def _n_stacked(problem: Problem) -> int:
    """Return the number of splits that are trained in parallel."""
    n_weights = problem.architecture.n_weights(problem.table.n_features)
    fits = _STACK * n_weights <= _MAX_STACKED_WEIGHTS
    is_alone = problem.table.workers.strategy is None
    return _STACK if is_alone and fits and len(problem.splits) >= _STACK else 1


def _steps_between(
    config: TrainingConfig, n_steps: int, steps_per_epoch: int, n_validation: float
) -> int:
    """Return the number of steps between two evaluations of the validation rows.

    There are about 40 evaluations, each after one or a few epochs. A long epoch has several
    evaluations, if they take at most a tenth of its time, so that progress is shown and snapshots
    are taken. `n_validation` is the number of validation rows divided by the rows of a batch.
    """
    n_epochs = max(1, round(n_steps / steps_per_epoch / _EVALUATIONS))
    if config.early_stopping:
        n_epochs = min(n_epochs, _MAX_EPOCHS_BETWEEN)
    fewest = max(_MIN_STEPS_BETWEEN, n_steps / _EVALUATIONS, 10 * _FORWARD * n_validation)
    n_parts = max(1, int(steps_per_epoch / fewest))
    return steps_per_epoch * n_epochs if n_epochs > 1 else -(-steps_per_epoch // n_parts)


def plan_stream(problem: Problem, step: int) -> Plan:
    """Plan one pass of partial_fit over a table, after `step` steps of the stream."""
    config = replace(problem.config, max_iter=1, max_steps=None)
    plan = plan_fit(replace(problem, config=config))
    rates = _rates(config, partial(warm_up, step=step), plan.n_steps)
    return replace(plan, learning_rates=rates, evaluate_every=plan.n_steps, config=problem.config)


def _rates(config: TrainingConfig, schedule: Callable[..., Any], n_steps: int) -> Rates:
    return Rates(schedule, n_steps, min(config.learning_rate_init, _LARGEST))


def _n_rows_on_device(problem: Problem, n_stacked: int, n_epochs: float) -> int | None:
    """Return the padded number of rows in the TensorFlow runtime, or None if none are stored there.

    A table is stored there if it is long and training has more than one epoch, or if its encoder is
    trained in the axes of the row space. It must be complete and fit into the `working_memory` of
    scikit-learn. There must be no noise, and training must run in one process.
    """
    table, has_axes = problem.table, problem.encoder_axes is not None
    if problem.config.noise or table.is_incomplete or table.workers.strategy is not None:
        return None
    if not has_axes and (table.n_rows < _LONG_TABLE or n_epochs <= 1):
        return None
    unit, n_copies = (_BATCH_UNIT, n_stacked) if has_axes else (_DEVICE_UNIT, 1)
    n_rows = -(-table.n_rows // unit) * unit
    n_bytes = _FLOAT32_BYTES * n_copies * n_rows * table.n_features
    return n_rows if n_bytes <= get_config()["working_memory"] * 2**20 else None


def batch_rows(batch_size: float, *numbers_of_rows: int) -> int:
    """Return the number of rows in the arrays of a batch, for tables of these numbers of rows.

    The sizes of the batches of an epoch differ by at most one row. The arrays have at least as many
    rows as the largest batch, and at most `batch_size` rows.
    """
    batch_size = int(batch_size)
    longest = max(-(-n // -(-n // batch_size)) for n in numbers_of_rows)
    return min(batch_size, -(-longest // _BATCH_UNIT) * _BATCH_UNIT)


def chunk_shape(
    table: Table,
    architecture: Architecture,
    n_rows: int,
    n_stacked: int = 1,
    is_on_device: bool = False,
) -> tuple[int, int, int]:
    """Return the shape (n_steps, n_rows, n_features) of a chunk of each stacked network.

    The shape hardly depends on the number of rows of the table: the folds of a cross-validation and
    the fit on all rows have chunks of the same shape, and share one compiled loop. If the table is
    stored in the TensorFlow runtime, a chunk contains row indices instead of rows.
    """
    n_samples, n_features = table.n_rows, table.n_features
    n_steps = _LONG_CHUNK_STEPS if n_samples >= _LONG_TABLE else _CHUNK_STEPS
    n_numbers = n_stacked * n_rows * (1 if is_on_device else n_features)
    n_products = n_stacked * n_rows * architecture.n_weights(n_features)
    most = min(_CHUNK // n_numbers, _CHUNK_PRODUCTS // n_products)
    return min(n_steps, max(1, most)), n_rows, n_features
