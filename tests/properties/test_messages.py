"""Messages name the class and the parameters of the estimator that was called."""

import contextlib
import inspect
import re
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from skae import (
    AutoencoderImputer,
    AutoencoderTransformer,
    OutlierDetector,
    Shard,
    VariationalAutoencoder,
)

CLASSES = [AutoencoderTransformer, VariationalAutoencoder, AutoencoderImputer, OutlierDetector]
ALL_PARAMETERS = {name for cls in CLASSES for name in cls().get_params()}
QUICK = {"n_components": 2, "hidden_layer_sizes": (4,), "max_steps": 2, "random_state": 0}
X = np.random.default_rng(0).normal(size=(60, 4))
# Methods whose argument has the columns of `fit`.
ROW_METHODS = ["transform", "reconstruct", "score", "score_samples", "score_features"]
ROW_METHODS += ["posterior_variance", "predict", "decision_function", "partial_fit"]


@contextlib.contextmanager
def collected(texts):
    """Append the texts of warnings and of an exception to a list."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        except Exception as error:
            texts.append(str(error))
    texts += [str(warning.message) for warning in caught]


def check(estimator, texts):
    """Assert that texts name only classes and parameters that the user has."""
    others = {cls.__name__ for cls in CLASSES} - {type(estimator).__name__}
    others |= ALL_PARAMETERS - set(estimator.get_params())
    for text in texts:
        words = set(re.findall(r"\w+", text))
        assert not words & others, text
        assert not re.search(r"(?<![\w.])_[a-z]\w*", text), text


def with_value(value, column=1):
    """Return rows with another value in a column."""
    rows = X.copy()
    rows[:, column] = value
    return rows


BAD_PARAMETERS = {
    "all": [
        {"hidden_layer_sizes": (0,)},
        {"alpha": 10**400},
        {"bounds": (1, 0)},
        {"bounds": (0, 1, 2)},
        {"bounds": (np.zeros(3), None)},
        {"bounds": ("a", "b")},
        {"max_iter": 10**12, "max_steps": 10**12},
    ],
    AutoencoderTransformer: [
        {"code_activation": "relu"},
        {"output_activation": "relu"},
        {"n_components": "auto"},
        {"corruption": "masking", "noise": 2.0},
        {"code_activation": "relu", "init": "glorot"},
        {"bounds": (0, 1), "output_activation": "relu", "init": "glorot"},
        {"early_stopping": True, "validation_fraction": 0},
        {"target_weight": 1.0},
    ],
    VariationalAutoencoder: [
        {"likelihood": "bernoulli"},
        {"likelihood": "bernoulli", "bounds": (0, 1)},
        {"early_stopping": True, "validation_fraction": 0},
    ],
    AutoencoderImputer: [{"missing_values": np.inf}],
    OutlierDetector: [
        {"likelihood": "bernoulli"},
        {"likelihood": "bernoulli", "bounds": (0, 1)},
        {"likelihood": "bernoulli", "bounds": [None, 1]},
    ],
}
BAD_ROWS = [
    X[0],
    X[:0],
    X[:, :0],
    X[None],
    with_value(np.inf),
    with_value(np.nan, slice(None)),
    with_value(1e308) * np.array([1, -1] * 30)[:, None],
    X.astype(complex),
    [["a", "b"], ["c", "d"]],
    X.astype("datetime64[s]"),
    csr_array(with_value(np.inf)),
    Shard(X[:0]),
    None,
]


@pytest.mark.parametrize("cls", CLASSES)
def test_errors_of_fit_name_the_class_and_parameters_of_the_caller(cls):
    for params in BAD_PARAMETERS["all"] + BAD_PARAMETERS[cls]:
        texts, estimator = [], cls(**QUICK | params)
        with collected(texts):
            estimator.fit(X)
        assert texts, params
        check(estimator, texts)
    for rows in BAD_ROWS:
        texts, estimator = [], cls(**QUICK)
        with collected(texts):
            estimator.fit(rows)
        assert texts, rows
        check(estimator, texts)
    for given in ({"X_val": X[:, :3]}, {"X_val": with_value(np.inf)}, {"y_val": X[0]}):
        texts = []
        with collected(texts):
            estimator.fit(X, **given)
        assert texts, given
        check(estimator, texts)


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("value", [None, "x", -1, object(), [], np.arange(3.0), np.nan, {}])
def test_errors_of_invalid_parameters_name_the_parameter(cls, value):
    for name in cls().get_params():
        texts, estimator = [], cls(**{name: value})
        for function in (repr, get_tags, clone):
            function(estimator)
        assert cls.__name__ in estimator._repr_html_()
        hasattr(estimator, "partial_fit")
        with collected(texts):
            estimator._validate_params()
        check(estimator, texts)
        if texts:
            assert f"The '{name}' parameter of {cls.__name__}" in texts[0]


@pytest.mark.parametrize("cls", CLASSES)
def test_not_fitted_errors_name_the_estimator(cls):
    estimator, texts = cls(), []
    for name in [*ROW_METHODS, "inverse_transform", "sample", "to_keras", "get_feature_names_out"]:
        if hasattr(estimator, name) and name != "partial_fit":
            method = getattr(estimator, name)
            needs_rows = name in (*ROW_METHODS, "inverse_transform")
            with pytest.raises(ValueError, match=f"This {cls.__name__} instance is not fitted"):
                method(X) if needs_rows else method()
    documented = re.findall(r"\b([a-z]\w*_)\b", inspect.getdoc(cls).partition("Attributes\n")[2])
    for name in {*documented, "components_", "lower_bound_", "center_"}:
        assert not hasattr(estimator, name)
        with collected(texts):
            getattr(estimator, name)
        assert name in texts[-1] or "not fitted" in texts[-1]
    check(estimator, texts)


@pytest.mark.slow
@pytest.mark.parametrize("cls", CLASSES)
def test_errors_of_a_fitted_estimator_name_the_class_of_the_caller(cls):
    frame, n_refused = pd.DataFrame(X, columns=list("abcd")), 0
    estimator = cls(**QUICK).fit(frame)
    fitted = vars(estimator).copy()
    rows = [*BAD_ROWS[:5], *BAD_ROWS[7:11], X[:, :3], X, frame[list("dcba")]]
    for name in [*ROW_METHODS, "inverse_transform"]:
        texts = []
        if not hasattr(estimator, name):
            continue
        for bad in [*rows, np.ones((3, 7)), frame.rename(columns={"a": "z"})]:
            with collected(texts):
                getattr(estimator, name)(bad)
        check(estimator, texts)
        n_refused += len(texts)
        vars(estimator).update(fitted)
    assert n_refused > 10
    check_is_fitted(estimator)
    part = getattr(estimator, "autoencoder_", estimator)
    assert type(part) in CLASSES


@pytest.mark.slow
@pytest.mark.parametrize("cls", CLASSES)
def test_output_of_fit_names_the_class_and_parameters_of_the_caller(cls, capsys):
    estimator = cls(**QUICK, verbose=2)
    incomplete = X.copy()
    incomplete[::3, 1] = np.nan
    cases = {
        "usual": (X, {}),
        "incomplete": (incomplete, {}),
        "empty column": (with_value(np.nan), {}),
        "diverged": (X, {"learning_rate_init": 1e30, "max_steps": 20}),
        "no validation rows": (X, {"validation_fraction": 0}),
        "constant": (np.ones((60, 4)), {}),
    }
    for name, (rows, params) in cases.items():
        texts = []
        with collected(texts):
            clone(estimator).set_params(**params).fit(rows)
        lines = capsys.readouterr().out.splitlines()
        assert all(line.startswith(f"[{cls.__name__}] ") for line in lines)
        assert "kept" in lines[-1]
        check(estimator, texts + lines)
        if name == "diverged":
            assert any("Training diverged" in text for text in texts)
