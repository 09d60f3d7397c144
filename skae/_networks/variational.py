"""Variational network: posterior of the code, and likelihood of rows.

The initial network is probabilistic PCA (Tipping & Bishop, Journal of the Royal Statistical Society
B 61, 1999): a row is ``W z + mean + noise`` with a standard normal code z. The posterior of the
code, given the row, is normal too, and its components are independent along the principal axes. The
encoder can therefore represent this posterior exactly, and the lower bound of Kingma & Welling
(ICLR 2014) is then equal to the likelihood (Lucas et al., NeurIPS 2019).

The params have the form of the module `forward`, with these differences::

    encoder             outputs the means and then the log variances of the code
    log_noise_variance  (1,) or (n_features,), logarithm of the noise variance in the units of
                        training; only for a Gaussian likelihood

The likelihood is Bernoulli if the output activation is "logistic", and otherwise Gaussian.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit, logsumexp
from sklearn.utils import gen_batches

from .._data.table import Table
from .forward import Activations, Params, clip, forward
from .network import Autoencoder
from .ppca import probabilistic_pca
from .whitening import code_sums, mean_and_covariance

# Log variances of the code are clipped to this range; only extreme rows reach its limits.
_LOG_VARIANCES = (-20.0, 20.0)
# The initial probabilities of a Bernoulli likelihood are at least this far from zero and from one.
_MIN_PROBABILITY = 0.01
_LOG_2PI = float(np.log(2 * np.pi))
# The importance weights of this number of draws are held in memory at a time, and then summed.
_DRAWS_AT_ONCE = 32


def posterior(params: Params, rows: Any, hidden: str, ops: ModuleType = np) -> tuple[Any, Any]:
    """Return the posterior means and log variances of the codes of standardised rows."""
    out = forward(params["encoder"], rows, hidden, "identity", ops)
    size = out.shape[-1] // 2
    clipped = ops.minimum(ops.maximum(out[..., size:], _LOG_VARIANCES[0]), _LOG_VARIANCES[1])
    return out[..., :size], clipped


def negative_log_likelihoods(
    params: Params,
    codes: Any,
    targets: Any,
    bounds: Iterable[Any],
    activations: Activations,
    ops: ModuleType = np,
) -> Any:
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
    (hidden, _, output), (low, high) = activations, bounds
    out = forward(params["decoder"], codes, hidden, "identity", ops)
    if output == "logistic":
        softplus = partial(np.logaddexp, 0) if ops is np else ops.nn.softplus
        return softplus(out) - targets * out
    log_noise = params["log_noise_variance"][..., None, :]
    squares = ops.square(clip(out, low, high, ops) - targets)
    return (_LOG_2PI + log_noise + squares * ops.exp(-log_noise)) / 2


class Variational(Autoencoder):
    """Network whose encoder computes a normal distribution of the code."""

    @property
    def code_size(self) -> int:
        """Number of components of the code."""
        return super().code_size // 2

    @property
    def mean_path(self) -> "_MeanPath":
        """Deterministic network whose code is the posterior mean."""
        return _MeanPath.from_network(self, _halved(self.params, self.code_size))

    def encode(self, X: NDArray[Any]) -> NDArray[Any]:
        """Return the posterior means of the codes of dense rows."""
        return self.mean_path.encode(X)

    def code_variances(self, X: NDArray[Any]) -> NDArray[Any]:
        """Return the posterior variances of the codes of dense rows."""
        variances = np.exp(self._posterior(X)[-1])
        return self._again_in_double_precision("code_variances", X, variances)

    def rescaled(self, scale: float) -> Self:
        """Return an equivalent network with another scale; see `Autoencoder.rescaled`."""
        network = super().rescaled(scale)
        if "log_noise_variance" in network.params:
            network.params["log_noise_variance"] += 2 * np.log(self.scale / scale)
        return network

    def with_unit_directions(self) -> Self:
        """Return this network: the scale of its code is that of the prior."""
        return self

    def log_weights(
        self, X: NDArray[Any], draws: NDArray[Any], beta: float = 1.0
    ) -> NDArray[np.float64]:
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
        return self._log_weights(X, self._posterior(X), draws, beta)

    def _posterior(self, X: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return dense rows, standardised, and the posterior means and log variances."""
        with np.errstate(over="ignore", invalid="ignore"):
            rows = self.standardise(self.impute(X))
            mean, log_variance = posterior(self.params, rows, self.activations[0])
        if self.imputer is not None:  # a row without values has the prior as posterior
            is_empty = np.isnan(X).all(axis=1)
            mean[is_empty], log_variance[is_empty] = 0, 0
        return rows, mean, log_variance

    def _log_weights(
        self,
        X: NDArray[Any],
        known: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
        draws: NDArray[Any],
        beta: float = 1.0,
    ) -> NDArray[np.float64]:
        """Return the log weights, given the result of `_posterior`; see `log_weights`."""
        rows, mean, log_variance = known
        with np.errstate(over="ignore", invalid="ignore"):
            codes = mean + np.exp(log_variance / 2) * draws.astype(self.dtype)
            parts = self._log_likelihoods_of_entries(X, rows, codes)
            prior = np.square(codes, dtype=np.float64) - np.square(draws) - log_variance
            log_weights: NDArray[np.float64] = parts.sum(axis=1, dtype=np.float64)
            log_weights -= beta * prior.sum(axis=1) / 2
        return np.nan_to_num(log_weights, nan=-np.inf, posinf=-np.inf, neginf=-np.inf)

    def entry_log_likelihoods(self, X: NDArray[Any]) -> NDArray[Any]:
        """Return the log-likelihoods of the entries of dense rows, given the posterior means."""
        rows, mean, _ = self._posterior(X)
        with np.errstate(over="ignore", invalid="ignore"):
            parts = self._log_likelihoods_of_entries(X, rows, mean)
        np.nan_to_num(parts, copy=False, nan=-np.inf, posinf=-np.inf, neginf=-np.inf)
        return parts

    def _log_likelihoods_of_entries(
        self, X: NDArray[Any], rows: NDArray[Any], codes: NDArray[Any]
    ) -> NDArray[Any]:
        """Return the log-likelihoods of the entries of rows, given codes; zero where X is NaN.

        `rows` are the standardised rows of X. Densities are in the units of X.
        """
        bounds = self.standardised_bounds(self.dtype)
        parts = -negative_log_likelihoods(self.params, codes, rows, bounds, self.activations)
        if self.activations[-1] != "logistic":
            parts -= np.log(self.scale).astype(self.dtype)
        observed: NDArray[Any] = parts if self.imputer is None else np.where(np.isnan(X), 0, parts)
        return observed

    def log_likelihoods(self, X: NDArray[Any], draws: NDArray[Any]) -> NDArray[np.float64]:
        """Return the importance-weighted lower bound of each row's log-likelihood.

        Burda, Grosse & Salakhutdinov (ICLR 2016), equation 8. More draws give a higher bound.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            Dense rows.
        draws : ndarray of shape (n_draws, n_components)
            Standard normal numbers, the same for all rows.
        """
        known, total = self._posterior(X), np.full(len(X), -np.inf)
        with np.errstate(invalid="ignore"):
            for batch in gen_batches(len(draws), _DRAWS_AT_ONCE):
                weights = [self._log_weights(X, known, draw[None]) for draw in draws[batch]]
                np.logaddexp(total, logsumexp(weights, axis=0), out=total)
            mean: NDArray[np.float64] = total - np.log(len(draws))
            return np.nan_to_num(mean, nan=-np.inf, neginf=-np.inf)


class _MeanPath(Autoencoder):
    """Network whose code is the posterior mean; zero for a row without any value."""

    def encode(self, X: NDArray[Any]) -> NDArray[Any]:
        """Return the codes of dense rows."""
        codes = super().encode(X)
        if self.imputer is not None:
            codes[np.isnan(X).all(axis=1)] = 0
        return codes


def _halved(params: Params, size: int) -> Params:
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


def at_probabilistic_pca(
    network: Autoencoder, table: Table, output: str, *, per_feature: bool
) -> Variational:
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
    _, covariance = mean_and_covariance(n_rows, *code_sums(network, table))
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
    variational = Variational.from_network(network, params)
    variational = _bernoulli(variational) if output == "logistic" else variational
    result: Variational = table.workers.broadcast_object(variational.astype(table.dtype))
    return result


def _last(half: Params) -> NDArray[Any]:
    """Return the linear path of an encoder or decoder at PCA, which may be its only layer."""
    path: NDArray[Any] = half["linear"] if "linear" in half else half["coefs"][0]
    return path


def _bernoulli(network: Variational) -> Variational:
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
    probability = mean.clip(_MIN_PROBABILITY, 1 - _MIN_PROBABILITY)
    _last(decoder)[...] /= probability * (1 - probability)
    decoder["intercepts"][-1] += logit(probability)
    activations = (*network.activations[:-1], "logistic")
    return replace(network, offset=np.zeros_like(mean), activations=activations)
