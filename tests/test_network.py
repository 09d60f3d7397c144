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
    given_bounds,
    location_and_scale,
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
    return tied_bounds(X, np.arange(X.shape[0]), min_ties=3, min_share=0.2)


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


def every_array(network):
    halves = (network.encoder, network.decoder)
    return [a for h in halves for name in h for a in (h[name] if name != "linear" else [h[name]])]


def silu(x):
    return x / (1 + np.exp(-x))


def test_computes_the_layers_beside_the_linear_path():
    rng = np.random.default_rng(0)
    network = random_network((9, 4))._replace(
        low=np.full(7, -1.0), high=np.full(7, 2.0), activations=("silu", "tanh", "identity")
    )
    X = correlated_rows()
    layers = list(zip(network.encoder["coefs"], network.encoder["intercepts"], strict=True))
    x = (X - network.offset) / 1.7
    hidden = x
    for coef, intercept in layers[:-1]:
        hidden = silu(hidden @ coef + intercept)
    codes = np.tanh(hidden @ layers[-1][0] + layers[-1][1] + x @ network.encoder["linear"])
    np.testing.assert_allclose(network.encode(X), codes)
    codes = rng.normal(size=codes.shape)
    layers = list(zip(network.decoder["coefs"], network.decoder["intercepts"], strict=True))
    hidden = codes
    for coef, intercept in layers[:-1]:
        hidden = silu(hidden @ coef + intercept)
    rows = hidden @ layers[-1][0] + layers[-1][1] + codes @ network.decoder["linear"]
    rows = rows * 1.7 + network.offset
    assert (rows < -1).any()
    assert (rows > 2).any()
    np.testing.assert_allclose(network.decode(codes), rows.clip(-1, 2))


def test_errors_in_scaled_units_are_those_of_the_rows():
    network, X = random_network((5,)), correlated_rows()
    network = network._replace(low=np.full(7, -1.0), high=np.full(7, 2.0))
    expected = ((X - network.decode(network.encode(X))) ** 2).sum(axis=1)
    np.testing.assert_allclose(network.squared_errors(X), expected)
    np.testing.assert_allclose(network.squared_errors(X, unit=3.0), expected / 9)
    scaled = network.in_scaled_units()
    assert all(a.dtype == np.float32 for a in every_array(scaled))
    rows = ((X - network.offset) / 1.7).astype(np.float32)
    assert scaled.encode(rows).dtype == scaled.decode(scaled.encode(rows)).dtype == np.float32
    np.testing.assert_allclose(scaled.squared_errors(rows) * 1.7**2, expected, rtol=1e-4)


def test_another_float_type_changes_nothing_else():
    network = random_network((5,))
    low, high = np.full(7, -1e99), np.full(7, 2.0)
    network = network._replace(low=low, high=high)
    single = network.astype(np.float32)
    assert all(a.dtype == np.float32 for a in every_array(single))
    for ours, theirs in zip(every_array(single), every_array(network), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert single.offset.dtype == single.low.dtype == single.high.dtype == np.float32
    np.testing.assert_allclose(single.offset, network.offset, rtol=1e-6)
    np.testing.assert_array_equal(single.low, -np.inf)
    np.testing.assert_array_equal(single.high, high)
    assert (single.scale, single.activations) == (network.scale, network.activations)
    same = network.astype(np.float64)
    assert all(map(np.shares_memory, every_array(same), every_array(network)))
    assert all(getattr(same, n) is getattr(network, n) for n in ("offset", "low", "high"))


@pytest.mark.parametrize("half", ["encoder", "decoder"])
@pytest.mark.parametrize("name", ["coefs", "intercepts", "linear"])
def test_any_weight_that_is_no_number_is_noticed(half, name):
    network = random_network((5,))
    assert network.is_finite()
    arrays = getattr(network, half)[name]
    for number in (np.nan, np.inf):
        (arrays[-1] if isinstance(arrays, list) else arrays)[..., -1] = number
        assert not network.is_finite()


def test_without_bounds_every_feature_is_free():
    network = random_network(())._replace(low=np.zeros(7), high=np.ones(7))
    free = network.without_bounds()
    np.testing.assert_array_equal(free.low, -np.inf)
    np.testing.assert_array_equal(free.high, np.inf)
    assert free.low.dtype == free.high.dtype == np.float64


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("container", [np.array, csr_array])
def test_location_and_scale_are_those_of_the_rows_that_count(container, dtype):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2**18, 6)).astype(dtype) + np.arange(6, dtype=dtype)
    rows = np.flatnonzero(rng.random(len(X)) < 0.9)  # several blocks
    mean, scale = location_and_scale(container(X), rows)
    assert mean.dtype == np.float64
    np.testing.assert_allclose(mean, X[rows].mean(axis=0, dtype=np.float64), atol=1e-12)
    variance = X[rows].var(axis=0, dtype=np.float64).mean()
    assert scale == pytest.approx(np.sqrt(variance), rel=1e-9)
    assert isinstance(scale, float)
    assert location_and_scale(container(X[:1]), np.array([0]))[1] == 1


def test_given_bounds_are_broadcast_to_the_features():
    X = np.zeros((3, 4), dtype=np.float32)
    free = np.full(4, np.inf)
    for bounds, expected in (
        (None, (-free, free)),
        ((None, None), (-free, free)),
        ((0, None), (np.zeros(4), free)),
        ((None, [1, 2, 3, 4]), (-free, np.array([1, 2, 3, 4]))),
        (([-1] * 4, 1e99), (-np.ones(4), free)),
    ):
        for side, wanted in zip(given_bounds(bounds, X), expected, strict=True):
            assert side.dtype == np.float32
            assert side.flags.writeable
            np.testing.assert_array_equal(side, wanted)
    assert given_bounds((0, 1), np.zeros((3, 4), dtype=np.uint8))[0].dtype == np.float64


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ((0, 1, 2), r"a pair \(low, high\), got \(0, 1, 2\)"),
        ((0, [1, 2]), r"shape \(n_features,\) = \(4,\), got \(0, \[1, 2\]\)"),
        (("low", 1), r"Each side of bounds must be None, a number or an array"),
        ((1, 1), r"low < high for each feature, got \(1, 1\)"),
        ((0, [1, 1, 0, 1]), r"low < high for each feature"),
        ((np.nan, 1), r"low < high for each feature"),
    ],
    ids=str,
)
def test_bounds_that_cannot_be_are_refused(bounds, message):
    with pytest.raises(ValueError, match=message):
        given_bounds(bounds, np.zeros((3, 4)))


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
        halves = start_at_pca(np.eye(20, 400), np.full(20, scale), (2000, 1000), rng)
        inputs = (rng.normal(size=(50, 400)), scale * rng.normal(size=(50, 20)))
        for half, x, sizes in zip(halves, inputs, ((2000, 1000), (1000, 2000)), strict=True):
            for layer, size in enumerate(sizes):
                x = x @ half["coefs"][layer]
                assert x.shape == (50, size)
                assert x.var() == pytest.approx(2, rel=0.2)
                intercept = half["intercepts"][layer]
                assert intercept.shape == (size,)
                assert -1 <= intercept.min() < -0.9 < 0.9 < intercept.max() <= 1
                assert abs(intercept.mean()) < 0.1
                x /= x.std()
            assert not half["coefs"][-1].any()
            assert not half["intercepts"][-1].any()


def test_the_start_has_the_type_of_the_axes_and_the_layout_of_training():
    components = np.eye(3, 7, dtype=np.float32)
    for hidden in ((), (9, 4)):
        for half in start_at_pca(components, np.ones(3), hidden, np.random.default_rng(0)):
            arrays = [*half["coefs"], *half["intercepts"], half.get("linear", half["coefs"][0])]
            assert all(a.dtype == np.float32 for a in arrays)
            assert all(a.flags.c_contiguous for a in arrays)


def test_a_code_that_varies_by_rounding_alone_starts_with_numbers():
    std = np.array([1e-38], dtype=np.float32)
    _, decoder = start_at_pca(np.eye(1, 7, dtype=np.float32), std, (5,), np.random.default_rng(0))
    assert np.abs(decoder["coefs"][0]).max() < 10


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


@pytest.mark.parametrize("size", [1e-12, 1e-25])
def test_a_code_is_white_however_small_unless_it_is_rounding(size):
    network = random_network((4,))
    to_code, _ = network.whitening(size * np.diag([1.0, 2.0, 3.0]))
    expected = np.diag([1, 1 / 2, 1 / 3]) / size if size == 1e-12 else np.eye(3)
    np.testing.assert_allclose(to_code @ to_code.T, expected, rtol=1e-9, atol=1e-9 / size)


@pytest.mark.parametrize("hidden", [(), (4,)])
def test_restart_has_unit_directions(hidden):
    network, X = random_network(hidden), correlated_rows()
    rescaled = network.rescale_code(1 / network.direction_norms())
    np.testing.assert_allclose(np.linalg.norm(rescaled.linear_path(), axis=0), 1)
    np.testing.assert_allclose(
        rescaled.decode(rescaled.encode(X)), network.decode(network.encode(X))
    )


def test_directions_without_a_length_count_as_one():
    network = random_network((4,))
    network.encoder["linear"][:, 1] = 0
    assert network.direction_norms()[1] == 1
    stack = random_network((4,), linear=False)
    assert stack.linear_path() is None
    np.testing.assert_array_equal(stack.direction_norms(), np.ones(3))


@pytest.mark.parametrize(
    ("n_samples", "n_features", "k"), [(3, 8, 6), (1, 4, 4), (2, 4, 4), (50, 5, 5), (50, 5, 1)]
)
def test_components_are_orthonormal_even_where_rows_are_few(n_samples, n_features, k):
    X = np.random.default_rng(0).normal(size=(n_samples, n_features))
    components, std = components_of(X, k)
    np.testing.assert_allclose(components @ components.T, np.eye(k), atol=1e-10)
    assert std.shape == (k,)
    assert (std[n_samples - 1 :] < 1e-10).all()
    if n_samples > 1:
        known = min(n_samples, n_features, k)
        np.testing.assert_allclose(
            std[:known], PCA(known).fit(X).explained_variance_ ** 0.5, atol=1e-7
        )
    again, _ = components_of(X, k)
    np.testing.assert_array_equal(again, components)


@pytest.mark.parametrize("shape", [(60, 7), (6, 9)])
@pytest.mark.parametrize("rank", [0, 2])
def test_directions_in_which_nothing_varies_have_no_variance(shape, rank, monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(shape[0], rank)) @ rng.normal(size=(rank, shape[1])) / 100
    for numbers in (2**24, 1):
        monkeypatch.setattr(_network, "_MAX_PCA_NUMBERS", numbers)
        components, std = components_of(X, 7)
        np.testing.assert_allclose(components @ components.T, np.eye(7), atol=1e-10)
        np.testing.assert_allclose(std[rank:], 0, atol=1e-8)
        assert std[:rank].min(initial=1) > 1e-3
        monkeypatch.setattr(_network, "_MAX_COVARIANCE_FEATURES", 0)


@pytest.mark.parametrize("features", [1500, 0])
def test_components_have_the_type_of_the_table(features, monkeypatch):
    monkeypatch.setattr(_network, "_MAX_COVARIANCE_FEATURES", features)
    monkeypatch.setattr(_network, "_MAX_PCA_NUMBERS", 7 * 40)
    for dtype in (np.float32, np.float64):
        components, std = components_of(correlated_rows().astype(dtype), 3)
        assert components.dtype == std.dtype == dtype


def test_components_of_many_blocks_of_rows_are_those_of_all():
    X = correlated_rows(2**18)  # almost two million numbers
    X -= X.mean(axis=0)
    pca = PCA(3).fit(X)
    components, std = components_of(X, 3)
    np.testing.assert_allclose(components, pca.components_, atol=1e-9)
    np.testing.assert_allclose(std, np.sqrt(pca.explained_variance_))


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
    assert len(components_of(X, (ratios[-2] + 1) / 2)[0]) == 7


def test_a_subset_holds_enough_rows_for_the_components(monkeypatch):
    monkeypatch.setattr(_network, "_MAX_PCA_NUMBERS", 1)
    X = np.random.default_rng(0).normal(size=(50, 60)) * np.r_[np.full(10, 30), np.ones(50)]
    X -= X.mean(axis=0)
    components, std = components_of(X, 10)
    np.testing.assert_allclose(std, PCA(10).fit(X).explained_variance_ ** 0.5, rtol=1e-4)
    np.testing.assert_array_equal(components_of(X, 10)[0], components)
    assert len(components_of(X, 0.5)[0]) == 1  # of two rows


@given(
    arrays(np.float64, st.tuples(st.integers(1, 30), st.integers(1, 4)), elements=st.integers(0, 3))
)
def test_tied_bounds_hold_every_row_and_sit_on_data(X):
    low, high = bounds_of(X)
    assert (low <= X).all()
    assert (high >= X).all()
    needed = max(3, 0.2 * len(X))
    for bound, extreme in ((low, X.min(axis=0)), (high, X.max(axis=0))):
        ties = (extreme == X).sum(axis=0)
        np.testing.assert_array_equal(np.isfinite(bound), ties >= needed)
        np.testing.assert_array_equal(bound[np.isfinite(bound)], extreme[ties >= needed])
    for other in (csr_array(X), X.astype(np.float32), X.astype(np.uint8)):
        for side, other_side in zip((low, high), bounds_of(other), strict=True):
            np.testing.assert_array_equal(side, other_side)
            assert other_side.dtype == (np.float32 if other.dtype == np.float32 else np.float64)


def test_ties_are_counted_over_all_blocks_of_rows():
    X = np.random.default_rng(0).normal(size=(2**19, 3))
    X[[0, 1, -1]] = [9, 9, -9]  # in the first block and in the last
    low, high = tied_bounds(X, np.arange(2**19), min_ties=3, min_share=0)
    np.testing.assert_array_equal(low, [-np.inf, -np.inf, -9])
    np.testing.assert_array_equal(high, [9, 9, np.inf])
    X[-1] = 0
    low, high = tied_bounds(X, np.arange(2**19), min_ties=3, min_share=0)
    assert np.isinf([low, high]).all()


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


def test_randomised_solvers_are_given_the_random_state():
    X = np.random.default_rng(0).normal(size=(600, 1600))  # PCA draws from some 500 columns on
    np.testing.assert_array_equal(components_of(X, 5)[0], components_of(X, 5)[0])


def test_a_share_that_is_just_reached_is_passed_as_in_pca():
    X = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    expected = PCA(0.5, svd_solver="full").fit(X).n_components_
    assert len(components_of(X, 0.5)[0]) == expected == 2


def test_axes_from_a_subset_are_turned_to_those_of_all_rows(monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 400)) * np.r_[9, 7, 5, 4, np.ones(396)]
    X -= X.mean(axis=0)
    X = X @ np.linalg.qr(rng.normal(size=(400, 400)))[0]
    pca = PCA(4).fit(X)
    monkeypatch.setattr(_network, "_MAX_COVARIANCE_FEATURES", 0)
    monkeypatch.setattr(_network, "_MAX_PCA_NUMBERS", 400 * 1000)
    read, standardise = [], _network.standardise

    def reading(X, rows, *args, **kwargs):
        read.append(rows)
        return standardise(X, rows, *args, **kwargs)

    monkeypatch.setattr(_network, "standardise", reading)
    components, std = components_of(X, 4)
    assert len(np.unique(read[0])) == len(read[0]) == 1000
    np.testing.assert_allclose(components @ components.T, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(components, pca.components_, atol=0.01)
    np.testing.assert_allclose(std, np.sqrt(pca.explained_variance_), rtol=1e-4)
    monkeypatch.setattr(_network, "_subspace_iterations", lambda axes, *_: (axes, np.ones(4)))
    of_the_subset, _ = components_of(X, 4)
    assert np.abs(of_the_subset - pca.components_).max() > 0.05
