"""skae's classes under the names of scikit-learn's, with scikit-learn's constructor parameters.

A substitute is a subclass of one of skae's estimators. The settings that scikit-learn's class does
not have are class attributes, small enough that a test takes a fraction of a second. Without a
`random_state` it takes 0, because most tests compare two fits and most of scikit-learn's methods
are not random.
"""

import inspect
from contextlib import contextmanager

import numpy as np
import pytest
from sklearn import decomposition, ensemble, impute, neighbors, preprocessing
from sklearn.experimental import enable_iterative_imputer  # noqa: F401

from skae import AutoencoderImputer, AutoencoderTransformer, OutlierDetector

from .differences import DIFFERENCES


class Substitute:
    """Base class of all substitutes."""

    def fit(self, X, y=None):
        with self._translated(X):
            return super().fit(X, y)

    @contextmanager
    def _translated(self, X):
        """Set the parameters of skae's class, and restore the former ones afterwards."""
        theirs = self.get_params(deep=False)
        for name, value in theirs.items():
            self._check(name, value)
        seed = {"random_state": 0} if theirs.get("random_state", 0) is None else {}
        try:
            vars(self).update(seed | self._translate(theirs, X))
            yield
        finally:
            vars(self).update(theirs)

    def _check(self, name, value):
        """Skip the test if it uses a parameter that skae does not have."""
        reasons = DIFFERENCES.get(type(self).__name__, {})
        reason = reasons.get(name, reasons.get(f"{name}={value!r}"))
        is_default = repr(value) == repr(inspect.signature(type(self)).parameters[name].default)
        if reason is not None and not is_default:
            pytest.skip(f"{name}={value!r}: {reason}")
        known = name in self._understood or value in self._same.get(name, ())
        assert is_default or known, f"{name}={value!r} has neither a meaning nor an entry."

    def __getattr__(self, name):
        reason = DIFFERENCES.get(type(self).__name__, {}).get(name)
        if reason is not None:
            pytest.skip(f"{name}: {reason}")
        return super().__getattribute__(name)  # raises the error of a property again


def substitute(peer, ours, *, translate=None, understood=(), same=None, **settings):
    """Return a subclass of one of skae's estimators that is constructed as scikit-learn's.

    Parameters
    ----------
    peer : type
        scikit-learn's class.
    ours : type
        skae's class.
    translate : callable or None
        Returns skae's parameters for those of scikit-learn's class and training rows.
    understood : tuple of str
        Parameters that only scikit-learn's class has, and that `translate` uses.
    same : dict or None
        Values of parameters that correspond to the fixed behaviour of skae.
    settings : dict
        Values of the parameters that only skae's class has.
    """
    signature = inspect.signature(peer.__init__)

    def __init__(self, *args, **kwargs):  # noqa: N807
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        bound.arguments.pop("self")
        vars(self).update(bound.arguments)

    __init__.__signature__ = signature
    parameters = inspect.signature(ours).parameters
    settings = {name: p.default for name, p in parameters.items()} | {"random_state": 0} | settings
    members = {
        **{name: v for name, v in settings.items() if name not in signature.parameters},
        "__init__": __init__,
        "__module__": __name__,
        "place": f"{peer.__module__.rpartition('.')[0]}.{peer.__name__}",
        "_understood": (parameters.keys() & signature.parameters.keys()).union(understood),
        "_same": same or {},
        "_translate": staticmethod(translate or (lambda theirs, X: {})),
    }
    return type(peer.__name__, (Substitute, ours), members)


def replacements(*classes):
    """Return substitutes by the dotted names of the classes that they replace."""
    return {substitute.place: substitute for substitute in classes}


def _all_axes(theirs, X):
    """Return the number of components for None."""
    none_given = theirs.get("n_components") is None
    return {"n_components": min(np.shape(X))} if none_given else {}


def _incremental(theirs, X):
    """Return the number of components, and the batch size for None."""
    batch_size = theirs["batch_size"] or 5 * np.shape(X)[1]
    return {"batch_size": batch_size} | _all_axes(theirs, X)


def _bounds(theirs, X):
    """Return the bounds for `min_value` and `max_value`."""
    return {"bounds": (theirs["min_value"], theirs["max_value"])}


def _contamination(theirs, X):
    """Return the default contamination for "auto"."""
    return {"contamination": 0.05} if theirs["contamination"] == "auto" else {}


# A setting that keeps scikit-learn's method, one that keeps a network, and the fastest one.
KEPT = {"hidden_layer_sizes": (), "max_steps": 1}
TRAINED = {"hidden_layer_sizes": (4,), "max_steps": 3, "validation_fraction": 0}
QUICK = {"hidden_layer_sizes": (), "max_steps": 1, "validation_fraction": 0}

PCA = substitute(
    decomposition.PCA,
    AutoencoderTransformer,
    translate=_all_axes,
    same={"svd_solver": ("full", "covariance_eigh"), "copy": (False,)},
)


class IncrementalPCA(
    substitute(decomposition.IncrementalPCA, AutoencoderTransformer, translate=_incremental)
):
    """Substitute with `partial_fit`."""

    def partial_fit(self, X, y=None, check_input=True):
        with self._translated(X):
            return super().partial_fit(X, y)


SimpleImputer = substitute(impute.SimpleImputer, AutoencoderImputer)
KNNImputer = substitute(impute.KNNImputer, AutoencoderImputer)
IterativeImputer = substitute(
    impute.IterativeImputer,
    AutoencoderImputer,
    translate=_bounds,
    understood=("min_value", "max_value"),
    same={"tol": (0.1, 1e-2, 0)},
)
IsolationForest = substitute(
    ensemble.IsolationForest,
    OutlierDetector,
    translate=_contamination,
    same={"n_estimators": (3, 5, 10), "max_samples": (0.5, 1.0, 3, 20, 100)},
)
LocalOutlierFactor = substitute(
    neighbors.LocalOutlierFactor,
    OutlierDetector,
    translate=_contamination,
    same={"novelty": (True,), "n_neighbors": (1, 2, 3, 5)},
)
StandardScaler = substitute(
    preprocessing.StandardScaler,
    AutoencoderTransformer,
    translate=_all_axes,
    same={"with_mean": (False,), "copy": (False,)},
)
MaxAbsScaler = substitute(preprocessing.MaxAbsScaler, AutoencoderTransformer, translate=_all_axes)
