"""The variational autoencoder: densities and samples, from the rooms of the other one."""

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from . import _sklearn_compat
from ._base.inference import Rows, ServingMixin
from ._base.training import TrainingMixin
from ._dask.collections import is_collection, lazily, of_partitions
from ._initialization.initial_network import first_network
from ._networks.network import clip
from ._networks.variational import Variational, at_probabilistic_pca
from ._parameters import CONSTRAINTS, check_same
from ._sklearn_compat import CallbackSupportMixin, EstimatorMixin, Interval, StrOptions
from ._training.losses import Elbo

# Of the draws that judge rows: the same whenever they are judged, and for each.
_DRAW_SEED = 0
# The variance of the noise is a part of the square of this scale.
_LEAST_SCALE = 1e-150
# Parameters that are the autoencoder's.
_SHARED = ("hidden_layer_sizes", "activation", "bounds", "learning_rate", "learning_rate_init")
_SHARED += ("batch_size", "max_iter", "max_steps", "alpha", "validation_fraction")
_SHARED += ("early_stopping", "n_iter_no_change", "tol", "warm_start", "random_state", "verbose")


class VariationalAutoencoder(
    CallbackSupportMixin, EstimatorMixin, TrainingMixin, ServingMixin, BaseEstimator
):
    """Variational autoencoder that starts as probabilistic PCA and only gets more likely.

    A model of how rows come about, as :class:`~sklearn.decomposition.PCA` is by its `score`: a code
    z is drawn from a standard normal distribution, a network makes the mean of a row of it, and
    noise is added. `score_samples` says how likely rows are, so that unusual ones score low,
    `sample` draws new ones, and `transform` gives the mean of the code given a row.

    Training starts exactly at probabilistic PCA [1]_, whose likelihood is that of `PCA.score` for
    up to ``min(n_samples - 2, n_features - 1)`` components, and raises a lower bound of the
    likelihood of the training rows [2]_. The snapshot with the highest bound on held-out rows is
    kept, if it beats probabilistic PCA there beyond chance, and probabilistic PCA fitted on all
    rows if not.

    Parameters
    ----------
    n_components : int, default=16
        Size of the code, at most the number of features.

    likelihood : {"gaussian", "bernoulli"}, default="gaussian"
        How rows differ from their mean: by Gaussian noise, or as coins do whose probabilities are
        the mean, for features that are 0 or 1. Values between are taken as probabilities
        themselves.

    noise_variance : {"scalar", "feature"}, default="scalar"
        Whether the Gaussian noise has one variance for all features, as in PCA, or one for each, as
        in :class:`~sklearn.decomposition.FactorAnalysis`, which start at PCA's. The latter is more
        likely wherever features differ in how well the others tell them.

    beta : float, default=1.0
        Weight of the divergence of the posterior from the prior; with one, what is maximised is a
        bound of the likelihood. Larger values keep less in the code [3]_.

    contamination : float, default=0.0
        Share of the rows that may be outliers, below 0.5: that share of the rows of each batch,
        rounded up, is left out of the step, the least likely rows first. At least one row is left.

    n_draws : int, default=20
        Draws of the code by which `score_samples` judges each row [4]_. More give a higher and
        tighter bound, in proportionally more time.

    hidden_layer_sizes : int or tuple of int, default=(256,)
        As in :class:`AutoencoderTransformer`.

    activation : {"identity", "relu", "tanh", "logistic", "elu", "gelu", "silu"}, default="silu"
        As in :class:`AutoencoderTransformer`.

    bounds : "auto", None or (low, high), default="auto"
        As in :class:`AutoencoderTransformer`, for the mean of a row. `sample` clips its rows to
        `bounds_`, noise included.

    learning_rate : {"linear", "cosine", "constant"}, default="linear"
        As in :class:`AutoencoderTransformer`.

    learning_rate_init : float, default=7e-3
        As in :class:`AutoencoderTransformer`.

    batch_size : int, default=256
        As in :class:`AutoencoderTransformer`.

    max_iter : int or "auto", default="auto"
        As in :class:`AutoencoderTransformer`, but "auto" makes at least 1200 steps: the noise
        variance has far to go.

    max_steps : int or None, default=None
        As in :class:`AutoencoderTransformer`.

    alpha : float, default=1.0
        L2 penalty: this times half the sum of squares of the layers' coefs, divided by the number
        of training rows, is subtracted from the bound per feature. A Bernoulli likelihood of many
        rows wants less, such as 0.05.

    validation_fraction : float, default=0.1
        As in :class:`AutoencoderTransformer`.

    early_stopping : bool, default=False
        As in :class:`AutoencoderTransformer`.

    n_iter_no_change : int, default=10
        See `early_stopping`.

    tol : float, default=1e-4
        See `early_stopping`; in nats per feature.

    warm_start : bool, default=False
        As in :class:`AutoencoderTransformer`.

    random_state : int, RandomState instance or None, default=None
        For the hidden layers, the held-out rows, the order of minibatches and the draws. An int
        makes `fit` reproducible to the bit on the same machine with as many threads.

    verbose : int, default=0
        1 prints a line at each evaluation, and at the end whether a step or PCA is kept; 2 or more
        also prints, of each run, the number of its training rows.

    Attributes
    ----------
    encoder_, decoder_ : dict
        Weights: "coefs" and "intercepts", lists with one array per layer, and "linear". The
        encoder's last layer gives the means of the code, and then the logarithms of its variances.
    noise_variance_ : float or ndarray of shape (n_features_in_,)
        Variance of the Gaussian noise, in the units of X, squared.
    lower_bound_ : float
        Mean bound of the log-likelihood of a held-out row, in nats, with one draw; if there were
        none, of a training row.
    loss_curve_ : ndarray of shape (n_steps_,)
        Negated bound of the minibatch of each gradient step, in nats per row.
    validation_curve_ : ndarray of shape (n_evaluations, 2)
        Gradient steps made, and negated bound on the held-out rows then.
    mean_, offset_, scale_, bounds_, filling_, activations_, components_, n_components_, \
n_features_in_, feature_names_in_, n_samples_seen_, n_steps_, n_iter_, best_step_
        As in :class:`AutoencoderTransformer`.

    See Also
    --------
    AutoencoderTransformer : Lower error, a canonical code, and no density.
    sklearn.decomposition.FactorAnalysis : Linear, with a noise variance for each feature.
    sklearn.neighbors.KernelDensity : Another density, which must keep the training rows.

    Notes
    -----
    Densities are in the units of X: a likelihood can exceed one, and its logarithm be positive. Of
    columns that are whole numbers, or have many rows on one value, add noise of the width of a unit
    first, for otherwise the noise variance shrinks towards zero. Missing values are handled as in
    :class:`AutoencoderTransformer`; a row's score is over its observed values. The code of a row
    without any value has the prior's mean and variance, zero and one, and its score is zero.

    References
    ----------
    .. [1] M. Tipping, C. Bishop. "Probabilistic Principal Component Analysis", Journal of the Royal
       Statistical Society B 61, 1999, section 3.
    .. [2] D. Kingma, M. Welling. "Auto-Encoding Variational Bayes", ICLR 2014, equation 10.
    .. [3] I. Higgins et al. "beta-VAE", ICLR 2017, equation 4.
    .. [4] Y. Burda, R. Grosse, R. Salakhutdinov. "Importance Weighted Autoencoders", ICLR 2016,
       equation 8.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from skae import VariationalAutoencoder
    >>> X = load_digits().data
    >>> X += np.random.default_rng(0).uniform(size=X.shape)  # whole numbers have no density
    >>> train, test = X[:1500], X[1500:]
    >>> vae = VariationalAutoencoder(8, max_steps=400, random_state=0).fit(train)
    >>> bool(vae.score(test) > PCA(8).fit(train).score(test) + 10)
    True
    >>> vae.sample(3, random_state=0).shape
    (3, 64)
    """

    _parameter_constraints: dict = {  # noqa: RUF012
        **{name: CONSTRAINTS[name] for name in _SHARED},
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "likelihood": [StrOptions({"gaussian", "bernoulli"})],
        "noise_variance": [StrOptions({"feature", "scalar"})],
        "beta": [Interval(Real, 0, None, closed="neither")],
        "contamination": [Interval(Real, 0, 0.5, closed="left")],
        "n_draws": [Interval(Integral, 1, 2**31 - 1, closed="both")],
    }

    # What the autoencoder leaves open and this one does not.
    init, whiten, code_activation = "pca", False, "identity"
    corruption, noise, target_weight = "gaussian", 0.0, 0.0
    output_activation = property(
        lambda self: "logistic" if self.likelihood == "bernoulli" else "identity"
    )

    def __init__(
        self,
        n_components: int = 16,
        *,
        likelihood: Literal["gaussian", "bernoulli"] = "gaussian",
        noise_variance: Literal["scalar", "feature"] = "scalar",
        beta: float = 1.0,
        contamination: float = 0.0,
        n_draws: int = 20,
        hidden_layer_sizes: int | Sequence[int] = (256,),
        activation: str = "silu",
        bounds: Any = "auto",
        learning_rate: Literal["linear", "cosine", "constant"] = "linear",
        learning_rate_init: float = 7e-3,
        batch_size: int = 256,
        max_iter: int | Literal["auto"] = "auto",
        max_steps: int | None = None,
        alpha: float = 1.0,
        validation_fraction: float = 0.1,
        early_stopping: bool = False,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.likelihood = likelihood
        self.noise_variance = noise_variance
        self.beta = beta
        self.contamination = contamination
        self.n_draws = n_draws
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.bounds = bounds
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.max_steps = max_steps
        self.alpha = alpha
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    # ---- fitting

    @_sklearn_compat.validating_parameters
    def fit(
        self,
        X: Rows,
        y: object = None,
        *,
        X_val: Rows | None = None,
        y_val: object = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Train the autoencoder.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data; in [0, 1] for a Bernoulli likelihood.
        y : Ignored
            Not used, present for API consistency by convention.
        X_val : {array-like, sparse matrix} of shape (n_val, n_features), default=None
            Validation rows, which replace those that `validation_fraction` holds out: all of X is
            trained on, and X_val chooses what is kept. In a `Pipeline`, it is transformed as X is
            with ``Pipeline(..., transform_input=["X_val"])``.
        y_val : Ignored
            Not used, present for API consistency by convention.
        groups : array-like of shape (n_samples,), default=None
            Group of each row, as for scikit-learn's group splitters: any hashable value, such as
            the name of a patient. The rows of a group are held out together. Not with X_val.

        Returns
        -------
        self : VariationalAutoencoder
            The fitted estimator.

        Raises
        ------
        ValueError
            If X_val has other columns than X, or y_val or groups do not fit X_val, X and the
            parameters.
        """
        return self._fit(X, y, X_val=X_val, y_val=y_val, groups=groups)

    @_sklearn_compat.validating_parameters
    def partial_fit(self, X: Rows, y: object = None) -> Self:
        """Go on training with one pass over the rows of X, the next batch of a stream.

        The first call on a new estimator starts it at the probabilistic PCA of its batch; after
        `fit`, the stream goes on from the fitted network. As long as the rows are few they are
        kept, and the next call starts again from all of them. See
        :meth:`AutoencoderTransformer.partial_fit`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The next rows, as few as one.
        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        self : VariationalAutoencoder
            The estimator.
        """
        return self._partial_fit(X)

    def _open(self, X, *, fitted):
        table, columns, seed, architecture = super()._open(X, fitted=fitted)
        if fitted and self.likelihood == "gaussian":
            kind = "feature" if np.ndim(self.noise_variance_) else "scalar"
            check_same("noise_variance", self.noise_variance, kind)
        return table, columns, seed, architecture

    def _check_rows(self, table, columns):
        if self.likelihood != "bernoulli":
            return
        least, most = table.extremes()
        for column in np.flatnonzero((least < 0) | (most > 1))[:1]:
            (label,) = _sklearn_compat.column_labels([column], columns.get("feature_names_in_"))
            raise ValueError(
                "likelihood='bernoulli' needs X in [0, 1], and column "
                f"{label!r} goes from {least[column]:g} to {most[column]:g}: scale it, or set "
                "likelihood='gaussian'."
            )

    def _architecture(self):
        return super()._architecture()._replace(likelihood=self.likelihood)

    def _objective(self, architecture, target=None):
        return Elbo(
            architecture.activations,
            architecture.n_components,
            float(self.contamination),
            float(self.beta),
        )

    def _first_network(self, table, architecture, seed):
        hidden, code, output = architecture.activations
        architecture = architecture._replace(activations=(hidden, code, "identity"))
        if output == "logistic":  # which has a range of its own
            architecture = architecture._replace(bounds=None)
        per_feature = self.noise_variance == "feature"
        network = first_network(table, architecture, seed)
        if output == "identity" and network.scale < _LEAST_SCALE:
            raise ValueError(
                f"X varies by {network.scale:.0e}, whose square is no float: multiply it by a "
                "constant."
            )
        return at_probabilistic_pca(network, table, output, per_feature=per_feature)

    @property
    def _trained_network(self):
        network = super()._network
        params = {"encoder": self.encoder_, "decoder": self.decoder_}
        if network.activations[-1] == "identity":
            log_noise = np.atleast_1d(np.log(self.noise_variance_))
            params["log_noise_variance"] = log_noise.astype(network.offset.dtype)
        return Variational(*network._replace(params=params))

    def _weights(self, network):
        weights = super()._weights(network)
        if self.likelihood == "gaussian":
            noise = network.params["log_noise_variance"].astype(np.float64)
            noise = np.exp(noise + 2 * np.log(network.scale))
            weights["noise_variance_"] = noise if self.noise_variance == "feature" else noise[0]
        return weights

    _loss_name, _error_name = "negated log-likelihood bound, nats", "_negated_bound_"
    _pca_name = "probabilistic PCA"

    @property
    def lower_bound_(self) -> float:
        """Mean bound of the log-likelihood of a held-out row."""
        check_is_fitted(self)
        return -self._negated_bound_

    # ---- serving

    @property
    def _network(self):
        return self._trained_network.mean_path

    def _prepare_density(self, X):
        """Return the whole network in the float type of X and the unit of training, and a table."""
        check_is_fitted(self)
        network, table = self._prepare(X, self._trained_network)
        return network.rescaled(self.scale_).astype(table.dtype), table

    def score_samples(self, X: Rows) -> NDArray[Any]:
        """Log-likelihood of each row, so that unusual rows score low.

        A lower bound, weighted by importance over `n_draws` draws, the same for all rows. Where
        probabilistic PCA was kept without bounds, and nothing is missing, it is exact.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            In nats, float64; minus infinity where numbers overflow.
        """
        if is_collection(X):
            check_is_fitted(self)
            return lazily(self, "score_samples", X, dtype=np.float64)
        network, table = self._prepare_density(X)
        draws = np.random.default_rng(_DRAW_SEED)
        draws = draws.standard_normal((self.n_draws, self.n_components_))
        return table.map(lambda rows: network.log_likelihoods(rows, draws), network.width)

    def score_features(self, X: Rows) -> NDArray[Any]:
        """Log-likelihood of each entry given the mean code of its row.

        Where a row scores low, the lowest of these say which features do not fit the others; what
        they leave of its score is that its code is unusual.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        scores : ndarray of shape (n_samples, n_features_in_)
            In nats, zero where something is missing, and minus infinity where numbers overflow;
            float32 for float32 rows, else float64.
        """
        if is_collection(X):
            check_is_fitted(self)
            return lazily(self, "score_features", X, self._names_in())
        network, table = self._prepare_density(X)
        return table.map(network.entry_log_likelihoods, network.width)

    def score(self, X: Rows, y: object = None) -> float:
        """Mean log-likelihood of the rows, comparable with that of `PCA.score`.

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

    def _total_and_count(self, X):
        """Return the sum of the log-likelihoods of rows, and the number of rows."""
        scores = self.score_samples(X)
        return scores.sum(), len(scores)

    def posterior_variance(self, X: Rows) -> NDArray[Any]:
        """Variance of the code of each row, whose mean `transform` gives.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        variances : ndarray of shape (n_samples, n_components_)
            One where a row says nothing of a component, and less otherwise; float32 for float32
            rows, else float64. Missing values are filled first, so that the variance of a row with
            some missing values is too small. That of a row without any value is one.
        """
        if is_collection(X):
            check_is_fitted(self)
            return lazily(self, "posterior_variance", X, self.get_feature_names_out())
        network, table = self._prepare_density(X)
        return table.map(network.code_variances, network.width)

    @_sklearn_compat.validate_params(
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

        ``inverse_transform`` of standard normal codes gives their means, without noise.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState instance or None, default=None
            For the draws.

        Returns
        -------
        rows : ndarray of shape (n_samples, n_features_in_)
            Their means with Gaussian noise, within `bounds_`, or zeros and ones.
        """
        check_is_fitted(self)
        rng, dtype = check_random_state(random_state), self.offset_.dtype
        codes = rng.standard_normal((n_samples, self.n_components_)).astype(dtype)
        rows = self.inverse_transform(codes)
        if self.activations_[-1] == "logistic":
            return (rng.uniform(size=rows.shape) < rows).astype(dtype)
        noise = rng.standard_normal(rows.shape) * np.sqrt(self.noise_variance_)
        return clip(rows + noise.astype(dtype), *self.bounds_)
