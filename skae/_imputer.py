"""The imputer: scikit-learn's manners around an autoencoder that restores hidden entries."""

from collections.abc import Sequence
from copy import copy
from numbers import Real
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted, validate_data

from . import _sklearn
from ._autoencoder import AutoencoderTransformer
from ._collections import is_collection, lazily
from ._inputs import with_nan
from ._sklearn import BaseImputer, EstimatorMixin, Interval, MissingValues

_AUTOENCODER = AutoencoderTransformer._parameter_constraints
# Parameters that are the autoencoder's.
_SHARED = ("n_components", "hidden_layer_sizes", "activation", "bounds", "noise", "batch_size")
_SHARED += ("learning_rate_init", "max_iter", "max_steps", "alpha", "validation_fraction")
_SHARED += ("random_state", "verbose")


class AutoencoderImputer(EstimatorMixin, BaseImputer):
    """Imputer that starts as probabilistic PCA, fitted by EM, and only gets better.

    Probabilistic PCA fills missing values with their mean given what else is there in the row. An
    autoencoder that starts exactly there is trained to restore entries that are hidden on purpose,
    a share of each row that is drawn anew for each batch [1]_. What is hidden of held-out rows
    decides whether it is kept, and from which step; otherwise probabilistic PCA is.

    The columns should be in comparable units: standardise them first, as for PCA.
    :class:`~sklearn.preprocessing.StandardScaler` passes missing values on.

    Parameters
    ----------
    n_components : int, float or "auto", default="auto"
        Size of the code. "auto" is the number of features up to 128, so that what is there passes
        through; beyond that, the size of the probabilistic PCA that best restores hidden entries.

    missing_values : int, float or np.nan, default=np.nan
        What stands for a missing value. With np.nan, None, pandas.NA and polars' null do too.
        Masked entries are missing always.

    hidden_layer_sizes : int or tuple of int, default=(256,)
        As in :class:`AutoencoderTransformer`.

    activation : {"identity", "relu", "tanh", "logistic", "elu", "gelu", "silu"}, default="silu"
        As in :class:`AutoencoderTransformer`.

    bounds : "auto", None or (low, high), default="auto"
        As in :class:`AutoencoderTransformer`. Automatic bounds keep what is filled into a column
        that ends at a wall, as counts do, from going beyond it.

    noise : float, default=0.5
        Largest share of a row's entries that is hidden; each row's share is drawn from zero to
        that.

    learning_rate_init : float, default=7e-3
        As in :class:`AutoencoderTransformer`.

    batch_size : int, default=256
        As in :class:`AutoencoderTransformer`.

    max_iter : int or "auto", default="auto"
        As in :class:`AutoencoderTransformer`.

    max_steps : int or None, default=None
        As in :class:`AutoencoderTransformer`.

    alpha : float, default=0.1
        As in :class:`AutoencoderTransformer`.

    validation_fraction : float, default=0.1
        As in :class:`AutoencoderTransformer`.

    add_indicator : bool, default=False
        Whether to append columns that say what was missing, see
        :class:`~sklearn.impute.MissingIndicator`.

    keep_empty_features : bool, default=False
        Whether to keep columns that had no value in `fit`, filled with zeros. Otherwise `transform`
        drops them.

    random_state : int, RandomState instance or None, default=None
        For the network's start, the held-out rows, the batches and what is hidden.

    verbose : int, default=0
        If positive, print a line at each evaluation.

    Attributes
    ----------
    autoencoder_ : AutoencoderTransformer
        The fitted network; its `transform` encodes rows with missing values, which are NaN there.
    indicator_ : MissingIndicator or None
        What appends the columns of `add_indicator`.
    n_iter_ : int
        Number of epochs of training.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if X had string names.

    See Also
    --------
    sklearn.impute.IterativeImputer : A regression for each column.
    sklearn.impute.KNNImputer : Means over neighbours, which it must keep.

    Notes
    -----
    `transform` needs the weights alone, and fills rows that it has not seen at NumPy's speed; one
    without any value gets about the mean of each column. Probabilistic PCA has as many components,
    and EM as many steps, as restore hidden entries best: often many, and few.

    References
    ----------
    .. [1] P. Vincent et al. "Stacked Denoising Autoencoders", JMLR 11, 2010, section 3.3.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.preprocessing import scale
    >>> from skae import AutoencoderImputer
    >>> X = scale(load_breast_cancer().data)
    >>> hidden = np.random.default_rng(0).random(X.shape) < 0.2
    >>> imputer = AutoencoderImputer(random_state=0)
    >>> filled = imputer.fit_transform(np.where(hidden, np.nan, X))
    >>> bool(np.square(filled - X)[hidden].mean() < 0.16 * np.square(X[hidden]).mean())
    True
    """

    _parameter_constraints: dict = {  # noqa: RUF012
        **{name: _AUTOENCODER[name] for name in _SHARED},
        "missing_values": [MissingValues(numeric_only=True)],
        "noise": [Interval(Real, 0, 1, closed="right")],
        "add_indicator": ["boolean"],
        "keep_empty_features": ["boolean"],
    }

    def __init__(
        self,
        n_components: float | Literal["auto"] = "auto",
        *,
        missing_values: Any = np.nan,
        hidden_layer_sizes: int | Sequence[int] = (256,),
        activation: str = "silu",
        bounds: Any = "auto",
        noise: float = 0.5,
        learning_rate_init: float = 7e-3,
        batch_size: int = 256,
        max_iter: int | Literal["auto"] = "auto",
        max_steps: int | None = None,
        alpha: float = 0.1,
        validation_fraction: float = 0.1,
        add_indicator: bool = False,
        keep_empty_features: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            missing_values=missing_values,
            add_indicator=add_indicator,
            keep_empty_features=keep_empty_features,
        )
        self.n_components = n_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.bounds = bounds
        self.noise = noise
        self.learning_rate_init = learning_rate_init
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.max_steps = max_steps
        self.alpha = alpha
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.verbose = verbose

    @_sklearn.validating_parameters
    def fit(
        self,
        X: ArrayLike,
        y: object = None,
        *,
        X_val: ArrayLike | None = None,
        y_val: object = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Learn to restore entries that are hidden on purpose.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, with or without missing values.
        y : Ignored
            Not used, present for API consistency by convention.
        X_val : array-like of shape (n_val, n_features), default=None
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
        self : AutoencoderImputer
            The fitted imputer.

        Raises
        ------
        ValueError
            If X_val has other columns than X, or y_val or groups do not fit X_val, X and the
            parameters.
        """
        fitted = copy(self)  # for the fit may fail
        fitted._adopt({})
        X, missing = fitted._validate(X, reset=True)
        if X_val is not None:
            with _sklearn.refusals_of("X_val"):
                X_val = _with_nan(*fitted._validate(X_val, reset=False))
        shared = {name: getattr(self, name) for name in _SHARED}
        autoencoder = AutoencoderTransformer(**shared, corruption="missing", whiten=False)
        given = {"X_val": X_val, "y_val": y_val, "groups": groups}
        fitted.autoencoder_ = autoencoder.fit(_with_nan(X, missing), **given)
        fitted.n_iter_ = autoencoder.n_iter_
        fitted._is_empty_ = missing.all(axis=0)
        fitted._fit_indicator(missing)
        self._adopt(vars(fitted))
        return self

    def transform(self, X: ArrayLike) -> NDArray[Any]:
        """Fill what is missing.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        rows : ndarray of shape (n_samples, n_features_out)
            The rows, filled where something was missing, and what was there to the bit as it came;
            float32 for float32 rows, else float64.
        """
        check_is_fitted(self)
        if is_collection(X):
            return lazily(self, "transform", X, self.get_feature_names_out())
        X, missing = self._validate(X, reset=False)
        indicator = self._transform_indicator(missing)
        rows, incomplete = X.copy(), missing.any(axis=1)
        if incomplete.any():
            shown, gaps = _with_nan(X[incomplete], missing[incomplete]), missing[incomplete]
            filled = self.autoencoder_.reconstruct(shown)
            filled[:, self._is_empty_] = 0
            rows[incomplete] = np.where(gaps, filled, X[incomplete])
        kept = rows if self.keep_empty_features else rows[:, ~self._is_empty_]
        return self._concatenate_indicator(kept, indicator)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Return the names of the columns of `transform`.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the columns of X; None takes those of `fit`, or "x0", "x1" and so on.

        Returns
        -------
        names : ndarray of str
            Names of the columns of X that are kept, then those of the columns of `add_indicator`.
        """
        check_is_fitted(self, "n_features_in_")
        names = _sklearn.check_feature_names_in(self, input_features)
        kept = names if self.keep_empty_features else names[~self._is_empty_]
        return self._concatenate_indicator_feature_names_out(kept, names)

    def _validate(self, X, *, reset):
        """Return rows as floats, and a mask of what is missing."""
        is_nan = _sklearn.is_scalar_nan(self.missing_values)
        finite, dtype = "allow-nan" if is_nan else True, [np.float64, np.float32]
        X = with_nan(X, self.missing_values)
        X = validate_data(self, X, dtype=dtype, ensure_all_finite=finite, reset=reset)
        return X, _sklearn.get_mask(X, self.missing_values)


def _with_nan(X, missing):
    """Return rows with NaN for what is missing."""
    return X if np.isnan(X[missing]).all() else np.where(missing, X.dtype.type(np.nan), X)
