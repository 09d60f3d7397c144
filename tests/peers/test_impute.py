"""Tests of IterativeImputer, with the autoencoder."""

from .loading import peer_tests
from .substitutes import QUICK, IterativeImputer, KNNImputer, in_their_places

globals().update(
    peer_tests(
        "impute/tests/test_impute.py",
        in_their_places(KNNImputer, IterativeImputer),
        {"quick": QUICK},
    )
)
