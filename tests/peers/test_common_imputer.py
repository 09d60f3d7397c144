"""scikit-learn's tests of all estimators, with AutoencoderImputer in many settings."""

from skae import AutoencoderImputer

from .loading import QUICK, peer_tests, replace_all_estimators

_ESTIMATORS = [
    AutoencoderImputer(**QUICK),
    AutoencoderImputer(**QUICK | {"n_components": "auto"}, validation_fraction=0),
    AutoencoderImputer(**QUICK, validation_fraction=0, add_indicator=True),
    AutoencoderImputer(**QUICK, validation_fraction=0, keep_empty_features=True),
    AutoencoderImputer(**QUICK, validation_fraction=0, missing_values=-1e6),
    AutoencoderImputer(**QUICK, validation_fraction=0, bounds=None),
    AutoencoderImputer(**QUICK, validation_fraction=0, bounds=(-100, 100)),
    AutoencoderImputer(**QUICK, validation_fraction=0, noise=1.0),
    AutoencoderImputer(**QUICK, validation_fraction=0, alpha=0),
    AutoencoderImputer(**QUICK, validation_fraction=0),
    AutoencoderImputer(**QUICK, validation_fraction=0, max_iter=1),
]

globals().update(peer_tests("tests/test_common.py", replace_all_estimators(_ESTIMATORS)))
