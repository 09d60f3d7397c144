"""Tests of IterativeImputer, with the autoencoder."""

from .loading import peer_tests
from .substitutes import QUICK, IterativeImputer, KNNImputer, replacements

globals().update(
    peer_tests(
        "impute/tests/test_impute.py",
        replacements(KNNImputer, IterativeImputer),
        {"quick": QUICK},
    )
)
