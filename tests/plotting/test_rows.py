"""Displays of rows: artists and data, not pixels."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderImputer
from skae.plotting import ImputationDisplay, ReconstructionDisplay

X = load_digits().data


def test_rows_reconstructions_and_errors_are_shown_as_images(fitted):
    pca = PCA(4).fit(X)
    display = ReconstructionDisplay.from_estimator(
        fitted, X, other=pca, n_samples=3, image_shape=(8, 8)
    )
    assert display.axes_.shape == (5, 3)
    images = [[axes.images[0].get_array() for axes in row] for row in display.axes_]
    np.testing.assert_allclose(np.reshape(images[0], (3, 64)), X[:3] / 16)
    errors = fitted.reconstruct(X[:3]) - X[:3]
    np.testing.assert_allclose(np.reshape(images[2], (3, 64)), errors)
    shown = display.axes_[2, 0].images[0]
    assert shown.norm.vmin == -shown.norm.vmax  # no error is white
    assert shown.norm.vmax == display.axes_[4, 2].images[0].norm.vmax
    labels = [row[0].get_ylabel() for row in display.axes_]
    assert labels[0] == "original"
    assert labels[1].startswith("AutoencoderTransformer\nMSE")
    assert labels[4] == "PCA\nminus original"


def test_without_a_shape_rows_are_lines(fitted):
    display = ReconstructionDisplay.from_estimator(fitted, X, n_samples=2)
    np.testing.assert_array_equal(display.axes_[0, 1].lines[0].get_ydata(), X[1])


def test_colour_images_are_shown(fitted):
    display = ReconstructionDisplay.from_estimator(fitted, X[:1], image_shape=(4, 4, 4))
    assert display.axes_[0, 0].images[0].get_array().shape == (4, 4, 4)


def test_a_shape_that_does_not_fit_is_refused_with_the_one_that_does(fitted):
    with pytest.raises(ValueError, match=r"image_shape=.* the product must be 64"):
        ReconstructionDisplay.from_estimator(fitted, X, image_shape=(28, 28))


@pytest.mark.parametrize("shape", [(64,), 64, (8, 4, 2), (-8, -8), (8.0, 8.0)])
def test_a_shape_that_is_no_images_is_refused(fitted, shape):
    with pytest.raises(ValueError, match=r"image_shape=.* must be \(height, width\)"):
        ReconstructionDisplay.from_estimator(fitted, X, image_shape=shape)
    assert not plt.get_fignums()


def test_missing_values_are_drawn_as_missing(fitted):
    rows = X[:3].copy()
    rows[0, [1, 3]] = np.nan
    display = ReconstructionDisplay.from_estimator(fitted, rows, image_shape=(8, 8))
    for axes in display.axes_[[0, 2], 0]:
        (image,) = axes.images
        drawn = image.cmap(image.norm(image.get_array()))
        is_orange = (drawn == mpl.colors.to_rgba("C1")).all(axis=-1)
        np.testing.assert_array_equal(is_orange, np.isnan(rows[0]).reshape(8, 8))
    display = ReconstructionDisplay.from_estimator(fitted, rows)
    line, dots = display.axes_[0, 0].lines
    np.testing.assert_array_equal(line.get_ydata(), rows[0])
    np.testing.assert_array_equal(dots.get_xdata(), [0, 2])  # they are between missing ones
    observed = ~np.isnan(rows)
    error = np.square(fitted.reconstruct(rows) - rows)[observed].mean()
    assert f"MSE {error:.3g}" in display.axes_[1, 0].get_ylabel()


def test_lines_of_all_estimators_are_within_the_axes():
    rows = X[:3]
    display = ReconstructionDisplay(rows, {"near": rows + 1, "far": 3 * rows - 40}).plot()
    for axes in display.axes_[[0, 1, 3]].flat:
        low, high = axes.get_ylim()
        (line,) = axes.lines
        assert low <= line.get_ydata().min()
        assert high >= line.get_ydata().max()


@pytest.fixture(scope="module")
def incomplete():
    middle = X[:300].reshape(-1, 8, 8)[:, 2:6, 2:6].reshape(-1, 16)
    return np.where(np.random.default_rng(0).random(middle.shape) < 0.3, np.nan, middle), middle


def test_an_imputers_rows_are_shown_beside_the_incomplete_rows_and_the_truth(incomplete):
    incomplete, complete = incomplete
    settings = {"max_steps": 20, "validation_fraction": 0, "random_state": 0}
    imputer = AutoencoderImputer(**settings).fit(incomplete)
    display = ImputationDisplay.from_estimator(
        imputer, incomplete, truth=complete, other=KNNImputer().fit(incomplete), image_shape=(4, 4)
    )
    assert display.axes_.shape == (4, 8)
    given, filled, _, original = (axes[0].images[0].get_array() for axes in display.axes_)
    np.testing.assert_array_equal(given.mask, np.isnan(incomplete[0]).reshape(4, 4))
    np.testing.assert_allclose(original * complete[:8].max(), complete[0].reshape(4, 4))
    assert not np.ma.is_masked(filled)
    np.testing.assert_allclose(filled[~given.mask], original[~given.mask])
    missing = np.isnan(incomplete[:8])
    error = np.sqrt(np.mean((imputer.transform(incomplete)[:8] - complete[:8])[missing] ** 2))
    titles = [axes.get_ylabel() for axes in display.axes_[:, 0]]
    assert titles[::3] == ["given", "original"]
    assert titles[1] == f"AutoencoderImputer\nRMSE {error:.3g}"


def test_what_was_filled_into_a_line_is_marked(incomplete):
    incomplete, _ = incomplete
    display = ImputationDisplay.from_estimator(
        SimpleImputer(keep_empty_features=True).fit(incomplete), incomplete, n_samples=2
    )
    assert display.axes_.shape == (2, 2)
    line, dots = display.axes_[1, 0].lines
    missing = np.flatnonzero(np.isnan(incomplete[0]))
    np.testing.assert_array_equal(dots.get_xdata(), missing)
    np.testing.assert_array_equal(dots.get_ydata(), line.get_ydata()[missing])


def test_other_marks_of_missing_values_are_shown_as_missing():
    marked = np.where(np.random.default_rng(0).random((30, 12)) < 0.3, -1, 5)
    display = ImputationDisplay.from_estimator(
        SimpleImputer(missing_values=-1).fit(marked), marked, image_shape=(2, 2, 3)
    )
    pixels = display.axes_[0, 0].images[0].get_array()
    blank = (marked[0] == -1).reshape(2, 2, 3).any(axis=2)
    np.testing.assert_allclose(pixels[blank], np.tile(mpl.colors.to_rgb("C1"), (blank.sum(), 1)))


def test_rows_that_were_not_just_filled_are_refused(incomplete):
    incomplete, _ = incomplete
    with pytest.raises(
        ValueError, match="pass the imputer and the rows that the step before it returns"
    ):
        ImputationDisplay.from_estimator(
            make_pipeline(StandardScaler(), KNNImputer()).fit(incomplete), incomplete
        )
    with pytest.raises(ValueError, match="add_indicator=False"):
        ImputationDisplay.from_estimator(KNNImputer(add_indicator=True).fit(incomplete), incomplete)
    with pytest.raises(ValueError, match=r"truth has the shape \(5, 64\)"):
        ImputationDisplay.from_estimator(KNNImputer().fit(incomplete), incomplete, truth=X[:5])
