"""What training does to its inputs."""

import numpy as np
import pytest

from skae._data.corruption import Corruption
from skae._data.table import Table
from skae._networks.ppca import Filling

MEANS = Filling(np.zeros(5), 1.0, np.zeros((5, 0)), 1.0)


@pytest.fixture
def gaps():
    rng = np.random.default_rng(0)
    X = 1 + rng.normal(size=(40, 5))
    return np.where(rng.random(X.shape) < 0.2, np.nan, X)


def batch(X, corruption, seed=0):
    table = Table(X, is_incomplete=True, filling=MEANS).standardised(np.zeros(5), 1.0)
    ((batch, _),) = table.batches([3], (3, 8, 5), corruption, np.random.default_rng(seed))
    return batch


def test_what_is_missing_is_filled_and_teaches_nothing(gaps):
    inputs, targets, weights, *_ = batch(gaps, Corruption())
    np.testing.assert_array_equal(weights > 0, targets != 0)
    np.testing.assert_array_equal(inputs, targets)  # both are zero where something is missing
    assert np.isfinite(inputs).all()


def test_what_is_seen_weighs_one_in_the_mean(gaps):
    weights = batch(gaps, Corruption()).weights
    assert weights.sum() == pytest.approx(3 * 5, rel=0.1)  # of each row's, over the features
    weights = batch(gaps, Corruption("missing", 0.6)).weights
    assert weights.sum() == pytest.approx(3 * 5, rel=0.2)


def test_hidden_entries_are_filled_and_teach_most(gaps):
    inputs, targets, weights, *_ = batch(gaps, Corruption("missing", 0.6))
    hidden = (inputs != targets) & (targets != 0)
    assert 0.1 < hidden.sum() / (targets != 0).sum() < 0.5
    np.testing.assert_array_equal(inputs[hidden], 0)
    least, most = weights[(targets != 0) & ~hidden].max(), weights[hidden].min()
    assert most > 3 * least > 0


def test_noise_comes_on_top_of_what_was_filled(gaps):
    clean, noisy = (batch(gaps, Corruption(noise=noise)) for noise in (0.0, 0.1))
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


@pytest.mark.parametrize("kind", ["masking", "swap"])
def test_as_many_entries_are_changed_as_was_asked(complete, kind):
    inputs, targets, *_ = corrupted(complete, kind, 0.3)
    assert (inputs != targets).mean() == pytest.approx(0.3, abs=0.03)
    np.testing.assert_array_equal(targets, corrupted(complete, kind, 0.0).targets)
    inputs, targets, *_ = corrupted(complete, kind, 1.0)
    assert (inputs != targets).all()


def test_masked_entries_are_zero(complete):
    inputs, targets, *_ = corrupted(complete, "masking", 0.3)
    np.testing.assert_array_equal(inputs[inputs != targets], 0)


def test_swapped_entries_are_of_another_row_of_the_batch_and_the_same_column(complete):
    inputs, targets, *_ = corrupted(complete, "swap", 0.3)
    for step in range(4):
        for column in range(30):
            assert np.isin(inputs[step, :, column], targets[step, :, column]).all()


def test_a_row_alone_is_not_swapped(complete):
    inputs, targets, *_ = corrupted(complete, "swap", 0.5, n_rows=1)
    np.testing.assert_array_equal(inputs, targets)


def test_workers_hide_together_what_one_hides_alone(gaps):
    rows = gaps[:24].reshape(3, 8, 5).astype("f")
    weights, shape = np.full((3, 8), 1 / 8, "f"), (3, 8, 5)

    def corrupted(share):
        rng, corruption = np.random.default_rng(1), Corruption("missing", 0.6)
        return corruption(rows[:, share], weights[:, share], shape, share, rng, MEANS, 0.8)

    alone = corrupted(slice(0, 8))
    for share in (slice(0, 3), slice(3, 8)):
        for ours, expected in zip(corrupted(share), alone, strict=True):
            np.testing.assert_array_equal(ours, expected[:, share])
