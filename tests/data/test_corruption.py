"""Corruption of the inputs of training."""

from dataclasses import replace

import numpy as np
import pytest

from skae._data.corruption import Corruption, WorkerShare
from skae._data.table import Table
from skae._networks.ppca import ProbabilisticPCA

MEANS = ProbabilisticPCA(mean=np.zeros(5), scale=1.0, loadings=np.zeros((5, 0)), noise_variance=1.0)


@pytest.fixture
def incomplete():
    rng = np.random.default_rng(0)
    X = 1 + rng.normal(size=(40, 5))
    return np.where(rng.random(X.shape) < 0.2, np.nan, X)


def batch(X, corruption, seed=0):
    table = Table(X, is_incomplete=True, imputer=MEANS).standardised(np.zeros(5), 1.0)
    ((batch, _),) = table.batches([3], (3, 8, 5), corruption, np.random.default_rng(seed))
    return batch


def test_missing_values_are_imputed_and_have_weight_zero(incomplete):
    inputs, targets, weights, *_ = batch(incomplete, Corruption())
    np.testing.assert_array_equal(weights > 0, targets != 0)
    np.testing.assert_array_equal(inputs, targets)  # both are zero for missing values
    assert np.isfinite(inputs).all()


def test_the_mean_weight_of_observed_values_is_one(incomplete):
    weights = batch(incomplete, Corruption()).weights
    assert weights.sum() == pytest.approx(3 * 5, rel=0.1)  # the weights of a row are per feature
    weights = batch(incomplete, Corruption("missing", 0.6)).weights
    assert weights.sum() == pytest.approx(3 * 5, rel=0.2)


def test_hidden_entries_are_imputed_and_have_the_largest_weights(incomplete):
    inputs, targets, weights, *_ = batch(incomplete, Corruption("missing", 0.6))
    hidden = (inputs != targets) & (targets != 0)
    assert 0.1 < hidden.sum() / (targets != 0).sum() < 0.5
    np.testing.assert_array_equal(inputs[hidden], 0)
    least, most = weights[(targets != 0) & ~hidden].max(), weights[hidden].min()
    assert most > 3 * least > 0


def test_noise_is_added_to_imputed_values(incomplete):
    clean, noisy = (batch(incomplete, Corruption(noise=noise)) for noise in (0.0, 0.1))
    np.testing.assert_array_equal(clean.targets, noisy.targets)
    assert (clean.inputs != noisy.inputs).all()
    assert np.std(clean.inputs - noisy.inputs) == pytest.approx(0.1, rel=0.2)


@pytest.fixture
def complete():
    return np.random.default_rng(0).normal(size=(64, 30))


def corrupted(X, kind, noise, n_rows=16):
    table = Table(X).standardised(np.zeros(X.shape[1]), 1.0)
    rng = np.random.default_rng(0)
    ((batch, _),) = table.batches([4], (4, n_rows, X.shape[1]), Corruption(kind, noise), rng)
    return batch


@pytest.mark.parametrize("kind", ["masking", "swap", "missing"])
def test_the_columns_of_a_group_are_changed_together(complete, kind):
    groups = np.repeat(np.arange(12), [1, 4] * 6)
    table = Table(complete, is_incomplete=True, groups=groups).standardised(np.zeros(30), 1.0)
    if kind == "missing":
        means = replace(MEANS, mean=np.zeros(30), loadings=np.zeros((30, 0)))
        table = table.imputed(means)
    rng = np.random.default_rng(0)
    ((batch, _),) = table.batches([4], (4, 16, 30), Corruption(kind, 0.5), rng)
    is_changed = batch.inputs != batch.targets
    first = np.searchsorted(groups, groups)  # the first column of each group
    np.testing.assert_array_equal(is_changed, is_changed[..., first])
    share = 0.25 if kind == "missing" else 0.5
    assert is_changed.mean() == pytest.approx(share, abs=0.1)


@pytest.mark.parametrize("kind", ["masking", "swap"])
def test_the_fraction_of_changed_entries_is_the_noise(complete, kind):
    inputs, targets, *_ = corrupted(complete, kind, 0.3)
    assert (inputs != targets).mean() == pytest.approx(0.3, abs=0.03)
    np.testing.assert_array_equal(targets, corrupted(complete, kind, 0.0).targets)
    inputs, targets, *_ = corrupted(complete, kind, 1.0)
    assert (inputs != targets).all()


def test_masked_entries_are_zero(complete):
    inputs, targets, *_ = corrupted(complete, "masking", 0.3)
    np.testing.assert_array_equal(inputs[inputs != targets], 0)


def test_swapped_entries_are_from_the_same_column_of_another_row_in_the_batch(complete):
    inputs, targets, *_ = corrupted(complete, "swap", 0.3)
    for step in range(4):
        for column in range(30):
            assert np.isin(inputs[step, :, column], targets[step, :, column]).all()


def test_the_row_of_a_batch_of_one_row_is_not_swapped(complete):
    inputs, targets, *_ = corrupted(complete, "swap", 0.5, n_rows=1)
    np.testing.assert_array_equal(inputs, targets)


def test_several_workers_hide_the_same_entries_as_one_worker(incomplete):
    rows = incomplete[:24].reshape(3, 8, 5).astype("f")
    weights, shape = np.full((3, 8), 1 / 8, "f"), (3, 8, 5)

    def corrupted(share):
        rng, corruption = np.random.default_rng(1), Corruption("missing", 0.6)
        part = WorkerShare(shape, share)
        return corruption(rows[:, share], weights[:, share], part, rng, MEANS, 0.8)

    single = corrupted(slice(0, 8))
    for share in (slice(0, 3), slice(3, 8)):
        for ours, expected in zip(corrupted(share), single, strict=True):
            np.testing.assert_array_equal(ours, expected[:, share])
