"""Tests of AutoencoderTransformer."""

import os
import pickle
import random
import subprocess
import sys
import tracemalloc
import warnings

import numpy as np
import pytest
from scipy.sparse import csr_array, csr_matrix
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skae import (
    AutoencoderImputer,
    AutoencoderTransformer,
    OutlierDetector,
    VariationalAutoencoder,
)
from skae._runtime.tensorflow import import_tensorflow

from .behaviour.test_estimator_checks import TUTORIAL
from .faults import (
    STATISTICS,
    TRAINING_LOOP,
    TRAINING_OF_SPLITS,
    WHITENING,
    diverging,
    raising,
)


def gaussian_rows(n_samples=200, n_features=6, dtype=np.float64):
    """Return Gaussian rows, for which no network is better than PCA."""
    rng = np.random.default_rng(0)
    return (rng.normal(size=(n_samples, n_features)) * np.arange(n_features, 0, -1) + 5).astype(
        dtype
    )


def curved_rows(n_samples=1000, dtype=np.float64):
    """Return rows on a curve in six dimensions, for which PCA has a large error.

    One split of a thousand rows has enough validation rows, so that a fit makes and compiles one
    run; fewer rows have several splits.
    """
    rng = np.random.default_rng(0)
    t = rng.uniform(-2, 2, size=(n_samples, 1))
    rows = np.hstack([np.sin(t), np.cos(2 * t), t**2, np.sin(3 * t), t, np.tanh(t)])
    return (rows + 0.05 * rng.normal(size=rows.shape)).astype(dtype)


def quick(n_components=2, **parameters):
    """Return an estimator with one hidden layer that is trained for few steps."""
    settings = {"hidden_layer_sizes": (256,), "max_steps": 60, "random_state": 0}
    return AutoencoderTransformer(n_components, **settings | parameters)


def pca_error(X, X_test, n_components):
    pca = PCA(n_components).fit(X)
    return ((pca.inverse_transform(pca.transform(X_test)) - X_test) ** 2).mean()


def error(estimator, X):
    return ((estimator.reconstruct(X) - X) ** 2).mean()


# ---- comparison with PCA


@pytest.mark.parametrize(
    ("k", "floor"),
    [
        (16, 1.8),
        pytest.param(2, 1.35, marks=pytest.mark.slow),
        *(pytest.param(k, 1.8, marks=pytest.mark.slow) for k in (4, 8, 32)),
    ],
)
def test_beats_pca_on_digits(digits, k, floor):
    X, X_test = digits[:2]
    ae = AutoencoderTransformer(k, random_state=0).fit(X)
    assert pca_error(X, X_test, k) / error(ae, X_test) >= floor


@pytest.mark.slow
def test_beats_pca_on_mnist_and_works_in_a_pipeline(mnist):
    X, y, X_test, y_test = mnist
    pipe = Pipeline([("ae", AutoencoderTransformer()), ("clf", LogisticRegression())])
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        pipe.fit(X, y)
    assert pipe.score(X_test, y_test) >= 0.91
    assert pca_error(X, X_test, 64) / error(pipe[0], X_test) >= 4.3


@pytest.mark.parametrize("whiten", [True, False])
@pytest.mark.parametrize("hidden", [(), (8,)])
def test_starts_at_pca(whiten, hidden):
    X = curved_rows()
    ae = quick(
        whiten=whiten,
        hidden_layer_sizes=hidden,
        learning_rate_init=1e-30,
        validation_fraction=0,
        bounds=None,
        max_steps=1,
    ).fit(X)
    pca = PCA(2, whiten=whiten).fit(X)
    np.testing.assert_allclose(ae.transform(X), pca.transform(X), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        ae.reconstruct(X), pca.inverse_transform(pca.transform(X)), atol=1e-5
    )
    assert ae.loss_curve_[0] == pytest.approx(pca_error(X, X, 2), rel=0.2)


def test_a_linear_autoencoder_reaches_the_error_of_pca(digits):
    X, X_test = digits[:2]
    for parameters in ({}, {"validation_fraction": 0}):
        ae = AutoencoderTransformer(
            8, hidden_layer_sizes=(), bounds=None, random_state=0, **parameters
        ).fit(X)
        assert error(ae, X) == pytest.approx(pca_error(X, X, 8), rel=0.01)
        assert error(ae, X_test) == pytest.approx(pca_error(X, X_test, 8), rel=0.01)


# ---- never worse than PCA


@pytest.mark.parametrize("whiten", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("container", [np.asarray, pytest.param(csr_array, marks=pytest.mark.slow)])
@pytest.mark.parametrize("n_samples", [80, pytest.param(1500, marks=pytest.mark.slow)])
def test_the_result_is_pca_if_pca_is_better(whiten, dtype, container, n_samples):
    X = gaussian_rows(n_samples, dtype=dtype)
    ae = quick(3, whiten=whiten, bounds=(-30, 30), validation_fraction=0.5).fit(container(X))
    assert ae.best_step_ == 0
    # in double precision: PCA of float32 rows has larger rounding errors
    pca = PCA(3, whiten=whiten).fit(X.astype(np.float64))
    new = 2 * gaussian_rows(50, dtype=dtype)
    codes = pca.transform(new.astype(np.float64))
    np.testing.assert_allclose(ae.transform(new), codes, rtol=1e-5, atol=1e-5)
    rows = np.clip(pca.inverse_transform(codes), -30, 30)
    np.testing.assert_allclose(ae.reconstruct(new), rows, rtol=1e-5, atol=1e-5)
    kept = np.clip(pca.inverse_transform(pca.transform(X.astype(np.float64))), -30, 30)
    share = 1 - np.square(kept - X).sum() / np.square(X - X.mean(axis=0)).sum()
    assert ae.score(X) == pytest.approx(share, rel=1e-5)


def test_training_is_skipped_if_pca_is_exact():
    X = gaussian_rows(100, 3) @ np.random.default_rng(1).normal(size=(3, 10))
    ae = AutoencoderTransformer(3).fit(X)
    assert ae.n_steps_ == 0
    assert ae.n_iter_ == 1
    np.testing.assert_allclose(ae.reconstruct(X), X, rtol=1e-9)
    assert ae.score(X) == pytest.approx(1)


@pytest.mark.slow
@pytest.mark.parametrize("load", [load_wine, load_iris, load_breast_cancer, load_diabetes])
def test_is_never_worse_than_pca_on_small_tables(load):
    X = StandardScaler().fit_transform(load().data)
    k = X.shape[1] // 4
    ratios = []
    for seed in range(3):
        training, test = train_test_split(X, test_size=0.25, random_state=seed)
        ae = AutoencoderTransformer(k, random_state=seed).fit(training)
        ratios.append(pca_error(training, test, k) / error(ae, test))
    assert np.median(ratios) >= 0.99
    assert min(ratios) >= 0.9


def test_one_row_and_constant_rows_are_reconstructed():
    for X in (np.arange(5.0)[None], np.full((20, 3), 7.0), np.zeros((4, 2), dtype=np.float32)):
        ae = AutoencoderTransformer(2).fit(X)
        np.testing.assert_allclose(ae.reconstruct(X), X)
        assert np.isfinite(ae.transform(X)).all()
        assert ae.score(X) == 1


# ---- the tutorial recipe


@pytest.mark.slow
def test_the_tutorial_recipe_is_one_constructor_call(mnist):
    X = mnist[0].astype(np.float32)
    ae = AutoencoderTransformer(64, **TUTORIAL, max_steps=1000, random_state=0).fit(X)
    assert 0.23 <= ae.loss_curve_[0] <= 0.245
    assert 0.045 <= ae.loss_curve_[-100:].mean() <= 0.07  # the tutorial prints 0.0584
    codes = ae.transform(X[:100])
    assert codes.min() >= 0
    assert codes.max() <= 1
    assert [c.shape for c in ae.encoder_["coefs"]] == [(784, 128), (128, 64)]
    assert ae.n_steps_ == 1000


def test_a_plain_stack_is_trained_without_centring_the_data(digits):
    X = digits[0] / 16
    ae = AutoencoderTransformer(16, **TUTORIAL | {"learning_rate_init": 1e-2}, max_steps=500)
    ae.set_params(random_state=0).fit(X)
    assert not ae.center_.any()
    assert ae.scale_ == 1
    assert ae.loss_curve_[-50:].mean() < 0.4 * ae.loss_curve_[0]
    assert not hasattr(ae, "components_")
    assert -1 < ae.score(X) < 1


# ---- parameters


@pytest.mark.parametrize(
    ("name", "hidden"),
    [
        ("silu", (12, 7)),
        pytest.param("silu", 12, marks=pytest.mark.slow),
        *(
            pytest.param(name, hidden, marks=pytest.mark.slow)
            for name in ("identity", "relu", "tanh", "logistic", "elu", "gelu")
            for hidden in ((12, 7), (12,))
        ),
    ],
)
def test_any_activation_and_depth_improves_on_the_initial_network(name, hidden):
    X = curved_rows()
    ae = quick(1, activation=name, hidden_layer_sizes=hidden, init="glorot", max_steps=300).fit(X)
    assert ae.best_step_ > 0
    assert ae.reconstruction_err_ < 0.7 * ae.validation_curve_[0, 1]


def test_the_number_of_components_is_at_most_the_number_of_features():
    assert quick(64).fit(gaussian_rows()).n_components_ == 6


@pytest.mark.slow
def test_a_fraction_of_the_variance_gives_the_smallest_sufficient_code(digits):
    X = digits[0]
    ae = quick(0.9, max_steps=200).fit(X)
    assert 4 < ae.n_components_ < PCA(0.9).fit(X).n_components_ - 4
    sizes, errors = ae.components_curve_.T
    kept = 1 - errors / X.var(axis=0).mean()
    assert ae.n_components_ == sizes[kept >= 0.89].min()
    assert ae.score(X) > 0.89
    # the network is that of a fit with this size
    same = quick(ae.n_components_, max_steps=200).fit(X)
    np.testing.assert_array_equal(same.transform(X), ae.transform(X))
    assert not hasattr(same, "components_curve_")
    assert not hasattr(ae.set_params(n_components=3).fit(X), "components_curve_")


def test_a_fraction_of_the_variance_in_a_stream_gives_the_number_of_pca(digits):
    X = digits[0]
    ae = quick(0.9).partial_fit(X)
    assert ae.n_components_ == PCA(0.9).fit(X).n_components_


@pytest.mark.slow
def test_automatic_bounds_are_the_extremes_of_many_rows(digits):
    X, X_test = digits[:2]
    ae = quick(8).fit(X)
    low, high = ae.bounds_
    assert (low == 0).sum() > 50
    assert (high == 16).sum() > 20
    rows = ae.reconstruct(X_test)
    assert rows.min() >= 0
    assert rows.max() <= 16
    assert np.isinf(quick().fit(curved_rows()).bounds_).all()


def test_bounds_can_be_set_and_switched_off(digits):
    X = digits[0]
    top = np.full(64, 20.0)
    both, without, above = (
        quick(8, bounds=bounds, max_steps=1).fit(X).bounds_
        for bounds in ((-1, top), None, (None, 16))
    )
    np.testing.assert_array_equal(both, [np.full(64, -1), top])
    assert np.isinf(without).all()
    np.testing.assert_array_equal(above[0], -np.inf)


def test_whitening_changes_the_code_and_not_the_rows(digits):
    X = digits[0]
    white, raw = (quick(8, whiten=whiten).fit(X) for whiten in (True, False))
    assert white.best_step_ > 0
    codes = white.transform(X)
    np.testing.assert_allclose(codes.mean(axis=0), 0, atol=1e-8)
    np.testing.assert_allclose(np.cov(codes.T), np.eye(8), atol=1e-8)
    np.testing.assert_allclose(white.reconstruct(X), raw.reconstruct(X), atol=1e-6)
    spread = raw.transform(X).std(axis=0) / PCA(8).fit_transform(X).std(axis=0)
    assert (spread > 0.5).all()
    assert (spread < 3).all()


def test_alpha_leads_to_a_linear_autoencoder(digits):
    X = digits[0]
    free, penalised = (
        quick(8, alpha=alpha, max_steps=300, whiten=False).fit(X) for alpha in (0, 1e4)
    )
    assert (
        np.abs(penalised.encoder_["coefs"][0]).mean()
        < 0.3 * np.abs(free.encoder_["coefs"][0]).mean()
    )
    assert error(free, X) < error(penalised, X) <= pca_error(X, X, 8)


def test_noise_is_used_in_training_only(digits):
    X = digits[0]
    clean, noisy = (quick(8, noise=noise, max_steps=300).fit(X) for noise in (0, 0.5))
    assert noisy.loss_curve_[-50:].mean() > clean.loss_curve_[-50:].mean()
    noisy_rows = X + 0.5 * clean.scale_ * np.random.default_rng(0).normal(size=X.shape)
    denoised = [((ae.reconstruct(noisy_rows) - X) ** 2).mean() for ae in (clean, noisy)]
    assert denoised[1] < denoised[0]


def test_epochs_and_steps_are_counted(digits):
    X = digits[0]  # 1347 rows, 1212 of them for training: 5 batches
    for parameters, n_steps in (
        ({"max_iter": 3}, 15),
        ({"max_iter": 3, "max_steps": 7}, 7),
        ({"max_iter": "auto", "max_steps": 11}, 11),
        ({"max_iter": 3, "batch_size": 100}, 39),
    ):
        ae = AutoencoderTransformer(8, random_state=0, **parameters).fit(X)
        assert ae.n_steps_ == len(ae.loss_curve_) == n_steps
        assert ae.n_iter_ == -(-n_steps // (13 if "batch_size" in parameters else 5))
        assert ae.validation_curve_[-1, 0] == n_steps
        steps, errors = ae.validation_curve_.T
        assert ae.reconstruction_err_ == errors[steps == ae.best_step_]


def test_the_first_validation_error_is_that_of_pca(digits):
    X = digits[0]
    ae = quick(8).fit(X)
    assert ae.validation_curve_[0, 1] == pytest.approx(pca_error(X, X, 8), rel=0.15)


@pytest.mark.slow
def test_early_stopping_stops_runs_of_any_length():
    ae = quick(early_stopping=True, n_iter_no_change=2, max_iter=10**6, max_steps=None)
    assert ae.fit(curved_rows(150)).n_iter_ < 2000


def test_early_stopping_stops_and_keeps_the_best(digits):
    X = digits[0]
    ae = AutoencoderTransformer(
        32, early_stopping=True, n_iter_no_change=3, tol=0, random_state=0
    ).fit(X)
    steps, errors = ae.validation_curve_.T
    assert ae.n_steps_ < 1000
    assert steps[errors.argmin()] == ae.best_step_ < ae.n_steps_
    assert len(steps) - 1 - errors.argmin() == 3


@pytest.mark.parametrize("early_stopping", [pytest.param(True, marks=pytest.mark.slow), False])
@pytest.mark.slow
def test_the_reported_error_of_several_splits_is_that_of_the_kept_network(early_stopping):
    X = curved_rows(150)
    ae = quick(early_stopping=early_stopping, n_iter_no_change=3, tol=0, max_steps=200).fit(X)
    # the last run, on all rows, ends at the step that the splits selected
    assert ae.best_step_ > 0
    assert error(ae, X) < pca_error(X, X, 2) / 1.5
    assert ae.n_samples_seen_ == 150
    np.testing.assert_allclose(ae.center_, X.mean(axis=0))  # the PCA of all rows
    assert ae.reconstruction_err_ == ae.validation_curve_[:, 1].min()
    assert ae.validation_curve_[ae.validation_curve_[:, 0] == ae.best_step_, 1] == (
        ae.reconstruction_err_
    )


def test_constant_and_cosine_learning_rates_differ():
    X = curved_rows()
    curves = [quick(learning_rate=rate).fit(X).loss_curve_ for rate in ("constant", "cosine")]
    assert not np.allclose(*curves)


def test_warm_start_continues_from_the_fitted_network(digits):
    X = digits[0]
    for whiten in (True, False):
        ae = quick(8, warm_start=True, whiten=whiten).fit(X)
        before = ae.reconstruction_err_
        ae.set_params(max_steps=300).fit(X)
        # same validation rows: the first error is the last error of the first fit
        assert ae.validation_curve_[0, 1] == pytest.approx(before, rel=1e-4)
        assert ae.reconstruction_err_ < 0.9 * before
        again = clone(ae).fit(X)
        assert again.validation_curve_[0, 1] > 1.2 * before


def test_warm_start_with_another_architecture_is_an_error(digits):
    ae = quick(8, warm_start=True).fit(digits[0])
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        ae.set_params(hidden_layer_sizes=(5,)).fit(digits[0])
    with pytest.raises(ValueError, match="init='pca'"):
        ae.set_params(hidden_layer_sizes=(256,), init="glorot").fit(digits[0])


@pytest.mark.parametrize("refit", [pytest.param("fit", marks=pytest.mark.slow), "partial_fit"])
def test_bounds_may_change_in_a_warm_start(refit):
    X = np.random.default_rng(0).integers(0, 2, (200, 6)).astype(float)
    ae = quick(3, warm_start=True, validation_fraction=0).fit(X)
    np.testing.assert_array_equal(ae.bounds_, [[0] * 6, [1] * 6])
    getattr(ae, refit)(3 * X)
    np.testing.assert_array_equal(ae.bounds_, [[0] * 6, [3] * 6])
    getattr(ae.set_params(bounds=(None, 2)), refit)(X)
    np.testing.assert_array_equal(ae.bounds_, [[-np.inf] * 6, [2] * 6])
    getattr(ae.set_params(bounds=None), refit)(X)
    np.testing.assert_array_equal(ae.bounds_, [[-np.inf] * 6, [np.inf] * 6])
    with pytest.raises(ValueError, match="low < high"):
        getattr(ae.set_params(bounds=(1, 0)), refit)(X)


# ---- partial_fit


@pytest.mark.slow
@pytest.mark.parametrize("whiten", [True, False])
@pytest.mark.parametrize("container", [np.asarray, csr_matrix])
def test_a_stream_of_batches_beats_pca(digits, whiten, container):
    X, X_test = digits[:2]
    ae = quick(8, whiten=whiten)
    rng = np.random.default_rng(0)
    for _ in range(40):
        order = rng.permutation(len(X))
        for first in range(0, len(X), 256):
            ae.partial_fit(container(X[order[first : first + 256]]))
    assert pca_error(X, X_test, 8) / error(ae, X_test) > 1.5
    assert ae.n_samples_seen_ == 40 * len(X)
    np.testing.assert_allclose(ae.mean_, X.mean(axis=0), atol=1e-9)
    assert ae.n_steps_ == len(ae.loss_curve_) > 200
    # each batch is evaluated before it is trained on
    assert (np.diff(ae.validation_curve_[:, 0]) > 0).all()
    assert ae.validation_curve_[-20:, 1].mean() < 0.6 * ae.validation_curve_[:3, 1].mean()
    if whiten:  # over all rows, each encoded by the network of its call
        assert 0.3 < ae.transform(X).std(axis=0).min() < ae.transform(X).std(axis=0).max() < 2


def test_a_stream_may_start_with_one_row():
    X = curved_rows(30)
    ae = quick(3, hidden_layer_sizes=(8,))
    for row in X:
        ae.partial_fit(row[None])
        assert np.isfinite(ae.transform(X)).all()
        assert np.isfinite(ae.reconstruct(X)).all()
    assert ae.n_components_ == 3
    assert ae.n_iter_ == 30


@pytest.mark.slow
def test_partial_fit_continues_from_fit(digits):
    X, X_test = digits[:2]
    for whiten in (True, False):
        ae = quick(8, whiten=whiten).fit(X)
        fitted, steps = error(ae, X_test), ae.n_steps_
        codes = ae.transform(X_test)
        ae.partial_fit(X[:5])
        assert ae.n_steps_ == steps + 1
        # one small step: Adam's first step changes each weight by the learning rate
        assert error(ae, X_test) == pytest.approx(fitted, rel=1e-3)
        if whiten:
            np.testing.assert_allclose(ae.transform(X_test), codes, atol=0.05)
        for _ in range(30):
            ae.partial_fit(X)
        assert error(ae, X_test) < 0.95 * fitted


def test_partial_fit_widens_automatic_bounds_only():
    X = np.random.default_rng(0).integers(2, size=(256, 3)).astype(float)
    with_low_row = np.vstack([X[1:], [-5.0, 0.5, 0.5]])
    ae = quick(1).partial_fit(X).partial_fit(with_low_row)
    np.testing.assert_array_equal(ae.bounds_, [[-5, 0, 0], [1, 1, 1]])
    ae = quick(1, bounds=(0, 1)).partial_fit(X).partial_fit(with_low_row)
    np.testing.assert_array_equal(ae.bounds_, [[0, 0, 0], [1, 1, 1]])


@pytest.mark.parametrize("start", ["fit", "partial_fit"])
def test_the_code_of_a_stream_is_white_only_with_whiten(start):
    X = curved_rows()
    ae = getattr(quick(whiten=False), start)(X)
    with pytest.raises(ValueError, match="whiten=False and the parameters ask for whiten=True"):
        ae.set_params(whiten=True).partial_fit(X)
    np.testing.assert_allclose(
        np.cov(ae.set_params(warm_start=True).fit(X).transform(X).T), np.eye(2), atol=1e-6
    )


def test_a_batch_on_which_training_diverges_is_ignored():
    X = curved_rows()
    far = X.copy()
    far[7] *= 1e25
    ae = quick().partial_fit(X)
    before = pickle.dumps(ae)
    with pytest.warns(ConvergenceWarning, match="diverged"):
        ae.partial_fit(far)
    assert pickle.dumps(ae) == before


# ---- results


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_have_the_dtype_of_the_rows(dtype):
    X = curved_rows(dtype=dtype)
    ae = quick().fit(X)
    codes = ae.transform(X)
    for array in (codes, ae.inverse_transform(codes), ae.reconstruct(X)):
        assert array.dtype == dtype
    other = np.float64 if dtype == np.float32 else np.float32
    np.testing.assert_allclose(ae.transform(X.astype(other)), codes, rtol=1e-3, atol=1e-4)
    assert ae.transform(X.astype(other)).dtype == other


def test_scores_are_computed_from_the_reconstruction(digits):
    X, X_test = digits[:2]
    ae = quick(8).fit(X)
    residual = X_test - ae.inverse_transform(ae.transform(X_test))
    np.testing.assert_allclose(ae.score_samples(X_test), -(residual**2).sum(axis=1))
    expected = 1 - (residual**2).sum() / ((X_test - X.mean(axis=0)) ** 2).sum()
    assert ae.score(X_test) == pytest.approx(expected)
    noise = np.random.default_rng(0).uniform(0, 16, size=X_test.shape)
    assert ae.score_samples(noise).max() < np.median(ae.score_samples(X_test))


@pytest.mark.parametrize("container", [csr_array, csr_matrix])
def test_results_for_sparse_rows_equal_those_for_dense_rows(digits, container):
    X, X_test = digits[:2]
    dense, sparse = quick(8).fit(X), quick(8).fit(container(X))
    np.testing.assert_allclose(sparse.transform(X_test), dense.transform(X_test), atol=1e-6)
    for method in ("transform", "reconstruct", "score_samples", "score"):
        np.testing.assert_allclose(
            getattr(dense, method)(container(X_test)), getattr(dense, method)(X_test)
        )


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool, np.float16])
def test_results_for_other_dtypes_equal_those_for_float64(digits, dtype):
    X = digits[0].astype(dtype)
    ae, same = quick(8).fit(X), quick(8).fit(X.astype(np.float64))
    for method in ("transform", "reconstruct", "score_samples"):
        ours, theirs = getattr(ae, method)(X), getattr(same, method)(X.astype(np.float64))
        assert ours.dtype == np.float64
        np.testing.assert_array_equal(ours, theirs)
    assert ae.score(X) == same.score(X.astype(np.float64))
    ae.partial_fit(X)
    same.partial_fit(X.astype(np.float64))
    np.testing.assert_array_equal(ae.transform(X), same.transform(X))


@pytest.mark.slow
@pytest.mark.parametrize("container", ["uint8", "float32", "memmap", "csr"])
def test_fit_does_not_copy_the_table(container, tmp_path):
    X = np.random.default_rng(0).integers(0, 255, size=(300_000, 100), dtype=np.uint8)
    if container == "float32":
        X = X.astype(np.float32)
    elif container == "memmap":
        np.save(tmp_path / "X.npy", X.astype(np.float64))
        X = np.load(tmp_path / "X.npy", mmap_mode="r")
    elif container == "csr":
        X[:, 5:] = 0
        X = csr_array(X.astype(np.float32))
    ae = quick(2, hidden_layer_sizes=(8,), max_steps=2)
    quick(2).fit(X[:100])  # import and compilation
    tracemalloc.start()
    ae.fit(X)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 60e6  # the table has 240 MB in float64, 120 MB in float32


@pytest.mark.slow
@pytest.mark.parametrize("container", [np.asarray, csr_array], ids=["dense", "csr"])
def test_a_table_on_the_device_gives_the_same_network_as_chunks(container):
    X = container(np.tile(curved_rows(), (40, 1)))
    ae = AutoencoderTransformer(2, max_iter=2, batch_size=4000, random_state=0)
    resident = clone(ae).fit(X)
    with config_context(working_memory=0):
        streamed = clone(ae).fit(X)
    assert len(set(resident.loss_curve_)) == resident.n_steps_ > 2
    np.testing.assert_allclose(resident.loss_curve_, streamed.loss_curve_, rtol=1e-5)


def test_results_for_a_memmap_equal_those_for_an_array(digits, tmp_path):
    X = digits[0]
    np.save(tmp_path / "X.npy", X)
    memmap = np.load(tmp_path / "X.npy", mmap_mode="r")
    np.testing.assert_array_equal(quick(8).fit(memmap).transform(X), quick(8).fit(X).transform(X))


@pytest.mark.slow
def test_large_tables_are_transformed_in_blocks():
    X = curved_rows(100)
    ae = quick(hidden_layer_sizes=(16,)).fit(X)
    many = np.tile(X, (3000, 1))
    np.testing.assert_allclose(ae.transform(many)[-100:], ae.transform(X), atol=1e-12)
    np.testing.assert_allclose(ae.reconstruct(many)[-100:], ae.reconstruct(X), atol=1e-12)


def test_names_of_the_columns():
    ae = quick().fit(curved_rows())
    assert list(ae.get_feature_names_out()) == [
        "autoencodertransformer0",
        "autoencodertransformer1",
    ]
    frame = ae.set_output(transform="pandas").transform(curved_rows())
    assert list(frame.columns) == list(ae.get_feature_names_out())


def test_components_are_the_linear_path():
    X = gaussian_rows()
    ae = quick(2, whiten=False, validation_fraction=0.5).fit(X)
    assert ae.best_step_ == 0
    np.testing.assert_allclose(ae.components_, PCA(2).fit(X).components_, atol=1e-10)
    np.testing.assert_allclose((X - ae.mean_) @ ae.components_.T, ae.transform(X), atol=1e-9)


@pytest.mark.slow
def test_a_grid_search_over_it_runs(digits):
    search = GridSearchCV(
        quick(4), {"learning_rate_init": [1e-8, 5e-3], "noise": [0.0, 0.1]}, cv=3
    ).fit(digits[0])
    assert search.best_params_["learning_rate_init"] == 5e-3


@pytest.mark.slow
def test_the_folds_of_a_search_share_a_compiled_loop(compilations):
    search = GridSearchCV(
        AutoencoderTransformer(2, hidden_layer_sizes=(8,), max_steps=10, random_state=0),
        {"learning_rate_init": [1e-3, 1e-2], "alpha": [0.0, 1.0], "noise": [0.0, 0.1]},
        cv=3,
    )
    search.fit(gaussian_rows(178))
    assert len(compilations) <= 2  # compilations of 24 fits on folds, and of the fit on all rows


# ---- invalid input


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"code_activation": "tanh", "whiten": False}, "code_activation"),
        ({"output_activation": "logistic"}, "output_activation"),
        ({"init": "glorot", "code_activation": "tanh"}, "whiten=False"),
        ({"init": "glorot", "output_activation": "logistic", "bounds": (0, 1)}, "bounds=None"),
        ({"early_stopping": True, "validation_fraction": 0}, "validation_fraction"),
        ({"hidden_layer_sizes": (4, 0)}, "hidden_layer_sizes"),
        ({"hidden_layer_sizes": (4.5,)}, "hidden_layer_sizes"),
        ({"hidden_layer_sizes": [[4, 4], [4, 4]]}, "hidden_layer_sizes"),
        ({"max_iter": 10**12, "max_steps": None}, "max_iter=10+ .* gradient steps"),
        ({"bounds": (1, 0)}, "low < high"),
        ({"bounds": (0, 1, 2)}, "pair"),
        ({"bounds": (0, np.ones(4))}, r"\(6,\)"),
        ({"bounds": (0, "high")}, "number"),
        ({"bounds": (np.nan, 1)}, "low < high"),
        ({"alpha": 10**400}, "alpha is too large for a float"),
        ({"noise": 10**400}, "noise is too large for a float"),
    ],
)
def test_errors_of_invalid_combinations_name_a_remedy(parameters, match):
    with pytest.raises(ValueError, match=match):
        quick(**parameters).fit(curved_rows())


OTHER_INTEGERS = (np.uint8, np.int16, np.int32, np.uint64)


@pytest.mark.parametrize(
    "integer", [np.int8, *(pytest.param(t, marks=pytest.mark.slow) for t in OTHER_INTEGERS)]
)
def test_numpy_numbers_are_valid_parameters(integer):
    X = curved_rows(400)
    parameters = {"batch_size": 64, "max_iter": 20, "n_iter_no_change": 3, "n_components": 2}
    ours = {name: integer(value) for name, value in parameters.items()}
    ours |= {"hidden_layer_sizes": np.array([100, 60], dtype=integer), "noise": np.float16(0.5)}
    ours |= {"validation_fraction": np.float16(0.25)}
    theirs = parameters | {"hidden_layer_sizes": (100, 60), "noise": 0.5}
    theirs |= {"validation_fraction": 0.25}
    ae, expected = (quick(**(p | {"max_steps": None})).fit(X) for p in (ours, theirs))
    assert ae.n_iter_ == expected.n_iter_ == 20
    np.testing.assert_array_equal(ae.transform(X), expected.transform(X))


def test_one_size_may_be_an_array():
    X = curved_rows()
    ae, expected = (quick(hidden_layer_sizes=size).fit(X) for size in (np.array(8), 8))
    np.testing.assert_array_equal(ae.transform(X), expected.transform(X))


def test_with_an_output_activation_there_are_no_automatic_bounds():
    ae = quick(init="glorot", output_activation="logistic", validation_fraction=0, max_steps=1)
    ae.fit(np.eye(6)[[0, 1, 2, 3, 4, 5] * 5])
    assert np.isinf(ae.bounds_).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_components", 0),
        ("n_components", 1.5),
        ("hidden_layer_sizes", "128"),
        ("activation", "swish"),
        ("init", "random"),
        ("bounds", 3),
        ("bounds", "none"),
        ("learning_rate", "adaptive"),
        ("learning_rate_init", 0.0),
        ("batch_size", 0),
        ("max_iter", 0),
        ("max_steps", 0),
        ("alpha", -1.0),
        ("noise", -0.1),
        ("validation_fraction", 1.0),
        ("n_iter_no_change", 0),
        ("tol", -1.0),
        ("random_state", "seed"),
    ],
)
def test_errors_name_parameters_out_of_range(name, value):
    with pytest.raises(ValueError, match=f"'{name}' parameter of AutoencoderTransformer"):
        AutoencoderTransformer(**{name: value}).fit(curved_rows())


@pytest.mark.parametrize("method", ["transform", "inverse_transform", "reconstruct", "score"])
def test_methods_of_an_unfitted_estimator_are_an_error(method):
    with pytest.raises(NotFittedError):
        getattr(AutoencoderTransformer(), method)(curved_rows())


def test_memory_errors_of_large_layers_name_the_parameter():
    ae = AutoencoderTransformer(2, hidden_layer_sizes=10**13)
    with pytest.raises(ValueError, match=r"hidden_layer_sizes .* got 10000000000000"):
        ae.fit(gaussian_rows())
    assert not hasattr(ae, "encoder_")


@pytest.mark.parametrize(
    ("X", "match"),
    [
        ([["a", "b"]], "could not convert"),
        (np.zeros(5), "2D"),
        (np.zeros((2, 2, 2)), "dim 3|3D"),
        (np.zeros((0, 5)), "0 sample"),
        (np.full((5, 2), np.nan), "no value at all"),
        (np.full((5, 2), np.inf), "infinity"),
        (np.full((5, 2), 1j), "Complex"),
    ],
)
def test_invalid_rows_are_an_error_as_in_scikit_learn(X, match):
    with pytest.raises(ValueError, match=match):
        AutoencoderTransformer(1).fit(X)


def test_rows_and_codes_with_another_number_of_columns_are_an_error():
    ae = quick().fit(curved_rows())
    for method in (ae.transform, ae.reconstruct, ae.score_samples, ae.score, ae.partial_fit):
        with pytest.raises(ValueError, match="expecting 6 features"):
            method(np.zeros((4, 5)))
    with pytest.raises(ValueError, match="X has 6 columns"):
        ae.inverse_transform(curved_rows())


# ---- divergence and interrupts


@pytest.mark.parametrize("n_samples", [150, 1200])
def test_divergence_is_a_warning_and_the_result_is_pca_or_better(n_samples):
    X = curved_rows(n_samples)
    with pytest.warns(ConvergenceWarning, match="learning_rate_init"):
        ae = quick(learning_rate_init=1e30, max_steps=200).fit(X)
    assert np.isfinite(ae.transform(X)).all()
    assert error(ae, X) <= pca_error(X, X, 2) * 1.001


@pytest.mark.slow
def test_if_the_last_run_diverges_the_first_split_is_kept():
    X = curved_rows(150)  # two splits, which are trained one after the other
    diverged, interrupted = (quick(max_steps=200, validation_fraction=0.4) for _ in range(2))
    with diverging(after=2), pytest.warns(ConvergenceWarning, match="diverged"):
        diverged.fit(X)
    first_split = raising(TRAINING_OF_SPLITS, KeyboardInterrupt(), after=1)
    with first_split, pytest.warns(ConvergenceWarning, match="interrupted"):
        interrupted.fit(X)
    assert diverged.best_step_ == interrupted.best_step_ > 0
    assert diverged.reconstruction_err_ == interrupted.reconstruction_err_
    np.testing.assert_array_equal(diverged.validation_curve_, interrupted.validation_curve_)
    np.testing.assert_allclose(diverged.reconstruct(X), interrupted.reconstruct(X), atol=1e-4)
    steps, errors = diverged.validation_curve_.T
    assert diverged.best_step_ == steps[errors.argmin()]
    assert diverged.reconstruction_err_ == errors.min()


def test_each_fit_warns_at_the_line_that_called_it():
    X = curved_rows(1200)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        quick(learning_rate_init=1e30).fit(X)
        Pipeline([("ae", quick(learning_rate_init=1e30))]).fit(X)
    assert [w.category for w in caught] == [ConvergenceWarning] * 2
    assert {w.filename for w in caught} == {__file__}


@pytest.mark.parametrize("after", [0, 1, 5, 14])
@pytest.mark.parametrize("n_samples", [150, 1200])
def test_interruption_keeps_the_best_so_far(after, n_samples):
    X, ae = curved_rows(n_samples), quick(max_steps=200)
    once = raising(TRAINING_LOOP, KeyboardInterrupt(), after=after, times=1)
    with once, pytest.warns(ConvergenceWarning, match="interrupted"):
        ae.fit(X)
    assert np.isfinite(ae.transform(X)).all()
    assert error(ae, X) <= pca_error(X, X, 2) * 1.001


@pytest.mark.parametrize(
    ("validation_fraction", "function", "after"),
    [
        # two splits, one after the other, and a last run
        (0.4, STATISTICS, 1),
        (0.4, TRAINING_OF_SPLITS, 1),
        (0.4, TRAINING_OF_SPLITS, 2),
        # two times three splits in parallel, one split, and a last run
        pytest.param(0.1, STATISTICS, 7, marks=pytest.mark.slow),
        pytest.param(0.1, TRAINING_OF_SPLITS, 1, marks=pytest.mark.slow),
        pytest.param(0.1, TRAINING_OF_SPLITS, 3, marks=pytest.mark.slow),
        (0.1, WHITENING, 0),  # after all runs
    ],
)
def test_interruption_between_or_after_runs_keeps_the_network(validation_fraction, function, after):
    X, ae = curved_rows(150), quick(max_steps=200, validation_fraction=validation_fraction)
    once = raising(function, KeyboardInterrupt(), after=after, times=1)
    with once, pytest.warns(ConvergenceWarning, match="interrupted"):
        ae.fit(X)
    assert error(ae, X) < pca_error(X, X, 2) / 1.5


@pytest.mark.slow
def test_a_second_interruption_is_raised():
    ae = quick(max_steps=40).fit(curved_rows(150))
    before = pickle.dumps(ae)
    with raising(WHITENING, KeyboardInterrupt(), times=2), pytest.raises(KeyboardInterrupt):
        ae.fit(gaussian_rows(150))
    assert pickle.dumps(ae) == before


def test_an_interruption_after_an_interrupted_training_is_raised():
    ae = quick(max_steps=400)
    with (
        raising(TRAINING_LOOP, KeyboardInterrupt(), after=2, times=1),
        raising(WHITENING, KeyboardInterrupt(), times=1),
        pytest.raises(KeyboardInterrupt),
    ):
        ae.fit(curved_rows(400))
    assert not hasattr(ae, "encoder_")


# ---- output, reproducibility and imports


def test_prints_nothing_unless_verbose(capfd):
    import_tensorflow()  # with the output of its import
    capfd.readouterr()
    quick().fit(curved_rows())
    assert capfd.readouterr() == ("", "")
    quick(verbose=1, max_steps=20).fit(curved_rows())
    out, err = capfd.readouterr()
    assert err == ""
    assert "validation MSE" in out
    assert "20/20" in out


def test_the_same_seed_gives_the_same_bits_and_no_seed_does_not():
    X = curved_rows()
    one, same, other = (quick(random_state=seed).fit(X).transform(X) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other)
    free = [quick(random_state=None).fit(X).transform(X) for _ in range(2)]
    assert not np.allclose(*free)


def test_global_state_is_unchanged():
    import_tensorflow()

    def state():
        return (
            np.random.get_state()[1].tolist(),  # noqa: NPY002
            random.getstate(),
            dict(os.environ),
            list(warnings.filters),
        )

    before = state()
    X = curved_rows()
    ae = quick(noise=0.1).fit(X)
    ae.score(X)
    ae.partial_fit(X)
    assert state() == before


def test_import_loads_no_heavy_library():
    code = (
        "import sys, skae;"
        "assert not {'tensorflow', 'keras', 'matplotlib'} & set(sys.modules), 'loaded'"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.slow
def test_an_unpickled_estimator_transforms_without_tensorflow(tmp_path):
    X = curved_rows()
    ae = quick().fit(X)
    assert ae.best_step_ > 0
    (tmp_path / "ae.pkl").write_bytes(pickle.dumps(ae))
    np.save(tmp_path / "X.npy", X)
    code = (
        "import pickle, sys, numpy as np\n"
        "ae = pickle.load(open('ae.pkl', 'rb'))\n"
        "X = np.load('X.npy')\n"
        "np.save('codes.npy', ae.transform(X))\n"
        "ae.inverse_transform(ae.transform(X)), ae.score(X)\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "codes.npy"), ae.transform(X), rtol=1e-12)


def test_fitted_state_is_arrays_and_plain_python():
    def plain(value):
        if isinstance(value, dict):
            return all(map(plain, value)) and all(map(plain, value.values()))
        if isinstance(value, list | tuple):
            return all(map(plain, value))
        return isinstance(value, np.ndarray | float | int | str | None)

    ae = quick().fit(curved_rows())
    fitted = {k: v for k, v in vars(ae).items() if k.endswith("_")}
    assert {"encoder_", "mean_", "scale_", "bounds_", "loss_curve_", "best_step_"} <= set(fitted)
    for name, value in fitted.items():
        assert plain(value), name
    assert plain(ae.partial_fit(curved_rows())._stream_)


@pytest.mark.parametrize("fit", ["fit", "partial_fit"])
def test_a_failed_fit_keeps_the_fitted_network(fit):
    X = curved_rows()
    ae = quick().fit(X)
    codes = ae.transform(X)

    with raising(TRAINING_LOOP, MemoryError()), pytest.raises(MemoryError):
        getattr(ae, fit)(X)
    np.testing.assert_array_equal(ae.transform(X), codes)


# ---- hidden layers


@pytest.mark.parametrize(("n_features", "layers"), [(16, (96, 96, 96)), (17, (256,))])
def test_the_default_hidden_layers_depend_on_the_number_of_features(n_features, layers):
    X = np.random.default_rng(0).normal(size=(60, n_features))
    ae = AutoencoderTransformer(2, max_steps=5, validation_fraction=0, random_state=0).fit(X)
    assert tuple(map(len, ae.encoder_["intercepts"][:-1])) == layers
    assert tuple(map(len, ae.decoder_["intercepts"][:-1])) == layers
    given = clone(ae).set_params(hidden_layer_sizes=layers).fit(X)
    np.testing.assert_array_equal(ae.transform(X), given.transform(X))
    ae.partial_fit(X)
    assert tuple(map(len, ae.encoder_["intercepts"][:-1])) == layers


@pytest.mark.slow
@pytest.mark.parametrize("estimator", [VariationalAutoencoder, OutlierDetector, AutoencoderImputer])
def test_the_other_estimators_take_automatic_hidden_layers(estimator):
    X = np.random.default_rng(0).normal(size=(60, 5))
    params = {"max_steps": 5, "validation_fraction": 0, "random_state": 0}
    fits = [estimator(hidden_layer_sizes=h, **params).fit(X) for h in ("auto", (96, 96, 96))]
    method = "transform" if hasattr(fits[0], "transform") else "score_samples"
    np.testing.assert_array_equal(*(getattr(fit, method)(X) for fit in fits))


def test_only_auto_is_a_name_of_hidden_layers():
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        AutoencoderTransformer(2, hidden_layer_sizes="deep").fit(np.eye(5))


# ---- wide tables


def wide_rows(n_samples=60, n_features=300, dtype=np.float64):
    """Return rows on a surface in many dimensions, without automatic bounds."""
    rng = np.random.default_rng(0)
    where = rng.uniform(-2, 2, size=(n_samples, 2))
    rows = np.sin(where @ rng.normal(size=(2, n_features)) + rng.uniform(0, 6, n_features))
    return (rows + 0.1 * rng.normal(size=rows.shape) + 3).astype(dtype)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_wide_tables_start_at_pca_in_the_units_of_all_columns(dtype):
    X = wide_rows(dtype=dtype)
    no_steps = {"learning_rate_init": 1e-30, "whiten": False, "max_steps": 3}
    ae = quick(4, validation_fraction=0, **no_steps).fit(X)
    pca = PCA(4).fit(X)
    np.testing.assert_allclose(ae.transform(X), pca.transform(X), atol=1e-4)
    np.testing.assert_allclose(
        ae.reconstruct(X), pca.inverse_transform(pca.transform(X)), atol=1e-4
    )
    assert ae.scale_ == pytest.approx(X.std(axis=0).mean(), rel=0.05)
    assert ae.loss_curve_[0] == pytest.approx(pca_error(X, X, 4), rel=1e-3)
    assert ae.reconstruction_err_ == pytest.approx(pca_error(X, X, 4), rel=1e-3)
    # bounds far from the rows have no effect, but the network is trained in all columns
    narrow, full = (quick(4, bounds=bounds, **no_steps).fit(X) for bounds in (None, (-99, 99)))
    start, same = narrow.validation_curve_[0, 1], full.validation_curve_[0, 1]
    assert start == pytest.approx(same, rel=1e-3)


@pytest.mark.slow
def test_wide_tables_beat_pca_and_have_all_properties():
    X = wide_rows(80)
    X, X_test = X[:60], X[60:]
    ae = quick(3, max_steps=300).fit(X)
    assert error(ae, X_test) < pca_error(X, X_test, 3) / 2
    codes = ae.transform(X)
    np.testing.assert_allclose(codes.mean(axis=0), 0, atol=1e-8)
    np.testing.assert_allclose(np.cov(codes.T), np.eye(3), atol=1e-6)
    again = clone(ae).fit(X)
    np.testing.assert_array_equal(ae.transform(X_test), again.transform(X_test))
    before = error(ae, X)
    ae.set_params(warm_start=True).fit(X)
    assert error(ae, X) < 1.05 * before
    ae.partial_fit(X)
    assert error(ae, X) < 1.5 * before


@pytest.mark.slow
def test_wide_tables_with_bounds_train_the_encoder_in_the_row_space():
    X = wide_rows(80).clip(2.5, 3.5)
    X, X_test = X[:60], X[60:]
    ae = quick(3, max_steps=300, bounds=(2.5, 3.5)).fit(X)
    rows = ae.reconstruct(X_test)
    assert (rows.min(), rows.max()) == (2.5, 3.5)
    assert error(ae, X_test) < pca_error(X, X_test, 3) / 2
    with config_context(working_memory=0):  # in all columns
        full = clone(ae).fit(X)
    assert ae.loss_curve_[0] == pytest.approx(full.loss_curve_[0], rel=1e-4)
    assert ae.validation_curve_[0, 1] == pytest.approx(full.validation_curve_[0, 1])
    assert error(ae, X_test) < 1.1 * error(full, X_test)
    # components of a row outside this space do not change its code
    outside = np.linalg.svd(X - X.mean(axis=0))[2][-1]
    np.testing.assert_allclose(ae.transform(X + outside), ae.transform(X), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("form", [np.asarray, csr_array])
def test_large_networks_of_wide_tables_are_clipped_after_training(form):
    X = wide_rows(80).clip(2.5, 3.5)
    # over two million weights
    params = {"hidden_layer_sizes": (4096,), "max_steps": 10, "learning_rate_init": 2e-4}
    params |= {"validation_fraction": 0}
    ae = quick(3, **params).fit(form(X))
    assert ae.best_step_ == 10
    out, (low, high) = ae.reconstruct(X), ae.bounds_
    assert ((low <= out) & (out <= high)).all()
    assert (out == low).sum() + (out == high).sum() > 100
    assert ((out - X) ** 2).mean() < pca_error(X, X, 3)
    kept = quick(3, **params | {"learning_rate_init": 1e-12, "validation_fraction": 0.4})
    kept.set_params(bounds=(2.5, None)).fit(form(X))
    assert kept.best_step_ == 0
    pca = PCA(3).fit(X)
    expected = pca.inverse_transform(pca.transform(X)).clip(2.5, None)
    np.testing.assert_allclose(kept.reconstruct(X), expected, atol=1e-6)


# with many columns, other axes can lie outside the row space
@pytest.mark.parametrize("n_features", [300, 3000])
def test_more_components_than_rows_of_a_wide_table_are_exact(n_features):
    X = wide_rows(40, n_features)
    X, validation_rows = X[:20], X[20:]
    ae = quick(64).fit(X)
    assert ae.n_components_ == 64
    np.testing.assert_allclose(ae.reconstruct(X), X, atol=1e-6)
    # the validation error is close to the error of new rows
    assert ae.reconstruction_err_ == pytest.approx(error(ae, validation_rows), rel=0.5)


FULL_CODES = [{}, {"n_components": 6}, {"n_components": 7, "init": "glorot", "noise": 0.1}]


@pytest.mark.parametrize("fit", ["fit", "partial_fit", "fit_transform"])
@pytest.mark.parametrize("params", FULL_CODES, ids=str)
def test_as_many_components_as_features_give_a_warning(fit, params):
    X, asked = curved_rows(40), params.get("n_components", 64)
    ae = AutoencoderTransformer(**params, max_steps=1, validation_fraction=0)
    text = rf"n_components={asked} is at least the number of columns, 6, .* Set fewer, or a share"
    with pytest.warns(UserWarning, match=text) as caught:
        getattr(ae, fit)(X)
    assert [warning.filename for warning in caught] == [__file__]
    if fit == "fit" and not params:  # training continues from the fitted network
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ae.set_params(warm_start=True).partial_fit(X).fit(X)


@pytest.mark.parametrize(
    "estimator",
    [
        AutoencoderTransformer(5, max_steps=1),
        pytest.param(AutoencoderTransformer(0.999, max_steps=1), marks=pytest.mark.slow),
        AutoencoderTransformer("auto", corruption="missing", noise=0.5, max_steps=1),
        AutoencoderImputer(max_steps=1),
        pytest.param(VariationalAutoencoder(max_steps=1), marks=pytest.mark.slow),
        pytest.param(OutlierDetector(max_steps=1), marks=pytest.mark.slow),
    ],
)
def test_fewer_components_give_no_warning(estimator):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimator.set_params(validation_fraction=0).fit(curved_rows(40))
