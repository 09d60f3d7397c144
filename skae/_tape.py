"""The compiled tape loop: gradient steps of Adam, a chunk at a time.

State comes in and goes out as arguments and the compiled function captures nothing, so one serves
every fit of the same shapes in the process.
"""

import threading
import warnings
from functools import lru_cache, partial
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from ._activations import ACTIVATIONS
from ._minibatches import prefetch
from ._tensorflow import import_tensorflow
from ._workers import ALONE

# Adam's defaults (Kingma & Ba, ICLR 2015, algorithm 1).
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8


class Progress(NamedTuple):
    """What training hands over after each chunk.

    Attributes
    ----------
    step : int
        Number of steps made so far.
    losses : ndarray of shape (n_steps,)
        Mean squared error of each minibatch of this chunk, in scaled units.
    start : Autoencoder
        The network that training started from.
    state : tuple
        Both halves and Adam's moments, as tensors: they are copied for those alone who ask.
    """

    step: int
    losses: np.ndarray
    start: object
    state: tuple

    @property
    def network(self):
        """The network after these steps."""
        encoder, decoder = _to_numpy(self.state[0])
        return self.start._replace(encoder=encoder, decoder=decoder)

    @property
    def moments(self):
        """Adam's first and second moments, to go on with."""
        return _to_numpy(self.state[1])


def _to_numpy(tensors):
    return import_tensorflow().nest.map_structure(lambda tensor: tensor.numpy(), tensors)


def _make_steps(tf, activations, strategy):
    """Build the function that makes a chunk's steps, in terms of the network's halves.

    Without a strategy it is one to compile. With one, each replica compiles the two parts of a
    step, and the gradients are summed in between.
    """
    flatten = tf.nest.flatten
    hidden, code, output = (attrgetter(ACTIVATIONS[name].tensorflow)(tf) for name in activations)

    def forward(half, x, last):
        out = x
        for depth, (coef, intercept) in enumerate(
            zip(half["coefs"], half["intercepts"], strict=True), start=1
        ):
            out = out @ coef + intercept
            if depth < len(half["coefs"]):
                out = hidden(out)
        if "linear" in half:
            out += x @ half["linear"]
        return last(out)

    def mean_squared_error(halves, inputs, targets, weights, low, high):
        encoder, decoder = halves
        free = forward(decoder, forward(encoder, inputs, code), output)
        # The clip's own derivative is zero outside the bounds, and a unit that starts there could
        # not come back. Training data lie inside, so the residual itself points the right way.
        rows = free + tf.stop_gradient(tf.clip_by_value(free, low, high) - free)
        errors = tf.reduce_mean(tf.square(rows - targets), axis=1)
        return tf.reduce_sum(weights * errors)

    def loss_and_gradients(halves, batch, low, high):
        params = flatten(halves)
        with tf.GradientTape() as tape:
            tape.watch(params)
            loss = mean_squared_error(halves, *batch, low, high)
        return loss, tape.gradient(loss, params)

    def adam(halves, first, second, gradients, age, rate, alpha):
        params = flatten(halves)
        # in the order in which a nest is flattened
        are_coefs = [
            name == "coefs" for half in halves for name in sorted(half) for _ in flatten(half[name])
        ]
        # The penalty's gradient is added here, where it costs no pass of its own. On layers
        # only: with the linear path left free, a large alpha leads to a linear autoencoder.
        gradients = [
            gradient + alpha * param if is_coef else gradient
            for gradient, param, is_coef in zip(gradients, params, are_coefs, strict=True)
        ]
        rate = rate / (1 - _BETA_1**age)
        correction = 1 / (1 - _BETA_2**age)
        first = [_BETA_1 * m + (1 - _BETA_1) * g for m, g in zip(first, gradients, strict=True)]
        second = [
            _BETA_2 * v + (1 - _BETA_2) * tf.square(g)
            for v, g in zip(second, gradients, strict=True)
        ]
        params = [
            p - rate * m / (tf.sqrt(v * correction) + _EPSILON)
            for p, m, v in zip(params, first, second, strict=True)
        ]
        return tf.nest.pack_sequence_as(halves, params), first, second

    def make_step(halves, first, second, i, age, rate, alpha, low, high, rows):
        batch = [part[i] for part in rows]
        loss, gradients = loss_and_gradients(halves, batch, low, high)
        return *adam(halves, first, second, gradients, age, rate, alpha), loss

    if strategy is not None:
        make_step = _all_reducing(tf, strategy, loss_and_gradients, adam)

    def make_steps(halves, moments, step, rates, alpha, low, high, rows, n):
        def one_step(i, halves, first, second, losses):
            age = tf.cast(step + i + 1, tf.float32)
            halves, first, second, loss = make_step(
                halves, first, second, i, age, rates[i], alpha, low, high, rows
            )
            return i + 1, halves, first, second, tf.tensor_scatter_nd_update(losses, [[i]], [loss])

        _, halves, first, second, losses = tf.while_loop(
            lambda i, *_: i < n,
            one_step,
            (tf.constant(0), halves, *moments, tf.zeros_like(rates)),
        )
        return halves, (first, second), losses

    return make_steps


def _all_reducing(tf, strategy, loss_and_gradients, adam):
    """Build a step in which the replicas of a strategy sum their gradients.

    Each replica compiles what is before the sum and what follows it.
    """
    compiled = partial(tf.function, jit_compile=True, autograph=False)

    @compiled
    def in_one_array(*arguments):  # for every collective costs a round trip
        loss, gradients = loss_and_gradients(*arguments)
        return tf.concat([tf.reshape(part, [-1]) for part in (loss, *gradients)], axis=0)

    @compiled
    def update(halves, first, second, summed, *arguments):
        shapes = [m.shape for m in first]
        loss, *parts = tf.split(summed, [1, *(shape.num_elements() for shape in shapes)])
        gradients = [tf.reshape(part, shape) for part, shape in zip(parts, shapes, strict=True)]
        return *adam(halves, first, second, gradients, *arguments), loss[0]

    def replica_step(halves, first, second, i, age, rate, alpha, low, high, rows):
        batch = [part[i] for part in rows]
        summed = in_one_array(halves, batch, low, high)
        summed = tf.distribute.get_replica_context().all_reduce("SUM", summed)
        return update(halves, first, second, summed, age, rate, alpha)

    def make_step(*arguments):
        *state, loss = strategy.run(replica_step, arguments)
        return *state, strategy.experimental_local_results(loss)[0]

    return make_step


@lru_cache(maxsize=32)
def _compiled_steps(activations, shapes, strategy):
    """Return the compiled function for one set of shapes.

    `shapes` serves as a key alone: a network of other shapes gets another function, so that the
    cache forgets what it has not seen for long.
    """
    tf = import_tensorflow()
    make_steps = _make_steps(tf, activations, strategy)
    lock, traced = threading.Lock(), None

    def trace(arguments, jit_compile):
        # Once and for good: a tf.function that is called would complain of other fits' shapes.
        function = tf.function(make_steps, jit_compile=jit_compile, autograph=False)
        return function.get_concrete_function(*arguments)

    def run(*arguments):
        nonlocal traced
        with lock:
            if traced is None:  # under a strategy, the parts of a step are compiled
                traced = trace(arguments, jit_compile=True if strategy is None else None)
        try:
            return traced(*arguments)
        except (tf.errors.OpError, NotImplementedError) as error:
            if isinstance(error, tf.errors.ResourceExhaustedError):
                raise MemoryError(error.message) from error
            if strategy is not None:
                raise
            warnings.warn(
                "XLA cannot compile the training loop on this platform, so it runs "
                f"uncompiled, which is slower: {error}",
                RuntimeWarning,
                stacklevel=2,
            )
            traced = trace(arguments, jit_compile=None)
            return traced(*arguments)

    return run


def train(network, chunks, learning_rates, *, alpha, step=0, moments=None, workers=ALONE):
    """Train a network on chunks of minibatches, handing over after each.

    Parameters
    ----------
    network : Autoencoder
        Where to start, in scaled units and float32.
    chunks : iterator
        From `_minibatches.chunks`, this worker's share; read one chunk ahead.
    learning_rates : ndarray of shape (n_steps,)
        One for each step to come.
    alpha : float
        Factor of half the sum of squares of the layers' coefs.
    step : int
        Steps made before, which Adam's bias correction counts.
    moments : tuple, optional
        Adam's moments from before; zeros by default.
    workers : Workers
        Who trains together.

    Yields
    ------
    Progress
        After each chunk. The caller may stop between any two.
    """
    tf = import_tensorflow()
    halves = (network.encoder, network.decoder)
    params = tf.nest.flatten(halves)
    if moments is None:
        moments = tuple([np.zeros_like(p) for p in params] for _ in range(2))
    state = tf.nest.map_structure(tf.convert_to_tensor, (halves, moments))
    state = workers.per_replica([state] * len(workers.replicas))
    low, high = tf.convert_to_tensor(network.low), tf.convert_to_tensor(network.high)
    alpha = tf.constant(alpha, tf.float32)
    learning_rates = np.asarray(learning_rates, dtype=np.float32)

    def as_tensors():
        for inputs, targets, weights, n_steps in chunks:
            parts = []
            for rows in workers.split(weights.shape[1]):
                tensor = tf.convert_to_tensor(targets[:, rows])
                noisy = tensor if inputs is targets else tf.convert_to_tensor(inputs[:, rows])
                parts.append((noisy, tensor, tf.convert_to_tensor(weights[:, rows])))
            yield parts, targets.shape, n_steps

    for parts, shape, n_steps in prefetch(as_tensors()):
        key = (*(p.shape for p in params), shape)
        run = _compiled_steps(network.activations, key, workers.strategy)
        rates = np.zeros(shape[0], dtype=np.float32)
        rates[:n_steps] = learning_rates[:n_steps]
        learning_rates = learning_rates[n_steps:]
        *state, losses = workers.together(
            run,
            *state,
            tf.constant(step, tf.int32),
            tf.constant(rates),
            alpha,
            low,
            high,
            workers.per_replica(parts),
            tf.constant(n_steps, tf.int32),
        )
        step += n_steps
        losses = losses.numpy()[:n_steps]
        ours = tf.nest.map_structure(workers.of_first_replica, tuple(state))
        yield Progress(step, losses, network, ours)
