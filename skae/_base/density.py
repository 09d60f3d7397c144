"""Inference with a fitted variational autoencoder, using NumPy only."""

from dataclasses import replace
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .. import _sklearn_compat
from .._dask.collections import is_collection, of_partitions
from .._data.category_columns import with_temperature
from .._data.frames import labels_of
from .._data.table import Table
from .._data.weights import Weights, weights_or_ones
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
from .local_density import n_stored_rows

# Seed of the draws of `score_samples`, which are the same for all rows and in all calls.
_DRAW_SEED = 0
# Number of rows that `sample` draws to compute the quantiles of the model.
_N_MATCHED = 10_000
# Smallest number of codes that `sample` draws from the prior for conditions, and the smallest
# effective number of them, after weighting, without a warning.
_N_PROPOSED, _MIN_EFFECTIVE = 20_000, 50


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
        trained = Variational.from_network(network, params)
        if self._columns_ is None:
            return trained
        return replace(trained, categories=self._columns_.category_columns)

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
        It is exact for a table of numbers if probabilistic PCA was kept without bounds and no value
        is missing. A category that no training row has, has the probability ``1 / (n_rows + 1)``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Scores in nats, float64; minus infinity where numbers overflow.
        """
        return self._log_likelihoods(X, *self._prepare_density(X))

    def _log_likelihoods(
        self, X: MatrixLike, network: Variational, table: Table
    ) -> NDArray[np.float64]:
        """Return the log-likelihood of each row, given the result of `_prepare_density`."""
        rng = np.random.default_rng(_DRAW_SEED)
        draws = rng.standard_normal((self.n_draws, self.n_components_))
        scores = table.map(lambda rows: network.log_likelihoods(rows, draws), network.width)
        return scores if self._columns_ is None else scores + self._of_unknown(X, table).sum(axis=1)

    def _of_unknown(self, X: Any, table: Table) -> NDArray[np.float64]:
        """Return the log-likelihood of categories that no training row has; zero for others.

        `table` has the encoded rows of X. The probability is ``1 / (n_rows + 1)``, as for a value
        that has not occurred yet.
        """
        assert self._columns_ is not None
        unknown = self._columns_.unknown(self._mixed_table(X, reset=False), table.X)
        log_likelihoods: NDArray[np.float64] = -np.log(self.n_samples_seen_ + 1) * unknown
        return log_likelihoods

    def _examples(
        self, X: MatrixLike, weights: Weights = None
    ) -> tuple[NDArray[np.float64], NDArray[Any], NDArray[np.float64]]:
        """Return codes and residuals of some training rows, variances of the codes, and weights.

        X has training rows: all of them if `weights` are given. If there are more training rows
        than may be stored, the same fraction of the rows of each X is chosen at random.
        """
        network, table = self._prepare_density(X)
        n_stored = n_stored_rows(self.n_components_ + table.n_features)
        n_training = self.n_samples_seen_ if weights is None else table.n_rows
        rows = np.random.default_rng(0).permutation(table.n_rows)
        rows = rows[: int(np.ceil(min(1.0, n_stored / n_training) * table.n_rows))]
        examples = table.select(rows)
        return (
            examples.map(network.codes_and_residuals, network.width),
            examples.map(network.code_variances, network.width),
            weights_or_ones(weights, table.n_rows)[rows],
        )

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
        scores : ndarray or data frame of shape (n_samples, n_features_in_)
            In nats, zero for missing values, and minus infinity where numbers overflow; float32 for
            float32 rows, else float64. The entry of a category is the logarithm of its probability.
            A frame with the names of `feature_names_in_` if `set_output` asks for frames.
        """
        network, table = self._prepare_density(X)
        entries = table.map(network.entry_log_likelihoods, network.width)
        if self._columns_ is not None:
            entries = self._columns_.sums(entries) + self._of_unknown(X, table)
        return self._named(entries, X)

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
            "conditions": [dict, None],
        },
        prefer_skip_nested_validation=True,
    )
    def sample(
        self,
        n_samples: int = 1,
        random_state: int | np.random.RandomState | None = None,
        *,
        conditions: dict[Any, Any] | None = None,
        temperature: float = 1.0,
    ) -> Any:
        """Draw new rows.

        ``inverse_transform`` of standard normal codes gives the means of new rows, without noise.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState instance or None, default=None
            Determines the draws. Pass an int to get the same rows from every call.
        conditions : dict, default=None
            Values of some columns, which all rows get: from the name of a column, or its index if
            the columns have no names, to a number or a category. The other columns are drawn given
            these values, by importance resampling of the code from its prior. The fewer rows of the
            model agree with the values, the less accurate the result is.
        temperature : float, default=1.0
            Amount of noise, at least zero. The standard deviation of the noise of a number is
            multiplied by it, and the probability of a category, given the code, is proportional to
            ``p ** (1 / temperature)``. Rows with less noise, such as with 0.5, train better
            classifiers, but they are less varied than the rows of the model. 0 gives the mean of
            each number and the most probable category.

        Returns
        -------
        rows : ndarray or data frame of shape (n_samples, n_features_in_)
            Rows with Gaussian noise, clipped to `bounds_`; zeros and ones for a Bernoulli
            likelihood. If the training table had categories, a table of the same kind with the same
            columns and dtypes. Each number is then mapped by a function of its column, so that
            without conditions the column has the distribution of the training column: its range,
            its most frequent values, whole numbers. The result does not have exactly the
            distribution that `score_samples` measures. A frame with the names of
            `feature_names_in_` if `set_output` asks for frames.

        Raises
        ------
        ValueError
            If a condition names an unknown column or category, if its value is missing, or if the
            dtype of the column cannot hold it. If `temperature` is negative or not finite.

        Warns
        -----
        UserWarning
            If so few draws of the code agree with the conditions that many rows have the same code.
        """
        check_is_fitted(self)
        if not (isinstance(temperature, Real) and 0 <= temperature < np.inf):
            raise ValueError(f"temperature must be a number of at least 0, got {temperature!r}.")
        rng, given = check_random_state(random_state), self._by_index(conditions or {})
        if given:
            codes = self._codes_given(self._row_of(given), n_samples, rng)
        else:
            codes = self._codes(n_samples, rng)
        rows = self._drawn(codes, rng, temperature)
        if self._columns_ is None:
            rows[:, list(given)] = list(given.values())
            return self._named(rows)
        rng = np.random.RandomState(_DRAW_SEED)
        others = self._drawn(self._codes(_N_MATCHED, rng), rng, temperature)
        return self._named(self._columns_.decode(self._columns_.matched(rows, others), given=given))

    def _codes(self, n_samples: int, rng: np.random.RandomState) -> NDArray[Any]:
        """Draw codes from the prior."""
        codes: NDArray[Any] = rng.standard_normal((n_samples, self.n_components_))
        return codes.astype(self.center_.dtype)

    def _codes_given(
        self, row: NDArray[Any], n_samples: int, rng: np.random.RandomState
    ) -> NDArray[Any]:
        """Draw codes given the entries of a row that are not NaN, by importance resampling."""
        codes = self._codes(max(_N_PROPOSED, 10 * n_samples), rng)
        network = self._trained_network.astype(codes.dtype)
        log_weights = network.log_likelihoods_given_codes(row, codes)
        if np.isneginf(log_weights).all():
            raise ValueError("The conditions have no likelihood: their numbers are too large.")
        weights = softmax(log_weights)
        n_effective = 1 / np.square(weights).sum()
        if n_effective < _MIN_EFFECTIVE:
            _sklearn_compat.warn(
                f"The conditions are rare: about {n_effective:.0f} of {len(codes)} drawn codes "
                "agree with them. Leave some conditions out, or expect repeated codes.",
                UserWarning,
            )
        chosen: NDArray[Any] = codes[rng.choice(len(codes), n_samples, p=weights)]
        return chosen

    def _by_index(self, conditions: dict[Any, Any]) -> dict[int, Any]:
        """Return conditions with the indices of the columns, and not their names."""
        names = list(getattr(self, "feature_names_in_", range(self.n_features_in_)))
        if self._columns_ is not None:
            names = labels_of(self._columns_.template)
        if unknown := [name for name in conditions if name not in names]:
            raise ValueError(f"conditions name the columns {unknown}, and X has {names}.")
        return {names.index(name): value for name, value in conditions.items()}

    def _row_of(self, given: dict[int, Any]) -> NDArray[Any]:
        """Return a row with given values of some columns, encoded, and NaN for all other entries.

        Raises
        ------
        ValueError
            If a value is missing, unknown or too large, or no number for a column of numbers.
        """
        if self._columns_ is not None:
            return self._columns_.row_of(given)
        row = np.full((1, self.n_features_in_), np.nan)
        for i, value in given.items():
            row[0, i] = value if isinstance(value, Real) else np.nan
        chosen, is_binary = row[0, list(given)], self.activations_[-1] == "logistic"
        if not np.isfinite(chosen).all() or (is_binary and not np.isin(chosen, [0, 1]).all()):
            kind = "zeros and ones" if is_binary else "finite numbers"
            raise ValueError(f"The values of the columns {list(given)} must be {kind}.")
        return row

    def _drawn(
        self, codes: NDArray[Any], rng: np.random.RandomState, temperature: float
    ) -> NDArray[Any]:
        """Draw rows given their codes; they are encoded if the training table had categories."""
        means = Table(codes).map(self._network.astype(codes.dtype).decode, self._network.width)
        if self.activations_[-1] == "logistic":
            p = with_temperature(np.stack([1 - means, means], axis=-1), temperature)[..., 1]
            ones: NDArray[Any] = (rng.uniform(size=means.shape) < p).astype(codes.dtype)
            return ones
        noise = rng.standard_normal(means.shape) * (temperature * np.sqrt(self.noise_variance_))
        rows: NDArray[Any] = means + noise.astype(codes.dtype)
        if self._columns_ is None:
            clipped: NDArray[Any] = clip(rows, *self.bounds_)
            return clipped
        categories = self._columns_.category_columns
        rows = np.where(categories.are_categories, means, rows)
        return categories.drawn(rows, rng, temperature)
