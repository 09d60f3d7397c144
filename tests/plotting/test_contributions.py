"""Displays of contributions: artists and data, not pixels."""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.sparse import coo_array, csr_matrix
from sklearn.datasets import load_digits, load_wine
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import OutlierDetector
from skae.plotting import ContributionDisplay

X = load_digits().data


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
    expected = [f"row {i}: score {scores[i]:.4g}" for i in scores.argsort()[:3]]
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
    missing = frame.copy()
    missing.iloc[7, 2] = np.nan
    missing.iloc[3], missing.iloc[:, 5] = np.nan, np.nan
    display = ContributionDisplay.from_estimator(detector, missing, rows=[7, 3], n_features=12)
    assert [len(axes.patches) for axes in display.axes_.flat] == [10, 0]
    entries = np.where(np.isnan(missing), np.nan, detector.score_features(missing))
    expected = entries[7, 0] - np.nanmedian(entries[:, 0])
    np.testing.assert_allclose(display.contributions[0, 0], expected)
    display = ContributionDisplay.from_estimator(detector, missing, rows=[7, 3], image_shape=(3, 4))
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
    with pytest.raises(TypeError, match=r"got Pipeline\. If it is a step of a pipeline, pass"):
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
