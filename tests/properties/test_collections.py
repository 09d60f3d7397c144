"""Results for Dask collections equal those for rows in memory."""

import pickle
import warnings
from functools import cache

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from sklearn.base import clone

from skae import (
    AutoencoderImputer,
    AutoencoderTransformer,
    OutlierDetector,
    VariationalAutoencoder,
)

COLUMNS = list("abcdef")
METHODS = {
    AutoencoderTransformer: ["transform", "reconstruct", "score_samples"],
    VariationalAutoencoder: [
        *["transform", "reconstruct", "score_samples", "score_features", "posterior_variance"]
    ],
    AutoencoderImputer: ["transform"],
    OutlierDetector: ["score_samples", "score_features", "decision_function", "predict"],
}
# Each fit compiles a function, so that the tests of the other classes are slow.
QUICK = AutoencoderTransformer
KINDS = [kind if kind is QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in METHODS]
EACH_METHOD = [
    pytest.param(kind, method, marks=[] if kind is QUICK else pytest.mark.slow)
    for kind, methods in METHODS.items()
    for method in methods
]
WITH_SCORE = KINDS[:2]


def rows(dtype=np.float64):
    """Return rows with missing values; the rows from 100 to 120 have no values."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 6)) @ rng.normal(size=(6, 6))
    X[rng.random(X.shape) < 0.1] = np.nan
    X[100:120] = np.nan
    return X.astype(dtype)


def frame(X, dtype=None):
    index = pd.Index(np.arange(1000, 1000 + len(X)), name="row")
    frame = pd.DataFrame(X, columns=COLUMNS, index=index)
    return frame if dtype is None else frame.round().astype(dtype)


def partitions(frame):
    """Return a frame in partitions: one has no values and one has no rows."""
    parts = [frame[:100], frame[100:120], frame[120:120], frame[120:]]
    return dd.from_delayed(list(map(dask.delayed, parts)), meta=frame[:0])


def chunks(X, rows, columns=6):
    return da.from_array(X, chunks=(rows, columns))


def with_unknown_sizes(array):
    sizes = ((np.nan,) * len(array.chunks[0]), (6,))
    return array.map_blocks(np.asarray, chunks=sizes, meta=array._meta)


# Functions from rows to a collection, and to the same rows in memory.
COLLECTIONS = {
    "chunks of unequal length": lambda X: (chunks(X, (100, 20, 180)), X),
    "several chunks of columns": lambda X: (chunks(X, 100, (1, 3, 2)), X),
    "an empty chunk": lambda X: (chunks(X, (150, 0, 150)), X),
    "unknown sizes": lambda X: (with_unknown_sizes(chunks(X, 150)), X),
    "sparse chunks": lambda X: (chunks(X, 150).map_blocks(csr_matrix), X),
    "a frame": lambda X: (dd.from_pandas(frame(X), npartitions=3), frame(X)),
    "a frame with an empty partition": lambda X: (partitions(frame(X)), frame(X)),
} | {
    f"a frame of {dtype}": lambda X, dtype=dtype: (
        partitions(frame(X, dtype)),
        frame(X, dtype),
    )
    for dtype in ("Int64", "Float32", "float[pyarrow]")
}


def without_warning_of_names(function, *arguments):
    """Call a function and ignore the warning that X has no feature names."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
        return function(*arguments)


def computed(lazy):
    return without_warning_of_names(lambda: lazy.compute(scheduler="sync"))


@cache
def fitted(kind):
    """Return the fitted estimator of a class."""
    return kind(3, max_steps=2, validation_fraction=0, random_state=0).fit(frame(rows()))


def check_meta(lazy, result, X):
    """Check the shape, dtype and names of a lazy result against the computed result."""
    if isinstance(lazy, da.Array):
        assert isinstance(result, np.ndarray)
        assert lazy.dtype == lazy._meta.dtype == result.dtype
        assert lazy.ndim == result.ndim
        assert lazy.shape[1:] == result.shape[1:]
        return
    assert type(lazy._meta) is type(result)
    assert result.index.equals(X.index)
    assert lazy._meta.index.dtype == result.index.dtype
    if result.ndim > 1:
        assert lazy._meta.dtypes.equals(result.dtypes)
    else:
        assert lazy.dtype == result.dtype


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("collection", COLLECTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_methods_give_the_same_for_a_collection_and_for_its_rows(kind, collection, dtype):
    if collection == "sparse chunks" and kind is AutoencoderImputer:
        return  # sparse rows in memory are also an error
    parts, X = COLLECTIONS[collection](rows(dtype))
    tolerance = 1e-3 if dtype == np.float32 else 1e-9
    for method in METHODS[kind]:
        call = getattr(fitted(kind), method)
        lazy, expected = (without_warning_of_names(call, part) for part in (parts, X))
        result = computed(lazy)
        check_meta(lazy, result, X)
        assert result.shape == expected.shape
        assert np.asarray(result).dtype == expected.dtype
        np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance)
        if hasattr(parts, "divisions"):
            assert lazy.divisions == parts.divisions
    if hasattr(kind, "score"):
        ours, theirs = (without_warning_of_names(fitted(kind).score, part) for part in (parts, X))
        assert ours == pytest.approx(theirs, rel=1e-5 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("collection", ["unknown sizes", "a frame with an empty partition"])
@pytest.mark.parametrize("kind", WITH_SCORE)
def test_codes_of_a_collection_are_decoded_as_those_of_its_rows(kind, collection):
    estimator = fitted(kind)
    parts, X = COLLECTIONS[collection](rows())
    lazy = without_warning_of_names(lambda: estimator.inverse_transform(estimator.transform(parts)))
    result = computed(lazy)
    expected = without_warning_of_names(estimator.reconstruct, X)
    np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-9)
    check_meta(lazy, result, X)


@pytest.mark.parametrize(("kind", "method"), EACH_METHOD)
def test_a_lazy_result_does_not_change_with_a_later_fit(kind, method):
    estimator = pickle.loads(pickle.dumps(fitted(kind)))
    X, parts = rows(), chunks(rows(), 150)
    lazy = without_warning_of_names(getattr(estimator, method), parts)
    expected = without_warning_of_names(getattr(estimator, method), X)
    without_warning_of_names(estimator.fit, X**2)
    np.testing.assert_allclose(computed(lazy), expected, rtol=1e-9, atol=1e-9)
    again = getattr(estimator, method)(parts)
    assert again.name != lazy.name  # a cluster would confuse the two
    assert not np.allclose(computed(again), expected) or method == "predict"


@pytest.mark.parametrize(("kind", "method"), EACH_METHOD)
def test_wrong_columns_are_an_error_before_computation(kind, method):
    call = getattr(fitted(kind), method)
    with pytest.raises(ValueError, match="expecting 6 features"):
        without_warning_of_names(call, chunks(rows()[:, :5], 150, 5))
    with pytest.raises(ValueError, match="feature names"):
        call(dd.from_pandas(frame(rows()).rename(columns={"a": "A"}), npartitions=2))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        call(chunks(rows(), 150))


@pytest.mark.parametrize(("kind", "method"), EACH_METHOD)
def test_dates_are_an_error_before_computation(kind, method):
    dates = frame(rows()).assign(c=np.datetime64("2020-01-01", "s"))
    with pytest.raises(TypeError, match="dates"):
        getattr(fitted(kind), method)(dd.from_pandas(dates, npartitions=2))
    with pytest.raises(TypeError, match="dates"):
        getattr(fitted(kind), method)(chunks(np.zeros((300, 6), "M8[s]"), 150))


@pytest.mark.parametrize("kind", WITH_SCORE)
def test_the_score_of_no_rows_is_an_error_as_in_memory(kind):
    X = frame(rows())[:0]
    with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\)") as refused:
        fitted(kind).score(X)
    with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\)") as refused_too:
        fitted(kind).score(partitions(X))
    assert str(refused_too.value) == str(refused.value)


@pytest.mark.parametrize("size", [1e-150, 1e150, 1e160])
@pytest.mark.parametrize("kind", WITH_SCORE)
def test_the_score_of_a_collection_with_a_distant_row_is_that_of_its_rows(kind, size):
    X = rows()
    X[7] = size
    parts = chunks(X, (100, 20, 180))
    expected = without_warning_of_names(fitted(kind).score, X)
    assert without_warning_of_names(fitted(kind).score, parts) == pytest.approx(expected, rel=1e-12)


IMPUTERS = {
    "missing values are NaN": ({"add_indicator": True}, lambda X: X),
    "missing values are a number": ({"missing_values": 7}, lambda X: np.nan_to_num(X, nan=7)),
    "a column has no value": (
        {"keep_empty_features": True, "bounds": ([-9] * 6, None)},
        lambda X: np.where(np.arange(6) == 2, np.nan, X),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("collection", ["an empty chunk", "a frame of Int64"])
@pytest.mark.parametrize("setting", IMPUTERS)
def test_an_imputer_is_fitted_on_a_collection_as_on_its_rows(setting, collection):
    params, change = IMPUTERS[setting]
    parts, X = COLLECTIONS[collection](change(rows()))
    imputer = AutoencoderImputer(3, max_steps=2, random_state=0, **params)
    with pytest.warns(UserWarning, match=r"no distributed\.Client"):
        ours = clone(imputer).fit(parts)
    theirs = clone(imputer).fit(X)
    np.testing.assert_array_equal(ours.transform(X), theirs.transform(X))
    assert list(ours.get_feature_names_out()) == list(theirs.get_feature_names_out())
    assert vars(ours).keys() == vars(theirs).keys()
    assert vars(ours.autoencoder_).keys() == vars(theirs.autoencoder_).keys()
    with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\)"):
        clone(imputer).fit(partitions(frame(rows())[:0]))


@pytest.mark.slow
@pytest.mark.parametrize("collection", ["several chunks of columns", "a frame of Float32"])
@pytest.mark.parametrize("kind", METHODS)
def test_without_a_client_a_collection_is_fitted_as_its_rows(kind, collection):
    parts, X = COLLECTIONS[collection](rows())
    with pytest.warns(UserWarning, match=r"no distributed\.Client"):
        ours = kind(3, max_steps=2, random_state=0).fit(parts)
    theirs = kind(3, max_steps=2, random_state=0).fit(X)
    assert vars(ours).keys() == vars(theirs).keys()
    for method in METHODS[kind]:
        expected = getattr(theirs, method)(X)
        np.testing.assert_allclose(getattr(ours, method)(X), expected, rtol=1e-9, atol=1e-9)
