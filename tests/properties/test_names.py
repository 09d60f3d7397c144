"""Results have the names of the columns of X if `set_output` asks for frames."""

from functools import cache

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn import config_context
from sklearn.base import clone

from skae import (
    AutoencoderImputer,
    AutoencoderTransformer,
    OutlierDetector,
    VariationalAutoencoder,
)
from skae.plotting import ContributionDisplay, ReconstructionDisplay

NAMES = list("abcd")
NUMBERS = np.random.default_rng(0).normal(size=(60, 4)).round(2)
INDEX = pd.Index(np.arange(60) * 3 + 7)
AS_FRAME = {
    "pandas": lambda X: pd.DataFrame(X, columns=NAMES, index=INDEX),
    "polars": lambda X: pl.DataFrame(X, schema=NAMES),
}
FRAME = {"pandas": pd.DataFrame, "polars": pl.DataFrame}

SHORT = {
    "hidden_layer_sizes": (4,),
    "max_steps": 4,
    "validation_fraction": 0,
    "random_state": 0,
}
ESTIMATORS = {
    "transformer": AutoencoderTransformer(2, **SHORT),
    "variational": VariationalAutoencoder(2, **SHORT),
    "detector": OutlierDetector(2, **SHORT),
    "imputer": AutoencoderImputer(2, **SHORT),
}
METHODS = {
    "transformer": ("reconstruct", "inverse_transform"),
    "variational": ("reconstruct", "inverse_transform", "score_features", "sample"),
    "detector": ("score_features",),
    "imputer": ("transform",),
}
EACH_METHOD = [(kind, method) for kind, methods in METHODS.items() for method in methods]
OF_AUTOENCODERS = [case for case in EACH_METHOD if case[0] != "imputer"]
OF_ROWS = [case for case in OF_AUTOENCODERS if case[1] != "sample"]
LIBRARIES = pytest.mark.parametrize("library", AS_FRAME)
OUTPUTS = pytest.mark.parametrize("output", AS_FRAME)
OF_METHODS = pytest.mark.parametrize(("kind", "method"), EACH_METHOD)


def mixed(library):
    """Return a table with categories."""
    columns = {
        "a": NUMBERS[:, 0],
        "b": np.where(NUMBERS[:, 1] > 0, "high", "low"),
        "c": np.rint(3 * NUMBERS[:, 2]).astype(int),
        "d": NUMBERS[:, 3] > 0,
    }
    return pd.DataFrame(columns, index=INDEX) if library == "pandas" else pl.DataFrame(columns)


TABLES = {"numbers": lambda library: AS_FRAME[library](NUMBERS), "mixed": mixed}
OF_TABLES = pytest.mark.parametrize("table", TABLES)


@cache
def fitted(kind, table, library):
    X = NUMBERS if library == "array" else TABLES[table](library)
    return clone(ESTIMATORS[kind]).fit(X)


def with_output(estimator, output):
    """Return a copy of a fitted estimator with another output container."""
    copied = clone(estimator).set_output(transform=output)
    settings = {"_sklearn_output_config": copied._sklearn_output_config}
    vars(copied).update(vars(estimator) | settings)
    return copied


def result(estimator, method, X):
    """Return the result of a method for rows; codes with names are decoded."""
    if method == "sample":
        return estimator.sample(len(X), random_state=0)
    if method == "inverse_transform":
        return estimator.inverse_transform(estimator.transform(X))
    return getattr(estimator, method)(X)


def entries(rows):
    return np.asarray(rows).astype(object)


@OF_METHODS
@OF_TABLES
@LIBRARIES
@OUTPUTS
def test_frames_have_the_names_and_the_index_of_x(kind, method, table, library, output):
    estimator, X = fitted(kind, table, library), TABLES[table](library)
    framed = result(with_output(estimator, output), method, X)
    assert isinstance(framed, FRAME[output])
    assert list(framed.columns) == NAMES
    np.testing.assert_array_equal(entries(framed), entries(result(estimator, method, X)))
    if output == "pandas":
        has_index = library == "pandas" and method != "sample"
        assert framed.index.equals(INDEX if has_index else pd.RangeIndex(60))
    with config_context(transform_output=output):
        again = result(estimator, method, X)
    assert framed.equals(again)


@OF_METHODS
@OF_TABLES
@LIBRARIES
def test_the_default_output_has_the_kind_of_the_table(kind, method, table, library):
    estimator, X = fitted(kind, table, library), TABLES[table](library)
    rows = result(estimator, method, X)
    is_frame = table == "mixed" and method != "score_features"
    assert type(rows) is (FRAME[library] if is_frame else np.ndarray)
    default = with_output(estimator, "default")
    with config_context(transform_output="pandas"):  # the setting of the estimator comes first
        assert type(result(default, method, X)) is type(rows)


@pytest.mark.parametrize(("kind", "method"), OF_AUTOENCODERS)
@OUTPUTS
def test_without_names_in_fit_the_result_is_an_array(kind, method, output):
    estimator = with_output(fitted(kind, "numbers", "array"), output)
    assert type(result(estimator, method, NUMBERS)) is np.ndarray


@pytest.mark.parametrize(("kind", "method"), OF_ROWS)
@OUTPUTS
def test_the_dtype_of_the_columns_is_the_dtype_of_the_array(kind, method, output):
    estimator = fitted(kind, "numbers", "pandas")
    X = AS_FRAME["pandas"](NUMBERS).astype("float32")
    if method == "inverse_transform":
        X = estimator.transform(X)
    array = getattr(estimator, method)(X)
    assert array.dtype == np.float32
    framed = getattr(with_output(estimator, output), method)(X)
    assert {str(dtype).lower() for dtype in framed.dtypes} == {"float32"}


@pytest.mark.parametrize("kind", ["transformer", "variational"])
@OF_TABLES
@OUTPUTS
def test_codes_with_names_of_the_output_must_have_their_order(kind, table, output):
    estimator, X = fitted(kind, table, "pandas"), TABLES[table]("pandas")
    codes = estimator.transform(X)
    expected = entries(estimator.inverse_transform(codes))
    names = estimator.get_feature_names_out().tolist()
    of_names = {
        "pandas": lambda names: pd.DataFrame(codes, columns=names),
        "polars": lambda names: pl.DataFrame(codes, schema=names),
    }[output]
    without_names = [codes, codes.tolist(), pd.DataFrame(codes)]
    for accepted in (of_names(names), of_names(["x", "y"]), *without_names):
        np.testing.assert_array_equal(entries(estimator.inverse_transform(accepted)), expected)
    for refused in (names[::-1], [names[0], "y"]):
        with pytest.raises(ValueError, match=r"names should match .* in the same order: .*0, .*1"):
            estimator.inverse_transform(of_names(refused))


@pytest.mark.parametrize(("kind", "method"), OF_ROWS)
@pytest.mark.parametrize(
    ("table", "collection"), [("numbers", "array"), ("numbers", "frame"), ("mixed", "frame")]
)
@OUTPUTS
def test_results_for_dask_collections_do_not_change(kind, method, table, collection, output):
    if collection == "array":
        estimator, X = fitted(kind, table, "array"), da.from_array(NUMBERS, chunks=(20, 4))
    else:
        estimator = fitted(kind, table, "pandas")
        X = dd.from_pandas(TABLES[table]("pandas"), npartitions=3)
    rows = X
    if method == "inverse_transform":
        rows = estimator.transform(X)
    expected = getattr(estimator, method)(rows)
    lazy = getattr(with_output(estimator, output), method)(rows)
    assert type(lazy) is type(expected)
    with config_context(transform_output=output):
        ours = lazy.compute(scheduler="sync")
    theirs = expected.compute(scheduler="sync")
    assert type(ours) is type(theirs)
    np.testing.assert_array_equal(entries(ours), entries(theirs))


@OUTPUTS
def test_a_setting_is_kept_by_clone_and_fit_and_none_does_not_change_it(output):
    estimator = OutlierDetector(2, **SHORT).set_output(transform=output)
    assert estimator.set_output() is estimator
    X = AS_FRAME[output](NUMBERS)
    for each in (clone(estimator).fit(X), estimator.fit(X).fit(X)):
        assert isinstance(each.score_features(X), FRAME[output])
        assert type(each.autoencoder_.score_features(X)) is np.ndarray
        assert type(each.score_samples(X)) is np.ndarray


@OUTPUTS
def test_displays_accept_estimators_with_frames(output):
    X = AS_FRAME["pandas"](NUMBERS)
    detector = fitted("detector", "numbers", "pandas")
    ours = ContributionDisplay.from_estimator(with_output(detector, output), X)
    theirs = ContributionDisplay.from_estimator(detector, X)
    np.testing.assert_array_equal(ours.contributions, theirs.contributions)
    ae = with_output(fitted("transformer", "numbers", "pandas"), output)
    ReconstructionDisplay.from_estimator(ae, X)


@pytest.mark.parametrize(("kind", "method"), OF_AUTOENCODERS)
def test_numbers_of_a_polars_table_are_numbers_in_pandas(kind, method):
    estimator, X = fitted(kind, "mixed", "polars"), mixed("polars")
    framed = result(with_output(estimator, "pandas"), method, X)
    assert framed["a"].dtype == float
