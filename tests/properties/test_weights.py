"""A row of weight 2 counts as two equal rows, and a row of weight 0 as no row."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from skae import (
    AutoencoderImputer,
    AutoencoderTransformer,
    OutlierDetector,
    Shard,
    VariationalAutoencoder,
)
from skae._data.table import Table
from skae._networks.ppca import PPCAParams, fit_ppca

N_ROWS = 90
RNG = np.random.default_rng(0)
DIGITS = load_digits().data[:N_ROWS, 2:40]
WIDE = RNG.normal(size=(N_ROWS, 8)) @ RNG.normal(size=(8, 80))
NUMBERS = RNG.normal(size=(N_ROWS, 2)) @ RNG.normal(size=(2, 4)) + 0.1 * RNG.normal(
    size=(N_ROWS, 4)
)
FRAME = pd.DataFrame(NUMBERS, columns=list("abcd"))
FRAME["e"] = np.where(FRAME["a"] > 0, "high", "low")
FRAME["f"] = pd.Categorical(RNG.choice(list("xyz"), N_ROWS))
TABLES = {
    "digits": DIGITS,
    "sparse": csr_matrix(DIGITS),
    "shares": DIGITS / 16,
    "wide": WIDE,
    "numbers": NUMBERS,
    "frame": FRAME,
}
WEIGHTS = RNG.integers(0, 4, N_ROWS)
REPEATED = np.repeat(np.arange(N_ROWS), WEIGHTS)
# a single step that changes nothing
START = {"max_steps": 1, "learning_rate_init": 1e-30, "validation_fraction": 0, "random_state": 0}
QUICK = {"max_steps": 12, "random_state": 0}


def results(estimator, rows):
    """Return what a fitted estimator computes for rows."""
    found = estimator.transform(rows) if hasattr(estimator, "transform") else []
    scores = estimator.score_samples(rows) if hasattr(estimator, "score_samples") else []
    found = found.select_dtypes("number") if hasattr(found, "select_dtypes") else found
    return np.concatenate([np.ravel(found), np.ravel(scores)])


def assert_close(found, expected, tolerance):
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * abs(expected).max())


def slow(*values):
    """Return the values of a slow test."""
    return pytest.param(*values, marks=pytest.mark.slow)


def rows_of(X, numbers):
    """Return some rows of an array, a sparse matrix or a frame."""
    return X.iloc[numbers] if hasattr(X, "iloc") else X[numbers]


@pytest.mark.parametrize(
    ("estimator", "name"),
    [
        (AutoencoderTransformer(8, **START), "digits"),
        slow(AutoencoderTransformer(8, **START), "sparse"),
        slow(AutoencoderTransformer(0.9, **START), "digits"),
        slow(AutoencoderTransformer(70, **START), "wide"),
        slow(AutoencoderTransformer(3, **START), "frame"),
        slow(AutoencoderTransformer(3, **START, min_frequency=0.4), "frame"),
        slow(VariationalAutoencoder(8, **START), "digits"),
        slow(VariationalAutoencoder(3, **START), "frame"),
        slow(VariationalAutoencoder(8, **START, likelihood="bernoulli"), "shares"),
        slow(OutlierDetector(3, **START), "numbers"),
        (OutlierDetector(3, **START, contamination="auto"), "frame"),
    ],
    ids=str,
)
def test_the_start_with_integer_weights_is_that_of_repeated_rows(estimator, name):
    X = TABLES[name]
    expected = results(estimator.fit(rows_of(X, REPEATED)), X)
    found = results(estimator.fit(X, sample_weight=WEIGHTS), X)
    assert_close(found, expected, 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("y", [None, NUMBERS @ np.ones(4)], ids=["no y", "y"])
@pytest.mark.parametrize("X", [DIGITS, FRAME], ids=["numbers", "frame"])
def test_training_with_integer_weights_is_that_of_repeated_rows(X, y):
    """All rows are in each minibatch; the splits hold out complete groups."""
    ae = AutoencoderTransformer(
        3, batch_size=10_000, max_steps=40, random_state=0, target_weight=0.0 if y is None else 1.0
    )
    groups = np.arange(N_ROWS) // 5
    repeated = ae.fit(
        rows_of(X, REPEATED), None if y is None else y[REPEATED], groups=groups[REPEATED]
    )
    curve, codes, step = repeated.validation_curve_, repeated.transform(X), repeated.best_step_
    ae.fit(X, y, groups=groups, sample_weight=WEIGHTS)
    assert ae.validation_curve_[0, 1] == pytest.approx(curve[0, 1])
    # Adam makes steps of the same size for gradients that are rounding errors
    assert_close(ae.validation_curve_, curve, 2e-3)
    assert ae.best_step_ == step
    assert step > 0 or y is not None
    assert_close(ae.transform(X), codes, 2e-2)


def test_missing_values_are_imputed_as_with_repeated_rows_if_nothing_is_chosen_at_random():
    X = NUMBERS.copy()
    X[np.random.default_rng(1).random(X.shape) < 0.2] = np.nan
    table, params = Table(X[REPEATED], is_incomplete=True), PPCAParams(n_components=2, n_steps=8)
    weighted = Table(X, weights=WEIGHTS.astype(float), is_incomplete=True).select(WEIGHTS > 0)
    expected, found = (fit_ppca(rows, params, seed=0) for rows in (table, weighted))
    for name in ("mean", "loadings", "noise_variance"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name))


ALL = [
    AutoencoderTransformer(3, **QUICK),
    AutoencoderTransformer(3, **QUICK, target_weight=1.0),
    AutoencoderImputer(**QUICK),
    VariationalAutoencoder(3, **QUICK, contamination=0.1),
    OutlierDetector(3, **QUICK),
]


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ALL, ids=str)
def test_rows_of_weight_zero_have_no_effect(estimator):
    X, y = FRAME.copy(), np.array(list("ab"))[np.arange(N_ROWS) % 2]
    X.loc[WEIGHTS == 0, "a"] = 1e9
    X.loc[WEIGHTS == 0, "e"] = "a category that no other row has"
    groups, chosen = np.arange(N_ROWS) // 3, WEIGHTS > 0
    expected = estimator.fit(
        X[chosen], y[chosen], groups=groups[chosen], sample_weight=WEIGHTS[chosen]
    )
    expected = results(expected, FRAME)
    found = results(estimator.fit(X, y, groups=groups, sample_weight=WEIGHTS), FRAME)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ALL, ids=str)
@pytest.mark.parametrize("weight", [1, 1 / N_ROWS])
def test_equal_weights_have_no_effect(estimator, weight):
    y = np.arange(N_ROWS) % 2
    expected = results(estimator.fit(FRAME, y), FRAME)
    found = results(estimator.fit(FRAME, y, sample_weight=np.full(N_ROWS, weight)), FRAME)
    assert_close(found, expected, 1e-3)


def test_the_threshold_is_for_the_weighted_share_of_the_rows():
    weights = np.random.default_rng(1).uniform(size=N_ROWS)
    detector = OutlierDetector(3, **QUICK, contamination=0.2).fit(NUMBERS, sample_weight=weights)
    share = np.average(detector.predict(NUMBERS) == -1, weights=weights)
    assert share == pytest.approx(0.2, abs=0.01)


def test_the_network_is_better_for_rows_of_large_weight():
    is_heavy = np.arange(N_ROWS) < 30
    ae = AutoencoderTransformer(4, max_steps=300, validation_fraction=0, random_state=0)

    def error():
        return np.square(ae.reconstruct(DIGITS) - DIGITS)[is_heavy].mean()

    ae.fit(DIGITS)
    plain = error()
    ae.fit(DIGITS, sample_weight=np.where(is_heavy, 3, 0.05))
    assert error() < 0.6 * plain


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.zeros(N_ROWS), "at least one"),
        (np.full(N_ROWS, 1e308), "sum of sample_weight must be positive and finite, got inf"),
        (np.r_[-1.0, np.ones(N_ROWS - 1)], "Negative values in data passed to `sample_weight`"),
        (np.r_[np.nan, np.ones(N_ROWS - 1)], "sample_weight contains NaN"),
        (np.ones(3), r"sample_weight.shape == \(3,\), expected \(90,\)"),
        (np.ones((N_ROWS, 2)), "must be 1D"),
        (np.ma.masked_equal(np.arange(N_ROWS), 3), "sample_weight contains NaN"),
    ],
)
@pytest.mark.parametrize("estimator", ALL[2:], ids=str)
def test_invalid_weights_are_errors(estimator, weights, message):
    with pytest.raises(ValueError, match=message):
        clone(estimator).fit(FRAME, sample_weight=weights)


@pytest.mark.parametrize(
    "estimator", [OutlierDetector(2, **QUICK), slow(AutoencoderImputer(**QUICK))], ids=str
)
def test_columns_with_few_observed_values_of_small_weight_keep_their_statistics(estimator):
    X, weights = FRAME.copy(), np.ones(N_ROWS)
    X.loc[40:, "a"] = np.nan
    weights[:40] = 1e-3
    mean, scale = X["a"].mean(), X["a"].std()
    fitted = clone(estimator).fit(X, sample_weight=weights)
    numbers = clone(estimator).fit(X[list("abcd")], sample_weight=weights).autoencoder_
    assert numbers.mean_[0] == pytest.approx(mean)
    if hasattr(fitted.autoencoder_, "sample"):
        drawn = fitted.autoencoder_.sample(2000, random_state=0)["a"]
        assert drawn.mean() == pytest.approx(mean, abs=0.2 * scale)
        assert drawn.std() == pytest.approx(scale, rel=0.2)


@pytest.mark.parametrize("factor", [slow(0.7), slow(1e-5), 1e-310])
def test_small_equal_weights_change_no_decision(factor):
    kinds = pd.DataFrame({"a": NUMBERS[:, 0], "kind": np.repeat(list("xyz"), N_ROWS // 3)})
    ae = AutoencoderTransformer(2, **QUICK, min_frequency=N_ROWS // 3)
    ae.fit(kinds, sample_weight=np.full(N_ROWS, factor))
    assert len(ae.components_[0]) == 4  # a number and three categories
    detector = OutlierDetector(1, **START, n_neighbors=30)
    for n_rows in (1, 3, 20, 21):
        fitted = detector.fit(NUMBERS[:n_rows], sample_weight=np.full(n_rows, factor))
        assert fitted.n_neighbors_ == n_rows - 1


@pytest.mark.parametrize("kind", ["coo", "csc", "bsr"])
def test_sparse_rows_of_any_format_may_have_weight_zero(kind):
    X = csr_matrix(DIGITS).asformat(kind)
    fitted = AutoencoderTransformer(3, **START).fit(X, sample_weight=WEIGHTS)
    assert fitted.n_samples_seen_ == WEIGHTS.sum()


def test_a_y_that_is_ignored_is_not_checked():
    ae = AutoencoderTransformer(2, **START)
    codes = ae.fit(NUMBERS, "no target", sample_weight=WEIGHTS).transform(NUMBERS)
    np.testing.assert_array_equal(ae.fit(NUMBERS, sample_weight=WEIGHTS).transform(NUMBERS), codes)
    supervised = AutoencoderTransformer(2, **START, target_weight=1.0)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        supervised.fit(NUMBERS, np.arange((WEIGHTS > 0).sum()), sample_weight=WEIGHTS)


def test_shards_and_collections_and_streams_have_no_weights():
    ae = AutoencoderTransformer(2)
    with pytest.raises(ValueError, match="sample_weight is for a table in one process"):
        ae.fit(Shard(NUMBERS), sample_weight=np.ones(N_ROWS))
    with pytest.raises(TypeError, match="sample_weight"):
        ae.partial_fit(NUMBERS, sample_weight=np.ones(N_ROWS))
    dask_array = pytest.importorskip("dask.array")
    X = dask_array.from_array(NUMBERS, chunks=(30, 4))
    for estimator in (ae, AutoencoderImputer(), OutlierDetector()):
        with pytest.raises(ValueError, match="sample_weight is for a table in one process"):
            estimator.fit(X, sample_weight=np.ones(N_ROWS))


def test_weights_reach_the_autoencoder_in_a_pipeline():
    weights, y = np.random.default_rng(1).uniform(size=N_ROWS), np.arange(N_ROWS) % 2
    ae, classifier = AutoencoderTransformer(2, **QUICK), LogisticRegression()
    expected = clone(ae).fit(NUMBERS, sample_weight=weights).transform(NUMBERS)
    pipe = make_pipeline(ae, classifier).fit(
        NUMBERS, y, autoencodertransformer__sample_weight=weights
    )
    np.testing.assert_array_equal(pipe[0].transform(NUMBERS), expected)
    with sklearn.config_context(enable_metadata_routing=True):
        ae.set_fit_request(sample_weight=True)
        classifier.set_fit_request(sample_weight=True)
        pipe = make_pipeline(ae, classifier).fit(NUMBERS, y, sample_weight=weights)
    np.testing.assert_array_equal(pipe[0].transform(NUMBERS), expected)


def test_a_stream_continues_after_a_fit_with_weights():
    ae = AutoencoderTransformer(2, **QUICK).fit(NUMBERS, sample_weight=WEIGHTS)
    assert ae.n_samples_seen_ == WEIGHTS.sum()
    ae.partial_fit(NUMBERS)
    assert ae.n_samples_seen_ == WEIGHTS.sum() + N_ROWS
    together = np.vstack([NUMBERS[REPEATED], NUMBERS])
    np.testing.assert_allclose(ae.mean_, together.mean(axis=0))
    codes = ae.transform(NUMBERS)
    assert np.isfinite(codes).all()
