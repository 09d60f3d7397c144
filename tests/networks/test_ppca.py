"""Imputation by probabilistic PCA."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from skae._data.table import Table
from skae._initialization.imputation import initial_imputer, select_imputation_params
from skae._networks.ppca import PPCAParams, ProbabilisticPCA, fit_ppca, select_ppca_params


def low_rank(n_rows=300, n_features=8, rank=2, noise=0.1, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, rank)) @ rng.normal(size=(rank, n_features))
    return X + noise * rng.normal(size=X.shape)


def with_missing(X, share=0.2, seed=0):
    missing = np.random.default_rng([seed, 1]).random(X.shape) < share
    return np.where(missing, np.nan, X), missing


def conditional_mean(imputer, row):
    """Impute a row with the conditional mean of a Gaussian, computed from its covariance."""
    missing = np.isnan(row)
    W = imputer.loadings * imputer.scale
    covariance = W @ W.T + imputer.noise_variance * imputer.scale**2 * np.eye(len(row))
    seen = ~missing
    weights = np.linalg.solve(covariance[np.ix_(seen, seen)], (row - imputer.mean)[seen])
    filled = row.copy()
    filled[missing] = imputer.mean[missing] + covariance[np.ix_(missing, seen)] @ weights
    return filled


@given(st.integers(0, 10**6), st.integers(0, 4), st.floats(0, 1))
@settings(max_examples=50)
def test_missing_values_are_imputed_with_their_conditional_mean(seed, n_components, share):
    rng = np.random.default_rng(seed)
    imputer = ProbabilisticPCA(
        mean=rng.normal(size=6),
        scale=3.0,
        loadings=rng.normal(size=(6, n_components)),
        noise_variance=0.3,
    )
    X, missing = with_missing(rng.normal(size=(7, 6)), share, seed)
    filled = imputer(X)
    expected = np.stack([conditional_mean(imputer, row) for row in X])
    np.testing.assert_allclose(filled, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(filled[~missing], X[~missing])


def test_complete_rows_are_the_same_array():
    imputer = ProbabilisticPCA(
        mean=np.zeros(8), scale=1.0, loadings=np.ones((8, 1)), noise_variance=0.5
    )
    X = low_rank()
    assert imputer(X) is X


def test_imputation_of_a_row_does_not_depend_on_other_rows():
    X, _ = with_missing(low_rank())
    imputer = fit_ppca(Table(X), PPCAParams(2, 5), 0)
    joint, single = imputer(X), np.vstack([imputer(row[None]) for row in X])
    np.testing.assert_allclose(joint, single, rtol=1e-12, atol=1e-12)


def test_em_finds_the_model_of_complete_rows():
    X = low_rank()
    imputer = fit_ppca(Table(X), PPCAParams(2, 200), 0)
    pca = PCA(2).fit(X)
    ours = imputer.loadings @ imputer.loadings.T + imputer.noise_variance * np.eye(8)
    scale = (len(X) - 1) / len(X)  # scikit-learn's variances are unbiased
    np.testing.assert_allclose(ours, pca.get_covariance() * scale, rtol=1e-2, atol=2e-3)


def test_em_imputes_low_rank_rows_far_better_than_means():
    X = low_rank()
    incomplete, missing = with_missing(X)
    filled = fit_ppca(Table(incomplete), PPCAParams(2, 40), 0)(incomplete)
    error, of_means = (np.square(rows[missing]).mean() for rows in (filled - X, X))
    assert error < 0.05 * of_means


@pytest.mark.parametrize("n_rows", [1, 2, 5, 12])
def test_em_works_with_fewer_rows_than_components(n_rows):
    incomplete, _ = with_missing(low_rank(n_rows, 30))
    imputer = fit_ppca(Table(incomplete), PPCAParams(12, 5), 0)
    assert np.isfinite(imputer(incomplete)).all()


def test_a_column_without_values_is_imputed_with_zeros():
    incomplete, _ = with_missing(low_rank())
    incomplete[:, 3] = np.nan
    table = Table(incomplete, is_incomplete=True)
    ppca_params = select_imputation_params(table, 8, 0)
    np.testing.assert_allclose(
        initial_imputer(table, ppca_params, 0)(incomplete)[:, 3], 0, atol=1e-6
    )


def test_the_selected_parameters_depend_on_the_structure_of_the_table():
    rng = np.random.default_rng(0)
    independent, _ = with_missing(rng.normal(size=(300, 8)))
    structured, _ = with_missing(low_rank(noise=0.01))
    efforts = [select_ppca_params(Table(X), 8, 0) for X in (independent, structured)]
    assert efforts[0].n_steps < efforts[1].n_steps
    assert efforts[1].n_components >= 2


def test_the_selected_number_of_components_is_at_most_the_given_number():
    incomplete, _ = with_missing(low_rank())
    assert select_ppca_params(Table(incomplete), 3, 0).n_components <= 3
    assert select_ppca_params(Table(incomplete[:1]), 3, 0).n_components == 0


def test_an_imputation_model_can_be_standardised():
    X, _ = with_missing(low_rank())
    imputer = fit_ppca(Table(X), PPCAParams(2, 5), 0)
    offset = np.arange(8.0)
    standardised = imputer.standardised(offset, 4.0)((X - offset) / 4)
    np.testing.assert_allclose(standardised * 4 + offset, imputer(X), rtol=1e-6, atol=1e-8)


def test_rows_that_overflow_are_imputed_with_finite_numbers():
    X, _ = with_missing(low_rank())
    imputer = fit_ppca(Table(X), PPCAParams(2, 5), 0)
    for dtype, factor in ((np.float64, 1e300), (np.float32, 1e37)):
        rows = (X * factor).astype(dtype)
        assert np.isfinite(imputer(rows)).all()
