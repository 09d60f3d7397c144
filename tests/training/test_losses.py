"""Loss functions and validation errors."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from skae._data.batches import Batch
from skae._data.table import Table
from skae._initialization.architecture import Architecture
from skae._initialization.initial_network import first_network
from skae._networks.network import reconstruct
from skae._training.losses import OnDeviceLoss, Reconstruction

ACTIVATIONS = ("tanh", "identity", "identity")


def network(bounds=None, init="glorot", seed=0):
    X = 5 + 3 * np.random.default_rng(seed).normal(size=(50, 6))
    return first_network(
        Table(X),
        Architecture(
            n_components=2,
            hidden_layer_sizes=(4,),
            activations=ACTIVATIONS,
            init=init,
            bounds=bounds,
        ),
        seed,
    ), X


def batch_of(network, X, weights):
    rows = network.standardise(X).astype(np.float32)
    return Batch(rows, rows, np.float32(weights))


@given(st.sampled_from([None, (3, 6), (None, 5)]), st.integers(0, 50))
@settings(max_examples=20)
def test_the_loss_is_the_weighted_mean_squared_error_of_the_clipped_rows(bounds, seed):
    start, X = network(bounds, seed=seed)
    objective = Reconstruction(ACTIVATIONS)
    weights = np.random.default_rng(seed).dirichlet(np.ones(len(X)))
    params, batch = start.with_params_in(np.float32).params, batch_of(start, X, weights)
    loss = objective(params, batch, objective.constants(start))
    residual = (start.decode(start.encode(X)) - X) / start.scale
    assert loss.numpy() == pytest.approx(weights @ (residual**2).mean(axis=1), rel=1e-4)


def test_the_gradient_passes_through_the_clip():
    start, X = network(bounds=(4.9, 5.1))
    objective = Reconstruction(ACTIVATIONS)
    params = tf.nest.map_structure(tf.constant, start.with_params_in(np.float32).params)
    low, high = objective.constants(start)
    batch = batch_of(start, X.clip(4.9, 5.1), np.full(len(X), 1 / len(X)))
    with tf.GradientTape() as tape:
        tape.watch(params)
        loss = objective(params, batch, (low, high))
    gradient = tape.gradient(loss, params)["decoder"]["intercepts"][-1]
    # the gradient of the clipped residual, with a derivative of one for the clip
    rows = reconstruct(start.params, batch.inputs, (low, high), ACTIVATIONS)
    expected = 2 * (rows - batch.targets).mean(axis=0) / rows.shape[1]
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)
    assert np.abs(expected).max() > 1e-3


def test_constants_are_finite_numbers():
    for bounds in (None, (0, None), "auto"):
        start, _ = network(bounds)
        assert np.isfinite(Reconstruction(ACTIVATIONS).constants(start)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_errors_of_rows_are_in_the_units_of_the_table(dtype):
    start, X = network(bounds=(3, 6))
    errors = Reconstruction(ACTIVATIONS).row_errors(start.with_params_in(dtype), Table(X))
    expected = ((start.decode(start.encode(X)) - X) ** 2).mean(axis=1)
    np.testing.assert_allclose(errors, expected, rtol=1e-4 if dtype == np.float32 else 1e-10)
    assert errors.dtype == np.float64


def test_objectives_of_the_same_activations_are_one():
    assert Reconstruction(ACTIVATIONS) == Reconstruction(tuple(ACTIVATIONS))
    assert len({Reconstruction(ACTIVATIONS), Reconstruction(ACTIVATIONS)}) == 1


def test_the_loss_of_a_table_on_the_device_is_that_of_its_rows():
    start, X = network(bounds=(3, 6))
    objective, rows = Reconstruction(ACTIVATIONS), np.array([3, 1, 3, 40])
    constants = objective.constants(start)
    params, weights = start.with_params_in(np.float32).params, np.full(4, 0.25, dtype=np.float32)
    table = Table(X).standardised(start.offset, start.scale).rows_on_device(64)
    resident = OnDeviceLoss(objective)(params, Batch(rows, rows, weights), ((table,), constants))
    loss = objective(params, batch_of(start, X[rows], weights), constants)
    assert resident.numpy() == pytest.approx(loss.numpy(), rel=1e-6)
    assert OnDeviceLoss(objective) == OnDeviceLoss(Reconstruction(ACTIVATIONS))
