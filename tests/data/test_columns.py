"""Encoding of tables with categories, and decoding."""

import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import OneHotEncoder, scale

from skae._data.columns import CategoryLimits, errors_naming_categories, mixed_columns

RNG = np.random.default_rng(0)
N = 60
WORDS = RNG.choice(["high", "low", "middle"], N)
NUMBERS = RNG.normal(3, 2, size=N)
COUNTS = RNG.integers(0, 9, N)
LEVELS = ["low", "middle", "high", "never"]

DICTIONARY = pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string()))
PANDAS = {
    "float": pd.Series(NUMBERS),
    "float32": pd.Series(NUMBERS.astype(np.float32)),
    "uint8": pd.Series(COUNTS, dtype="uint8"),
    "Int64": pd.Series(COUNTS, dtype="Int64"),
    "int16 of Arrow": pd.Series(COUNTS, dtype=pd.ArrowDtype(pa.int16())),
    "ordered": pd.Series(pd.Categorical(WORDS, LEVELS, ordered=True)),
    "intervals": pd.Series(pd.cut(NUMBERS, 3)),
    "category of numbers": pd.Series(COUNTS).astype("category"),
    "string": pd.Series(WORDS, dtype="string"),
    "str": pd.Series(WORDS.tolist()),
    "object": pd.Series(WORDS, dtype=object),
    "bool": pd.Series(WORDS == "low"),
    "boolean": pd.Series(WORDS == "low", dtype="boolean"),
    "string of Arrow": pd.Series(WORDS, dtype=pd.ArrowDtype(pa.string())),
    "bool of Arrow": pd.Series(WORDS == "low", dtype=pd.ArrowDtype(pa.bool_())),
    "dictionary of Arrow": pd.Series(WORDS.tolist(), dtype=DICTIONARY),
}
POLARS = {
    "Float64": pl.Series(NUMBERS),
    "UInt8": pl.Series(COUNTS, dtype=pl.UInt8),
    "Categorical": pl.Series(WORDS.tolist(), dtype=pl.Categorical),
    "Enum": pl.Series(WORDS.tolist(), dtype=pl.Enum(LEVELS)),
    "String": pl.Series(WORDS.tolist()),
    "Boolean": pl.Series(WORDS == "low"),
}
FRAMES = {"pandas": pd.DataFrame(PANDAS), "polars": pl.DataFrame(POLARS)}
NUMERIC = [*list(PANDAS)[:5], *list(POLARS)[:2]]


def fit(X, categorical_features="from_dtype", max_categories=None, min_frequency=None):
    return mixed_columns(X, categorical_features, CategoryLimits(max_categories, min_frequency))


def check_equal(ours, theirs):
    """Compare frames: exactly, except for the last bits of floats."""
    if isinstance(theirs, pd.DataFrame):
        pd.testing.assert_frame_equal(ours, theirs, rtol=1e-5)
    else:
        assert ours.schema == theirs.schema
        for name in theirs.columns:
            if theirs[name].dtype.is_float():
                np.testing.assert_allclose(ours[name], theirs[name])
            else:
                assert ours[name].to_list() == theirs[name].to_list()


@pytest.mark.parametrize("library", FRAMES)
def test_a_decoded_table_equals_the_table_in_values_order_and_dtypes(library):
    X = FRAMES[library]
    columns = fit(X)
    assert columns.is_categorical.tolist() == [name not in NUMERIC for name in X.columns]
    check_equal(columns.decode(columns.encode(X)), X)
    again = pickle.loads(pickle.dumps(columns))
    np.testing.assert_array_equal(again.encode(X[:7]), columns.encode(X)[:7])
    check_equal(again.decode(again.encode(X)), X)


LABELS = {
    "text": ["a", "b"],
    "numbers": [3, 1],
    "named": pd.Index(["a", "b"], name="measure"),
    "categories": pd.CategoricalIndex(["a", "b"]),
    "dates": pd.date_range("2026-01-01", periods=2),
    "tuples": pd.Index([("a", 0), ("b", 1)], tupleize_cols=False),
    "one level": pd.MultiIndex.from_arrays([["a", "b"]]),
    "pairs": pd.MultiIndex.from_tuples([("a", 0), ("a", 1)], names=["u", "v"]),
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_a_loaded_table_has_the_columns_of_the_saved_one(labels):
    X = pd.DataFrame({0: ["x", "y", "x"], 1: [1.0, 2.0, 4.0]}).set_axis(labels, axis=1)
    columns = fit(X)
    again = pickle.loads(pickle.dumps(columns))
    pd.testing.assert_frame_equal(again.decode(again.encode(X)), X)


def test_a_loaded_table_has_the_categories_of_the_saved_one():
    dates = pd.date_range("2026-01-01", periods=3)
    X = pd.DataFrame(
        {
            "date": pd.Categorical(dates, ordered=True),
            "amount": pd.array([1, 2, 3], dtype=pd.ArrowDtype(pa.decimal128(25, 2))),
            "text": pd.array(["x", "y", "x"], dtype=pd.ArrowDtype(pa.string())),
        }
    )
    columns = fit(X)
    again = pickle.loads(pickle.dumps(columns))
    assert again.decode(again.encode(X)).dtypes.tolist() == X.dtypes.tolist()


def test_a_decoded_table_has_the_given_index():
    X = FRAMES["pandas"].set_axis(RNG.integers(0, 5, N))  # with repeated labels
    columns = fit(X)
    check_equal(columns.decode(columns.encode(X), X.index), X)


@pytest.mark.parametrize("library", FRAMES)
def test_missing_entries_are_filled_and_the_others_are_the_same(library):
    X, columns = FRAMES[library], fit(FRAMES[library])
    hidden = np.random.default_rng(1).random(X.shape) < 0.2
    if library == "pandas":
        hidden[:, [list(X).index(name) for name in ("uint8", "bool")]] = False
        incomplete = X.mask(hidden).astype(X.dtypes)
    else:
        incomplete = X.with_columns(
            pl.Series(name, np.where(hidden[:, i], None, X[name]).tolist(), X.schema[name])
            for i, name in enumerate(X.columns)
        )
    missing = columns.missing(incomplete)
    np.testing.assert_array_equal(missing, hidden)
    encoded = columns.encode(incomplete)
    np.testing.assert_array_equal(np.isnan(encoded), hidden[:, columns.groups])
    check_equal(columns.filled(incomplete, columns.encode(X), missing), X)


def test_a_category_that_the_dtype_of_a_frame_lacks_is_added():
    X = pd.DataFrame({"a": pd.Categorical(["x", "y"])})
    columns = fit(X)
    only_x = pd.DataFrame({"a": pd.Categorical(["x", None], ["x"])})
    filled = columns.filled(only_x, columns.encode(X), columns.missing(only_x))
    assert filled["a"].tolist() == ["x", "y"]


def test_the_encoding_is_that_of_factor_analysis_of_mixed_data():
    X = pd.DataFrame({"word": WORDS, "number": NUMBERS})
    indicators = OneHotEncoder(sparse_output=False).fit_transform(X[["word"]])
    p = indicators.mean(axis=0)
    expected = np.column_stack([(indicators - p) / np.sqrt(p), scale(NUMBERS)])
    np.testing.assert_allclose(fit(X).encode(X), expected, atol=1e-12)


def test_missing_and_unknown_categories_of_every_kind_are_nan():
    X = pd.DataFrame({"word": pd.Series(["a", "b", None, np.nan, pd.NA], dtype=object)})
    X["number"] = [1.0, 2, None, np.nan, 3]
    columns = fit(X)
    assert np.isnan(columns.encode(X)).any(axis=1).tolist() == [False, False, True, True, True]
    unknown = pd.DataFrame({"word": ["c", "a"], "number": [1, 2]})
    np.testing.assert_array_equal(np.isnan(columns.encode(unknown)), [[1, 1, 0], [0, 0, 0]])
    assert not columns.missing(unknown).any()


@settings(max_examples=30)
@given(
    words=st.lists(st.one_of(st.none(), st.text(max_size=3)), min_size=1, max_size=30),
    max_categories=st.one_of(st.none(), st.integers(1, 5)),
    min_frequency=st.one_of(st.none(), st.integers(1, 5), st.floats(0.01, 0.5)),
)
def test_rare_categories_are_grouped_as_by_one_hot_encoder(words, max_categories, min_frequency):
    X = pd.DataFrame({"word": pd.Series(words, dtype=object), "number": 1.0})
    observed = X[X["word"].notna()]
    limits = {"max_categories": max_categories, "min_frequency": min_frequency}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # very many categories
        columns = fit(X, [0], **limits)
    encoded = columns.encode(X)[:, :-1]
    assert np.isfinite(encoded[X["word"].notna()]).all()
    if not len(observed):
        assert encoded.shape[1] == 0
        assert columns.decode(columns.encode(X))["word"].isna().all()
        return
    if max_categories or min_frequency:
        encoder = OneHotEncoder(sparse_output=False, **limits)
        expected = encoder.fit_transform(observed[["word"]])
        np.testing.assert_array_equal(
            encoded[X["word"].notna()] > 0, expected * (expected < 1).any(0)
        )
    decoded = columns.decode(columns.encode(observed))["word"]
    known = [np.isin(observed["word"], columns.categories[0])]
    assert np.all(known)
    assert set(decoded) <= set(observed["word"])


@settings(max_examples=30)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_the_extreme_numbers_are_decoded_to_the_last_bit(numbers):
    X = pd.DataFrame({"number": numbers, "word": "a"})
    columns = fit(X)
    decoded = columns.decode(columns.encode(X))["number"]
    assert decoded.min() == min(numbers)
    assert decoded.max() == max(numbers)


def test_arrays_have_categories_where_they_are_given():
    X = np.array([["a", 1.0], ["b", 2.0], ["a", 5.0]], dtype=object)
    for features in ([0], [True, False], [-2]):
        columns = fit(X, features)
        np.testing.assert_array_equal(columns.decode(columns.encode(X)), X)
    numbers = np.array([[1.0, 4.0], [2.0, 3.0], [1.0, np.nan]])
    columns = fit(numbers, [0])
    assert np.isnan(columns.encode([[3.0, 4.0]] @ np.eye(2))).tolist() == [[True, True, False]]
    filled = columns.filled(numbers, columns.encode(numbers[:1].repeat(3, 0)), np.isnan(numbers))
    np.testing.assert_array_equal(filled, [[1, 4], [2, 3], [1, 4]])
    assert fit(X) is None
    assert fit(X, None) is None


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([1, 2.5, None], dtype=object),
        pd.Series([None, None, pd.NA], dtype=object),
        pd.Series([1, 2, 3]),
    ],
    ids=["numbers in objects", "nothing", "integers"],
)
def test_a_frame_of_numbers_has_no_categories(column):
    assert fit(pd.DataFrame({"a": column})) is None


def test_a_column_with_very_many_categories_is_grouped_with_a_warning():
    words = [f"id {i}" for i in range(10_000)]
    X = pd.DataFrame({"id": words, "word": np.resize(["a", "b"], 10_000)})
    with pytest.warns(UserWarning, match="Column 'id' of X has 10000 categories"):
        columns = fit(X)
    assert columns.columns[0].width == 1
    assert fit(X, max_categories=5).columns[0].width == 5
    with pytest.warns(UserWarning, match="Column 'id'"):  # all distinct
        assert fit(X[:30]).columns[0].width == 1


def test_columns_without_values_are_known():
    X = pd.DataFrame(
        {"word": ["a", "b"], "none": np.nan, "never": pd.Categorical([None] * 2, ["a"])}
    )
    columns = fit(X)
    assert columns.empty_columns == [1, 2]
    decoded = columns.decode(columns.encode(X))
    assert decoded["none"].tolist() == [0, 0]
    assert decoded["never"].isna().all()
    with pytest.raises(ValueError, match="X has no value at all"):
        fit(X[["none", "never"]])


INVALID = {
    "several types": (pd.DataFrame({"a": ["x", 1, 2]}), "column 'a' .* the types int, str"),
    "types of a category": (
        pd.DataFrame({"a": pd.Series(["x", 1], dtype=object), "b": ["x", "y"]}),
        "column 'a'",
    ),
    "lists": (pd.DataFrame({"a": ["x", "y"], "b": [[1], [2]]}), "column 'b'"),
    "infinity": (pd.DataFrame({"a": ["x", "y"], "b": [np.inf, 1]}), "column 'b' .*infinity"),
    "names": (pd.DataFrame([["x", 1.0]], columns=["a", "a"]), "several columns .*'a'"),
    "polars lists": (pl.DataFrame({"a": ["x", "y"], "b": [[1], [2]]}), "column 'b'"),
}


@pytest.mark.parametrize(("X", "message"), INVALID.values(), ids=INVALID)
def test_errors_name_the_column(X, message):
    with pytest.raises((TypeError, ValueError), match=message):
        fit(X)


@pytest.mark.parametrize("features", [["z"], [77], [True]])
def test_categorical_features_that_x_lacks_are_an_error(features):
    with pytest.raises(ValueError, match="categorical_features="):
        fit(FRAMES["pandas"], features)


def test_an_error_of_conversion_names_the_columns_with_categories():
    with (
        pytest.raises(ValueError, match=r"categories in columns \['String'\].* Encode them"),
        errors_naming_categories(pl.DataFrame(POLARS)[["String", "Float64"]], "Encode them."),
    ):
        float("could not convert")
    with pytest.raises(ValueError, match="other"), errors_naming_categories(None, ""):
        raise ValueError("other")


def test_errors_are_squares_of_numbers_and_wrong_categories():
    X = pd.DataFrame({"word": ["a", "b", "a", None], "number": [1.0, 3.0, 2.0, np.nan]})
    columns = fit(X)
    encoded = columns.encode(X)
    other = columns.encode(X.assign(word="a", number=1.0))
    errors = columns.errors(encoded, other)
    np.testing.assert_allclose(errors, [[0, 0], [1, 6], [0, 1.5], [np.nan, np.nan]])
