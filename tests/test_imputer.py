"""The imputer, and missing values in the transformer."""

import pickle
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale

from skae import (
    AutoencoderImputer,
    AutoencoderTransformer,
    OutlierDetector,
    VariationalAutoencoder,
)

# of 400 rows, one split holds out enough, so that a fit makes and compiles one run
QUICK = {
    "max_steps": 20,
    "hidden_layer_sizes": (8,),
    "validation_fraction": 0.25,
    "random_state": 0,
}


def curved(n_rows=400, n_features=10, seed=0):
    """Rows on a curved surface, whose columns vary by one."""
    rng = np.random.default_rng(seed)
    X = np.sin(rng.uniform(-2, 2, size=(n_rows, 2)) @ rng.normal(size=(2, n_features)))
    return scale(X)


def with_gaps(X, share=0.2, seed=0):
    missing = np.random.default_rng([seed, 1]).random(X.shape) < share
    return np.where(missing, np.nan, X), missing


@pytest.fixture(scope="module")
def gaps():
    return with_gaps(curved())


@pytest.fixture(scope="module")
def imputer(gaps):
    return AutoencoderImputer(**QUICK).fit(gaps[0])


def error(filled, X, missing):
    return np.square(filled - X)[missing].mean() / np.square(X[missing]).mean()


# ---- the imputer


@given(st.integers(0, 10**6), st.floats(0, 1))
@settings(max_examples=30)
def test_what_is_there_stays_and_what_is_not_is_filled(imputer, seed, share):
    X = curved(20, seed=seed)
    gaps, missing = with_gaps(X, share, seed)
    for dtype in (np.float64, np.float32):
        filled = imputer.transform(gaps.astype(dtype))
        assert filled.dtype == dtype
        assert np.isfinite(filled).all()
        np.testing.assert_array_equal(filled[~missing], X.astype(dtype)[~missing])


@pytest.mark.parametrize("n_components", ["auto", 2, 10])
def test_starts_at_probabilistic_pca(gaps, n_components):
    X, _ = gaps
    imputer = AutoencoderImputer(n_components, **QUICK)
    imputer.set_params(max_steps=1, validation_fraction=0, learning_rate_init=1e-12)
    filled = imputer.fit_transform(X)
    expected = imputer.autoencoder_._network.filling(X)
    np.testing.assert_allclose(filled, expected, atol=1e-5)


def test_a_clone_of_the_network_is_fitted_as_the_imputer_fits_it(gaps):
    imputer = AutoencoderImputer(2, **QUICK).fit(gaps[0])
    again = clone(imputer.autoencoder_).fit(gaps[0])
    np.testing.assert_array_equal(
        again.reconstruct(gaps[0]), imputer.autoencoder_.reconstruct(gaps[0])
    )


@pytest.mark.slow
def test_learns_what_probabilistic_pca_cannot(gaps):
    X, missing = gaps
    imputer = AutoencoderImputer(random_state=0).fit(X)
    start = imputer.autoencoder_._network.filling(X)
    assert error(imputer.transform(X), curved(), missing) < 0.8 * error(start, curved(), missing)


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["random", "by value", "blocks"])
def test_is_not_worse_than_probabilistic_pca_in_the_median(pattern):
    X, ratios = scale(load_breast_cancer().data), []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        share = {"random": 0.3, "by value": 0.6 * (X > 0.5), "blocks": 0.0}[pattern]
        missing = rng.random(X.shape) < share
        if pattern == "blocks":
            missing[rng.random(len(X)) < 0.5, 5:15] = True
        imputer = AutoencoderImputer(random_state=seed).fit(np.where(missing, np.nan, X))
        gaps = np.where(missing, np.nan, X)
        start = imputer.autoencoder_._network.filling(gaps)
        ratios.append(error(imputer.transform(gaps), X, missing) / error(start, X, missing))
    assert np.median(ratios) <= 1.01


@pytest.fixture(scope="module")
def dropping(gaps):
    """An imputer whose fourth column had no value in training."""
    X = gaps[0].copy()
    X[:, 3] = np.nan
    with pytest.warns(UserWarning, match=r"no value in columns \[3\]: transform drops them"):
        return AutoencoderImputer(**QUICK).fit(X, X_val=gaps[0][:100])


def test_columns_without_values_are_dropped_or_zero(gaps, dropping):
    X = gaps[0].copy()
    X[5:, 3] = np.nan
    assert dropping.transform(X).shape == (400, 9)
    assert "x3" not in dropping.get_feature_names_out()
    kept = clone_with(dropping, keep_empty_features=True).transform(X)
    np.testing.assert_array_equal(kept[:, 3], np.nan_to_num(X[:, 3]))
    np.testing.assert_array_equal(np.delete(kept, 3, axis=1), dropping.transform(X))


def clone_with(fitted, **params):
    """Return a copy of a fitted estimator with other parameters."""
    return pickle.loads(pickle.dumps(fitted)).set_params(**params)


@given(st.integers(0, 10**6), st.sampled_from([1.0, -100.0, 1e30, 1e300]))
@settings(max_examples=20)
def test_a_value_in_a_dropped_column_changes_no_other_column(dropping, seed, value):
    X, _ = with_gaps(curved(20, seed=seed), seed=seed)
    changed = X.copy()
    X[:, 3], changed[:, 3] = np.nan, value
    np.testing.assert_array_equal(dropping.transform(changed), dropping.transform(X))
    keeping = clone_with(dropping, keep_empty_features=True)
    kept = np.delete(keeping.transform(changed), 3, axis=1)
    np.testing.assert_array_equal(kept, dropping.transform(X))


@pytest.mark.parametrize("container", [tuple, np.array])
def test_bounds_of_each_column_belong_to_the_columns_that_are_kept(gaps, container):
    X, high = gaps[0].copy(), np.linspace(0.1, 1, 10)
    X[:, 3] = np.nan
    bounds = container([np.full(10, -9.0), high])
    params = QUICK | {"validation_fraction": 0, "bounds": bounds}
    with pytest.warns(UserWarning, match="no value"):
        imputer = AutoencoderImputer(**params).fit(X)
    np.testing.assert_array_equal(imputer.autoencoder_.bounds_[1], np.delete(high, 3))
    with pytest.warns(UserWarning, match="no value"), pytest.raises(ValueError, match=r"= \(10,\)"):
        AutoencoderImputer(bounds=(None, high[:9]), **QUICK).fit(X)


def test_a_table_without_any_value_is_filled_with_zeros_if_its_columns_are_kept():
    X = np.full((5, 2), np.nan)
    imputer = AutoencoderImputer(keep_empty_features=True, add_indicator=True)
    np.testing.assert_array_equal(imputer.fit_transform(X), [[0, 0, 1, 1]] * 5)
    np.testing.assert_array_equal(imputer.transform([[3, np.nan]]), [[3, 0, 0, 1]])
    assert len(imputer.get_feature_names_out()) == 4
    simple = SimpleImputer(keep_empty_features=True).fit_transform(X)
    np.testing.assert_array_equal(imputer.set_params(add_indicator=False).fit_transform(X), simple)


@pytest.mark.parametrize(
    "estimator",
    [
        AutoencoderImputer(**QUICK),
        AutoencoderTransformer(4, **QUICK),
        pytest.param(VariationalAutoencoder(2, **QUICK), marks=pytest.mark.slow),
        pytest.param(OutlierDetector(2, **QUICK), marks=pytest.mark.slow),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_warnings_name_empty_columns_of_frames_by_their_names(gaps, estimator):
    X = pd.DataFrame(gaps[0], columns=list("abcdefghij")).assign(d=np.nan)
    with pytest.warns(UserWarning, match=r"no value in columns \['d'\]"):
        estimator.fit(X)


def test_a_sentinel_stands_for_what_is_missing(gaps):
    X, missing = gaps
    numbers = np.round(100 * curved()).astype(int) + 1000
    by_sentinel = AutoencoderImputer(missing_values=-1, **QUICK)
    filled = by_sentinel.fit_transform(np.where(missing, -1, numbers))
    by_nan = AutoencoderImputer(**QUICK).fit_transform(np.where(missing, np.nan, numbers))
    np.testing.assert_array_equal(filled, by_nan)
    with pytest.raises(ValueError, match="NaN"):
        by_sentinel.fit(X)


@pytest.mark.parametrize("value", [-99.9, np.float64(-99.9), np.float32(-99.9), -1, np.int8(-1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_sentinel_of_any_type_is_found_in_rows_of_any_type(gaps, imputer, value, dtype):
    X = np.where(gaps[1], value, curved()).astype(dtype)
    by_sentinel = clone_with(imputer, missing_values=value)
    expected = np.where(gaps[1], imputer.transform(gaps[0].astype(dtype)), X)
    np.testing.assert_array_equal(by_sentinel.transform(X), expected)
    frame = pd.DataFrame(X).astype({3: np.float64})  # of all columns, one type is made
    np.testing.assert_array_equal(by_sentinel.transform(frame) != X, gaps[1])


def test_a_sentinel_is_found_in_rows_of_half_precision(gaps, imputer):
    X = np.where(gaps[1], -99.9, curved()).astype(np.float16)
    filled = clone_with(imputer, missing_values=-99.9).transform(X)
    np.testing.assert_array_equal(filled != X, gaps[1])


@pytest.mark.parametrize("value", [np.inf, -np.inf, 10**400], ids=["inf", "-inf", "10**400"])
def test_numbers_that_no_table_holds_cannot_stand_for_missing_values(gaps, value):
    with pytest.raises(ValueError, match="missing_values must be NaN or a finite float64 number"):
        AutoencoderImputer(missing_values=value, **QUICK).fit(gaps[0])


def test_missing_values_may_be_named_by_pandas(gaps, imputer):
    frame = pd.DataFrame(gaps[0]).convert_dtypes()
    filled = clone_with(imputer, missing_values=pd.NA).transform(frame)
    np.testing.assert_array_equal(filled, imputer.transform(gaps[0]))


def test_indicators_and_names_are_those_of_scikit_learn(gaps):
    frame = pd.DataFrame(gaps[0], columns=list("abcdefghij"))
    imputer = AutoencoderImputer(add_indicator=True, **QUICK).set_output(transform="pandas")
    filled = imputer.fit_transform(frame)
    assert list(filled.columns) == [*"abcdefghij", *(f"missingindicator_{c}" for c in "abcdefghij")]
    np.testing.assert_array_equal(filled.to_numpy()[:, 10:], gaps[1])


def test_bad_tables_are_refused(gaps):
    imputer = AutoencoderImputer(**QUICK)
    with pytest.raises(ValueError, match="no value at all"):
        imputer.fit(np.full((5, 2), np.nan))
    with pytest.raises(ValueError, match="infinity"):
        imputer.fit(np.where(gaps[1], np.inf, gaps[0]))
    with pytest.raises(ValueError, match="could not convert"):
        imputer.fit([["a", "b"], ["c", "d"]])
    with pytest.raises(TypeError, match="dense data is required"):
        imputer.fit(sparse.csr_matrix(gaps[0]))
    assert not hasattr(imputer, "autoencoder_")


@pytest.mark.slow
def test_filling_takes_hardly_more_memory_than_the_filled_rows(gaps, imputer):
    X = np.tile(gaps[0], (2500, 1))
    tracemalloc.start()
    try:
        filled = imputer.transform(X)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert np.isfinite(filled).all()
    assert peak < 3 * X.nbytes  # the filled rows, a mask, and the arrays of a block


def test_works_in_a_pipeline_and_from_a_pickle(gaps, imputer):
    X = gaps[0]
    y = curved()[:, 0] > 0
    pipe = make_pipeline(StandardScaler(), AutoencoderImputer(**QUICK), LogisticRegression())
    assert pipe.fit(X, y).score(X, y) > 0.7
    again = pickle.loads(pickle.dumps(imputer))
    np.testing.assert_array_equal(again.transform(X), imputer.transform(X))


def test_the_same_seed_gives_the_same_bits(gaps, imputer):
    again = AutoencoderImputer(**QUICK).fit(gaps[0])
    np.testing.assert_array_equal(again.transform(gaps[0]), imputer.transform(gaps[0]))


# ---- the transformer


def test_gaps_are_filled_before_rows_are_encoded(gaps):
    X, missing = gaps
    ae = AutoencoderTransformer(4, **QUICK).fit(X)
    rows = ae.reconstruct(X)
    assert np.isfinite(rows).all()
    complete = ae._network.filling(X)
    np.testing.assert_allclose(ae.transform(X), ae.transform(complete))
    errors = np.where(missing, 0, rows - X)
    expected = -np.square(errors).sum(axis=1) * 10 / (~missing).sum(axis=1)
    np.testing.assert_allclose(ae.score_samples(X), expected, rtol=1e-6)


def test_gaps_come_only_after_training(gaps):
    ae = AutoencoderTransformer(4, **QUICK).fit(curved())
    filled = np.where(gaps[1], ae.reconstruct(gaps[0]), curved())
    assert error(filled, curved(), gaps[1]) < 0.7


def test_starts_at_the_pca_of_filled_rows(gaps):
    ae = AutoencoderTransformer(4, **QUICK, whiten=False).fit(gaps[0])
    ae.set_params(max_steps=1, learning_rate_init=1e-12, validation_fraction=0).fit(gaps[0])
    filled = ae._network.filling(gaps[0])
    pca = PCA(4).fit(filled)
    np.testing.assert_allclose(ae.transform(gaps[0]), pca.transform(filled), atol=1e-4)


@pytest.mark.parametrize("init", ["pca", "glorot"])
def test_a_row_without_values_is_near_the_mean_and_scores_zero(gaps, init):
    ae = AutoencoderTransformer(4, init=init, **QUICK).fit(gaps[0])
    empty = np.full((1, 10), np.nan)
    assert np.isfinite(ae.reconstruct(empty)).all()
    assert ae.score_samples(empty) == 0


@pytest.mark.slow
def test_sparse_rows_may_hold_nan(gaps):
    dense = AutoencoderTransformer(4, **QUICK).fit(gaps[0])
    table = sparse.csr_matrix(gaps[0])
    ae = AutoencoderTransformer(4, **QUICK).fit(table)
    np.testing.assert_array_equal(ae.transform(table), dense.transform(gaps[0]))


@pytest.mark.slow
def test_a_stream_may_have_gaps(gaps):
    ae = AutoencoderTransformer(4, **QUICK)
    for batch in (curved()[:100], gaps[0][100:200], gaps[0][200:], np.full((3, 10), np.nan)):
        ae.partial_fit(batch)
    assert np.isfinite(ae.reconstruct(gaps[0])).all()
    assert np.isfinite(ae.mean_).all()


@pytest.mark.slow
def test_wide_rows_with_gaps_are_filled():
    rng = np.random.default_rng(0)
    X, _ = with_gaps(rng.normal(size=(30, 3)) @ rng.normal(size=(3, 200)))
    ae = AutoencoderTransformer(3, **QUICK).fit(X)
    assert ae.score(X) > 0.9


def test_complete_wide_tables_fill_rows_with_gaps():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 3)) @ rng.normal(size=(3, 200))
    gaps, missing = with_gaps(X)
    ae = AutoencoderTransformer(3, **QUICK).fit(X)
    assert error(ae.reconstruct(gaps), X, missing) < 0.01


def test_exports_refuse_what_they_would_not_fill(gaps):
    ae = AutoencoderTransformer(4, **QUICK).fit(gaps[0])
    with pytest.raises(ValueError, match="missing values"):
        ae.to_keras()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_exports_refuse_a_network_that_went_on_from_rows_with_missing_values(gaps, method):
    ae = AutoencoderTransformer(4, warm_start=True, **QUICK).fit(gaps[0])
    getattr(ae, method)(curved())
    with pytest.raises(ValueError, match="an earlier call of fit or partial_fit"):
        ae.to_keras()
    ae.set_params(warm_start=False).fit(curved()).to_keras()


def test_auto_is_for_hidden_entries(gaps):
    with pytest.raises(ValueError, match="n_components='auto'"):
        AutoencoderTransformer("auto").fit(gaps[0])
    with pytest.raises(ValueError, match="a share of the entries"):
        AutoencoderTransformer(corruption="missing", noise=1.5).fit(gaps[0])
