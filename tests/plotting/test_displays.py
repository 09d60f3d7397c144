"""What all displays have in common."""

import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.sparse import coo_array, csr_matrix
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from skae.plotting import (
    CodeDisplay,
    ComponentsDisplay,
    ContributionDisplay,
    ImputationDisplay,
    LossCurveDisplay,
    ReconstructionDisplay,
)

X = load_digits().data


def test_displays_draw_in_the_given_axes(fitted):
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


def test_axes_anywhere_in_a_figure_will_do(fitted):
    figure = plt.figure()
    ax = figure.add_axes([0.2, 0.1, 0.5, 0.6])
    display = ReconstructionDisplay.from_estimator(fitted, X, n_samples=3, ordered=True, ax=ax)
    boxes = np.array([axes.get_position().get_points() for axes in display.axes_.flat])
    np.testing.assert_allclose(boxes.min(axis=0)[0], [0.2, 0.1])
    np.testing.assert_allclose(boxes.max(axis=0)[1], [0.7, 0.7])


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("shape", [None, (8, 8)])
def test_rows_without_variation_are_drawn(shape, ordered):
    rows = np.full((2, 64), 3.0)
    options = {"image_shape": shape, "ordered": ordered}
    ReconstructionDisplay(rows, {"same": rows}, **options).plot()
    ImputationDisplay(rows, {"same": rows}, **options).plot()
    contributions = np.zeros((2, 64))
    options = {"labels": ["a", "b"], "feature_names": list(map(str, range(64)))}
    ContributionDisplay(rows, contributions, np.zeros(2), **options, image_shape=shape).plot()
    ComponentsDisplay([1, 2], {"same": np.zeros(2)}).plot()


@pytest.mark.parametrize("container", [csr_matrix, coo_array])
def test_sparse_rows_are_shown(fitted, container):
    display = ReconstructionDisplay.from_estimator(fitted, container(X), n_samples=2)
    np.testing.assert_array_equal(display.rows, X[:2])
    pca = PCA(svd_solver="arpack")
    display = ComponentsDisplay.from_estimator(pca, container(X[:90]), n_components=(2, 3))
    assert (display.errors["PCA"] > 0).all()


@pytest.mark.slow
def test_importing_the_module_loads_no_matplotlib_and_no_tensorflow():
    program = (
        "import sys, skae.plotting; assert not {'matplotlib', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
