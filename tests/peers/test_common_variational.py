"""scikit-learn's tests of all estimators, with VariationalAutoencoder in many settings."""

from skae import VariationalAutoencoder

from .loading import QUICK, peer_tests, replace_all_estimators

_ESTIMATORS = [
    VariationalAutoencoder(**QUICK),
    VariationalAutoencoder(**QUICK, validation_fraction=0, n_draws=2),
    VariationalAutoencoder(**QUICK, validation_fraction=0, bounds=None),
    VariationalAutoencoder(**QUICK, validation_fraction=0, bounds=(-100, 100)),
    VariationalAutoencoder(**QUICK, validation_fraction=0, learning_rate="cosine"),
    VariationalAutoencoder(**QUICK, validation_fraction=0, alpha=0),
    VariationalAutoencoder(**QUICK, validation_fraction=0),
    VariationalAutoencoder(
        **QUICK, validation_fraction=0, noise_variance="feature", contamination=0.1, beta=0.5
    ),
]

globals().update(peer_tests("tests/test_common.py", replace_all_estimators(_ESTIMATORS)))
