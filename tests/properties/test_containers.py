"""Results do not depend on the container or on other rows."""

from functools import cache

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone

from skae import (
    AutoencoderImputer,
    AutoencoderTransformer,
    OutlierDetector,
    VariationalAutoencoder,
)

RNG = np.random.default_rng(0)
COMPLETE = np.float32(RNG.normal(size=(60, 3)) @ RNG.normal(size=(3, 5))).astype(np.float64)
COMPLETE[::3, 1] = COMPLETE[:, 1].min()  # a column with an automatic bound
IS_MISSING = RNG.random(COMPLETE.shape) < 0.2
INCOMPLETE = np.where(IS_MISSING, np.nan, COMPLETE)
TABLES = {"complete": COMPLETE, "incomplete": INCOMPLETE}
NAMES = list("abcde")

SHORT = {
    "hidden_layer_sizes": (4,),
    "max_steps": 4,
    "validation_fraction": 0,
    "random_state": 0,
}
ESTIMATORS = {
    "transformer": AutoencoderTransformer(2, **SHORT),
    "variational": VariationalAutoencoder(2, **SHORT),
    "imputer": AutoencoderImputer(2, **SHORT),
    "detector": OutlierDetector(2, **SHORT),
}
# Fits to complete rows take seconds to compile: only the fits of one estimator are quick tests.
KINDS = ["transformer", *(pytest.param(k, marks=pytest.mark.slow) for k in [*ESTIMATORS][1:])]
CASES = [
    *((kind, "incomplete") for kind in ("transformer", "imputer")),
    *(pytest.param(k, "incomplete", marks=pytest.mark.slow) for k in ("variational", "detector")),
    ("transformer", "complete"),
    *(pytest.param(k, "complete", marks=pytest.mark.slow) for k in [*ESTIMATORS][1:]),
]
METHODS = (
    "transform",
    "reconstruct",
    "score_samples",
    "score",
    "score_features",
    "posterior_variance",
    "decision_function",
    "predict",
)


def memmap(X, folder):
    stored = np.memmap(folder / "rows", dtype=X.dtype, mode="w+", shape=X.shape)
    stored[...] = X
    return stored


def with_na(X):
    objects = X.astype(object)
    objects[np.isnan(X)] = pd.NA
    return objects


def masked(X):
    is_missing = np.isnan(X)
    return np.ma.masked_array(np.where(is_missing, 1e6, X), is_missing)


# Functions of an array and a folder.
CONTAINERS = {
    "list": lambda X, _: X.tolist(),
    "tuple of arrays": lambda X, _: tuple(X),
    "Fortran order": lambda X, _: np.asfortranarray(X),
    "every other row": lambda X, _: np.repeat(X, 2, axis=0)[::2],
    "read-only": lambda X, _: np.frombuffer(X.tobytes()).reshape(X.shape),
    "big endian": lambda X, _: X.astype(">f8"),
    "memmap": memmap,
    "masked array": lambda X, _: masked(X),
    "objects": lambda X, _: with_na(X),
    "CSR": lambda X, _: sparse.csr_matrix(X),
    "CSC": lambda X, _: sparse.csc_array(X),
    "pandas": lambda X, _: pd.DataFrame(X, columns=NAMES),
    "pandas Float64": lambda X, _: pd.DataFrame(X, columns=NAMES).astype("Float64"),
    "pandas pyarrow": lambda X, _: pd.DataFrame(X, columns=NAMES).astype("double[pyarrow]"),
    "pandas objects": lambda X, _: pd.DataFrame(with_na(X), columns=NAMES),
    "polars": lambda X, _: pl.DataFrame(X, schema=NAMES).fill_nan(None),
}


def results(estimator, X):
    """Return the results of all methods of an estimator."""
    methods = [name for name in METHODS if hasattr(estimator, name)]
    return {name: getattr(estimator, name)(X) for name in methods}


def check_same(estimator, X, expected):
    for name, result in results(estimator, X).items():
        np.testing.assert_array_equal(result, expected[name], err_msg=name)


@pytest.fixture(scope="module")
def fitted():
    """Return a function that returns a fitted estimator and its results on an array."""

    @cache
    def fitted_on(kind, table):
        estimator = clone(ESTIMATORS[kind]).fit(TABLES[table])
        return estimator, results(estimator, TABLES[table])

    return fitted_on


@pytest.mark.parametrize(("kind", "table"), CASES)
@pytest.mark.filterwarnings("ignore:X has feature names")  # the estimator was fitted on an array
def test_results_do_not_depend_on_the_container(fitted, kind, table, tmp_path):
    estimator, expected = fitted(kind, table)
    for name, contain in CONTAINERS.items():
        if kind == "imputer" and name.startswith("CS"):
            continue
        X = contain(TABLES[table], tmp_path)
        check_same(estimator, X, expected)


@pytest.mark.slow
@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_fits_do_not_depend_on_the_container(fitted, kind, table, container, tmp_path):
    if kind == "imputer" and container.startswith("CS"):
        pytest.skip("the imputer takes no sparse matrix")
    _, expected = fitted(kind, table)
    X = CONTAINERS[container](TABLES[table], tmp_path)
    estimator = clone(ESTIMATORS[kind]).fit(X)
    check_same(estimator, X, expected)


@pytest.mark.parametrize("table", [pytest.param("complete", marks=pytest.mark.slow), "incomplete"])
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_assume_finite_does_not_change_results(fitted, kind, table):
    X, (_, expected) = TABLES[table], fitted(kind, table)
    with config_context(assume_finite=True):
        estimator = clone(ESTIMATORS[kind]).fit(X)
        check_same(estimator, X, expected)
        if kind in ("transformer", "variational"):
            streamed = clone(ESTIMATORS[kind]).partial_fit(X).partial_fit(X)
            codes = streamed.transform(X)
    if kind in ("transformer", "variational"):
        streamed = clone(ESTIMATORS[kind]).partial_fit(X).partial_fit(X)
        np.testing.assert_array_equal(streamed.transform(X), codes)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int64", "bool"])
@pytest.mark.parametrize("kind", KINDS)
def test_float32_gives_float32_and_all_else_float64(fitted, kind, dtype):
    estimator, _ = fitted(kind, "complete")
    X = COMPLETE.astype(dtype)
    expected = np.float32 if dtype == "float32" else np.float64
    in_dtype_of_rows = ("transform", "reconstruct", "score_features", "posterior_variance")
    for name, result in results(estimator, X).items():
        if name in in_dtype_of_rows:
            assert result.dtype == expected, name
        elif name != "predict" and name != "score":
            assert result.dtype == np.float64, name
    if dtype != "float32":
        check_same(estimator, X.astype(np.float64), results(estimator, X))


@pytest.mark.parametrize(("kind", "table"), CASES)
def test_the_result_of_a_row_does_not_depend_on_other_rows(fitted, kind, table):
    estimator, expected = fitted(kind, table)
    X = TABLES[table]
    order = np.random.default_rng(1).permutation(len(X))
    for rows in (order, order[:7], [3]):
        for name, result in results(estimator, X[rows]).items():
            if name != "score":
                np.testing.assert_allclose(
                    result, expected[name][rows], rtol=1e-9, atol=1e-9, err_msg=name
                )
