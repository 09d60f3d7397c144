"""The network as arrays: starts, canonical code, bounds."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_array
from sklearn.decomposition import PCA

from skae import _network
from skae._network import (
    Autoencoder,
    map_arrays,
    principal_components,
    start_at_pca,
    start_at_random,
    tied_bounds,
)


def correlated_rows(n_samples=60, n_features=7, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_samples, n_features)) @ rng.normal(size=(n_features, n_features)) + 3


def components_of(X, n_components):
    """Principal components of all rows, which come centred and in their own units."""
    rows = np.arange(X.shape[0])
    offset = np.asarray(X.mean(axis=0)).ravel()
    return principal_components(X, rows, offset, 1.0, n_components, 0)


def bounds_of(X):
    return tied_bounds(X, np.arange(X.shape[0]), min_ties=3, min_share=0.1)


def random_network(hidden, n_features=7, n_components=3, linear=True, seed=0):
    """A network with nothing left of its start."""
    rng = np.random.default_rng(seed)
    components, std = components_of(correlated_rows(), n_components)
    if linear:
        halves = start_at_pca(components, std, hidden, rng)
    else:
        halves = start_at_random("glorot", n_features, hidden, n_components, np.float64, rng)
    halves = [map_arrays(lambda a: a + 0.3 * rng.normal(size=a.shape), half) for half in halves]
    free = np.full(n_features, np.inf)
    offset = rng.normal(size=n_features)
    return Autoencoder(*halves, offset, 1.7, -free, free, ("silu", "identity", "identity"))


@pytest.mark.parametrize("hidden", [(), (5,), (9, 4)])
def test_starts_at_pca(hidden):
    X = correlated_rows()
    pca = PCA(3).fit(X)
    components, std = components_of(X, 3)
    free = np.full(7, np.inf)
    halves = start_at_pca(components, std, hidden, np.random.default_rng(0))
    network = Autoencoder(*halves, X.mean(axis=0), 1.0, -free, free, ("silu",) + 2 * ("identity",))
    np.testing.assert_allclose(network.encode(X), pca.transform(X), atol=1e-12)
    np.testing.assert_allclose(
        network.decode(network.encode(X)), pca.inverse_transform(pca.transform(X)), atol=1e-12
    )
    np.testing.assert_allclose(std, np.sqrt(pca.explained_variance_))


def test_hidden_units_start_at_unit_scale_whatever_the_scale_of_the_code():
    rng = np.random.default_rng(0)
    for scale in (1e-3, 1e3):
        encoder, decoder = start_at_pca(np.eye(20, 400), np.full(20, scale), (2000,), rng)
        codes = scale * rng.normal(size=(50, 20))
        units = codes @ decoder["coefs"][0] + decoder["intercepts"][0]
        assert 1 < units.std() < 2
        assert 1 < (rng.normal(size=(50, 400)) @ encoder["coefs"][0]).std() < 2


def test_normal_start_is_that_of_the_tutorial():
    rng = np.random.default_rng(0)
    encoder, decoder = start_at_random("normal", 784, (128,), 64, np.float32, rng)
    assert [c.shape for c in encoder["coefs"] + decoder["coefs"]] == [
        (784, 128),
        (128, 64),
        (64, 128),
        (128, 784),
    ]
    for drawn in (encoder["coefs"][0], decoder["intercepts"][-1]):
        assert drawn.dtype == np.float32
        assert 0.045 < drawn.std() < 0.055
        assert abs(drawn.mean()) < 0.01


def test_glorot_start_has_its_variance_and_no_intercepts():
    encoder, _ = start_at_random("glorot", 300, (200,), 5, np.float64, np.random.default_rng(0))
    assert encoder["coefs"][0].var() == pytest.approx(2 / 500, rel=0.05)
    assert not encoder["intercepts"][0].any()
    assert "linear" not in encoder


@given(
    hidden=st.sampled_from([(), (4,), (5, 3)]),
    linear=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(max_examples=50)
def test_another_code_gives_the_same_rows(hidden, linear, seed):
    network = random_network(hidden, linear=linear, seed=seed)
    rng = np.random.default_rng(seed)
    X = correlated_rows(seed=seed)
    to_code = rng.normal(size=(3, 3)) + 3 * np.eye(3)
    origin = rng.normal(size=3)
    other = network.recode(to_code, np.linalg.inv(to_code), origin)
    np.testing.assert_allclose(other.encode(X), (network.encode(X) - origin) @ to_code, atol=1e-7)
    np.testing.assert_allclose(
        other.decode(other.encode(X)), network.decode(network.encode(X)), rtol=1e-7, atol=1e-7
    )


@given(
    hidden=st.sampled_from([(), (4,), (5, 3)]),
    linear=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(max_examples=50)
def test_canonical_code_is_white_and_ordered_by_what_it_does(hidden, linear, seed):
    network = random_network(hidden, linear=linear, seed=seed)
    X = correlated_rows(seed=seed)
    codes = network.encode(X)
    covariance = np.cov(codes.T)
    assume(np.linalg.cond(covariance) < 1e9)  # not with units that are all saturated
    white = network.recode(*network.whitening(covariance), codes.mean(axis=0))
    codes = white.encode(X)
    np.testing.assert_allclose(codes.mean(axis=0), 0, atol=1e-7)
    np.testing.assert_allclose(np.cov(codes.T), np.eye(3), atol=1e-7)
    carrier = white.decoder.get("linear", white.decoder["coefs"][0])
    gram = carrier @ carrier.T
    np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-7 * gram.max())
    assert (np.diff(np.diag(gram)) <= 1e-9).all()
    strongest = np.abs(carrier).argmax(axis=1)
    assert (carrier[range(3), strongest] > 0).all()
    np.testing.assert_allclose(
        white.decode(codes), network.decode(network.encode(X)), rtol=1e-7, atol=1e-7
    )


def test_symmetric_whitening_turns_the_code_as_little_as_possible():
    network = random_network((4,))
    codes = network.encode(correlated_rows())
    to_code, from_code = network.whitening(np.cov(codes.T), canonical=False)
    np.testing.assert_allclose(np.cov((codes @ to_code).T), np.eye(3), atol=1e-7)
    np.testing.assert_allclose(to_code, to_code.T)
    np.testing.assert_allclose(to_code @ from_code, np.eye(3), atol=1e-9)


def test_canonical_code_of_a_code_that_does_not_vary_is_finite():
    network = random_network((4,))
    white = network.recode(*network.whitening(np.diag([4.0, 0.0, 0.0])), np.zeros(3))
    X = correlated_rows()
    assert np.isfinite(white.encode(X)).all()
    np.testing.assert_allclose(
        white.decode(white.encode(X)), network.decode(network.encode(X)), rtol=1e-9
    )


def test_restart_has_unit_directions():
    network = random_network((4,))
    rescaled = network.rescale_code(1 / network.direction_norms())
    np.testing.assert_allclose(np.linalg.norm(rescaled.encoder["linear"], axis=0), 1)


@pytest.mark.parametrize(("n_samples", "n_features", "k"), [(3, 8, 6), (1, 4, 4), (50, 5, 5)])
def test_components_are_orthonormal_even_where_rows_are_few(n_samples, n_features, k):
    X = np.random.default_rng(0).normal(size=(n_samples, n_features))
    components, std = components_of(X, k)
    np.testing.assert_allclose(components @ components.T, np.eye(k), atol=1e-10)
    assert std.shape == (k,)
    assert (std[n_samples - 1 :] < 1e-10).all()


@pytest.mark.parametrize("shape", [(60, 7), (1600, 1550), (60, 100)])
def test_components_of_sparse_rows_are_those_of_dense_ones(shape):
    rng = np.random.default_rng(0)
    X = rng.normal(size=shape) * (rng.random(shape) < 0.1)
    X[:, :3] *= [[30, 20, 10]]
    dense, dense_std = components_of(X, 3)
    sparse, sparse_std = components_of(csr_array(X), 3)
    np.testing.assert_allclose(sparse, dense, atol=1e-6)
    np.testing.assert_allclose(sparse_std, dense_std, rtol=1e-6)


def test_share_of_variance_is_reached_and_not_passed_by_far():
    X = correlated_rows()
    ratios = PCA().fit(X).explained_variance_ratio_.cumsum()
    components, _ = components_of(X, 0.9)
    assert ratios[len(components) - 1] >= 0.9 > ratios[len(components) - 2]


@given(
    arrays(np.float64, st.tuples(st.integers(1, 30), st.integers(1, 4)), elements=st.integers(0, 3))
)
def test_tied_bounds_hold_every_row_and_sit_on_data(X):
    low, high = bounds_of(X)
    assert (low <= X).all()
    assert (high >= X).all()
    needed = max(3, 0.1 * len(X))
    for bound, extreme in ((low, X.min(axis=0)), (high, X.max(axis=0))):
        ties = (extreme == X).sum(axis=0)
        np.testing.assert_array_equal(np.isfinite(bound), ties >= needed)
        np.testing.assert_array_equal(bound[np.isfinite(bound)], extreme[ties >= needed])
    for side, sparse_side in zip((low, high), bounds_of(csr_array(X)), strict=True):
        np.testing.assert_array_equal(side, sparse_side)


def test_long_tails_get_no_bounds():
    X = np.random.default_rng(0).lognormal(size=(10_000, 3))
    low, high = tied_bounds(X, np.arange(10_000), min_ties=5, min_share=1e-3)
    assert np.isinf(low).all()
    assert np.isinf(high).all()


def test_bounds_move_out_to_rows_that_exceed_them():
    low, high = np.zeros(7), np.ones(7)
    low[3], high[4] = -np.inf, np.inf
    network = random_network(())._replace(low=low, high=high)
    X = np.full((2, 7), 0.5)
    X[0, 1], X[1, 2], X[0, 3], X[0, 4] = -1, 2, -9, 9
    for rows in (X, csr_array(X)):
        roomy = network.with_room_for(rows)
        np.testing.assert_array_equal(roomy.low, [0, -1, 0, -np.inf, 0, 0, 0])
        np.testing.assert_array_equal(roomy.high, [1, 1, 2, 1, np.inf, 1, 1])


@pytest.mark.parametrize("hidden", [(), (5,), (9, 4)])
def test_another_scale_changes_the_weights_and_not_the_network(hidden):
    network, X = random_network(hidden), correlated_rows()
    other = network.rescaled(1.0)
    assert other.scale == 1
    np.testing.assert_allclose(other.encode(X), network.encode(X), rtol=1e-9, atol=1e-9)
    codes = network.encode(X)
    np.testing.assert_allclose(other.decode(codes), network.decode(codes), rtol=1e-9, atol=1e-9)


def test_axes_from_a_subset_are_turned_to_those_of_all_rows(monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 40)) * np.r_[9, 7, 5, 4, np.ones(36)]
    X -= X.mean(axis=0)
    X = X @ np.linalg.qr(rng.normal(size=(40, 40)))[0]
    pca = PCA(4).fit(X)
    monkeypatch.setattr(_network, "_MAX_COVARIANCE_FEATURES", 0)
    monkeypatch.setattr(_network, "_MAX_PCA_NUMBERS", 40 * 100)
    components, std = components_of(X, 4)
    np.testing.assert_allclose(components @ components.T, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(components, pca.components_, atol=0.01)
    np.testing.assert_allclose(std, np.sqrt(pca.explained_variance_), rtol=1e-3)
    monkeypatch.setattr(_network, "_subspace_iterations", lambda axes, *_: (axes, np.ones(4)))
    of_the_subset, _ = components_of(X, 4)
    assert np.abs(of_the_subset - pca.components_).max() > 0.05
