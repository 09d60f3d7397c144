"""The plan of a run: its length and pace, what is minimised, and how it is judged."""

from dataclasses import dataclass, field
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

# How max_iter="auto" trades time for error, in epochs and in gradient steps at most; an objective
# says how many at least.
_AUTO_EPOCHS, _AUTO_MAX_STEPS = 100, 2400
# It also ends a run whose held-out error has fallen no more for this share of the steps, and is
# above that of the start.
_AUTO_PATIENCE = 0.25
# The held-out rows are evaluated about so often in a run, once an epoch at most unless an epoch is
# long: then after so many steps or more, of which a forward pass takes about a third of the time.
_EVALUATIONS, _MIN_STEPS_BETWEEN, _FORWARD = 40, 250, 1 / 3
# With early stopping, at least after so many epochs: however long the run could be, it can end.
_MAX_EPOCHS_BETWEEN = 10
# The losses of a run are kept in arrays.
_MOST_STEPS = 10**9
_FLOAT32_BYTES = 4
_LARGEST = float(np.finfo(np.float32).max)

# Four million float32: a chunk costs 16 MB. To hand one over takes about a millisecond, which long
# chunks of short steps share; small tables evaluate their held-out rows too often to fill them.
_CHUNK = 2**22
# Some 17 thousand million multiplications, a tenth of a second or a few: between chunks, training
# can be interrupted.
_CHUNK_PRODUCTS = 2**34
_CHUNK_STEPS, _LONG_CHUNK_STEPS, _LONG_TABLE = 32, 128, 2**15
# The arrays of a batch have a multiple of so many rows: the same shapes, whatever the fold.
_BATCH_UNIT = 64
# A table of _LONG_TABLE rows is held in the runtime, filled up to a multiple of so many rows, so
# that folds share a compiled loop.
_RESIDENT_UNIT = 2**12
# So many splits are trained at once, if the networks have no more weights than this in all: a
# quarter of a gigabyte, with the moments. More at once would gain little, and every number is a
# shape of its own, which must be compiled.
_STACK, _MOST_STACKED_WEIGHTS = 3, 2**24


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a run trains, how long it is, and how it is validated.

    Attributes
    ----------
    objective : callable
        What is minimised, and the errors of held-out rows; see `losses`.
    shape : tuple of int
        Shape of a chunk, see `chunk_shape`.
    n_training : int
        Number of training rows.
    rates : Rates
        Learning rate of each gradient step.
    evaluate_every : int
        Number of steps between two evaluations of the held-out rows.
    stop : int
        Number of steps to make.
    config : TrainingConfig
        Parameters of the estimator.
    against_pca : bool
        Whether the start is PCA, which is kept unless another step is better beyond chance.
    frees_pca : bool
        Whether PCA is judged and kept without bounds: automatic ones, which are not PCA's.
    patience : int or None
        The run ends if the held-out error has been above its minimum for so many evaluations, and
        is above that of the start; None: it does not.
    n_stacked : int
        How many runs over different splits are made at once, while there are so many.
    n_resident : int or None
        If the table is held in the runtime, the number of rows there, some of them padding.
    axes : ndarray of shape (n_axes, n_features), float32, or None
        Orthonormal axes of the subspace of the rows in which the encoder is trained.
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
        """What is done to the inputs of training."""
        return Corruption(self.config.corruption, self.config.noise)

    @property
    def steps_per_epoch(self):
        """Gradient steps in a pass over the training rows."""
        return -(-self.n_training // self.shape[1])

    @property
    def n_evaluations(self):
        """How often the held-out rows will be evaluated, after the start."""
        return -(-self.stop // self.evaluate_every)

    def evaluates_at(self, step):
        """Whether the held-out rows are evaluated after this step."""
        return step % self.evaluate_every == 0 or step == self.stop

    def chunk_lengths(self):
        """Cut the steps into chunks that end wherever the held-out rows are evaluated."""
        for first in range(0, self.stop, self.evaluate_every):
            n_steps = min(self.evaluate_every, self.stop - first)
            for done in range(0, n_steps, self.shape[0]):
                yield min(self.shape[0], n_steps - done)

    def inner_params(self, params):
        """Return the params that are trained, from those of a network of all columns."""
        if self.axes is None:
            return params
        return params | {"encoder": with_inputs(params["encoder"], self.axes)}

    def outer_params(self, params):
        """Return the params of a network of all columns, from those that are trained."""
        if self.axes is None:
            return params
        return params | {"encoder": with_inputs(params["encoder"], self.axes.T)}

    def kept_start(self, network):
        """Return the network that is kept if the start is: PCA is without automatic bounds."""
        return network.without_bounds() if self.frees_pca else network

    def initial_state(self, params, n_before=0):
        """Return the state that training starts from: float32 params, and Adam's moments.

        The penalty is shared by the training rows and `n_before` rows of the stream before them.
        """
        params = optree.tree_map(np.float32, params)
        l2 = min(self.config.alpha / (n_before + self.n_training), _LARGEST)
        # the linear path bears none, so that a large alpha leads to a linear autoencoder
        penalty = optree.tree_map_with_path(lambda path, _: l2 * ("coefs" in path), params)
        return TrainState(params, self.optimizer.init(params, penalty))


def plan_fit(objective, table, architecture, splits, config, against_pca, axes=None):
    """Plan runs over splits of the rows of a table; see `Plan` for the other arguments.

    The axes are used if the table may be held in the runtime.

    Raises
    ------
    ValueError
        If more steps are asked for than can be made.
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
        asked = f"{min(n_steps, 10**300):.1e}"  # larger ones are no floats
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
    # an imputer keeps automatic bounds, for what it fills should be possible
    is_free = isinstance(architecture.bounds, str) and not architecture.is_imputer
    is_auto = max_iter == "auto" and max_steps is None
    return Plan(
        objective=objective,
        shape=shape,
        n_training=n_training,
        rates=_rates(config, SCHEDULES[config.learning_rate], n_steps),
        evaluate_every=every,
        stop=n_steps,
        config=config,
        against_pca=against_pca,
        frees_pca=against_pca and is_free,
        patience=ceil(_AUTO_PATIENCE * -(-n_steps // every)) if is_auto else None,
        n_stacked=n_stacked,
        n_resident=n_resident,
        axes=axes,
    )


def _steps_between(config, n_steps, steps_per_epoch, n_held_out):
    """Return the number of steps between two evaluations of so many batches of held-out rows.

    There are about forty evaluations, after every few epochs, or after each. A long epoch has
    several, so that progress is seen and snapshots are taken, where they cost a tenth at most.
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
    """Return the number of rows to hold in the runtime, a multiple of `unit`, or None.

    It holds a table that one process trains on, if that fits into scikit-learn's `working_memory`.
    """
    n_rows = -(-table.n_rows // unit) * unit
    n_bytes = _FLOAT32_BYTES * n_stacked * n_rows * table.n_features
    fits = n_bytes <= get_config()["working_memory"] * 2**20
    return n_rows if fits and table.workers.strategy is None else None


def batch_rows(batch_size, *numbers_of_rows):
    """Return the rows of the arrays of a batch, for tables of these numbers of rows.

    Enough for the batches of an epoch, which are equally long, and no more than `batch_size`.
    """
    batch_size = int(batch_size)
    longest = max(-(-n // -(-n // batch_size)) for n in numbers_of_rows)
    return min(batch_size, -(-longest // _BATCH_UNIT) * _BATCH_UNIT)


def chunk_shape(table, architecture, n_rows, n_stacked=1, is_resident=False):
    """Shape (n_steps, n_rows, n_features) of a chunk, for each of so many networks.

    It hardly depends on the number of rows: the folds of a cross-validation and the fit on all rows
    share a shape, and so one compiled loop. The chunks of a resident table are row indices.
    """
    n_samples, n_features = table.n_rows, table.n_features
    n_steps = _LONG_CHUNK_STEPS if n_samples >= _LONG_TABLE else _CHUNK_STEPS
    n_numbers = n_stacked * n_rows * (1 if is_resident else n_features)
    n_products = n_stacked * n_rows * architecture.n_weights(n_features)
    most = min(_CHUNK // n_numbers, _CHUNK_PRODUCTS // n_products)
    return min(n_steps, max(1, most)), n_rows, n_features
