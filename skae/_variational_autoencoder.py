"""Variational autoencoder: density estimation and sampling."""

from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from . import _sklearn_compat
from ._base.density import FittedDensity
from ._base.inference import MatrixLike
from ._base.mixed import MixedTables
from ._base.training import BaseAutoencoder
from ._base.validation import TrainingData
from ._data.category_columns import CategoryColumns
from ._data.table import Table
from ._data.targets import Target
from ._data.weights import Weights
from ._docstrings import with_shared_paragraphs
from ._initialization.architecture import Architecture, ArchitectureSpec
from ._networks.variational import Variational, at_probabilistic_pca
from ._parameters import CATEGORICAL, CONSTRAINTS, check_bounds, check_same, layer_sizes
from ._sklearn_compat import Interval, StrOptions
from ._training.losses import Elbo

# Smallest scale of X. The noise variance is a fraction of its square, which must not underflow.
_MIN_SCALE = 1e-150


@with_shared_paragraphs(
    default_layers='"auto"',
    automatic_bounds="Automatic bounds are dropped if probabilistic PCA is kept. `sample` clips "
    "its rows after it has added the noise.",
    loss="negated lower bound, in nats per row,",
    min_steps="1200",
    tol_unit="in nats per feature",
    random_part="the draws of the code",
    initial_model="probabilistic PCA",
    components="",
    units_of_weights="The output of the encoder is the means of the code, and then the logarithms "
    "of its variances.",
    offset="the mean of the training rows, or zeros with a Bernoulli likelihood",
)
class VariationalAutoencoder(MixedTables, FittedDensity, BaseAutoencoder):
    """Density estimation and sampling with a variational autoencoder, a generative model.

    A model of the distribution of rows. A latent code z is drawn from a standard normal
    distribution, a network computes the mean of a row from the code, and noise is added.
    `score_samples` returns the log-likelihood of rows, computed by importance weighting [4]_. It is
    low for anomalies. `sample` draws synthetic rows. `transform` returns the posterior mean of the
    code given a row (an embedding).

    Training starts exactly at probabilistic PCA [1]_, and maximises a lower bound of the
    log-likelihood of the training rows [2]_. The log-likelihood of probabilistic PCA is
    `PCA.score`, for up to ``min(n_samples - 2, n_features - 1)`` components. `fit` keeps the
    network with the highest bound on validation rows if it is significantly better than
    probabilistic PCA on these rows. Otherwise it keeps probabilistic PCA, fitted on all rows.

    Parameters
    ----------
    n_components : int, default=16
        Number of components of the code, at most the number of features.

    %(likelihood)s

    %(noise_variance)s

    beta : float, default=1.0
        Weight of the divergence of the posterior from the prior. With 1, training maximises a lower
        bound of the log-likelihood. With larger values, the code contains less information [3]_.

    contamination : float, default=0.0
        Share of the rows that may be outliers, at most 0.5. Each gradient step ignores the least
        likely rows of its minibatch: this share of the rows, rounded up. At least one row is used.

    %(n_draws)s

    %(hidden_layer_sizes)s

    %(activation)s

    %(bounds)s

    %(learning_rate)s

    %(learning_rate_init)s

    %(batch_size)s

    %(max_iter)s

    %(max_steps)s

    %(alpha_of_likelihood)s

    %(validation_fraction)s

    %(early_stopping)s

    %(n_iter_no_change)s

    %(tol)s

    %(warm_start)s

    %(random_state)s

    %(verbose)s

    %(categorical_features)s

    %(max_categories)s

    %(min_frequency)s

    Attributes
    ----------
    %(encoder_)s
    noise_variance_ : float or ndarray of shape (n_features_in_,)
        Variance of the Gaussian noise, in the squared units of X. In a table with categories, the
        variance of normal scores, with an entry for each encoded column; the entries of categories
        are not used.
    %(categories_)s
    %(is_categorical_)s
    lower_bound_ : float
        Mean lower bound of the log-likelihood of a validation row, in nats, with one draw of the
        code. If there are no validation rows, it is the mean over the training rows.
    %(loss_curve_)s
    %(validation_curve_)s
    %(components_)s
    %(mean_)s
    %(center_)s
    %(scale_)s
    %(bounds_)s
    %(imputation_model_)s
    %(activations_)s
    %(n_components_)s
    %(n_features_in_)s
    %(feature_names_in_)s
    %(n_samples_seen_)s
    %(n_steps_)s
    %(n_iter_)s
    %(best_step_)s

    See Also
    --------
    AutoencoderTransformer : Lower error and a whitened code, but no density.
    sklearn.decomposition.FactorAnalysis : Linear, with a noise variance for each feature.
    sklearn.neighbors.KernelDensity : Another density estimator, which stores the training rows.

    Notes
    -----
    Densities are in the units of X: a density can exceed one, and its logarithm can be positive. If
    columns of a table of numbers contain integers, or many equal values, add uniform noise of width
    one unit first. Otherwise the noise variance converges to zero. Missing values are imputed as in
    :class:`AutoencoderTransformer`, and the score of a row is computed over its observed values.
    The code of a row without any value has the mean (zero) and the variance (one) of the prior, and
    the score of this row is zero.

    A data frame with categories is encoded, see :doc:`/guide/synthetic`: categories have a
    categorical likelihood, numbers are encoded as normal scores, and repeated numbers have
    probabilities. The scores and `lower_bound_` are in the units of the frame; the other fitted
    attributes refer to the encoded table.

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
    >>> print(f"PCA {PCA(8).fit(train).score(test):.0f}, VAE {vae.score(test):.0f} nats per row")
    PCA -165, VAE -15... nats per row
    >>> vae.sample(3, random_state=0).shape
    (3, 64)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseAutoencoder._parameter_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "likelihood": [StrOptions({"gaussian", "bernoulli"})],
        "noise_variance": [StrOptions({"auto", "feature", "scalar"})],
        "beta": [Interval(Real, 0, None, closed="neither")],
        "contamination": [Interval(Real, 0, 0.5, closed="both")],
        "n_draws": [Interval(Integral, 1, 2**31 - 1, closed="both")],
        **{name: CONSTRAINTS[name] for name in CATEGORICAL},
    }

    _loss_name, _error_name = "negated log-likelihood bound, nats", "_negated_bound_"
    _pca_name = "probabilistic PCA"

    _negated_bound_: float
    _has_normal_scores = True

    def __init__(
        self,
        n_components: int = 16,
        *,
        likelihood: Literal["gaussian", "bernoulli"] = "gaussian",
        noise_variance: Literal["auto", "scalar", "feature"] = "auto",
        beta: float = 1.0,
        contamination: float = 0.0,
        n_draws: int = 20,
        hidden_layer_sizes: Literal["auto"] | int | Sequence[int] = "auto",
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
        categorical_features: Any = "from_dtype",
        max_categories: int | None = None,
        min_frequency: float | None = None,
    ) -> None:
        super().__init__(
            n_components,
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            bounds=bounds,
            learning_rate=learning_rate,
            learning_rate_init=learning_rate_init,
            batch_size=batch_size,
            max_iter=max_iter,
            max_steps=max_steps,
            alpha=alpha,
            validation_fraction=validation_fraction,
            early_stopping=early_stopping,
            n_iter_no_change=n_iter_no_change,
            tol=tol,
            warm_start=warm_start,
            random_state=random_state,
            verbose=verbose,
        )
        self.likelihood = likelihood
        self.noise_variance = noise_variance
        self.beta = beta
        self.contamination = contamination
        self.n_draws = n_draws
        self.categorical_features = categorical_features
        self.max_categories = max_categories
        self.min_frequency = min_frequency

    # ---- fitting

    @with_shared_paragraphs(rows="{array-like, sparse matrix}")
    @_sklearn_compat.validating_parameters
    def fit(
        self,
        X: MatrixLike,
        y: object = None,
        *,
        X_val: MatrixLike | None = None,
        y_val: object = None,
        groups: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Train the autoencoder.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data; in [0, 1] for a Bernoulli likelihood.
        y : Ignored
            Not used, present for API consistency by convention.
        %(X_val)s
        y_val : Ignored
            Not used, present for API consistency by convention.
        %(groups)s
        %(sample_weight)s

        Returns
        -------
        self : VariationalAutoencoder
            The fitted estimator.

        Raises
        ------
        ValueError
            If X_val and X have different columns, or if y_val or groups cannot be combined with X,
            X_val or the parameters.
        """
        return self._fit(X, y, X_val=X_val, y_val=y_val, groups=groups, sample_weight=sample_weight)

    @_sklearn_compat.validating_parameters
    def partial_fit(self, X: MatrixLike, y: object = None) -> Self:
        """Continue training with one pass over X, the next batch of a stream.

        The first call on a new estimator starts at probabilistic PCA of its batch. After `fit`, the
        stream continues from the fitted network. Few rows do not determine the initial network: the
        estimator stores them, and the next call starts again at probabilistic PCA of all stored
        rows. See :meth:`AutoencoderTransformer.partial_fit` for details.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Next rows of the stream, at least one.
        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        self : VariationalAutoencoder
            The estimator.
        """
        return self._partial_fit(X)

    def _spec(self) -> ArchitectureSpec:
        output = "logistic" if self.likelihood == "bernoulli" else "identity"
        return ArchitectureSpec(
            n_components=self.n_components,
            hidden_layer_sizes=layer_sizes(self.hidden_layer_sizes),
            activations=(self.activation, "identity", output),
            init="pca",
            bounds=self.bounds,
            likelihood=self.likelihood,
        )

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_bounds(self, "likelihood", "gaussian")

    def _read(self, X: object, *, fitted: bool, weights: Weights = None) -> TrainingData:
        data = super()._read(X, fitted=fitted, weights=weights)
        if fitted and self.likelihood == "gaussian":
            is_scalar = not np.ndim(self.noise_variance_)
            if self._has_scalar_noise(data.table.categories) != is_scalar:
                check_same(
                    "noise_variance", self.noise_variance, "scalar" if is_scalar else "feature"
                )
        return data

    def _check_rows(self, table: Table, columns: dict[str, Any]) -> None:
        if self.likelihood != "bernoulli":
            return
        if table.categories is not None:
            raise ValueError(
                "likelihood='bernoulli' is for a table of numbers, and X has categories. Set "
                "likelihood='gaussian': the likelihood of categories is always categorical."
            )
        least, most = table.min_max()
        for column in np.flatnonzero((least < 0) | (most > 1))[:1]:
            (label,) = _sklearn_compat.column_labels([column], columns.get("feature_names_in_"))
            raise ValueError(
                "likelihood='bernoulli' needs X in [0, 1], and column "
                f"{label!r} goes from {least[column]:g} to {most[column]:g}: scale it, or set "
                "likelihood='gaussian'."
            )

    def _objective(self, architecture: Architecture, target: Target | None) -> Elbo:
        return Elbo(
            architecture.activations,
            architecture.n_components,
            float(self.contamination),
            float(self.beta),
            () if architecture.categories is None else architecture.categories.slices,
        )

    def _first_network(self, table: Table, architecture: Architecture, seed: int) -> Variational:
        hidden, code, output = architecture.activations
        architecture = replace(architecture, activations=(hidden, code, "identity"))
        if output == "logistic":  # the logistic function bounds the output
            architecture = replace(architecture, bounds=None)
        per_feature = not self._has_scalar_noise(table.categories)
        network = super()._first_network(table, architecture, seed)
        if output == "identity" and network.scale < _MIN_SCALE:
            raise ValueError(
                f"X varies by {network.scale:.0e}, whose square is no float: multiply it by a "
                "constant."
            )
        return at_probabilistic_pca(network, table, output, per_feature=per_feature)

    def _has_scalar_noise(self, categories: CategoryColumns | None) -> bool:
        """Whether the noise has one variance, for a table with or without categories."""
        if self.noise_variance == "auto":
            return categories is None
        return self.noise_variance == "scalar"

    def _weights(self, network: Any) -> dict[str, Any]:
        weights = super()._weights(network)
        if self.likelihood == "gaussian":
            noise = network.params["log_noise_variance"].astype(np.float64)
            noise = np.exp(noise + 2 * np.log(network.scale))
            is_scalar = self._has_scalar_noise(network.categories)
            weights["noise_variance_"] = noise[0] if is_scalar else noise
        return weights

    @property
    def lower_bound_(self) -> float:
        """Mean lower bound of the log-likelihood of a validation row."""
        check_is_fitted(self)
        return -self._negated_bound_
