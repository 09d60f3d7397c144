"""Tables with categories, numbers and missing values."""

import pickle
from functools import cache

import dask.dataframe as dd
import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import skops.io
from skl2onnx import to_onnx
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, scale

import skae.onnx  # noqa: F401
from skae import (
    AutoencoderImputer,
    AutoencoderTransformer,
    Checkpoint,
)

QUICK = {"hidden_layer_sizes": (), "max_steps": 20, "validation_fraction": 0, "random_state": 0}
LEVELS = ["small", "medium", "large"]


def table(n=120):
    """Return a frame whose columns depend on one latent variable."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=n)
    return pd.DataFrame(
        {
            "size": pd.Categorical.from_codes(np.digitize(z, [-0.5, 0.5]), LEVELS, ordered=True),
            "price": 100 + 30 * z + rng.normal(size=n),
            "rooms": np.rint(4 + z).astype("int8"),
            "city": np.where(z + rng.normal(size=n) > 0, "north", "south"),
            "garden": z > 0.3,
        },
        index=np.arange(n) + 1000,
    )


def incomplete(n=120):
    X = table(n).astype({"rooms": "Int64", "garden": "boolean"})
    hidden = np.random.default_rng(1).random(X.shape) < 0.1
    return X.mask(hidden)


def as_polars(X):
    return pl.DataFrame(
        {
            name: pl.Series(X[name].astype(object).where(X[name].notna(), None).tolist())
            for name in X
        },
        schema_overrides={"size": pl.Enum(LEVELS)},
    )


X = table()
INCOMPLETE = incomplete()


@cache
def fitted(name="complete"):
    rows = {"complete": X, "incomplete": INCOMPLETE, "polars": as_polars(INCOMPLETE)}[name]
    return AutoencoderTransformer(3, **QUICK).fit(rows)


def test_the_initial_network_is_factor_analysis_of_mixed_data():
    categories = X[["size", "city", "garden"]]
    indicators = OneHotEncoder(sparse_output=False).fit_transform(categories)
    p = indicators.mean(axis=0)
    encoded = np.column_stack([(indicators - p) / np.sqrt(p), scale(X[["price", "rooms"]])])
    expected = PCA(3, whiten=True).fit_transform(encoded)
    # with this learning rate the network stays at the initial one
    ae = AutoencoderTransformer(3, **QUICK | {"learning_rate_init": 1e-12}).fit(X)
    codes = ae.transform(X)
    np.testing.assert_allclose(abs(codes), abs(expected), atol=1e-5)


def test_rows_of_every_kind_have_the_columns_and_dtypes_of_training():
    ae = fitted()
    rows = ae.reconstruct(X)
    pd.testing.assert_series_equal(rows.dtypes, X.dtypes)
    assert rows.index.equals(X.index)
    codes = ae.transform(X)
    decoded = ae.inverse_transform(codes)
    pd.testing.assert_frame_equal(decoded, rows.reset_index(drop=True))
    framed = ae.inverse_transform(pd.DataFrame(codes, index=X.index))
    pd.testing.assert_frame_equal(framed, rows)
    assert (rows["garden"] == X["garden"]).mean() > 0.8
    assert rows["rooms"].between(X["rooms"].min(), X["rooms"].max()).all()
    rows = fitted("polars").reconstruct(as_polars(INCOMPLETE))
    assert rows.schema == as_polars(INCOMPLETE).schema
    assert not any(rows.null_count().row(0))


def test_pandas_and_polars_give_the_same_codes():
    codes = fitted("incomplete").transform(INCOMPLETE)
    assert np.isfinite(codes).all()
    np.testing.assert_array_equal(fitted("polars").transform(as_polars(INCOMPLETE)), codes)
    # a frame of the other library
    np.testing.assert_array_equal(fitted("polars").transform(INCOMPLETE), codes)


def test_the_result_of_a_row_does_not_depend_on_other_rows():
    ae, rows = fitted("incomplete"), INCOMPLETE.iloc[[5]]
    np.testing.assert_allclose(ae.transform(rows), ae.transform(INCOMPLETE)[[5]], rtol=1e-9)
    pd.testing.assert_frame_equal(ae.reconstruct(rows), ae.reconstruct(INCOMPLETE).iloc[[5]])
    np.testing.assert_allclose(ae.score_samples(rows), ae.score_samples(INCOMPLETE)[[5]], rtol=1e-9)


def test_an_unknown_category_is_a_missing_value():
    unknown, missing = (X.astype({"city": object}) for _ in range(2))
    unknown["city"], missing["city"] = "elsewhere", None
    ae = fitted()
    np.testing.assert_array_equal(ae.transform(unknown), ae.transform(missing))


def test_tables_of_numbers_give_the_same_bits_as_without_categories():
    rng = np.random.default_rng(0)
    numbers = pd.DataFrame(rng.normal(size=(60, 4)), columns=list("abcd"))
    objects = numbers.astype({"a": object})
    for rows in (numbers, objects, numbers.to_numpy(), objects.to_numpy(), as_polars(numbers[:0])):
        if not len(rows):
            continue
        ours, theirs = (
            AutoencoderTransformer(2, **QUICK, categorical_features=features).fit(rows)
            for features in ("from_dtype", None)
        )
        np.testing.assert_array_equal(ours.transform(rows), theirs.transform(rows))
        assert type(ours.reconstruct(rows)) is np.ndarray
        assert ours.categories_ == []
        assert not ours.is_categorical_.any()


def test_fitted_attributes_describe_the_columns_of_the_frame():
    ae = fitted()
    assert ae.n_features_in_ == 5
    assert ae.feature_names_in_.tolist() == X.columns.tolist()
    assert ae.is_categorical_.tolist() == [True, False, False, True, True]
    assert [list(c) for c in ae.categories_] == [LEVELS, ["north", "south"], [False, True]]
    assert ae.mean_.shape == (3 + 2 + 2 + 2,)
    assert -5 < ae.score(X) < 1
    assert not hasattr(AutoencoderTransformer(), "categories_")


def test_categorical_features_may_be_indices_names_or_a_mask():
    numbers = X.assign(city=np.where(X["city"] == "north", 1, 2), size=X["size"].cat.codes)
    codes = [
        AutoencoderTransformer(2, **QUICK, categorical_features=features)
        .fit(numbers)
        .transform(numbers)
        for features in ([0, 3, 4], ["size", "city", "garden"], [True, False, False, True, True])
    ]
    for others in codes[1:]:
        np.testing.assert_array_equal(others, codes[0])
    array = numbers.astype(float).to_numpy()
    ae = AutoencoderTransformer(2, **QUICK, categorical_features=[0, 3, 4]).fit(array)
    np.testing.assert_array_equal(ae.transform(array), codes[0])
    assert set(ae.reconstruct(array)[:, 3]) <= {1.0, 2.0}


def test_column_errors_are_squared_errors_and_shares_of_wrong_categories():
    ae = fitted("incomplete")
    rows, errors = ae.reconstruct(INCOMPLETE), ae.column_errors(INCOMPLETE)
    seen = INCOMPLETE["city"].notna()
    wrong = (rows["city"] != INCOMPLETE["city"])[seen].mean()
    assert errors[3] == pytest.approx(wrong)
    price = INCOMPLETE["price"]
    squares = (rows["price"] - price) ** 2 / price.var(ddof=0)
    assert errors[1] == pytest.approx(squares.mean())
    numbers = INCOMPLETE[["price"]].assign(other=np.arange(120.0)).to_numpy()
    ae = AutoencoderTransformer(1, **QUICK).fit(numbers)
    expected = np.nanmean((ae.reconstruct(numbers) - numbers) ** 2, axis=0)
    np.testing.assert_allclose(ae.column_errors(numbers), expected)


def test_is_pickled_cloned_and_sets_its_output():
    ae = AutoencoderTransformer(2, **QUICK)
    again = pickle.loads(pickle.dumps(fitted()))
    pd.testing.assert_frame_equal(again.reconstruct(X), fitted().reconstruct(X))
    codes = clone(ae).set_output(transform="pandas").fit_transform(X)
    assert codes.index.equals(X.index)
    assert codes.columns.tolist() == ["autoencodertransformer0", "autoencodertransformer1"]


@pytest.mark.parametrize(
    "rows", [X, INCOMPLETE, as_polars(X)], ids=["pandas", "nullable", "polars"]
)
def test_is_saved_with_skops(rows):
    ae = AutoencoderTransformer(2, **QUICK).fit(rows)
    data = skops.io.dumps(ae)
    types = skops.io.get_untrusted_types(data=data)
    assert {name.split(".")[0] for name in types} <= {"skae", "polars"}
    theirs, ours = skops.io.loads(data, trusted=types).reconstruct(rows), ae.reconstruct(rows)
    assert theirs.equals(ours)
    assert list(theirs.dtypes) == list(ours.dtypes)


@pytest.mark.slow
def test_works_in_pipelines_and_searches():
    ae, y = AutoencoderTransformer(2, **QUICK), X["garden"]
    pipe = make_pipeline(ae, LogisticRegression())
    assert pipe.fit(X, y).score(X, y) > 0.8
    parts = ColumnTransformer([("ae", ae, ["size", "price", "city"])], remainder="passthrough")
    assert parts.fit_transform(X).shape == (120, 4)
    search = GridSearchCV(ae, {"max_categories": [None, 2]}, cv=2).fit(X)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_the_first_batch_of_a_stream_determines_the_categories():
    later = X[60:].assign(city="west")
    ae = AutoencoderTransformer(2, **QUICK)
    for batch in (X[:30], X[30:60], later):
        ae.partial_fit(batch)
    assert [list(c) for c in ae.categories_] == [LEVELS, ["north", "south"], [False, True]]
    np.testing.assert_allclose(ae.transform(later), ae.transform(later.assign(city=None)))
    rows = ae.reconstruct(X)
    assert rows.dtypes.equals(X.dtypes)
    assert np.abs(rows["price"] - X["price"]).mean() < 0.5 * X["price"].std()


@pytest.mark.slow
def test_automatic_layers_of_the_imputer_are_for_the_columns_of_the_frame():
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"letter": rng.choice(list("abcdefghijklmnopqrst"), 200), "x": 1.0})
    imputer = AutoencoderImputer(max_steps=1, validation_fraction=0).fit(rows)
    numbers = AutoencoderImputer(max_steps=1, validation_fraction=0).fit(rng.normal(size=(9, 2)))
    sizes = [
        [coefs.shape[1] for coefs in one.autoencoder_.encoder_["coefs"][:-1]]
        for one in (imputer, numbers)
    ]
    assert sizes[0] == sizes[1]


@pytest.mark.slow
def test_other_ways_of_fitting_keep_the_encoding():
    ae = clone(fitted()).fit(X, X_val=X[:20])
    assert len(ae.validation_curve_)
    encoding = ae._columns_
    ae.set_params(warm_start=True).fit(X[:50])
    assert ae._columns_ is encoding
    ae.partial_fit(X[:30])
    assert ae._columns_ is encoding
    assert ae.reconstruct(X).shape == X.shape
    numbers = X[["price", "rooms"]]
    ae.set_params(warm_start=False, n_components=1).fit(numbers)
    assert type(ae.reconstruct(numbers)) is np.ndarray


@cache
def fitted_imputer(name="pandas"):
    rows = INCOMPLETE if name == "pandas" else as_polars(INCOMPLETE)
    return AutoencoderImputer(**QUICK).fit(rows)


def test_an_imputer_fills_a_frame_and_keeps_its_observed_entries():
    filled = fitted_imputer().transform(INCOMPLETE)
    assert filled.index.equals(INCOMPLETE.index)
    pd.testing.assert_series_equal(filled.dtypes, INCOMPLETE.dtypes)
    assert not filled.isna().to_numpy().any()
    pd.testing.assert_frame_equal(filled.where(INCOMPLETE.notna()), INCOMPLETE)
    polars = fitted_imputer("polars").transform(as_polars(INCOMPLETE))
    assert polars.schema == as_polars(INCOMPLETE).schema
    for name in X.columns:
        assert polars[name].to_list() == filled[name].tolist()


def test_an_imputer_restores_categories_better_than_the_most_frequent_one():
    filled = fitted_imputer().transform(INCOMPLETE)
    hidden = INCOMPLETE.isna()
    for name in ("size", "garden"):
        is_right = (filled[name] == X[name])[hidden[name]].mean()
        assert is_right > X[name].value_counts(normalize=True).max()


def test_an_imputer_keeps_unknown_categories_and_the_dtype_of_the_frame():
    rows = X.astype({"rooms": "float64", "size": object})[:4]
    rows.iloc[0, 0], rows.iloc[1, 0], rows.iloc[2, 2] = "huge", None, np.nan
    filled = fitted_imputer().transform(rows)
    assert filled["size"].iloc[0] == "huge"
    assert filled["size"].iloc[1] in LEVELS
    assert filled["rooms"].dtype == np.float64
    assert filled["rooms"].iloc[2] == round(filled["rooms"].iloc[2])


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("kind", [pd.DataFrame, as_polars], ids=["pandas", "polars"])
@pytest.mark.filterwarnings("ignore:X has no value in columns")
def test_an_imputer_appends_indicators_and_drops_empty_columns(kind, keep):
    rows = kind(INCOMPLETE.assign(none=np.nan))
    if kind is as_polars:
        rows = rows.cast({"none": pl.Float64})
    imputer = AutoencoderImputer(**QUICK, add_indicator=True, keep_empty_features=keep)
    filled = imputer.fit(rows).transform(rows)
    names = ["size", "price", "rooms", "city", "garden", *["none"] * keep]
    assert list(filled.columns) == imputer.get_feature_names_out().tolist()
    assert list(filled.columns)[: len(names)] == names
    indicators = [f"missingindicator_{name}" for name in INCOMPLETE]
    np.testing.assert_array_equal(filled[indicators].to_numpy(), INCOMPLETE.isna())
    if keep:
        assert set(filled["none"]) == {0.0}


def test_an_imputer_works_with_scikit_learns_tools():
    imputer = pickle.loads(pickle.dumps(fitted_imputer()))
    assert imputer.is_categorical_.tolist() == [True, False, False, True, True]
    assert [list(c) for c in imputer.categories_] == [LEVELS, ["north", "south"], [False, True]]
    filled = imputer.set_output(transform="polars").transform(INCOMPLETE)
    assert isinstance(filled, pl.DataFrame)
    assert filled.columns == INCOMPLETE.columns.tolist()
    array = INCOMPLETE[["price", "city"]].to_numpy(dtype=object, na_value=None)
    imputer = AutoencoderImputer(**QUICK, categorical_features=[1])
    filled = imputer.fit_transform(array)
    assert set(filled[:, 1]) == {"north", "south"}


def test_an_imputer_refuses_other_frames_and_markers():
    with pytest.raises(ValueError, match="missing_values=-1 is for a table of numbers"):
        AutoencoderImputer(**QUICK, missing_values=-1).fit(INCOMPLETE)
    with pytest.raises(ValueError, match="A pair of bounds"):
        AutoencoderImputer(**QUICK, bounds=(0, 1)).fit(INCOMPLETE)
    with pytest.raises(ValueError, match=r"'size', 'city'.*from_dtype"):
        AutoencoderImputer(**QUICK, categorical_features=None).fit(X)
    with pytest.raises(ValueError, match="X is no data frame"):
        fitted_imputer().transform(INCOMPLETE.to_numpy())
    with pytest.raises(ValueError, match=r"(?s)X_val .*city"):
        AutoencoderImputer(**QUICK).fit(INCOMPLETE, X_val=INCOMPLETE.drop(columns="city"))


REFUSED = {
    "another order": (X[X.columns[::-1]], "order"),
    "a missing column": (X.drop(columns="city"), "city"),
    "another column": (X.assign(street="a"), "street"),
    "an array": (X.to_numpy(), r"X is no data frame.*'size', 'city', 'garden'"),
    "text in a column of numbers": (X.assign(price="much"), "column 'price'.*much"),
    "infinity": (X.assign(price=np.inf), "column 'price'.*infinity"),
    "dates": (X.assign(price=pd.Timestamp("2020-01-01")), "price"),
    "no rows": (X[:0], "0 sample"),
}


@pytest.mark.parametrize(("rows", "message"), REFUSED.values(), ids=REFUSED)
def test_invalid_rows_are_an_error_that_names_the_column(rows, message):
    with pytest.raises((TypeError, ValueError), match=message):
        fitted().transform(rows)


INVALID = {
    "bounds": ({"bounds": (0, 1)}, X, "A pair of bounds.*'size', 'city', 'garden'"),
    "types": ({}, X.assign(city=["a", 1] * 60), "column 'city'.* int, str"),
    "dates": ({}, X.assign(city=pd.Timestamp("2020-01-01")), "city"),
    "unknown name": ({"categorical_features": ["street"]}, X, "street"),
    "off": ({"categorical_features": None}, X, r"'size', 'city'.*'from_dtype'"),
    "no value": ({}, X[["city"]].astype("category").mask(X[["city"]].notna()), "no value"),
}


@pytest.mark.parametrize(("params", "rows", "message"), INVALID.values(), ids=INVALID)
def test_invalid_training_tables_are_an_error(params, rows, message):
    with pytest.raises((TypeError, ValueError), match=message):
        AutoencoderTransformer(2, **QUICK, **params).fit(rows)


def test_what_a_table_with_categories_cannot_do_is_an_error():
    with pytest.raises(ValueError, match=r"categories.*Encode"):
        fitted().to_keras()
    with pytest.raises(ValueError, match=r"categories.*Encode"):
        to_onnx(fitted(), np.zeros((1, 5)))


def in_partitions(X):
    """Return a Dask frame with known and unknown categories, one partition of which is empty."""
    frames = [X[:50], X[50:50], X[50:]]
    return dd.from_map(lambda i: frames[i], range(3), meta=X[:0])


def check_equal(parts, theirs):
    """Compare a Dask frame, whose text may have another dtype, and a frame."""
    ours = parts.compute()
    pd.testing.assert_frame_equal(ours, theirs.astype(ours.dtypes), rtol=1e-5)


def test_results_for_a_dask_frame_equal_those_for_a_frame():
    ae, parts = fitted(), in_partitions(X)
    for method in ("transform", "score_samples"):
        ours = getattr(ae, method)(parts).compute()
        np.testing.assert_allclose(ours, getattr(ae, method)(X), rtol=1e-5, atol=1e-9)
        assert ours.index.equals(X.index)
    check_equal(ae.reconstruct(parts), ae.reconstruct(X))
    codes = ae.transform(parts)
    expected = ae.inverse_transform(ae.transform(X))
    check_equal(ae.inverse_transform(codes), expected.set_axis(X.index))
    of_array = ae.inverse_transform(codes.to_dask_array())
    check_equal(of_array, expected.set_axis(of_array.compute().index))
    assert ae.score(parts) == pytest.approx(ae.score(X))
    np.testing.assert_allclose(ae.column_errors(parts), ae.column_errors(X))


def test_a_dask_frame_of_other_columns_is_an_error():
    with pytest.raises(ValueError, match="same order"):
        fitted().transform(in_partitions(X[X.columns[::-1]]))


def test_a_dask_frame_without_a_client_is_computed():
    with pytest.warns(UserWarning, match=r"no distributed\.Client"):
        ae = clone(fitted()).fit(in_partitions(X))
    np.testing.assert_array_equal(ae.transform(X), fitted().transform(X))


def test_a_dask_frame_is_imputed_as_a_frame():
    imputer = AutoencoderImputer(2, **QUICK, add_indicator=True)
    with pytest.warns(UserWarning, match=r"no distributed\.Client"):
        imputer.fit(in_partitions(X))
    check_equal(imputer.transform(in_partitions(X)), imputer.transform(X))
    assert imputer.autoencoder_.transform(X).shape == (120, 2)


def test_a_checkpoint_keeps_the_encoding(tmp_path):
    pytest.importorskip("sklearn.callback")  # of scikit-learn 1.9
    ae = clone(fitted()).set_callbacks(Checkpoint(tmp_path / "file")).fit(X)
    pd.testing.assert_frame_equal(joblib.load(tmp_path / "file").reconstruct(X), ae.reconstruct(X))


def test_a_column_without_values_and_a_constant_column_are_accepted():
    rows = X.assign(empty=pd.Series([None] * 120, dtype="string"), one="a")
    with pytest.warns(UserWarning, match=r"no value in columns \['empty'\]"):
        ae = AutoencoderTransformer(2, **QUICK).fit(rows)
    again = ae.reconstruct(rows)
    assert again["empty"].isna().all()
    assert (again["one"] == "a").all()
    errors = ae.column_errors(rows)
    assert errors[-1] == 0
    assert np.isnan(errors[-2])


WORDS, NUMBERS = list("xxy") * 10, np.linspace(-1, 1, 30)
SIMPLE = pd.DataFrame({"number": NUMBERS, "word": WORDS})


@pytest.mark.parametrize(
    ("trained", "rows", "expected"),
    [
        ({"a": NUMBERS}, pl.Series("a", [None, 1.0]), pl.Float64),  # null in a column without dtype
        ({"a": NUMBERS}, pl.Series("a", [None, None]), pl.Float64),
        ({"a": NUMBERS}, pl.Series("a", [None, 2], pl.Int64), pl.Float64),
        ({"a": np.arange(30) * 1000}, pl.Series("a", [None, 2], pl.Int8), pl.Int64),
        ({"a": WORDS}, pl.Series("a", [None, "y"], pl.Enum(["y"])), pl.String),
    ],
)
def test_an_imputed_value_that_a_dtype_cannot_hold_changes_the_dtype(trained, rows, expected):
    X, word = pl.DataFrame({**trained, "word": WORDS}), pl.Series("word", ["x", "x"])
    filled = AutoencoderImputer(**QUICK).fit(X).transform(pl.DataFrame([rows, word]))
    assert filled["a"].null_count() == 0
    assert filled["a"].dtype == expected
    if rows[1] is not None:
        assert filled["a"][1] == rows[1]


@pytest.mark.parametrize(
    ("trained", "rows", "expected"),
    [
        (NUMBERS, pd.array([None, 2], dtype="Int64"), "float64"),
        (np.arange(30) * 1000, pd.array([None, 2], dtype="Int8"), "int64"),
    ],
)
def test_a_pandas_dtype_that_cannot_hold_an_imputed_value_is_replaced(trained, rows, expected):
    imputer = AutoencoderImputer(**QUICK).fit(pd.DataFrame({"a": trained, "word": WORDS}))
    filled = imputer.transform(pd.DataFrame({"a": rows, "word": ["x", "x"]}))
    assert filled["a"].dtype == expected
    assert filled["a"].notna().all()
    assert filled["a"][1] == 2


def test_integer_categories_above_the_precision_of_floats_are_kept():
    codes = [-1 if i % 5 == 0 else i % 3 for i in range(30)]
    categories = pd.Index([2**53, 2**53 + 1, 2**53 + 2])
    X = SIMPLE.assign(key=pd.Categorical.from_codes(codes, categories=categories))
    imputer = AutoencoderImputer(**QUICK).fit(X)
    assert list(imputer.categories_[1]) == list(categories)
    filled, is_observed = imputer.transform(X)["key"], X["key"].notna()
    assert (filled.cat.codes == X["key"].cat.codes)[is_observed].all()
    assert filled.notna().all()


@pytest.mark.parametrize("most", [2**63 - 1, 2**53 + 1])
def test_integers_above_the_precision_of_floats_are_reconstructed_in_their_range(most):
    X = SIMPLE.assign(key=np.full(30, most))
    rows = AutoencoderTransformer(**QUICK).fit(X).reconstruct(X)
    assert (rows["key"] == most).all()


def test_missing_values_of_an_array_of_strings_are_filled():
    X = np.array([[1.5, "x"], [np.nan, "y"], [0.25, "x"]] * 8)
    imputer = AutoencoderImputer(**QUICK, categorical_features=[1]).fit(X)
    filled = imputer.transform(X)
    assert 0.25 <= float(filled[1, 0]) <= 1.5
    assert filled[0].tolist() == ["1.5", "x"]
    X = np.array([[f"{10.0 ** -(i % 5)}", "xy"[i % 2]] for i in range(20)])
    rows = AutoencoderTransformer(**QUICK, categorical_features=[1]).fit(X).reconstruct(X)
    assert rows[:, 0].astype(float).max() <= 1


def test_an_indicator_with_the_name_of_a_column_is_an_error():
    X = SIMPLE.mask(SIMPLE["number"] > 0.5).assign(missingindicator_number=1.0)
    with pytest.raises(ValueError, match="'missingindicator_number'"):
        AutoencoderImputer(**QUICK, add_indicator=True).fit_transform(X)


def test_all_names_are_strings_if_indicators_are_added_to_columns_without_names():
    X = SIMPLE.mask(SIMPLE["number"] > 0.5).set_axis([0, 1], axis=1)
    imputer = AutoencoderImputer(**QUICK, add_indicator=True)
    assert list(imputer.fit_transform(X)) == list(imputer.get_feature_names_out())


def test_integers_in_a_column_of_objects_are_filled_with_integers():
    X = SIMPLE.assign(key=pd.Series([None, 1, 2, 3, 4] * 6, dtype=object))
    filled = AutoencoderImputer(**QUICK).fit_transform(X)["key"]
    assert set(map(type, filled)) == {int}


def test_an_empty_polars_column_is_filled_with_zeros():
    X = pl.DataFrame({"number": NUMBERS, "word": WORDS, "empty": [None] * 30})
    filled = AutoencoderImputer(**QUICK, keep_empty_features=True).fit_transform(X)
    assert filled["empty"].to_list() == [0.0] * 30


def test_nan_in_an_arrow_column_is_filled():
    pa = pytest.importorskip("pyarrow")
    numbers = pa.array(np.where(np.arange(30) % 5 == 0, np.nan, NUMBERS))
    X = SIMPLE.assign(number=pd.Series(pd.arrays.ArrowExtensionArray(numbers)))
    filled = AutoencoderImputer(**QUICK).fit_transform(X)["number"].to_numpy()
    assert not np.isnan(filled).any()
