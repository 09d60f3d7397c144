"""Imputation with the conditional mean under the covariance of PCA."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderTransformer, VariationalAutoencoder
from skae._data.table import Table
from skae._initialization.architecture import Architecture
from skae._initialization.initial_network import first_network

TABLES = {
    "breast cancer": load_breast_cancer,
    "diabetes": load_diabetes,
    "digits": load_digits,
    "iris": load_iris,
    "wine": load_wine,
}
SIZES = (1, 2, 5, 12, 64)
N_ROWS = (3, 8, 13, 14, 40, 120)
QUICK = {"hidden_layer_sizes": (8,), "max_steps": 1, "random_state": 0}


def split(name, n_rows, seed=0):
    """Return standardised training rows, new rows, and new rows with one missing entry each."""
    X = TABLES[name]().data
    X = X[np.random.default_rng(seed).permutation(len(X))[: n_rows + 100]]
    X = StandardScaler().fit(X[:n_rows]).transform(X)
    new = X[n_rows:]
    columns = np.random.default_rng([seed, 1]).integers(X.shape[1], size=len(new))
    missing = np.arange(X.shape[1]) == columns[:, None]
    return X[:n_rows], new, np.where(missing, np.nan, new)


def comparable_pca(X, size):
    """Return PCA with the number of components of the imputation model.

    There are at most 64 components, at most half as many as rows, and one direction is left for
    the noise.
    """
    n_rows, n_features = X.shape
    size = min(size, 64, n_features - 1, (n_rows - 1) // 2)
    return PCA(size, svd_solver="full").fit(X)


def conditional_means(pca, rows):
    """Impute rows from the mean and the covariance of PCA."""
    mean, covariance, rows = pca.mean_, pca.get_covariance(), rows.copy()
    for row in rows:
        missing = np.isnan(row)
        known = covariance[np.ix_(~missing, ~missing)]
        weights = np.linalg.solve(known, (row - mean)[~missing])
        row[missing] = mean[missing] + covariance[np.ix_(missing, ~missing)] @ weights
    return rows


def initial_imputer(X, size):
    size = min(size, X.shape[1])
    activations = ("silu", "identity", "identity")
    return first_network(
        Table(X),
        Architecture(n_components=size, hidden_layer_sizes=(4,), activations=activations),
        0,
    ).imputer


@pytest.mark.parametrize("name", TABLES)
def test_an_imputed_entry_is_the_conditional_mean_under_the_covariance_of_pca(name):
    n_compared = 0
    for n_rows in N_ROWS:
        X, _, incomplete = split(name, n_rows)
        for size in SIZES:
            pca = comparable_pca(X, size)
            if pca.noise_variance_ < 1e-5:  # the covariance may be singular
                continue
            filled, expected = (
                initial_imputer(X, size)(incomplete[:20]),
                conditional_means(pca, incomplete[:20]),
            )
            np.testing.assert_allclose(filled, expected, rtol=1e-4, atol=1e-4)
            n_compared += 1
    assert n_compared >= 20


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_without_covariance_are_imputed_with_column_means(dtype):
    X = split("wine", 3)[0].astype(dtype)
    for training in (X[:1], X[:2], np.repeat(X[:1], 20, axis=0)):
        filled = initial_imputer(training, 64)(np.where(np.eye(3, 13), np.nan, X).astype(dtype))
        assert filled.dtype == dtype
        expected = np.where(np.eye(3, 13), training.mean(axis=0), X)
        np.testing.assert_allclose(filled, expected, rtol=1e-5, atol=1e-6)


def test_float32_rows_are_imputed_as_float64_rows():
    X, _, incomplete = split("wine", 60)
    filled = initial_imputer(X.astype(np.float32), 64)(incomplete.astype(np.float32))
    np.testing.assert_allclose(filled, initial_imputer(X, 64)(incomplete), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("name", TABLES)
def test_imputation_is_not_worse_than_column_means_in_the_median(name):
    ratios = {}
    for n_rows in N_ROWS[1:]:
        for seed in range(2):
            X, new, incomplete = split(name, n_rows, seed)
            missing = np.isnan(incomplete)
            of_means = np.square(new - X.mean(axis=0))[missing].sum()
            for size in SIZES:
                error = np.square(initial_imputer(X, size)(incomplete) - new)[missing].sum()
                ratios.setdefault(size, []).append(error / of_means)
    assert max(map(np.median, ratios.values())) <= 1
    assert np.max(list(ratios.values())) < 2


@pytest.mark.parametrize(("name", "n_rows"), [("wine", 60), ("wine", 120), ("diabetes", 60)])
def test_a_code_with_all_components_imputes_better_than_column_means(name, n_rows):
    X, new, incomplete = split(name, n_rows)
    ae = AutoencoderTransformer(random_state=0).fit(X)  # PCA is exact and is kept
    missing = np.isnan(incomplete)
    error = np.square(ae.reconstruct(incomplete) - new)[missing].mean()
    assert error < 0.9 * np.square(new[missing]).mean()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wine", "iris"])
@pytest.mark.parametrize("n_rows", [10, 60])
@pytest.mark.parametrize("size", [2, 13])
@pytest.mark.parametrize("kind", [AutoencoderTransformer, VariationalAutoencoder])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_row_has_the_code_of_its_conditional_mean(name, n_rows, size, kind, method):
    X, _, incomplete = split(name, n_rows)
    estimator = getattr(kind(min(size, X.shape[1]), **QUICK), method)(X)
    filled = conditional_means(comparable_pca(X, size), incomplete)
    codes, expected = estimator.transform(incomplete), estimator.transform(filled)
    np.testing.assert_allclose(codes, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
