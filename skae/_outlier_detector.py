"""Outlier detector based on a variational autoencoder."""

from collections.abc import Sequence
from copy import copy
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted

from . import _sklearn_compat
from ._base.composition import fit_inner
from ._base.inference import MatrixLike, lazy_for_collections
from ._base.local_density import (
    DistanceScore,
    TrainingRows,
    coordinates_of,
    n_stored_rows,
    units_of,
)
from ._base.validation import with_positive_weights
from ._dask.collections import is_collection, of_partitions
from ._data.table import Shard
from ._data.weights import Weights, quantile, weights_or_ones, with_mean_of_at_least_one
from ._docstrings import with_shared_paragraphs
from ._parameters import CATEGORICAL
from ._sklearn_compat import EstimatorMixin, Interval, StrOptions
from ._variational_autoencoder import VariationalAutoencoder

_AUTOENCODER = VariationalAutoencoder._parameter_constraints
# Parameters that are passed to the autoencoder.
_SHARED = (
    "n_components",
    "likelihood",
    "noise_variance",
    "n_draws",
    "hidden_layer_sizes",
    "activation",
    "bounds",
    "learning_rate_init",
    "batch_size",
    "max_iter",
    "max_steps",
    "alpha",
    "validation_fraction",
    "random_state",
    "verbose",
    *CATEGORICAL,
)
# Fraction of the rows of a minibatch that training leaves out with contamination="auto".
_AUTO_TRIMMED = 0.05
# Replaces a log-likelihood of minus infinity in the computation of the threshold.
_MIN_SCORE = -1e300
# Relative difference below which scores count as equal: because of rounding errors, the score of a
# row depends on the other rows of the call.
_TIED = {np.dtype(np.float64): 1e-8, np.dtype(np.float32): 1e-4}


@with_shared_paragraphs(
    default_layers="(256,)",
    automatic_bounds="Automatic bounds are dropped if probabilistic PCA is kept.",
    min_steps="1200",
    random_part="the draws of the code",
)
class OutlierDetector(EstimatorMixin, OutlierMixin, BaseEstimator):
    """Anomaly detection by likelihood under a variational autoencoder, and by neighbours.

    Outliers are rows with a low likelihood, also contextual anomalies: rows whose values are usual
    one by one, but not together. A :class:`VariationalAutoencoder` is fitted to the rows. The score
    of a row is its log-likelihood, or lower if the row is far from the closest training rows; see
    the notes. Rows below `offset_` are outliers; `offset_` is the quantile `contamination` of the
    scores of the training rows. `score_features` returns the log-likelihood of each entry, which
    explains a low likelihood.

    The columns of a table of numbers should have comparable units: standardise them first, as for
    PCA. Data frames with categories are encoded, so that the units do not matter.

    Parameters
    ----------
    n_components : int, default=16
        Number of components of the code, at most the number of features.

    contamination : float or "auto", default=0.05
        Expected fraction of outliers in the training rows, above 0 and at most 0.5. The threshold
        is set so that this fraction of the training rows is below it. Each gradient step ignores
        the same fraction (rounded up) of the rows of its minibatch: those with the lowest
        likelihood, so that the network does not learn from outliers. Equal rows get the same label.
        If several equal rows are at the threshold, the fraction of outliers is the closest one that
        is possible. With "auto", training is the same as with 0.05. The threshold is then the lower
        fence of a box plot: the lower quartile of the scores of the training rows minus 1.5 times
        their interquartile range. The fraction of outliers depends on the rows, and may be zero.

    n_neighbors : int, default=20
        Number of training rows to which a row is compared. With 0, the score is the log-likelihood
        alone, no training rows are stored, and the detector can be exported to ONNX.

    %(likelihood)s

    %(noise_variance)s

    %(n_draws)s

    %(hidden_layer_sizes)s

    %(activation)s

    %(bounds)s

    %(learning_rate_init)s

    %(batch_size)s

    %(max_iter)s

    %(max_steps)s

    %(alpha_of_likelihood)s

    %(validation_fraction)s

    %(random_state)s

    %(verbose)s

    %(categorical_features)s

    %(max_categories)s

    %(min_frequency)s

    Attributes
    ----------
    offset_ : float
        Threshold, halfway between the scores of two training rows: ``decision_function`` is
        ``score_samples`` minus `offset_`.
    autoencoder_ : VariationalAutoencoder
        Fitted density model of the rows. The method `sample` of this model draws new rows, and
        its attributes include the loss curves.
    n_iter_ : int
        Number of epochs of training.
    n_neighbors_ : int
        Number of neighbours that is used: at most the number of stored training rows minus one.
    %(categories_)s
    %(is_categorical_)s
    %(n_features_in_)s
    %(feature_names_in_)s

    See Also
    --------
    sklearn.ensemble.IsolationForest : Faster, and does not depend on the units of the columns;
        splits one column at a time.
    sklearn.neighbors.LocalOutlierFactor : Compares neighbours, and stores the training rows.

    Notes
    -----
    The score is the lower one of two scores. The first is the log-likelihood: it is low for values
    that do not fit the other values of their row. The second is low for rows that are far from the
    training rows, for example between two clusters. It is the negative mean distance to the
    `n_neighbors` closest training rows, multiplied by a factor and shifted, so that the median and
    the interquartile range of both scores are equal on the training rows. The maximum of
    standardised outlier scores is a usual ensemble of detectors (Aggarwal & Sathe, "Outlier
    Ensembles", 2017, chapter 5). If `score_features` has no low entry for an outlier, its distance
    is large.

    The distance is the Euclidean one of codes, in units of their posterior standard deviation, and
    residuals, in units of their standard deviation. The estimator stores the codes and residuals of
    at most 10 000 training rows, chosen at random, and fewer if they would take more than 64 MB: a
    file of the estimator contains these rows. A group of more than `n_neighbors` similar outliers
    among the training rows has close neighbours: only its likelihood is low.

    The threshold depends on the scores, because no fixed value of the log-likelihood separates
    outliers from other rows. The default of 0.05 is a convention for data with an unknown fraction
    of outliers. If there are no outliers, training without 5 % of the rows hardly lowers the
    likelihood of the others. If there are few training rows, the network overfits, and more than
    the fraction `contamination` of new rows is below the threshold.

    Missing values are accepted, and the score of a row is computed over its observed values. In a
    table of numbers, add uniform noise of width one to columns of integers, see the notes of
    :class:`VariationalAutoencoder`. A data frame with categories does not need this, see
    :doc:`/guide/synthetic`. `autoencoder_` has the methods that this class does not have,
    such as `sample` and `partial_fit`. They do not change the threshold, which only `fit` sets.

    Examples
    --------
    >>> import numpy as np
    >>> from skae import OutlierDetector
    >>> rng = np.random.default_rng(0)
    >>> angle = rng.uniform(0, np.pi, size=1000)
    >>> X = np.column_stack([np.cos(angle), np.sin(angle)]) + rng.normal(scale=0.05, size=(1000, 2))
    >>> detector = OutlierDetector(contamination=0.01, max_steps=400, random_state=0).fit(X)
    >>> detector.predict([[0.0, 1.0], [0.0, 0.5]])  # on the arc, and inside it
    array([ 1, -1])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **{name: _AUTOENCODER[name] for name in _SHARED},
        "contamination": [StrOptions({"auto"}), Interval(Real, 0, 0.5, closed="right")],
        "n_neighbors": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_components: int = 16,
        *,
        contamination: float | Literal["auto"] = 0.05,
        n_neighbors: int = 20,
        likelihood: Literal["gaussian", "bernoulli"] = "gaussian",
        noise_variance: Literal["auto", "scalar", "feature"] = "auto",
        n_draws: int = 20,
        hidden_layer_sizes: Literal["auto"] | int | Sequence[int] = (256,),
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
        categorical_features: Any = "from_dtype",
        max_categories: int | None = None,
        min_frequency: float | None = None,
    ) -> None:
        self.n_components = n_components
        self.contamination = contamination
        self.n_neighbors = n_neighbors
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
        self.categorical_features = categorical_features
        self.max_categories = max_categories
        self.min_frequency = min_frequency

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
        """Fit the density model and the threshold.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data, with or without outliers; in [0, 1] for a Bernoulli likelihood.
        y : Ignored
            Not used, present for API consistency by convention.
        %(X_val)s
        y_val : Ignored
            Not used, present for API consistency by convention.
        %(groups)s
        %(sample_weight)s

        Returns
        -------
        self : OutlierDetector
            The fitted detector.

        Raises
        ------
        ValueError
            If X_val and X have different columns, or if y_val or groups cannot be combined with X,
            X_val or the parameters.
        """
        if isinstance(X, Shard):
            raise TypeError("OutlierDetector needs the scores of all rows: X cannot be a Shard.")
        params = {name: getattr(self, name) for name in (*_SHARED, "contamination")}
        if self.contamination == "auto":
            params["contamination"] = _AUTO_TRIMMED
        given = {"X_val": X_val, "y_val": y_val, "groups": groups, "sample_weight": sample_weight}
        X, given = with_positive_weights(X, given)
        attributes_of = partial(self._fitted_attributes, X, given["sample_weight"])
        fit_inner(self, VariationalAutoencoder(**params), attributes_of, X, **given)
        return self

    def _fitted_attributes(
        self, X: MatrixLike, weights: Weights, autoencoder: VariationalAutoencoder
    ) -> dict[str, Any]:
        """Return the fitted attributes, from training rows, weights and a fitted autoencoder."""
        names = (
            *("n_features_in_", "feature_names_in_", "n_iter_"),
            *("categories_", "is_categorical_"),
        )
        state = {name: getattr(autoencoder, name) for name in names if hasattr(autoencoder, name)}
        state |= {"autoencoder_": autoencoder, "n_neighbors_": 0}
        if self.n_neighbors:
            part = _sklearn_compat.with_name_of_owner(self, autoencoder)
            stored = _stored_rows(part, X, weights)
            state |= {
                "_coordinates_": stored.coordinates,
                "_units_": stored.units,
                "_coordinate_weights_": stored.weights,
                "n_neighbors_": min(self.n_neighbors, stored.n_rows - 1),
            }
        fitted = copy(self)
        fitted._set_fitted(state)
        if is_collection(X):
            parts = np.concatenate(of_partitions(fitted, "_parts_of_scores", X))
        else:
            parts = fitted._parts_of_scores(X)
        if state["n_neighbors_"]:
            n_coordinates = len(state["_units_"])
            log_likelihoods, distances = parts.T
            score = DistanceScore.with_spread_of(log_likelihoods, distances, n_coordinates, weights)
            state["_distance_score_"] = (score.intercept, score.slope)
        fitted._set_fitted(state)
        scores = fitted._combined(parts)
        if self.contamination == "auto":
            offset = _fence(scores, weights)
        else:
            tied = _TIED[autoencoder.center_.dtype]
            offset = _threshold(scores, weights, float(self.contamination), tied)
        return state | {"offset_": offset}

    def _parts_of_scores(self, X: MatrixLike) -> NDArray[np.float64]:
        """Return the log-likelihood of each row, and its mean distance to neighbours, if any."""
        inner = self._inner
        network, table = inner._prepare_density(X)
        parts = [inner._log_likelihoods(X, network, table)]
        if self.n_neighbors_:
            stored = TrainingRows(self._coordinates_, self._units_, self._coordinate_weights_)

            def distances(rows: NDArray[Any]) -> NDArray[np.float64]:
                codes_and_residuals = network.codes_and_residuals(rows)
                return stored.mean_distances(codes_and_residuals, self.n_neighbors_)

            parts += [table.map(distances, network.width, len(stored.coordinates))]
        return np.column_stack(parts)

    def _combined(self, parts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return scores, given the result of `_parts_of_scores`."""
        if not self.n_neighbors_:
            return parts[:, 0]
        score = DistanceScore(*self._distance_score_)
        lower: NDArray[np.float64] = np.minimum(parts[:, 0], score(parts[:, 1]))
        return lower

    @property
    def _inner(self) -> VariationalAutoencoder:
        """Fitted autoencoder whose error messages name this estimator."""
        check_is_fitted(self)
        part: VariationalAutoencoder = _sklearn_compat.with_name_of_owner(self, self.autoencoder_)
        return part

    @lazy_for_collections(dtype=np.float64)
    def score_samples(self, X: MatrixLike) -> NDArray[Any]:
        """Compute the score of each row, which is low for unusual rows.

        The score is the log-likelihood (:meth:`VariationalAutoencoder.score_samples`), or lower if
        the row is far from the closest training rows; see the notes of the class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Scores in nats, float64; low for unusual rows, and minus infinity where numbers
            overflow.
        """
        return self._combined(self._parts_of_scores(X))

    def score_features(self, X: MatrixLike) -> NDArray[Any]:
        """Log-likelihood of each entry; see :meth:`VariationalAutoencoder.score_features`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        scores : ndarray or data frame of shape (n_samples, n_features_in_)
            In nats, zero for missing values. A frame with the names of `feature_names_in_` if
            `set_output` asks for frames.
        """
        container = _sklearn_compat.output_container("transform", self)
        return _sklearn_compat.with_output_container(self._inner, container).score_features(X)

    def set_output(
        self, *, transform: Literal["default", "pandas", "polars"] | None = None
    ) -> Self:
        """Set the container of the result of `score_features`.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, default=None
            "default" is an array; "pandas" and "polars" are data frames with the names of
            `feature_names_in_`. None leaves the setting unchanged. Without a setting, the global
            option `transform_output` of scikit-learn is used. The parameter has the same name as
            in scikit-learn's transformers.

        Returns
        -------
        self : OutlierDetector
            The detector.

        Raises
        ------
        ValueError
            If `transform` has another value.
        """
        if transform not in (None, "default", "pandas", "polars"):
            raise ValueError(
                f"transform must be 'default', 'pandas' or 'polars', got {transform!r}."
            )
        if transform is not None:
            _sklearn_compat.set_output_container(self, transform)
        return self

    def decision_function(self, X: MatrixLike) -> NDArray[Any]:
        """Score of each row minus the threshold.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Negative for outliers.
        """
        scores: NDArray[np.float64] = self.score_samples(X) - self.offset_
        return scores

    @lazy_for_collections(dtype=int)
    def predict(self, X: MatrixLike) -> NDArray[Any]:
        """Predict whether each row is an outlier.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            -1 for outliers and 1 for the others.
        """
        return np.where(self.score_samples(X) < self.offset_, -1, 1)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = tags.input_tags.allow_nan = tags.input_tags.categorical = True
        return tags


def _stored_rows(
    autoencoder: VariationalAutoencoder, X: MatrixLike, weights: Weights
) -> TrainingRows:
    """Return the training rows that are stored, given all training rows and their weights."""
    if is_collection(X):
        parts = of_partitions(autoencoder, "_examples", X)
    else:
        parts = [autoencoder._examples(X, weights)]
    rows, code_variances, row_weights = map(np.concatenate, zip(*parts, strict=True))
    squares = np.square(rows[:, code_variances.shape[1] :])
    if autoencoder._columns_ is not None:  # as if the residuals of one more row were one
        variances = (row_weights @ squares + 1) / (row_weights.sum() + 1)
    else:
        mean_square = np.average(squares.mean(axis=1), weights=row_weights)
        noise = getattr(autoencoder, "noise_variance_", mean_square)
        variances = np.broadcast_to(noise, squares.shape[1])
    units = units_of(np.average(code_variances, axis=0, weights=row_weights), variances)
    n_stored = n_stored_rows(len(units))
    chosen = np.random.default_rng(0).permutation(len(rows))[:n_stored]
    coordinates = coordinates_of(rows[chosen], units)
    if weights is None:
        return TrainingRows(coordinates, units, None)
    # at most as many rows in total as are stored without weights
    row_weights = with_mean_of_at_least_one(row_weights[chosen])
    row_weights = row_weights * min(1.0, n_stored / row_weights.sum())
    return TrainingRows(coordinates, units, row_weights)


def _fence(scores: NDArray[np.float64], weights: Weights) -> float:
    """Return the lower fence of a box plot of scores (Tukey, "Exploratory Data Analysis", 1977)."""
    scores = np.nan_to_num(scores, neginf=_MIN_SCORE)
    low, high = quantile(scores, [0.25, 0.75], weights)
    return float(low - 1.5 * (high - low))


def _threshold(scores: NDArray[np.float64], weights: Weights, share: float, tied: float) -> float:
    """Return the threshold: the scores below it have the fraction `share` of the total weight.

    The threshold is halfway between two scores. Scores with a relative difference below `tied`
    count as equal, and lie on the same side of the threshold. If this changes the fraction, the
    possible fraction whose ratio to `share` is closest to 1 is used, at most one half. If there is
    none, the threshold is below all scores.
    """
    scores = np.nan_to_num(scores, neginf=_MIN_SCORE)
    order = np.argsort(scores)
    scores = scores[order]
    # total weight of the scores before each score
    before = np.cumsum([0.0, *weights_or_ones(weights, len(order))[order]])
    wanted = np.ceil((before[-1] - 1) * share)
    at_threshold = scores[np.searchsorted(before[1:-1], wanted, side="right")]
    tolerance = tied * max(1.0, abs(at_threshold))
    ends = np.searchsorted(scores, [at_threshold - tolerance, at_threshold + tolerance])
    possible = [int(end) for end in ends if 0 < before[end] <= before[-1] / 2]
    if not possible:
        return float(scores[0] - 2 * tolerance)
    end = min(possible, key=lambda end: abs(np.log(before[end] / wanted)))
    return float(scores[end - 1 : end + 1].mean())
