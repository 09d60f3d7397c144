"""Displays of codes and of numbers of components: artists and data, not pixels."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from skae import AutoencoderTransformer
from skae.plotting import CodeDisplay, ComponentsDisplay

X, y = load_digits(return_X_y=True)


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
def test_errors_of_incomplete_rows_are_over_what_is_observed():
    rows = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)[:300]
    ae = AutoencoderTransformer(max_steps=20, random_state=0)
    display = ComponentsDisplay.from_estimator(ae, X[:300], rows, n_components=(2, 4))
    fitted = ae.set_params(n_components=4).fit(X[:300])
    expected = np.nanmean(np.square(fitted.reconstruct(rows) - rows))
    assert display.errors["AutoencoderTransformer"][1] == pytest.approx(expected)


@pytest.mark.slow
def test_sizes_that_a_fit_has_tried_are_shown_without_fitting():
    settings = {"max_steps": 20, "validation_fraction": 0.4, "random_state": 0}
    ae = AutoencoderTransformer(0.8, hidden_layer_sizes=(), **settings).fit(X[:300])
    display = ComponentsDisplay.from_estimator(ae)
    np.testing.assert_array_equal(display.ax_.lines[0].get_xydata(), ae.components_curve_)
    for others in (PCA().fit(X), [ae, PCA()]):
        with pytest.raises(ValueError, match="Without X, give one estimator"):
            ComponentsDisplay.from_estimator(others)
