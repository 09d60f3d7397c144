"""The autoencoder: what its parameters mean, and what it minimises."""

from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.metaestimators import available_if

from . import _sklearn_compat
from ._base.inference import Rows, ServingMixin
from ._base.training import TrainingMixin
from ._parameters import CONSTRAINTS, is_imputer, is_share
from ._sklearn_compat import CallbackSupportMixin, EstimatorMixin
from ._training.losses import Imputation, Reconstruction, Supervised

# For type checkers.
_Bound: TypeAlias = float | NDArray[Any] | None
_Activation: TypeAlias = Literal["identity", "relu", "tanh", "logistic", "elu", "gelu", "silu"]


def _is_taught(estimator):
    """Whether the parameters, which may be invalid, say that the code is taught y."""
    weight = estimator.target_weight
    return isinstance(weight, Real) and bool(weight > 0)


def _ignores_y(estimator):
    """Whether y is ignored; an AttributeError says so otherwise."""
    if _is_taught(estimator):
        raise AttributeError(
            "partial_fit is for target_weight=0: a batch may lack classes that others have."
        )
    return True


class AutoencoderTransformer(
    CallbackSupportMixin, EstimatorMixin, TrainingMixin, ServingMixin, BaseEstimator
):
    """Autoencoder that starts as PCA and only gets better.

    A transformer in the manner of :class:`~sklearn.decomposition.PCA`: `transform` gives codes of
    `n_components_` numbers, `inverse_transform` gives rows back. With ``init="pca"`` each half of
    the network is a linear path beside a branch of hidden layers. With x the centred row, divided
    by one scalar,

    - code ``z = x A + branch(x)``, where A starts at PCA's components,
    - row ``x' = z B + c + branch(z)``, where B starts at their transpose,

    and the branches start at zero, so that training starts at PCA. All of it is trained, on the
    mean squared error of the reconstruction, which is clipped to each feature's `bounds`.

    `fit` keeps the snapshot with the lowest error on held-out rows, if it beats PCA there
    beyond chance, and PCA fitted on all rows if not (see Notes).

    TensorFlow is imported by `fit`, `partial_fit` and `to_keras` alone. Fitted estimators hold
    NumPy arrays, and everything else is done with NumPy.

    Parameters
    ----------
    n_components : int, float or "auto", default=64
        Size of the code, at most the number of features; a code of that size reduces nothing, and a
        UserWarning says so. A float in (0, 1) means the smallest size at which the trained network
        keeps that share of the variance of held-out rows. PCA's size is tried first, and others by
        bisection, which takes several times as long as a fit; an interrupt meanwhile is raised. For
        `partial_fit` it is PCA's size. "auto" is for ``corruption="missing"``: size, start and
        judge are those of :class:`AutoencoderImputer`.

    hidden_layer_sizes : int or tuple of int, default=(256,)
        Sizes of the encoder's hidden layers; the decoder mirrors them. ``()`` with ``init="pca"``
        is a linear autoencoder.

    activation : {"identity", "relu", "tanh", "logistic", "elu", "gelu", "silu"}, default="silu"
        Activation of the hidden layers.

    init : {"pca", "glorot", "normal"}, default="pca"
        Where training starts. "pca": see above. "glorot" and "normal" give a plain stack of layers
        without linear path: uniform coefs of variance ``2 / (n_in + n_out)`` [2]_ and zero
        intercepts, or everything from N(0, 0.05²).

    bounds : "auto", None or (low, high), default="auto"
        Range of the reconstruction. "auto" bounds a feature from below (above) where at least 5
        training rows, and 1 in 1000, sit exactly on its minimum (maximum), as pixels, counts and
        one-hot columns do, and no other side. None bounds nothing. Each of a pair is a
        number, an array of shape (n_features,) or None. The loss sees the clipped rows, its
        gradient passes through the clip. A given pair holds in every output; automatic bounds are
        dropped where PCA is kept, so that the result equals PCA's.

    whiten : bool, default=True
        Give the code its canonical form: over the training rows, zero mean, unit variance and no
        correlation, ordered by how much of the output they carry through the linear path, with
        PCA's signs. Directions with less than 1e-10 of the largest variance keep their scale,
        where PCA scales them to unit variance, too. The reconstruction does not depend on `whiten`.
        If False and ``init="pca"``, the code is in the units of X, as PCA's.

    code_activation : {"identity", "relu", "tanh", ...}, default="identity"
        Activation of the code, for a plain stack.

    output_activation : {"identity", "relu", "tanh", ...}, default="identity"
        Activation of the output, for a plain stack. With any but "identity" the data are neither
        centred nor scaled: they should come in the activation's range.

    learning_rate : {"linear", "cosine", "constant"}, default="linear"
        Schedule: 5 % of the steps to climb to `learning_rate_init`, then a straight line or half a
        cosine to zero; or `learning_rate_init` all the time.

    learning_rate_init : float, default=7e-3
        Peak step size of Adam [1]_.

    batch_size : int, default=256
        Rows in a gradient step, at most: the batches of an epoch are equally long, up to a row.

    max_iter : int or "auto", default="auto"
        Number of epochs. "auto" trains for 100 epochs, but for 600 gradient steps at least and
        2400 at most, or until the held-out error has found no minimum for a quarter of that and is
        above that of the start; if `max_steps` is given, for that.

    max_steps : int or None, default=None
        Cap on the number of gradient steps, which are 1e9 at most.

    alpha : float, default=0.1
        L2 penalty: this times half the sum of squares of the layers' coefs, divided by the number
        of training rows (in `partial_fit`, of rows seen), is added to the mean squared error of the
        scaled data. The linear path bears none, so large values lead to a linear autoencoder.

    corruption : {"gaussian", "masking", "swap", "missing"}, default="gaussian"
        What is done to the inputs in training, if `noise` is above zero, so that the network learns
        to undo it (a denoising autoencoder [3]_): Gaussian noise is added; entries are set to the
        mean of their column, or to zero with an `output_activation`; entries are replaced by those
        of the same column in another row of the batch; or entries are hidden and filled as missing
        values are. The network is judged by the reconstruction of held-out rows as they are, or,
        with "missing" and ``n_components="auto"``, by that of hidden entries. "missing", "swap" and
        "masking" may raise the error of rows as they are above PCA's, where `init="pca"` keeps PCA:
        for the code of such a network, train it with `init="glorot"`.

    noise : float, default=0.0
        Standard deviation of the Gaussian noise, in units of the root mean square of the centred
        data; probability that an entry is set or replaced; or largest share of a row's entries that
        is hidden, where each row's share is drawn from zero to that.

    target_weight : float, default=0.0
        Above zero, the code learns to tell y too: this times the loss of a linear head on the code
        is added to the mean squared error of the scaled data [5]_. The loss is the cross-entropy of
        classes, or the squared error of numbers in units of their variance. The head starts at a
        regularised linear model on the first code, and is dropped after `fit`: `transform` takes no
        y. The held-out errors, and with them `validation_curve_` and `reconstruction_err_`, are of
        that sum, in the units of X. Not for `partial_fit`.

    validation_fraction : float, default=0.1
        Share of the rows to hold out for choosing the snapshot, 65 536 rows at most. 0 holds none
        out and keeps the last network, whatever it is worth. Ignored if `fit` is given X_val.

    early_stopping : bool, default=False
        Stop when the held-out error has not improved by `tol` for `n_iter_no_change` evaluations.
        There is one after each epoch, or every few epochs (10 at most) so that there are about 40;
        a long epoch has several, which take a tenth of its time at most.

    n_iter_no_change : int, default=10
        See `early_stopping`.

    tol : float, default=1e-4
        See `early_stopping`; in units of the variance, that is of `score`.

    warm_start : bool, default=False
        Start `fit` from the fitted network if there is one. PCA is then not considered: the
        network that came in is the one to beat on the held-out rows. Parameters of training may
        change; automatic bounds move out to rows that exceed them.

    random_state : int, RandomState instance or None, default=None
        For the hidden layers, the held-out rows, the order of minibatches and the noise. An int
        makes `fit` reproducible to the bit on the same machine with as many threads.

    verbose : int, default=0
        1 prints a line at each evaluation, and at the end whether a step or PCA is kept; 2 or more
        also prints, of each run, the number of its training rows.

    Attributes
    ----------
    components_ : ndarray of shape (n_components_, n_features_in_)
        Linear path of the encoder: ``(X - offset_) @ components_.T`` is its share of the code. Only
        with ``init="pca"``.
    encoder_, decoder_ : dict
        Weights: "coefs" and "intercepts", lists with one array per layer, and "linear". The encoder
        takes rows minus `offset_`, the decoder gives them.
    mean_ : ndarray of shape (n_features_in_,)
        Mean of the observed values of each column.
    offset_ : ndarray of shape (n_features_in_,)
        What the network subtracts from each row: the mean of the rows it was trained on, or zero
        (see `output_activation`).
    scale_ : float
        The unit of training: the root mean square of those centred rows, or one.
    bounds_ : ndarray of shape (2, n_features_in_)
        Lower and upper bounds of the reconstruction, infinite where it is unclipped.
    filling_ : dict
        Probabilistic PCA, which fills missing values with their mean given the rest of the row: a
        row is "mean" + "scale" * ("loadings" @ z + e), where z is standard normal and e has the
        variance "noise_variance" in each column.
    activations_ : tuple of str
        Hidden, code and output activation.
    n_components_ : int
        Size of the code.
    components_curve_ : ndarray of shape (n_sizes, 2)
        Sizes of the code that were tried, and mean squared error on the held-out rows of the first
        split. Only with `n_components` in (0, 1).
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if X had string names.
    n_samples_seen_ : int
        Number of rows in `fit` and the `partial_fit` calls after it.
    loss_curve_ : ndarray of shape (n_steps_,)
        Mean squared error of the minibatch of each gradient step, before the step. Where
        several splits were trained, that of the first.
    validation_curve_ : ndarray of shape (n_evaluations, 2)
        Gradient steps made, and mean squared error on the held-out rows then. The first row is
        PCA's. `partial_fit` adds the error on each batch before training on it.
    n_steps_ : int
        Number of gradient steps of a run, and of the `partial_fit` calls after it.
    n_iter_ : int
        Number of epochs of a run, at least one: where PCA is exact none follows it. Each call of
        `partial_fit` adds one.
    best_step_ : int
        Step of the snapshot that was kept; 0 is the start.
    reconstruction_err_ : float
        Mean squared error of that snapshot on held-out rows; if there were none, on
        the training rows.

    See Also
    --------
    sklearn.decomposition.PCA : Linear, and fitted in a fraction of the time.
    sklearn.neural_network.MLPRegressor : Fits a plain stack too, with ``fit(X, X)``.

    Notes
    -----
    **Threads.** Training uses the cores that TensorFlow finds, or as many threads as
    OMP_NUM_THREADS says when the first `fit` of a process imports TensorFlow; the workers of joblib
    and Dask have it set.

    **Missing values** are NaN, None, pandas.NA, polars' null or masked entries, and every method
    takes them. Rows are completed before they are encoded, by probabilistic PCA: fitted by EM [4]_
    if values are missing in training, for sizes and steps that best restore entries which are
    hidden from it; otherwise made of the PCA that training starts from, of at most 64 components
    and half as many as training rows, with PCA's `noise_variance_`. The loss and the scores are
    over the observed values, scaled to all columns, and `reconstruct` gives complete rows. A column
    without any value counts as one of zeros, and a row without any as the mean. To fill gaps is
    :class:`AutoencoderImputer`'s work.

    **Several machines.** A Dask array or frame is fitted by the workers of the current
    `distributed.Client`, where its partitions lie. In the scope of a `tf.distribute` strategy `fit`
    and `partial_fit` train data-parallel: every worker is given the same parameters, and all rows,
    of which it reads its part of a minibatch, or a :class:`Shard` of its own; all end with the same
    bits. A ConnectionError says that a worker was lost; what was learnt until then is kept.

    **PCA or the trained network?** With few held-out rows the lower error may be luck. So, with
    ``init="pca"``, the network is kept only if a one-sided paired t-test over the held-out rows
    finds its errors lower than PCA's at the 5 % level, and the test hears at least 100 rows (or
    all, if there are fewer): where `validation_fraction` gives less, several splits are trained,
    each holding out others. The errors of all splits choose the step, and a last run on all rows is
    made up to there. Where PCA is kept, the result is that of PCA on all rows, clipped if a pair of
    bounds was given.

    **Dependent rows.** If each row is much nearer to the next one than to those a few places
    further, as in windows of a time series, whole blocks of rows are held out, and the rows beside
    them are left out as far as the dependence reaches. Pass `groups` to `fit` where several rows
    belong together otherwise. The t-test then compares blocks or groups, at the 1 % level. Five of
    them are held out, if there are as many.

    **Memory.** Rows are read in blocks, and X is not copied. Training on 32768 rows or more keeps
    them in the runtime as float32, which is quicker, if they fit into scikit-learn's
    `working_memory` (1024 MiB) and there is no noise; otherwise, or with
    ``sklearn.set_config(working_memory=0)``, it reads them from X in chunks of 16 MB.

    **Wide tables.** With ``init="pca"``, no noise, and at most 2000 rows that are fewer than the
    columns, training happens in the space that the rows span, at a cost that does not depend on
    the number of columns. With bounds only the encoder's does, which saves about a third, and needs
    the rows to fit into `working_memory`. The result is folded into the weights. With as many
    `n_components` as training rows, PCA is exact on them and is kept.

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
    >>> pca_error = ((pca.inverse_transform(pca.transform(test)) - test) ** 2).mean()
    >>> bool(pca_error > 1.8 * ((ae.reconstruct(test) - test) ** 2).mean())
    True
    """

    _parameter_constraints: dict = CONSTRAINTS

    def __init__(
        self,
        n_components: float | Literal["auto"] = 64,
        *,
        hidden_layer_sizes: int | Sequence[int] = (256,),
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
    ) -> None:
        self.n_components = n_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.init = init
        self.bounds = bounds
        self.whiten = whiten
        self.code_activation = code_activation
        self.output_activation = output_activation
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.max_steps = max_steps
        self.alpha = alpha
        self.corruption = corruption
        self.noise = noise
        self.target_weight = target_weight
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = _is_taught(self)
        return tags

    def __sklearn_clone__(self):
        cloned = super().__sklearn_clone__()
        if self._is_of_imputer:
            cloned._is_of_imputer = True
        return cloned

    # ---- fitting

    if TYPE_CHECKING:  # what the mixins add

        def fit_transform(self, X: Rows, y: object = None, **params: Any) -> NDArray[Any]: ...
        def get_feature_names_out(self, input_features: object = None) -> NDArray[Any]: ...
        def set_output(self, *, transform: str | None = None) -> Self: ...
        def set_params(self, **params: Any) -> Self: ...
        def set_callbacks(self, *callbacks: object) -> Self: ...

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
        X : {array-like, sparse matrix, Dask collection} of shape (n_samples, n_features) or Shard
            Training data.
        y : array-like of shape (n_samples,) or (n_samples, n_targets), default=None
            What the code should tell, with `target_weight` above zero; otherwise ignored. The type
            of the column decides: floats are numbers, of which NaN stands for unlabelled.
            Integers, booleans, strings and categories are classes, in one column, of which -1 and
            missing values of nullable columns stand for unlabelled.
        X_val : {array-like, sparse matrix} of shape (n_val, n_features), default=None
            Validation rows, which replace those that `validation_fraction` holds out: all of X is
            trained on, and X_val chooses what is kept. In a `Pipeline`, it is transformed as X is
            with ``Pipeline(..., transform_input=["X_val"])``.
        y_val : array-like of shape (n_val,) or (n_val, n_targets), default=None
            The y of X_val, which is required with `target_weight` above zero; otherwise ignored.
        groups : array-like of shape (n_samples,), default=None
            Group of each row, as for scikit-learn's group splitters: any hashable value, such as
            the name of a patient. The rows of a group are held out together. Not with X_val.

        Returns
        -------
        self : AutoencoderTransformer
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

        The first call on a new estimator starts it at the PCA of its batch; after `fit`, the stream
        goes on from the fitted network. As long as the rows are few, they do not determine where
        training starts: they are kept in the estimator, and the next call starts again at the PCA
        of all of them, as if they came together. That ends with ``8 * (n_components_ + 1)``
        distinct rows if all columns vary, or, from `batch_size` rows on, with
        ``2 * (n_components_ + 1)`` distinct rows. Rows with missing values count in part. From
        `batch_size` rows on, only distinct rows are kept, at most `batch_size` of them. No rows are
        held out: each batch judges the network before it trains it, and `validation_curve_`
        records that. The canonical code is that of all rows seen, each encoded by the network of
        its time; after the start it is only made white again, with as little rotation as possible.
        Automatic bounds move out to rows that exceed them. A batch on which training diverges is
        left out, with a warning.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The next rows, as few as one.
        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        self : AutoencoderTransformer
            The estimator.
        """
        return self._partial_fit(X)

    if not TYPE_CHECKING:  # to which a method that may be missing has no type
        partial_fit = available_if(_ignores_y)(partial_fit)

    def _open(self, X, *, fitted):
        opened = super()._open(X, fitted=fitted)
        n_features = opened[0].n_features
        # an imputer's code may keep all of a row; a share may turn out to need it
        is_asked = not (fitted or is_imputer(self) or is_share(self))
        if is_asked and self.n_components >= n_features:
            _sklearn_compat.warn(
                f"n_components={self.n_components} is at least the number of columns, "
                f"{n_features}, so that the code reduces nothing. Set fewer, or a share of the "
                "variance such as 0.95.",
                UserWarning,
            )
        return opened

    def _objective(self, architecture, target=None):
        objective = Imputation if architecture.is_imputer else Reconstruction
        objective = objective(architecture.activations)
        if target is None:
            return objective
        return Supervised(objective, float(self.target_weight) / target.labelled_share)

    def _weights(self, network):
        if self.init == "pca" and not self.whiten:  # a code in the units of X, as PCA's
            network = network.rescale_code(np.full(network.code_size, network.scale))
        return super()._weights(network)
