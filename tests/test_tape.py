"""The compiled tape loop."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from skae import _tape
from skae._network import Autoencoder, map_arrays, start_at_pca, start_at_random


def problem(hidden=(6,), init="pca", n_steps=5, batch_size=8, n_features=5, bounds=None, seed=0):
    """A network, chunks of one batch each, and learning rates."""
    rng = np.random.default_rng(seed)
    if init == "pca":
        components = np.linalg.qr(rng.normal(size=(n_features, 2)))[0].T.astype(np.float32)
        halves = start_at_pca(components, np.array([2.0, 1.0]), hidden, rng)
    else:
        halves = start_at_random("glorot", n_features, hidden, 2, np.float32, rng)
    # Away from the start: at PCA gradients vanish, and Adam would make steps of rounding errors.
    halves = [
        map_arrays(lambda a: a + np.float32(0.1) * rng.standard_normal(a.shape, "f"), half)
        for half in halves
    ]
    free = np.full(n_features, np.inf, dtype=np.float32)
    low, high = (-free, free) if bounds is None else np.float32(bounds)[:, None] * np.ones(5, "f")
    activations = ("tanh", "identity", "identity")
    network = Autoencoder(*halves, np.zeros_like(free), 1.0, low, high, activations)
    batches = rng.normal(size=(n_steps, batch_size, n_features)).astype(np.float32)
    return network, batches, np.linspace(0.01, 0.02, n_steps)


def equal_weights(n_steps, batch_size=8):
    return np.full((n_steps, batch_size), 1 / batch_size, dtype=np.float32)


def one_by_one(batches):
    """One batch in a chunk of one step."""
    return ((b[None], b[None], equal_weights(1), 1) for b in batches)


def last(progress):
    """What training hands over last, and all losses."""
    steps = list(progress)
    return steps[-1], np.concatenate([p.losses for p in steps])


def weights(network):
    return tf.nest.flatten((network.encoder, network.decoder))


def assert_same_weights(one, other, **tolerance):
    for a, b in zip(weights(one), weights(other), strict=True):
        np.testing.assert_allclose(a, b, **tolerance)


def keras_reference(network, batches, rates, alpha=0.0):
    """The same steps by hand, eagerly, with the optimiser that Keras ships."""
    halves = tf.nest.map_structure(tf.Variable, (network.encoder, network.decoder))
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
    encoder, decoder = tf.nest.map_structure(lambda v: v.numpy(), halves)
    return network._replace(encoder=encoder, decoder=decoder), losses


@pytest.mark.parametrize("init", ["pca", "glorot"])
@pytest.mark.parametrize("hidden", [(), (6,), (6, 4)])
@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_steps_are_those_of_adam(init, hidden, alpha):
    network, batches, rates = problem(hidden, init)
    end, losses = last(_tape.train(network, one_by_one(batches), rates, alpha=alpha))
    expected, expected_losses = keras_reference(network, batches, rates, alpha)
    assert end.step == 5
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)
    assert_same_weights(end.network, expected, rtol=1e-3, atol=1e-5)


def test_chunks_change_nothing():
    network, batches, rates = problem()
    by_one, losses = last(_tape.train(network, one_by_one(batches), rates, alpha=0))
    # three steps, then two in a chunk padded to three, with rows of rubbish behind the end
    weights = equal_weights(3)
    second = np.concatenate([batches[3:], np.full((1, 8, 5), 1e6, dtype=np.float32)])
    chunks = iter([(batches[:3], batches[:3], weights, 3), (second, second, weights, 2)])
    by_three, same_losses = last(_tape.train(network, chunks, rates, alpha=0))
    np.testing.assert_allclose(losses, same_losses, rtol=1e-6)
    assert_same_weights(by_one.network, by_three.network, rtol=1e-5, atol=1e-7)


def test_rows_without_weight_count_nothing():
    network, batches, rates = problem()
    padded = np.concatenate([batches, np.full((5, 3, 5), 7, dtype=np.float32)], axis=1)
    weights = np.pad(equal_weights(1), ((0, 0), (0, 3)))
    chunks = ((b[None], b[None], weights, 1) for b in padded)
    ours, losses = last(_tape.train(network, chunks, rates, alpha=0))
    expected, expected_losses = last(_tape.train(network, one_by_one(batches), rates, alpha=0))
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-6)
    assert_same_weights(ours.network, expected.network, rtol=1e-4, atol=1e-6)


def test_training_in_two_goes_is_training_in_one():
    network, batches, rates = problem()
    whole, _ = last(_tape.train(network, one_by_one(batches), rates, alpha=0))
    half, _ = last(_tape.train(network, one_by_one(batches[:2]), rates[:2], alpha=0))
    rest, _ = last(
        _tape.train(
            half.network,
            one_by_one(batches[2:]),
            rates[2:],
            alpha=0,
            step=half.step,
            moments=half.moments,
        )
    )
    assert_same_weights(whole.network, rest.network, rtol=0)


def test_training_repeats_to_the_bit_and_leaves_its_start_alone():
    network, batches, rates = problem()
    before = [w.copy() for w in weights(network)]
    ends = [last(_tape.train(network, one_by_one(batches), rates, alpha=0))[0] for _ in range(2)]
    assert_same_weights(ends[0].network, ends[1].network, rtol=0)
    for a, b in zip(before, weights(network), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_clip_is_in_the_loss_and_lets_the_gradient_through():
    network, batches, _ = problem(bounds=(-0.1, 0.1))
    targets = np.clip(batches, -0.1, 0.1)
    chunks = (
        (b[None], t[None], equal_weights(1), 1) for b, t in zip(batches, targets, strict=True)
    )
    end, losses = last(_tape.train(network, iter(chunks), np.full(5, 1e-3), alpha=0))
    rows = network.decode(network.encode(batches[0]))
    assert losses[0] == pytest.approx(((rows - targets[0]) ** 2).mean(), rel=1e-4)
    # a unit that starts above its bound learns to come down
    stuck = network._replace(
        decoder={
            **network.decoder,
            "intercepts": [*network.decoder["intercepts"][:-1], np.full(5, 3, "f")],
        }
    )
    chunks = (
        (b[None], t[None], equal_weights(1), 1) for b, t in zip(batches, targets, strict=True)
    )
    end, _ = last(_tape.train(stuck, iter(chunks), np.full(5, 1e-3), alpha=0))
    assert (end.network.decoder["intercepts"][-1] < 3).all()


def test_one_compilation_serves_other_rates_alpha_and_lengths(compilations):
    for seed, alpha in enumerate((0.0, 0.5, 1.0)):
        network, batches, rates = problem(seed=seed, n_steps=3 + seed)
        last(_tape.train(network, one_by_one(batches), rates * (1 + seed), alpha=alpha))
    assert len(compilations) == 1
    network, batches, rates = problem(hidden=(7,))
    last(_tape.train(network, one_by_one(batches), rates, alpha=0))
    assert len(compilations) == 2


def test_without_xla_the_same_loop_runs_with_one_warning(monkeypatch):
    network, batches, rates = problem()
    expected, _ = last(_tape.train(network, one_by_one(batches), rates, alpha=0))

    function = tf.function

    def without_xla(f, jit_compile=None, **options):
        if not jit_compile:
            return function(f, **options)

        def refuse(*arguments):
            raise tf.errors.UnimplementedError(None, None, "no XLA here")

        return SimpleNamespace(get_concrete_function=lambda *arguments: refuse)

    monkeypatch.setattr(tf, "function", without_xla)
    _tape._compiled_steps.cache_clear()
    with pytest.warns(RuntimeWarning, match="no XLA here") as caught:
        end, _ = last(_tape.train(network, one_by_one(batches), rates, alpha=0))
    assert len(caught) == 1
    assert_same_weights(end.network, expected.network, rtol=1e-4, atol=1e-6)
    _tape._compiled_steps.cache_clear()
