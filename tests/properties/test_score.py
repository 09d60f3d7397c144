"""Scores, computed by hand from the reconstruction."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skae import AutoencoderImputer, AutoencoderTransformer
from skae._networks.activations import ACTIVATIONS

RNG = np.random.default_rng(0)
ROWS = np.tanh(RNG.normal(size=(64, 2)) @ RNG.normal(size=(2, 5)) + RNG.normal(size=5))
NEW = 3 * RNG.normal(size=(20, 5))
IS_MISSING = RNG.random(ROWS.shape) < 0.2
SHORT = {
    "hidden_layer_sizes": (4,),
    "max_steps": 4,
    "validation_fraction": 0,
    "random_state": 0,
}


def scaled_to_all_columns(squares, is_missing):
    """Sum squares of each row over its observed entries, and scale the sum to all columns."""
    n_observed = (~is_missing).sum(axis=1)
    return np.where(is_missing, 0, squares).sum(axis=1) * squares.shape[1] / n_observed


def check_scores(ae, X):
    is_missing, in_double = np.isnan(X), X.astype(np.float64)
    errors = scaled_to_all_columns((ae.reconstruct(X) - in_double) ** 2, is_missing)
    distances = scaled_to_all_columns((in_double - ae.mean_) ** 2, is_missing)
    rtol = 1e-9 if X.dtype == np.float64 else 1e-4
    unit = ae.scale_**2 * X.shape[1]
    np.testing.assert_allclose(-ae.score_samples(X), errors, rtol=rtol, atol=rtol * unit)
    by_hand = 1 - errors.sum() / distances.sum()
    assert ae.score(X) == pytest.approx(by_hand, abs=rtol * errors.sum() / distances.sum() + rtol)


def check(params, X):
    for dtype in ("float64", "float32"):
        ae = AutoencoderTransformer(2, **SHORT | params).fit(X.astype(dtype))
        for rows in (ROWS, NEW, np.where(IS_MISSING, np.nan, ROWS), NEW[:1]):
            check_scores(ae, rows.astype(dtype))


@pytest.mark.parametrize(
    "output",
    [
        "logistic",
        *(pytest.param(a, marks=pytest.mark.slow) for a in sorted(set(ACTIVATIONS) - {"logistic"})),
    ],
)
def test_scores_are_those_of_the_reconstruction_with_any_output_activation(output):
    check({"init": "glorot", "output_activation": output}, ROWS)


@pytest.mark.slow
@given(
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    code=st.sampled_from(sorted(ACTIVATIONS)),
    output=st.sampled_from(sorted(ACTIVATIONS)),
    init=st.sampled_from(["glorot", "normal"]),
    whiten=st.booleans(),
    is_incomplete=st.booleans(),
)
@settings(max_examples=12)
def test_scores_are_those_of_the_reconstruction_of_any_plain_stack(
    activation, code, output, init, whiten, is_incomplete
):
    params = {"activation": activation, "code_activation": code, "output_activation": output}
    params |= {"init": init, "whiten": whiten and code == "identity"}
    check(params, np.where(IS_MISSING, np.nan, ROWS) if is_incomplete else ROWS)


@pytest.mark.slow
@pytest.mark.parametrize("is_incomplete", [False, True])
@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("bounds", ["auto", None, (-0.2, 0.3), (None, 0.1)], ids=str)
def test_scores_are_those_of_the_reconstruction_with_any_bounds(bounds, whiten, is_incomplete):
    X = (
        np.where(IS_MISSING, np.nan, ROWS.clip(-0.5, 0.5))
        if is_incomplete
        else ROWS.clip(-0.5, 0.5)
    )
    check({"bounds": bounds, "whiten": whiten}, X)
    check({"bounds": bounds, "whiten": whiten, "validation_fraction": 0.5}, X)


def test_scores_of_an_imputers_network_are_those_of_its_reconstruction():
    imputer = AutoencoderImputer(2, **SHORT).fit(np.where(IS_MISSING, np.nan, ROWS))
    check_scores(imputer.autoencoder_, ROWS)
    check_scores(imputer.autoencoder_, np.where(IS_MISSING, np.nan, NEW.repeat(4, axis=0)[:64]))


@pytest.mark.slow
@pytest.mark.parametrize("output", ["silu", "tanh", "relu"])
def test_distant_rows_have_a_score_with_an_output_activation(output):
    ae = AutoencoderTransformer(2, **SHORT, init="glorot", output_activation=output).fit(ROWS)
    X = np.vstack([ROWS, np.full((1, 5), 1e160)])
    assert -1e6 < ae.score(X) <= 1
    assert ae.score(ROWS * 1e-170) <= 1
    assert np.isneginf(ae.score_samples(X)[-1])
