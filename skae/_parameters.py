"""Constraints on single parameters, and checks of combinations of parameters."""

from dataclasses import fields
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np

from ._initialization.architecture import ArchitectureSpec
from ._networks.activations import ACTIVATIONS
from ._sklearn_compat import Interval, RealNotInt, StrOptions
from ._training.config import TrainingConfig
from ._training.optimizers import SCHEDULES


class _Share(Interval):
    """Constraint for a fraction between 0 and 1.

    Unlike scikit-learn's RealNotInt, it accepts NumPy's float32.
    """

    def __init__(self) -> None:
        super().__init__(RealNotInt, 0, 1, closed="neither")

    def is_satisfied_by(self, val: object) -> bool:
        return isinstance(val, Real) and not isinstance(val, Integral) and val in self


_POSITIVE_INTEGER = Interval(Integral, 1, None, closed="left")
_MAX_UNITS = 2**31 - 1
_NOT_NEGATIVE = Interval(Real, 0, None, closed="left")

# Constraints on each parameter.
CONSTRAINTS: dict[str, list[Any]] = {
    "n_components": [
        _POSITIVE_INTEGER,
        _Share(),
        StrOptions({"auto"}),
    ],
    "hidden_layer_sizes": [StrOptions({"auto"}), "array-like", _POSITIVE_INTEGER],
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
    "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
    "max_categories": [_POSITIVE_INTEGER, None],
    "min_frequency": [_POSITIVE_INTEGER, _Share(), None],
}


# Names of the parameters of tables with categories.
CATEGORICAL = ("categorical_features", "max_categories", "min_frequency")


def check_numbers(estimator: Any) -> None:
    """Raise ValueError if a layer size is invalid, or if a number is too large for a float."""
    layer_sizes(estimator.hidden_layer_sizes)
    for name in ("alpha", "beta", "learning_rate_init", "noise", "target_weight", "tol"):
        try:
            float(getattr(estimator, name, 0))
        except OverflowError:
            raise ValueError(f"{name} is too large for a float: set it below 1e308.") from None


def check_bounds(estimator: Any, name: str, allowed: str) -> None:
    """Raise ValueError if bounds are given and the output has a range of its own.

    It has one unless the parameter `name` has the value `allowed`.
    """
    is_given = isinstance(estimator.bounds, tuple | list | np.ndarray)
    if is_given and getattr(estimator, name) != allowed:
        raise ValueError(
            f"bounds are for {name}={allowed!r}, and {name}={getattr(estimator, name)!r} has a "
            "range of its own. Set bounds=None."
        )


def check_transformer(estimator: Any, *, is_imputer: bool) -> None:
    """Raise ValueError if parameters of `AutoencoderTransformer` cannot be combined."""
    for name in ("code_activation", "output_activation"):
        if estimator.init == "pca" and getattr(estimator, name) != "identity":
            raise ValueError(
                f"init='pca' starts a linear path, so {name} must be 'identity', got "
                f"{getattr(estimator, name)!r}. Set {name}='identity', or init='glorot'."
            )
    if estimator.n_components == "auto" and not is_imputer:
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
    check_bounds(estimator, "output_activation", "identity")


def check_given(*, is_supervised: bool, X_val: object, y_val: object, groups: object) -> None:
    """Raise ValueError if X_val, y_val and groups cannot be used together."""
    if X_val is None and y_val is not None:
        raise ValueError("y_val is provided, but X_val was not provided.")
    if X_val is not None and y_val is None and is_supervised:
        raise ValueError(
            "X_val is provided, but y_val was not provided, and target_weight above 0 requires it."
        )
    if X_val is not None and groups is not None:
        raise ValueError(
            "groups decide which rows of X are validation rows, and X_val replaces these: pass one "
            "of both."
        )


def check_not_given(kind: str, **given: object) -> None:
    """Raise ValueError if an argument of `fit` is given that needs all rows in one process."""
    for name, part in given.items():
        if part is not None:
            raise ValueError(
                f"{name} is for a table in one process, and X is {kind}, whose rows are in "
                f"several. Leave {name} out, or pass all rows as an array or a data frame."
            )


def layer_sizes(hidden_layer_sizes: Any) -> tuple[int, ...] | Literal["auto"]:
    """Return the sizes of the hidden layers as Python integers, or "auto".

    Products of NumPy integers may overflow.

    Raises
    ------
    ValueError
        If a size is not an integer from 1 to 2**31 - 1.
    """
    if isinstance(hidden_layer_sizes, str):
        return "auto"
    sizes = np.atleast_1d(np.array(hidden_layer_sizes, dtype=object))
    if not all(isinstance(size, Integral) and 1 <= int(size) <= _MAX_UNITS for size in sizes):
        raise ValueError(
            "hidden_layer_sizes must hold the sizes of the encoder's hidden layers, "
            f"integers from 1 to {_MAX_UNITS}, got {hidden_layer_sizes!r}."
        )
    return tuple(map(int, sizes))


def training_config(estimator: Any) -> TrainingConfig:
    """Return the configuration of training from the parameters of an estimator."""
    names = (field.name for field in fields(TrainingConfig))
    values = {name: getattr(estimator, name) for name in names if hasattr(estimator, name)}
    return TrainingConfig(
        **{n: v.item() if isinstance(v, np.generic) else v for n, v in values.items()}
    )


def check_same_network(estimator: Any, spec: ArchitectureSpec) -> None:
    """Raise ValueError if the fitted network of an estimator does not match the parameters.

    It is called before training of a fitted network is continued.
    """
    *hidden, _ = (len(b) for b in estimator.encoder_["intercepts"])
    check_same("hidden_layer_sizes", spec.layers(len(estimator.center_)), tuple(hidden))
    check_same("activations", spec.activations, estimator.activations_)
    # a network without hidden layers has a linear path only, for every `init`
    if hidden and (spec.init == "pca") != ("linear" in estimator.encoder_):
        check_same("init", spec.init, "glorot or normal" if spec.init == "pca" else "pca")
    if not isinstance(spec.n_components, str) and spec.n_components >= 1:
        asked = min(spec.n_components, len(estimator.center_))
        check_same("n_components", asked, estimator.n_components_)


def check_same(name: str, asked: object, fitted: object) -> None:
    """Raise ValueError if the fitted network has another value of a parameter."""
    if asked != fitted:
        raise ValueError(
            f"The fitted network has {name}={fitted!r} and the parameters ask for "
            f"{name}={asked!r}. Set it back, or start anew: warm_start=False, or fit on a clone."
        )
