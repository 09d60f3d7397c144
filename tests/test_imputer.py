"""Tests of AutoencoderImputer, and of missing values in AutoencoderTransformer."""

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

# one split of 400 rows has enough validation rows, so that a fit makes and compiles one run
QUICK = {
    "max_steps": 20,
    "hidden_layer_sizes": (8,),
    "validation_fraction": 0.25,
    "random_state": 0,
}


def curved(n_rows=400, n_features=10, seed=0):
    """Return rows on a curved surface, whose columns have unit variance."""
    rng = np.random.default_rng(seed)
    X = np.sin(rng.uniform(-2, 2, size=(n_rows, 2)) @ rng.normal(size=(2, n_features)))
    return scale(X)


def with_missing(X, share=0.2, seed=0):
    missing = np.random.default_rng([seed, 1]).random(X.shape) < share
    return np.where(missing, np.nan, X), missing


@pytest.fixture(scope="module")
def incomplete():
    return with_missing(curved())


@pytest.fixture(scope="module")
def imputer(incomplete):
    return AutoencoderImputer(**QUICK).fit(incomplete[0])


def error(filled, X, missing):
    return np.square(filled - X)[missing].mean() / np.square(X[missing]).mean()


# ---- the imputer


@given(st.integers(0, 10**6), st.floats(0, 1))
@settings(max_examples=30)
def test_observed_values_are_unchanged_and_missing_values_are_imputed(imputer, seed, share):
    X = curved(20, seed=seed)
    incomplete, missing = with_missing(X, share, seed)
    for dtype in (np.float64, np.float32):
        filled = imputer.transform(incomplete.astype(dtype))
        assert filled.dtype == dtype
        assert np.isfinite(filled).all()
        np.testing.assert_array_equal(filled[~missing], X.astype(dtype)[~missing])


@pytest.mark.parametrize("n_components", ["auto", 2, 10])
def test_starts_at_probabilistic_pca(incomplete, n_components):
    X, _ = incomplete
    imputer = AutoencoderImputer(n_components, **QUICK)
    imputer.set_params(max_steps=1, validation_fraction=0, learning_rate_init=1e-12)
    filled = imputer.fit_transform(X)
    expected = imputer.autoencoder_._network.imputer(X)
    np.testing.assert_allclose(filled, expected, atol=1e-5)


def test_a_clone_of_the_inner_autoencoder_has_the_same_fit(incomplete):
    imputer = AutoencoderImputer(2, **QUICK).fit(incomplete[0])
    again = clone(imputer.autoencoder_).fit(incomplete[0])
    np.testing.assert_array_equal(
        again.reconstruct(incomplete[0]), imputer.autoencoder_.reconstruct(incomplete[0])
    )


@pytest.mark.slow
def test_is_better_than_probabilistic_pca_on_curved_rows(incomplete):
    X, missing = incomplete
    imputer = AutoencoderImputer(random_state=0).fit(X)
    start = imputer.autoencoder_._network.imputer(X)
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
        incomplete = np.where(missing, np.nan, X)
        start = imputer.autoencoder_._network.imputer(incomplete)
        ratios.append(error(imputer.transform(incomplete), X, missing) / error(start, X, missing))
    assert np.median(ratios) <= 1.01


@pytest.fixture(scope="module")
def dropping_imputer(incomplete):
    """Return a function that returns an imputer whose fourth column had no training value."""
    X = incomplete[0].copy()
    X[:, 3] = np.nan
    with pytest.warns(UserWarning, match=r"no value in columns \[3\]: transform drops them"):
        return AutoencoderImputer(**QUICK).fit(X, X_val=incomplete[0][:100])


def test_columns_without_values_are_dropped_or_zero(incomplete, dropping_imputer):
    X = incomplete[0].copy()
    X[5:, 3] = np.nan
    assert dropping_imputer.transform(X).shape == (400, 9)
    assert "x3" not in dropping_imputer.get_feature_names_out()
    kept = clone_with(dropping_imputer, keep_empty_features=True).transform(X)
    np.testing.assert_array_equal(kept[:, 3], np.nan_to_num(X[:, 3]))
    np.testing.assert_array_equal(np.delete(kept, 3, axis=1), dropping_imputer.transform(X))


def clone_with(fitted, **params):
    """Return a copy of a fitted estimator with other parameters."""
    return pickle.loads(pickle.dumps(fitted)).set_params(**params)


@given(st.integers(0, 10**6), st.sampled_from([1.0, -100.0, 1e30, 1e300]))
@settings(max_examples=20)
def test_a_value_in_a_dropped_column_changes_no_other_column(dropping_imputer, seed, value):
    X, _ = with_missing(curved(20, seed=seed), seed=seed)
    changed = X.copy()
    X[:, 3], changed[:, 3] = np.nan, value
    np.testing.assert_array_equal(
        dropping_imputer.transform(changed), dropping_imputer.transform(X)
    )
    keeping_imputer = clone_with(dropping_imputer, keep_empty_features=True)
    kept = np.delete(keeping_imputer.transform(changed), 3, axis=1)
    np.testing.assert_array_equal(kept, dropping_imputer.transform(X))


@pytest.mark.parametrize("container", [tuple, np.array])
def test_bounds_per_column_are_those_of_the_kept_columns(incomplete, container):
    X, high = incomplete[0].copy(), np.linspace(0.1, 1, 10)
    X[:, 3] = np.nan
    bounds = container([np.full(10, -9.0), high])
    params = QUICK | {"validation_fraction": 0, "bounds": bounds}
    with pytest.warns(UserWarning, match="no value"):
        imputer = AutoencoderImputer(**params).fit(X)
    np.testing.assert_array_equal(imputer.autoencoder_.bounds_[1], np.delete(high, 3))
    with pytest.warns(UserWarning, match="no value"), pytest.raises(ValueError, match=r"= \(10,\)"):
        AutoencoderImputer(bounds=(None, high[:9]), **QUICK).fit(X)


def test_a_table_without_any_value_is_imputed_with_zeros_if_empty_features_are_kept():
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
def test_warnings_name_empty_columns_of_frames_by_their_names(incomplete, estimator):
    X = pd.DataFrame(incomplete[0], columns=list("abcdefghij")).assign(d=np.nan)
    with pytest.warns(UserWarning, match=r"no value in columns \['d'\]"):
        estimator.fit(X)


def test_a_number_can_mark_missing_values(incomplete):
    X, missing = incomplete
    numbers = np.round(100 * curved()).astype(int) + 1000
    by_marker = AutoencoderImputer(missing_values=-1, **QUICK)
    filled = by_marker.fit_transform(np.where(missing, -1, numbers))
    by_nan = AutoencoderImputer(**QUICK).fit_transform(np.where(missing, np.nan, numbers))
    np.testing.assert_array_equal(filled, by_nan)
    with pytest.raises(ValueError, match="NaN"):
        by_marker.fit(X)


@pytest.mark.parametrize("value", [-99.9, np.float64(-99.9), np.float32(-99.9), -1, np.int8(-1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_missing_value_marker_may_have_any_type(incomplete, imputer, value, dtype):
    X = np.where(incomplete[1], value, curved()).astype(dtype)
    by_marker = clone_with(imputer, missing_values=value)
    expected = np.where(incomplete[1], imputer.transform(incomplete[0].astype(dtype)), X)
    np.testing.assert_array_equal(by_marker.transform(X), expected)
    frame = pd.DataFrame(X).astype({3: np.float64})  # all columns are converted to one type
    np.testing.assert_array_equal(by_marker.transform(frame) != X, incomplete[1])


def test_a_missing_value_marker_is_found_in_rows_of_half_precision(incomplete, imputer):
    X = np.where(incomplete[1], -99.9, curved()).astype(np.float16)
    filled = clone_with(imputer, missing_values=-99.9).transform(X)
    np.testing.assert_array_equal(filled != X, incomplete[1])


@pytest.mark.parametrize("value", [np.inf, -np.inf, 10**400], ids=["inf", "-inf", "10**400"])
def test_a_missing_value_marker_must_be_a_finite_float(incomplete, value):
    with pytest.raises(ValueError, match="missing_values must be NaN or a finite float64 number"):
        AutoencoderImputer(missing_values=value, **QUICK).fit(incomplete[0])


def test_pandas_na_can_mark_missing_values(incomplete, imputer):
    frame = pd.DataFrame(incomplete[0]).convert_dtypes()
    filled = clone_with(imputer, missing_values=pd.NA).transform(frame)
    np.testing.assert_array_equal(filled, imputer.transform(incomplete[0]))


def test_indicators_and_names_are_those_of_scikit_learn(incomplete):
    frame = pd.DataFrame(incomplete[0], columns=list("abcdefghij"))
    imputer = AutoencoderImputer(add_indicator=True, **QUICK).set_output(transform="pandas")
    filled = imputer.fit_transform(frame)
    assert list(filled.columns) == [*"abcdefghij", *(f"missingindicator_{c}" for c in "abcdefghij")]
    np.testing.assert_array_equal(filled.to_numpy()[:, 10:], incomplete[1])


def test_invalid_tables_are_an_error(incomplete):
    imputer = AutoencoderImputer(**QUICK)
    with pytest.raises(ValueError, match="no value at all"):
        imputer.fit(np.full((5, 2), np.nan))
    with pytest.raises(ValueError, match="infinity"):
        imputer.fit(np.where(incomplete[1], np.inf, incomplete[0]))
    with pytest.raises(ValueError, match="could not convert"):
        imputer.fit([["a", "b"], ["c", "d"]])
    with pytest.raises(TypeError, match="dense data is required"):
        imputer.fit(sparse.csr_matrix(incomplete[0]))
    assert not hasattr(imputer, "autoencoder_")


@pytest.mark.slow
def test_imputation_uses_hardly_more_memory_than_the_imputed_rows(incomplete, imputer):
    X = np.tile(incomplete[0], (2500, 1))
    tracemalloc.start()
    try:
        filled = imputer.transform(X)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert np.isfinite(filled).all()
    assert peak < 3 * X.nbytes  # the imputed rows, a mask, and the arrays of a block


def test_works_in_a_pipeline_and_from_a_pickle(incomplete, imputer):
    X = incomplete[0]
    y = curved()[:, 0] > 0
    pipe = make_pipeline(StandardScaler(), AutoencoderImputer(**QUICK), LogisticRegression())
    assert pipe.fit(X, y).score(X, y) > 0.7
    again = pickle.loads(pickle.dumps(imputer))
    np.testing.assert_array_equal(again.transform(X), imputer.transform(X))


def test_the_same_seed_gives_the_same_bits(incomplete, imputer):
    again = AutoencoderImputer(**QUICK).fit(incomplete[0])
    np.testing.assert_array_equal(again.transform(incomplete[0]), imputer.transform(incomplete[0]))


# ---- the transformer


def test_missing_values_are_imputed_before_rows_are_encoded(incomplete):
    X, missing = incomplete
    ae = AutoencoderTransformer(4, **QUICK).fit(X)
    rows = ae.reconstruct(X)
    assert np.isfinite(rows).all()
    complete = ae._network.imputer(X)
    np.testing.assert_allclose(ae.transform(X), ae.transform(complete))
    errors = np.where(missing, 0, rows - X)
    expected = -np.square(errors).sum(axis=1) * 10 / (~missing).sum(axis=1)
    np.testing.assert_allclose(ae.score_samples(X), expected, rtol=1e-6)


def test_missing_values_may_be_in_new_rows_only(incomplete):
    ae = AutoencoderTransformer(4, **QUICK).fit(curved())
    filled = np.where(incomplete[1], ae.reconstruct(incomplete[0]), curved())
    assert error(filled, curved(), incomplete[1]) < 0.7


def test_starts_at_the_pca_of_imputed_rows(incomplete):
    ae = AutoencoderTransformer(4, **QUICK, whiten=False).fit(incomplete[0])
    ae.set_params(max_steps=1, learning_rate_init=1e-12, validation_fraction=0).fit(incomplete[0])
    filled = ae._network.imputer(incomplete[0])
    pca = PCA(4).fit(filled)
    np.testing.assert_allclose(ae.transform(incomplete[0]), pca.transform(filled), atol=1e-4)


@pytest.mark.parametrize("init", ["pca", "glorot"])
def test_a_row_without_values_is_near_the_mean_and_scores_zero(incomplete, init):
    ae = AutoencoderTransformer(4, init=init, **QUICK).fit(incomplete[0])
    empty = np.full((1, 10), np.nan)
    assert np.isfinite(ae.reconstruct(empty)).all()
    assert ae.score_samples(empty) == 0


@pytest.mark.slow
def test_sparse_rows_may_have_nan(incomplete):
    dense = AutoencoderTransformer(4, **QUICK).fit(incomplete[0])
    table = sparse.csr_matrix(incomplete[0])
    ae = AutoencoderTransformer(4, **QUICK).fit(table)
    np.testing.assert_array_equal(ae.transform(table), dense.transform(incomplete[0]))


@pytest.mark.slow
def test_a_stream_may_have_missing_values(incomplete):
    ae = AutoencoderTransformer(4, **QUICK)
    for batch in (
        curved()[:100],
        incomplete[0][100:200],
        incomplete[0][200:],
        np.full((3, 10), np.nan),
    ):
        ae.partial_fit(batch)
    assert np.isfinite(ae.reconstruct(incomplete[0])).all()
    assert np.isfinite(ae.mean_).all()


@pytest.mark.slow
def test_wide_rows_with_missing_values_are_imputed():
    rng = np.random.default_rng(0)
    X, _ = with_missing(rng.normal(size=(30, 3)) @ rng.normal(size=(3, 200)))
    ae = AutoencoderTransformer(3, **QUICK).fit(X)
    assert ae.score(X) > 0.9


def test_networks_of_complete_wide_tables_impute_new_rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 3)) @ rng.normal(size=(3, 200))
    incomplete, missing = with_missing(X)
    ae = AutoencoderTransformer(3, **QUICK).fit(X)
    assert error(ae.reconstruct(incomplete), X, missing) < 0.01


def test_exports_of_networks_trained_with_missing_values_are_an_error(incomplete):
    ae = AutoencoderTransformer(4, **QUICK).fit(incomplete[0])
    with pytest.raises(ValueError, match="missing values"):
        ae.to_keras()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_exports_of_networks_first_trained_with_missing_values_are_an_error(incomplete, method):
    ae = AutoencoderTransformer(4, warm_start=True, **QUICK).fit(incomplete[0])
    getattr(ae, method)(curved())
    with pytest.raises(ValueError, match="an earlier call of fit or partial_fit"):
        ae.to_keras()
    ae.set_params(warm_start=False).fit(curved()).to_keras()


def test_auto_requires_hidden_entries(incomplete):
    with pytest.raises(ValueError, match="n_components='auto'"):
        AutoencoderTransformer("auto").fit(incomplete[0])
    with pytest.raises(ValueError, match="a share of the entries"):
        AutoencoderTransformer(corruption="missing", noise=1.5).fit(incomplete[0])
