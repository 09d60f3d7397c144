"""Constraints on single parameters, and checks of combinations of parameters."""

from dataclasses import fields
from numbers import Integral, Real

import numpy as np

from ._networks.activations import ACTIVATIONS
from ._sklearn_compat import Interval, RealNotInt, StrOptions, named_parameters
from ._training.config import TrainingConfig
from ._training.optimizers import SCHEDULES


class _Share(Interval):
    """Constraint for a fraction between 0 and 1.

    Unlike scikit-learn's RealNotInt, it accepts NumPy's float32.
    """

    def __init__(self):
        super().__init__(RealNotInt, 0, 1, closed="neither")

    def is_satisfied_by(self, val):
        return isinstance(val, Real) and not isinstance(val, Integral) and val in self


_POSITIVE_INTEGER = Interval(Integral, 1, None, closed="left")
_MOST_UNITS = 2**31 - 1
_NOT_NEGATIVE = Interval(Real, 0, None, closed="left")

# Constraints on each parameter.
CONSTRAINTS = {
    "n_components": [
        _POSITIVE_INTEGER,
        _Share(),
        StrOptions({"auto"}),
    ],
    "hidden_layer_sizes": ["array-like", _POSITIVE_INTEGER],
    "activation": [StrOptions(set(ACTIVATIONS))],
    "init": [StrOptions({"pca", "glorot", "normal"})],
    "bounds": [StrOptions({"auto"}), tuple, list, np.ndarray, None],
    "whiten": ["boolean"],
    "code_activation": [StrOptions(set(ACTIVATIONS))],
    "output_activation": [StrOptions(set(ACTIVATIONS))],
    "learning_rate": [StrOptions(set(SCHEDULES))],
    "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
    "batch_size": [_POSITIVE_INTEGER],
    "max_iter": [StrOptions({"auto"}), _POSITIVE_INTEGER],
    "max_steps": [_POSITIVE_INTEGER, None],
    "alpha": [_NOT_NEGATIVE],
    "corruption": [StrOptions({"gaussian", "masking", "swap", "missing"})],
    "noise": [_NOT_NEGATIVE],
    "target_weight": [_NOT_NEGATIVE],
    "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    "early_stopping": ["boolean"],
    "n_iter_no_change": [_POSITIVE_INTEGER],
    "tol": [_NOT_NEGATIVE],
    "warm_start": ["boolean"],
    "random_state": ["random_state"],
    "verbose": ["verbose"],
}


def is_imputer(estimator):
    """Whether the network is initialised and evaluated as an imputer, on hidden entries.

    With a given number of components, this holds only for the network of an `AutoencoderImputer`.
    Other networks are initialised as PCA, and evaluated by the reconstruction of uncorrupted rows.
    """
    restores = estimator.n_components == "auto" or estimator._is_of_imputer
    return restores and estimator.corruption == "missing" and estimator.noise > 0


def is_share(estimator):
    """Whether `n_components` is a fraction of the variance that the code must retain."""
    n_components = estimator.n_components
    return n_components != "auto" and n_components < 1 and not is_imputer(estimator)


def check_combinations(estimator):
    """Raise ValueError if parameters are valid alone but not in combination."""
    layer_sizes(estimator.hidden_layer_sizes)
    for name in ("alpha", "beta", "learning_rate_init", "noise", "target_weight", "tol"):
        try:
            float(getattr(estimator, name, 0))
        except OverflowError:
            raise ValueError(f"{name} is too large for a float: set it below 1e308.") from None
    for name in ("code_activation", "output_activation"):
        is_given = estimator.init == "pca" and name in estimator.get_params(deep=False)
        if is_given and getattr(estimator, name) != "identity":
            raise ValueError(
                f"init='pca' starts a linear path, so {name} must be 'identity', got "
                f"{getattr(estimator, name)!r}. Set {name}='identity', or init='glorot'."
            )
    if estimator.n_components == "auto" and not is_imputer(estimator):
        raise ValueError(
            "n_components='auto' is for corruption='missing' with noise above 0, got "
            f"corruption={estimator.corruption!r} and noise={estimator.noise!r}. Set a number, or "
            "a share of the variance such as 0.95."
        )
    if estimator.corruption != "gaussian" and estimator.noise > 1:
        raise ValueError(
            f"With corruption={estimator.corruption!r}, noise is a share of the entries, at most "
            f"1, got {estimator.noise!r}."
        )
    if estimator.whiten and estimator.code_activation != "identity":
        raise ValueError(
            "whiten=True needs code_activation='identity', got "
            f"{estimator.code_activation!r}. Set whiten=False to use the code as it is."
        )
    is_given = isinstance(estimator.bounds, tuple | list | np.ndarray)
    if is_given and estimator.output_activation != "identity":
        name, allowed = "output_activation", "identity"
        if name not in named_parameters(estimator):  # the likelihood determines the activation
            name, allowed = "likelihood", "gaussian"
        raise ValueError(
            f"bounds are for {name}={allowed!r}, and {name}={getattr(estimator, name)!r} has a "
            "range of its own. Set bounds=None."
        )


def check_given(estimator, *, X_val, y_val, groups):
    """Raise ValueError if X_val, y_val and groups cannot be used together."""
    if X_val is None and y_val is not None:
        raise ValueError("y_val is provided, but X_val was not provided.")
    is_taught = getattr(estimator, "target_weight", 0) > 0
    if X_val is not None and y_val is None and is_taught:
        raise ValueError(
            "X_val is provided, but y_val was not provided, and target_weight above 0 requires it."
        )
    if X_val is not None and groups is not None:
        raise ValueError(
            "groups decide which rows of X are validation rows, and X_val replaces these: pass one "
            "of both."
        )


def refuse_given(kind, **given):
    """Raise ValueError if X_val, y_val or groups are passed and the rows are in several workers."""
    for name, part in given.items():
        if part is not None:
            raise ValueError(
                f"{name} is for a table in one process, and X is {kind}, whose rows are in "
                f"several. Leave {name} out, or pass all rows as an array or a data frame."
            )


def layer_sizes(hidden_layer_sizes):
    """Return the sizes of the hidden layers as Python integers.

    Products of NumPy integers may overflow.

    Raises
    ------
    ValueError
        If a size is not an integer from 1 to 2**31 - 1.
    """
    sizes = np.atleast_1d(np.array(hidden_layer_sizes, dtype=object))
    if not all(isinstance(size, Integral) and 1 <= size <= _MOST_UNITS for size in sizes):
        raise ValueError(
            "hidden_layer_sizes must hold the sizes of the encoder's hidden layers, "
            f"integers from 1 to {_MOST_UNITS}, got {hidden_layer_sizes!r}."
        )
    return tuple(map(int, sizes))


def training_config(estimator):
    """Return the configuration of training from the parameters of an estimator."""
    values = ((field.name, getattr(estimator, field.name)) for field in fields(TrainingConfig))
    return TrainingConfig(**{n: v.item() if isinstance(v, np.generic) else v for n, v in values})


def activations(estimator):
    """Return the names of the hidden, code and output activation."""
    return estimator.activation, estimator.code_activation, estimator.output_activation


def check_same_network(estimator):
    """Raise ValueError if the fitted network does not match the parameters.

    It is called before training of a fitted network is continued.
    """
    *hidden, _ = (len(b) for b in estimator.encoder_["intercepts"])
    check_same("hidden_layer_sizes", layer_sizes(estimator.hidden_layer_sizes), tuple(hidden))
    check_same("activations", activations(estimator), estimator.activations_)
    # a network without hidden layers has a linear path only, for every `init`
    if hidden and (estimator.init == "pca") != ("linear" in estimator.encoder_):
        check_same("init", estimator.init, "glorot or normal" if estimator.init == "pca" else "pca")
    if estimator.n_components != "auto" and estimator.n_components >= 1:
        asked = min(estimator.n_components, estimator.n_features_in_)
        check_same("n_components", asked, estimator.n_components_)


def check_same(name, asked, fitted):
    """Raise ValueError if the fitted network has another value of a parameter."""
    if asked != fitted:
        raise ValueError(
            f"The fitted network has {name}={fitted!r} and the parameters ask for "
            f"{name}={asked!r}. Set it back, or start anew: warm_start=False, or fit on a clone."
        )
