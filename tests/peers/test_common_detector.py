"""scikit-learn's tests of all estimators, with OutlierDetector in many settings."""

from skae import OutlierDetector

from .loading import QUICK, peer_tests, replace_all_estimators

_ESTIMATORS = [
    OutlierDetector(**QUICK),
    OutlierDetector(**QUICK, validation_fraction=0, bounds=None),
    OutlierDetector(**QUICK, validation_fraction=0, bounds=(-100, 100)),
    OutlierDetector(**QUICK, validation_fraction=0, alpha=0),
    OutlierDetector(**QUICK, validation_fraction=0, learning_rate_init=1e-3),
    OutlierDetector(**QUICK, validation_fraction=0, batch_size=64),
    OutlierDetector(**QUICK, validation_fraction=0),
    OutlierDetector(**QUICK, validation_fraction=0, max_iter=1),
    OutlierDetector(
        **QUICK, validation_fraction=0, noise_variance="feature", contamination=0.2, n_draws=2
    ),
]

globals().update(peer_tests("tests/test_common.py", replace_all_estimators(_ESTIMATORS)))
