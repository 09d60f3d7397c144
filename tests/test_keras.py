"""Keras models compute what NumPy does, are saved without skae, and can be trained further."""

import copy
import random
import subprocess
import sys

import numpy as np
import pytest

from skae import AutoencoderTransformer
from skae._keras import to_keras
from skae._networks.activations import ACTIVATIONS
from skae._runtime.tensorflow import import_tensorflow

tf = import_tensorflow()  # before Keras imports it in a louder way
import keras  # noqa: E402

# TensorFlow 2.21's variables do not support the argument `copy` of NumPy 2, which warns about this
# when Keras 3.15 saves a model.
saving = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't:DeprecationWarning")


@pytest.fixture(scope="module")
def rows(bounded_rows):
    return bounded_rows.astype(np.float32)


def fit(X, **params):
    """Fit a network that is no PCA any more."""
    params = {"max_steps": 20, "validation_fraction": 0, "random_state": 0} | params
    return AutoencoderTransformer(3, hidden_layer_sizes=(8,), **params).fit(X)


@pytest.fixture(scope="module")
def fitted(rows):
    return fit(rows)


def assert_agrees(model, ae, X, tol=1e-6):
    """Compare the model and its two halves, for batches of several sizes."""
    for batch in (X[:1], X[:7], X):
        codes = ae.transform(batch)
        for part, inputs, expected in (
            (model.get_layer("encoder"), batch, codes),
            (model.get_layer("decoder"), codes, ae.inverse_transform(codes)),
            (model, batch, ae.reconstruct(batch)),
        ):
            actual = part(inputs).numpy()
            assert actual.dtype == expected.dtype
            np.testing.assert_allclose(actual, expected, rtol=0, atol=tol * abs(expected).max())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("whiten", [True, False])
@pytest.mark.parametrize("init", ["pca", "glorot", "normal"])
def test_all_parts_agree_with_numpy(rows, init, whiten, dtype):
    ae = fit(rows.astype(dtype), init=init, whiten=whiten)
    assert_agrees(to_keras(ae._network), ae, rows)


@pytest.mark.parametrize("bounds", [None, "auto", (2.5, 3.5), (None, 3.2), (np.full(6, 2.9), None)])
def test_reconstructions_end_at_the_bounds(rows, bounds):
    ae = fit(rows, bounds=bounds)
    model = to_keras(ae._network)
    assert_agrees(model, ae, rows)
    out = model(rows).numpy()
    low, high = ae.bounds_
    assert (out >= low).all()
    assert (out <= high).all()
    assert ((out == low) | (out == high)).any() == (bounds is not None)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_every_activation_agrees_with_numpy(rows, name):
    ae = fit(rows, init="glorot", whiten=False, bounds=None)
    for place in range(3):
        there = copy.deepcopy(ae)
        there.activations_ = tuple(name if i == place else "identity" for i in range(3))
        assert_agrees(to_keras(there._network), there, rows)


@pytest.mark.parametrize("hidden_layer_sizes", [(), (8, 5)])
def test_networks_of_other_depths_agree_with_numpy(rows, hidden_layer_sizes):
    ae = AutoencoderTransformer(
        3, hidden_layer_sizes=hidden_layer_sizes, max_steps=20, validation_fraction=0
    )
    ae.fit(rows)
    assert_agrees(to_keras(ae._network), ae, rows)


@pytest.fixture
def dtype_policy():
    """Set Keras' policy, until the end of the test."""
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy("float32")


def test_a_policy_of_double_precision_is_followed(rows, dtype_policy):
    X = rows.astype("float64")
    ae = fit(X)
    dtype_policy("float64")
    assert_agrees(to_keras(ae._network), ae, X, tol=1e-13)


def test_a_policy_of_mixed_precision_keeps_offset_and_bounds_precise(rows, dtype_policy):
    X = rows + 3e4  # where numbers of half precision are 16 apart
    ae = fit(X)
    dtype_policy("mixed_float16")
    np.testing.assert_allclose(to_keras(ae._network)(X), ae.reconstruct(X), rtol=0, atol=0.02)


@pytest.mark.slow
@saving
def test_a_saved_model_loads_where_there_is_no_skae(rows, fitted, tmp_path):
    to_keras(fitted._network).save(tmp_path / "model.keras")
    np.save(tmp_path / "rows.npy", rows)
    code = """
import sys
sys.modules["skae"] = None
import keras, numpy as np
model = keras.saving.load_model("model.keras")
X = np.load("rows.npy")
np.savez("out.npz", rows=model(X), codes=model.get_layer("encoder")(X))
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, capture_output=True)
    with np.load(tmp_path / "out.npz") as out:
        np.testing.assert_allclose(out["rows"], fitted.reconstruct(rows), atol=1e-5)
        np.testing.assert_allclose(out["codes"], fitted.transform(rows), atol=1e-5)


@saving
@pytest.mark.parametrize("part", ["model", "encoder", "decoder"])
def test_an_exported_part_is_served_by_tensorflow_alone(rows, fitted, tmp_path, part):
    model = to_keras(fitted._network)
    inputs, expected = {
        "model": (rows, fitted.reconstruct(rows)),
        "encoder": (rows, fitted.transform(rows)),
        "decoder": (fitted.transform(rows), fitted.reconstruct(rows)),
    }[part]
    (model if part == "model" else model.get_layer(part)).export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(tmp_path / "served")
    np.testing.assert_allclose(served.serve(inputs[:7]), expected[:7], atol=1e-5)
    np.testing.assert_allclose(served.serve(inputs), expected, atol=1e-5)


@pytest.mark.slow
def test_the_model_goes_on_training_with_all_its_weights(rows, fitted):
    model = to_keras(fitted._network)
    assert model.count_params() == sum(w.numpy().size for w in model.trainable_weights)
    before = [w.numpy().copy() for w in model.weights]
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    losses = model.fit(rows, rows, epochs=20, batch_size=16, verbose=0).history["loss"]
    assert losses[-1] < 0.9 * losses[0]
    np.testing.assert_allclose(losses[0], ((fitted.reconstruct(rows) - rows) ** 2).mean(), rtol=0.2)
    for weight, old in zip(model.weights, before, strict=True):
        assert (weight.numpy() != old).all(), weight.path


def test_the_gradient_passes_through_the_bounds_as_in_fit(rows, fitted):
    free = copy.deepcopy(fitted)
    free.bounds_ = np.array([[-np.inf], [np.inf]]) * np.ones(6)
    gradients = []
    for ae in (free, fitted):
        model = to_keras(ae._network)
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(model(rows))
        gradients.append(tape.gradient(total, model.trainable_weights))
    for ours, expected in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-6)


def test_the_model_and_the_estimator_share_no_memory(rows, fitted):
    before = fitted.reconstruct(rows)
    model = to_keras(fitted._network)
    for weight in model.weights:
        weight.assign(weight + 1)
    np.testing.assert_array_equal(fitted.reconstruct(rows), before)
    assert_agrees(to_keras(fitted._network), fitted, rows)


def test_making_a_model_leaves_the_process_alone(fitted, capfd):
    def state():
        return random.getstate(), str(np.random.get_state()), keras.config.floatx()  # noqa: NPY002

    before = state()
    to_keras(fitted._network)
    assert state() == before
    assert capfd.readouterr() == ("", "")
