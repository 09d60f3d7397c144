"""The compiled training loop: gradient steps under a GradientTape, a chunk of them at a time.

It knows neither network nor objective nor optimiser. All state comes in and goes out as arguments
and the compiled function captures nothing, so that one serves every fit of the same shapes in the
process.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, is_dataclass
from functools import lru_cache, partial
from numbers import Number
from typing import Any, NamedTuple

import numpy as np

from .._runtime.tensorflow import import_tensorflow
from .._runtime.workers import ALONE
from .._sklearn_compat import warn

_SLOWER = "XLA cannot compile the training loop here, so it runs uncompiled, which is slower: "


class TrainState(NamedTuple):
    """What gradient steps change: nests of arrays or, on the way, of tensors.

    Attributes
    ----------
    params : nest
        What is trained.
    optimizer_state : nest
        From the optimiser's `init` or `update`.
    step : int
        Number of steps made so far.
    """

    params: Any
    optimizer_state: Any
    step: int = 0

    def to_numpy(self):
        """Return a copy in arrays."""
        nest = import_tensorflow().nest
        return TrainState(*nest.map_structure(lambda t: t.numpy(), self[:2]), self.step)


def train(state, chunks, rates, *, objective, constants, optimizer, workers=ALONE, n_stacked=None):
    """Make gradient steps, and hand over after each chunk of them.

    Parameters
    ----------
    state : TrainState
        Where to start, in float32 arrays.
    chunks : iterator of (nest of ndarray, int)
        Batches, stacked along the first axis of each array, and how many of them are no padding:
        what `Table.batches` yields. Read one chunk ahead.
    rates : sequence of float
        Learning rate of each step to come. Slices of it are read.
    objective : callable
        ``objective(params, batch, constants)`` returns a scalar tensor; where networks are stacked,
        one for each. Hashable. With several replicas it is a sum over the rows of a batch. If what
        a row counts depends on the other rows, its attribute `depends_on_all_rows` is true, and
        ``row_losses(params, batch, constants)`` returns the losses and the weights of the rows,
        ``row_factors(losses, weights)`` returns factors of the losses from those of all replicas,
        and the factors of its own rows are the fourth argument of the objective.
    constants : nest of ndarray
        The objective's.
    optimizer : object with `update`
        See `optimizers`. Hashable.
    workers : Workers
        The workers that train together.
    n_stacked : int, optional
        Number of stacked networks.

    Yields
    ------
    state : TrainState
        After the chunk, in tensors.
    losses : ndarray of shape (n_steps,) or (n_steps, n_stacked)
        The objective at each step, before the step.
    """
    tf = import_tensorflow()
    nests = (*state[:2], constants)
    *ours, constants = _in_thread(tf.nest.map_structure, tf.convert_to_tensor, nests)
    classes, shapes = _classes((objective, optimizer)), _shapes(tf, (ours, constants))
    ours = workers.per_replica([tuple(ours)] * len(workers.replicas))
    step, n_done = state.step, 0

    def in_tensors():
        for batches, n_steps in chunks:
            size = tf.nest.flatten(batches)[0].shape[:2]
            key = (classes, shapes, _shapes(tf, batches))
            yield workers.per_replica(_split(tf, batches, workers)), size, key, n_steps

    ends = None
    for batches, (n_most, n_rows), key, n_steps in prefetch(in_tensors()):
        if ends is None:
            ends = workers.ends_of_replicas(n_rows)
        run = _Compiled(objective, optimizer, workers.strategy, ends, key)
        padded = np.zeros(n_most, dtype=np.float32)
        padded[:n_steps] = rates[n_done : n_done + n_steps]
        losses = np.zeros(padded.shape if n_stacked is None else (len(padded), n_stacked), "f")
        counts = map(tf.constant, (step, padded, n_steps, losses))
        *ours, losses = workers.together(run, *ours, batches, constants, *counts)
        step, n_done = step + n_steps, n_done + n_steps
        latest = tf.nest.map_structure(workers.of_first_replica, tuple(ours))
        yield TrainState(*latest, step), losses.numpy()[:n_steps]


def _classes(value):
    """Return the classes of a value and, at every depth, of the fields by which it is compared.

    Tuples of different classes compare equal if their fields do. Numbers are only compared.
    """
    if isinstance(value, Number):
        return ()
    parts = value if isinstance(value, tuple) else ()
    if is_dataclass(value):
        parts = [getattr(value, field.name) for field in fields(value) if field.compare]
    return type(value), *map(_classes, parts)


def _shapes(tf, nest):
    """Return a key of the structure, the types and the shapes of a nest of arrays or tensors."""
    return repr(tf.nest.map_structure(lambda part: f"{part.dtype}{part.shape}", nest))


def _split(tf, batches, workers):
    """Cut batches along their rows into tensors for each of this worker's replicas."""
    arrays = tf.nest.flatten(batches)
    once = {id(array): array for array in arrays}  # one may stand for two, and is copied once
    parts = []
    for rows in workers.split(arrays[0].shape[1]):
        tensors = {key: tf.convert_to_tensor(array[:, rows]) for key, array in once.items()}
        parts.append(tf.nest.pack_sequence_as(batches, [tensors[id(a)] for a in arrays]))
    return parts


def prefetch(iterator):
    """Yield from `iterator`, with one thread computing the next item meanwhile."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="skae-prefetch") as pool:
        upcoming = pool.submit(next, iterator, None)
        while (item := upcoming.result()) is not None:
            upcoming = pool.submit(next, iterator, None)
            yield item


def _in_thread(function, *arguments):
    """Call a function in a thread, so that an interrupt does not come amid TensorFlow's C code.

    That would lose it, or raise another error. Python interrupts the main thread alone.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="skae-tensorflow") as pool:
        return pool.submit(function, *arguments).result()


@lru_cache(maxsize=32)
class _Compiled:
    """The function for one objective, optimiser and set of shapes, which XLA compiles once.

    At its first call, for all threads. `key` tells apart what compares equal although its classes
    differ, and arrays of other shapes or types, so that the cache forgets what it has not seen for
    long.
    """

    def __init__(self, objective, optimizer, strategy, ends, key):
        self.function = _make_steps(import_tensorflow(), objective, optimizer, strategy, ends)
        self.strategy = strategy
        self.lock, self.traced = threading.Lock(), None

    def __call__(self, *arguments):
        tf = import_tensorflow()
        try:
            with self.lock:
                if self.traced is None and self.strategy is None:
                    return self._first_call(tf, arguments)
                if self.traced is None:  # the parts of a step are compiled, and a peer may be lost
                    self.traced = self._trace(tf, arguments, jit_compile=None)
            return self.traced(*arguments)
        except tf.errors.ResourceExhaustedError as error:
            raise MemoryError(error.message) from error

    def _first_call(self, tf, arguments):
        try:
            traced = self._trace(tf, arguments, jit_compile=True)
            results = traced(*arguments)
        except tf.errors.OpError as error:
            if not _cannot_compile(tf, error):
                raise
            warn(_SLOWER + error.message, RuntimeWarning)
            traced = self._trace(tf, arguments, jit_compile=None)
            results = traced(*arguments)
        self.traced = traced
        return results

    def _trace(self, tf, arguments, jit_compile):
        # Once and for good: a tf.function that is called would complain of other fits' shapes.
        function = tf.function(self.function, jit_compile=jit_compile, autograph=False)
        return _in_thread(function.get_concrete_function, *arguments)


def _cannot_compile(tf, error):
    """Whether an error says that XLA is missing, or that it cannot compile an operation."""
    reason = error.message.partition("\n")[0]  # what follows are paths, of any name
    if isinstance(error, tf.errors.UnimplementedError | tf.errors.NotFoundError):
        return True
    return isinstance(error, tf.errors.InvalidArgumentError) and "compil" in reason


def _make_steps(tf, objective, optimizer, strategy, ends):
    """Build the function that makes a chunk's steps."""

    def loss_and_gradients(params, batch, constants, *factors):
        with tf.GradientTape() as tape:
            tape.watch(params)
            loss = objective(params, batch, constants, *factors)
        return loss, tape.gradient(loss, params, unconnected_gradients="zero")

    def update(loss, gradients, params, optimizer_state, step, rate):
        return *optimizer.update(gradients, optimizer_state, params, step, rate), loss

    if strategy is not None:
        parts = (loss_and_gradients, update)
        loss_and_gradients, update = _all_reducing(tf, objective, ends, *parts)

    def replica_step(i, params, optimizer_state, batches, constants, step, rate):
        batch = tf.nest.map_structure(lambda part: part[i], batches)
        results = loss_and_gradients(params, batch, constants)
        return update(*results, params, optimizer_state, step, rate)

    runner = strategy or tf.distribute.get_strategy()  # the default one just calls

    def make_steps(params, optimizer_state, batches, constants, step, rates, n_steps, losses):
        def one_step(i, params, state, losses):
            args = (i, params, state, batches, constants, step + i + 1, rates[i])
            *params_and_state, loss = runner.run(replica_step, args)
            loss = runner.experimental_local_results(loss)[0]
            return i + 1, *params_and_state, tf.tensor_scatter_nd_update(losses, [[i]], [loss])

        first = (tf.constant(0), params, optimizer_state, losses)
        return tf.while_loop(lambda i, *_: i < n_steps, one_step, first)[1:]

    return make_steps


def _all_reducing(tf, objective, ends, loss_and_gradients, update):
    """Make the two parts of a replica's step sum the gradients of all replicas between them.

    `ends` are where the rows of each replica begin in a batch, and where the last ones end.

    Each replica compiles the one and the other.
    """
    compiled = partial(tf.function, jit_compile=True, autograph=False)

    @compiled
    def in_one_array(*arguments):  # for every collective costs a round trip
        parts = tf.nest.flatten(loss_and_gradients(*arguments))
        return tf.concat([tf.reshape(part, [-1]) for part in parts], axis=0)

    def summed(*arguments):
        factors = []
        if getattr(objective, "depends_on_all_rows", False):
            losses_and_weights = compiled(objective.row_losses)(*arguments)
            factors = [_factors_of_own_rows(tf, objective.row_factors, *losses_and_weights, ends)]
        ours = in_one_array(*arguments, *factors)
        return [tf.distribute.get_replica_context().all_reduce("SUM", ours)]

    @compiled
    def update_from(summed, params, *others):
        shapes = [param.shape for param in tf.nest.flatten(params)]
        loss, *parts = tf.split(summed, [1, *(shape.num_elements() for shape in shapes)])
        parts = [tf.reshape(part, shape) for part, shape in zip(parts, shapes, strict=True)]
        return update(loss[0], tf.nest.pack_sequence_as(params, parts), params, *others)

    return summed, update_from


def _factors_of_own_rows(tf, row_factors, losses, weights, ends):
    """Return the factors of the losses of this replica's rows, from the rows of all replicas."""
    context = tf.distribute.get_replica_context()
    first, end = ends[int(tf.get_static_value(context.replica_id_in_sync_group)) :][:2]
    ours = tf.pad(tf.stack([losses, weights]), [[0, 0], [first, ends[-1] - end]])
    return row_factors(*tf.unstack(context.all_reduce("SUM", ours)))[first:end]
