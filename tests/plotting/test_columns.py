"""Displays of the errors of columns: artists and data, not pixels."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba
from sklearn.datasets import load_iris

from skae import AutoencoderTransformer, OutlierDetector
from skae.plotting import ColumnErrorsDisplay

SETTINGS = {"hidden_layer_sizes": (), "max_steps": 2, "random_state": 0}
IRIS = load_iris(as_frame=True).frame.rename(columns={"target": "kind"})


@pytest.fixture(scope="module")
def mixed():
    """A frame with a category, and an autoencoder of it."""
    frame = IRIS.astype({"kind": "category"})
    return frame, AutoencoderTransformer(2, **SETTINGS).fit(frame)


def drawn(display):
    """Return the names, lengths and colours of the bars, from top to bottom."""
    names = [label.get_text() for label in display.ax_.get_yticklabels()]
    bars = sorted(display.ax_.patches, key=lambda bar: bar.get_y())
    return names, [bar.get_width() for bar in bars], [bar.get_facecolor() for bar in bars]


def test_the_columns_with_the_largest_errors_come_first(mixed):
    frame, ae = mixed
    display = ColumnErrorsDisplay.from_estimator(ae, frame)
    errors = pd.Series(ae.column_errors(frame), frame.columns).sort_values(ascending=False)
    names, lengths, colours = drawn(display)
    assert names == list(errors.index)
    np.testing.assert_array_equal(lengths, errors)
    assert [c == to_rgba("C1") for c in colours] == [name == "kind" for name in names]
    assert "share of wrong" in display.ax_.get_legend().get_texts()[1].get_text()
    bottom, top = display.ax_.get_ylim()
    assert bottom > top
    few = ColumnErrorsDisplay.from_estimator(ae, frame, n_features=2)
    assert drawn(few)[0] == names[:2]


def test_a_table_of_numbers_has_one_colour_and_no_legend():
    X = IRIS.to_numpy()
    ae = AutoencoderTransformer(2, **SETTINGS).fit(X)
    names = list("abcde")
    display = ColumnErrorsDisplay.from_estimator(ae, X, feature_names=names)
    assert set(drawn(display)[0]) == set(names)
    assert set(drawn(display)[2]) == {to_rgba("C0")}
    assert display.ax_.get_legend() is None
    assert drawn(ColumnErrorsDisplay.from_estimator(ae, X))[0][0].startswith("x")


@pytest.mark.parametrize("kind", [False, True])
def test_the_legend_lists_only_the_kinds_that_are_drawn(kind):
    errors = pd.Series([0.5, 0.2], index=["price $_$ x", "long" * 50])
    display = ColumnErrorsDisplay(errors, [kind, not kind], feature_names=errors.index)
    display.n_features = 1
    display.plot()
    display.figure_.canvas.draw()
    assert len(display.ax_.get_legend().get_texts()) == 1
    assert drawn(display)[2] == [to_rgba("C1" if kind else "C0")]
    display.n_features = 2
    names, _, _ = drawn(display.plot())
    assert names[0] == "price $_$ x"
    assert names[1] == "long" * 9 + "lon…"


def test_a_column_without_values_is_last(mixed):
    frame, ae = mixed
    display = ColumnErrorsDisplay.from_estimator(ae, frame.assign(kind=None))
    assert drawn(display)[0][-1] == "kind"


def test_the_given_axes_are_used(mixed):
    frame, ae = mixed
    figure, ax = plt.subplots()
    display = ColumnErrorsDisplay.from_estimator(ae, frame, ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is figure


def test_what_is_wrong_with_the_arguments(mixed):
    frame, ae = mixed
    with pytest.raises(ValueError, match="feature_names are 1, but X has 5 columns"):
        ColumnErrorsDisplay.from_estimator(ae, frame, feature_names=["a"])
    with pytest.raises(TypeError, match="must be a fitted AutoencoderTransformer, got Outlier"):
        ColumnErrorsDisplay.from_estimator(OutlierDetector(), frame)
