"""Tests of OutlierDetector."""

import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import skops.io
from scipy.sparse import csr_array
from sklearn.base import clone, is_outlier_detector
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.estimator_checks import check_estimator

from skae import OutlierDetector, VariationalAutoencoder

from .faults import raising

# one split of 400 rows has enough validation rows, so that a fit makes and compiles one run
QUICK = {
    "max_steps": 20,
    "hidden_layer_sizes": (8,),
    "validation_fraction": 0.25,
    "random_state": 0,
}


def arc(n_rows=400, seed=0):
    """Return rows on half a circle, in four columns."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, np.pi, size=n_rows)
    rows = np.column_stack([np.cos(angle), np.sin(angle), np.cos(angle) ** 2, angle])
    return rows + rng.normal(scale=0.1, size=rows.shape)


@pytest.fixture(scope="module")
def fitted():
    return OutlierDetector(2, **QUICK).fit(arc())


@pytest.mark.slow
def test_with_defaults_but_few_steps_fails_no_check_and_skips_only_the_array_api():
    results = check_estimator(OutlierDetector(max_steps=20), on_skip=None)
    not_passed = {r["check_name"]: r["status"] for r in results if r["status"] != "passed"}
    assert not_passed in ({}, {"check_array_api_input": "skipped"})


@pytest.mark.parametrize("contamination", [pytest.param(0.05, marks=pytest.mark.slow), 0.5])
def test_the_contamination_is_the_fraction_of_training_outliers(contamination):
    detector = OutlierDetector(2, contamination=contamination, **QUICK).fit(arc())
    assert (detector.predict(arc()) == -1).sum() == round(400 * contamination)
    assert isinstance(detector.offset_, float)


def test_rows_below_the_threshold_are_outliers(fitted):
    new = arc(seed=1)
    scores, decisions, labels = (
        getattr(fitted, name)(new) for name in ("score_samples", "decision_function", "predict")
    )
    np.testing.assert_array_equal(decisions, scores - fitted.offset_)
    np.testing.assert_array_equal(labels, np.where(decisions < 0, -1, 1))
    assert labels.dtype.kind == "i"
    assert 0.01 < (labels == -1).mean() < 0.12


def test_without_neighbours_scores_are_those_of_the_inner_autoencoder():
    detector = OutlierDetector(2, n_neighbors=0, **QUICK).fit(arc())
    expected = VariationalAutoencoder(2, contamination=0.05, **QUICK).fit(arc())
    for name in ("score_samples", "score_features"):
        theirs = getattr(expected, name)(arc())
        np.testing.assert_array_equal(getattr(detector, name)(arc()), theirs)
    assert isinstance(detector.autoencoder_, VariationalAutoencoder)
    assert detector.n_iter_ == expected.n_iter_
    assert detector.n_neighbors_ == 0


def two_clusters(rng):
    """Return rows of two clusters, and rows between them, as in a test of IsolationForest."""
    rows = 0.3 * rng.standard_normal((600, 2))
    clusters = rng.permutation(np.vstack([rows + 2, rows - 2]))
    return clusters[:1000], clusters[1000:], rng.uniform(-1, 1, size=(200, 2))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rows_between_clusters_have_low_scores(dtype):
    known, usual, between = (X.astype(dtype) for X in two_clusters(np.random.default_rng(0)))
    detector = OutlierDetector(random_state=0).fit(known)
    scores = detector.score_samples(np.vstack([usual, between]))
    assert roc_auc_score(np.repeat([1, 0], 200), scores) > 0.98


def test_neighbours_lower_the_scores_of_distant_rows_only(fitted):
    alone = OutlierDetector(2, n_neighbors=0, **QUICK).fit(arc())
    for X in (arc(), arc(2000, seed=1)):  # a training row is no neighbour of itself
        change = fitted.score_samples(X) - alone.score_samples(X)
        assert change.max() == 0
        assert 0.4 < (change < 0).mean() < 0.6


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_repeated_rows_are_usual_and_their_scores_do_not_depend_on_the_batch(dtype):
    rows = np.random.default_rng(0).normal(size=(20, 6)) + 5
    X = np.repeat(rows, 25, axis=0).astype(dtype)
    detector = OutlierDetector(2, **QUICK).fit(X)
    scores, single = detector.score_samples(X), detector.score_samples(X[:1])
    np.testing.assert_allclose(scores[:1], single, rtol=1e-3 if dtype == np.float32 else 1e-9)
    assert (detector.predict(X) == -1).mean() <= 0.1
    assert (detector.predict(X[:1] + 3) == -1).all()


def test_rows_that_overflow_are_outliers(fitted):
    X = np.vstack([np.full((2, 4), 1e308), arc(3)])
    X[1] *= -1
    np.testing.assert_array_equal(fitted.predict(X)[:2], -1)
    assert np.isneginf(fitted.score_samples(X)[:2]).all()
    np.testing.assert_allclose(fitted.score_samples(X)[2:], fitted.score_samples(X[2:]))


def test_distances_are_those_of_scikit_learn(
    fitted,
):
    X, new = arc(), arc(50, seed=1)
    likelihoods = OutlierDetector(2, n_neighbors=0, **QUICK).fit(X).score_samples(new)
    lower = fitted.score_samples(new)
    inner = fitted.autoencoder_

    def coordinates(rows):
        unit = np.sqrt(inner.posterior_variance(X).mean(axis=0))
        residuals = (rows - inner.reconstruct(rows)) / np.sqrt(inner.noise_variance_)
        return np.hstack([inner.transform(rows) / unit, residuals])

    search = NearestNeighbors(n_neighbors=20).fit(coordinates(X))
    distances = search.kneighbors(coordinates(new))[0].mean(axis=1)
    is_lower = lower < likelihoods
    np.testing.assert_allclose(lower[~is_lower], likelihoods[~is_lower])
    assert np.corrcoef(lower[is_lower], distances[is_lower])[0, 1] == pytest.approx(-1)


@pytest.mark.parametrize("n_rows", [2, 12])
def test_there_are_at_most_as_many_neighbours_as_other_rows(n_rows):
    X = arc(n_rows)
    detector = OutlierDetector(1, n_neighbors=30, validation_fraction=0, max_steps=2).fit(X)
    assert detector.n_neighbors_ == n_rows - 1
    assert np.isfinite(detector.score_samples(X)).all()


@pytest.mark.parametrize("n_neighbors", [-1, 2.0, None])
def test_a_negative_number_of_neighbours_is_an_error(n_neighbors):
    with pytest.raises(InvalidParameterError, match="'n_neighbors' parameter of OutlierDetector"):
        OutlierDetector(n_neighbors=n_neighbors).fit(arc())


def test_fit_predict_equals_fit_and_predict(fitted):
    labels = OutlierDetector(2, **QUICK).fit_predict(arc())
    np.testing.assert_array_equal(labels, fitted.predict(arc()))


@pytest.mark.slow
def test_outliers_among_the_training_rows_are_found():
    X, rng = scale(load_breast_cancer().data), np.random.default_rng(0)
    odd = rng.choice(len(X), 28, replace=False)
    X[odd] = X[rng.integers(len(X), size=(28, 30)), np.arange(30)]  # within their columns
    is_odd = np.isin(np.arange(len(X)), odd)
    detector = OutlierDetector(random_state=0)
    labels = detector.fit_predict(X)
    assert (labels[is_odd] == -1).mean() > 0.7
    area = roc_auc_score(~is_odd, detector.score_samples(X))
    assert area > 0.95
    assert area > roc_auc_score(~is_odd, IsolationForest(random_state=0).fit(X).score_samples(X))


def test_distant_rows_are_outliers_at_any_distance(fitted):
    for far in (10.0, 1e6, 1e100, 1e300):
        assert (fitted.predict(far + arc(3)) == -1).all()


def test_the_unusual_feature_has_the_lowest_score(fitted):
    odd = arc(50, seed=1)
    odd[:, 1] += 8
    assert (fitted.score_features(odd).argmin(axis=1) == 1).mean() > 0.9


@pytest.mark.slow
def test_rows_with_missing_values_are_scored_by_their_observed_values(fitted):
    X = arc()
    X[::3, 1] = np.nan
    for detector in (fitted, OutlierDetector(2, **QUICK).fit(X)):
        assert np.isfinite(detector.decision_function(X)).all()
        assert set(detector.predict(X)) == {-1, 1}
        far = X[:2] + np.array([[10.0], [0.0]])
        assert list(detector.predict(far)) == [-1, 1]
    assert (fitted.score_features(X)[::3, 1] == 0).all()


def test_feature_names_are_stored_and_checked(fitted):
    frame = pd.DataFrame(arc(), columns=list("abcd"))
    detector = OutlierDetector(2, **QUICK).fit(frame)
    assert list(detector.feature_names_in_) == list("abcd")
    np.testing.assert_array_equal(detector.predict(frame), fitted.predict(arc()))
    with pytest.raises(ValueError, match="feature names"):
        detector.predict(frame[list("dcba")])
    assert not hasattr(detector.fit(arc()), "feature_names_in_")


def test_containers_give_the_same_bits(fitted):
    rows = csr_array(arc())
    detector = OutlierDetector(2, **QUICK).fit(rows)
    assert detector.offset_ == fitted.offset_
    np.testing.assert_array_equal(detector.predict(rows), fitted.predict(arc()))


@pytest.mark.slow
def test_an_automatic_threshold_is_the_fence_of_a_box_plot():
    X = np.vstack([arc(), [[9.0] * 4, [0.0, -5.0, 0.0, -5.0]]])
    detector = OutlierDetector(2, contamination="auto", **QUICK).fit(X)
    assert list(detector.predict(X[-2:])) == [-1, -1]
    assert (detector.predict(X) == -1).mean() < 0.1
    low, high = np.quantile(detector.score_samples(X), [0.25, 0.75])
    assert detector.offset_ == pytest.approx(low - 1.5 * (high - low))


@pytest.mark.slow
def test_zeros_and_ones_have_a_bernoulli_likelihood():
    X = (np.random.default_rng(0).uniform(size=(200, 5)) < [0.02, 0.5, 0.98, 0.5, 0.02]) * 1.0
    detector = OutlierDetector(1, likelihood="bernoulli", **QUICK).fit(X)
    assert list(detector.predict([[0, 1, 1, 0, 0], [1, 1, 0, 0, 1]])) == [1, -1]


@pytest.mark.parametrize("contamination", [0, 0.0, 0.51, -0.1, 1, "half", None])
def test_a_contamination_outside_of_zero_to_a_half_is_an_error(contamination):
    detector = OutlierDetector(contamination=contamination)
    with pytest.raises(InvalidParameterError, match="'contamination' parameter of OutlierDetector"):
        detector.fit(arc())
    assert not hasattr(detector, "offset_")


def test_errors_of_other_parameters_name_the_detector():
    with pytest.raises(InvalidParameterError, match="'n_draws' parameter of OutlierDetector"):
        OutlierDetector(n_draws=0).fit(arc())


def test_a_failed_fit_keeps_the_fitted_detector():
    frame = pd.DataFrame(arc(), columns=list("abcd"))
    detector = OutlierDetector(2, **QUICK).fit(frame)
    before, labels = dict(vars(detector)), detector.predict(frame)
    with pytest.raises(ValueError, match="infinity"):
        detector.fit(np.full((5, 2), np.inf))
    assert vars(detector) == before

    interrupted = raising(
        "skae._networks.variational.Variational.log_likelihoods", KeyboardInterrupt()
    )
    with interrupted, pytest.raises(KeyboardInterrupt):
        detector.fit(arc(seed=1))
    assert vars(detector) == before
    np.testing.assert_array_equal(detector.predict(frame), labels)


def test_the_not_fitted_error_names_the_detector():
    for name in ("predict", "decision_function", "score_samples", "score_features"):
        with pytest.raises(NotFittedError, match="This OutlierDetector instance"):
            getattr(OutlierDetector(), name)(arc())


def test_copies_give_the_same_predictions(fitted):
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.decision_function(arc()), fitted.decision_function(arc()))
    trusted = [
        "skae._outlier_detector.OutlierDetector",
        "skae._variational_autoencoder.VariationalAutoencoder",
    ]
    again = skops.io.loads(skops.io.dumps(fitted), trusted=trusted)
    np.testing.assert_array_equal(again.decision_function(arc()), fitted.decision_function(arc()))
    again = clone(fitted)
    assert again.get_params() == fitted.get_params()
    assert not hasattr(again, "offset_")
    assert again.fit(arc()).offset_ == fitted.offset_


@pytest.mark.slow
def test_an_unpickled_detector_predicts_without_tensorflow(fitted, tmp_path):
    path = tmp_path / "detector.pkl"
    path.write_bytes(pickle.dumps(fitted))
    program = f"""
import pickle, sys
detector = pickle.load(open({str(path)!r}, "rb"))
print(detector.predict({arc(5).tolist()}).tolist())
assert "tensorflow" not in sys.modules
"""
    output = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert eval(output.stdout) == fitted.predict(arc(5)).tolist()


def test_is_a_detector_and_ends_a_pipeline():
    pipe = make_pipeline(StandardScaler(), OutlierDetector(2, **QUICK))
    assert is_outlier_detector(pipe)
    labels = pipe.fit_predict(arc())
    np.testing.assert_array_equal(pipe.predict(arc()), labels)


def with_copies(n_copies, far):
    """Return rows; the last ones are copies of a distant row, or of a usual row."""
    X = arc(400)
    X[400 - n_copies :] = X[0] + (8.0 if far else 0.0)
    return X


@pytest.mark.parametrize("dtype", [pytest.param(np.float64, marks=pytest.mark.slow), np.float32])
@pytest.mark.parametrize(
    ("n_copies", "far", "n_neighbors"),
    [
        (40, True, 20),
        pytest.param(40, True, 0, marks=pytest.mark.slow),
        (60, True, 0),
        pytest.param(60, True, 20, marks=pytest.mark.slow),
        pytest.param(60, False, 20, marks=pytest.mark.slow),
    ],
)
def test_a_label_does_not_depend_on_the_other_rows_of_the_call(n_copies, far, n_neighbors, dtype):
    X = with_copies(n_copies, far).astype(dtype)
    detector = OutlierDetector(2, contamination=0.1, n_neighbors=n_neighbors, **QUICK).fit(X)
    labels = detector.predict(X)
    single = np.concatenate([detector.predict(row[None]) for row in X])
    np.testing.assert_array_equal(single, labels)
    np.testing.assert_array_equal(detector.predict(X[::-1])[::-1], labels)
    assert len(set(labels[-n_copies:])) == 1
    if far and n_copies == 40 and n_neighbors == 0:  # the contamination of the detector
        assert (labels[-n_copies:] == -1).all()


def test_equal_rows_are_not_outliers():
    X = np.repeat(arc(1), 400, axis=0)
    detector = OutlierDetector(2, **QUICK).fit(X)
    assert (detector.predict(X) == 1).all()
    assert (detector.predict(X[:1]) == 1).all()
    assert (detector.predict(X[:1] + 5) == -1).all()


@pytest.mark.slow
def test_rows_with_the_most_frequent_value_are_not_outliers():
    detector = OutlierDetector(2, contamination=0.3, **QUICK)
    labels = detector.fit_predict(with_copies(300, far=False))
    assert (labels[100:] == 1).all()
    assert (labels == -1).any()


def test_the_threshold_lies_halfway_between_two_scores():
    X = arc()
    detector = OutlierDetector(2, contamination=0.1, **QUICK).fit(X)
    decisions = np.sort(detector.decision_function(X))
    n_outliers = (decisions < 0).sum()
    assert n_outliers == 40
    assert decisions[n_outliers] == pytest.approx(-decisions[n_outliers - 1])
