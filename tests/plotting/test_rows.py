"""Displays of rows: artists and data, not pixels."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest
from matplotlib.colors import to_rgb
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderImputer, AutoencoderTransformer
from skae.plotting import ImputationDisplay, ReconstructionDisplay
from skae.plotting._tables import OBSERVED_STYLE, RESULT_STYLES, TRUE_STYLE

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


def test_rows_of_an_ordered_series_are_lines(fitted):
    display = ReconstructionDisplay.from_estimator(fitted, X, n_samples=2, ordered=True)
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
    display = ReconstructionDisplay.from_estimator(fitted, rows, ordered=True)
    line, dots = display.axes_[0, 0].lines
    np.testing.assert_array_equal(line.get_ydata(), rows[0])
    np.testing.assert_array_equal(dots.get_xdata(), [0, 2])  # they are between missing ones
    observed = ~np.isnan(rows)
    error = np.square(fitted.reconstruct(rows) - rows)[observed].mean()
    assert f"MSE {error:.3g}" in display.axes_[1, 0].get_ylabel()


def test_lines_of_all_estimators_are_within_the_axes():
    rows = X[:3]
    display = ReconstructionDisplay(rows, {"near": rows + 1, "far": 3 * rows - 40}, ordered=True)
    display.plot()
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
        SimpleImputer(keep_empty_features=True).fit(incomplete),
        incomplete,
        n_samples=2,
        ordered=True,
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


QUICK = {"hidden_layer_sizes": (), "max_steps": 10, "validation_fraction": 0, "random_state": 0}


@pytest.fixture(scope="module")
def frames():
    """Return a frame whose columns have very different units, and the frame with missing values."""
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(60, 5)) * [1e9, 1e-6, 1, 20, 0.1] + [1e12, 0, -3, 7, 1]
    complete = pd.DataFrame(numbers, columns=["distance", "ratio", "ph", "age", "height"])
    hidden = rng.random(complete.shape) < 0.3
    hidden[0] = [True, False, True, False, False]
    return complete, complete.mask(hidden)


def points(axes):
    """Return the points of each line in axes that has a marker, in order."""
    return [line.get_xydata() for line in axes.lines if line.get_marker() != "None"]


def test_entries_of_a_table_are_points_in_standard_deviations(frames):
    complete, incomplete = frames
    imputer = SimpleImputer(strategy="median").fit(incomplete)
    display = ImputationDisplay.from_estimator(imputer, incomplete, truth=complete, n_samples=3)
    assert display.axes_.shape == (1, 3)
    axes = display.axes_[0, 0]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(complete)
    np.testing.assert_allclose(axes.get_yticks(), range(5))
    mean, std = incomplete.mean(), incomplete.std(ddof=0)
    z = [(row - mean) / std for row in (complete.iloc[0], incomplete.median())]
    observed, filled, true = points(axes)
    np.testing.assert_allclose(observed, np.transpose([z[0].iloc[[1, 3, 4]], [1, 3, 4]]))
    np.testing.assert_allclose(filled, np.transpose([z[1].iloc[[0, 2]], [0, 2]]), atol=1e-6)
    np.testing.assert_allclose(true, np.transpose([z[0].iloc[[0, 2]], [0, 2]]), atol=1e-6)
    for axes in display.axes_[0]:
        assert all(line.get_linestyle() == "None" for line in axes.lines[1:])
        assert axes.get_xlim() == display.axes_[0, 0].get_xlim()
        assert axes.get_ylim() == (4.5, -0.5)


def test_the_legend_shows_errors_in_standard_deviations(frames):
    complete, incomplete = frames
    imputer = SimpleImputer().fit(incomplete)
    display = ImputationDisplay.from_estimator(
        imputer, incomplete, truth=complete, other=KNNImputer().fit(incomplete), n_samples=60
    )
    (legend,) = [axes.get_legend() for axes in display.figure_.axes if axes.get_legend()]
    texts = [text.get_text() for text in legend.get_texts()]
    z = ((complete - incomplete.mean()) / incomplete.std(ddof=0)).to_numpy()
    error = np.sqrt(np.mean(z[incomplete.isna()] ** 2))  # the mean is imputed
    assert texts[:2] == ["observed", f"SimpleImputer: RMSE {error:.3g}"]
    assert texts[2].startswith("KNNImputer: RMSE")
    assert texts[3] == "true"
    markers = {(line.get_marker(), line.get_markerfacecolor()) for line in legend.get_lines()}
    assert len(markers) == 4


def test_markers_differ_in_shape_and_in_brightness():
    styles = [OBSERVED_STYLE, TRUE_STYLE, *RESULT_STYLES]
    shapes = {(style["marker"], style.get("markerfacecolor")) for style in styles}
    assert len(shapes) == len(styles)
    grey, black, first, second = (
        np.dot([0.299, 0.587, 0.114], to_rgb(style["color"])) for style in styles[:4]
    )
    assert black < min(first, second) - 0.3
    assert max(first, second) < grey - 0.1


def test_an_array_has_numbered_columns_and_known_names_can_be_given(frames):
    incomplete = frames[1].to_numpy()
    imputer = SimpleImputer().fit(incomplete)
    for names, expected in ((None, "x0 x1 x2 x3 x4"), (list("abcde"), "a b c d e")):
        display = ImputationDisplay.from_estimator(
            imputer, incomplete, n_samples=2, feature_names=names
        )
        labels = display.axes_[0, 0].get_yticklabels()
        assert [label.get_text() for label in labels] == expected.split()
        assert [len(points(axes)) for axes in display.axes_[0]] == [2, 2]  # no true values
    with pytest.raises(ValueError, match="feature_names are 1"):
        ImputationDisplay.from_estimator(imputer, incomplete, feature_names=["a"])


def test_the_columns_with_most_missing_entries_are_drawn():
    rows = np.random.default_rng(0).normal(size=(4, 60))
    rows[:, 7] = rows[:2, 3] = rows[:3, 50] = np.nan
    display = ImputationDisplay(rows, {"zero": np.nan_to_num(rows)}, n_features=3).plot()
    axes = display.axes_[0, 0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["x3", "x7", "x50"]
    assert "(3 of 60 columns)" in display.axes_[0, 1].get_xlabel()


def test_the_columns_with_the_largest_errors_are_drawn():
    rows = np.random.default_rng(0).normal(size=(4, 60))
    others = rows.copy()
    others[0, [3, 50]] += [1, 2]
    display = ReconstructionDisplay(rows, {"other": others}, n_features=2).plot()
    labels = display.axes_[0, 0].get_yticklabels()
    assert [label.get_text() for label in labels] == ["x3", "x50"]


def test_values_far_outside_are_at_the_edge(frames):
    rows = frames[1].to_numpy()
    filled = np.where(np.isnan(rows), 1e15, rows)
    spread = {"center": np.nanmean(rows, axis=0), "scale": np.nanstd(rows, axis=0)}
    display = ImputationDisplay(rows[:1], {"far": filled[:1]}, **spread).plot()
    axes = display.axes_[0, 0]
    observed, far = points(axes)
    low, high = axes.get_xlim()
    np.testing.assert_allclose(far[:, 0], high)
    assert low < observed[:, 0].min() < observed[:, 0].max() < high < 10


def mixed():
    rng = np.random.default_rng(0)
    z = rng.normal(size=80)
    complete = pd.DataFrame(
        {"size": np.where(z > 0, "large", "small"), "price": z + 5, "a category": "of one $kind$"}
    )
    complete.loc[::2, "a category"] = "another one that is long"
    hidden = rng.random(complete.shape) < 0.2
    hidden[0], hidden[1] = [True, True, False], [False, False, True]
    return complete, complete.mask(hidden)


@pytest.mark.parametrize("container", [pd.DataFrame, pl.from_pandas])
def test_categories_are_texts_beside_their_markers(container):
    complete, incomplete = map(container, mixed())
    imputer = AutoencoderImputer(1, **QUICK).fit(incomplete)
    display = ImputationDisplay.from_estimator(imputer, incomplete, truth=complete, n_samples=2)
    filled = imputer.transform(incomplete)
    first, second = display.axes_[0]
    assert [text.get_text() for text in first.texts] == [
        filled["size"][0],
        complete["size"][0],
        "another one t…",
    ]
    assert second.texts[0].get_text() == complete["size"][1]
    assert len({text.get_color() for text in first.texts}) == 3
    # two lines of text for a column of categories, one for a column of numbers
    np.testing.assert_allclose(first.get_yticks(), [0.5, 2, 3.5])
    np.testing.assert_allclose([text.xy[1] for text in first.texts], [0, 1, 3.5])
    (legend,) = [axes.get_legend() for axes in display.figure_.axes if axes.get_legend()]
    assert "of categories wrong" in legend.get_texts()[1].get_text()
    display.figure_.draw_without_rendering()


def test_reconstructed_categories_are_texts():
    complete, incomplete = mixed()
    ae = AutoencoderTransformer(1, **QUICK).fit(complete)
    display = ReconstructionDisplay.from_estimator(ae, incomplete, n_samples=2)
    texts = [text.get_text() for text in display.axes_[0, 1].texts]
    assert texts[0] == complete["size"][1]
    assert texts[1] == ae.reconstruct(incomplete)["size"][1]
    assert len(texts) == 3  # the second category is missing, and only reconstructed


@pytest.mark.parametrize("options", [{"ordered": True}, {"image_shape": (1, 3)}])
def test_categories_are_not_drawn_as_lines_or_images(options):
    _, incomplete = mixed()
    imputer = AutoencoderImputer(1, **QUICK).fit(incomplete)
    with pytest.raises(ValueError, match="is for numbers, and columns have categories"):
        ImputationDisplay.from_estimator(imputer, incomplete, **options)


@pytest.mark.parametrize("size", [(3.2, 2.4), (10, 3)])
def test_a_table_is_inside_the_figure(frames, size):
    complete, incomplete = frames
    figure, ax = plt.subplots(figsize=size, layout="constrained")
    imputer = SimpleImputer().fit(incomplete)
    display = ImputationDisplay.from_estimator(
        imputer, incomplete, truth=complete, other=imputer, n_samples=3, ax=ax
    )
    figure.draw_without_rendering()
    box = figure.bbox
    for axes in display.axes_[0]:
        extent = axes.get_tightbbox()
        assert box.x0 <= extent.x0 < extent.x1 <= box.x1
        assert box.y0 <= extent.y0 < extent.y1 < ax.get_legend().get_window_extent().y0
        assert axes.get_window_extent().height > box.height / 4


def test_a_table_is_drawn_in_a_part_of_a_figure(frames):
    complete, incomplete = frames
    figure = plt.figure(layout="constrained")
    part, _ = figure.subfigures(1, 2)
    display = ImputationDisplay.from_estimator(
        SimpleImputer().fit(incomplete), incomplete, truth=complete, ax=part.subplots()
    )
    figure.draw_without_rendering()
    assert display.figure_ is part
    assert display.axes_[0, -1].get_window_extent().x1 <= part.bbox.x1


def test_true_values_may_be_unknown(frames):
    complete, incomplete = frames
    truth = complete.mask(complete["age"] > 7)
    imputer = SimpleImputer().fit(incomplete)
    display = ImputationDisplay.from_estimator(imputer, incomplete, truth=truth)
    is_known = (incomplete.isna() & truth.notna())[:8].to_numpy()
    drawn = [line for axes in display.axes_[0] for line in axes.lines]
    true = [line for line in drawn if line.get_markerfacecolor() == "none"]
    assert sum(len(line.get_xdata()) for line in true) == is_known.sum()
