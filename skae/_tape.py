"""The compiled tape loop: gradient steps of Adam, a chunk at a time.

The only module that imports TensorFlow, when training starts and not before. State comes
in and goes out as arguments and the compiled function captures nothing, so one serves every fit
of the same shapes in the process.
"""

import os
import re
import sys
import tempfile
import threading
import warnings
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from ._activations import ACTIVATIONS
from ._minibatches import prefetch

# Adam's defaults (Kingma & Ba, ICLR 2015, algorithm 1).
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8


# One thread at a time plays with the environment and stderr.
_IMPORT_LOCK = threading.Lock()
# The form of what TensorFlow's native code logs on stderr, severity first.
_NATIVE_LOG = re.compile(rb"[IWE]\d{4} .*|WARNING: All log messages before absl.*|To enable the .*")


@contextmanager
def _without_native_logs():
    """Drop native log lines from stderr; what else comes by is passed on at the end.

    TensorFlow's libraries log while they are loaded, before any of its switches works, straight
    to the file descriptor.
    """
    with tempfile.TemporaryFile() as caught:
        sys.stderr.flush()
        stderr = os.dup(2)
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            caught.seek(0)
            for line in caught:
                if not _NATIVE_LOG.match(line):
                    os.write(2, line)


def import_tensorflow():
    """Import TensorFlow as a guest: silent, and with the threads that this process is given.

    TensorFlow reads some environment variables once, when it is loaded and when its runtime starts.
    They are set meanwhile and removed at once: TF_CPP_MIN_LOG_LEVEL, so that it does not log on
    stderr, and TF_NUM_INTRAOP_THREADS where OMP_NUM_THREADS says how many threads to use, as
    in the workers of joblib and Dask. Nothing is changed where the user imported TensorFlow first
    or has set them.
    """
    if "tensorflow" in sys.modules:
        import tensorflow

        return tensorflow
    variables = {"TF_CPP_MIN_LOG_LEVEL": "3"}
    if os.environ.get("OMP_NUM_THREADS", "").isdigit():
        variables["TF_NUM_INTRAOP_THREADS"] = os.environ["OMP_NUM_THREADS"]
    with _IMPORT_LOCK:
        ours = {name: value for name, value in variables.items() if name not in os.environ}
        logs_are_wanted = "TF_CPP_MIN_LOG_LEVEL" not in ours
        os.environ.update(ours)
        try:
            with nullcontext() if logs_are_wanted else _without_native_logs():
                import tensorflow

                tensorflow.config.list_logical_devices()  # starts the runtime
        finally:
            for name in ours:
                del os.environ[name]
    return tensorflow


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


def _make_steps(tf, activations):
    """Build the function that makes a chunk's steps, in terms of the network's halves."""
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
        return tf.reduce_sum(weights * errors) / tf.reduce_sum(weights)

    def make_steps(halves, moments, step, rates, alpha, low, high, inputs, targets, weights, n):
        # in the order in which a nest is flattened
        are_coefs = [
            name == "coefs" for half in halves for name in sorted(half) for _ in flatten(half[name])
        ]

        def one_step(i, halves, first, second, losses):
            params = flatten(halves)
            with tf.GradientTape() as tape:
                tape.watch(params)
                loss = mean_squared_error(halves, inputs[i], targets[i], weights[i], low, high)
            # The penalty's gradient is added here, where it costs no pass of its own. On layers
            # only: with the linear path left free, a large alpha leads to a linear autoencoder.
            gradients = [
                gradient + alpha * param if is_coef else gradient
                for gradient, param, is_coef in zip(
                    tape.gradient(loss, params), params, are_coefs, strict=True
                )
            ]
            age = tf.cast(step + i + 1, tf.float32)
            rate = rates[i] / (1 - _BETA_1**age)
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
            losses = tf.tensor_scatter_nd_update(losses, [[i]], [loss])
            return i + 1, tf.nest.pack_sequence_as(halves, params), first, second, losses

        _, halves, first, second, losses = tf.while_loop(
            lambda i, *_: i < n,
            one_step,
            (tf.constant(0), halves, *moments, tf.zeros_like(rates)),
        )
        return halves, (first, second), losses

    return make_steps


@lru_cache(maxsize=32)
def _compiled_steps(activations, shapes):
    """Return the compiled function for one set of shapes.

    `shapes` serves as a key alone: a network of other shapes gets another function, so that the
    cache forgets what it has not seen for long.
    """
    tf = import_tensorflow()
    make_steps = _make_steps(tf, activations)
    compiled = tf.function(make_steps, jit_compile=True, autograph=False)
    plain = None

    def run(*arguments):
        nonlocal plain
        if plain is None:
            try:
                return compiled(*arguments)
            except (tf.errors.OpError, NotImplementedError) as error:
                if isinstance(error, tf.errors.ResourceExhaustedError):
                    raise MemoryError(error.message) from error
                warnings.warn(
                    "XLA cannot compile the training loop on this platform, so it runs "
                    f"uncompiled, which is slower: {error}",
                    RuntimeWarning,
                    stacklevel=2,
                )
                plain = tf.function(make_steps, autograph=False)
        return plain(*arguments)

    return run


def train(network, chunks, learning_rates, *, alpha, step=0, moments=None):
    """Train a network on chunks of minibatches, handing over after each.

    Parameters
    ----------
    network : Autoencoder
        Where to start, in scaled units and float32.
    chunks : iterator
        From `_minibatches.chunks`; read one chunk ahead.
    learning_rates : ndarray of shape (n_steps,)
        One for each step to come.
    alpha : float
        Factor of half the sum of squares of the layers' coefs.
    step : int
        Steps made before, which Adam's bias correction counts.
    moments : tuple, optional
        Adam's moments from before; zeros by default.

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
    low, high = tf.convert_to_tensor(network.low), tf.convert_to_tensor(network.high)
    alpha = tf.constant(alpha, tf.float32)
    learning_rates = np.asarray(learning_rates, dtype=np.float32)

    def as_tensors():
        for inputs, targets, weights, n_steps in chunks:
            tensor = tf.convert_to_tensor(targets)
            noisy = tensor if inputs is targets else tf.convert_to_tensor(inputs)
            yield noisy, tensor, tf.convert_to_tensor(weights), n_steps

    for inputs, targets, weights, n_steps in prefetch(as_tensors()):
        run = _compiled_steps(network.activations, (*(p.shape for p in params), inputs.shape))
        rates = np.zeros(len(inputs), dtype=np.float32)
        rates[:n_steps] = learning_rates[:n_steps]
        learning_rates = learning_rates[n_steps:]
        *state, losses = run(
            *state,
            tf.constant(step, tf.int32),
            tf.constant(rates),
            alpha,
            low,
            high,
            inputs,
            targets,
            weights,
            tf.constant(n_steps, tf.int32),
        )
        step += n_steps
        yield Progress(step, losses.numpy()[:n_steps], network, tuple(state))
