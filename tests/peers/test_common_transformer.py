"""scikit-learn's tests of all estimators, with AutoencoderTransformer in many settings."""

from skae import AutoencoderTransformer

from .loading import QUICK, peer_tests, replace_all_estimators

_ESTIMATORS = [
    AutoencoderTransformer(**QUICK),
    AutoencoderTransformer(**QUICK, whiten=False),
    AutoencoderTransformer(**QUICK, bounds=None),
    AutoencoderTransformer(**QUICK, bounds=(-100, 100)),
    AutoencoderTransformer(**QUICK, learning_rate="cosine"),
    AutoencoderTransformer(**QUICK, early_stopping=True),
    AutoencoderTransformer(**QUICK, validation_fraction=0),
    AutoencoderTransformer(**QUICK, validation_fraction=0, noise=0.3, corruption="masking"),
    AutoencoderTransformer(**QUICK, validation_fraction=0, noise=0.3, corruption="missing"),
    AutoencoderTransformer(**QUICK, validation_fraction=0, noise=0.3, corruption="swap"),
    AutoencoderTransformer(**QUICK, validation_fraction=0, target_weight=0.1),
    AutoencoderTransformer(**QUICK, validation_fraction=0, init="glorot", activation="tanh"),
]

globals().update(peer_tests("tests/test_common.py", replace_all_estimators(_ESTIMATORS)))
