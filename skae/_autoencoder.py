"""Autoencoder with the interface of a scikit-learn transformer."""

from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.metaestimators import available_if

from . import _sklearn_compat
from ._base.inference import MatrixLike
from ._base.mixed import MixedTables
from ._base.training import BaseAutoencoder
from ._base.validation import TrainingData
from ._dask.collections import of_rows_or_partitions
from ._data.table import Table
from ._data.targets import Target
from ._data.weights import Weights
from ._docstrings import with_shared_paragraphs
from ._initialization.architecture import Architecture, ArchitectureSpec
from ._networks.network import Autoencoder
from ._parameters import CONSTRAINTS, check_transformer, layer_sizes
from ._training.losses import Imputation, Objective, Reconstruction, Supervised

# For type checkers.
_Bound: TypeAlias = float | NDArray[Any] | None
_Activation: TypeAlias = Literal["identity", "relu", "tanh", "logistic", "elu", "gelu", "silu"]


def _ignores_y(estimator: "AutoencoderTransformer") -> bool:
    """Return True if y is ignored; otherwise raise an AttributeError, for `available_if`."""
    if estimator._is_supervised:
        raise AttributeError(
            "partial_fit is for target_weight=0: a batch may lack classes that others have."
        )
    return True


@with_shared_paragraphs(
    default_layers='"auto"',
    automatic_bounds="Automatic bounds are dropped if PCA is kept, so that the result equals PCA.",
    loss="mean squared error",
    min_steps="600",
    tol_unit="as a share of the variance of X, the unit of `score`",
    random_part="the noise",
    initial_model="PCA",
    units_of_weights="The input of the encoder is the rows minus `center_`; the output of the "
    "decoder is rows.",
    components='Only with ``init="pca"``.',
    offset="the mean of the training rows, or zeros with an `output_activation`",
)
class AutoencoderTransformer(MixedTables, BaseAutoencoder):
    """Nonlinear dimensionality reduction with an autoencoder, which starts at PCA.

    A transformer like :class:`~sklearn.decomposition.PCA`. `transform` returns embeddings of rows:
    latent codes with `n_components_` components, the bottleneck of the network. `inverse_transform`
    reconstructs rows from codes. Codes may be trained without labels, or with labels (supervised
    and semi-supervised) if `target_weight` is above zero. Rows may have categorical columns and
    missing values.

    With ``init="pca"`` the encoder and the decoder are each the sum of a linear path and a branch
    of hidden layers. With x the centred row, divided by one scalar,

    - code ``z = x A + branch(x)``, where A starts at the components of PCA,
    - row ``x' = z B + c + branch(z)``, where B starts at their transpose,

    and both branches start at zero, so that training starts at PCA. The reconstruction is clipped
    to the `bounds` of each feature. Adam [1]_ trains all weights to minimise its mean squared
    error.

    `fit` keeps the network with the lowest error on validation rows if it is significantly better
    than PCA on these rows. Otherwise it keeps PCA, fitted on all rows (see Notes).

    Only `fit`, `partial_fit` and `to_keras` import TensorFlow. A fitted estimator contains NumPy
    arrays, and all other methods use NumPy.

    Parameters
    ----------
    n_components : int, float or "auto", default=64
        Number of components of the code, at most the number of features. With as many components as
        features, the dimension is not reduced, and a UserWarning is given. A float in (0, 1) is an
        explained variance ratio: `fit` selects the smallest number of components with which the
        trained network reaches this ratio on the validation rows. The search tries PCA's number of
        components first, and others by bisection. It takes several times as long as one fit. Ctrl-C
        during the search raises KeyboardInterrupt. In `partial_fit`, a float selects PCA's number
        of components for this ratio. "auto" is for ``corruption="missing"``: the number of
        components, the initial network and the validation error are then the same as in
        :class:`AutoencoderImputer`.

    %(hidden_layer_sizes)s

    %(activation)s

    init : {"pca", "glorot", "normal"}, default="pca"
        Initial network. "pca" is described above. "glorot" and "normal" give a plain stack of
        layers without a linear path. "glorot" draws uniform weights of variance
        ``2 / (n_in + n_out)`` [2]_, and sets the intercepts to zero. "normal" draws all weights and
        intercepts from N(0, 0.05²).

    %(bounds)s

    whiten : bool, default=True
        Whether to whiten the code: over the training rows the components have zero mean, unit
        variance and no correlation. The components are sorted by their contribution to the output
        of the linear path, and have the signs of PCA's components. Components with less than 1e-10
        of the largest variance keep their scale, while PCA scales such components to unit variance.
        `whiten` does not change the reconstruction. If False and ``init="pca"``, the code is in the
        units of X, as in PCA.

    code_activation : {"identity", "relu", "tanh", ...}, default="identity"
        Activation function of the code, for a plain stack.

    output_activation : {"identity", "relu", "tanh", ...}, default="identity"
        Activation function of the output, for a plain stack. With any function except "identity",
        the data are neither centred nor scaled: scale the data to the range of this function first.

    %(learning_rate)s

    %(learning_rate_init)s

    %(batch_size)s

    %(max_iter)s

    %(max_steps)s

    %(alpha_of_error)s

    corruption : {"gaussian", "masking", "swap", "missing"}, default="gaussian"
        Corruption of the training inputs if `noise` is above zero. The loss compares the output
        with the uncorrupted rows (denoising autoencoder [3]_). "gaussian" adds Gaussian noise.
        "masking" sets entries to the mean of their column, or to zero with an `output_activation`.
        "swap" replaces entries by entries of the same column in other rows of the minibatch.
        "missing" hides entries and imputes them as missing values. Validation rows are not
        corrupted, except with "missing" and ``n_components="auto"``: the validation error is then
        the error of hidden entries. With "masking", "swap" and "missing", the error of uncorrupted
        rows may be above PCA's error. ``init="pca"`` then keeps PCA. Use ``init="glorot"`` if you
        want the code of such a network.

    noise : float, default=0.0
        Amount of `corruption`, in a unit that depends on its kind:

        - "gaussian": standard deviation of the noise, as a multiple of the root mean square of the
          centred data;
        - "masking" and "swap": probability that an entry is replaced;
        - "missing": largest share of the entries of a row that is hidden. The share of each row is
          drawn uniformly between zero and this number.

    target_weight : float, default=0.0
        Weight of a loss that trains the code to predict y [5]_. If the weight is above zero,
        `target_weight` times the loss of a linear model on the code is added to the mean squared
        error of the scaled data. The loss of the linear model is the cross-entropy of classes, or
        the squared error of numbers divided by their variance. The linear model starts at a
        regularised fit to the initial code, and is removed after `fit`: `transform` takes no y. The
        validation error, `validation_curve_` and `reconstruction_err_` are the sum of both losses,
        in the units of X. Not for `partial_fit`.

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
    %(components_)s
    %(encoder_)s
    %(mean_)s
    %(center_)s
    %(scale_)s
    %(bounds_)s
    %(imputation_model_)s
    %(activations_)s
    %(n_components_)s
    components_curve_ : ndarray of shape (n_sizes, 2)
        Numbers of components that were tried, and mean squared errors on the validation rows of the
        first split. Only with `n_components` in (0, 1).
    %(n_features_in_)s
    %(feature_names_in_)s
    %(categories_)s
    %(is_categorical_)s
    %(n_samples_seen_)s
    %(loss_curve_)s
    %(validation_curve_)s
    %(n_steps_)s
    %(n_iter_)s
    %(best_step_)s
    reconstruction_err_ : float
        Mean squared error of the kept network on the validation rows, or on the training rows if
        there are no validation rows.

    See Also
    --------
    sklearn.decomposition.PCA : Linear, and much faster to fit.
    sklearn.neural_network.MLPRegressor : Can also fit a plain stack, with ``fit(X, X)``.

    Notes
    -----
    **PCA or the trained network?** With few validation rows, a lower error may be due to chance.
    With ``init="pca"``, the trained network is therefore kept only if its errors are significantly
    lower than PCA's: one-sided paired t-test on the validation rows, at the 5 % level. The test
    uses at least 100 rows, or all rows if there are fewer than 100. If `validation_fraction` gives
    fewer than 100 rows, `fit` trains on several splits with different validation rows. The errors
    of all splits determine the step, and a last run trains on all rows up to this step. If PCA is
    kept, the result is PCA of all rows, clipped if a pair of bounds was given.

    **Missing values** are NaN, None, pandas.NA, null of polars or masked entries, and every method
    accepts them. Probabilistic PCA imputes missing values before a row is encoded. It is fitted by
    EM [4]_ if the training rows have missing values. Losses and scores are computed over the
    observed values and scaled to all columns. A column without any value is imputed with zeros, and
    a row without any value with the mean.

    **Categories** in a data frame are encoded, and training starts at factor analysis of mixed data
    (:doc:`/guide/mixed`). `inverse_transform` and `reconstruct` then return data frames with the
    columns and dtypes of X. Losses, scores and fitted arrays such as `mean_` refer to the encoded
    table. A pair of `bounds`, exports, and `Shard` on several workers are only for tables of
    numbers.

    **More** in the user guide: windows of a time series and other rows that depend on each other
    (:doc:`/guide/dependent`), tables larger than memory, Dask and `tf.distribute`
    (:doc:`/guide/large`), tables with more columns than rows (:doc:`/guide/how_it_works`), threads
    (:doc:`/guide/troubleshooting`).

    References
    ----------
    .. [1] D. Kingma, J. Ba. "Adam: A Method for Stochastic Optimization", ICLR 2015, algorithm 1.
    .. [2] X. Glorot, Y. Bengio. "Understanding the difficulty of training deep feedforward neural
       networks", AISTATS 2010, section 4.2.1.
    .. [3] P. Vincent et al. "Extracting and Composing Robust Features with Denoising Autoencoders",
       ICML 2008, section 2.3.
    .. [4] A. Ilin, T. Raiko. "Practical Approaches to Principal Component Analysis in the Presence
       of Missing Values", JMLR 11, 2010, section 3.
    .. [5] L. Le, A. Patterson, M. White. "Supervised autoencoders: Improving generalization
       performance with unsupervised regularizers", NeurIPS 2018, equation 2.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from skae import AutoencoderTransformer
    >>> X, _ = load_digits(return_X_y=True)
    >>> train, test = X[:1500], X[1500:]
    >>> ae = AutoencoderTransformer(n_components=8, random_state=0).fit(train)
    >>> ae.transform(test).shape
    (297, 8)
    >>> pca = PCA(n_components=8).fit(train)
    >>> for name, rows in {
    ...     "PCA": pca.inverse_transform(pca.transform(test)),
    ...     "autoencoder": ae.inverse_transform(ae.transform(test)),
    ... }.items():
    ...     print(f"{name}: mean squared error {((rows - test) ** 2).mean():.0f}")
    PCA: mean squared error 6
    autoencoder: mean squared error 3
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = CONSTRAINTS
    _loss_name, _error_name = "mean squared error", "reconstruction_err_"
    _pca_name = "PCA"
    reconstruction_err_: float
    components_curve_: NDArray[np.float64]

    # whether this is the inner estimator of an AutoencoderImputer
    _is_of_imputer = False

    def __init__(
        self,
        n_components: float | Literal["auto"] = 64,
        *,
        hidden_layer_sizes: Literal["auto"] | int | Sequence[int] = "auto",
        activation: _Activation = "silu",
        init: Literal["pca", "glorot", "normal"] = "pca",
        bounds: Literal["auto"] | tuple[_Bound, _Bound] | None = "auto",
        whiten: bool = True,
        code_activation: _Activation = "identity",
        output_activation: _Activation = "identity",
        learning_rate: Literal["linear", "cosine", "constant"] = "linear",
        learning_rate_init: float = 7e-3,
        batch_size: int = 256,
        max_iter: int | Literal["auto"] = "auto",
        max_steps: int | None = None,
        alpha: float = 0.1,
        corruption: Literal["gaussian", "masking", "swap", "missing"] = "gaussian",
        noise: float = 0.0,
        target_weight: float = 0.0,
        validation_fraction: float = 0.1,
        early_stopping: bool = False,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        categorical_features: Literal["from_dtype"] | ArrayLike | None = "from_dtype",
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
        self.init = init
        self.whiten = whiten
        self.code_activation = code_activation
        self.output_activation = output_activation
        self.corruption = corruption
        self.noise = noise
        self.target_weight = target_weight
        self.categorical_features = categorical_features
        self.max_categories = max_categories
        self.min_frequency = min_frequency

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self._is_supervised
        return tags

    def __sklearn_clone__(self) -> Self:
        cloned: Self = super().__sklearn_clone__()
        if self._is_of_imputer:
            cloned._is_of_imputer = True
        return cloned

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
        X : {array-like, sparse matrix, Dask collection} of shape (n_samples, n_features) or Shard
            Training data.
        y : array-like of shape (n_samples,) or (n_samples, n_targets), default=None
            Target that the code is trained to predict if `target_weight` is above zero; otherwise
            ignored. The dtype of y determines its use: floats are numbers, and NaN marks unlabelled
            rows. Integers, booleans, strings and categories are classes, in one column; -1 and
            missing values of nullable columns mark unlabelled rows.
        %(X_val)s
        y_val : array-like of shape (n_val,) or (n_val, n_targets), default=None
            Target of X_val. Required if `target_weight` is above zero; otherwise ignored.
        %(groups)s
        %(sample_weight)s

        Returns
        -------
        self : AutoencoderTransformer
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

        The first call on a new estimator starts at PCA of its batch; after `fit`, the stream
        continues from the fitted network. If the rows are too few to compute the initial network,
        the estimator stores the rows. The next call then starts again with the stored and the new
        rows (:doc:`/guide/large` gives the conditions). No rows are held out for validation:
        `validation_curve_` records the error on each batch before the network is trained on it. The
        code is whitened over all rows so far, each encoded by the network of its call. Later calls
        rotate the code as little as possible. `alpha` is divided by the number of rows so far.
        Automatic bounds are widened to include new rows. A batch on which training diverges is
        ignored, with a warning. `fit`, or otherwise the first batch, determines the categories of a
        data frame. Other categories are missing values in later batches.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Next rows of the stream, at least one.
        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        self : AutoencoderTransformer
            The estimator.
        """
        return self._partial_fit(X)

    if not TYPE_CHECKING:  # type checkers cannot handle a conditional method
        partial_fit = available_if(_ignores_y)(partial_fit)

    def column_errors(self, X: MatrixLike) -> NDArray[np.float64]:
        """Compute the mean reconstruction error of each column.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        errors : ndarray of shape (n_features_in_,)
            Mean over the observed values of a column; NaN if there are none. In a table of numbers,
            the error is the mean squared error. In a table with categories, the error of a column
            of numbers is the mean squared error of the standardised column. The error of a column
            of categories is the share of wrong categories.
        """
        parts = of_rows_or_partitions(self, "_column_error_sums", X)
        totals, counts = np.sum(parts, axis=0)
        errors: NDArray[np.float64] = np.full(len(counts), np.nan)
        np.divide(totals, counts, out=errors, where=counts > 0)
        return errors

    def _column_error_sums(self, X: MatrixLike) -> NDArray[np.float64]:
        """Return the sum of the errors of each column, and the number of its observed values."""
        network, table = self._prepare(X)

        def sums(rows: NDArray[Any], _: object) -> list[NDArray[Any]]:
            decoded = network.decode(network.encode(rows))
            if self._columns_ is None:
                errors = np.square(decoded - rows, dtype=np.float64)
            else:
                errors = self._columns_.errors(rows, decoded)
            return [np.nansum(errors, axis=0), (~np.isnan(errors)).sum(axis=0)]

        with np.errstate(over="ignore"):
            return np.stack(table.sum_blocks(sums, network.width))

    @property
    def _is_supervised(self) -> bool:
        weight = self.target_weight
        return isinstance(weight, Real) and bool(weight > 0)

    @property
    def _whitens(self) -> bool:
        return bool(self.whiten)

    def _spec(self) -> ArchitectureSpec:
        restores = self.n_components == "auto" or self._is_of_imputer
        return ArchitectureSpec(
            n_components=self.n_components,
            hidden_layer_sizes=layer_sizes(self.hidden_layer_sizes),
            activations=(self.activation, self.code_activation, self.output_activation),
            init=self.init,
            bounds=self.bounds,
            is_imputer=restores and self.corruption == "missing" and self.noise > 0,
        )

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_transformer(self, is_imputer=self._spec().is_imputer)

    def _read(self, X: object, *, fitted: bool, weights: Weights = None) -> TrainingData:
        data, spec = super()._read(X, fitted=fitted, weights=weights), self._spec()
        n_features = data.table.n_features
        # no warning for an imputer, or if a fraction of the variance needs all components
        is_asked = not (fitted or spec.is_imputer or spec.retained_variance)
        if is_asked and self.n_components >= n_features:
            _sklearn_compat.warn(
                f"n_components={self.n_components} is at least the number of columns, "
                f"{n_features}, so that the code reduces nothing. Set fewer, or a share of the "
                "variance such as 0.95.",
                UserWarning,
            )
        return data

    def _target(self, y: object, table: Table) -> Target | None:
        return Target.from_y(y, table) if self.target_weight else None

    def _objective(self, architecture: Architecture, target: Target | None) -> Objective:
        loss = Imputation if architecture.is_imputer else Reconstruction
        objective = loss(architecture.activations)
        if target is None:
            return objective
        return Supervised(objective, float(self.target_weight) / target.labelled_share)

    def _weights(self, network: Autoencoder) -> dict[str, Any]:
        if self.init == "pca" and not self.whiten:  # code in the units of X, as in PCA
            network = network.rescale_code(np.full(network.code_size, network.scale))
        return super()._weights(network)
