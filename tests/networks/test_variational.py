"""Variational networks: initial network, likelihoods and objective."""

import tracemalloc

import numpy as np
import optree
import pytest
import tensorflow as tf
from scipy.special import logsumexp
from scipy.stats import bernoulli, multivariate_normal, norm
from sklearn.decomposition import PCA

from skae._data.batches import Batch
from skae._data.table import Table
from skae._initialization.architecture import Architecture
from skae._initialization.initial_network import first_network
from skae._networks.variational import at_probabilistic_pca, negative_log_likelihoods, posterior
from skae._training.losses import Elbo

ACTIVATIONS = ("silu", "identity", "identity")


def correlated(n_rows=300, n_features=7, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 3)) @ rng.normal(size=(3, n_features))
    return 5 + 3 * (X + 0.3 * rng.normal(size=X.shape))


def start(X, size, output="identity", hidden=(16,), per_feature=False):
    table = Table(X)
    architecture = Architecture(
        n_components=size, hidden_layer_sizes=hidden, activations=ACTIVATIONS
    )
    network = first_network(table, architecture, 0)
    return at_probabilistic_pca(network, table, output, per_feature=per_feature)


def trained(network, seed=1):
    """Change all weights, so that none is zero."""
    rng = np.random.default_rng(seed)

    def changed(array):
        return array + 0.1 * rng.normal(size=array.shape)

    return network.with_params(optree.tree_map(changed, network.params))


@pytest.mark.parametrize("hidden", [(), (16,), (16, 8)])
@pytest.mark.parametrize("size", [1, 3, 6, 7])
@pytest.mark.parametrize("per_feature", [False, True])
def test_initially_each_draw_has_the_likelihood_of_probabilistic_pca(size, hidden, per_feature):
    X, new = correlated(), correlated(50, seed=1)
    network = start(X, size, hidden=hidden, per_feature=per_feature)
    for seed in range(3):
        draws = np.random.default_rng(seed).normal(size=(len(new), size))
        likelihoods = PCA(size).fit(X).score_samples(new)
        np.testing.assert_allclose(network.log_weights(new, draws), likelihoods, rtol=1e-9)


@pytest.mark.parametrize("n_rows", [4, 7, 8, 30])
@pytest.mark.parametrize("size", [1, 2, 5, 20])
def test_with_fewer_rows_than_columns_the_initial_likelihood_is_that_of_pca(n_rows, size):
    X, new = correlated(n_rows, 30), correlated(50, 30, seed=1)
    network = start(X, size)
    size = min(size, n_rows - 2)  # so that the noise variance of PCA is not zero
    likelihoods = PCA(size, svd_solver="full").fit(X).score_samples(new)
    draws = np.ones((1, network.code_size))
    np.testing.assert_allclose(network.log_weights(new, draws), likelihoods, rtol=1e-6)


def test_initially_the_code_has_the_posterior_of_probabilistic_pca():
    X = correlated()
    pca, network = PCA(3).fit(X), start(X, 3)
    loadings = pca.components_.T * np.sqrt(pca.explained_variance_ - pca.noise_variance_)
    m = loadings.T @ loadings + pca.noise_variance_ * np.eye(3)
    expected = (X - X.mean(axis=0)) @ loadings @ np.linalg.inv(m)
    np.testing.assert_allclose(network.encode(X), expected, rtol=1e-6, atol=1e-9)
    variances = pca.noise_variance_ * np.diag(np.linalg.inv(m))
    np.testing.assert_allclose(network.code_variances(X), np.tile(variances, (len(X), 1)))


def by_hand(network, x, z, mean, variance):
    """Return the log importance weight of one code of one row, from SciPy's densities."""
    params, rows = network.params, network.decode(z[None])[0]
    if network.activations[-1] == "logistic":
        likelihood = bernoulli(rows).logpmf(x)
    else:
        noise = np.exp(params["log_noise_variance"] / 2) * network.scale
        likelihood = norm(rows, noise).logpdf(x)
    posterior = multivariate_normal(mean, np.diag(variance)).logpdf(z)
    return likelihood.sum() + norm().logpdf(z).sum() - posterior


@pytest.mark.parametrize("per_feature", [False, True])
@pytest.mark.parametrize("output", ["identity", "logistic"])
def test_weights_are_the_joint_density_divided_by_the_posterior(output, per_feature):
    X = correlated(40)
    X = (X > 5).astype(float) if output == "logistic" else X
    network, draws = trained(start(X, 2, output, per_feature=per_feature)), np.ones((1, 2))
    weights = network.log_weights(X, draws)
    means, variances = network.encode(X), network.code_variances(X)
    for x, mean, variance, weight in zip(X, means, variances, weights, strict=True):
        expected = by_hand(network, x, mean + np.sqrt(variance), mean, variance)
        assert weight == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("per_feature", [False, True])
def test_a_row_without_values_has_the_prior_of_the_code_and_likelihood_one(per_feature):
    network = trained(start(correlated(40), 2, per_feature=per_feature))
    X = np.vstack([correlated(1), np.full((2, 7), np.nan)])
    draws = np.random.default_rng(0).normal(size=(20, 2))
    for kind in (network, network.rescaled(3.0).astype(np.float32)):
        rows = X.astype(kind.dtype)
        np.testing.assert_array_equal(kind.encode(rows)[1:], 0)
        np.testing.assert_array_equal(kind.code_variances(rows)[1:], 1)
        np.testing.assert_allclose(kind.log_likelihoods(rows, draws)[1:], 0, atol=1e-6)
        assert kind.encode(rows)[0].all()
        assert (kind.code_variances(rows)[0] < 1).all()


def test_the_bound_is_the_mean_weight_and_increases_with_the_draws():
    X = correlated(40)
    network, draws = trained(start(X, 2)), np.random.default_rng(0).normal(size=(200, 2))
    weights = np.stack([network.log_weights(X, draw[None]) for draw in draws])
    bound = network.log_likelihoods(X, draws)
    np.testing.assert_allclose(bound, np.log(np.exp(weights).mean(axis=0)), rtol=1e-9)
    assert (bound >= weights.mean(axis=0)).all()


def test_another_scale_does_not_change_densities_and_codes():
    X = correlated(40)
    network, draws = trained(start(X, 2, per_feature=True)), np.ones((1, 2))
    other = network.rescaled(3.7)
    assert other.scale == 3.7
    np.testing.assert_allclose(other.encode(X), network.encode(X))
    np.testing.assert_allclose(other.log_weights(X, draws), network.log_weights(X, draws))


def test_an_initial_bernoulli_network_has_the_means_of_the_gaussian_one():
    rng = np.random.default_rng(0)
    X = (rng.uniform(size=(500, 6)) < 0.2 + 0.6 * rng.uniform(size=6)).astype(float)
    gaussian, network = start(X, 2), start(X, 2, "logistic")
    np.testing.assert_allclose(network.encode(X), gaussian.encode(X), atol=1e-9)
    near = 1e-3 * rng.normal(size=(5, 2))
    np.testing.assert_allclose(network.decode(near), gaussian.decode(near), atol=1e-6)
    np.testing.assert_allclose(network.decode(np.zeros((1, 2)))[0], X.mean(axis=0))


def batch_of(X, network, weights, draws):
    rows = tf.constant(network.standardise(X), tf.float32)
    return Batch(rows, rows, tf.constant(weights, tf.float32), draws=tf.constant(draws, tf.float32))


def loss(network, X, weights, draws, **params):
    objective = Elbo(network.activations, draws.shape[-1], **params)
    batch = batch_of(X, network, weights, draws)
    return float(
        objective(network.with_params_in(np.float32).params, batch, objective.constants(network))
    )


@pytest.mark.parametrize("beta", [1.0, 0.3])
@pytest.mark.parametrize("output", ["identity", "logistic"])
def test_the_loss_is_the_negated_bound_per_feature(output, beta):
    X = correlated(30)
    X = (X > 5).astype(float) if output == "logistic" else X
    network, draws = trained(start(X, 2, output)), np.zeros((30, 2))
    weights = np.random.default_rng(0).dirichlet(np.ones(30))
    mean, log_variance = posterior(network.params, network.standardise(X), "silu")
    parts = negative_log_likelihoods(
        network.params, mean, network.standardise(X), (-np.inf, np.inf), network.likelihood
    )
    parts = parts.sum(axis=1) + (7 * np.log(network.scale) if output == "identity" else 0)
    divergence = (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(axis=1) / 2
    expected = weights @ (parts + beta * divergence) / 7
    assert loss(network, X, weights, draws, beta=beta) == pytest.approx(expected, rel=1e-5)


def test_the_mean_of_the_row_errors_is_the_loss():
    X = correlated(2000)
    network, draws = trained(start(X, 2)), np.random.default_rng(0).normal(size=(2000, 2))
    objective = Elbo(network.activations, 2)
    errors = objective.row_errors(network, Table(X))
    mean = loss(network, X, np.full(2000, 1 / 2000), draws) * objective.loss_scale(
        network, Table(X)
    )
    assert mean == pytest.approx(errors.mean(), rel=0.02)
    np.testing.assert_array_equal(errors, objective.row_errors(network, Table(X)))


def test_the_least_likely_rows_of_a_batch_are_trimmed():
    X = correlated(40)
    network, draws = start(X, 2), np.zeros((40, 2))
    outliers, weights = X.copy(), np.full(40, 1 / 40)
    outliers[:4] += 1000
    without = loss(network, X[4:], np.full(36, 1 / 36), draws[4:])
    assert loss(network, outliers, weights, draws, contamination=0.1) == pytest.approx(
        without, rel=1e-5
    )
    assert loss(network, outliers, weights, draws) > 100 * abs(without)


def test_stacked_networks_have_the_losses_of_single_networks():
    X = correlated(30)
    networks, draws = [trained(start(X, 2), seed) for seed in (1, 2)], np.ones((30, 2))
    weights = np.full(30, 1 / 30)
    objective = Elbo(ACTIVATIONS, 2, contamination=0.1)
    parts = [
        (
            n.with_params_in(np.float32).params,
            objective.constants(n),
            batch_of(X, n, weights, draws),
        )
        for n in networks
    ]
    params, constants, batch = optree.tree_map(lambda *both: np.stack(both), *parts)
    single = [loss(n, X, weights, draws, contamination=0.1) for n in networks]
    np.testing.assert_allclose(objective(params, batch, constants), single, rtol=1e-5)


def test_distant_rows_have_a_low_density_that_is_not_nan():
    network = trained(start(correlated(), 2, per_feature=True))
    far = np.array([np.full(7, 1e3), np.full(7, 1e160), np.full(7, -1e300)])
    for rows in (far, far[:1].astype(np.float32)):
        weights = network.astype(rows.dtype).log_weights(rows, np.ones((1, 2)))
        assert (weights < -1e4).all()
        assert not np.isnan(network.log_likelihoods(rows, np.ones((3, 2)))).any()


@pytest.mark.parametrize("n_draws", [1, 32, 33, 100])
def test_the_bound_does_not_depend_on_the_number_of_draws_at_once(n_draws):
    X = correlated(40)
    network = trained(start(X, 3))
    draws = np.random.default_rng(0).normal(size=(n_draws, 3))
    far = np.vstack([X, np.full((1, 7), 1e300)])
    expected = logsumexp([network.log_weights(far, draw[None]) for draw in draws], axis=0)
    found = network.log_likelihoods(far, draws)
    np.testing.assert_allclose(found[:-1], expected[:-1] - np.log(n_draws), rtol=1e-13)
    assert found[-1] == -np.inf


def test_memory_does_not_grow_with_the_number_of_draws():
    X = correlated(4000)
    network = start(X, 2)
    tracemalloc.start()
    peaks = []
    for n_draws in (100, 400):
        tracemalloc.reset_peak()
        network.log_likelihoods(X, np.zeros((n_draws, 2)))
        peaks.append(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]
