"""What the pictures show: artists and data, not pixels."""

import subprocess
import sys
from itertools import pairwise

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.sparse import coo_array, csr_matrix
from sklearn.datasets import load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderImputer, AutoencoderTransformer, OutlierDetector
from skae.plotting import (
    CodeDisplay,
    ComponentsDisplay,
    ContributionDisplay,
    ImputationDisplay,
    LossCurveDisplay,
    ReconstructionDisplay,
)

X, y = load_digits(return_X_y=True)


@pytest.fixture(autouse=True)
def _style_is_left_alone():
    plt.switch_backend("agg")
    before = dict(mpl.rcParams)
    yield
    assert dict(mpl.rcParams) == before
    plt.close("all")


@pytest.fixture(scope="module")
def fitted():
    return AutoencoderTransformer(4, max_steps=60, random_state=0).fit(X[:600])


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


def test_axes_anywhere_in_a_figure_will_do(fitted):
    figure = plt.figure()
    ax = figure.add_axes([0.2, 0.1, 0.5, 0.6])
    display = ReconstructionDisplay.from_estimator(fitted, X, n_samples=3, ax=ax)
    boxes = np.array([axes.get_position().get_points() for axes in display.axes_.flat])
    np.testing.assert_allclose(boxes.min(axis=0)[0], [0.2, 0.1])
    np.testing.assert_allclose(boxes.max(axis=0)[1], [0.7, 0.7])


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


@pytest.mark.parametrize("shape", [None, (8, 8)])
def test_rows_without_variation_are_drawn(shape):
    rows = np.full((2, 64), 3.0)
    ReconstructionDisplay(rows, {"same": rows}, image_shape=shape).plot()
    ImputationDisplay(rows, {"same": rows}, image_shape=shape).plot()
    contributions = np.zeros((2, 64))
    options = {"labels": ["a", "b"], "feature_names": list(map(str, range(64)))}
    ContributionDisplay(rows, contributions, np.zeros(2), **options, image_shape=shape).plot()
    ComponentsDisplay([1, 2], {"same": np.zeros(2)}).plot()


@pytest.mark.slow
def test_errors_of_incomplete_rows_are_over_what_is_observed():
    rows = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)[:300]
    ae = AutoencoderTransformer(max_steps=20, random_state=0)
    display = ComponentsDisplay.from_estimator(ae, X[:300], rows, n_components=(2, 4))
    fitted = ae.set_params(n_components=4).fit(X[:300])
    expected = np.nanmean(np.square(fitted.reconstruct(rows) - rows))
    assert display.errors["AutoencoderTransformer"][1] == pytest.approx(expected)


@pytest.mark.parametrize("container", [csr_matrix, coo_array])
def test_sparse_rows_are_shown(fitted, container):
    display = ReconstructionDisplay.from_estimator(fitted, container(X), n_samples=2)
    np.testing.assert_array_equal(display.rows, X[:2])
    pca = PCA(svd_solver="arpack")
    display = ComponentsDisplay.from_estimator(pca, container(X[:90]), n_components=(2, 3))
    assert (display.errors["PCA"] > 0).all()


@pytest.fixture(scope="module")
def incomplete():
    middle = X[:300].reshape(-1, 8, 8)[:, 2:6, 2:6].reshape(-1, 16)
    return np.where(np.random.default_rng(0).random(middle.shape) < 0.3, np.nan, middle), middle


def test_an_imputers_rows_are_shown_beside_the_gaps_and_the_truth(incomplete):
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
    gaps = np.isnan(incomplete[:8])
    error = np.sqrt(np.mean((imputer.transform(incomplete)[:8] - complete[:8])[gaps] ** 2))
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
    gaps = np.flatnonzero(np.isnan(incomplete[0]))
    np.testing.assert_array_equal(dots.get_xdata(), gaps)
    np.testing.assert_array_equal(dots.get_ydata(), line.get_ydata()[gaps])


def test_other_marks_of_missing_values_are_gaps():
    marked = np.where(np.random.default_rng(0).random((30, 12)) < 0.3, -1, 5)
    display = ImputationDisplay.from_estimator(
        SimpleImputer(missing_values=-1).fit(marked), marked, image_shape=(2, 2, 3)
    )
    pixels = display.axes_[0, 0].images[0].get_array()
    gaps = (marked[0] == -1).reshape(2, 2, 3).any(axis=2)
    np.testing.assert_allclose(pixels[gaps], np.tile(mpl.colors.to_rgb("C1"), (gaps.sum(), 1)))


def test_rows_that_were_not_just_filled_are_refused(incomplete):
    incomplete, _ = incomplete
    with pytest.raises(ValueError, match="the imputer and the rows that reach it"):
        ImputationDisplay.from_estimator(
            make_pipeline(StandardScaler(), KNNImputer()).fit(incomplete), incomplete
        )
    with pytest.raises(ValueError, match="add_indicator=False"):
        ImputationDisplay.from_estimator(KNNImputer(add_indicator=True).fit(incomplete), incomplete)
    with pytest.raises(ValueError, match=r"truth has the shape \(5, 64\)"):
        ImputationDisplay.from_estimator(KNNImputer().fit(incomplete), incomplete, truth=X[:5])


DETECTOR = {"max_steps": 20, "validation_fraction": 0.4, "random_state": 0}


@pytest.fixture(scope="module")
def wine():
    """Standardised rows with names, one of which is odd in a column, and a detector."""
    frame = load_wine(as_frame=True).data.iloc[:, :12]
    frame = StandardScaler().set_output(transform="pandas").fit_transform(frame)
    frame.iloc[7, 2] = 9.5
    return frame, OutlierDetector(3, **DETECTOR).fit(frame)


def test_bars_show_the_features_that_make_the_least_likely_rows_so(wine):
    frame, detector = wine
    display = ContributionDisplay.from_estimator(detector, frame, n_rows=3, n_features=4)
    assert display.axes_.shape == (3, 1)
    scores, entries = detector.score_samples(frame), detector.score_features(frame)
    assert scores.argmin() == 7
    titles = [axes.get_title(loc="left") for axes in display.axes_.flat]
    expected = [f"row {i}: log-likelihood {scores[i]:.4g}" for i in scores.argsort()[:3]]
    assert titles == expected
    axes = display.axes_[0, 0]
    widths = [bar.get_width() for bar in axes.patches]
    contributions = entries[7] - np.median(entries, axis=0)
    np.testing.assert_allclose(widths, np.sort(contributions)[:4])
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[0] == "ash = 9.5"
    assert len(names) == 4
    bottom, top = axes.get_ylim()
    assert bottom > top  # the first is above the others


def test_chosen_rows_are_shown_under_chosen_names(wine):
    frame, detector = wine
    names = [f"feature {i}" for i in range(12)]
    chosen = [12, 0]
    display = ContributionDisplay.from_estimator(
        detector.autoencoder_, frame, rows=chosen, feature_names=names
    )
    np.testing.assert_array_equal(display.rows, frame.to_numpy()[chosen])
    assert display.labels == ["row 12", "row 0"]
    assert display.axes_[1, 0].get_yticklabels()[0].get_text().startswith("feature ")
    mask = np.arange(len(frame)) == 5
    assert ContributionDisplay.from_estimator(detector, frame, rows=mask).labels == ["row 5"]
    one = ContributionDisplay.from_estimator(detector, frame, rows=3, n_features=99)
    assert len(one.axes_[0, 0].patches) == 12


def test_rows_are_shown_as_images_above_what_makes_them_unlikely(wine):
    frame, detector = wine
    display = ContributionDisplay.from_estimator(detector, frame, n_rows=2, image_shape=(3, 4))
    assert display.axes_.shape == (2, 2)
    row, contributions = (axes.images[0] for axes in display.axes_[:, 0])
    assert row.get_array().argmax() == 2
    np.testing.assert_allclose(contributions.get_array().ravel(), -display.contributions[0])
    assert contributions.get_array().argmax() == 2  # less likely is red
    assert contributions.norm.vmax == -contributions.norm.vmin == -display.contributions[0].min()
    assert display.axes_[0, 0].get_title().startswith("row 7\n")
    display = ContributionDisplay.from_estimator(detector, frame, image_shape=(2, 2, 3))
    assert display.axes_[1, 0].images[0].get_array().shape == (2, 2)


def test_what_is_missing_contributes_nothing(wine):
    frame, detector = wine
    gaps = frame.copy()
    gaps.iloc[7, 2] = np.nan
    gaps.iloc[3], gaps.iloc[:, 5] = np.nan, np.nan
    display = ContributionDisplay.from_estimator(detector, gaps, rows=[7, 3], n_features=12)
    assert [len(axes.patches) for axes in display.axes_.flat] == [10, 0]
    entries = np.where(np.isnan(gaps), np.nan, detector.score_features(gaps))
    expected = entries[7, 0] - np.nanmedian(entries[:, 0])
    np.testing.assert_allclose(display.contributions[0, 0], expected)
    display = ContributionDisplay.from_estimator(detector, gaps, rows=[7, 3], image_shape=(3, 4))
    assert display.axes_[1, 0].images[0].get_array().mask.sum() == 2
    display.figure_.draw_without_rendering()


@pytest.mark.parametrize("container", [csr_matrix, coo_array])
def test_contributions_of_sparse_rows_are_shown(wine, container):
    X = wine[0].to_numpy()
    detector = OutlierDetector(3, **DETECTOR).fit(X)
    display = ContributionDisplay.from_estimator(detector, container(X), n_rows=2)
    np.testing.assert_array_equal(display.rows, X[np.argsort(detector.score_samples(X))[:2]])
    assert display.axes_[0, 0].get_yticklabels()[0].get_text() == "x2 = 9.5"


@pytest.mark.parametrize("shape", [None, (3, 4)])
def test_rows_whose_likelihood_overflows_are_drawn(wine, shape):
    frame, detector = wine
    far = frame.copy()
    far.iloc[9, 4] = 1e200
    display = ContributionDisplay.from_estimator(detector, far, n_rows=2, image_shape=shape)
    assert display.labels[0] == "row 9"
    assert np.isfinite(display.contributions).all()
    display.figure_.canvas.draw()


def test_contributions_that_cannot_be_drawn_are_refused(wine):
    frame, detector = wine
    with pytest.raises(TypeError, match=r"got Pipeline\. Of a pipeline, give that step"):
        ContributionDisplay.from_estimator(make_pipeline(detector), frame)
    for params, message in (
        ({"rows": []}, r"There are no rows to draw: rows=\[\]"),
        ({"n_rows": 0}, "n_rows=0"),
        ({"feature_names": ["a"]}, "feature_names are 1, but X has 12 columns"),
        ({"image_shape": (8, 8)}, "the product must be 12"),
    ):
        with pytest.raises(ValueError, match=message):
            ContributionDisplay.from_estimator(detector, frame, **params)
    with pytest.raises(IndexError, match="out of bounds"):
        ContributionDisplay.from_estimator(detector, frame, rows=[len(frame)])
    assert not plt.get_fignums()


@pytest.mark.parametrize("layout", [None, "constrained"])
def test_bars_do_not_overlap_in_axes_of_ones_own(wine, layout):
    frame, detector = wine
    figure, axes = plt.subplots(1, 2, layout=layout, figsize=(10, 5))
    display = ContributionDisplay.from_estimator(detector, frame, n_rows=3, ax=axes[1])
    assert display.figure_ is figure
    assert len(plt.get_fignums()) == 1
    figure.canvas.draw()
    boxes = [axes.get_tightbbox() for axes in display.axes_.flat]
    for above, below in pairwise(boxes):
        assert above.ymin >= below.ymax


def test_the_curve_says_where_training_started():
    X = np.random.default_rng(0).normal(size=(60, 5))
    settings = {"max_steps": 2, "validation_fraction": 0.5, "random_state": 0}
    ae = AutoencoderTransformer(2, warm_start=True, **settings)
    names = [LossCurveDisplay.from_estimator(ae.fit(X)).start_name for _ in range(2)]
    names.append(LossCurveDisplay.from_estimator(ae.partial_fit(X)).start_name)
    ae.set_params(warm_start=False).fit(X)
    names.append(LossCurveDisplay.from_estimator(ae.set_params(warm_start=True)).start_name)
    assert names == ["PCA", "start", "start", "PCA"]


@pytest.mark.parametrize("start", ["fit", "partial_fit"])
def test_a_streams_curve_has_no_judged_network(start):
    settings = {"max_steps": 10, "validation_fraction": 0.5, "random_state": 0}
    ae = getattr(AutoencoderTransformer(2, **settings), start)(X[:200])
    ae.partial_fit(X)
    labels = [line.get_label() for line in LossCurveDisplay.from_estimator(ae).ax_.lines]
    assert labels == ["training", "held-out rows", "PCA, held-out rows"]


def test_an_estimator_without_curves_is_refused(fitted):
    with pytest.raises(TypeError, match=r"got Pipeline\. Of a pipeline, give that step"):
        LossCurveDisplay.from_estimator(make_pipeline(fitted))
    one_row = AutoencoderTransformer(2).fit(X[:1])
    assert not LossCurveDisplay.from_estimator(one_row).ax_.lines


def test_curves_show_pcas_level_and_the_network_that_was_kept(fitted):
    display = LossCurveDisplay.from_estimator(fitted)
    lines = {line.get_label(): line for line in display.ax_.lines}
    assert set(lines) == {
        "training",
        "held-out rows",
        "PCA, held-out rows",
        f"kept: step {fitted.best_step_}",
    }
    np.testing.assert_array_equal(
        np.column_stack(lines["held-out rows"].get_data()), fitted.validation_curve_
    )
    assert lines["PCA, held-out rows"].get_ydata()[0] == fitted.validation_curve_[0, 1]
    kept = lines[f"kept: step {fitted.best_step_}"]
    assert kept.get_xdata() == [fitted.best_step_]
    assert kept.get_ydata() == [fitted.reconstruction_err_]
    assert display.ax_.get_yscale() == "log"


def test_long_curves_are_shown_as_means():
    losses = np.arange(1.0, 10_001)
    display = LossCurveDisplay(losses, np.empty((0, 2)), 10_000).plot()
    (line,) = display.ax_.lines
    assert len(line.get_xdata()) == 200
    np.testing.assert_allclose(line.get_ydata()[0], losses[:50].mean())


def test_another_start_is_not_called_pca():
    settings = {"max_steps": 10, "validation_fraction": 0.5, "random_state": 0}
    ae = AutoencoderTransformer(2, init="glorot", **settings).fit(X[:200])
    display = LossCurveDisplay.from_estimator(ae)
    assert "start, held-out rows" in [line.get_label() for line in display.ax_.lines]


def test_codes_are_coloured_by_class_or_by_number(fitted):
    display = CodeDisplay.from_estimator(fitted, X, y, components=(2, 1))
    codes = fitted.transform(X)
    assert len(display.ax_.collections) == 10
    points = display.ax_.collections[3].get_offsets()
    np.testing.assert_array_equal(points, codes[y == 3][:, [2, 1]])
    assert [t.get_text() for t in display.ax_.get_legend().get_texts()] == [*"0123456789"]
    assert display.ax_.get_xlabel() == "component 2"

    numbers = X.sum(axis=1)
    display = CodeDisplay.from_estimator(fitted, X, numbers)
    (points,) = display.ax_.collections
    np.testing.assert_array_equal(points.get_array(), numbers)
    assert len(display.figure_.axes) == 2  # a colour bar
    words = np.array([f"digit {i}" for i in range(20)])[np.arange(len(X)) % 20]
    assert len(CodeDisplay.from_estimator(fitted, X, words).ax_.collections) == 20
    assert len(CodeDisplay.from_estimator(fitted, X).ax_.collections) == 1


def test_columns_that_the_code_does_not_have_are_refused(fitted):
    for components in ((0, 4), (0,), (-1, 0), 0, (0.0, 1.0)):
        with pytest.raises(ValueError, match=r"components=.* from 0 to 3"):
            CodeDisplay.from_estimator(fitted, X, components=components)


def test_labels_are_one_for_each_row(fitted):
    for labels in (y[:5], np.column_stack([y, y])):
        with pytest.raises(ValueError, match=r"inconsistent numbers of samples|1d array"):
            CodeDisplay.from_estimator(fitted, X, labels)
    assert not plt.get_fignums()
    assert len(CodeDisplay.from_estimator(fitted, X, y[:, None]).ax_.collections) == 10
    mixed = np.where(y > 4, None, "low")
    assert len(CodeDisplay.from_estimator(fitted, X, mixed).ax_.collections) == 2


def test_errors_are_shown_against_the_number_of_components():
    ae = AutoencoderTransformer(max_steps=30, random_state=0)
    estimators = {"PCA": PCA(svd_solver="full"), "ours": ae}
    display = ComponentsDisplay.from_estimator(estimators, X[:600], X[600:900], n_components=(2, 4))
    pca, ours = display.ax_.lines
    expected = PCA(4, svd_solver="full").fit(X[:600])
    rows = expected.inverse_transform(expected.transform(X[600:900]))
    assert pca.get_ydata()[1] == pytest.approx(((rows - X[600:900]) ** 2).mean())
    assert (ours.get_ydata() < pca.get_ydata()).all()
    assert not hasattr(ae, "encoder_")
    one = ComponentsDisplay.from_estimator(PCA(), X, n_components=(2,))
    assert list(one.errors) == ["PCA"]
    two = ComponentsDisplay.from_estimator([PCA(), PCA(whiten=True)], X, n_components=(2,))
    assert list(two.errors) == ["PCA()", "PCA(whiten=True)"]


@pytest.mark.slow
def test_sizes_that_a_fit_has_tried_are_shown_without_fitting():
    settings = {"max_steps": 20, "validation_fraction": 0.4, "random_state": 0}
    ae = AutoencoderTransformer(0.8, hidden_layer_sizes=(), **settings).fit(X[:300])
    display = ComponentsDisplay.from_estimator(ae)
    np.testing.assert_array_equal(display.ax_.lines[0].get_xydata(), ae.components_curve_)
    for others in (PCA().fit(X), [ae, PCA()]):
        with pytest.raises(ValueError, match="Without X, give one estimator"):
            ComponentsDisplay.from_estimator(others)


def test_displays_draw_where_they_are_told(fitted):
    figure, axes = plt.subplots(2, 2)
    for draw, ax in (
        (lambda ax: LossCurveDisplay.from_estimator(fitted, ax=ax), axes[0, 0]),
        (lambda ax: CodeDisplay.from_estimator(fitted, X, ax=ax), axes[0, 1]),
        (lambda ax: ComponentsDisplay([2, 4], {"x": [2, 1]}).plot(ax=ax), axes[1, 0]),
    ):
        display = draw(ax)
        assert display.ax_ is ax
        assert display.figure_ is figure
    display = ReconstructionDisplay.from_estimator(fitted, X, n_samples=2, ax=axes[1, 1])
    assert display.figure_ is figure
    assert len(plt.get_fignums()) == 1


@pytest.mark.slow
def test_importing_the_module_loads_no_matplotlib_and_no_tensorflow():
    program = (
        "import sys, skae.plotting; assert not {'matplotlib', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
