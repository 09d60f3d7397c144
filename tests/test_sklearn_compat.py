"""Compatibility with versions of scikit-learn."""

import subprocess
import sys
import warnings

import pytest

from skae import AutoencoderTransformer
from skae._sklearn_compat import warn, without_callbacks

WITHOUT_CALLBACKS = """
import sys
import numpy as np
import sklearn.decomposition
sys.modules["sklearn.callback"] = None  # as in versions before scikit-learn 1.9
from skae import AutoencoderTransformer
X = np.random.default_rng(0).normal(size=(40, 3))
ae = AutoencoderTransformer(2, max_steps=5, random_state=0).set_callbacks().fit(X)
assert ae.partial_fit(X).transform(X).shape == (40, 2)
try:
    ae.set_callbacks(print)
except RuntimeError as error:
    print(error)
"""


@pytest.mark.slow
def test_works_with_versions_of_scikit_learn_without_callbacks():
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_CALLBACKS], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("Callbacks need scikit-learn 1.9 or newer, and this is ")


def test_warnings_name_the_line_of_the_caller():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn("a message", UserWarning)
    assert caught[0].filename == __file__


def test_only_callbacks_are_removed():
    ae = AutoencoderTransformer(2)
    before = dict(vars(ae))
    ae._skl_callbacks = ae._callback_fit_ctx = []
    assert vars(without_callbacks(ae)) == before


@pytest.mark.parametrize("name", ["alpha", "learning_rate_init", "tol"])
def test_errors_name_parameters_too_large_for_a_float(name):
    with pytest.raises(ValueError, match=f"{name} is too large for a float"):
        AutoencoderTransformer(**{name: 10**400}).fit([[0.0, 1.0], [1.0, 0.0]])
