"""A fit keeps nothing of an earlier fit: a new estimator has the same attributes."""

import pickle
from functools import cache

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, clone

from skae import AutoencoderImputer, AutoencoderTransformer, OutlierDetector, VariationalAutoencoder

ROWS = np.random.default_rng(0).uniform(size=(90, 4)).round(2)
OTHER_ROWS = np.random.default_rng(1).uniform(size=(70, 4)).round(2)
LABELS = np.arange(90) % 3
COMMON = {"n_components": 2, "hidden_layer_sizes": 4, "max_steps": 2}
COMMON |= {"validation_fraction": 0.0, "random_state": 0}


def named(X):
    return pd.DataFrame(X, columns=list("abcd"))


def with_missing(X):
    return np.where(np.random.default_rng(2).random(X.shape) < 0.2, np.nan, X)


def with_an_empty_column(X):
    X = with_missing(X)
    X[:, 3] = np.nan
    return X


def unchanged(X):
    return X


def narrow(X):
    return X[:, :3]


# For each estimator: parameters, a function that is applied to the rows, and the method that is
# called. Each set has all parameters of an estimator, so that it replaces the set before.
TRANSFORMERS = {
    "plain": ({}, unchanged, "fit"),
    "share": ({"n_components": 0.8}, unchanged, "fit"),
    "names": ({}, named, "fit"),
    "incomplete": ({}, with_missing, "fit"),
    "narrow": ({"n_components": 1}, narrow, "fit"),
    "labels": ({"target_weight": 0.5}, unchanged, "fit"),
    "glorot": ({"init": "glorot", "whiten": False}, unchanged, "fit"),
    "missing": ({"corruption": "missing", "noise": 0.3}, with_missing, "fit"),
    "stream": ({"whiten": False}, with_missing, "partial_fit"),
    "stream of names": ({}, named, "partial_fit"),
    "short stream": ({}, lambda X: X[:2], "partial_fit"),
}
VARIATIONAL = {
    "plain": ({}, unchanged, "fit"),
    "names": ({}, named, "fit"),
    "incomplete": ({}, with_missing, "fit"),
    "narrow": ({}, narrow, "fit"),
    "noise of each feature": ({"noise_variance": "feature"}, unchanged, "fit"),
    "bernoulli": ({"likelihood": "bernoulli"}, unchanged, "fit"),
    "stream": ({}, named, "partial_fit"),
    "short stream": ({}, lambda X: X[:2], "partial_fit"),
}
IMPUTERS = {
    "plain": ({}, with_missing, "fit"),
    "complete": ({}, unchanged, "fit"),
    "names": ({}, lambda X: named(with_missing(X)), "fit"),
    "indicator": ({"add_indicator": True}, with_missing, "fit"),
    "narrow": ({}, lambda X: narrow(with_missing(X)), "fit"),
}
DETECTORS = {name: value for name, value in VARIATIONAL.items() if value[2] == "fit"}
SETTINGS = {
    AutoencoderTransformer: TRANSFORMERS,
    VariationalAutoencoder: VARIATIONAL,
    AutoencoderImputer: IMPUTERS,
    OutlierDetector: DETECTORS,
}
PAIRS = [
    (kind, before, after)
    for kind, settings in SETTINGS.items()
    for before in settings
    for after in settings
    if before != after and settings[after][2] == "fit"
]
QUICK = [
    (AutoencoderTransformer, "incomplete", "plain"),
]


def fitted(estimator, settings, rows):
    """Set other parameters, fit the estimator, and return it."""
    params, prepared, method = settings
    defaults = clone(estimator).set_params(**type(estimator)().get_params()).get_params()
    estimator.set_params(**defaults | COMMON | params)
    y = (LABELS[: len(rows)],) if params.get("target_weight") else ()
    return getattr(estimator, method)(prepared(rows), *y)


@cache
def pickled(kind, name):
    return pickle.dumps(fitted(kind(), SETTINGS[kind][name], ROWS))


@cache
def new(kind, name):
    return fitted(kind(), SETTINGS[kind][name], OTHER_ROWS)


def check_same(ours, theirs, where="attributes"):
    """Compare nested attributes to the bit."""
    if isinstance(ours, BaseEstimator):
        assert type(ours) is type(theirs), where
        ours, theirs = vars(ours), vars(theirs)
    if isinstance(ours, dict):
        assert set(ours) == set(theirs), where
        for name, value in ours.items():
            check_same(value, theirs[name], f"{where}, {name}")
    elif isinstance(ours, tuple | list):
        assert len(ours) == len(theirs), where
        for i, pair in enumerate(zip(ours, theirs, strict=True)):
            check_same(*pair, f"{where}, {i}")
    else:
        np.testing.assert_array_equal(ours, theirs, err_msg=where)


def check_pair(kind, before, after):
    estimator = fitted(pickle.loads(pickled(kind, before)), SETTINGS[kind][after], OTHER_ROWS)
    check_same(estimator, new(kind, after))


@pytest.mark.parametrize(("kind", "before", "after"), QUICK)
def test_a_fit_keeps_no_fitted_attribute_of_the_fit_before(kind, before, after):
    check_pair(kind, before, after)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "before", "after"), [p for p in PAIRS if p not in QUICK])
def test_a_fit_keeps_no_fitted_attribute_of_other_methods(kind, before, after):
    check_pair(kind, before, after)


def test_a_fit_keeps_attributes_that_are_not_fitted_attributes():
    estimator = pickle.loads(pickled(AutoencoderTransformer, "plain"))
    estimator.note = "mine"
    estimator.set_output(transform="pandas").fit(OTHER_ROWS)
    assert estimator.note == "mine"
    assert isinstance(estimator.transform(OTHER_ROWS), pd.DataFrame)
