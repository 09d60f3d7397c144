"""Displays of curves: artists and data, not pixels."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline

from skae import AutoencoderTransformer
from skae.plotting import LossCurveDisplay

X = load_digits().data


def test_the_curve_says_where_training_started():
    X = np.random.default_rng(0).normal(size=(60, 5))
    settings = {"max_steps": 2, "validation_fraction": 0.5, "random_state": 0}
    ae = AutoencoderTransformer(2, hidden_layer_sizes=(8,), warm_start=True, **settings)
    names = [LossCurveDisplay.from_estimator(ae.fit(X)).start_name for _ in range(2)]
    names.append(LossCurveDisplay.from_estimator(ae.partial_fit(X)).start_name)
    ae.set_params(warm_start=False).fit(X)
    names.append(LossCurveDisplay.from_estimator(ae.set_params(warm_start=True)).start_name)
    assert names == ["PCA", "start", "start", "PCA"]


@pytest.mark.parametrize("start", ["fit", "partial_fit"])
def test_a_streams_curve_has_no_selected_network(start):
    settings = {"max_steps": 10, "validation_fraction": 0.5, "random_state": 0}
    ae = getattr(AutoencoderTransformer(2, **settings), start)(X[:200])
    ae.partial_fit(X)
    labels = [line.get_label() for line in LossCurveDisplay.from_estimator(ae).ax_.lines]
    assert labels == ["training", "validation rows", "PCA, validation rows"]


def test_an_estimator_without_curves_is_refused(fitted):
    with pytest.raises(TypeError, match=r"got Pipeline\. If it is a step of a pipeline, pass"):
        LossCurveDisplay.from_estimator(make_pipeline(fitted))
    one_row = AutoencoderTransformer(2).fit(X[:1])
    assert not LossCurveDisplay.from_estimator(one_row).ax_.lines


def test_curves_show_pcas_level_and_the_network_that_was_kept(fitted):
    display = LossCurveDisplay.from_estimator(fitted)
    lines = {line.get_label(): line for line in display.ax_.lines}
    assert set(lines) == {
        "training",
        "validation rows",
        "PCA, validation rows",
        f"kept: step {fitted.best_step_}",
    }
    np.testing.assert_array_equal(
        np.column_stack(lines["validation rows"].get_data()), fitted.validation_curve_
    )
    assert lines["PCA, validation rows"].get_ydata()[0] == fitted.validation_curve_[0, 1]
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
    assert "start, validation rows" in [line.get_label() for line in display.ax_.lines]
