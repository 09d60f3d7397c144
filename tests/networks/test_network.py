"""Networks: the forward pass, other units, whitening, bounds."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import optree
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from skae._data.table import Table
from skae._initialization.initial_network import init_from_pca, init_random
from skae._initialization.pca import principal_components
from skae._networks.activations import ACTIVATIONS
from skae._networks.network import Autoencoder, clip, forward, reconstruct


def correlated_rows(n_samples=60, n_features=7, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_samples, n_features)) @ rng.normal(size=(n_features, n_features)) + 3


def components_of(X, n_components, **limits):
    """Return the principal components of centred rows."""
    offset = np.asarray(X.mean(axis=0)).ravel()
    return principal_components(Table(X).standardised(offset, 1.0), n_components, 0, **limits)


def random_network(hidden, n_features=7, n_components=3, linear=True, seed=0):
    """Return a network far from its initial weights."""
    rng = np.random.default_rng(seed)
    components, std = components_of(correlated_rows(), n_components)
    if linear:
        params = init_from_pca(components, std, [n_features, *hidden, n_components], rng)
    else:
        sizes = [n_features, *hidden, n_components]
        params = init_random("glorot", sizes, rng)
    params = optree.tree_map(lambda a: a + 0.3 * rng.normal(size=a.shape), params)
    free = np.full(n_features, np.inf)
    offset = rng.normal(size=n_features)
    return Autoencoder(
        params=params,
        offset=offset,
        scale=1.7,
        bounds=np.stack([-free, free]),
        activations=("silu", "identity", "identity"),
    )


def every_array(network):
    return optree.tree_leaves(network.params)


def layers_of(half):
    return list(zip(half["coefs"], half["intercepts"], strict=True))


def silu(x):
    return x / (1 + np.exp(-x))


def test_the_output_is_the_layers_plus_the_linear_path():
    rng = np.random.default_rng(0)
    network = replace(
        random_network((9, 4)),
        bounds=np.repeat([[-1.0], [2.0]], 7, axis=1),
        activations=("silu", "tanh", "identity"),
    )
    X = correlated_rows()
    encoder, decoder = network.params["encoder"], network.params["decoder"]
    layers = layers_of(encoder)
    x = (X - network.offset) / 1.7
    hidden = x
    for coef, intercept in layers[:-1]:
        hidden = silu(hidden @ coef + intercept)
    codes = np.tanh(hidden @ layers[-1][0] + layers[-1][1] + x @ encoder["linear"])
    np.testing.assert_allclose(network.encode(X), codes)
    codes = rng.normal(size=codes.shape)
    layers = layers_of(decoder)
    hidden = codes
    for coef, intercept in layers[:-1]:
        hidden = silu(hidden @ coef + intercept)
    rows = hidden @ layers[-1][0] + layers[-1][1] + codes @ decoder["linear"]
    rows = rows * 1.7 + network.offset
    assert (rows < -1).any()
    assert (rows > 2).any()
    np.testing.assert_allclose(network.decode(codes), rows.clip(-1, 2))


def test_squared_errors_are_in_units_of_the_squared_scale():
    network, X = random_network((5,)), correlated_rows()
    network = replace(network, bounds=np.repeat([[-1.0], [2.0]], 7, axis=1))
    expected = ((X - network.decode(network.encode(X))) ** 2).sum(axis=1)
    np.testing.assert_allclose(network.squared_errors(X) * 1.7**2, expected)
    for scale in (1.0, 3.0):
        errors = network.rescaled(scale).squared_errors(X)
        np.testing.assert_allclose(errors * scale**2, expected)
    single = network.with_params_in(np.float32)
    assert single.dtype == np.float32
    assert all(a.dtype == np.float32 for a in every_array(single))
    assert single.offset.dtype == single.bounds.dtype == np.float64
    errors = single.squared_errors(X)
    assert errors.dtype == np.float64
    np.testing.assert_allclose(errors * 1.7**2, expected, rtol=1e-4)


def test_the_forward_pass_is_in_the_precision_of_the_params():
    X = correlated_rows()
    for dtype in (np.float32, np.float64):
        network = random_network((5,)).with_params_in(dtype)
        for rows in (X, X.astype(np.float32)):
            before = rows.copy()
            codes = network.encode(rows)
            assert network.dtype == network.standardise(rows).dtype == codes.dtype == dtype
            assert network.decode(codes).dtype == dtype
            np.testing.assert_array_equal(rows, before)


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_rows_are_centred_in_their_own_precision(scale):
    X = 1e9 + np.arange(6.0).reshape(3, 2)
    half = {"coefs": [np.eye(2)], "intercepts": [np.zeros(2)]}
    params = {"encoder": half, "decoder": half}
    free = np.full(2, np.inf)
    network = Autoencoder(
        params=params,
        offset=X.mean(axis=0),
        scale=scale,
        bounds=np.stack([-free, free]),
        activations=3 * ("identity",),
    )
    rows = network.with_params_in(np.float32).standardise(X)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, (X - X.mean(axis=0)) / scale)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_standardised_bounds_are_those_of_standardised_rows(dtype):
    network = random_network(())
    low, high = network.offset - np.arange(1.0, 8), network.offset + 3.4
    low[2], high[4], high[5] = -np.inf, np.inf, 1e99
    standardised = replace(network, bounds=np.stack([low, high])).standardised_bounds(dtype)
    expected_low, expected_high = -np.arange(1.0, 8) / 1.7, np.full(7, 2.0)
    expected_low[2], expected_high[4], expected_high[5] = -np.inf, np.inf, 1e99 / 1.7
    if dtype == np.float32:
        expected_high[5] = np.inf
    for side, expected in zip(standardised, (expected_low, expected_high), strict=True):
        assert side.dtype == dtype
        np.testing.assert_allclose(side, expected, rtol=1e-6)


@pytest.mark.parametrize("distance", [1e15, 1e25, 1e60, 1e140])
@pytest.mark.parametrize("scale", [1.0, 1.7])
def test_errors_that_overflow_in_float32_are_computed_in_double_precision(distance, scale):
    network, X = random_network((5,)).rescaled(scale), correlated_rows()
    far = X.copy()
    far[::7, 2] = distance
    single = network.with_params_in(np.float32)
    errors = single.squared_errors(far)
    assert errors.dtype == np.float64
    assert np.isfinite(errors).all()
    expected = single.with_params_in(np.float64).squared_errors(far)
    # float32 is precise enough if the squares do not overflow: one entry dominates the sum
    np.testing.assert_allclose(errors, expected, rtol=1e-3)
    if distance > 1e20:
        np.testing.assert_allclose(errors[::7], expected[::7], rtol=1e-12)
    near = np.arange(len(X)) % 7 > 0
    np.testing.assert_array_equal(errors[near], single.squared_errors(X)[near])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_errors_beyond_double_precision_are_infinite_without_a_warning(dtype):
    network = random_network((5,)).with_params_in(dtype)
    X = np.full((1, 7), 1e200)
    np.testing.assert_array_equal(network.squared_errors(X), [np.inf])


def test_float32_networks_recompute_overflowing_rows_in_double_precision():
    network, X = random_network((5,)).astype(np.float32), correlated_rows().astype(np.float32)
    X[3, 2] = 1e25
    errors = network.squared_errors(X)
    expected = network.astype(np.float64).squared_errors(X.astype(np.float64))
    assert errors[3] > 1e49
    np.testing.assert_allclose(errors[3], expected[3], rtol=1e-12)


@st.composite
def networks(draw, dtype):
    """Draw params, standardised rows, their bounds and activations."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_features, n_components = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    hidden = draw(st.lists(st.integers(1, 5), max_size=3))
    is_linear, is_bounded = draw(st.booleans()), draw(st.booleans())
    activations = tuple(draw(st.sampled_from(list(ACTIVATIONS))) for _ in range(3))
    sizes, params = [n_features, *hidden, n_components], {}
    for name, layer_sizes in (("encoder", sizes), ("decoder", sizes[::-1])):
        half = {
            "coefs": [rng.normal(size=pair) for pair in pairwise(layer_sizes)],
            "intercepts": [rng.normal(size=size) for size in layer_sizes[1:]],
        }
        if is_linear:
            half["linear"] = rng.normal(size=(layer_sizes[0], layer_sizes[-1]))
        params[name] = half
    rows = 3 * rng.normal(size=(draw(st.integers(1, 9)), n_features))
    low, high = -rng.exponential(size=n_features), rng.exponential(size=n_features)
    low[rng.random(n_features) < 0.3], high[rng.random(n_features) < 0.3] = -np.inf, np.inf
    if not is_bounded:
        low, high = np.full((2, n_features), [[-np.inf], [np.inf]])
    params, rows, bounds = tf.nest.map_structure(
        lambda a: a.astype(dtype), (params, rows, (low, high))
    )
    return params, rows, bounds, activations


def tolerance(dtype, activations):
    """Return gelu with a float32 square root of two, as in TensorFlow."""
    return 1e-4 if dtype == np.float32 else 1e-6 if "gelu" in activations else 1e-11


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@settings(max_examples=50)
@given(data=st.data())
def test_the_forward_pass_is_the_same_in_numpy_and_tensorflow(dtype, data):
    params, rows, (low, high), activations = data.draw(networks(dtype))
    before = rows.copy()
    ours = reconstruct(params, rows, (low, high), activations)
    tensors = tf.nest.map_structure(tf.constant, (params, rows, (low, high)))
    theirs = reconstruct(*tensors, activations, ops=tf).numpy()
    assert ours.dtype == theirs.dtype == dtype
    assert ours.shape == theirs.shape == rows.shape
    for out in (ours, theirs):
        assert (low <= out).all()
        assert (out <= high).all()
    share = tolerance(dtype, activations)
    np.testing.assert_allclose(ours, theirs, rtol=share, atol=share * max(1, np.abs(ours).max()))
    np.testing.assert_array_equal(rows, before)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("place", range(3))
def test_each_activation_is_applied_at_its_position(name, place):
    activations = ["tanh", "identity", "identity"]
    activations[place] = name
    network = random_network((9, 4))
    rows = network.standardise(correlated_rows())
    low, high = np.full(7, -0.5), np.full(7, 0.7)
    for params in (network.params, random_network((3,), linear=False).params):
        ours = reconstruct(params, rows, (low, high), activations)
        tensors = tf.nest.map_structure(tf.constant, (params, rows, (low, high)))
        theirs = reconstruct(*tensors, activations, ops=tf).numpy()
        share = tolerance(np.float64, activations)
        np.testing.assert_allclose(ours, theirs, rtol=share, atol=share)
        others = reconstruct(params, rows, (low, high), ("relu", "tanh", "tanh"))
        assert not np.allclose(ours, others)


def test_the_forward_pass_does_not_change_its_input():
    rows = correlated_rows()
    before = rows.copy()
    for hidden in ((), (5,)):
        forward(random_network(hidden).params["encoder"], rows, "relu", "identity")
        np.testing.assert_array_equal(rows, before)


def test_the_derivative_of_a_clip_is_one_everywhere():
    rows = tf.constant([[-3.0, 0.5, 9.0]])
    with tf.GradientTape() as tape:
        tape.watch(rows)
        clipped = clip(rows, tf.constant([0.0, 0.0, -np.inf]), tf.constant([1.0, 1.0, 2.0]), tf)
    np.testing.assert_array_equal(clipped, [[0, 0.5, 2]])
    np.testing.assert_array_equal(tape.gradient(clipped, rows), [[1, 1, 1]])


def test_numpy_rows_are_clipped_in_place():
    rows = np.array([[-3.0, 0.5, 9.0]])
    assert clip(rows, np.zeros(3), np.ones(3)) is rows
    np.testing.assert_array_equal(rows, [[0, 0.5, 1]])


def test_another_float_type_changes_nothing_else():
    network = random_network((5,))
    low, high = np.full(7, -1e99), np.full(7, 2.0)
    network = replace(network, bounds=np.stack([low, high]))
    single = network.astype(np.float32)
    assert all(a.dtype == np.float32 for a in every_array(single))
    for ours, theirs in zip(every_array(single), every_array(network), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert single.offset.dtype == single.bounds.dtype == np.float32
    np.testing.assert_allclose(single.offset, network.offset, rtol=1e-6)
    np.testing.assert_array_equal(single.bounds[0], -np.inf)
    np.testing.assert_array_equal(single.bounds[1], high)
    assert (single.scale, single.activations) == (network.scale, network.activations)
    same = network.astype(np.float64)
    assert all(map(np.shares_memory, every_array(same), every_array(network)))
    assert all(getattr(same, n) is getattr(network, n) for n in ("offset", "bounds"))


@pytest.mark.parametrize("half", ["encoder", "decoder"])
@pytest.mark.parametrize("name", ["coefs", "intercepts", "linear"])
def test_a_weight_that_is_not_finite_is_found(half, name):
    network = random_network((5,))
    assert network.is_finite()
    arrays = network.params[half][name]
    for number in (np.nan, np.inf):
        (arrays[-1] if isinstance(arrays, list) else arrays)[..., -1] = number
        assert not network.is_finite()


def test_without_bounds_all_bounds_are_infinite():
    network = replace(random_network(()), bounds=np.repeat([[0.0], [1.0]], 7, axis=1))
    free = network.without_bounds()
    np.testing.assert_array_equal(free.bounds[0], -np.inf)
    np.testing.assert_array_equal(free.bounds[1], np.inf)
    assert free.bounds.dtype == np.float64


@given(
    hidden=st.sampled_from([(), (4,), (5, 3)]),
    linear=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(max_examples=50)
def test_an_affine_map_of_the_code_does_not_change_the_output(hidden, linear, seed):
    network = random_network(hidden, linear=linear, seed=seed)
    rng = np.random.default_rng(seed)
    X = correlated_rows(seed=seed)
    to_code = rng.normal(size=(3, 3)) + 3 * np.eye(3)
    origin = rng.normal(size=3)
    other = network.transform_code(to_code, np.linalg.inv(to_code), origin)
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
def test_whitened_code_is_ordered_by_its_effect_on_the_output(hidden, linear, seed):
    network = random_network(hidden, linear=linear, seed=seed)
    X = correlated_rows(seed=seed)
    codes = network.encode(X)
    covariance = np.cov(codes.T)
    assume(np.linalg.cond(covariance) < 1e9)  # some units are not saturated
    white = network.transform_code(*network.whitening(covariance), codes.mean(axis=0))
    codes = white.encode(X)
    np.testing.assert_allclose(codes.mean(axis=0), 0, atol=1e-7)
    np.testing.assert_allclose(np.cov(codes.T), np.eye(3), atol=1e-7)
    decoder = white.params["decoder"]
    linear_decoder = decoder.get("linear", decoder["coefs"][0])
    gram = linear_decoder @ linear_decoder.T
    np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-7 * gram.max())
    assert (np.diff(np.diag(gram)) <= 1e-9).all()
    strongest = np.abs(linear_decoder).argmax(axis=1)
    assert (linear_decoder[range(3), strongest] > 0).all()
    np.testing.assert_allclose(
        white.decode(codes), network.decode(network.encode(X)), rtol=1e-7, atol=1e-7
    )


def test_symmetric_whitening_rotates_the_code_as_little_as_possible():
    network = random_network((4,))
    codes = network.encode(correlated_rows())
    to_code, from_code = network.whitening(np.cov(codes.T), canonical=False)
    np.testing.assert_allclose(np.cov((codes @ to_code).T), np.eye(3), atol=1e-7)
    np.testing.assert_allclose(to_code, to_code.T)
    np.testing.assert_allclose(to_code @ from_code, np.eye(3), atol=1e-9)


def test_whitening_of_a_constant_code_is_finite():
    network = random_network((4,))
    white = network.transform_code(*network.whitening(np.diag([4.0, 0.0, 0.0])), np.zeros(3))
    X = correlated_rows()
    assert np.isfinite(white.encode(X)).all()
    np.testing.assert_allclose(
        white.decode(white.encode(X)), network.decode(network.encode(X)), rtol=1e-9
    )


@pytest.mark.parametrize("hidden", [(2,), (1,), (4, 2)])
@pytest.mark.parametrize("linear", [False, True])
def test_whitening_of_a_code_wider_than_the_last_hidden_layer(hidden, linear):
    network, X = random_network(hidden, linear=linear), correlated_rows()
    codes = network.encode(X)
    white = network.transform_code(*network.whitening(np.cov(codes.T)), codes.mean(axis=0))
    rank = 3 if linear else min(hidden)
    expected = np.diag((np.arange(3) < rank).astype(float))
    np.testing.assert_allclose(np.cov(white.encode(X).T), expected, atol=1e-7)
    np.testing.assert_allclose(
        white.decode(white.encode(X)), network.decode(network.encode(X)), rtol=1e-7, atol=1e-7
    )


@pytest.mark.parametrize("size", [1e-12, 1e-25])
def test_a_code_of_any_scale_is_whitened_unless_it_is_rounding_error(size):
    network = random_network((4,))
    to_code, _ = network.whitening(size * np.diag([1.0, 2.0, 3.0]))
    expected = np.diag([1, 1 / 2, 1 / 3]) / size if size == 1e-12 else np.eye(3)
    np.testing.assert_allclose(to_code @ to_code.T, expected, rtol=1e-9, atol=1e-9 / size)


@pytest.mark.parametrize("hidden", [(), (4,)])
def test_a_rescaled_code_has_unit_directions(hidden):
    network, X = random_network(hidden), correlated_rows()
    rescaled = network.rescale_code(1 / network.direction_norms())
    np.testing.assert_allclose(np.linalg.norm(rescaled.linear_path(), axis=0), 1)
    np.testing.assert_allclose(
        rescaled.decode(rescaled.encode(X)), network.decode(network.encode(X))
    )


def test_directions_of_length_zero_have_norm_one():
    network = random_network((4,))
    network.params["encoder"]["linear"][:, 1] = 0
    assert network.direction_norms()[1] == 1
    stack = random_network((4,), linear=False)
    assert stack.linear_path() is None
    np.testing.assert_array_equal(stack.direction_norms(), np.ones(3))


@pytest.mark.parametrize("hidden", [(), (5,), (9, 4)])
def test_another_scale_changes_the_weights_and_not_the_output(hidden):
    network, X = random_network(hidden), correlated_rows()
    other = network.rescaled(1.0)
    assert other.scale == 1
    np.testing.assert_allclose(other.encode(X), network.encode(X), rtol=1e-9, atol=1e-9)
    codes = network.encode(X)
    np.testing.assert_allclose(other.decode(codes), network.decode(codes), rtol=1e-9, atol=1e-9)
