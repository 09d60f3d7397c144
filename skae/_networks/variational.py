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

The likelihood is Bernoulli if the output activation is "logistic", and otherwise Gaussian. In a
table with categories, the outputs of the encoded columns of categories are logits, and the
likelihood of the categories is categorical.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import ModuleType
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy.special import log_softmax, logit, logsumexp
from sklearn.utils import gen_batches

from .._data.category_columns import CategoryColumns
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


@dataclass(frozen=True)
class Likelihood:
    """Form of a likelihood, which a compiled function depends on.

    Attributes
    ----------
    hidden : str
        Activation of the hidden layers of the decoder.
    is_bernoulli : bool
        Whether the likelihood is Bernoulli, and not Gaussian.
    categories : tuple of (int, int)
        First and last encoded column, exclusive, of each column of categories.
    """

    hidden: str
    is_bernoulli: bool
    categories: tuple[tuple[int, int], ...] = ()

    @classmethod
    def from_parts(cls, activations: Activations, categories: tuple[tuple[int, int], ...]) -> Self:
        """Return the likelihood of a network with these activations and columns of categories."""
        hidden, _, output = activations
        return cls(hidden, output == "logistic", categories)


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
    constants: Sequence[Any],
    kind: Likelihood,
    ops: ModuleType = np,
) -> Any:
    """Return the negative log-likelihood of each entry of rows, given codes, in nats.

    Parameters
    ----------
    params : dict
        See the docstring of this module.
    codes, targets : ndarray or tensor of shape (n_rows, n_components) and (n_rows, n_features)
        Codes, and standardised rows.
    constants : sequence of ndarray or tensor
        Lower and upper bounds of the mean of standardised rows; not used by a Bernoulli likelihood.
        In a table with categories, also the middle of the two values of each category.
    kind : Likelihood
        Form of the likelihood.
    ops : module, default=numpy
        `numpy` or `tensorflow`.
    """
    out = forward(params["decoder"], codes, kind.hidden, "identity", ops)
    return _losses(out, params.get("log_noise_variance"), targets, constants, kind, ops)


def _losses(
    out: Any,
    log_noise: Any,
    targets: Any,
    constants: Sequence[Any],
    kind: Likelihood,
    ops: ModuleType,
) -> Any:
    """Return the result of `negative_log_likelihoods` for the output of the decoder."""
    if kind.is_bernoulli:
        softplus = partial(np.logaddexp, 0) if ops is np else ops.nn.softplus
        return softplus(out) - targets * out
    log_noise = log_noise[..., None, :]
    low, high, *middles = constants
    # NumPy clips in place; the bounds of logits are infinite
    squares = ops.square(clip(out, low, high, ops) - targets)
    losses = (_LOG_2PI + log_noise + squares * ops.exp(-log_noise)) / 2
    if not kind.categories:
        return losses
    return _with_categories(losses, out, targets > middles[0], kind.categories, ops)


def _with_categories(
    losses: Any, logits: Any, is_chosen: Any, categories: Sequence[tuple[int, int]], ops: ModuleType
) -> Any:
    """Return losses in which the losses of categories are their negative log-probabilities."""
    log_p = partial(log_softmax, axis=-1) if ops is np else ops.nn.log_softmax
    parts, done = [], 0
    for start, stop in categories:
        costs = -log_p(logits[..., start:stop])
        parts += [losses[..., done:start], ops.where(is_chosen[..., start:stop], costs, 0)]
        done = stop
    return ops.concat([*parts, losses[..., done:]], axis=-1)


@dataclass(frozen=True, kw_only=True, eq=False)
class _WithCategories(Autoencoder):
    """Network whose outputs of columns of categories are logits.

    Attributes
    ----------
    categories : CategoryColumns or None
        The columns of categories; None for a table of numbers.
    """

    categories: CategoryColumns | None = None

    def _finished(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return decoded rows with encoded probabilities of categories, in place."""
        if self.categories is None:
            return rows
        are_logits = self.categories.are_categories
        rows[:, are_logits] -= self.offset[are_logits]
        rows[:, are_logits] /= self.scale
        return self.categories.encoded(rows)


class Variational(_WithCategories):
    """Network whose encoder computes a normal distribution of the code."""

    @property
    def likelihood(self) -> Likelihood:
        """Form of the likelihood."""
        slices = () if self.categories is None else self.categories.slices
        return Likelihood.from_parts(self.activations, slices)

    @property
    def log_units(self) -> NDArray[np.float64]:
        """Logarithm of the unit of each standardised column; zero for categories."""
        log_units = np.full(len(self.offset), np.log(self.scale))
        if self.categories is not None:
            log_units[self.categories.are_categories] = 0
        return log_units

    def constants(self, dtype: DTypeLike) -> list[NDArray[Any]]:
        """Return the constants of `negative_log_likelihoods`, in a float type."""
        constants = list(self.standardised_bounds(dtype))
        if self.categories is not None:
            constants.append(((self.categories.middles - self.offset) / self.scale).astype(dtype))
        return constants

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

    def codes_and_residuals(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """Return the codes of dense rows beside the differences from their reconstructions.

        A missing value has the difference zero.
        """
        codes = self.encode(X)
        differences = np.nan_to_num(X.astype(np.float64) - self.mean_path.decode(codes))
        return np.hstack([codes, differences])

    def code_variances(self, X: NDArray[Any]) -> NDArray[Any]:
        """Return the posterior variances of the codes of dense rows."""
        variances = np.exp(self._posterior(X)[-1])
        return self._again_in_double_precision("code_variances", X, variances)

    def rescaled(self, scale: float) -> Self:
        """Return an equivalent network with another scale; see `Autoencoder.rescaled`."""
        network = super().rescaled(scale)
        if "log_noise_variance" in network.params:
            network.params["log_noise_variance"] += 2 * np.log(self.scale / scale)
        if self.categories is not None:  # logits have no unit
            for output in _last_of_decoder(network.params):
                output[..., self.categories.are_categories] *= scale / self.scale
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
        constants, log_noise = self.constants(self.dtype), self.params.get("log_noise_variance")
        out = forward(self.params["decoder"], codes, self.activations[0], "identity")
        parts = -_losses(out, log_noise, rows, constants, self.likelihood, np)
        if self.activations[-1] != "logistic":
            parts -= self.log_units.astype(self.dtype)
        if self.categories is not None and self.categories.scores:
            units = self.categories.units(X)
            columns, deviations = units.columns, np.exp(np.asarray(log_noise) / 2) * self.scale
            means = out[:, columns].clip(*np.stack(constants[:2])[:, columns])
            means = means * self.scale + self.offset[columns]
            deviations = np.broadcast_to(deviations, self.offset.shape)[columns]
            parts[:, columns] = units.log_likelihoods(parts[:, columns], means, deviations)
        observed: NDArray[Any] = parts if self.imputer is None else np.where(np.isnan(X), 0, parts)
        return observed

    def log_likelihoods_given_codes(
        self, row: NDArray[Any], codes: NDArray[Any]
    ) -> NDArray[np.float64]:
        """Return the log-likelihood of a row given each code; NaN values are left out.

        Parameters
        ----------
        row : ndarray of shape (1, n_features)
            The row.
        codes : ndarray of shape (n_codes, n_components)
            Codes.
        """

        def log_likelihoods(codes: NDArray[Any]) -> NDArray[Any]:
            X = np.repeat(row, len(codes), axis=0)
            with np.errstate(over="ignore", invalid="ignore"):
                parts = self._log_likelihoods_of_entries(X, self.standardise(X), codes)
                total: NDArray[np.float64] = parts.sum(axis=1, dtype=np.float64)
            return np.nan_to_num(total, nan=-np.inf, posinf=-np.inf, neginf=-np.inf)

        return Table(codes).map(log_likelihoods, self.width)

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


class _MeanPath(_WithCategories):
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
    _, covariance = mean_and_covariance(table.total_weight, *code_sums(network, table))
    categories = table.categories
    if categories is None:
        variational = _from_covariance(network, covariance, table, per_feature)
        variational = _bernoulli(variational) if output == "logistic" else variational
    else:
        rank = table.n_features - len(categories.slices)  # indicators of a column sum to one
        largest = max(0, min(network.code_size, rank - 1))
        sizes = {largest >> i for i in range(largest.bit_length() + 1)}
        starts = [
            _categorical(_from_covariance(network, covariance, table, per_feature, n), categories)
            for n in sorted(sizes)
        ]
        variational = max(starts, key=partial(_mean_bound, table=table))
    result: Variational = table.workers.broadcast_object(variational.astype(table.dtype))
    return result


def _from_covariance(
    network: Autoencoder,
    covariance: NDArray[Any],
    table: Table,
    per_feature: bool,
    n_loadings: int | None = None,
) -> Variational:
    """Return the variational network with a Gaussian likelihood, given PCA's code.

    Parameters
    ----------
    network, table, per_feature
        See `at_probabilistic_pca`.
    covariance : ndarray of shape (n_components, n_components)
        Covariance of the code of the rows.
    n_loadings : int, optional
        Number of components that the rows depend on, in a table with categories. Columns of the
        encoded table then depend on others, and have no noise along some directions.
    """
    n_features, size, rank = table.n_features, network.code_size, None
    variance, signal = np.diag(covariance), np.zeros(size)
    if n_loadings is not None:
        assert table.categories is not None
        variance, rank = variance[:n_loadings], n_features - len(table.categories.slices)
    noise, lengths = probabilistic_pca(variance, table.total_weight, n_features, rank)
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
    return Variational.from_network(network, params)


def _mean_bound(network: Variational, table: Table) -> float:
    """Return the mean lower bound of the log-likelihood of the rows of a table, with one draw."""

    def bounds(rows: NDArray[Any]) -> NDArray[np.float64]:
        draws = np.random.default_rng(0).standard_normal((len(rows), network.code_size))
        return network.log_weights(rows, draws)

    of_rows = table.map(bounds, network.width)
    return float(np.average(of_rows, weights=table.take_weights()))


def _last(half: Params) -> NDArray[Any]:
    """Return the linear path of an encoder or decoder at PCA, which may be its only layer."""
    path: NDArray[Any] = half["linear"] if "linear" in half else half["coefs"][0]
    return path


def _last_of_decoder(params: Params) -> list[NDArray[Any]]:
    """Return the weights and intercepts of a decoder that determine its output linearly."""
    decoder = params["decoder"]
    last = [decoder["coefs"][-1], decoder["intercepts"][-1]]
    return [*last, decoder["linear"]] if "linear" in decoder else last


def _categorical(network: Variational, categories: CategoryColumns) -> Variational:
    """Return the network with categorical likelihoods, given the one with a Gaussian likelihood.

    To first order around the mean of the rows, the initial probabilities are the reconstruction of
    factor analysis of mixed data. The model's variance of each number is one, that of its rows.
    """
    are_categories, p = categories.are_categories, categories.frequencies
    log_noise = network.params["log_noise_variance"]
    if not are_categories.all():
        signal = np.square(_last(network.params["decoder"])).sum(axis=0)
        noise = np.maximum(1 / network.scale**2 - signal, np.exp(log_noise))
        log_noise[...] = np.log(noise if len(log_noise) > 1 else noise[~are_categories].mean())
    coefs, intercepts, *linear = _last_of_decoder(network.params)
    for output in (coefs, intercepts, *linear):
        output[..., are_categories] *= (network.scale / np.sqrt(p))[are_categories]
    shift = network.offset / np.sqrt(p) + np.log(p)
    intercepts[are_categories] += shift[are_categories]
    bounds = np.where(are_categories, [[-np.inf], [np.inf]], network.bounds)
    return replace(network, bounds=bounds.astype(network.bounds.dtype), categories=categories)


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
