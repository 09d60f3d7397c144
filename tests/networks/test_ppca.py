"""Probabilistic PCA fills what is missing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from skae._data.table import Table
from skae._initialization.filling import filling_effort, first_filling
from skae._networks.ppca import Effort, Filling, choose_effort, fit_filling


def low_rank(n_rows=300, n_features=8, rank=2, noise=0.1, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, rank)) @ rng.normal(size=(rank, n_features))
    return X + noise * rng.normal(size=X.shape)


def with_gaps(X, share=0.2, seed=0):
    missing = np.random.default_rng([seed, 1]).random(X.shape) < share
    return np.where(missing, np.nan, X), missing


def conditional_mean(filling, row):
    """The mean of a Gaussian's missing entries given the others, by its covariance."""
    missing = np.isnan(row)
    W = filling.loadings * filling.scale
    covariance = W @ W.T + filling.noise_variance * filling.scale**2 * np.eye(len(row))
    seen = ~missing
    weights = np.linalg.solve(covariance[np.ix_(seen, seen)], (row - filling.mean)[seen])
    filled = row.copy()
    filled[missing] = filling.mean[missing] + covariance[np.ix_(missing, seen)] @ weights
    return filled


@given(st.integers(0, 10**6), st.integers(0, 4), st.floats(0, 1))
@settings(max_examples=50)
def test_what_is_missing_gets_its_mean_given_the_rest(seed, n_components, share):
    rng = np.random.default_rng(seed)
    filling = Filling(rng.normal(size=6), 3.0, rng.normal(size=(6, n_components)), 0.3)
    X, missing = with_gaps(rng.normal(size=(7, 6)), share, seed)
    filled = filling(X)
    expected = np.stack([conditional_mean(filling, row) for row in X])
    np.testing.assert_allclose(filled, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(filled[~missing], X[~missing])


def test_complete_rows_are_the_same_array():
    filling = Filling(np.zeros(8), 1.0, np.ones((8, 1)), 0.5)
    X = low_rank()
    assert filling(X) is X


def test_a_row_is_filled_as_if_it_were_alone():
    X, _ = with_gaps(low_rank())
    filling = fit_filling(Table(X), Effort(2, 5), 0)
    together, alone = filling(X), np.vstack([filling(row[None]) for row in X])
    np.testing.assert_allclose(together, alone, rtol=1e-12, atol=1e-12)


def test_em_finds_the_model_of_complete_rows():
    X = low_rank()
    filling = fit_filling(Table(X), Effort(2, 200), 0)
    pca = PCA(2).fit(X)
    ours = filling.loadings @ filling.loadings.T + filling.noise_variance * np.eye(8)
    scale = (len(X) - 1) / len(X)  # scikit-learn's variances are unbiased
    np.testing.assert_allclose(ours, pca.get_covariance() * scale, rtol=1e-2, atol=2e-3)


def test_em_fills_low_rank_rows_far_better_than_means():
    X = low_rank()
    gaps, missing = with_gaps(X)
    filled = fit_filling(Table(gaps), Effort(2, 40), 0)(gaps)
    error, of_means = (np.square(rows[missing]).mean() for rows in (filled - X, X))
    assert error < 0.05 * of_means


@pytest.mark.parametrize("n_rows", [1, 2, 5, 12])
def test_em_takes_fewer_rows_than_components(n_rows):
    gaps, _ = with_gaps(low_rank(n_rows, 30))
    filling = fit_filling(Table(gaps), Effort(12, 5), 0)
    assert np.isfinite(filling(gaps)).all()


def test_a_column_without_values_is_filled_with_zeros():
    gaps, _ = with_gaps(low_rank())
    gaps[:, 3] = np.nan
    table = Table(gaps, is_incomplete=True)
    effort = filling_effort(table, 8, 0)
    np.testing.assert_allclose(first_filling(table, effort, 0)(gaps)[:, 3], 0, atol=1e-6)


def test_effort_follows_the_structure_of_the_table():
    rng = np.random.default_rng(0)
    independent, _ = with_gaps(rng.normal(size=(300, 8)))
    structured, _ = with_gaps(low_rank(noise=0.01))
    efforts = [choose_effort(Table(X), 8, 0) for X in (independent, structured)]
    assert efforts[0].n_steps < efforts[1].n_steps
    assert efforts[1].n_components >= 2


def test_effort_has_no_more_components_than_asked_for():
    gaps, _ = with_gaps(low_rank())
    assert choose_effort(Table(gaps), 3, 0).n_components <= 3
    assert choose_effort(Table(gaps[:1]), 3, 0).n_components == 0


def test_a_filling_follows_its_rows_to_other_units():
    X, _ = with_gaps(low_rank())
    filling = fit_filling(Table(X), Effort(2, 5), 0)
    offset = np.arange(8.0)
    there = filling.standardised(offset, 4.0)((X - offset) / 4)
    np.testing.assert_allclose(there * 4 + offset, filling(X), rtol=1e-6, atol=1e-8)


def test_rows_too_far_away_are_filled_with_numbers():
    X, _ = with_gaps(low_rank())
    filling = fit_filling(Table(X), Effort(2, 5), 0)
    for dtype, factor in ((np.float64, 1e300), (np.float32, 1e37)):
        rows = (X * factor).astype(dtype)
        assert np.isfinite(filling(rows)).all()
