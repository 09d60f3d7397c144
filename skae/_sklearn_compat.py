"""What is private in scikit-learn, or differs between its versions, or between ours.

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
        """Stand-in where scikit-learn has no callbacks."""

        def set_callbacks(self, *callbacks: object) -> Self:
            """Refuse callbacks, if there are any."""
            if callbacks:
                raise RuntimeError(
                    "Callbacks need scikit-learn 1.9 or newer, and this is "
                    f"{sklearn.__version__}: upgrade scikit-learn."
                )
            return self


_Method = TypeVar("_Method")
# Where scikit-learn keeps callbacks in an estimator: what was set, and what a running fit needs.
_CALLBACKS = "_skl_callbacks"
_CALLBACK_ATTRIBUTES = (
    _CALLBACKS,
    "_skl_callbacks_to_teardown",
    "_callback_fit_ctx",
    "_parent_callback_ctx",
)


def validating_parameters(method: _Method) -> _Method:
    """Check `_parameter_constraints` first; scikit-learn's own decorator hides the types."""
    return _fit_context(prefer_skip_nested_validation=True)(method)


def warn(message, category):
    """Warn at the line of the user's that led here.

    The default filter shows a warning once for each line. At a line of scikit-learn's, which all
    fits pass, the second fit's would be dropped.
    """
    level, frame = 1, sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in _NOT_THE_USERS:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


_NOT_THE_USERS = ("skae", "sklearn", "joblib", "numpy")


@contextmanager
def refusals_of(name):
    """Name the argument in errors of scikit-learn's validation, which speak of X."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name} was refused: {error}") from error
    except TypeError as error:
        raise TypeError(f"{name} was refused: {error}") from error


def callback_names(estimator):
    """Names of the classes of an estimator's callbacks."""
    return [type(callback).__name__ for callback in getattr(estimator, _CALLBACKS, [])]


def output_container(method, estimator):
    """Return what `set_output` or scikit-learn's configuration asks a method to give."""
    return _get_output_config(method, estimator)["dense"]


def feature_names(estimator, X, *, reset):
    """Return, as a fitted attribute, the names of the columns of X, checked against a fit's."""
    checked = copy(estimator)
    _check_feature_names(checked, X, reset=reset)
    names = getattr(checked, "feature_names_in_", None)
    return {} if names is None else {"feature_names_in_": names}


def column_labels(columns, names=None):
    """Return the names of columns that are given by their indices; the indices without names."""
    return [int(column) if names is None else str(names[column]) for column in columns]


def as_part_of(owner, estimator):
    """Return a copy of an estimator that another one uses, whose messages name that other one.

    The copy's class has the name of the owner's class, so that scikit-learn's messages give this
    name too. `as_itself` undoes that.
    """
    part = copy(estimator)
    names = tuple(owner.get_params(deep=False))
    part.__class__ = _part_class(_own_class(estimator), type(owner).__name__, names)
    return part


def as_itself(part):
    """Return a copy of an estimator of `as_part_of` that has its own class again."""
    estimator = copy(part)
    estimator.__class__ = _own_class(part)
    return estimator


def named_parameters(estimator):
    """Return the names of the parameters that messages may give: those of the user's estimator."""
    return getattr(type(estimator), _OWNERS_PARAMETERS, None) or tuple(
        estimator.get_params(deep=False)
    )


# Where the class of a part keeps the names of its owner's parameters.
_OWNERS_PARAMETERS = "_owners_parameters"


def _own_class(estimator):
    cls = type(estimator)
    return cls.__base__ if _OWNERS_PARAMETERS in vars(cls) else cls


@cache
def _part_class(cls, name, parameters):
    def reduced(part):  # as the class has no place in a module, where pickle would look for it
        return _new_part, (cls, name, parameters), part.__getstate__()

    attributes = {"__module__": cls.__module__, "__doc__": cls.__doc__, "__reduce__": reduced}
    return type(name, (cls,), attributes | {_OWNERS_PARAMETERS: parameters})


def _new_part(cls, name, parameters):
    return object.__new__(_part_class(cls, name, parameters))


def without_callbacks(estimator):
    """Take callbacks, and what belongs to them, off an estimator."""
    for name in _CALLBACK_ATTRIBUTES:
        vars(estimator).pop(name, None)
    return estimator


def _project_urls():
    """Return the addresses of the installed project, by their labels in pyproject.toml."""
    try:
        lines = metadata("skae").get_all("Project-URL", [])
    except PackageNotFoundError:  # it is imported from a folder, and not installed
        lines = []
    return dict(line.split(", ", 1) for line in lines)


class SkaeVersionWarning(InconsistentVersionWarning):
    """An estimator comes from a file that another version of skae wrote."""

    # scikit-learn's own compose a text that speaks of scikit-learn's version
    __init__, __str__ = UserWarning.__init__, UserWarning.__str__


class EstimatorMixin:
    """What all estimators do alike: mark files with the version, and link to their page."""

    _doc_link_module = "skae"

    @property
    def _doc_link_template(self) -> str:
        """Where the HTML diagram finds a class's page: on the site, or in a built repository."""
        site = _project_urls().get("Documentation")
        if site is None:
            built = Path(__file__).parents[1] / "docs" / "_build" / "html"
            site = built.as_uri() if built.is_dir() else None
        return "" if site is None else f"{site.rstrip('/')}/generated/skae.{{estimator_name}}.html"

    def _adopt(self, state: dict[str, Any]) -> None:
        """Replace all fitted attributes, also those of an earlier fit, in one step.

        Fitted attributes are those that `check_is_fitted` looks for: their names end with an
        underscore. So do the names of the private ones.
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
