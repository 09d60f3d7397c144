"""Search for the number of components that retains a fraction of the variance."""

import numpy as np
import pytest

from skae import AutoencoderTransformer
from skae._data.table import Table
from skae._initialization.architecture import Architecture
from skae._initialization.initial_network import first_network
from skae._networks.network import reconstruct
from skae._training.size_search import mask_components

ACTIVATIONS = ("silu", "identity", "identity")


def rows(rank, n_rows=400, n_columns=12, noise=0.01):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, rank)) @ rng.normal(size=(rank, n_columns))
    return X + noise * rng.normal(size=X.shape)


def fitted(X, share, **parameters):
    # one split, so that all loops have one shape
    settings = {"max_steps": 60, "validation_fraction": 0.3, "random_state": 0} | parameters
    return AutoencoderTransformer(share, **settings).fit(X)


@pytest.mark.parametrize("rank", [pytest.param(1, marks=pytest.mark.slow), 3, 6])
def test_the_rank_of_the_rows_is_found(rank):
    assert fitted(rows(rank), 0.999, hidden_layer_sizes=()).n_components_ == rank


@pytest.mark.slow
def test_a_curve_needs_fewer_components_than_pca():
    angle = np.random.default_rng(0).uniform(0, 3, size=600)
    X = np.column_stack([np.cos(i * angle) for i in range(1, 6)])
    ae = fitted(X, 0.95, max_steps=600)
    assert ae.n_components_ <= 2 < fitted_pca_size(X)
    assert ae.score(X) > 0.95


def fitted_pca_size(X):
    return AutoencoderTransformer(0.95, max_steps=20).partial_fit(X).n_components_


@pytest.mark.slow
def test_rows_without_values_do_not_change_the_size():
    X = rows(3)
    X_val, empty = rows(3)[:100] + 1e-3, np.full((300, 12), np.nan)
    expected = AutoencoderTransformer(0.999, max_steps=60, random_state=0).fit(X, X_val=X_val)
    assert expected.n_components_ == 3
    for validation in (empty, np.vstack([X_val, empty])):
        ae = AutoencoderTransformer(0.999, max_steps=60, random_state=0).fit(X, X_val=validation)
        assert ae.n_components_ == 3


def test_rows_that_are_noise_need_all_columns():
    X = np.random.default_rng(0).normal(size=(200, 6))
    assert fitted(X, 0.99, hidden_layer_sizes=()).n_components_ == 6


@pytest.mark.slow
@pytest.mark.parametrize(
    "parameters",
    [
        {"validation_fraction": 0},
        {"init": "glorot", "hidden_layer_sizes": ()},
        {"init": "glorot", "code_activation": "tanh", "whiten": False},
        {"noise": 0.1},
    ],
)
def test_a_size_is_found_with_any_parameters(parameters):
    ae = fitted(rows(3), 0.9, **parameters)
    assert 1 <= ae.n_components_ <= 12
    assert (np.diff(ae.components_curve_[:, 0]) > 0).all()


def test_rows_that_do_not_vary_need_no_search():
    ae = fitted(np.ones((30, 4)), 0.9)
    assert ae.components_curve_.shape == (0, 2)


def test_each_size_is_logged(capsys):
    ae = fitted(rows(3), 0.9, hidden_layer_sizes=(), verbose=1)
    logged = [line for line in capsys.readouterr().out.splitlines() if "components keep" in line]
    assert len(logged) == len(ae.components_curve_)


@pytest.mark.slow
def test_a_size_is_found_with_missing_values_and_in_wide_tables():
    X = rows(3)
    X[np.random.default_rng(0).random(X.shape) < 0.1] = np.nan
    assert fitted(X, 0.95).n_components_ <= 4
    assert fitted(rows(3, 60, 200), 0.95).n_components_ <= 3


def test_masked_components_are_zero_and_the_others_unchanged():
    X = rows(6)
    table = Table(X)
    network = first_network(
        table,
        Architecture(n_components=6, hidden_layer_sizes=(8,), activations=ACTIVATIONS),
        0,
    )
    fewer = mask_components(network, 2)
    codes = fewer.encode(X)
    assert (codes[:, 2:] == 0).all()
    pca = first_network(
        table,
        Architecture(n_components=2, hidden_layer_sizes=(8,), activations=ACTIVATIONS),
        0,
    )
    np.testing.assert_allclose(fewer.decode(codes), pca.decode(pca.encode(X)), atol=1e-6)
    bounds = fewer.standardised_bounds(np.float64)
    standardised = fewer.standardise(X)
    out = reconstruct(fewer.params, standardised, bounds, ACTIVATIONS)
    np.testing.assert_allclose(out * fewer.scale + fewer.offset, fewer.decode(codes), atol=1e-9)
