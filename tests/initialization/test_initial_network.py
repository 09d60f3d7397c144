"""Initial networks: statistics of the table, PCA, bounds, initial weights."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_array
from scipy.spatial.distance import pdist
from sklearn.decomposition import PCA

from skae._data.table import Table
from skae._initialization.architecture import Architecture
from skae._initialization.bounds import given_bounds, tied_bounds
from skae._initialization.initial_network import (
    first_network,
    init_from_pca,
    init_random,
    warm_start_network,
)
from skae._initialization.pca import code_size, principal_components
from skae._initialization.row_space import RowSpace
from skae._initialization.statistics import location_and_scale
from skae._networks.network import Autoencoder

from ..data.test_table import on_workers
from ..networks.test_network import components_of, correlated_rows, every_array, random_network


def bounds_of(X):
    return tied_bounds(Table(X), min_ties=3, min_share=0.2)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("container", [np.array, csr_array])
def test_location_and_scale_are_those_of_the_selected_rows(container, dtype):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2**18, 6)).astype(dtype) + np.arange(6, dtype=dtype)
    rows = np.flatnonzero(rng.random(len(X)) < 0.9)  # several blocks
    mean, scale = location_and_scale(Table(container(X), rows=rows))
    assert mean.dtype == np.float64
    np.testing.assert_allclose(mean, X[rows].mean(axis=0, dtype=np.float64), atol=1e-12)
    variance = X[rows].var(axis=0, dtype=np.float64).mean()
    assert scale == pytest.approx(np.sqrt(variance), rel=1e-9)
    assert isinstance(scale, float)
    assert location_and_scale(Table(container(X[:1])))[1] == 1


@pytest.mark.parametrize("offset", [1e9, -1e15])
def test_large_means_do_not_reduce_the_precision_of_the_scale(offset):
    X = offset + np.random.default_rng(0).integers(-50, 50, size=(500, 3)).astype(float)
    mean, scale = location_and_scale(Table(X))
    np.testing.assert_allclose(mean - offset, (X - offset).mean(axis=0), atol=abs(offset) * 1e-15)
    assert scale == pytest.approx(np.sqrt((X - offset).var(axis=0).mean()), rel=1e-12)


def test_a_distant_first_row_hardly_reduces_the_precision():
    X = np.random.default_rng(0).normal(size=(500, 3))
    X[0] = 1e4
    mean, scale = location_and_scale(Table(X))
    np.testing.assert_allclose(mean, X.mean(axis=0), rtol=1e-9)
    assert scale == pytest.approx(np.sqrt(X.var(axis=0).mean()), rel=1e-9)


@pytest.mark.parametrize(
    ("size", "dtype", "message"),
    [
        (1e160, "f8", "squares overflow: divide it by a constant"),
        (1e38, "f4", r"near the limits of its type, float32: convert it to float64"),
        (1e-38, "f4", r"near the limits of its type, float32: convert it to float64"),
    ],
)
def test_numbers_that_overflow_in_training_are_an_error(size, dtype, message):
    X = size * np.array([[1, -1], [-1, 1], [0, 0.5]])
    with pytest.raises(ValueError, match=message):
        location_and_scale(Table(X.astype(dtype)))
    location_and_scale(Table(X / size))
    if dtype == "f4":
        assert location_and_scale(Table(X))[1] == pytest.approx(size, rel=0.5)


def test_given_bounds_are_broadcast_to_the_features():
    X = np.zeros((3, 4), dtype=np.float32)
    free = np.full(4, np.inf)
    for bounds, expected in (
        (None, (-free, free)),
        ("auto", (-free, free)),
        ((None, None), (-free, free)),
        ((0, None), (np.zeros(4), free)),
        ((None, [1, 2, 3, 4]), (-free, np.array([1, 2, 3, 4]))),
        (([-1] * 4, 1e99), (-np.ones(4), free)),
    ):
        for side, wanted in zip(given_bounds(bounds, Table(X)), expected, strict=True):
            assert side.dtype == np.float32
            assert side.flags.writeable
            np.testing.assert_array_equal(side, wanted)
    assert given_bounds((0, 1), Table(np.zeros((3, 4), dtype=np.uint8)))[0].dtype == np.float64


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
def test_invalid_bounds_are_an_error(bounds, message):
    with pytest.raises(ValueError, match=message):
        given_bounds(bounds, Table(np.zeros((3, 4))))


@pytest.mark.parametrize("hidden", [(), (5,), (9, 4)])
def test_starts_at_pca(hidden):
    X = correlated_rows()
    pca = PCA(3).fit(X)
    components, std = components_of(X, 3)
    bounds = np.repeat([[-np.inf], [np.inf]], 7, axis=1)
    params = init_from_pca(components, std, [7, *hidden, 3], np.random.default_rng(0))
    activations = ("silu", "identity", "identity")
    network = Autoencoder(
        params=params, offset=X.mean(axis=0), scale=1.0, bounds=bounds, activations=activations
    )
    np.testing.assert_allclose(network.encode(X), pca.transform(X), atol=1e-12)
    np.testing.assert_allclose(
        network.decode(network.encode(X)), pca.inverse_transform(pca.transform(X)), atol=1e-12
    )
    np.testing.assert_allclose(std, np.sqrt(pca.explained_variance_))


def test_initial_hidden_units_have_unit_scale_for_any_scale_of_the_code():
    rng = np.random.default_rng(0)
    for scale in (1e-3, 1e3):
        params = init_from_pca(np.eye(20, 400), np.full(20, scale), [400, 2000, 1000, 20], rng)
        halves = (params["encoder"], params["decoder"])
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


def test_initial_params_have_the_layout_of_training():
    for hidden in ((), (9, 4)):
        sizes = [7, *hidden, 3]
        params = init_from_pca(np.eye(3, 7), np.ones(3), sizes, np.random.default_rng(0))
        assert set(params) == {"encoder", "decoder"}
        for half in params.values():
            arrays = [*half["coefs"], *half["intercepts"], half.get("linear", half["coefs"][0])]
            assert all(a.flags.c_contiguous for a in arrays)


def test_a_code_that_varies_by_rounding_only_has_finite_initial_weights():
    std = np.array([1e-38], dtype=np.float32)
    params = init_from_pca(np.eye(1, 7), std, [7, 5, 1], np.random.default_rng(0))
    assert np.abs(params["decoder"]["coefs"][0]).max() < 10


def test_normal_initialisation_is_that_of_the_tutorial():
    rng = np.random.default_rng(0)
    params = init_random("normal", [784, 128, 64], rng)
    encoder, decoder = params["encoder"], params["decoder"]
    assert [c.shape for c in encoder["coefs"] + decoder["coefs"]] == [
        (784, 128),
        (128, 64),
        (64, 128),
        (128, 784),
    ]
    for drawn in (encoder["coefs"][0], decoder["intercepts"][-1]):
        assert 0.045 < drawn.std() < 0.055
        assert abs(drawn.mean()) < 0.01


def test_glorot_initialisation_has_its_variance_and_zero_intercepts():
    sizes, rng = [300, 200, 5], np.random.default_rng(0)
    encoder = init_random("glorot", sizes, rng)["encoder"]
    assert encoder["coefs"][0].var() == pytest.approx(2 / 500, rel=0.05)
    assert not encoder["intercepts"][0].any()
    assert "linear" not in encoder


@pytest.mark.parametrize(
    ("n_samples", "n_features", "k"), [(3, 8, 6), (1, 4, 4), (2, 4, 4), (50, 5, 5), (50, 5, 1)]
)
def test_components_are_orthonormal_also_with_few_rows(n_samples, n_features, k):
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
def test_directions_without_variation_have_variance_zero(shape, rank):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(shape[0], rank)) @ rng.normal(size=(rank, shape[1])) / 100
    for limits in ({}, {"max_covariance_features": 0, "max_entries": 1}):
        components, std = components_of(X, 7, **limits)
        np.testing.assert_allclose(components @ components.T, np.eye(7), atol=1e-10)
        np.testing.assert_allclose(std[rank:], 0, atol=1e-8)
        assert std[:rank].min(initial=1) > 1e-3


@pytest.mark.parametrize("features", [1500, 0])
def test_components_have_the_type_of_the_table(features):
    limits = {"max_covariance_features": features, "max_entries": 7 * 40}
    for dtype in (np.float32, np.float64):
        components, std = components_of(correlated_rows().astype(dtype), 3, **limits)
        assert components.dtype == std.dtype == dtype


def test_components_from_many_blocks_equal_those_from_one_block():
    X = correlated_rows(2**18)  # almost two million entries
    X -= X.mean(axis=0)
    pca = PCA(3).fit(X)
    components, std = components_of(X, 3)
    np.testing.assert_allclose(components, pca.components_, atol=1e-9)
    np.testing.assert_allclose(std, np.sqrt(pca.explained_variance_))


@pytest.mark.parametrize("shape", [(60, 7), (1600, 1550), (60, 100)])
def test_components_of_sparse_rows_equal_those_of_dense_rows(shape):
    rng = np.random.default_rng(0)
    X = rng.normal(size=shape) * (rng.random(shape) < 0.1)
    X[:, :3] *= [[30, 20, 10]]
    dense, dense_std = components_of(X, 3)
    sparse, sparse_std = components_of(csr_array(X), 3)
    np.testing.assert_allclose(sparse, dense, atol=1e-6)
    np.testing.assert_allclose(sparse_std, dense_std, rtol=1e-6)


def test_a_fraction_of_the_variance_gives_the_smallest_sufficient_number():
    X = correlated_rows()
    ratios = PCA().fit(X).explained_variance_ratio_.cumsum()
    components, _ = components_of(X, 0.9)
    assert ratios[len(components) - 1] >= 0.9 > ratios[len(components) - 2]
    assert len(components_of(X, (ratios[-2] + 1) / 2)[0]) == 7


def test_a_subset_has_enough_rows_for_the_components():
    X = np.random.default_rng(0).normal(size=(50, 60)) * np.r_[np.full(10, 30), np.ones(50)]
    X -= X.mean(axis=0)
    components, std = components_of(X, 10, max_entries=1)
    np.testing.assert_allclose(std, PCA(10).fit(X).explained_variance_ ** 0.5, rtol=1e-4)
    np.testing.assert_array_equal(components_of(X, 10, max_entries=1)[0], components)
    assert len(components_of(X, 0.5, max_entries=1)[0]) == 1  # the subset has two rows


@given(
    arrays(np.float64, st.tuples(st.integers(1, 30), st.integers(1, 4)), elements=st.integers(0, 3))
)
def test_tied_bounds_contain_all_rows_and_are_values_of_rows(X):
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
    low, high = tied_bounds(Table(X), min_ties=3, min_share=0)
    np.testing.assert_array_equal(low, [-np.inf, -np.inf, -9])
    np.testing.assert_array_equal(high, [9, 9, np.inf])
    X[-1] = 0
    low, high = tied_bounds(Table(X), min_ties=3, min_share=0)
    assert np.isinf([low, high]).all()


def test_long_tails_get_no_bounds():
    X = np.random.default_rng(0).lognormal(size=(10_000, 3))
    low, high = tied_bounds(Table(X), min_ties=5, min_share=1e-3)
    assert np.isinf(low).all()
    assert np.isinf(high).all()


def test_automatic_bounds_are_widened_to_new_rows():
    low, high = np.zeros(7), np.ones(7)
    low[3], high[4] = -np.inf, np.inf
    network = replace(random_network(()), bounds=np.stack([low, high]))
    X = np.full((2, 7), 0.5)
    X[0, 1], X[1, 2], X[0, 3], X[0, 4] = -1, 2, -9, 9
    for rows in (X, csr_array(X)):
        widened = warm_start_network(network, 1.7, "auto", Table(rows))
        np.testing.assert_array_equal(widened.bounds[0], [0, -1, 0, -np.inf, 0, 0, 0])
        np.testing.assert_array_equal(widened.bounds[1], [1, 1, 2, 1, np.inf, 1, 1])


def test_given_bounds_replace_those_of_the_fitted_network():
    network = replace(random_network(()), bounds=np.repeat([[0.0], [1.0]], 7, axis=1))
    X = np.full((2, 7), 9.0)
    for bounds, (low, high) in ((None, (-np.inf, np.inf)), ((2, None), (2, np.inf))):
        again = warm_start_network(network, 1.7, bounds, Table(X))
        np.testing.assert_array_equal(again.bounds[0], np.full(7, low))
        np.testing.assert_array_equal(again.bounds[1], np.full(7, high))


@pytest.mark.parametrize("hidden", [(), (4,)])
def test_a_warm_start_has_unit_directions_and_the_same_output(hidden):
    network, X = random_network(hidden), correlated_rows()
    norms = network.rescaled(2.5).direction_norms()
    again = warm_start_network(network, 2.5, None, Table(X))
    assert again.scale == 2.5
    np.testing.assert_allclose(np.linalg.norm(again.linear_path(), axis=0), 1)
    np.testing.assert_allclose(again.encode(X) * norms, network.encode(X), atol=1e-9)
    np.testing.assert_allclose(again.decode(again.encode(X)), network.decode(network.encode(X)))


@pytest.mark.parametrize("number", [1e160, -1e160])
@pytest.mark.parametrize("bounds", ["auto", None])
def test_rows_whose_squares_overflow_are_an_error_in_a_warm_start(number, bounds):
    X = np.zeros((3, 7))
    X[1, 2] = number
    with pytest.raises(ValueError, match="squares overflow"):
        warm_start_network(random_network(()), 1.7, bounds, Table(X))
    X[1, 2] /= 1e20
    assert warm_start_network(random_network(()), 1.7, bounds, Table(X)).is_finite()
    single = random_network(()).astype(np.float32)
    assert warm_start_network(
        single, 1.7, bounds, Table(np.full((3, 7), 3e38, dtype="f"))
    ).is_finite()


def test_randomised_solvers_are_given_the_random_state():
    X = np.random.default_rng(0).normal(size=(600, 1600))  # a randomised solver
    np.testing.assert_array_equal(components_of(X, 5)[0], components_of(X, 5)[0])


def test_a_fraction_that_is_exactly_reached_gives_the_number_of_pca():
    X = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    expected = PCA(0.5, svd_solver="full").fit(X).n_components_
    assert len(components_of(X, 0.5)[0]) == expected == 2


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(("n_rows", "n_features"), [(200, 9), (12, 20)])
def test_axes_of_other_columns_are_found_beside_a_huge_column(n_rows, n_features, dtype):
    rng = np.random.default_rng(0)
    others = rng.normal(size=(n_rows, 2)) @ rng.normal(size=(2, n_features - 1))
    table = Table(np.column_stack([1e8 * rng.normal(size=n_rows), others]).astype(dtype))
    table = table.standardised(*location_and_scale(table))
    components, _ = principal_components(table, 3, seed=0)
    rows = table.take(slice(None)).astype(float)
    missed = rows - rows @ components.T @ components
    assert np.square(missed[:, 1:]).sum() < 0.01 * np.square(rows[:, 1:]).sum()


def test_axes_along_which_no_row_varies_do_not_depend_on_rounding_errors():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 3)) @ rng.normal(size=(3, 8))
    for rows in (X, X[:6]):
        tables = [Table(part - rows.mean(axis=0)) for part in (rows, rows[::-1])]
        first, second = (principal_components(table, 6, seed=0)[0] for table in tables)
        np.testing.assert_allclose(first, second, atol=1e-9)


def test_axes_from_a_subset_are_improved_with_all_rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 400)) * np.r_[9, 7, 5, 4, np.ones(396)]
    X -= X.mean(axis=0)
    X = X @ np.linalg.qr(rng.normal(size=(400, 400)))[0]
    pca = PCA(4).fit(X)
    limits = {"max_covariance_features": 0, "max_entries": 400 * 1000}
    read = []

    class ReadTable(Table):
        def take(self, rows, out=None):
            read.append(rows)
            return super().take(rows, out)

    table = ReadTable(X).standardised(X.mean(axis=0), 1.0)
    components, std = principal_components(table, 4, 0, **limits)
    assert len(np.unique(read[0])) == len(read[0]) == 1000
    np.testing.assert_allclose(components @ components.T, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(components, pca.components_, atol=0.01)
    np.testing.assert_allclose(std, np.sqrt(pca.explained_variance_), rtol=1e-4)
    subset_components = PCA(4).fit(X[read[0]]).components_
    assert np.abs(subset_components - pca.components_).max() > 0.05


def architecture(**changes):
    architecture = Architecture(
        n_components=3,
        hidden_layer_sizes=(5,),
        activations=("silu", "identity", "identity"),
        bounds="auto",
    )
    return replace(architecture, **changes)


def test_the_initial_network_is_pca_of_the_table(bounded_rows):
    X, pca = bounded_rows, PCA(3).fit(bounded_rows)
    network = first_network(Table(X), architecture(), 0)
    codes = pca.transform(X)
    np.testing.assert_allclose(network.encode(X) * network.scale, codes, atol=1e-12)
    free = network.without_bounds()
    np.testing.assert_allclose(free.decode(network.encode(X)), pca.inverse_transform(codes))
    np.testing.assert_array_equal(np.isfinite(network.bounds[0]), [True, True, *[False] * 4])
    np.testing.assert_array_equal(np.isfinite(network.bounds[1]), [False, True, *[False] * 4])
    assert (network.bounds[0][:2] == X.min(axis=0)[:2]).all()
    assert network.activations == ("silu", "identity", "identity")
    for other, same in ((0, True), (1, False)):
        coefs = first_network(Table(X), architecture(), other).params["encoder"]["coefs"]
        assert np.array_equal(coefs[0], network.params["encoder"]["coefs"][0]) == same


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("init", ["pca", "glorot", "normal"])
def test_the_initial_network_has_the_dtype_of_the_table(bounded_rows, dtype, init):
    network = first_network(Table(bounded_rows.astype(dtype)), architecture(init=init), 0)
    arrays_ = [*every_array(network), network.offset, network.bounds[0], network.bounds[1]]
    assert all(a.dtype == dtype for a in arrays_)
    assert isinstance(network.scale, float)
    assert network.is_finite()


def test_with_an_output_activation_rows_are_not_centred_or_bounded(bounded_rows):
    activations = ("silu", "identity", "logistic")
    network = first_network(
        Table(bounded_rows), architecture(init="glorot", activations=activations), 0
    )
    assert network.scale == 1
    assert not network.offset.any()
    assert np.isinf([network.bounds[0], network.bounds[1]]).all()


def test_the_initial_network_has_the_given_bounds(bounded_rows):
    network = first_network(Table(bounded_rows), architecture(bounds=(0, None)), 0)
    np.testing.assert_array_equal(network.bounds[0], np.zeros(6))
    np.testing.assert_array_equal(network.bounds[1], np.full(6, np.inf))


@pytest.mark.parametrize("hidden", [(), (5,), (9, 4)])
@pytest.mark.parametrize("init", ["pca", "glorot"])
def test_weights_are_counted_without_the_linear_path(hidden, init, bounded_rows):
    spec = architecture(hidden_layer_sizes=hidden, init=init)
    params = first_network(Table(bounded_rows), spec, 0).params
    counted = sum(coef.size for half in params.values() for coef in half["coefs"])
    assert spec.n_weights(6) == counted


def test_the_number_of_components_is_given_or_computed_from_the_variance():
    X = correlated_rows()
    assert [code_size(Table(X), n, 0) for n in (1, 3, 7, 20)] == [1, 3, 7, 7]
    for share in (0.5, 0.9, 0.99):
        assert code_size(Table(X), share, 0) == PCA(share, svd_solver="full").fit(X).n_components_
    assert isinstance(code_size(Table(X), np.int32(3), 0), int)


@pytest.mark.parametrize("n_workers", [2, 3])
@pytest.mark.parametrize("shape", [(60, 7), (2, 7), (60, 100)])
@pytest.mark.parametrize("init", ["pca", "glorot"])
def test_all_workers_have_the_same_initial_network(n_workers, shape, init):
    X = np.round(correlated_rows(*shape), 1)
    X[:, 0] = X[:, 0].clip(3, None)
    single = first_network(Table(X), architecture(init=init), 0)
    networks = on_workers(
        n_workers,
        lambda workers: first_network(Table(X, workers=workers), architecture(init=init), 0),
    )
    for network in networks:
        for name in ("offset", "bounds"):
            np.testing.assert_allclose(getattr(network, name), getattr(single, name), rtol=1e-12)
        assert network.scale == pytest.approx(single.scale, rel=1e-12)
        for ours, theirs in zip(every_array(network), every_array(single), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-9)
        for ours, theirs in zip(every_array(network), every_array(networks[0]), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("n_workers", [2, 4])
def test_all_workers_have_the_same_warm_start(n_workers):
    low, high = np.zeros(7), np.ones(7)
    network, X = replace(random_network((4,)), bounds=np.stack([low, high])), correlated_rows(3)
    single = warm_start_network(network, 1.7, "auto", Table(X))
    for ours in on_workers(
        n_workers,
        lambda workers: warm_start_network(network, 1.7, "auto", Table(X, workers=workers)),
    ):
        np.testing.assert_array_equal(ours.bounds[0], single.bounds[0])
        np.testing.assert_array_equal(ours.bounds[1], single.bounds[1])
        for a, b in zip(every_array(ours), every_array(single), strict=True):
            np.testing.assert_array_equal(a, b)


# ---- wide tables


def wide_table(dtype=np.float64, n_rows=9, n_features=40):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(n_rows, n_features)) + np.arange(n_features)
    return Table(rows.astype(dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_coordinates_in_the_row_space_preserve_distances(dtype):
    table = wide_table(dtype)
    subspace = RowSpace.from_table(table, architecture(), 8)
    coordinates = subspace.table(table)
    assert coordinates.X.shape == (9, 8)
    assert coordinates.dtype == dtype
    assert coordinates.n_features_in_loss == 40
    tolerance = {"rtol": 1e-4 if dtype == np.float32 else 1e-10}
    np.testing.assert_allclose(pdist(coordinates.X), pdist(table.X), **tolerance)
    np.testing.assert_allclose(coordinates.X.mean(axis=0), 0, atol=1e-5)


@pytest.mark.parametrize("hidden", [(), (5,), (6, 4)])
def test_a_network_of_coordinates_becomes_the_same_network_of_rows(hidden):
    table = wide_table(n_rows=8)
    subspace = RowSpace.from_table(table, architecture(), 7)
    coordinates = subspace.table(table)
    assert coordinates.n_features == 7
    inner = random_network(hidden)
    outer = subspace.embed(inner)
    inner_rows = inner.decode(inner.encode(coordinates.X))
    expected = subspace.origin + inner_rows @ subspace.axes
    np.testing.assert_allclose(outer.decode(outer.encode(table.X)), expected, rtol=1e-9)
    factor = np.sqrt(40 / 7)  # the same variance, over all columns
    assert outer.scale == pytest.approx(inner.scale / factor)
    np.testing.assert_allclose(outer.encode(table.X), inner.encode(coordinates.X) * factor)
    assert np.isinf(outer.bounds).all()


@pytest.mark.parametrize("n_training", [6, 8, 9])
def test_imputation_models_from_rows_and_from_their_coordinates_are_equal(n_training):
    table, training = wide_table(), slice(n_training)
    subspace = RowSpace.from_table(table, architecture(), 8)
    coordinates = subspace.table(table)
    inner = first_network(coordinates.select(training), architecture(), 0)
    of_coordinates = subspace.embed(inner).imputer
    of_rows = first_network(table.select(training), architecture(), 0).imputer
    incomplete = table.X.copy()
    incomplete[np.arange(9), np.arange(9)] = np.nan
    np.testing.assert_allclose(of_coordinates(incomplete), of_rows(incomplete), rtol=1e-9)


@pytest.mark.parametrize(
    ("table", "changes"),
    [
        (Table(np.random.default_rng(0).normal(size=(41, 40))), {}),
        (wide_table(), {"init": "glorot"}),
        (wide_table(), {"n_components": 10}),
        (wide_table(), {"n_components": 8, "bounds": (0, None)}),
    ],
    ids=["more rows than columns", "plain stack", "larger code", "larger code and bounds"],
)
def test_there_is_no_subspace_to_train_in_for_others(table, changes):
    assert RowSpace.from_table(table, architecture(**changes), 8) is None
    assert RowSpace.from_table(wide_table(), architecture(), 8) is not None


def test_small_networks_with_bounds_are_decoded_in_all_columns():
    rng = np.random.default_rng(0)
    clipped = Table(rng.normal(size=(9, 40)).clip(0, None))
    assert not RowSpace.from_table(clipped, architecture(), 8).trains_decoder
    assert not RowSpace.from_table(wide_table(), architecture(bounds=(0, None)), 8).trains_decoder
    assert RowSpace.from_table(clipped, architecture(bounds=None), 8).trains_decoder
    large = architecture(hidden_layer_sizes=(2**15,))
    assert RowSpace.from_table(clipped, large, 8).trains_decoder


def test_the_bounds_are_applied_to_rows_in_all_columns():
    clipped = Table(np.random.default_rng(0).normal(size=(8, 40)).clip(0, None))
    spec = architecture(hidden_layer_sizes=(2**15,))
    subspace = RowSpace.from_table(clipped, spec, 7)
    network = random_network((5,))
    assert (subspace.embed(network).bounds[0] == 0).any()
    assert np.isinf(subspace.embed(network, is_pca=True).bounds).all()  # no automatic bounds
    bounded = RowSpace.from_table(clipped, replace(spec, bounds=(0, None)), 7)
    assert (bounded.embed(network, is_pca=True).bounds[0] == 0).all()


@pytest.mark.parametrize("form", [np.asarray, csr_array])
@pytest.mark.parametrize(("ratio", "mean"), [(1.0, 0.1), (1e-5, 0.1), (1e-9, 0.1), (1.0, 1e6)])
def test_axes_are_orthonormal_and_principal_for_all_variances_and_means(form, ratio, mean):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(9, 9)) * np.geomspace(1, ratio, 9) @ rng.normal(size=(9, 40)) + mean
    subspace = RowSpace.from_table(Table(form(rows)), architecture(), 8)
    axes, coordinates = subspace.axes, subspace.coordinates
    np.testing.assert_allclose(axes @ axes.T, np.eye(len(axes)), atol=1e-8)
    np.testing.assert_allclose(subspace.origin + coordinates @ axes, rows, atol=1e-9)
    covariance = coordinates.T @ coordinates
    variances = covariance.diagonal()
    assert (np.diff(variances) < 0).all()
    np.testing.assert_allclose(
        covariance / variances[0], np.diag(variances / variances[0]), atol=1e-9
    )
    expected = np.linalg.svd(rows - rows.mean(axis=0))[1][: len(axes)] ** 2
    np.testing.assert_allclose(variances, expected, rtol=1e-4)


@pytest.mark.parametrize("form", [np.asarray, csr_array])
def test_axes_have_the_signs_of_pca(form):
    rows = wide_table().X
    subspace = RowSpace.from_table(Table(form(rows)), architecture(), 8)
    pca = PCA(8).fit(rows)
    np.testing.assert_allclose(subspace.axes, pca.components_, atol=1e-9)
    np.testing.assert_allclose(subspace.coordinates, pca.transform(rows), atol=1e-9)


@pytest.mark.parametrize("form", [np.asarray, csr_array])
def test_equal_rows_have_orthonormal_axes_too(form):
    rows = np.repeat(wide_table().X, 2, axis=0)
    subspace = RowSpace.from_table(Table(form(rows)), architecture(), 16)
    axes, coordinates = subspace.axes, subspace.coordinates
    assert len(axes) == 17
    np.testing.assert_allclose(axes @ axes.T, np.eye(17), atol=1e-12)
    np.testing.assert_allclose(coordinates[:, 8:], 0, atol=1e-12)
    np.testing.assert_allclose(subspace.origin + coordinates @ axes, rows, atol=1e-12)
