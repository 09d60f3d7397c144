"""scikit-learn's estimator checks. More settings of each estimator are in `tests/peers`."""

import numpy as np
import pytest
from sklearn.utils.estimator_checks import (
    check_estimator,
    check_param_validation,
    parametrize_with_checks,
)

from skae import (
    AutoencoderImputer,
    AutoencoderTransformer,
    OutlierDetector,
    VariationalAutoencoder,
)

TUTORIAL = {
    "hidden_layer_sizes": (128,),
    "activation": "logistic",
    "code_activation": "logistic",
    "output_activation": "logistic",
    "init": "normal",
    "whiten": False,
    "learning_rate": "constant",
    "learning_rate_init": 1e-3,
    "batch_size": 32,
    "alpha": 0.0,
    "validation_fraction": 0,
}


@parametrize_with_checks(
    [AutoencoderTransformer(hidden_layer_sizes=(), max_steps=5, validation_fraction=0)]
)
def test_passes_scikit_learns_checks(estimator, check):
    check(estimator)


def differs_from_repeated_rows(estimator):
    """Return the checks that compare weights with repeated rows, and the reason of a difference."""
    reason = "The network is trained in float32: codes differ by 1e-7."
    if estimator.n_components == 0.9:
        reason = "Other rows are held out, at random, to choose the number of components."
    return {
        f"check_sample_weight_equivalence_on_{kind}_data": reason for kind in ("dense", "sparse")
    }


@pytest.mark.slow
@parametrize_with_checks(
    [
        AutoencoderTransformer(0.9, hidden_layer_sizes=(), max_steps=20),
        AutoencoderTransformer(**TUTORIAL, max_steps=20),
    ],
    expected_failed_checks=differs_from_repeated_rows,
)
def test_passes_scikit_learns_checks_in_other_forms(estimator, check):
    check(estimator)


@pytest.mark.slow
def test_with_defaults_fails_no_check_and_skips_only_the_array_api():
    results = check_estimator(AutoencoderTransformer(), on_skip=None)
    not_passed = {r["check_name"]: r["status"] for r in results if r["status"] != "passed"}
    assert not_passed in ({}, {"check_array_api_input": "skipped"})


@pytest.mark.parametrize("name", ["components_", "encoder_"])
def test_has_no_fitted_attribute_before_fit(name):
    assert not hasattr(AutoencoderTransformer(), name)


@pytest.mark.parametrize(
    "estimator",
    [AutoencoderTransformer(), AutoencoderImputer(), VariationalAutoencoder(), OutlierDetector()],
    ids=lambda estimator: type(estimator).__name__,
)
def test_scikit_learn_finds_no_parameter_whose_constraints_overlap(estimator):
    check_param_validation(type(estimator).__name__, estimator)


@pytest.mark.parametrize("share", [0.5, np.float64(0.5), np.float32(0.5), np.float16(0.5)])
def test_a_share_of_variance_may_be_any_float(share):
    AutoencoderTransformer(share)._validate_params()
    with pytest.raises(ValueError, match="n_components"):
        AutoencoderTransformer(share + 1)._validate_params()
