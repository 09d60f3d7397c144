"""The compiled training loop."""

import os
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import optree
import pytest
import tensorflow as tf

from skae import AutoencoderTransformer
from skae._data.batches import Batch
from skae._initialization.initial_network import init_from_pca, init_random
from skae._networks.network import Autoencoder
from skae._training import loop
from skae._training.loop import TrainState
from skae._training.losses import Reconstruction
from skae._training.optimizers import Adam


def problem(hidden=(6,), init="pca", n_steps=5, batch_size=8, n_features=5, bounds=None, seed=0):
    """Return a network, chunks of one batch each, and learning rates."""
    rng = np.random.default_rng(seed)
    if init == "pca":
        components = np.linalg.qr(rng.normal(size=(n_features, 2)))[0].T.astype(np.float32)
        params = init_from_pca(components, np.array([2.0, 1.0]), [n_features, *hidden, 2], rng)
    else:
        params = init_random("glorot", [n_features, *hidden, 2], rng)
    # Weights far from PCA: at PCA gradients vanish, and Adam would amplify rounding errors.
    params = optree.tree_map(
        lambda a: a + np.float32(0.1) * rng.standard_normal(a.shape, "f"), params
    )
    bounds = np.float32((-np.inf, np.inf) if bounds is None else bounds)
    bounds = np.repeat(bounds[:, None], n_features, axis=1)
    activations = ("tanh", "identity", "identity")
    network = Autoencoder(
        params=params,
        offset=np.zeros(n_features),
        scale=1.0,
        bounds=bounds,
        activations=activations,
    )
    network = network.astype(np.float32)
    batches = rng.normal(size=(n_steps, batch_size, n_features)).astype(np.float32)
    return network, batches, np.linspace(0.01, 0.02, n_steps)


def equal_weights(n_steps, batch_size=8):
    return np.full((n_steps, batch_size), 1 / batch_size, dtype=np.float32)


def one_by_one(batches, targets=None):
    """Return a chunk of one step."""
    targets = batches if targets is None else targets
    return (
        (Batch(b[None], t[None], equal_weights(1)), 1)
        for b, t in zip(batches, targets, strict=True)
    )


def train(network, chunks, rates, alpha=0.0, state=None):
    """Train a network; return the last state, as arrays, and all losses."""
    objective, optimizer = Reconstruction(network.activations), Adam()
    if state is None:
        l2 = optree.tree_map_with_path(lambda path, _: alpha * ("coefs" in path), network.params)
        state = TrainState(network.params, optimizer.init(network.params, l2))
    constants = objective.constants(network)
    steps = list(
        loop.train(
            state,
            chunks,
            rates,
            loop.GradientStep(objective, constants, optimizer),
        )
    )
    return steps[-1][0].to_numpy(), np.concatenate([losses for _, losses in steps])


def assert_same_nest(one, other, **tolerance):
    tf.nest.assert_same_structure(one, other)
    for a, b in zip(tf.nest.flatten(one), tf.nest.flatten(other), strict=True):
        np.testing.assert_allclose(a, b, **tolerance)


def keras_reference(network, batches, rates, alpha=0.0):
    """Make the same steps eagerly with the optimiser of Keras."""
    params = tf.nest.map_structure(tf.Variable, network.params)
    halves = (params["encoder"], params["decoder"])
    optimizer = tf.keras.optimizers.Adam(epsilon=1e-8)
    losses = []
    for batch, rate in zip(batches, rates, strict=True):
        optimizer.learning_rate = rate
        with tf.GradientTape() as tape:
            out = batch
            for half in halves:
                h = out @ half["coefs"][0] + half["intercepts"][0]
                for coef, intercept in zip(half["coefs"][1:], half["intercepts"][1:], strict=True):
                    h = tf.tanh(h) @ coef + intercept
                out = h + out @ half["linear"] if "linear" in half else h
            loss = tf.reduce_mean((out - batch) ** 2)
            l2 = sum(tf.reduce_sum(c**2) / 2 for half in halves for c in half["coefs"])
            objective = loss + alpha * l2
        variables = tf.nest.flatten(halves)
        gradients = tape.gradient(objective, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        losses.append(float(loss))
    return tf.nest.map_structure(lambda v: v.numpy(), params), losses


@pytest.mark.parametrize("init", ["pca", "glorot"])
@pytest.mark.parametrize("hidden", [(), pytest.param((6,), marks=pytest.mark.slow), (6, 4)])
@pytest.mark.parametrize("alpha", [pytest.param(0.0, marks=pytest.mark.slow), 0.1])
def test_steps_are_those_of_adam(init, hidden, alpha):
    network, batches, rates = problem(hidden, init)
    end, losses = train(network, one_by_one(batches), rates, alpha)
    expected, expected_losses = keras_reference(network, batches, rates, alpha)
    assert end.step == 5
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)
    # Adam normalises gradients, which amplifies rounding near zero; weights change by about 0.08
    assert_same_nest(end.params, expected, rtol=1e-3, atol=1e-3)


def test_chunks_change_nothing():
    network, batches, rates = problem(hidden=())
    by_one, losses = train(network, one_by_one(batches), rates)
    # three steps, then two in a chunk padded to three, with invalid rows in the padding
    weights = equal_weights(3)
    second = np.concatenate([batches[3:], np.full((1, 8, 5), 1e6, dtype=np.float32)])
    chunks = iter(
        [(Batch(batches[:3], batches[:3], weights), 3), (Batch(second, second, weights), 2)]
    )
    by_three, same_losses = train(network, chunks, rates)
    assert by_three.step == by_one.step == 5
    np.testing.assert_allclose(losses, same_losses, rtol=1e-6)
    assert_same_nest(by_one.params, by_three.params, rtol=1e-5, atol=1e-7)


def test_rows_of_weight_zero_change_nothing():
    network, batches, rates = problem(hidden=())
    padded = np.concatenate([batches, np.full((5, 3, 5), 7, dtype=np.float32)], axis=1)
    weights = np.pad(equal_weights(1), ((0, 0), (0, 3)))
    chunks = ((Batch(b[None], b[None], weights), 1) for b in padded)
    ours, losses = train(network, chunks, rates)
    expected, expected_losses = train(network, one_by_one(batches), rates)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-6)
    assert_same_nest(ours.params, expected.params, rtol=1e-4, atol=1e-6)


def test_training_in_two_calls_equals_training_in_one():
    network, batches, rates = problem(hidden=())
    whole, _ = train(network, one_by_one(batches), rates)
    half, _ = train(network, one_by_one(batches[:2]), rates[:2])
    rest, _ = train(network, one_by_one(batches[2:]), rates[2:], state=half)
    assert rest.step == whole.step == 5
    assert_same_nest(whole[:2], rest[:2], rtol=0)


def test_training_is_reproducible_and_keeps_its_initial_state():
    network, batches, rates = problem(hidden=())
    before = optree.tree_map(np.copy, network.params)
    ends = [train(network, one_by_one(batches), rates)[0] for _ in range(2)]
    assert_same_nest(ends[0].params, ends[1].params, rtol=0)
    assert_same_nest(before, network.params, rtol=0)


def test_the_clip_is_in_the_loss_and_lets_the_gradient_through():
    network, batches, _ = problem(bounds=(-0.1, 0.1))
    targets = np.clip(batches, -0.1, 0.1)
    _, losses = train(network, one_by_one(batches, targets), np.full(5, 1e-3))
    rows = network.decode(network.encode(batches[0]))
    assert losses[0] == pytest.approx(((rows - targets[0]) ** 2).mean(), rel=1e-4)
    # an output that starts above its bound is trained to decrease
    network.params["decoder"]["intercepts"][-1][:] = 3
    end, _ = train(network, one_by_one(batches, targets), np.full(5, 1e-3))
    assert (end.params["decoder"]["intercepts"][-1] < 3).all()


def test_other_rates_alpha_and_lengths_share_a_compiled_function(compilations):
    for seed, alpha in enumerate((0.0, 0.5, 1.0)):
        network, batches, rates = problem(hidden=(), seed=seed, n_steps=3 + seed)
        train(network, one_by_one(batches), rates * (1 + seed), alpha)
    assert len(compilations) == 1
    network, batches, rates = problem(hidden=(), n_features=4)
    train(network, one_by_one(batches), rates)
    assert len(compilations) == 2


def test_to_numpy_copies_a_state():
    network, batches, rates = problem(hidden=())
    state = TrainState(network.params, Adam().init(network.params))
    objective = Reconstruction(network.activations)
    constants = objective.constants(network)
    steps = loop.train(
        state,
        one_by_one(batches),
        rates,
        loop.GradientStep(objective, constants, Adam()),
    )
    seen = [(after, after.to_numpy(), len(losses)) for after, losses in steps]
    assert [after.step for after, _, _ in seen] == [1, 2, 3, 4, 5]
    assert [n_losses for _, _, n_losses in seen] == [1] * 5
    for after, copied, _ in seen:
        for part, copy in zip(tf.nest.flatten(after[:2]), tf.nest.flatten(copied[:2]), strict=True):
            assert type(copy) is np.ndarray
            assert not np.shares_memory(part, copy)
        assert copied.step == after.step
        assert_same_nest(after[:2], copied[:2], rtol=0)


# ---- errors of the first call and of later calls


@pytest.fixture
def loop_that_fails(monkeypatch):
    """Let calls of the compiled loop raise errors: the n-th call the n-th error, if not None.

    Returns a function that sets the errors, and a list of the traced functions.
    """
    function, traced, errors = tf.function, [], []

    def recording(f, jit_compile=None, **options):
        traced.append("compiled" if jit_compile else "uncompiled")
        return function(f, jit_compile=jit_compile, **options)

    class FailingSession(tf.compat.v1.Session):
        def __init__(self, **options):
            super().__init__(**options)
            self.is_compiled = traced[-1] == "compiled"

        def run(self, *arguments):
            error = errors.pop(0) if self.is_compiled and errors else None
            if error is not None:
                raise error
            return super().run(*arguments)

    monkeypatch.setattr(tf, "function", recording)
    monkeypatch.setattr(tf.compat.v1, "Session", FailingSession)
    loop.compiled_steps.cache_clear()
    yield errors.extend, traced
    loop.compiled_steps.cache_clear()


# Messages of XLA: an operation without a kernel, and an operation of unknown shape.
CANNOT_COMPILE = [
    tf.errors.UnimplementedError(None, None, "no XLA here"),
    tf.errors.NotFoundError(None, None, "no XLA here: could not find a device"),
    tf.errors.InvalidArgumentError(
        None, None, "no XLA here: Detected unsupported operations when trying to compile graph"
    ),
]
OTHER_ERRORS = [
    tf.errors.InvalidArgumentError(None, None, "Incompatible shapes: [2] vs. [3]"),
    tf.errors.InternalError(None, None, "Failed to launch the kernel"),
    tf.errors.UnknownError(None, None, "Something else"),
    tf.errors.CancelledError(None, None, "Cancelled"),
]


def errors_of(kinds, *quick):
    """Parametrize with errors; only the named ones are quick tests."""
    names = [type(error).__name__ for error in kinds]
    return pytest.mark.parametrize(
        "error",
        [
            pytest.param(error, id=name, marks=() if name in quick else pytest.mark.slow)
            for name, error in zip(names, kinds, strict=True)
        ],
    )


@errors_of(CANNOT_COMPILE, "InvalidArgumentError")
def test_without_xla_the_same_loop_runs_with_one_warning(error, loop_that_fails):
    network, batches, rates = problem(hidden=())
    expected, expected_losses = train(network, one_by_one(batches), rates)
    fail_with, traced = loop_that_fails
    loop.compiled_steps.cache_clear()
    traced.clear()
    fail_with([error])
    with pytest.warns(RuntimeWarning, match="no XLA here") as caught:
        end, losses = train(network, one_by_one(batches), rates)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    # later fits use the same function without a warning
    again, _ = train(network, one_by_one(batches), rates)
    assert traced == ["compiled", "uncompiled"]
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)
    assert_same_nest(end.params, expected.params, rtol=1e-4, atol=1e-6)
    assert_same_nest(again[:2], end[:2], rtol=0)


@errors_of(OTHER_ERRORS, "InvalidArgumentError", "InternalError")
def test_an_error_that_does_not_come_from_compiling_is_raised_and_the_loop_stays_compiled(
    error, loop_that_fails
):
    network, batches, rates = problem(hidden=())
    fail_with, traced = loop_that_fails
    ends = []
    for errors in ([error], [None, error]):  # at the first call, and at the second call after it
        fail_with(errors)
        with pytest.raises(type(error)) as raised:
            train(network, one_by_one(batches), rates)
        assert raised.value is error
        ends.append(train(network, one_by_one(batches), rates)[0])
    assert traced == ["compiled", "compiled"]  # in the first call, and after the error
    expected, _ = keras_reference(network, batches, rates)
    for end in ends:
        assert_same_nest(end.params, expected, rtol=1e-3, atol=1e-5)


@errors_of(CANNOT_COMPILE, "InvalidArgumentError")
def test_later_errors_do_not_change_a_compiled_loop(error, loop_that_fails):
    network, batches, rates = problem(hidden=())
    fail_with, traced = loop_that_fails
    fail_with([None, error])
    with pytest.raises(type(error)) as raised:
        train(network, one_by_one(batches), rates)
    assert raised.value is error
    train(network, one_by_one(batches), rates)
    assert traced == ["compiled"]


def test_exhausted_memory_is_a_memory_error(loop_that_fails):
    network, batches, rates = problem(hidden=())
    fail_with, traced = loop_that_fails
    fail_with([tf.errors.ResourceExhaustedError(None, None, "needs 1e99 bytes")])
    with pytest.raises(MemoryError, match="1e99 bytes"):
        train(network, one_by_one(batches), rates)
    assert traced == ["compiled"]


def test_threads_without_xla_warn_once_and_are_right(monkeypatch):
    network, batches, rates = problem(hidden=())
    expected, _ = train(network, one_by_one(batches), rates)
    function, traced = tf.function, []
    has_traced, both_train = threading.Event(), threading.Event()

    def recording(f, jit_compile=None, **options):
        traced.append(jit_compile)
        return function(f, jit_compile=jit_compile, **options)

    class WithoutXla(tf.compat.v1.Session):
        def __init__(self, **options):
            super().__init__(**options)
            self.is_compiled = traced[-1]
            has_traced.set()

        def run(self, *arguments):
            if not self.is_compiled:
                return super().run(*arguments)
            assert both_train.wait(60)
            raise tf.errors.UnimplementedError(None, None, "no XLA here")

    monkeypatch.setattr(tf, "function", recording)
    monkeypatch.setattr(tf.compat.v1, "Session", WithoutXla)
    loop.compiled_steps.cache_clear()
    with warnings.catch_warnings(record=True) as caught, ThreadPoolExecutor(2) as pool:
        warnings.simplefilter("always")
        first = pool.submit(train, network, one_by_one(batches), rates)
        assert has_traced.wait(60)
        second = pool.submit(train, network, one_by_one(batches), rates)
        both_train.set()
        ends = [first.result()[0], second.result()[0]]
    loop.compiled_steps.cache_clear()
    assert len(caught) == 1
    assert traced == [True, None]
    for end in ends:
        assert end.step == 5
        assert_same_nest(end.params, expected.params, rtol=1e-4, atol=1e-6)
    assert_same_nest(ends[0][:2], ends[1][:2], rtol=0)


def through_text(params, batch, constants):
    """Objective with operations that XLA does not have, and a check of numbers."""
    distance = tf.reduce_mean((params["w"] - batch["x"]) ** 2)
    copy = tf.strings.to_number(tf.strings.as_string(distance, precision=9, scientific=True))
    return distance + tf.debugging.check_numerics(copy / constants, "a bad number")


class Descent:
    """Gradient descent, an optimiser without state."""

    def update(self, gradients, state, params, step, rate):
        return tf.nest.map_structure(lambda p, g: p - rate * g, params, gradients), state


def test_an_objective_that_xla_cannot_compile_trains_and_its_own_errors_are_raised():
    x = np.random.default_rng(0).normal(size=(4, 8, 3)).astype(np.float32)
    optimizer = Descent()

    def steps(divisor):
        return list(
            loop.train(
                TrainState({"w": np.zeros(3, np.float32)}, ()),
                iter([({"x": x}, 4)]),
                np.full(4, 0.5),
                loop.GradientStep(through_text, np.float32(divisor), optimizer),
            )
        )

    with pytest.warns(RuntimeWarning, match="cannot compile the training loop") as caught:
        ((state, losses),) = steps(1)
    assert len(caught) == 1
    w, expected = np.zeros(3), []
    for batch in x:
        expected.append(2 * ((w - batch) ** 2).mean())
        w = w - 0.5 * 2 * (w - batch).mean(axis=0) / 3
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    np.testing.assert_allclose(state.to_numpy().params["w"], w, rtol=1e-4)
    with pytest.raises(tf.errors.InvalidArgumentError, match="a bad number"):
        steps(0)
    ((_, same_losses),) = steps(1)
    np.testing.assert_array_equal(losses, same_losses)


# ---- settings of TensorFlow by the caller


CHECK_NUMERICS = """
import warnings
import numpy as np
import tensorflow as tf
import skae

# one chunk of steps: TensorFlow writes all inputs of a call into a message for each of its outputs
X = np.random.default_rng(0).normal(size=(6000, 4))
# small steps: Adam's first steps depend on the sign of each gradient, also of rounding errors
params = {"max_steps": 20, "learning_rate_init": 1e-4, "random_state": 0}
expected = skae.AutoencoderTransformer(2, **params).fit(X)
tf.debugging.enable_check_numerics()
skae._training.loop.compiled_steps.cache_clear()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    fitted = skae.AutoencoderTransformer(2, **params).fit(X)
assert fitted.n_steps_ == expected.n_steps_
np.testing.assert_allclose(fitted.loss_curve_, expected.loss_curve_, rtol=1e-3)
for warning in caught:
    assert warning.category is RuntimeWarning
    assert "cannot compile the training loop" in str(warning.message)
print(len(caught))
"""


@pytest.mark.slow
def test_fit_works_while_tensorflow_checks_all_numbers():
    result = subprocess.run(
        [sys.executable, "-c", CHECK_NUMERICS],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout in ("0\n", "1\n")  # a warning if XLA cannot compile the checks


def test_fit_in_a_graph_is_an_error_that_names_eager_mode():
    X = np.random.default_rng(0).normal(size=(60, 4))
    ae = AutoencoderTransformer(2, max_steps=20, validation_fraction=0, random_state=0)
    for method in (ae.fit, ae.partial_fit):
        with tf.Graph().as_default(), pytest.raises(RuntimeError, match="eager"):
            method(X)
        assert not hasattr(ae, "encoder_")
    ae.fit(X)  # outside of the graph, the same estimator can be fitted


def test_an_error_of_the_chunks_is_raised_after_the_steps_before_it():
    network, batches, rates = problem(hidden=())

    def chunks():
        yield from one_by_one(batches[:2])
        raise OSError("the disk is gone")

    state = TrainState(network.params, Adam().init(network.params))
    objective = Reconstruction(network.activations)
    made = loop.train(
        state,
        chunks(),
        rates,
        loop.GradientStep(objective, objective.constants(network), Adam()),
    )
    steps = []
    with pytest.raises(OSError, match="the disk is gone"):
        steps.extend(after.step for after, _ in made)
    assert steps == [1, 2]
