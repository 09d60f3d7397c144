"""Variational network: posterior of the code, and likelihood of rows.

The initial network is probabilistic PCA (Tipping & Bishop, Journal of the Royal Statistical Society
B 61, 1999): a row is ``W z + mean + noise`` with a standard normal code z. The posterior of the
code, given the row, is normal too, and its components are independent along the principal axes. The
encoder can therefore represent this posterior exactly, and the lower bound of Kingma & Welling
(ICLR 2014) is then equal to the likelihood (Lucas et al., NeurIPS 2019).

The params are those of `network`, with these differences::

    encoder             outputs the means and then the log variances of the code
    log_noise_variance  (1,) or (n_features,), logarithm of the noise variance in the units of
                        training; only for a Gaussian likelihood

The likelihood is Bernoulli if the output activation is "logistic", and otherwise Gaussian.
"""

from functools import partial

import numpy as np
from scipy.special import logit, logsumexp
from sklearn.utils import gen_batches

from .network import Autoencoder, clip, forward
from .ppca import probabilistic_pca
from .whitening import code_sums, moments

# Log variances of the code are clipped to this range; only extreme rows reach its limits.
_LOG_VARIANCES = (-20.0, 20.0)
# The initial probabilities of a Bernoulli likelihood are at least this far from zero and from one.
_LEAST_PROBABILITY = 0.01
_LOG_2PI = float(np.log(2 * np.pi))
# The importance weights of this number of draws are held in memory at a time, and then summed.
_DRAWS_AT_ONCE = 32


def posterior(params, rows, hidden, ops=np):
    """Return the posterior means and log variances of the codes of standardised rows."""
    out = forward(params["encoder"], rows, hidden, "identity", ops)
    size = out.shape[-1] // 2
    clipped = ops.minimum(ops.maximum(out[..., size:], _LOG_VARIANCES[0]), _LOG_VARIANCES[1])
    return out[..., :size], clipped


def negative_log_likelihoods(params, codes, targets, bounds, activations, ops=np):
    """Return the negative log-likelihood of each entry of rows, given codes, in nats.

    Parameters
    ----------
    params : dict
        See the docstring of this module.
    codes, targets : ndarray or tensor of shape (n_rows, n_components) and (n_rows, n_features)
        Codes, and standardised rows.
    bounds : tuple of ndarray or tensor
        Lower and upper bounds of the mean of standardised rows; not used by a Bernoulli likelihood.
    activations : tuple of str
        Hidden, code and output activation.
    ops : module, default=numpy
        `numpy` or `tensorflow`.
    """
    hidden, _, output = activations
    out = forward(params["decoder"], codes, hidden, "identity", ops)
    if output == "logistic":
        softplus = partial(np.logaddexp, 0) if ops is np else ops.nn.softplus
        return softplus(out) - targets * out
    log_noise = params["log_noise_variance"][..., None, :]
    squares = ops.square(clip(out, *bounds, ops) - targets)
    return (_LOG_2PI + log_noise + squares * ops.exp(-log_noise)) / 2


class Variational(Autoencoder):
    """Network whose encoder computes a normal distribution of the code."""

    __slots__ = ()

    @property
    def code_size(self):
        """Number of components of the code."""
        return super().code_size // 2

    @property
    def mean_path(self):
        """Deterministic network whose code is the posterior mean."""
        return _MeanPath(*self)._replace(params=_halved(self.params, self.code_size))

    def encode(self, X):
        """Return the posterior means of the codes of dense rows."""
        return self.mean_path.encode(X)

    def code_variances(self, X):
        """Return the posterior variances of the codes of dense rows."""
        variances = np.exp(self._posterior(X)[-1])
        return self._again_in_double_precision("code_variances", X, variances)

    def rescaled(self, scale):
        """Return an equivalent network with another scale; see `Autoencoder.rescaled`."""
        network = super().rescaled(scale)
        if "log_noise_variance" in network.params:
            network.params["log_noise_variance"] += 2 * np.log(self.scale / scale)
        return network

    def as_started(self):
        """Return this network: the scale of its code is that of the prior."""
        return self

    def log_weights(self, X, draws, beta=1.0):
        """Return the log importance weight of one draw from the posterior of each row.

        The log weight is ``log p(x, z) - log q(z | x)``. The mean of the weights over draws
        estimates ``p(x)``; the mean of the log weights is a lower bound of ``log p(x)``. If the
        posterior is exact, all draws have the same weight.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            Dense rows. NaN values are left out of the likelihood.
        draws : ndarray of shape (n_samples or 1, n_components)
            Standard normal numbers.
        beta : float, default=1.0
            Weight of ``log p(z) - log q(z | x)``; one for a likelihood.

        Returns
        -------
        log_weights : ndarray of shape (n_samples,), float64
            Log weights in nats, with densities in the units of X; minus infinity where numbers
            overflow.
        """
        return self._log_weights(X, *self._posterior(X), draws, beta)

    def _posterior(self, X):
        """Return dense rows, standardised, and the posterior means and log variances."""
        with np.errstate(over="ignore", invalid="ignore"):
            rows = self.standardise(self.completed(X))
            mean, log_variance = posterior(self.params, rows, self.activations[0])
        if self.filling is not None:  # a row without values has the prior as posterior
            is_empty = np.isnan(X).all(axis=1)
            mean[is_empty], log_variance[is_empty] = 0, 0
        return rows, mean, log_variance

    def _log_weights(self, X, rows, mean, log_variance, draws, beta=1.0):
        """Return the log weights, given the result of `_posterior`; see `log_weights`."""
        with np.errstate(over="ignore", invalid="ignore"):
            codes = mean + np.exp(log_variance / 2) * draws.astype(self.dtype)
            parts = self._log_likelihoods_of_entries(X, rows, codes)
            prior = np.square(codes, dtype=np.float64) - np.square(draws) - log_variance
            result = parts.sum(axis=1, dtype=np.float64) - beta * prior.sum(axis=1) / 2
        return np.nan_to_num(result, nan=-np.inf, posinf=-np.inf, neginf=-np.inf)

    def entry_log_likelihoods(self, X):
        """Return the log-likelihoods of the entries of dense rows, given the posterior means."""
        rows, mean, _ = self._posterior(X)
        with np.errstate(over="ignore", invalid="ignore"):
            parts = self._log_likelihoods_of_entries(X, rows, mean)
        return np.nan_to_num(parts, copy=False, nan=-np.inf, posinf=-np.inf, neginf=-np.inf)

    def _log_likelihoods_of_entries(self, X, rows, codes):
        """Return the log-likelihoods of the entries of rows, given codes; zero where X is NaN.

        `rows` are the standardised rows of X. Densities are in the units of X.
        """
        bounds = self.standardised_bounds(self.dtype)
        parts = -negative_log_likelihoods(self.params, codes, rows, bounds, self.activations)
        if self.activations[-1] != "logistic":
            parts -= np.log(self.scale).astype(self.dtype)
        return parts if self.filling is None else np.where(np.isnan(X), 0, parts)

    def log_likelihoods(self, X, draws):
        """Return the importance-weighted lower bound of each row's log-likelihood.

        Burda, Grosse & Salakhutdinov (ICLR 2016), equation 8. More draws give a higher bound.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            Dense rows.
        draws : ndarray of shape (n_draws, n_components)
            Standard normal numbers, the same for all rows.
        """
        known, total = self._posterior(X), None
        with np.errstate(invalid="ignore"):
            for batch in gen_batches(len(draws), _DRAWS_AT_ONCE):
                weights = [self._log_weights(X, *known, draw[None]) for draw in draws[batch]]
                part = logsumexp(weights, axis=0)
                total = part if total is None else np.logaddexp(total, part)
            return np.nan_to_num(total - np.log(len(draws)), nan=-np.inf, neginf=-np.inf)


class _MeanPath(Autoencoder):
    """Network whose code is the posterior mean; zero for a row without any value."""

    __slots__ = ()

    def encode(self, X):
        """Return the codes of dense rows."""
        codes = super().encode(X)
        if self.filling is not None:
            codes[np.isnan(X).all(axis=1)] = 0
        return codes


def _halved(params, size):
    """Return params whose encoder outputs the posterior means only, without the noise variance.

    `size` is the number of components of the code.
    """
    encoder = params["encoder"]
    *coefs, last_coefs = encoder["coefs"]
    *intercepts, last_intercepts = encoder["intercepts"]
    half = {
        "coefs": [*coefs, last_coefs[:, :size]],
        "intercepts": [*intercepts, last_intercepts[:size]],
    }
    if "linear" in encoder:
        half["linear"] = encoder["linear"][:, :size]
    return {"encoder": half, "decoder": params["decoder"]}


def at_probabilistic_pca(network, table, output, *, per_feature):
    """Return the variational network that is the probabilistic PCA of a table.

    Parameters
    ----------
    network : Autoencoder
        Initial network at PCA of the table.
    table : Table
        The rows.
    output : {"identity", "logistic"}
        "identity" for a Gaussian likelihood, "logistic" for a Bernoulli likelihood. The initial
        probabilities of the latter are equal to the means of the Gaussian likelihood, to first
        order around the mean of the rows.
    per_feature : bool
        Whether each feature has its own noise variance.

    Returns
    -------
    Variational
    """
    n_rows, n_features, size = table.n_rows, table.n_features, network.code_size
    _, covariance = moments(n_rows, *code_sums(network, table))
    variance, signal = np.diag(covariance), np.zeros(size)
    noise, lengths = probabilistic_pca(variance, n_rows, n_features)
    signal[: len(lengths)] = lengths
    variance = np.square(signal) + noise

    params = network._params_in_double_precision()
    encoder, decoder = params["encoder"], params["decoder"]
    _last(encoder)[...] *= signal / variance
    _last(decoder)[...] *= signal[:, None]
    for key in ("coefs", "intercepts"):
        last = encoder[key][-1]
        encoder[key][-1] = np.concatenate([last, np.zeros_like(last)], axis=-1)
    encoder["intercepts"][-1][size:] = np.log(noise / variance)
    if "linear" in encoder:
        encoder["linear"] = np.hstack([encoder["linear"], np.zeros_like(encoder["linear"])])
        decoder["coefs"][0] *= np.sqrt(covariance.trace() / size) or 1.0
    params["log_noise_variance"] = np.full(n_features if per_feature else 1, np.log(noise))
    network = Variational(*network._replace(params=params))
    network = _bernoulli(network) if output == "logistic" else network
    return table.workers.broadcast_object(network.astype(table.dtype))


def _last(half):
    """Return the linear path of an encoder or decoder at PCA, which may be its only layer."""
    return half["linear"] if "linear" in half else half["coefs"][0]


def _bernoulli(network):
    """Return the network with a Bernoulli likelihood, given the one with a Gaussian likelihood.

    See `at_probabilistic_pca`.
    """
    mean = network.offset.astype(np.float64)
    network = network.rescaled(1.0)
    encoder, decoder = network.params["encoder"], network.params["decoder"]
    del network.params["log_noise_variance"]
    encoder["intercepts"][0] -= mean @ encoder["coefs"][0]
    if "linear" in encoder:
        encoder["intercepts"][-1] -= mean @ encoder["linear"]
    probability = mean.clip(_LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    _last(decoder)[...] /= probability * (1 - probability)
    decoder["intercepts"][-1] += logit(probability)
    activations = (*network.activations[:-1], "logistic")
    return network._replace(offset=np.zeros_like(mean), activations=activations)
