"""The detector of outliers: scikit-learn's manners around a variational autoencoder."""

from collections.abc import Sequence
from functools import partial
from numbers import Real
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted

from . import _sklearn_compat
from ._base.composition import fit_part
from ._base.inference import Rows
from ._dask.collections import is_collection, lazily
from ._data.table import Shard
from ._sklearn_compat import EstimatorMixin, Interval
from ._variational_autoencoder import VariationalAutoencoder

_AUTOENCODER = VariationalAutoencoder._parameter_constraints
# Parameters that are the autoencoder's.
_SHARED = ("n_components", "likelihood", "noise_variance", "n_draws", "hidden_layer_sizes")
_SHARED += ("activation", "bounds", "learning_rate_init", "batch_size", "max_iter", "max_steps")
_SHARED += ("alpha", "validation_fraction", "random_state", "verbose")
# Stands for a log-likelihood of minus infinity where the threshold is computed.
_LEAST = -1e300
# Scores that differ by less than this share count as equal: the score of a row depends on the other
# rows of the call by rounding errors.
_TIED = {np.dtype(np.float64): 1e-8, np.dtype(np.float32): 1e-4}


class OutlierDetector(EstimatorMixin, OutlierMixin, BaseEstimator):
    """Detector of outliers: rows that a variational autoencoder finds less likely than others.

    A :class:`VariationalAutoencoder` learns how the rows come about, and `score_samples` is the
    log-likelihood that it gives them. Rows below `offset_`, the quantile of the training rows that
    `contamination` says, are outliers. `score_features` says which features make a row unlikely.

    The columns should be in comparable units: standardise them first, as for PCA.

    Parameters
    ----------
    n_components : int, default=16
        Size of the code, at most the number of features.

    contamination : float, default=0.05
        Share of the training rows that are outliers, above 0 and below 0.5. As many are below the
        threshold, and training leaves that share of each batch out, rounded up, its least likely
        rows, so that the network does not learn to explain them. Equal rows get the same label:
        where rows at the threshold are equal, the share of outliers is the nearest to this one that
        is possible.

    likelihood : {"gaussian", "bernoulli"}, default="gaussian"
        "bernoulli" is for features that are 0 or 1.

    noise_variance : {"scalar", "feature"}, default="scalar"
        Whether the Gaussian noise has one variance for all features, or one for each.

    n_draws : int, default=20
        Draws of the code by which each row is judged. More give steadier scores, in proportionally
        more time.

    hidden_layer_sizes : int or tuple of int, default=(256,)
        As in :class:`AutoencoderTransformer`.

    activation : {"identity", "relu", "tanh", "logistic", "elu", "gelu", "silu"}, default="silu"
        As in :class:`AutoencoderTransformer`.

    bounds : "auto", None or (low, high), default="auto"
        As in :class:`VariationalAutoencoder`.

    learning_rate_init : float, default=7e-3
        As in :class:`AutoencoderTransformer`.

    batch_size : int, default=256
        As in :class:`AutoencoderTransformer`.

    max_iter : int or "auto", default="auto"
        As in :class:`VariationalAutoencoder`.

    max_steps : int or None, default=None
        As in :class:`AutoencoderTransformer`.

    alpha : float, default=1.0
        As in :class:`VariationalAutoencoder`.

    validation_fraction : float, default=0.1
        As in :class:`AutoencoderTransformer`.

    random_state : int, RandomState instance or None, default=None
        For the hidden layers, the held-out rows, the order of minibatches and the draws.

    verbose : int, default=0
        1 prints a line at each evaluation, and at the end whether a step or PCA is kept; 2 or more
        also prints, of each run, the number of its training rows.

    Attributes
    ----------
    offset_ : float
        The threshold, halfway between the scores of two training rows: ``decision_function`` is
        ``score_samples`` minus this.
    autoencoder_ : VariationalAutoencoder
        The fitted model of the rows, which draws new ones and has the curves of training.
    n_iter_ : int
        Number of epochs of training.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if X had string names.

    See Also
    --------
    sklearn.ensemble.IsolationForest : Faster, and needs no units; splits by one column at a time.
    sklearn.neighbors.LocalOutlierFactor : Compares neighbours, which it must keep.

    Notes
    -----
    No likelihood is unusual by itself, so the threshold is a quantile. One row in twenty is a
    convention for where the share of outliers is not known: training without that share of rows
    costs hardly any likelihood where there are none. On few rows the network overfits, so that more
    than the share `contamination` of new rows is below the threshold.

    Missing values are taken, and a row is judged by what is there. Add noise of the width of a unit
    to columns of whole numbers, as the notes of :class:`VariationalAutoencoder` say. What is not
    here, such as new rows and streams, is in `autoencoder_`; `fit` alone sets the threshold.

    Examples
    --------
    >>> import numpy as np
    >>> from skae import OutlierDetector
    >>> rng = np.random.default_rng(0)
    >>> angle = rng.uniform(0, np.pi, size=1000)
    >>> X = np.column_stack([np.cos(angle), np.sin(angle)]) + rng.normal(scale=0.05, size=(1000, 2))
    >>> detector = OutlierDetector(contamination=0.01, max_steps=400, random_state=0).fit(X)
    >>> detector.predict([[0.0, 1.0], [0.0, 0.5]])  # on the arc, and in the middle of it
    array([ 1, -1])
    """

    _parameter_constraints: dict = {  # noqa: RUF012
        **{name: _AUTOENCODER[name] for name in _SHARED},
        "contamination": [Interval(Real, 0, 0.5, closed="neither")],
    }

    def __init__(
        self,
        n_components: int = 16,
        *,
        contamination: float = 0.05,
        likelihood: Literal["gaussian", "bernoulli"] = "gaussian",
        noise_variance: Literal["scalar", "feature"] = "scalar",
        n_draws: int = 20,
        hidden_layer_sizes: int | Sequence[int] = (256,),
        activation: str = "silu",
        bounds: Any = "auto",
        learning_rate_init: float = 7e-3,
        batch_size: int = 256,
        max_iter: int | Literal["auto"] = "auto",
        max_steps: int | None = None,
        alpha: float = 1.0,
        validation_fraction: float = 0.1,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.contamination = contamination
        self.likelihood = likelihood
        self.noise_variance = noise_variance
        self.n_draws = n_draws
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.bounds = bounds
        self.learning_rate_init = learning_rate_init
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.max_steps = max_steps
        self.alpha = alpha
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.verbose = verbose

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
        """Learn how likely rows are, and from where on they are outliers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data, with or without outliers; in [0, 1] for a Bernoulli likelihood.
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
        self : OutlierDetector
            The fitted detector.

        Raises
        ------
        ValueError
            If X_val has other columns than X, or y_val or groups do not fit X_val, X and the
            parameters.
        """
        if isinstance(X, Shard):
            raise TypeError("OutlierDetector needs all rows in one process, for its threshold.")
        params = {name: getattr(self, name) for name in (*_SHARED, "contamination")}
        given = {"X_val": X_val, "y_val": y_val, "groups": groups}
        conclude = partial(self._conclude, X)
        fit_part(self, VariationalAutoencoder(**params), conclude, X, **given)
        return self

    def _conclude(self, X, autoencoder):
        """Return the fitted attributes that a fitted autoencoder and the training rows give."""
        scores = np.asarray(_sklearn_compat.as_part_of(self, autoencoder).score_samples(X))
        names = ("n_features_in_", "feature_names_in_", "n_iter_")
        state = {name: getattr(autoencoder, name) for name in names if hasattr(autoencoder, name)}
        tied = _TIED[autoencoder.offset_.dtype]
        offset = _threshold(scores, float(self.contamination), tied)
        return state | {"offset_": offset, "autoencoder_": autoencoder}

    @property
    def _part(self):
        """The fitted autoencoder, whose messages name this estimator."""
        check_is_fitted(self)
        return _sklearn_compat.as_part_of(self, self.autoencoder_)

    def score_samples(self, X: Rows) -> NDArray[Any]:
        """Log-likelihood of each row; see :meth:`VariationalAutoencoder.score_samples`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            In nats, float64, low for unusual rows.
        """
        return self._part.score_samples(X)

    def score_features(self, X: Rows) -> NDArray[Any]:
        """Log-likelihood of each entry; see :meth:`VariationalAutoencoder.score_features`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        scores : ndarray of shape (n_samples, n_features_in_)
            In nats, zero where something is missing.
        """
        return self._part.score_features(X)

    def decision_function(self, X: Rows) -> NDArray[Any]:
        """Log-likelihood of each row minus the threshold.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Negative for outliers.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: Rows) -> NDArray[Any]:
        """Say which rows are outliers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            -1 for outliers and 1 for the others.
        """
        if is_collection(X):
            check_is_fitted(self)
            return lazily(self, "predict", X, dtype=int)
        return np.where(self.score_samples(X) < self.offset_, -1, 1)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = tags.input_tags.allow_nan = True
        return tags


def _threshold(scores, share, tied):
    """Return a number below which this share of the scores lies, between two of them.

    Scores that are equal, but for a relative difference of `tied`, lie on the same side of it. If
    that makes the share larger or smaller, the share with the smaller ratio to the given one is
    taken, and never more than half of the scores.
    """
    scores, n_scores = np.sort(np.nan_to_num(scores, neginf=_LEAST)), len(scores)
    n_below = int(np.ceil((n_scores - 1) * share))
    tolerance = tied * max(1.0, abs(scores[n_below]))
    ends = np.searchsorted(scores, [scores[n_below] - tolerance, scores[n_below] + tolerance])
    possible = [int(end) for end in ends if 0 < end <= n_scores / 2]
    if not possible:
        return float(scores[0] - 2 * tolerance)
    n_below = min(possible, key=lambda end: abs(np.log(end / n_below)))
    return float(scores[n_below - 1 : n_below + 1].mean())
