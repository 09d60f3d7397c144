"""Validation rows: given by the user, of groups, and of dependent rows."""

import numpy as np
import pandas as pd
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import lfilter
from scipy.sparse import csr_array
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import (
    AutoencoderImputer,
    AutoencoderTransformer,
    OutlierDetector,
    VariationalAutoencoder,
)
from skae._data.dependence import dependence_reach
from skae._data.splits import block_splits, random_splits
from skae._data.table import Table

DIGITS, LABELS = load_digits(return_X_y=True)
X, Y = DIGITS[:300, 18:26], LABELS[:300]
X_VAL, Y_VAL = DIGITS[300:400, 18:26], LABELS[300:400]
NOISE = np.random.default_rng(0).normal(4, 4, size=(100, 8))
GROUPS = np.arange(300) // 10

# one split of 300 rows has enough validation rows, so that a fit makes and compiles one run
COMMON = {
    "n_components": 3,
    "hidden_layer_sizes": (16,),
    "max_steps": 20,
    "validation_fraction": 0.35,
    "random_state": 0,
}
ESTIMATORS = [
    AutoencoderTransformer(**COMMON),
    VariationalAutoencoder(**COMMON),
    AutoencoderImputer(**COMMON),
    OutlierDetector(**COMMON),
]
each_estimator = pytest.mark.parametrize(
    "estimator",
    [ESTIMATORS[0], *(pytest.param(other, marks=pytest.mark.slow) for other in ESTIMATORS[1:])],
    ids=lambda estimator: type(estimator).__name__,
)


def curve_of(estimator):
    return getattr(estimator, "autoencoder_", estimator).validation_curve_


def fitted(estimator, X=X, y=None, **given):
    return clone(estimator).fit(X, y, **given)


@pytest.mark.slow
def test_all_rows_are_trained_on_and_the_given_rows_select_the_step():
    ae, pca = fitted(ESTIMATORS[0], X_val=X_VAL), PCA(3).fit(X)
    error = np.square(pca.inverse_transform(pca.transform(X_VAL)) - X_VAL).mean()
    steps, errors = ae.validation_curve_.T
    assert steps[0] == 0
    np.testing.assert_allclose(errors[0], error, rtol=1e-5)
    np.testing.assert_allclose(ae.center_, X.mean(axis=0))
    kept = np.square(ae.reconstruct(X_VAL) - X_VAL).mean()
    np.testing.assert_allclose([ae.reconstruction_err_, errors.min()], kept, rtol=1e-5)
    assert ae.n_samples_seen_ == 300


def test_a_network_that_is_worse_on_the_given_rows_is_not_kept():
    ae = fitted(ESTIMATORS[0], X_val=NOISE)  # these rows have a structure that X does not have
    assert ae.best_step_ == 0
    assert len(ae.validation_curve_) > 1
    assert fitted(ESTIMATORS[0], X_val=X_VAL).best_step_ > 0


@each_estimator
def test_the_container_of_the_given_rows_does_not_matter(estimator, tmp_path):
    expected = curve_of(fitted(estimator, X_val=X_VAL))
    file = np.memmap(tmp_path / "rows", X_VAL.dtype, "w+", shape=X_VAL.shape)
    file[:] = X_VAL
    containers = [file, X_VAL.astype(np.float32), X_VAL.astype(int), X_VAL.tolist()]
    if not isinstance(estimator, AutoencoderImputer):
        containers.append(csr_array(X_VAL))
    for container in containers:
        np.testing.assert_array_equal(curve_of(fitted(estimator, X_val=container)), expected)


@pytest.mark.slow
@each_estimator
def test_the_given_rows_may_have_missing_values_or_none(estimator):
    incomplete = X_VAL.copy()
    incomplete[::3, 1] = np.nan
    curve = curve_of(fitted(estimator, X_val=incomplete))
    assert np.isfinite(curve).all()
    masked = np.ma.masked_array(X_VAL, np.isnan(incomplete))
    np.testing.assert_array_equal(curve_of(fitted(estimator, X_val=masked)), curve)
    X_incomplete = X.copy()
    X_incomplete[::5, 2] = np.nan
    assert np.isfinite(curve_of(fitted(estimator, X_incomplete, X_val=X_VAL))).all()


@pytest.mark.slow
@pytest.mark.parametrize("bounds", [None, "auto"])
def test_validation_rows_can_be_given_for_a_wide_table(bounds):
    wide, params = np.hstack([DIGITS[:40], DIGITS[:40] ** 2]), {**COMMON, "bounds": bounds}
    other = np.hstack([DIGITS[40:80], DIGITS[40:80] ** 2])
    ae = AutoencoderTransformer(**params).fit(wide, X_val=other)
    kept = np.square(ae.reconstruct(other) - other).mean()
    np.testing.assert_allclose(ae.reconstruction_err_, kept, rtol=1e-4)


@pytest.mark.slow
def test_early_stopping_and_a_fraction_of_the_variance_use_the_given_rows():
    params = {**COMMON, "validation_fraction": 0}
    ae = AutoencoderTransformer(**params, early_stopping=True, n_iter_no_change=1, tol=10)
    with pytest.raises(ValueError, match="early_stopping=True needs validation rows"):
        fitted(ae)
    assert len(fitted(ae, X_val=X_VAL).validation_curve_) == 2
    params["n_components"] = 0.8
    ae = fitted(AutoencoderTransformer(**params), X_val=X_VAL)
    sizes, errors = ae.components_curve_.T
    variance = np.square(X_VAL - X.mean(axis=0)).mean()
    assert errors[sizes == ae.n_components_] <= 0.2 * variance


@pytest.mark.slow
@pytest.mark.parametrize("y", [LABELS, DIGITS[:, 20] + 0.5, LABELS.astype(str)])
def test_the_y_of_the_given_rows_is_part_of_the_validation_error(y):
    ae, y = AutoencoderTransformer(**COMMON, target_weight=1.0), y[:300]
    every, even, odd = (
        fitted(ae, y=y, X_val=X[rows], y_val=y[rows]).validation_curve_[0, 1]
        for rows in (slice(None), slice(0, None, 2), slice(1, None, 2))
    )
    np.testing.assert_allclose(np.mean([even, odd]), every, rtol=1e-5)
    wrong = fitted(ae, y=y, X_val=X, y_val=y[::-1]).validation_curve_[0, 1]
    assert wrong > 1.1 * every


def test_an_inconsistent_y_val_is_an_error():
    ae = AutoencoderTransformer(**COMMON, target_weight=1.0)
    with pytest.raises(ValueError, match="X_val is provided, but y_val was not provided"):
        ae.fit(X, Y, X_val=X_VAL)
    with pytest.raises(ValueError, match=r"y_val has labels that y has not: \['11'\]"):
        ae.fit(X, Y, X_val=X_VAL, y_val=np.where(Y_VAL == 3, 11, Y_VAL))
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[100, 99\]"):
        ae.fit(X, Y, X_val=X_VAL, y_val=Y_VAL[1:])
    with pytest.raises(ValueError, match="y_val has 2 columns, and y has 1"):
        ae.fit(X, Y + 0.5, X_val=X_VAL, y_val=np.ones((100, 2)))


@each_estimator
def test_inconsistent_validation_arguments_are_an_error(estimator):
    with pytest.raises(ValueError, match="y_val is provided, but X_val was not provided"):
        fitted(estimator, y_val=Y_VAL)
    with pytest.raises(ValueError, match="pass one of both"):
        fitted(estimator, X_val=X_VAL, groups=GROUPS)
    with pytest.raises(ValueError, match=r"X_val was refused: X has 7 features, but .* is expecti"):
        fitted(estimator, X_val=X_VAL[:, 1:])
    with pytest.raises(ValueError, match=r"X_val was refused: .*infinity"):
        fitted(estimator, X_val=np.where(X_VAL == 3, np.inf, X_VAL))
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[300, 299\]"):
        fitted(estimator, groups=GROUPS[1:])
    with pytest.raises(ValueError, match="groups has one group"):
        fitted(estimator, groups=np.zeros(300))
    frame = pd.DataFrame(X, columns=[f"pixel {i}" for i in range(8)])
    with pytest.raises(ValueError, match="feature names should match"):
        fitted(estimator, frame, X_val=frame[frame.columns[::-1]])


@pytest.mark.parametrize("kind", [VariationalAutoencoder, OutlierDetector])
def test_given_rows_outside_of_zero_and_one_are_an_error_for_bernoulli(kind):
    binary = (X > 3).astype(float)
    estimator = kind(**COMMON, likelihood="bernoulli")
    with pytest.raises(ValueError, match=r"X_val was refused: likelihood='bernoulli' needs X in"):
        fitted(estimator, binary, X_val=X_VAL)


def test_infinity_is_an_error_also_under_assume_finite():
    ae = AutoencoderTransformer(**COMMON, target_weight=1.0)
    numbers, infinite = Y + 0.5, np.where(Y == 3, np.inf, Y)
    with config_context(assume_finite=True):
        with pytest.raises(ValueError, match="y contains infinity"):
            ae.fit(X, infinite)
        with pytest.raises(ValueError, match="y_val contains infinity"):
            ae.fit(X, numbers, X_val=X_VAL, y_val=infinite[:100])
        with pytest.raises(ValueError, match=r"X_val was refused: .*infinity"):
            ae.fit(X.astype(np.float32), numbers, X_val=X_VAL * 1e300, y_val=numbers[:100])
        with pytest.raises(ValueError, match="contains NaN"):
            AutoencoderImputer(missing_values=-1).fit(np.where(X == 3, np.nan, X))


def rows_of_patients(n_patients, seed):
    """Return ten rows of each patient in random order; patients have independent means."""
    rng = np.random.default_rng(seed)
    patients = rng.normal(size=(n_patients, 8)) * np.linspace(2, 1, 8)
    groups = rng.permutation(np.repeat(np.arange(n_patients), 10))
    return patients[groups] + 0.05 * rng.normal(size=(len(groups), 8)), groups


@pytest.mark.slow
def test_a_network_that_does_not_generalise_to_new_patients_is_not_kept():
    X, groups = rows_of_patients(30, 0)
    new, _ = rows_of_patients(300, 1)
    ae = AutoencoderTransformer(2, learning_rate_init=2e-2, random_state=0)
    errors = [
        np.square(model.reconstruct(new) - new).mean()
        for model in (fitted(ae, X), fitted(ae, X, groups=groups))
    ]
    pca = PCA(2).fit(X)
    of_pca = np.square(pca.inverse_transform(pca.transform(new)) - new).mean()
    assert errors[0] > 1.1 * of_pca
    np.testing.assert_allclose(errors[1], of_pca, rtol=1e-6)


@each_estimator
def test_groups_change_the_validation_rows(estimator):
    curves = [curve_of(fitted(estimator, **given)) for given in ({}, {"groups": GROUPS})]
    assert curves[0].shape == curves[1].shape
    assert abs(curves[0][0, 1] - curves[1][0, 1]) > 0
    names = np.array([f"patient {group}" for group in GROUPS])
    np.testing.assert_array_equal(curve_of(fitted(estimator, groups=names)), curves[1])


@each_estimator
def test_fit_transform_and_fit_predict_pass_arguments_to_fit(estimator):
    name = "fit_predict" if hasattr(estimator, "fit_predict") else "fit_transform"
    for given in ({"X_val": X_VAL}, {"groups": GROUPS}):
        model = clone(estimator)
        getattr(model, name)(X, **given)
        np.testing.assert_array_equal(curve_of(model), curve_of(fitted(estimator, **given)))


@each_estimator
def test_metadata_is_routed_through_a_pipeline(estimator):
    with config_context(enable_metadata_routing=True):
        step = clone(estimator).set_fit_request(groups=True)
        pipeline = make_pipeline(StandardScaler(), step).fit(X, groups=GROUPS)
        scaled = StandardScaler().fit(X)
        expected = curve_of(fitted(estimator, scaled.transform(X), groups=GROUPS))
        np.testing.assert_array_equal(curve_of(pipeline[-1]), expected)

        step = clone(estimator).set_fit_request(X_val=True)
        pipeline = Pipeline(
            [("scale", StandardScaler()), ("skae", step)], transform_input=["X_val"]
        ).fit(X, X_val=X_VAL)
        given = {"X_val": scaled.transform(X_VAL)}
        expected = curve_of(fitted(estimator, scaled.transform(X), **given))
        np.testing.assert_array_equal(curve_of(pipeline[-1]), expected)


@pytest.mark.slow
def test_a_search_routes_groups_to_its_splitter_and_to_fit():
    with config_context(enable_metadata_routing=True):
        ae = AutoencoderTransformer(**{**COMMON, "max_steps": 3}).set_fit_request(groups=True)
        pipeline = make_pipeline(StandardScaler(), ae, LogisticRegression(max_iter=1000))
        search = GridSearchCV(
            pipeline, {"autoencodertransformer__n_components": [1, 3]}, cv=GroupKFold(2)
        ).fit(X, Y, groups=GROUPS)
    scaled = StandardScaler().fit_transform(X)
    best = search.best_estimator_[1]
    expected = fitted(best, scaled, groups=GROUPS).validation_curve_
    np.testing.assert_array_equal(best.validation_curve_, expected)
    assert not np.array_equal(fitted(best, scaled).validation_curve_, expected)


def windows(n_rows, seed, width=24):
    """Return overlapping windows of an AR(2) series: the first ones and the last ones."""
    noise = np.random.default_rng(seed).normal(size=2 * n_rows + width)
    X = sliding_window_view(lfilter([1], [1, -1.6, 0.8], noise), width)
    return X[:n_rows], X[-n_rows:]


def error_of_pca(X, X_test, n_components=3):
    pca = PCA(n_components).fit(X)
    return np.square(pca.inverse_transform(pca.transform(X_test)) - X_test).mean()


def first_validation_error(X):
    """Return the error of PCA, and the random generator of the split."""
    untrained = {"hidden_layer_sizes": (), "max_steps": 1, "validation_fraction": 0.1}
    ae = AutoencoderTransformer(**COMMON | untrained, bounds=None).fit(X)
    seed = np.random.RandomState(0).randint(np.iinfo(np.int32).max)
    return ae.validation_curve_[0, 1], np.random.default_rng(seed)


@pytest.mark.parametrize(
    "X",
    [
        DIGITS[np.argsort(LABELS, kind="stable"), 18:26][:500],
        pytest.param(DIGITS[:500, 18:26], marks=pytest.mark.slow),
        pytest.param(load_iris().data, marks=pytest.mark.slow),
    ],
)
def test_validation_rows_of_independent_rows_are_random_rows(X):
    error, rng = first_validation_error(X)
    splits = random_splits(len(X), 0.1, 100, rng)
    errors = [error_of_pca(X[split.training], X[split.validation_rows]) for split in splits]
    np.testing.assert_allclose(error, np.mean(errors), rtol=1e-4)


def test_validation_rows_of_a_series_are_blocks():
    X, _ = windows(300, 0, width=8)
    error, rng = first_validation_error(X)
    splits = block_splits(len(X), dependence_reach(Table(X)), 0.1, 100, 5, rng)
    errors = [error_of_pca(X[split.training], X[split.validation_rows]) for split in splits]
    np.testing.assert_allclose(error, np.mean(errors), rtol=1e-4)


def imputation_error(imputer, X):
    hidden = np.random.default_rng(0).random(X.shape) < 0.2
    return np.square(imputer.transform(np.where(hidden, np.nan, X)) - X)[hidden].mean()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("estimator", "error"),
    [
        (AutoencoderTransformer(4), lambda ae, X: np.square(ae.reconstruct(X) - X).mean()),
        (AutoencoderImputer(max_steps=300), imputation_error),
        (VariationalAutoencoder(4), lambda vae, X: -vae.score_samples(X).mean()),
        (OutlierDetector(4), lambda detector, X: -detector.score_samples(X).mean()),
    ],
    ids=lambda parameter: type(parameter).__name__,
)
def test_later_windows_of_a_series_are_no_worse_than_with_the_initial_network(estimator, error):
    X, later = windows(300, 1)
    start = clone(estimator).set_params(learning_rate_init=1e-30, max_steps=1)
    errors = [
        error(clone(model).set_params(random_state=0).fit(X), later) for model in (estimator, start)
    ]
    assert errors[0] <= errors[1] * (1 + 1e-6)
