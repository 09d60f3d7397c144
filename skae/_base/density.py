"""Inference with a fitted variational autoencoder, using NumPy only."""

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .. import _sklearn_compat
from .._dask.collections import is_collection, of_partitions
from .._data.table import Table
from .._networks.forward import Params, clip
from .._networks.network import Autoencoder
from .._networks.variational import Variational
from .._sklearn_compat import Interval
from .inference import (
    FittedAutoencoder,
    MatrixLike,
    input_names,
    lazy_for_collections,
    output_names,
)

# Seed of the draws of `score_samples`, which are the same for all rows and in all calls.
_DRAW_SEED = 0


class FittedDensity(FittedAutoencoder):
    """Fitted attributes and methods of a variational autoencoder: densities and samples."""

    n_draws: int
    noise_variance_: Any

    @property
    def _trained_network(self) -> Variational:
        network = super()._network
        params: Params = {"encoder": self.encoder_, "decoder": self.decoder_}
        if network.activations[-1] == "identity":
            log_noise = np.atleast_1d(np.log(self.noise_variance_))
            params["log_noise_variance"] = log_noise.astype(network.offset.dtype)
        return Variational.from_network(network, params)

    @property
    def _network(self) -> Autoencoder:
        return self._trained_network.mean_path

    def _prepare_density(self, X: MatrixLike) -> tuple[Variational, Table]:
        """Return the variational network, with the scale of training, and the table of X.

        The network is in the float type of X.
        """
        check_is_fitted(self)
        network, table = self._prepare(X, self._trained_network)
        return network.rescaled(self.scale_).astype(table.dtype), table

    @lazy_for_collections(dtype=np.float64)
    def score_samples(self, X: MatrixLike) -> NDArray[Any]:
        """Compute the log-likelihood of each row, which is low for unusual rows.

        It is a lower bound from importance weighting with `n_draws` draws, the same for all rows.
        It is exact if probabilistic PCA was kept without bounds and no value is missing.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Scores in nats, float64; minus infinity where numbers overflow.
        """
        network, table = self._prepare_density(X)
        rng = np.random.default_rng(_DRAW_SEED)
        draws = rng.standard_normal((self.n_draws, self.n_components_))
        return table.map(lambda rows: network.log_likelihoods(rows, draws), network.width)

    @lazy_for_collections(names=input_names)
    def score_features(self, X: MatrixLike) -> NDArray[Any]:
        """Compute the log-likelihood of each entry given the mean code of its row.

        In a row with a low score, the entries with the lowest values do not fit the others. The
        remainder of the score of the row is due to its latent code.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        scores : ndarray of shape (n_samples, n_features_in_)
            In nats, zero for missing values, and minus infinity where numbers overflow; float32 for
            float32 rows, else float64.
        """
        network, table = self._prepare_density(X)
        return table.map(network.entry_log_likelihoods, network.width)

    def score(self, X: MatrixLike, y: object = None) -> float:
        """Compute the mean log-likelihood of the rows, which is comparable with `PCA.score`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        score : float
            In nats.
        """
        if is_collection(X):
            check_is_fitted(self)
            totals, counts = np.transpose(of_partitions(self, "_total_and_count", X))
            return float(totals.sum() / counts.sum())
        return float(self.score_samples(X).mean())

    def _total_and_count(self, X: MatrixLike) -> tuple[float, int]:
        """Return the sum of the log-likelihoods of rows, and the number of rows."""
        scores = self.score_samples(X)
        return scores.sum(), len(scores)

    @lazy_for_collections(names=output_names)
    def posterior_variance(self, X: MatrixLike) -> NDArray[Any]:
        """Compute the posterior variance of the code of each row; `transform` returns the mean.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        variances : ndarray of shape (n_samples, n_components_)
            One if the row does not depend on the component, and less otherwise; float32 for float32
            rows, else float64. Missing values are imputed first, so that the variance of a row with
            some missing values is too small. The variance of a row without any value is one.
        """
        network, table = self._prepare_density(X)
        return table.map(network.code_variances, network.width)

    @_sklearn_compat.validate_params(  # type: ignore[untyped-decorator]
        {
            "n_samples": [Interval(Integral, 1, None, closed="left")],
            "random_state": ["random_state"],
        },
        prefer_skip_nested_validation=True,
    )
    def sample(
        self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None
    ) -> NDArray[Any]:
        """Draw new rows.

        ``inverse_transform`` of standard normal codes gives the means of new rows, without noise.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState instance or None, default=None
            Determines the draws. Pass an int to get the same rows from every call.

        Returns
        -------
        rows : ndarray of shape (n_samples, n_features_in_)
            Rows with Gaussian noise, clipped to `bounds_`; zeros and ones for a Bernoulli
            likelihood.
        """
        check_is_fitted(self)
        rng, dtype = check_random_state(random_state), self.center_.dtype
        codes = rng.standard_normal((n_samples, self.n_components_)).astype(dtype)
        rows: NDArray[Any] = self.inverse_transform(codes)
        if self.activations_[-1] == "logistic":
            rows = (rng.uniform(size=rows.shape) < rows).astype(dtype)
        else:
            noise = rng.standard_normal(rows.shape) * np.sqrt(self.noise_variance_)
            rows = clip(rows + noise.astype(dtype), *self.bounds_)
        return rows
