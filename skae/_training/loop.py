"""The compiled training loop, which makes a chunk of gradient steps per call.

The loop is independent of the network, the objective and the optimiser. The compiled function has
no state, so that all fits of a process with arrays of the same shapes share it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache, partial
from numbers import Number
from typing import Any, NamedTuple, Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

from .._runtime.tensorflow import import_tensorflow
from .._runtime.threads import in_thread, prefetch
from .._runtime.workers import SINGLE_PROCESS, Workers
from .compiled import CompiledFunction


class Optimizer(Protocol):
    """Hashable optimiser of the params, which are a nest of arrays."""

    def init(self, params: Any, l2: Any = None) -> Any:
        """Return the initial state; `l2` has the penalty factor of each array of params."""

    def update(
        self, gradients: Any, state: Any, params: Any, step: Any, rate: Any
    ) -> tuple[Any, Any]:
        """Return new params and a new state, as tensors. Steps count from one."""


class Loss(Protocol):
    """Hashable loss function."""

    def __call__(self, params: Any, batch: Any, constants: Any) -> Any:
        """Return the loss of a batch: a scalar tensor, or one value for each stacked network."""


class TrimmedLoss(Loss, Protocol):
    """Loss function in which the weight of a row may depend on the losses of the other rows.

    With several replicas, the factors of the replica's own rows are the fourth argument of a call.
    """

    @property
    def depends_on_all_rows(self) -> bool:
        """Whether the weight of a row depends on the losses of the other rows."""

    def row_losses(self, params: Any, batch: Any, constants: Any) -> tuple[Any, Any]:
        """Return the weighted loss of each row of a batch, and its weight."""

    def row_factors(self, losses: Any, weights: Any) -> Any:
        """Return the factor of each row's loss, given the losses and weights of all replicas."""


# A NamedTuple, because TensorFlow maps functions over its arrays.
class TrainState(NamedTuple):
    """State of training, as nests of arrays or tensors.

    Attributes
    ----------
    params : nest
        The trained params.
    optimizer_state : nest
        Result of `init` or `update` of the optimiser.
    step : int
        Number of steps made so far.
    """

    params: Any
    optimizer_state: Any
    step: int = 0

    def to_numpy(self) -> "TrainState":
        """Return a copy with NumPy arrays."""
        nest, nests = import_tensorflow().nest, (self.params, self.optimizer_state)
        params, optimizer_state = nest.map_structure(np.array, nests)
        return TrainState(params, optimizer_state, self.step)


@dataclass(frozen=True, eq=False)
class GradientStep:
    """What a step computes.

    Attributes
    ----------
    objective : Loss
        Loss function. With several replicas it must be a sum over the rows of a batch. If the
        weight of a row depends on the losses of the other rows, it must be a `TrimmedLoss`.
    constants : nest of ndarray
        Constants of the objective.
    optimizer : Optimizer
        Optimiser, of which only `update` is called.
    n_stacked : int, optional
        Number of stacked networks.
    """

    objective: Loss
    constants: Any
    optimizer: Optimizer
    n_stacked: int | None = None


def train(
    state: TrainState,
    chunks: Iterator[tuple[Any, int]],
    rates: Any,
    gradient_step: GradientStep,
    workers: Workers = SINGLE_PROCESS,
) -> Iterator[tuple[TrainState, NDArray[np.float32]]]:
    """Make gradient steps, and yield the state after each chunk of steps.

    Parameters
    ----------
    state : TrainState
        Initial state, in float32 arrays.
    chunks : iterator of (nest of ndarray, int)
        Yielded by `Table.batches`: batches, stacked along the first axis of each array, and the
        number of batches that are not padding. One chunk is read ahead.
    rates : sequence of float
        Learning rate of each step. Slices of it are read.
    gradient_step : GradientStep
        What a step computes.
    workers : Workers
        The workers that train together.

    Yields
    ------
    state : TrainState
        State after the chunk; in tensors on a GPU or with a strategy, otherwise in arrays.
    losses : ndarray of shape (n_steps,) or (n_steps, n_stacked)
        Value of the objective before each step.
    """
    tf, objective, optimizer = import_tensorflow(), gradient_step.objective, gradient_step.optimizer
    n_stacked = gradient_step.n_stacked
    nests = state.params, state.optimizer_state, gradient_step.constants
    is_in_session = in_thread(_is_in_session, tf, workers.strategy)
    as_input = _aligned if is_in_session else tf.convert_to_tensor
    nests = in_thread(tf.nest.map_structure, as_input, nests)
    classes, shapes = _classes((objective, optimizer)), _shapes(tf, nests)
    *params_and_state, constants = nests
    del nests, gradient_step  # frees the initial tensors and the constants during training
    params_and_state = workers.per_replica([tuple(params_and_state)] * len(workers.replicas))
    step, n_done = state.step, 0

    def tensor_chunks() -> Iterator[tuple[Any, tuple[int, int], tuple[Any, ...], int]]:
        for batches, n_steps in chunks:
            size = tf.nest.flatten(batches)[0].shape[:2]
            key = (classes, shapes, _shapes(tf, batches))
            parts = _split(tf.nest, batches, workers, as_input)
            yield workers.per_replica(parts), size, key, n_steps

    ends = None
    for batches, (n_most, n_rows), key, n_steps in prefetch(tensor_chunks()):
        if ends is None:
            ends = workers.ends_of_replicas(n_rows)
        run = compiled_steps((objective, optimizer), workers.strategy, ends, is_in_session, key)
        padded = np.zeros(n_most, dtype=np.float32)
        padded[:n_steps] = rates[n_done : n_done + n_steps]
        losses = np.zeros(padded.shape if n_stacked is None else (len(padded), n_stacked), "f")
        counts = tuple(map(as_input, (np.int32(step), padded, np.int32(n_steps))))
        params_and_state, losses = workers.run_collective(
            run, params_and_state, batches, constants, counts, as_input(losses)
        )
        step, n_done = step + n_steps, n_done + n_steps
        params, optimizer_state = tf.nest.map_structure(workers.of_first_replica, params_and_state)
        yield TrainState(params, optimizer_state, step), np.asarray(losses)[:n_steps]


def _is_in_session(tf: Any, strategy: Any) -> bool:
    """Whether the compiled function runs in a session, and its inputs are NumPy arrays.

    On a GPU, the inputs would be copied to the device for each chunk of steps.
    """
    return strategy is None and not tf.config.list_logical_devices("GPU")


def _classes(value: Any) -> tuple[Any, ...]:
    """Return the class of a value and, recursively, the classes of the fields that `==` compares.

    This distinguishes tuples of different classes, which are equal if their fields are equal. For
    numbers the classes are ignored.
    """
    if isinstance(value, Number):
        return ()
    parts: Sequence[Any] = value if isinstance(value, tuple) else ()
    if is_dataclass(value):
        parts = [getattr(value, field.name) for field in fields(value) if field.compare]
    return type(value), *map(_classes, parts)


def _shapes(tf: Any, nest: Any) -> str:
    """Return a string of the structure, dtypes and shapes of a nest of arrays or tensors."""
    return repr(tf.nest.map_structure(lambda part: f"{part.dtype}{part.shape}", nest))


def _aligned(array: Any) -> NDArray[Any]:
    """Return an array that a session reads without a copy, which is aligned to 64 bytes."""
    found: NDArray[Any] = np.asarray(array)
    if found.ctypes.data % 64 == 0 and found.flags.c_contiguous:
        return found
    memory = np.empty(found.nbytes + 64, dtype=np.uint8)
    first = -memory.ctypes.data % 64
    aligned: NDArray[Any] = memory[first : first + found.nbytes].view(found.dtype)
    aligned = aligned.reshape(found.shape)
    aligned[...] = found
    return aligned


def _split(nest: Any, batches: Any, workers: Workers, as_input: Callable[[Any], Any]) -> list[Any]:
    """Split batches along their rows into inputs, one nest for each replica of this worker."""
    arrays = nest.flatten(batches)
    once = {id(array): array for array in arrays}  # copy repeated arrays only once
    parts = []
    for rows in workers.split(arrays[0].shape[1]):
        inputs = {key: as_input(array[:, rows]) for key, array in once.items()}
        parts.append(nest.pack_sequence_as(batches, [inputs[id(a)] for a in arrays]))
    return parts


@lru_cache(maxsize=16)  # XLA keeps ten idle threads for each session
def compiled_steps(
    objective_and_optimizer: tuple[Loss, Optimizer],
    strategy: Any,
    ends: Sequence[int],
    is_in_session: bool,
    key: tuple[Any, ...],
) -> CompiledFunction:
    """Return the compiled function for one objective, optimiser and set of shapes.

    `key` contains the classes, because objects of different classes can be equal, and the shapes
    and dtypes of the arrays, so that the LRU cache drops shapes that are no longer used.
    """
    steps = _make_steps(import_tensorflow(), *objective_and_optimizer, strategy, ends)
    return CompiledFunction(steps, strategy, is_in_session)


def _make_steps(
    tf: Any, objective: Loss, optimizer: Optimizer, strategy: Any, ends: Sequence[int]
) -> Callable[..., Any]:
    """Build the function that makes the steps of a chunk."""
    loss_and_gradients, update = _parts_of_step(tf, objective, optimizer)
    if strategy is not None:
        parts = (loss_and_gradients, update)
        loss_and_gradients, update = _all_reducing(tf, objective, ends, *parts)

    def replica_step(
        i: Any, params_and_state: Any, batches: Any, constants: Any, step: Any, rate: Any
    ) -> Any:
        batch = tf.nest.map_structure(lambda part: part[i], batches)
        results = loss_and_gradients(params_and_state[0], batch, constants)
        return update(*results, *params_and_state, step, rate)

    runner = strategy or tf.distribute.get_strategy()  # the default one calls the function directly

    def make_steps(
        params_and_state: Any, batches: Any, constants: Any, counts: Any, losses: Any
    ) -> Any:
        step, rates, n_steps = counts

        def one_step(i: Any, params_and_state: Any, losses: Any) -> Any:
            args = (i, params_and_state, batches, constants, step + i + 1, rates[i])
            *params_and_state, loss = runner.run(replica_step, args)
            loss = runner.experimental_local_results(loss)[0]
            losses = tf.tensor_scatter_nd_update(losses, [[i]], [loss])
            return i + 1, tuple(params_and_state), losses

        first = (tf.constant(0), params_and_state, losses)
        return tf.while_loop(lambda i, *_: i < n_steps, one_step, first)[1:]

    return make_steps


def _parts_of_step(
    tf: Any, objective: Loss, optimizer: Optimizer
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Build the two parts of a step: the loss with its gradients, and the update."""

    def loss_and_gradients(params: Any, batch: Any, constants: Any, *factors: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(params)
            loss = objective(params, batch, constants, *factors)
        return loss, tape.gradient(loss, params, unconnected_gradients="zero")

    def update(
        loss: Any, gradients: Any, params: Any, optimizer_state: Any, step: Any, rate: Any
    ) -> Any:
        return *optimizer.update(gradients, optimizer_state, params, step, rate), loss

    return loss_and_gradients, update


def _is_trimmed(objective: Loss) -> TypeGuard[TrimmedLoss]:
    return getattr(objective, "depends_on_all_rows", False)


def _all_reducing(
    tf: Any,
    objective: Loss,
    ends: Sequence[int],
    loss_and_gradients: Callable[..., Any],
    update: Callable[..., Any],
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Insert a sum of the gradients of all replicas between the two parts of a step.

    Each replica compiles the two parts separately.

    Parameters
    ----------
    tf : module
        TensorFlow.
    objective : Loss
        See `train`.
    ends : sequence of int
        Index of the first row of each replica in a batch, and the number of rows of the batch.
    loss_and_gradients, update : callable
        The two parts of a step.

    Returns
    -------
    loss_and_gradients, update : callable
        The first part returns the sums over all replicas, as one array in a list.
    """
    compiled = partial(tf.function, jit_compile=True, autograph=False)

    @compiled
    def in_one_array(*arguments: Any) -> Any:  # each collective takes a network round trip
        parts = tf.nest.flatten(loss_and_gradients(*arguments))
        return tf.concat([tf.reshape(part, [-1]) for part in parts], axis=0)

    def summed(*arguments: Any) -> list[Any]:
        factors = []
        if _is_trimmed(objective):
            losses, weights = compiled(objective.row_losses)(*arguments)
            factors = [_factors_of_own_rows(tf, objective, losses, weights, ends)]
        ours = in_one_array(*arguments, *factors)
        return [tf.distribute.get_replica_context().all_reduce("SUM", ours)]

    @compiled
    def update_from(summed: Any, params: Any, *others: Any) -> Any:
        shapes = [param.shape for param in tf.nest.flatten(params)]
        loss, *parts = tf.split(summed, [1, *(shape.num_elements() for shape in shapes)])
        parts = [tf.reshape(part, shape) for part, shape in zip(parts, shapes, strict=True)]
        return update(loss[0], tf.nest.pack_sequence_as(params, parts), params, *others)

    return summed, update_from


def _factors_of_own_rows(
    tf: Any, objective: TrimmedLoss, losses: Any, weights: Any, ends: Sequence[int]
) -> Any:
    """Return the loss factors of this replica's rows, computed from the rows of all replicas."""
    context = tf.distribute.get_replica_context()
    first, end = ends[int(tf.get_static_value(context.replica_id_in_sync_group)) :][:2]
    ours = tf.pad(tf.stack([losses, weights]), [[0, 0], [first, ends[-1] - end]])
    return objective.row_factors(*tf.unstack(context.all_reduce("SUM", ours)))[first:end]
