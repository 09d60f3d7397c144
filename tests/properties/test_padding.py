"""Padding of batches does not change training, for every objective and corruption."""

from dataclasses import replace
from itertools import product
from math import ceil

import numpy as np
import pytest
import tensorflow as tf

from skae._data.corruption import Corruption
from skae._data.table import Table
from skae._initialization.architecture import Architecture
from skae._initialization.initial_network import first_network
from skae._networks.ppca import ProbabilisticPCA
from skae._networks.variational import at_probabilistic_pca
from skae._training.losses import Elbo, Imputation, OnDeviceLoss, Reconstruction, Supervised

N_ROWS, N_FEATURES, SIZE = 65, 6, 2
LENGTHS = (65, 96, 128)
ACTIVATIONS = ("tanh", "identity", "identity")
BERNOULLI = (*ACTIVATIONS[:2], "logistic")
X = np.random.default_rng(0).normal(size=(N_ROWS, N_FEATURES)) * np.arange(1, N_FEATURES + 1)
INCOMPLETE = np.where(np.random.default_rng(1).random(X.shape) < 0.2, np.nan, X)
LABELS = np.random.default_rng(2).integers(-1, 3, N_ROWS).astype(np.int32)
NUMBERS = np.random.default_rng(3).normal(size=(N_ROWS, 2)).astype(np.float32)
FILLING = ProbabilisticPCA(
    mean=np.zeros(N_FEATURES), scale=1.0, loadings=np.zeros((N_FEATURES, 0)), noise_variance=1.0
)
OBJECTIVES = {
    "reconstruction": Reconstruction(ACTIVATIONS),
    "imputation": Imputation(ACTIVATIONS),
    "labels": Supervised(Reconstruction(ACTIVATIONS), 0.3),
    "numbers": Supervised(Imputation(ACTIVATIONS), 0.3),
    "gaussian": Elbo(ACTIVATIONS, SIZE),
    "per feature": Elbo(ACTIVATIONS, SIZE, beta=0.5),
    "bernoulli": Elbo(BERNOULLI, SIZE),
    **{f"trimmed {share}": Elbo(ACTIVATIONS, SIZE, share) for share in (0.01, 0.05, 0.4, 0.499)},
    "trimmed bernoulli": Elbo(BERNOULLI, SIZE, 0.1),
}
Y = {"labels": LABELS, "numbers": NUMBERS}
KINDS = ("gaussian", "masking", "swap", "missing")


def network(name, seed=0):
    """Return a network away from its initial weights."""
    architecture = Architecture(n_components=SIZE, hidden_layer_sizes=(5,), activations=ACTIVATIONS)
    start = first_network(Table(X), architecture, seed)
    if isinstance(OBJECTIVES[name], Elbo):
        output = OBJECTIVES[name].activations[-1]
        per_feature = name == "per feature"
        start = at_probabilistic_pca(start, Table(X), output, per_feature=per_feature)
    n_outputs = {"labels": 3, "numbers": 2}.get(name)
    if n_outputs is not None:
        head = {"coefs": [np.zeros((SIZE, n_outputs))], "intercepts": [np.zeros(n_outputs)]}
        start = start.with_params(start.params | {"head": head})
    rng = np.random.default_rng(seed)
    params = tf.nest.map_structure(lambda p: p + 0.1 * rng.normal(size=p.shape), start.params)
    return start.with_params(params).with_params_in(np.float32)


def batch(name, rows, length, *, corruption=None, seed=0, is_on_device=False, n_steps=1):
    """Return all rows as one batch in arrays of this length, of one or several steps."""
    start, is_incomplete = network(name), bool(np.isnan(rows).any())
    imputes = is_incomplete or (corruption is not None and corruption.hides)
    options = {"imputer": FILLING} if imputes else {}
    table = Table(rows, y=Y.get(name), is_incomplete=is_incomplete, **options)
    table = table.standardised(start.offset, start.scale)
    ((found, _),) = table.batches(
        [n_steps],
        (n_steps, length, N_FEATURES),
        Corruption() if corruption is None else corruption,
        np.random.default_rng(seed),
        is_on_device=is_on_device,
        n_draws=OBJECTIVES[name].n_draws,
    )
    return found if n_steps > 1 else tf.nest.map_structure(lambda part: part[0], found)


def loss_and_gradients(objective, params, batch, constants):
    """Return the loss and its gradients, of the params and of the weights of the rows."""
    params, batch = tf.nest.map_structure(tf.constant, (params, batch))
    with tf.GradientTape() as tape:
        tape.watch((params, batch.targets) if batch.targets.dtype == tf.float32 else params)
        loss = objective(params, batch, constants)
    gradients, of_rows = tape.gradient(loss, (params, batch.targets))
    return loss.numpy(), tf.nest.flatten(gradients), of_rows


def check_same(found, expected):
    for ours, theirs in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * max(scale, 1e-3))


@pytest.mark.parametrize("rows", [X, INCOMPLETE], ids=["complete", "incomplete"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_loss_and_the_gradient_do_not_depend_on_the_length_of_the_arrays(name, rows):
    objective, start = OBJECTIVES[name], network(name)
    constants = objective.constants(start)
    results = [
        loss_and_gradients(objective, start.params, batch(name, rows, length), constants)[:2]
        for length in LENGTHS
    ]
    for result in results[1:]:
        check_same(result, results[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_loss_and_the_gradient_of_a_table_on_the_device_do_not_depend_on_padding(name):
    objective, start = OBJECTIVES[name], network(name)
    table = Table(X).standardised(start.offset, start.scale)
    expected = loss_and_gradients(
        objective, start.params, batch(name, X, N_ROWS), objective.constants(start)
    )
    for length, n_on_device in product(LENGTHS, (N_ROWS, 128)):
        constants = ((table.rows_on_device(n_on_device),), objective.constants(start))
        ours = batch(name, X, length, is_on_device=True)
        found = loss_and_gradients(OnDeviceLoss(objective), start.params, ours, constants)
        check_same(found[:2], expected[:2])


@pytest.mark.slow
@pytest.mark.parametrize("rows", [X, INCOMPLETE], ids=["complete", "incomplete"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_stacked_runs_with_padding_have_the_losses_and_the_gradients_of_each(name, rows):
    objective, starts = OBJECTIVES[name], [network(name, seed) for seed in range(3)]
    parts = [
        (start.params, batch(name, rows, 128, seed=seed), objective.constants(start))
        for seed, start in enumerate(starts)
    ]
    each = [loss_and_gradients(objective, *part)[:2] for part in parts]
    stacked = tf.nest.map_structure(lambda *arrays: np.stack(arrays), *parts)
    losses, gradients, _ = loss_and_gradients(objective, *stacked)
    check_same(losses, np.array([loss for loss, _ in each]))
    for i, (_, expected) in enumerate(each):
        check_same([gradient[i] for gradient in gradients], expected)


def trimmed(objective, params, batch, constants):
    """Return the indices of the rows whose loss has weight zero."""
    *_, of_rows = loss_and_gradients(objective, params, batch, constants)
    is_real = (np.asarray(batch.weights) > 0).reshape(len(of_rows), -1).any(axis=1)
    return np.flatnonzero(is_real & ~np.asarray(of_rows).any(axis=1))


@pytest.mark.parametrize("rows", [X, INCOMPLETE], ids=["complete", "incomplete"])
@pytest.mark.parametrize("share", [0.01, 0.05, 0.1, 0.29, 0.4, 0.499])
def test_the_fraction_of_rows_with_the_highest_losses_is_trimmed(share, rows):
    objective, start = Elbo(ACTIVATIONS, SIZE, share), network("gaussian")
    whole, constants = Elbo(ACTIVATIONS, SIZE), objective.constants(start)
    for length in LENGTHS:
        ours = batch("gaussian", rows, length)
        losses, weights = whole.row_losses(start.params, ours, constants)
        order = np.argsort((losses / weights)[:N_ROWS])
        found = trimmed(objective, start.params, ours, constants)
        n_trimmed = ceil(round(share * N_ROWS, 6))
        assert sorted(found) == sorted(order[N_ROWS - n_trimmed :])


@pytest.mark.parametrize("share", [0.05, 0.29, 0.499])
@pytest.mark.parametrize("n_rows", [1, 2, 3, 16])
def test_the_number_of_trimmed_rows_is_exact_for_equal_rows(n_rows, share):
    objective, start = Elbo(ACTIVATIONS, SIZE, share), network("gaussian")
    ours = batch("gaussian", X, 128)
    equal = [np.repeat(part[:1], 128, axis=0) for part in (ours.inputs, ours.draws)]
    weights = np.float32(np.arange(128) < n_rows) / np.float32(n_rows)
    ours = ours._replace(inputs=equal[0], targets=equal[0], draws=equal[1], weights=weights)
    constants = objective.constants(start)
    found = trimmed(objective, start.params, ours, constants)
    assert len(found) == min(ceil(round(share * n_rows, 6)), n_rows - 1)
    # the other rows have the total weight of all rows
    loss = objective(start.params, ours, constants)
    whole = Elbo(ACTIVATIONS, SIZE)(start.params, ours, constants)
    assert loss.numpy() == pytest.approx(whole.numpy(), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_corruption_of_rows_does_not_depend_on_padding(kind):
    shares, means = [], []
    for length in LENGTHS:
        corruption = Corruption(kind, 0.5)
        found = batch("reconstruction", X, length, corruption=corruption, n_steps=40)
        is_changed = found.inputs[:, :N_ROWS] != found.targets[:, :N_ROWS]
        shares.append(is_changed.mean(axis=(0, 1)))
        weights = found.weights[:, :N_ROWS]
        means.append([weights.mean() * N_ROWS, np.abs(found.inputs[:, :N_ROWS]).mean()])
        assert not found.weights[:, N_ROWS:].any()
    for share, mean in zip(shares, means, strict=True):
        np.testing.assert_allclose(share, shares[0], atol=0.05)
        np.testing.assert_allclose(mean, means[0], rtol=0.05)
        assert mean[0] == pytest.approx(1, rel=0.03)


@pytest.mark.parametrize("rows", [X, INCOMPLETE], ids=["complete", "incomplete"])
@pytest.mark.parametrize("n_rows", [1, 2, 20, N_ROWS])
def test_each_real_row_is_the_donor_of_one_other_real_row(n_rows, rows):
    for length in (max(n_rows, 2), *LENGTHS):
        numbers = np.arange(1.0, n_rows + 1)[:, None] + np.zeros(N_FEATURES)
        table = Table(np.where(np.isnan(rows[:n_rows]), np.nan, numbers), imputer=FILLING)
        table = replace(
            table.standardised(np.zeros(N_FEATURES), 1.0),
            is_incomplete=bool(np.isnan(table.X).any()),
        )
        shape, rng = (9, length, N_FEATURES), np.random.default_rng(0)
        ((found, _),) = table.batches([9], shape, Corruption("swap", 1.0), rng)
        for step in range(9):
            inputs, targets = found.inputs[step, :n_rows], found.targets[step, :n_rows]
            own, donors = (part.max(axis=1).astype(int) for part in (targets, inputs))
            assert sorted(donors) == sorted(own)
            assert n_rows == 1 or (donors != own).all()
