"""A check that displays leave the style alone, and a fitted estimator."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
from sklearn.datasets import load_digits

from skae import AutoencoderTransformer


@pytest.fixture(autouse=True)
def _style_is_left_alone():
    plt.switch_backend("agg")
    plt.close("all")  # of other tests
    before = dict(mpl.rcParams)
    yield
    assert dict(mpl.rcParams) == before
    plt.close("all")


@pytest.fixture(scope="session")
def fitted():
    X = load_digits().data
    return AutoencoderTransformer(4, max_steps=60, random_state=0).fit(X[:600])
