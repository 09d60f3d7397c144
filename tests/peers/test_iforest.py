"""Tests of IsolationForest, with the detector of outliers."""

from .loading import peer_tests
from .substitutes import QUICK, IsolationForest, in_their_places

globals().update(
    peer_tests(
        "ensemble/tests/test_iforest.py",
        in_their_places(IsolationForest),
        {"quick": QUICK},
    )
)
