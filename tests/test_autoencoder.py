"""The estimator, as its users see it."""

import itertools
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
from skae._initialization import initial_network
from skae._networks import whitening
from skae._runtime.tensorflow import import_tensorflow
from skae._training import loop, plan, run

from .behaviour.test_estimator_checks import TUTORIAL


def gaussian_rows(n_samples=200, n_features=6, dtype=np.float64):
    """Rows in which there is nothing to be found beyond PCA."""
    rng = np.random.default_rng(0)
    return (rng.normal(size=(n_samples, n_features)) * np.arange(n_features, 0, -1) + 5).astype(
        dtype
    )


def curved_rows(n_samples=1000, dtype=np.float64):
    """Rows on a curve in six dimensions, where PCA leaves much.

    One split holds out enough of a thousand rows, so that a fit makes and compiles one run; fewer
    rows have several splits.
    """
    rng = np.random.default_rng(0)
    t = rng.uniform(-2, 2, size=(n_samples, 1))
    rows = np.hstack([np.sin(t), np.cos(2 * t), t**2, np.sin(3 * t), t, np.tanh(t)])
    return (rows + 0.05 * rng.normal(size=rows.shape)).astype(dtype)


def quick(n_components=2, **parameters):
    """A fit of few steps."""
    return AutoencoderTransformer(
        n_components, **({"max_steps": 60, "random_state": 0} | parameters)
    )


def pca_error(X, X_test, n_components):
    pca = PCA(n_components).fit(X)
    return ((pca.inverse_transform(pca.transform(X_test)) - X_test) ** 2).mean()


def error(estimator, X):
    return ((estimator.reconstruct(X) - X) ** 2).mean()


# ---- what it is for


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
def test_beats_pca_on_mnist_and_serves_a_pipeline(mnist):
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


def test_a_linear_autoencoder_ends_at_pcas_error(digits):
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
def test_where_pca_wins_the_result_is_pca(whiten, dtype, container, n_samples):
    X = gaussian_rows(n_samples, dtype=dtype)
    ae = quick(3, whiten=whiten, bounds=(-30, 30), validation_fraction=0.5).fit(container(X))
    assert ae.best_step_ == 0
    # in double precision: PCA of float32 rows is off by more than we are
    pca = PCA(3, whiten=whiten).fit(X.astype(np.float64))
    new = 2 * gaussian_rows(50, dtype=dtype)
    codes = pca.transform(new.astype(np.float64))
    np.testing.assert_allclose(ae.transform(new), codes, rtol=1e-5, atol=1e-5)
    rows = np.clip(pca.inverse_transform(codes), -30, 30)
    np.testing.assert_allclose(ae.reconstruct(new), rows, rtol=1e-5, atol=1e-5)
    kept = np.clip(pca.inverse_transform(pca.transform(X.astype(np.float64))), -30, 30)
    share = 1 - np.square(kept - X).sum() / np.square(X - X.mean(axis=0)).sum()
    assert ae.score(X) == pytest.approx(share, rel=1e-5)


def test_where_pca_is_exact_nothing_is_trained():
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


def test_a_plain_stack_learns_and_keeps_the_data_where_they_are(digits):
    X = digits[0] / 16
    ae = AutoencoderTransformer(16, **TUTORIAL | {"learning_rate_init": 1e-2}, max_steps=500)
    ae.set_params(random_state=0).fit(X)
    assert not ae.offset_.any()
    assert ae.scale_ == 1
    assert ae.loss_curve_[-50:].mean() < 0.4 * ae.loss_curve_[0]
    assert not hasattr(ae, "components_")
    assert -1 < ae.score(X) < 1


# ---- parameters


@pytest.mark.parametrize(
    "name",
    ["silu"]
    + [
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("identity", "relu", "tanh", "logistic", "elu", "gelu")
    ],
)
@pytest.mark.parametrize(
    "hidden", [(12, 7), *(pytest.param(h, marks=pytest.mark.slow) for h in ((12,), 12))]
)
def test_any_activation_and_depth_improves_on_its_start(name, hidden):
    X = curved_rows()
    ae = quick(1, activation=name, hidden_layer_sizes=hidden, init="glorot", max_steps=300).fit(X)
    assert ae.best_step_ > 0
    assert ae.reconstruction_err_ < 0.7 * ae.validation_curve_[0, 1]


def test_the_size_of_the_code_is_capped_by_the_features():
    assert quick(64).fit(gaussian_rows()).n_components_ == 6


@pytest.mark.slow
def test_a_share_of_variance_gives_the_smallest_code_that_keeps_it(digits):
    X = digits[0]
    ae = quick(0.9, max_steps=200).fit(X)
    assert 4 < ae.n_components_ < PCA(0.9).fit(X).n_components_ - 4
    sizes, errors = ae.components_curve_.T
    kept = 1 - errors / X.var(axis=0).mean()
    assert ae.n_components_ == sizes[kept >= 0.89].min()
    assert ae.score(X) > 0.89
    # and the network is that of a fit with this size
    same = quick(ae.n_components_, max_steps=200).fit(X)
    np.testing.assert_array_equal(same.transform(X), ae.transform(X))
    assert not hasattr(same, "components_curve_")
    assert not hasattr(ae.set_params(n_components=3).fit(X), "components_curve_")


def test_a_share_of_variance_in_a_stream_gives_pcas_size(digits):
    X = digits[0]
    ae = quick(0.9).partial_fit(X)
    assert ae.n_components_ == PCA(0.9).fit(X).n_components_


@pytest.mark.slow
def test_bounds_hold_where_many_rows_sit_on_an_extreme(digits):
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
    free, ruled = (quick(8, alpha=alpha, max_steps=300, whiten=False).fit(X) for alpha in (0, 1e4))
    assert (
        np.abs(ruled.encoder_["coefs"][0]).mean() < 0.3 * np.abs(free.encoder_["coefs"][0]).mean()
    )
    assert error(free, X) < error(ruled, X) <= pca_error(X, X, 8)


def test_noise_is_seen_by_training_alone(digits):
    X = digits[0]
    clean, noisy = (quick(8, noise=noise, max_steps=300).fit(X) for noise in (0, 0.5))
    assert noisy.loss_curve_[-50:].mean() > clean.loss_curve_[-50:].mean()
    spoilt = X + 0.5 * clean.scale_ * np.random.default_rng(0).normal(size=X.shape)
    denoised = [((ae.reconstruct(spoilt) - X) ** 2).mean() for ae in (clean, noisy)]
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


def test_the_first_held_out_error_is_pcas(digits):
    X = digits[0]
    ae = quick(8).fit(X)
    assert ae.validation_curve_[0, 1] == pytest.approx(pca_error(X, X, 8), rel=0.15)


@pytest.mark.slow
def test_early_stopping_ends_runs_of_any_length():
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
def test_what_several_splits_report_is_the_network_they_keep(early_stopping):
    X = curved_rows(150)
    ae = quick(early_stopping=early_stopping, n_iter_no_change=3, tol=0, max_steps=200).fit(X)
    # the last run, on all rows, goes up to the step that the splits chose
    assert ae.best_step_ > 0
    assert error(ae, X) < pca_error(X, X, 2) / 1.5
    assert ae.n_samples_seen_ == 150
    np.testing.assert_allclose(ae.offset_, X.mean(axis=0))  # that of all rows
    assert ae.reconstruction_err_ == ae.validation_curve_[:, 1].min()
    assert ae.validation_curve_[ae.validation_curve_[:, 0] == ae.best_step_, 1] == (
        ae.reconstruction_err_
    )


def test_constant_and_cosine_rates_differ():
    X = curved_rows()
    curves = [quick(learning_rate=rate).fit(X).loss_curve_ for rate in ("constant", "cosine")]
    assert not np.allclose(*curves)


def test_warm_start_goes_on_from_where_fit_ended(digits):
    X = digits[0]
    for whiten in (True, False):
        ae = quick(8, warm_start=True, whiten=whiten).fit(X)
        before = ae.reconstruction_err_
        ae.set_params(max_steps=300).fit(X)
        # the held-out rows are the same, so the first error is the last one of the fit before
        assert ae.validation_curve_[0, 1] == pytest.approx(before, rel=1e-4)
        assert ae.reconstruction_err_ < 0.9 * before
        again = clone(ae).fit(X)
        assert again.validation_curve_[0, 1] > 1.2 * before


def test_warm_start_refuses_another_network(digits):
    ae = quick(8, warm_start=True).fit(digits[0])
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        ae.set_params(hidden_layer_sizes=(5,)).fit(digits[0])
    with pytest.raises(ValueError, match="init='pca'"):
        ae.set_params(hidden_layer_sizes=(256,), init="glorot").fit(digits[0])


@pytest.mark.parametrize("refit", ["fit", "partial_fit"])
def test_bounds_may_change_when_training_goes_on(refit):
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
    # each batch judges before it trains
    assert (np.diff(ae.validation_curve_[:, 0]) > 0).all()
    assert ae.validation_curve_[-20:, 1].mean() < 0.6 * ae.validation_curve_[:3, 1].mean()
    if whiten:  # over all rows seen, each as encoded in its time
        assert 0.3 < ae.transform(X).std(axis=0).min() < ae.transform(X).std(axis=0).max() < 2


def test_a_stream_may_start_with_one_row():
    X = curved_rows(30)
    ae = quick(3)
    for row in X:
        ae.partial_fit(row[None])
        assert np.isfinite(ae.transform(X)).all()
        assert np.isfinite(ae.reconstruct(X)).all()
    assert ae.n_components_ == 3
    assert ae.n_iter_ == 30


@pytest.mark.slow
def test_partial_fit_goes_on_from_fit(digits):
    X, X_test = digits[:2]
    for whiten in (True, False):
        ae = quick(8, whiten=whiten).fit(X)
        fitted, steps = error(ae, X_test), ae.n_steps_
        codes = ae.transform(X_test)
        ae.partial_fit(X[:5])
        assert ae.n_steps_ == steps + 1
        # one cautious step: Adam's first goes the whole learning rate in each weight
        assert error(ae, X_test) == pytest.approx(fitted, rel=1e-3)
        if whiten:
            np.testing.assert_allclose(ae.transform(X_test), codes, atol=0.05)
        for _ in range(30):
            ae.partial_fit(X)
        assert error(ae, X_test) < 0.95 * fitted


def test_partial_fit_moves_automatic_bounds_and_no_others():
    X = np.random.default_rng(0).integers(2, size=(256, 3)).astype(float)
    with_low_row = np.vstack([X[1:], [-5.0, 0.5, 0.5]])
    ae = quick(1).partial_fit(X).partial_fit(with_low_row)
    np.testing.assert_array_equal(ae.bounds_, [[-5, 0, 0], [1, 1, 1]])
    ae = quick(1, bounds=(0, 1)).partial_fit(X).partial_fit(with_low_row)
    np.testing.assert_array_equal(ae.bounds_, [[0, 0, 0], [1, 1, 1]])


@pytest.mark.parametrize("start", ["fit", "partial_fit"])
def test_a_stream_stays_white_or_does_not(start):
    X = curved_rows()
    ae = getattr(quick(whiten=False), start)(X)
    with pytest.raises(ValueError, match="whiten=False and the parameters ask for whiten=True"):
        ae.set_params(whiten=True).partial_fit(X)
    np.testing.assert_allclose(
        np.cov(ae.set_params(warm_start=True).fit(X).transform(X).T), np.eye(2), atol=1e-6
    )


def test_a_batch_on_which_training_diverges_is_left_out():
    X = curved_rows()
    far = X.copy()
    far[7] *= 1e25
    ae = quick().partial_fit(X)
    before = pickle.dumps(ae)
    with pytest.warns(ConvergenceWarning, match="diverged"):
        ae.partial_fit(far)
    assert pickle.dumps(ae) == before


# ---- what comes out


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_keeps_the_type_of_the_rows(dtype):
    X = curved_rows(dtype=dtype)
    ae = quick().fit(X)
    codes = ae.transform(X)
    for array in (codes, ae.inverse_transform(codes), ae.reconstruct(X)):
        assert array.dtype == dtype
    other = np.float64 if dtype == np.float32 else np.float32
    np.testing.assert_allclose(ae.transform(X.astype(other)), codes, rtol=1e-3, atol=1e-4)
    assert ae.transform(X.astype(other)).dtype == other


def test_scores_are_what_they_say(digits):
    X, X_test = digits[:2]
    ae = quick(8).fit(X)
    residual = X_test - ae.inverse_transform(ae.transform(X_test))
    np.testing.assert_allclose(ae.score_samples(X_test), -(residual**2).sum(axis=1))
    expected = 1 - (residual**2).sum() / ((X_test - X.mean(axis=0)) ** 2).sum()
    assert ae.score(X_test) == pytest.approx(expected)
    noise = np.random.default_rng(0).uniform(0, 16, size=X_test.shape)
    assert ae.score_samples(noise).max() < np.median(ae.score_samples(X_test))


@pytest.mark.parametrize("container", [csr_array, csr_matrix])
def test_sparse_rows_give_what_dense_rows_give(digits, container):
    X, X_test = digits[:2]
    dense, sparse = quick(8).fit(X), quick(8).fit(container(X))
    np.testing.assert_allclose(sparse.transform(X_test), dense.transform(X_test), atol=1e-6)
    for method in ("transform", "reconstruct", "score_samples", "score"):
        np.testing.assert_allclose(
            getattr(dense, method)(container(X_test)), getattr(dense, method)(X_test)
        )


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool, np.float16])
def test_other_types_give_what_their_float64_gives(digits, dtype):
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
def test_fit_holds_no_copy_of_the_table(container, tmp_path):
    X = np.random.default_rng(0).integers(0, 255, size=(300_000, 100), dtype=np.uint8)
    if container == "float32":
        X = X.astype(np.float32)
    elif container == "memmap":
        np.save(tmp_path / "X.npy", X.astype(np.float64))
        X = np.load(tmp_path / "X.npy", mmap_mode="r")
    elif container == "csr":
        X[:, 5:] = 0
        X = csr_array(X.astype(np.float32))
    ae = AutoencoderTransformer(2, max_steps=2, random_state=0)
    quick(2).fit(X[:100])  # imports and compiles
    tracemalloc.start()
    ae.fit(X)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 60e6  # of 240 MB in float64, 120 MB in float32


@pytest.mark.slow
@pytest.mark.parametrize("container", [np.asarray, csr_array], ids=["dense", "csr"])
def test_a_table_that_is_resident_in_the_runtime_gives_what_a_stream_gives(container):
    X = container(np.tile(curved_rows(), (40, 1)))
    ae = AutoencoderTransformer(2, max_iter=2, batch_size=4000, random_state=0)
    resident = clone(ae).fit(X)
    with config_context(working_memory=0):
        streamed = clone(ae).fit(X)
    assert len(set(resident.loss_curve_)) == resident.n_steps_ > 2
    np.testing.assert_allclose(resident.loss_curve_, streamed.loss_curve_, rtol=1e-5)


def test_a_memmap_gives_what_an_array_gives(digits, tmp_path):
    X = digits[0]
    np.save(tmp_path / "X.npy", X)
    memmap = np.load(tmp_path / "X.npy", mmap_mode="r")
    np.testing.assert_array_equal(quick(8).fit(memmap).transform(X), quick(8).fit(X).transform(X))


@pytest.mark.slow
def test_large_tables_are_served_in_blocks():
    X = curved_rows(100)
    ae = quick().fit(X)
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
        AutoencoderTransformer(2, max_steps=10),
        {
            "learning_rate_init": [1e-3, 1e-2],
            "alpha": [0.0, 1.0],
            "noise": [0.0, 0.1],
            "random_state": [0, 1],
        },
        cv=3,
    )
    search.fit(gaussian_rows(178))
    assert len(compilations) <= 2  # of 48 fits on folds, and of the one on all rows


# ---- bad input


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
def test_what_cannot_work_is_refused_with_a_way_out(parameters, match):
    with pytest.raises(ValueError, match=match):
        quick(**parameters).fit(curved_rows())


OTHER_INTEGERS = (np.uint8, np.int16, np.int32, np.uint64)


@pytest.mark.parametrize(
    "integer", [np.int8, *(pytest.param(t, marks=pytest.mark.slow) for t in OTHER_INTEGERS)]
)
def test_numpys_numbers_are_as_good_as_pythons(integer):
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


def test_auto_bounds_find_nothing_where_the_output_has_a_range_of_its_own():
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
def test_parameters_out_of_range_are_named(name, value):
    with pytest.raises(ValueError, match=f"'{name}' parameter of AutoencoderTransformer"):
        AutoencoderTransformer(**{name: value}).fit(curved_rows())


@pytest.mark.parametrize("method", ["transform", "inverse_transform", "reconstruct", "score"])
def test_unfitted_use_is_refused(method):
    with pytest.raises(NotFittedError):
        getattr(AutoencoderTransformer(), method)(curved_rows())


def test_layers_that_no_memory_holds_are_named():
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
def test_bad_rows_are_refused_as_by_scikit_learn(X, match):
    with pytest.raises(ValueError, match=match):
        AutoencoderTransformer(1).fit(X)


def test_rows_and_codes_of_another_width_are_refused():
    ae = quick().fit(curved_rows())
    for method in (ae.transform, ae.reconstruct, ae.score_samples, ae.score, ae.partial_fit):
        with pytest.raises(ValueError, match="expecting 6 features"):
            method(np.zeros((4, 5)))
    with pytest.raises(ValueError, match="X has 6 columns"):
        ae.inverse_transform(curved_rows())


# ---- when training goes wrong


@pytest.mark.parametrize("n_samples", [150, 1200])
def test_divergence_is_reported_and_leaves_pca_or_better(n_samples):
    X = curved_rows(n_samples)
    with pytest.warns(ConvergenceWarning, match="learning_rate_init"):
        ae = quick(learning_rate_init=1e30, max_steps=200).fit(X)
    assert np.isfinite(ae.transform(X)).all()
    assert error(ae, X) <= pca_error(X, X, 2) * 1.001


def test_where_the_last_run_diverges_the_first_split_is_kept_with_its_own_step(monkeypatch):
    X, over_splits, train = curved_rows(150), [], run.train

    def diverging(runs, *arguments):
        train(runs, *arguments)
        if runs[0].held_out.n_rows:
            over_splits.extend(runs)
        else:
            runs[0].stop_reason = run.StopReason.DIVERGED

    monkeypatch.setattr(run, "train", diverging)
    with pytest.warns(ConvergenceWarning, match="diverged"):
        ae = quick(max_steps=200).fit(X)
    first = over_splits[0]
    steps, errors = np.array(first.steps), np.mean(first.errors, axis=1)
    assert len(over_splits) > 1
    assert ae.best_step_ == steps[errors.argmin()]
    assert ae.reconstruction_err_ == errors.min()
    np.testing.assert_array_equal(ae.validation_curve_, np.column_stack([steps, errors]))
    np.testing.assert_allclose(
        ae.reconstruct(X), first.network.decode(first.network.encode(X)), atol=1e-4
    )


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
def test_interruption_keeps_the_best_so_far(monkeypatch, after, n_samples):
    X = curved_rows(n_samples)
    train = loop.train
    chunks = iter(range(1000))

    def interrupted(*arguments, **options):
        for steps in train(*arguments, **options):
            if next(chunks) == after:
                raise KeyboardInterrupt
            yield steps

    monkeypatch.setattr(loop, "train", interrupted)
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        ae = quick(max_steps=200).fit(X)
    assert np.isfinite(ae.transform(X)).all()
    assert error(ae, X) <= pca_error(X, X, 2) * 1.001


def interrupt_calls(monkeypatch, owner, name, interrupted):
    """Interrupt some calls of a function that fit passes through."""
    original, calls = getattr(owner, name), itertools.count()

    def call(*arguments, **options):
        if next(calls) in interrupted:
            raise KeyboardInterrupt
        return original(*arguments, **options)

    monkeypatch.setattr(owner, name, call)


@pytest.mark.parametrize(
    ("stacked_weights", "owner", "name", "call"),
    [
        (0, initial_network, "location_and_scale", 1),  # as the second run starts
        (0, run, "train", 3),
        (
            2**24,
            initial_network,
            "location_and_scale",
            7,
        ),  # as the last run starts, after seven
        (2**24, run, "train", 1),
        (2**24, whitening, "code_sums", 0),  # at the end
    ],
)
def test_interruption_between_the_runs_or_after_them_keeps_what_was_learnt(
    monkeypatch, stacked_weights, owner, name, call
):
    X = curved_rows(150)
    monkeypatch.setattr(plan, "_MOST_STACKED_WEIGHTS", stacked_weights)
    interrupt_calls(monkeypatch, owner, name, {call})
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        ae = quick(max_steps=200).fit(X)
    assert error(ae, X) < pca_error(X, X, 2) / 1.5


def test_a_second_interruption_ends_fit(monkeypatch):
    ae = quick(max_steps=40).fit(curved_rows(150))
    before = pickle.dumps(ae)
    interrupt_calls(monkeypatch, whitening, "code_sums", {0, 1})
    with pytest.raises(KeyboardInterrupt):
        ae.fit(gaussian_rows(150))
    assert pickle.dumps(ae) == before


# ---- manners


def test_prints_nothing_unless_asked(capfd):
    import_tensorflow()  # which says what it says when it is loaded
    capfd.readouterr()
    quick().fit(curved_rows())
    assert capfd.readouterr() == ("", "")
    quick(verbose=1, max_steps=20).fit(curved_rows())
    out, err = capfd.readouterr()
    assert err == ""
    assert "held-out MSE" in out
    assert "20/20" in out


def test_the_same_seed_gives_the_same_bits_and_none_does_not():
    X = curved_rows()
    one, same, other = (quick(random_state=seed).fit(X).transform(X) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other)
    free = [quick(random_state=None).fit(X).transform(X) for _ in range(2)]
    assert not np.allclose(*free)


def test_leaves_global_state_alone():
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
def test_a_failed_fit_leaves_the_fitted_network(fit, monkeypatch):
    X = curved_rows()
    ae = quick().fit(X)
    codes = ae.transform(X)

    def broken(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr(loop, "train", broken)
    with pytest.raises(MemoryError):
        getattr(ae, fit)(X)
    np.testing.assert_array_equal(ae.transform(X), codes)


# ---- wide tables


def wide_rows(n_samples=60, n_features=300, dtype=np.float64):
    """Rows on a surface in many dimensions, without walls."""
    rng = np.random.default_rng(0)
    where = rng.uniform(-2, 2, size=(n_samples, 2))
    rows = np.sin(where @ rng.normal(size=(2, n_features)) + rng.uniform(0, 6, n_features))
    return (rows + 0.1 * rng.normal(size=rows.shape) + 3).astype(dtype)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_wide_tables_start_at_pca_in_the_units_of_all_columns(dtype):
    X = wide_rows(dtype=dtype)
    still = {"learning_rate_init": 1e-30, "whiten": False, "max_steps": 3}
    ae = quick(4, validation_fraction=0, **still).fit(X)
    pca = PCA(4).fit(X)
    np.testing.assert_allclose(ae.transform(X), pca.transform(X), atol=1e-4)
    np.testing.assert_allclose(
        ae.reconstruct(X), pca.inverse_transform(pca.transform(X)), atol=1e-4
    )
    assert ae.scale_ == pytest.approx(X.std(axis=0).mean(), rel=0.05)
    assert ae.loss_curve_[0] == pytest.approx(pca_error(X, X, 4), rel=1e-3)
    assert ae.reconstruction_err_ == pytest.approx(pca_error(X, X, 4), rel=1e-3)
    # far bounds are no bounds, but there all columns are trained
    narrow, full = (quick(4, bounds=bounds, **still).fit(X) for bounds in (None, (-99, 99)))
    start, same = narrow.validation_curve_[0, 1], full.validation_curve_[0, 1]
    assert start == pytest.approx(same, rel=1e-3)


@pytest.mark.slow
def test_wide_tables_beat_pca_and_keep_every_promise():
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
def test_wide_tables_with_bounds_train_their_encoder_in_the_space_of_the_rows():
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
    # nothing outside that space moves the code
    outside = np.linalg.svd(X - X.mean(axis=0))[2][-1]
    np.testing.assert_allclose(ae.transform(X + outside), ae.transform(X), atol=1e-5)


# many columns leave room for axes outside the subspace of the rows
@pytest.mark.parametrize("n_features", [300, 3000])
def test_a_code_that_is_larger_than_the_table_of_a_wide_one_is_exact(n_features):
    X = wide_rows(40, n_features)
    X, held_out = X[:20], X[20:]
    ae = quick(64).fit(X)
    assert ae.n_components_ == 64
    np.testing.assert_allclose(ae.reconstruct(X), X, atol=1e-6)
    # and what is said of rows that it has not seen is true
    assert ae.reconstruction_err_ == pytest.approx(error(ae, held_out), rel=0.5)


WHOLE_CODES = [{}, {"n_components": 6}, {"n_components": 7, "init": "glorot", "noise": 0.1}]


@pytest.mark.parametrize("fit", ["fit", "partial_fit", "fit_transform"])
@pytest.mark.parametrize("params", WHOLE_CODES, ids=str)
def test_a_code_as_large_as_the_rows_warns(fit, params):
    X, asked = curved_rows(40), params.get("n_components", 64)
    ae = AutoencoderTransformer(**params, max_steps=1, validation_fraction=0)
    text = rf"n_components={asked} is at least the number of columns, 6, .* Set fewer, or a share"
    with pytest.warns(UserWarning, match=text) as caught:
        getattr(ae, fit)(X)
    assert [warning.filename for warning in caught] == [__file__]
    if fit == "fit" and not params:  # the fitted network goes on as it is
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
def test_other_codes_do_not_warn(estimator):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimator.set_params(validation_fraction=0).fit(curved_rows(40))
