"""Compatibility with versions of scikit-learn and skae, and uses of scikit-learn's private API.

No other module imports a private name of scikit-learn.
"""

import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from functools import cache
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.base import BaseEstimator, _fit_context
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.impute._base import _BaseImputer as BaseImputer
from sklearn.utils import _safe_indexing as safe_indexing
from sklearn.utils._indexing import _get_column_indices as column_indices
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
from sklearn.utils._set_output import (
    _auto_wrap_is_configured,
    _get_container_adapter,
    _get_output_config,
)
from sklearn.utils.validation import _check_feature_names, _check_sample_weight
from sklearn.utils.validation import _check_feature_names_in as check_feature_names_in
from sklearn.utils.validation import _get_feature_names as names_of_columns

from ._version import __version__

# Names of scikit-learn that other modules import from this one.
__all__ = [
    "BaseImputer",
    "CallbackSupportMixin",
    "Interval",
    "MissingValues",
    "RealNotInt",
    "StrOptions",
    "check_feature_names_in",
    "check_matplotlib_support",
    "column_indices",
    "get_mask",
    "is_pandas_na",
    "is_scalar_nan",
    "names_of_columns",
    "safe_indexing",
    "validate_params",
]

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # before scikit-learn 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]  # the import has failed
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
_Estimator = TypeVar("_Estimator", bound=BaseEstimator)
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
    decorate: Callable[[_Method], _Method] = _fit_context(prefer_skip_nested_validation=True)
    return decorate(method)


def warn(message: str, category: type[Warning]) -> None:
    """Issue a warning at the line of the user's code that led to this call.

    The default filter shows a warning once for each line. At a line of scikit-learn, which is the
    same for all fits, the warning of a second fit would not be shown.
    """
    level, frame = 1, sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in _INTERNAL_PACKAGES:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


_INTERNAL_PACKAGES = ("skae", "sklearn", "joblib", "numpy")


@contextmanager
def errors_naming(name: str) -> Iterator[None]:
    """Add the name of the argument to errors of scikit-learn's validation, which name X only."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name} was refused: {error}") from error
    except TypeError as error:
        raise TypeError(f"{name} was refused: {error}") from error


def callback_names(estimator: BaseEstimator) -> list[str]:
    """Return the class names of an estimator's callbacks."""
    return [type(callback).__name__ for callback in getattr(estimator, _CALLBACKS, [])]


def output_container(method: str, estimator: BaseEstimator) -> str:
    """Return the output container of a method, as set by `set_output` or `sklearn.set_config`."""
    container: str = _get_output_config(method, estimator)["dense"]
    return container


def set_output_container(estimator: BaseEstimator, container: str) -> None:
    """Set the output container of `transform`, as `set_output` of scikit-learn's transformers."""
    estimator._sklearn_output_config = {"transform": container}


def with_output_container(estimator: _Estimator, container: str) -> _Estimator:
    """Return a shallow copy of an estimator with another output container."""
    copied = copy(estimator)
    set_output_container(copied, container)
    return copied


def in_output_container(estimator: BaseEstimator, rows: Any, X: Any = None) -> Any:
    """Return rows as scikit-learn returns the result of `transform`, with the names of `fit`.

    Parameters
    ----------
    estimator : estimator
        A fitted transformer.
    rows : ndarray or data frame
        Rows that have one column for each column of the training table.
    X : object, optional
        Argument of the method that computes the rows. If X is a pandas frame, it has as many rows,
        and a pandas frame of the rows gets its index.

    Returns
    -------
    rows : ndarray or data frame
        A frame of the output container. The argument `rows` if the output container is "default",
        or if the columns had no names in `fit`.
    """
    names = getattr(estimator, "feature_names_in_", None)
    adapter = _get_container_adapter("transform", estimator)
    if adapter is None or names is None or not _auto_wrap_is_configured(estimator):
        return rows
    if adapter.container_lib == "pandas" and hasattr(rows, "get_columns"):  # a frame of polars
        import pandas as pd

        rows = pd.DataFrame({name: rows[name].to_numpy() for name in rows.columns})
    return adapter.create_container(rows, X, columns=names)


def feature_names(estimator: BaseEstimator, X: Any, *, reset: bool) -> dict[str, NDArray[Any]]:
    """Return the feature names of X as a dict with the fitted attribute, or an empty dict.

    Unless `reset` is True, the names are checked against the names in the fitted estimator.
    """
    checked = copy(estimator)
    _check_feature_names(checked, X, reset=reset)
    names = getattr(checked, "feature_names_in_", None)
    return {} if names is None else {"feature_names_in_": names}


def check_sample_weight(sample_weight: Any, X: Any) -> NDArray[np.float64]:
    """Return the weights of rows in double precision; negative weights are an error."""
    if isinstance(sample_weight, np.ma.MaskedArray):
        sample_weight = np.ma.filled(sample_weight.astype(np.float64), np.nan)
    options = {"dtype": np.float64, "ensure_non_negative": True}
    with config_context(assume_finite=False):
        weights: NDArray[np.float64] = _check_sample_weight(sample_weight, X, **options)
    return weights


def column_labels(columns: Iterable[int], names: NDArray[Any] | None = None) -> list[int | str]:
    """Return the names of columns, given by indices, or the indices if there are no names."""
    return [int(column) if names is None else str(names[column]) for column in columns]


def with_name_of_owner(owner: BaseEstimator, estimator: _Estimator) -> _Estimator:
    """Return a copy of an inner estimator whose messages name its owner, the outer estimator.

    The copy has a class with the name of the owner's class, so that scikit-learn's messages also
    have this name. `with_own_name` restores the original class.
    """
    part = copy(estimator)
    names = tuple(owner.get_params(deep=False))
    part.__class__ = _part_class(_own_class(estimator), type(owner).__name__, names)
    return part


def with_own_name(part: _Estimator) -> _Estimator:
    """Return a copy of an estimator with its original class, see `with_name_of_owner`."""
    estimator = copy(part)
    estimator.__class__ = _own_class(part)
    return estimator


def named_parameters(estimator: BaseEstimator) -> tuple[str, ...]:
    """Return the parameter names that messages may mention.

    For an inner estimator of `with_name_of_owner`, they are the parameters of the owner.
    """
    return getattr(type(estimator), _OWNERS_PARAMETERS, None) or tuple(
        estimator.get_params(deep=False)
    )


# Class attribute of an inner estimator with the names of the owner's parameters.
_OWNERS_PARAMETERS = "_owners_parameters"


def _own_class(estimator: BaseEstimator) -> type:
    cls = type(estimator)
    return cls.__bases__[0] if _OWNERS_PARAMETERS in vars(cls) else cls


@cache
def _part_class(cls: type, name: str, parameters: tuple[str, ...]) -> type:
    def reduced(part: BaseEstimator) -> tuple[Any, ...]:  # pickle cannot find the class in a module
        return _new_part, (cls, name, parameters), part.__getstate__()

    attributes = {"__module__": cls.__module__, "__doc__": cls.__doc__, "__reduce__": reduced}
    return type(name, (cls,), attributes | {_OWNERS_PARAMETERS: parameters})


def _new_part(cls: type, name: str, parameters: tuple[str, ...]) -> BaseEstimator:
    return object.__new__(_part_class(cls, name, parameters))


def without_callbacks(estimator: _Estimator) -> _Estimator:
    """Remove callbacks and their state from an estimator, in place, and return it."""
    for name in _CALLBACK_ATTRIBUTES:
        vars(estimator).pop(name, None)
    return estimator


def _project_urls() -> dict[str, str]:
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

    get_params: Callable[..., dict[str, Any]]  # of BaseEstimator
    _doc_link_module = "skae"

    @property
    def _doc_link_template(self) -> str:
        """URL template of the documentation of a class, for the HTML diagram.

        It leads to the web site. In a copy of the repository, it leads to the documentation that
        was built there, and is empty if none was built.
        """
        root = Path(__file__).parents[1]
        if (root / "pyproject.toml").is_file():
            built = root / "docs" / "_build" / "html"
            site = built.as_uri() if built.is_dir() else ""
        else:
            site = _project_urls().get("Documentation", "")
        return site and f"{site.rstrip('/')}/generated/skae.{{estimator_name}}.html"

    def _set_fitted(self, state: dict[str, Any]) -> None:
        """Replace all fitted attributes in one step, including those of an earlier fit.

        The names of fitted attributes end with an underscore, as `check_is_fitted` expects. This
        also holds for private fitted attributes.
        """
        params = self.get_params(deep=False)
        kept = {k: v for k, v in vars(self).items() if k in params or not k.endswith("_")}
        self.__dict__ = kept | state

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()  # type: ignore[assignment] # of BaseEstimator
        return state | {"_skae_version": __version__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        saved = state.pop("_skae_version", "unknown")
        if saved != __version__:
            warn(
                f"This {type(self).__name__} was saved by skae {saved}, and this is skae "
                f"{__version__}. It may fail or give other results: fit it again, or load it with "
                "the version that saved it.",
                SkaeVersionWarning,
            )
        super().__setstate__(state)  # type: ignore[misc] # of BaseEstimator
