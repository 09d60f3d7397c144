"""Compatibility with versions of scikit-learn and skae, and uses of scikit-learn's private API.

No other module imports a private name of scikit-learn.
"""

import sys
import warnings
from contextlib import contextmanager
from copy import copy
from functools import cache
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any, Self, TypeVar

import sklearn
from sklearn.base import _fit_context
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.impute._base import _BaseImputer as BaseImputer
from sklearn.utils._mask import _get_mask as get_mask
from sklearn.utils._missing import is_pandas_na, is_scalar_nan
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils._param_validation import (
    Interval,
    MissingValues,
    RealNotInt,
    StrOptions,
    validate_params,
)
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import _check_feature_names
from sklearn.utils.validation import _check_feature_names_in as check_feature_names_in
from sklearn.utils.validation import _get_feature_names as names_of_columns

from ._version import __version__

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # before scikit-learn 1.9

    class CallbackSupportMixin:
        """Replacement in versions of scikit-learn without callbacks."""

        def set_callbacks(self, *callbacks: object) -> Self:
            """Raise RuntimeError if callbacks are passed."""
            if callbacks:
                raise RuntimeError(
                    "Callbacks need scikit-learn 1.9 or newer, and this is "
                    f"{sklearn.__version__}: upgrade scikit-learn."
                )
            return self


_Method = TypeVar("_Method")
# Attributes in which scikit-learn stores the callbacks of an estimator, and the state of these
# callbacks during a fit.
_CALLBACKS = "_skl_callbacks"
_CALLBACK_ATTRIBUTES = (
    _CALLBACKS,
    "_skl_callbacks_to_teardown",
    "_callback_fit_ctx",
    "_parent_callback_ctx",
)


def validating_parameters(method: _Method) -> _Method:
    """Validate parameters before a method is called.

    The constraints are in `_parameter_constraints`. scikit-learn's own decorator hides the type
    hints of the method.
    """
    return _fit_context(prefer_skip_nested_validation=True)(method)


def warn(message, category):
    """Issue a warning at the line of the user's code that led to this call.

    The default filter shows a warning once for each line. At a line of scikit-learn, which is the
    same for all fits, the warning of a second fit would not be shown.
    """
    level, frame = 1, sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in _NOT_THE_USERS:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


_NOT_THE_USERS = ("skae", "sklearn", "joblib", "numpy")


@contextmanager
def refusals_of(name):
    """Add the name of the argument to errors of scikit-learn's validation, which name X only."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name} was refused: {error}") from error
    except TypeError as error:
        raise TypeError(f"{name} was refused: {error}") from error


def callback_names(estimator):
    """Return the class names of an estimator's callbacks."""
    return [type(callback).__name__ for callback in getattr(estimator, _CALLBACKS, [])]


def output_container(method, estimator):
    """Return the output container of a method, as set by `set_output` or `sklearn.set_config`."""
    return _get_output_config(method, estimator)["dense"]


def feature_names(estimator, X, *, reset):
    """Return the feature names of X as a dict with the fitted attribute, or an empty dict.

    Unless `reset` is True, the names are checked against those of the fitted estimator.
    """
    checked = copy(estimator)
    _check_feature_names(checked, X, reset=reset)
    names = getattr(checked, "feature_names_in_", None)
    return {} if names is None else {"feature_names_in_": names}


def column_labels(columns, names=None):
    """Return the names of columns, given by indices, or the indices if there are no names."""
    return [int(column) if names is None else str(names[column]) for column in columns]


def as_part_of(owner, estimator):
    """Return a copy of an inner estimator whose messages name its owner, the outer estimator.

    The copy has a class with the name of the owner's class, so that scikit-learn's messages also
    have this name. `as_itself` restores the original class.
    """
    part = copy(estimator)
    names = tuple(owner.get_params(deep=False))
    part.__class__ = _part_class(_own_class(estimator), type(owner).__name__, names)
    return part


def as_itself(part):
    """Return a copy of an estimator with its original class, the inverse of `as_part_of`."""
    estimator = copy(part)
    estimator.__class__ = _own_class(part)
    return estimator


def named_parameters(estimator):
    """Return the parameter names that messages may mention.

    For an inner estimator of `as_part_of`, they are the parameters of the owner.
    """
    return getattr(type(estimator), _OWNERS_PARAMETERS, None) or tuple(
        estimator.get_params(deep=False)
    )


# Class attribute of an inner estimator with the names of the owner's parameters.
_OWNERS_PARAMETERS = "_owners_parameters"


def _own_class(estimator):
    cls = type(estimator)
    return cls.__base__ if _OWNERS_PARAMETERS in vars(cls) else cls


@cache
def _part_class(cls, name, parameters):
    def reduced(part):  # pickle cannot find the class in a module
        return _new_part, (cls, name, parameters), part.__getstate__()

    attributes = {"__module__": cls.__module__, "__doc__": cls.__doc__, "__reduce__": reduced}
    return type(name, (cls,), attributes | {_OWNERS_PARAMETERS: parameters})


def _new_part(cls, name, parameters):
    return object.__new__(_part_class(cls, name, parameters))


def without_callbacks(estimator):
    """Remove callbacks and their state from an estimator, in place, and return it."""
    for name in _CALLBACK_ATTRIBUTES:
        vars(estimator).pop(name, None)
    return estimator


def _project_urls():
    """Return the URLs of the installed project, by their labels in pyproject.toml."""
    try:
        lines = metadata("skae").get_all("Project-URL", [])
    except PackageNotFoundError:  # imported from a folder without installation
        lines = []
    return dict(line.split(", ", 1) for line in lines)


class SkaeVersionWarning(InconsistentVersionWarning):
    """Warning that an estimator was saved by another version of skae."""

    # those of InconsistentVersionWarning build a message about scikit-learn's version
    __init__, __str__ = UserWarning.__init__, UserWarning.__str__


class EstimatorMixin:
    """Mixin of all estimators: version of saved files, link to the documentation."""

    _doc_link_module = "skae"

    @property
    def _doc_link_template(self) -> str:
        """URL template of the documentation of a class, for the HTML diagram.

        It leads to the web site, or to the documentation that was built in the repository.
        """
        site = _project_urls().get("Documentation")
        if site is None:
            built = Path(__file__).parents[1] / "docs" / "_build" / "html"
            site = built.as_uri() if built.is_dir() else None
        return "" if site is None else f"{site.rstrip('/')}/generated/skae.{{estimator_name}}.html"

    def _adopt(self, state: dict[str, Any]) -> None:
        """Replace all fitted attributes in one step, including those of an earlier fit.

        The names of fitted attributes end with an underscore, as `check_is_fitted` expects. This
        also holds for private fitted attributes.
        """
        params = self.get_params(deep=False)
        kept = {k: v for k, v in vars(self).items() if k in params or not k.endswith("_")}
        self.__dict__ = kept | state

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_skae_version": __version__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        saved = state.pop("_skae_version", "unknown")
        if saved != __version__:
            warn(
                f"This {type(self).__name__} was saved by skae {saved}, and this is skae "
                f"{__version__}. It may fail or give other results: fit it again, or load it with "
                "the version that saved it.",
                SkaeVersionWarning,
            )
        super().__setstate__(state)
