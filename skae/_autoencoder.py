"""The estimator: its parameters, its manners, and the story of fit."""

import warnings
from collections.abc import Sequence
from contextlib import contextmanager
from itertools import pairwise
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, TypeVar

import joblib
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse, sparray, spmatrix
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.callback import CallbackSupportMixin
from sklearn.exceptions import ConvergenceWarning, InconsistentVersionWarning
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.extmath import row_norms
from sklearn.utils.validation import check_is_fitted, validate_data

from . import __version__, _minibatches, _training
from ._activations import ACTIVATIONS
from ._network import (
    Autoencoder,
    given_bounds,
    location_and_scale,
    principal_components,
    start_at_pca,
    start_at_random,
    tied_bounds,
)
from ._workers import ALONE, WorkerLostError, current_workers

# A side of a feature is bounded if so many rows, and this share of them, sit on its extreme.
_MIN_TIES, _MIN_TIED_SHARE = 5, 1e-3
# The choice between PCA and a trained network hears at least so many held-out rows.
_MIN_HELD_OUT = 100


# For type checkers.
_Rows: TypeAlias = ArrayLike | sparray | spmatrix
_Bound: TypeAlias = float | NDArray[Any] | None
_Activation: TypeAlias = Literal["identity", "relu", "tanh", "logistic", "elu", "gelu", "silu"]
_Method = TypeVar("_Method")


def _validating_parameters(method: _Method) -> _Method:
    """Check `_parameter_constraints` first; scikit-learn's own decorator hides the types."""
    return _fit_context(prefer_skip_nested_validation=True)(method)


class AutoencoderTransformer(
    CallbackSupportMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
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

    TensorFlow is imported by `fit` and `partial_fit` alone. Fitted estimators hold NumPy
    arrays, and everything else is done with NumPy.

    Parameters
    ----------
    n_components : int or float, default=64
        Size of the code, at most the number of features. A float in (0, 1) means the smallest size
        at which PCA explains that share of the variance.

    hidden_layer_sizes : int or tuple of int, default=(128,)
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
        one-hot columns do, and leaves other sides free. None leaves all free. Each of a pair is a
        number, an array of shape (n_features,) or None. The loss sees the clipped rows, its
        gradient passes through the clip.

    whiten : bool, default=True
        Give the code its canonical form: over the training rows, zero mean, unit variance and no
        correlation, ordered by how much of the output they carry through the linear path, with
        PCA's signs. The reconstruction does not depend on it. If False and ``init="pca"``, the code
        is in the units of X, as PCA's.

    code_activation : {"identity", "relu", "tanh", ...}, default="identity"
        Activation of the code, for a plain stack.

    output_activation : {"identity", "relu", "tanh", ...}, default="identity"
        Activation of the output, for a plain stack. With any but "identity" the data are neither
        centred nor scaled: they should come in the activation's range.

    learning_rate : {"cosine", "constant"}, default="cosine"
        Schedule: 5 % of the steps to climb to `learning_rate_init`, then half a cosine to zero; or
        `learning_rate_init` all the time.

    learning_rate_init : float, default=7e-3
        Peak step size of Adam [1]_.

    batch_size : int, default=256
        Rows in a gradient step.

    max_iter : int or "auto", default="auto"
        Number of epochs. "auto" trains for 200 epochs, but for 600 gradient steps at least and
        9000 at most; if `max_steps` is given, for that.

    max_steps : int or None, default=None
        Cap on the number of gradient steps, which are 1e9 at most.

    alpha : float, default=0.1
        L2 penalty: this times half the sum of squares of the layers' coefs, divided by the number
        of training rows (in `partial_fit`, of rows seen), is added to the mean squared error of the
        scaled data. The linear path is free, so large values lead to a linear autoencoder.

    noise : float, default=0.0
        Standard deviation of Gaussian noise added to the inputs in training (a denoising
        autoencoder [3]_), in units of the root mean square of the centred data.

    validation_fraction : float, default=0.1
        Share of the rows to hold out for choosing the snapshot. 0 holds none out and keeps the last
        network, whatever it is worth.

    early_stopping : bool, default=False
        Stop when the held-out error has not improved by `tol` for `n_iter_no_change` evaluations.
        There is one after each epoch, or every few epochs (10 at most) so that there are about 40.

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
        If positive, print a line at each evaluation.

    Attributes
    ----------
    components_ : ndarray of shape (n_components_, n_features_in_)
        Linear path of the encoder: ``(X - offset_) @ components_.T`` is its share of the code. Only
        with ``init="pca"``.
    encoder_, decoder_ : dict
        Weights: "coefs" and "intercepts", lists with one array per layer, and "linear". The encoder
        takes rows minus `offset_`, the decoder gives them.
    mean_ : ndarray of shape (n_features_in_,)
        Mean of the training rows.
    offset_ : ndarray of shape (n_features_in_,)
        What the network subtracts from each row: the mean of the rows it was trained on, or zero
        (see `output_activation`).
    scale_ : float
        The unit of training: the root mean square of those centred rows, or one.
    bounds_ : ndarray of shape (2, n_features_in_)
        Lower and upper bounds of the reconstruction, infinite where it is free.
    activations_ : tuple of str
        Hidden, code and output activation.
    n_components_ : int
        Size of the code.
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
        Number of gradient steps of a run.
    n_iter_ : int
        Number of epochs of a run, at least one: where PCA is exact none follows it.
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

    **Several machines.** In the scope of a `tf.distribute` strategy `fit` and `partial_fit` train
    data-parallel. Every worker is given the same parameters and all rows; each reads its part of a
    minibatch, and all end with the same bits. A ConnectionError says that a worker was
    lost; what was learnt until then is kept.

    **PCA or the trained network?** With few held-out rows the lower error may be luck. So, with
    ``init="pca"``, the network is kept only if a one-sided paired t-test over the held-out rows
    finds its errors lower than PCA's at the 5 % level, and the test hears at least 100 rows (or
    all, if there are fewer): where `validation_fraction` gives less, several splits are trained,
    each holding out others. The errors of all splits choose the step, and a last run on all rows is
    made up to there. Where PCA is kept, the result is that of PCA on all rows, without bounds.

    References
    ----------
    .. [1] D. Kingma, J. Ba. "Adam: A Method for Stochastic Optimization", ICLR 2015, algorithm 1.
    .. [2] X. Glorot, Y. Bengio. "Understanding the difficulty of training deep feedforward neural
       networks", AISTATS 2010, section 4.2.1.
    .. [3] P. Vincent et al. "Extracting and Composing Robust Features with Denoising Autoencoders",
       ICML 2008, section 2.3.

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

    # The HTML diagram's link.
    _doc_link_module = "skae"
    _doc_link_template = "https://pypi.org/project/skae/"

    _parameter_constraints: dict = {  # noqa: RUF012
        "n_components": [
            Interval(Integral, 1, None, closed="left"),
            Interval(Real, 0, 1, closed="neither"),
        ],
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "init": [StrOptions({"pca", "glorot", "normal"})],
        "bounds": [StrOptions({"auto"}), tuple, list, None],
        "whiten": ["boolean"],
        "code_activation": [StrOptions(set(ACTIVATIONS))],
        "output_activation": [StrOptions(set(ACTIVATIONS))],
        "learning_rate": [StrOptions({"cosine", "constant"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "max_steps": [Interval(Integral, 1, None, closed="left"), None],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "noise": [Interval(Real, 0, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "early_stopping": ["boolean"],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_components: float = 64,
        *,
        hidden_layer_sizes: int | Sequence[int] = (128,),
        activation: _Activation = "silu",
        init: Literal["pca", "glorot", "normal"] = "pca",
        bounds: Literal["auto"] | tuple[_Bound, _Bound] | None = "auto",
        whiten: bool = True,
        code_activation: _Activation = "identity",
        output_activation: _Activation = "identity",
        learning_rate: Literal["cosine", "constant"] = "cosine",
        learning_rate_init: float = 7e-3,
        batch_size: int = 256,
        max_iter: int | Literal["auto"] = "auto",
        max_steps: int | None = None,
        alpha: float = 0.1,
        noise: float = 0.0,
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
        self.noise = noise
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    # ---- fitting

    if TYPE_CHECKING:  # what the mixins add

        def fit_transform(self, X: _Rows, y: object = None, **params: Any) -> NDArray[Any]: ...
        def get_feature_names_out(self, input_features: object = None) -> NDArray[Any]: ...
        def set_output(self, *, transform: str | None = None) -> Self: ...
        def set_params(self, **params: Any) -> Self: ...
        def set_callbacks(self, *callbacks: object) -> Self: ...

    @_validating_parameters
    def fit(self, X: _Rows, y: object = None) -> Self:
        """Train the autoencoder.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data.
        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        self : AutoencoderTransformer
            The fitted estimator.
        """
        self._check_combinations()
        with self._all_or_nothing():
            ends = self._fit(X, y)
        _tell_endings(ends)
        return self

    def _fit(self, X, y):
        """Fit, and return the runs that were made."""
        warm = self.warm_start and hasattr(self, "encoder_")
        if warm:
            self._check_same_network()
        X = self._validate(X, reset=not warm)
        workers, seed = self._agree(X)
        rows = np.arange(X.shape[0])
        against_pca = self.init == "pca" and not warm
        n_components = self.n_components_ if warm else self._count_components(X, seed)
        restart = self._restart(X) if warm else None

        def start(training):
            network = restart or self._start(X, training, n_components, seed)
            return workers.broadcast_object(network)

        splits = _minibatches.held_out_splits(
            len(rows),
            float(self.validation_fraction),
            _MIN_HELD_OUT if against_pca else 1,
            np.random.default_rng(seed),
        ) or [(rows, rows[:0])]
        plan = self._plan(X.shape, len(splits[0][0]), n_components)
        n_runs = len(splits) + (len(splits) > 1)  # with several splits, there is one on all rows
        tasks = _Tasks(self, X, y, n_runs * plan.n_looks)

        def conclude(runs, network=None):
            return self._conclude(X, runs, network, start, against_pca, plan, workers)

        def report(run, seconds_left):
            self._print_progress(run, plan, seconds_left)
            return tasks.end(lambda: conclude(runs[:1] or [run]), run.steps[-1] < plan.stop)

        runs, ends, network = [], [], None
        try:
            for training, held_out in [*splits, (rows, rows[:0])][:n_runs]:
                is_last = len(runs) == len(splits)
                if is_last:
                    best_step, _ = _training.choose(runs, against_pca)
                    if against_pca and best_step == 0:
                        break
                    plan = plan._replace(stop=best_step)
                self._print(f"run {len(ends) + 1} of {n_runs}: {len(training)} rows to train on")
                tasks.begin()
                run = self._train(
                    X,
                    training,
                    held_out,
                    start(training),
                    plan,
                    [seed, len(ends)],
                    against_pca=against_pca,
                    report=report,
                    workers=workers,
                )
                ends.append(run)
                if run.ending in _training.BROKEN_OFF:
                    if run.ending == "lost":
                        workers = ALONE  # what there is can still be kept
                    runs = runs[:1] or [run]  # the first split, run to its end, decides alone
                    break
                if is_last and run.ending == "done":
                    network = run.network
                elif not is_last:
                    runs.append(run)
                    plan = plan._replace(stop=run.steps[-1])  # the others run as long as the first
            state = conclude(runs, network)
        except (KeyboardInterrupt, WorkerLostError) as error:  # between runs, or after them
            ending = "lost" if isinstance(error, WorkerLostError) else "interrupted"
            asked_before = bool(ends) and ends[-1].ending == "interrupted"
            others_wait = ending == "interrupted" and workers.n_workers > 1
            if not runs or asked_before or others_wait:
                raise
            workers = ALONE
            ends.append(runs[0]._replace(ending=ending, error=error))
            state = conclude(runs if network else runs[:1], network)
        vars(self).update(state)
        vars(self).pop("_stream", None)
        self._print(f"kept step {self.best_step_}, held-out MSE {self.reconstruction_err_:.4g}")
        tasks.end_all()
        return ends

    def _conclude(self, X, runs, network, start, against_pca, plan, workers):
        """Return the fitted attributes, if training ends with these runs.

        And perhaps with a network that was trained on all rows, which is kept unless PCA is.
        """
        rows = np.arange(X.shape[0])
        best_step, curve = _training.choose(runs, against_pca)
        is_pca = against_pca and best_step == 0
        network = start(rows).without_bounds() if is_pca else network or runs[0].network
        network = network.astype(_minibatches.float_type(X))
        if self.whiten:
            mean, covariance = _moments(len(rows), *_code_sums(network, X))
            # PCA's components are in order; to turn them would mix those of equal variance
            whitening = network.whitening(covariance, canonical=not is_pca)
            network = network.recode(*whitening, mean)
        mean = _column_sums(X) / len(rows)
        network, mean = workers.broadcast_object((network, mean))
        if len(curve):
            error = curve[curve[:, 0] == best_step, 1].item()
        else:
            error = _training.row_errors(network, X, rows).mean()
        n_steps = len(runs[0].losses)
        return self._weights(network) | {
            "mean_": mean,
            "n_samples_seen_": len(rows),
            "n_steps_": n_steps,
            "n_iter_": max(1, -(-n_steps // plan.steps_per_epoch)),
            "best_step_": best_step,
            "loss_curve_": runs[0].losses,
            "validation_curve_": curve,
            "reconstruction_err_": float(error),
        }

    @_validating_parameters
    def partial_fit(self, X: _Rows, y: object = None) -> Self:
        """Go on training with one pass over the rows of X, the next batch of a stream.

        The first call on a new estimator starts it at the PCA of its batch; after `fit`, the
        stream goes on from the fitted network. No rows are held out: each batch judges the
        network before it trains it, and `validation_curve_` records that. The canonical code is
        that of all rows seen, each encoded by the network of its time; after the first call it is
        only made white again, with as little turning as possible. Automatic bounds move out to rows
        that exceed them. A batch on which training diverges is left out, with a warning.

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
        self._check_combinations()
        with self._all_or_nothing():
            run = self._partial_fit(X)
        _tell_endings([run])
        return self

    def _partial_fit(self, X):
        """Train on the next batch, and return the run."""
        first = not hasattr(self, "encoder_")
        if not first:
            self._check_same_network(whiten=(bool(self.whiten), self._whitened))
        X = self._validate(X, reset=first)
        workers, seed = self._agree(X)
        rows = np.arange(X.shape[0])
        if first:
            network = self._start(X, rows, self._count_components(X, seed), seed)
            stream = {"step": 0, "adam": None, "code_sums": (0.0, 0.0), "code": None}
            seen, steps, epochs, sums, losses = 0, 0, 0, 0.0, np.empty(0)
            curve = np.empty((0, 2))
        else:
            network, stream = self._restart(X), getattr(self, "_stream", None)
            seen, steps, epochs = self.n_samples_seen_, self.n_steps_, self.n_iter_
            sums, losses, curve = self.mean_ * seen, self.loss_curve_, self.validation_curve_
            if stream is None:
                # fit's code has unit variance, and this is what it has in the units of training
                norms = self._network.rescaled(self.scale_).direction_norms()
                code_sums = (0.0, (seen - 1) * np.diag(norms**-2))
                code = np.diag(norms), np.diag(1 / norms)
                stream = {"step": 0, "adam": None, "code_sums": code_sums, "code": code}
            else:
                network = network._replace(encoder=stream["encoder"], decoder=stream["decoder"])
        network = workers.broadcast_object(network)
        error = _training.row_errors(network, X, rows).mean()

        # Adam's moments are new after fit, so its steps and the learning rate's count anew too.
        step, adam = stream["step"], stream["adam"]
        plan = self._plan(X.shape, len(rows), network.code_size, stream_step=step)
        run = self._train(
            X,
            rows,
            rows[:0],
            network,
            plan,
            [seed, steps],
            n_seen=seen + len(rows),
            step=step,
            adam=adam,
            workers=workers,
        )
        if run.ending == "diverged" and not first:
            return run  # these rows taught nothing, and would spoil the code's moments
        seen += len(rows)
        stream = stream | {
            "encoder": run.network.encoder,
            "decoder": run.network.decoder,
            "step": step + len(run.losses),
            "adam": run.adam,
        }
        network = run.network.astype(_minibatches.float_type(X))
        if self.whiten:
            old_and_new = zip(stream["code_sums"], _code_sums(network, X), strict=True)
            stream["code_sums"] = tuple(old + new for old, new in old_and_new)
            mean, covariance = _moments(seen, *stream["code_sums"])
            if stream["code"] is None:
                to_code, from_code = network.whitening(covariance)
            else:  # codes of different times should mean the same: turn them as little as possible
                to_code, from_code = stream["code"]
                change, back = network.whitening(to_code.T @ covariance @ to_code, canonical=False)
                to_code, from_code = to_code @ change, back @ from_code
            stream["code"] = to_code, from_code
            network = network.recode(to_code, from_code, mean)
        mean = (sums + _column_sums(X)) / seen
        if run.ending == "lost":
            workers = ALONE
        self._stream, network, self.mean_ = workers.broadcast_object((stream, network, mean))
        vars(self).update(self._weights(network))
        self.n_samples_seen_ = seen
        self.n_steps_ = steps + len(run.losses)
        self.n_iter_ = epochs + 1
        self.best_step_ = self.n_steps_
        self.loss_curve_ = np.concatenate([losses, run.losses])
        self.validation_curve_ = np.vstack([curve, [[steps, error]]])
        self.reconstruction_err_ = float(error)
        return run

    def _check_combinations(self):
        """Refuse parameters that are in range but cannot work together."""
        self._hidden_layer_sizes()
        if self.init == "pca":
            for name in ("code_activation", "output_activation"):
                if getattr(self, name) != "identity":
                    raise ValueError(
                        f"init='pca' starts a linear path, so {name} must be 'identity', got "
                        f"{getattr(self, name)!r}. Set {name}='identity', or init='glorot'."
                    )
        if self.whiten and self.code_activation != "identity":
            raise ValueError(
                "whiten=True needs code_activation='identity', got "
                f"{self.code_activation!r}. Set whiten=False to use the code as it is."
            )
        if isinstance(self.bounds, tuple | list) and self.output_activation != "identity":
            raise ValueError(
                "bounds are for output_activation='identity', and output_activation="
                f"{self.output_activation!r} has a range of its own. Set bounds=None."
            )
        if self.early_stopping and self.validation_fraction == 0:
            raise ValueError(
                "early_stopping=True needs rows to watch, and validation_fraction=0 holds none "
                "out. Set validation_fraction=0.1, or early_stopping=False."
            )

    def _hidden_layer_sizes(self):
        """Return them as Python's integers: the products of NumPy's small ones overflow."""
        sizes = np.atleast_1d(np.array(self.hidden_layer_sizes, dtype=object))
        for size in sizes:
            if not isinstance(size, Integral) or size < 1:
                raise ValueError(
                    "hidden_layer_sizes must hold the sizes of the encoder's hidden layers, "
                    f"integers from 1 up, got {self.hidden_layer_sizes!r}."
                )
        return tuple(map(int, sizes))

    def _activations(self):
        return self.activation, self.code_activation, self.output_activation

    def _check_same_network(self, **asked):
        """Refuse to go on training a network that is not the one the parameters describe."""
        *hidden, n_components = (len(b) for b in self.encoder_["intercepts"])
        asked |= {
            "hidden_layer_sizes": (self._hidden_layer_sizes(), tuple(hidden)),
            "activations": (self._activations(), self.activations_),
        }
        if hidden:  # without, the linear path is all there is, whatever the start
            asked["linear path, of init='pca',"] = (self.init == "pca", "linear" in self.encoder_)
        if self.n_components >= 1:
            asked["n_components"] = (min(self.n_components, self.n_features_in_), n_components)
        for name, (wanted, fitted) in asked.items():
            if wanted != fitted:
                raise ValueError(
                    f"The network so far has {name} {fitted}, the parameters ask for {wanted}. "
                    "Set them back, or start anew: warm_start=False, or fit on a clone."
                )

    def _validate(self, X, *, reset):
        """Check rows; arrays of numbers are left as they are, in memory or on disk."""
        is_numeric = getattr(getattr(X, "dtype", None), "kind", "none") in "biuf"
        as_it_is = is_numeric and X.dtype.itemsize <= 8 and not issparse(X)
        return validate_data(
            self,
            X,
            accept_sparse="csr",
            dtype=None if as_it_is else [np.float64, np.float32],
            reset=reset,
        )

    def _agree(self, X):
        """Return who trains together, and the seed of all.

        Raises
        ------
        ValueError
            If workers were given different parameters, tables or networks.
        """
        workers = current_workers()
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        if workers.n_workers > 1:
            mine = {name: repr(value) for name, value in self.get_params().items()}
            mine["the callbacks"] = repr([type(c) for c in getattr(self, "_skl_callbacks", [])])
            mine["random_state"] = "None" if self.random_state is None else f"seed {seed}"
            mine["the shape of X"] = str(X.shape)
            mine["the type of X"] = str(X.dtype)
            sample = np.arange(X.shape[0])[:: max(1, X.shape[0] // 100)]
            mine["the hash of 100 rows of X"] = joblib.hash(_minibatches.read_rows(X, sample))
            mine["the hash of the fitted network"] = joblib.hash(getattr(self, "encoder_", None))
            everyone = workers.all_gather_object(mine)
            for worker, theirs in enumerate(everyone):
                for name, value in everyone[0].items():
                    if theirs[name] != value:
                        raise ValueError(
                            "All workers must be given the same parameters and all rows of X, "
                            f"but {name} is {value} on worker 0 and {theirs[name]} on worker "
                            f"{worker}."
                        )
        return workers, workers.broadcast_object(seed)

    def _count_components(self, X, seed):
        """Return the size of the code."""
        if self.n_components >= 1:
            return int(min(self.n_components, X.shape[1]))
        rows = np.arange(X.shape[0])
        components, _ = principal_components(
            X, rows, *location_and_scale(X, rows), self.n_components, seed
        )
        return len(components)

    def _start(self, X, rows, n_components, seed):
        """Return the network that training on some rows of X starts from."""
        n_features = X.shape[1]
        hidden = self._hidden_layer_sizes()
        rng = np.random.default_rng(seed)
        offset, scale = np.zeros(n_features), 1.0
        if self.output_activation == "identity":  # others have a range, in which the data come
            offset, scale = location_and_scale(X, rows)
        offset = offset.astype(_minibatches.float_type(X))
        with _naming_sizes(n_features, *hidden, n_components):
            if self.init == "pca":
                components, std = principal_components(X, rows, offset, scale, n_components, seed)
                encoder, decoder = start_at_pca(components, std, hidden, rng)
            else:
                dtype = _minibatches.float_type(X)
                encoder, decoder = start_at_random(
                    self.init, n_features, hidden, n_components, dtype, rng
                )
        if self.bounds == "auto" and self.output_activation == "identity":
            low, high = tied_bounds(X, rows, _MIN_TIES, _MIN_TIED_SHARE)
        else:
            low, high = given_bounds(None if self.bounds == "auto" else self.bounds, X)
        return Autoencoder(encoder, decoder, offset, scale, low, high, self._activations())

    def _restart(self, X):
        """Return the fitted network with weights of the size that PCA starts with.

        Adam moves each weight by about the learning rate, whatever its size; the code that the
        last fit folded into the weights would give it others than those it started from. Bounds
        are those that were found, with room for X, or those that the parameters give now.
        """
        network = self._network.rescaled(self.scale_)
        network = network.rescale_code(1 / network.direction_norms())
        network.check_distance(X)
        if self.bounds == "auto":
            return network.with_room_for(X)
        low, high = given_bounds(self.bounds, X)
        return network._replace(low=low, high=high)

    def _plan(self, shape, n_training, n_components, stream_step=None):
        """Plan a run over n_training rows of a table of this shape."""
        n_weights = _count_weights(shape[1], *self._hidden_layer_sizes(), n_components)
        chunk_shape = _minibatches.chunk_shape(*shape, int(self.batch_size), n_weights)
        peak = float(self.learning_rate_init)
        if stream_step is not None:
            return _training.plan_stream(chunk_shape, n_training, peak, stream_step)
        return _training.plan(
            chunk_shape,
            n_training,
            self.learning_rate,
            peak,
            self.max_iter if self.max_iter == "auto" else int(self.max_iter),
            None if self.max_steps is None else int(self.max_steps),
            self.early_stopping,
        )

    def _train(
        self,
        X,
        training,
        held_out,
        start,
        plan,
        seed,
        *,
        against_pca=False,
        report=None,
        n_seen=None,
        **state,
    ):
        with _naming_sizes(X.shape[1], *self._hidden_layer_sizes(), start.code_size):
            return _training.train(
                X,
                training,
                held_out,
                start,
                plan,
                baseline=start.without_bounds() if against_pca else start,
                alpha=float(self.alpha) / (n_seen or len(training)),
                noise=float(self.noise),
                patience=int(self.n_iter_no_change) if self.early_stopping else None,
                tol=float(self.tol),
                rng=np.random.default_rng(seed),
                report=report,
                **state,
            )

    def _weights(self, network):
        """Fitted attributes that hold a network."""
        if self.init == "pca" and not self.whiten:  # a code in the units of X, as PCA's
            network = network.rescale_code(np.full(network.code_size, network.scale))
        scale = network.scale
        network = network.rescaled(1.0).astype(network.offset.dtype)
        return {
            "encoder_": network.encoder,
            "decoder_": network.decoder,
            "offset_": network.offset,
            "scale_": scale,
            "bounds_": np.stack([network.low, network.high]),
            "activations_": network.activations,
            "n_components_": network.code_size,
            "_whitened": bool(self.whiten),
        }

    @contextmanager
    def _all_or_nothing(self):
        """Put fitted attributes back to what they were if an exception comes."""
        before = {name: value for name, value in vars(self).items() if _is_fitted(name)}
        try:
            yield
        except BaseException:
            for name in filter(_is_fitted, list(vars(self))):
                del vars(self)[name]
            vars(self).update(before)
            raise

    def _print(self, text, at_least=2):
        if self.verbose >= at_least:
            print(f"[AutoencoderTransformer] {text}", flush=True)  # noqa: T201

    def _print_progress(self, run, plan, seconds_left):
        step, n_new = run.steps[-1], run.steps[-1] - run.steps[-2]
        text = f"step {step}/{plan.stop}, epoch {step / plan.steps_per_epoch:.4g}"
        text += f", training MSE {run.losses[-n_new:].mean():.4g}"
        if run.errors.size:
            error, variance = run.errors[-1].mean(), run.network.scale**2
            text += f", held-out MSE {error:.4g} (R² {1 - error / variance:.4f})"
        self._print(f"{text}, {seconds_left:.0f} s left", at_least=1)

    # ---- serving

    @property
    def _network(self):
        return Autoencoder(
            self.encoder_,
            self.decoder_,
            self.offset_,
            1.0,
            *self.bounds_,
            self.activations_,
        )

    @property
    def components_(self) -> NDArray[Any]:
        """Linear path of the encoder: ``(X - mean_) @ components_.T`` is its share of the code."""
        path = self._network.linear_path()
        if path is None:
            raise AttributeError("components_ is the linear path, which only init='pca' gives.")
        return path.T

    @property
    def _n_features_out(self):
        return self.n_components_

    def transform(self, X: _Rows) -> NDArray[Any]:
        """Encode rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        codes : ndarray of shape (n_samples, n_components_)
            Their codes, float32 for float32 rows, else float64.
        """
        network, X = self._prepare(X)
        return _in_blocks(network.encode, X, network.code_size)

    def inverse_transform(self, X: ArrayLike) -> NDArray[Any]:
        """Decode codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components_)
            Codes.

        Returns
        -------
        rows : ndarray of shape (n_samples, n_features_in_)
            The reconstruction, within ``bounds_``, float32 for float32 codes, else float64.
        """
        check_is_fitted(self)
        X = check_array(X, dtype=[np.float64, np.float32])
        if X.shape[1] != self.n_components_:
            raise ValueError(
                f"X has {X.shape[1]} columns, but the code of this AutoencoderTransformer has "
                f"{self.n_components_}."
            )
        network = self._network.astype(_minibatches.float_type(X))
        return _in_blocks(network.decode, X, self.n_features_in_)

    def reconstruct(self, X: _Rows) -> NDArray[Any]:
        """Encode and decode rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        rows : ndarray of shape (n_samples, n_features_in_)
            What the code keeps of them.
        """
        network, X = self._prepare(X)
        return _in_blocks(lambda rows: network.decode(network.encode(rows)), X, X.shape[1])

    def score_samples(self, X: _Rows) -> NDArray[Any]:
        """Negated squared error of each row, so that unusual rows score low.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Minus the sum over the features of the squared reconstruction error, float64; minus
            infinity where that is beyond it.
        """
        network, X = self._prepare(X)
        scale = self.scale_  # in whose unit squares are numbers, in float32 too
        errors = _in_blocks(lambda rows: network.squared_errors(rows, unit=scale), X)
        with np.errstate(over="ignore"):
            return errors * -(scale**2)

    def score(self, X: _Rows, y: object = None) -> float:
        """Share of the variance that the reconstruction keeps.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        score : float
            One minus the squared error divided by the squared distance from ``mean_``. On the
            training rows of a PCA this is the sum of its ``explained_variance_ratio_``.
        """
        network, X = self._prepare(X)
        # so that the squares neither overflow nor vanish
        unit = max(self.scale_, abs(self.mean_).max(), abs(float(X.max())), abs(float(X.min())))
        error = _in_blocks(lambda rows: network.squared_errors(rows, unit=unit), X)
        total = _in_blocks(lambda rows: row_norms((rows - self.mean_) / unit, squared=True), X)
        error, total = error.sum(), total.sum()
        if total == 0:
            return float(error == 0)
        return float(1 - error / total)

    def to_keras(self) -> Any:
        """Build the same network as a Keras model.

        Of built-in layers, in the dtype of Keras' policy: it can be trained further, saved and
        exported, and it runs on GPUs.

        Returns
        -------
        model : keras.Model
            From rows to their reconstruction, with the sub-models
            ``model.get_layer("encoder")`` and ``model.get_layer("decoder")``.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from skae import AutoencoderTransformer
        >>> X = load_iris().data.astype("float32")
        >>> ae = AutoencoderTransformer(2, max_steps=20, random_state=0).fit(X)
        >>> model = ae.to_keras()
        >>> bool(abs(model.predict(X, verbose=0) - ae.reconstruct(X)).max() < 1e-5)
        True
        >>> model.get_layer("encoder").output_shape
        (None, 2)
        """
        check_is_fitted(self)
        from ._keras import to_keras  # which imports TensorFlow

        return to_keras(self._network)

    def _prepare(self, X):
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        network, dtype = self._network, _minibatches.float_type(X)
        return network if self.offset_.dtype == dtype else network.astype(dtype), X

    def __getstate__(self):
        return super().__getstate__() | {"_skae_version": __version__}

    def __setstate__(self, state):
        saved, now = state.pop("_skae_version", "unknown"), __version__
        if saved != now:
            warnings.warn(
                InconsistentVersionWarning(
                    estimator_name=type(self).__name__,
                    current_sklearn_version=now,
                    original_sklearn_version=saved,
                ),
                stacklevel=2,
            )
        super().__setstate__(state)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class _Tasks:
    """scikit-learn's callbacks in `fit`: a task for each look at the held-out rows."""

    def __init__(self, estimator, X, y, n_tasks):
        self.fit = estimator._init_callback_context(max_subtasks=n_tasks)
        # an autoencoder's target is X, where there is no other
        self.arguments = {"estimator": estimator, "X": X, "y": X if y is None else y}
        self.fit.call_on_fit_task_begin(**self.arguments)

    def begin(self):
        self.epoch = self.fit.subcontext("epoch").call_on_fit_task_begin(**self.arguments)

    def end(self, fitted, more):
        """Hand over the fitted attributes; return whether a callback wants to stop."""
        stop = self.epoch.call_on_fit_task_end(**self.arguments, reconstruction_attributes=fitted)
        if more:
            self.begin()
        return stop

    def end_all(self):
        self.fit.call_on_fit_task_end(**self.arguments, reconstruction_attributes=dict)


def _count_weights(*sizes):
    """Count the coefs of layers of these sizes and back."""
    return 2 * sum(n_in * n_out for n_in, n_out in pairwise(sizes))


@contextmanager
def _naming_sizes(*sizes):
    """Say what it is that there is no memory for."""
    try:
        yield
    except MemoryError as error:
        raise MemoryError(
            f"There is no memory to train layers of sizes {sizes} and back: about "
            f"{_count_weights(*sizes):.1e} weights, and several arrays of their size. Set a "
            "smaller hidden_layer_sizes or n_components, or give X fewer columns. "
            f"({error})"
        ) from error


def _in_blocks(function, X, *columns):
    """Apply a function of dense rows to X block by block, into one array.

    Blocks are smaller where results have many columns.
    """
    blocks = _minibatches.row_blocks(X.shape[0], max(X.shape[1], *columns, 1))
    if len(blocks) == 1:
        return function(_minibatches.read_rows(X, blocks[0]))
    out = None
    for rows in blocks:
        part = function(_minibatches.read_rows(X, rows))
        if out is None:
            out = np.empty((X.shape[0], *part.shape[1:]), dtype=part.dtype)
        out[rows] = part
    return out


def _is_fitted(name):
    return name in ("_stream", "_whitened") or (name.endswith("_") and not name.startswith("_"))


def _column_sums(X):
    blocks = _minibatches.row_blocks(*X.shape)
    return sum(_minibatches.read_rows(X, rows).sum(axis=0, dtype=np.float64) for rows in blocks)


def _code_sums(network, X):
    """Sum of the codes of the rows of X, and of their outer products."""
    total, cross = 0.0, 0.0
    for rows in _minibatches.row_blocks(*X.shape):
        codes = network.encode(_minibatches.read_rows(X, rows)).astype(np.float64)
        total, cross = total + codes.sum(axis=0), cross + codes.T @ codes
    return total, cross


def _moments(n_samples, total, cross):
    """Mean and covariance from a sum and a sum of outer products."""
    mean = total / n_samples
    return mean, (cross - n_samples * np.outer(mean, mean)) / max(1, n_samples - 1)


def _tell_endings(runs):
    """Say what ended training before its time, if not early stopping."""
    ended = {run.ending: run for run in runs}
    if "diverged" in ended:
        warnings.warn(
            "Training diverged: the loss exploded, or the loss or the weights stopped being "
            "finite. The best network before that is kept. Lower learning_rate_init, alpha or "
            "noise, or scale the data.",
            ConvergenceWarning,
            stacklevel=3,
        )
    if "interrupted" in ended:
        warnings.warn(
            "Training was interrupted. The best network up to then is kept.",
            ConvergenceWarning,
            stacklevel=3,
        )
    if "lost" in ended:
        raise WorkerLostError(
            f"{ended['lost'].error} The best network up to step {ended['lost'].steps[-1]} is "
            "kept in this estimator: save it, and go on from it with warm_start=True."
        ) from ended["lost"].error
