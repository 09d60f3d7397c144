"""Tests of LocalOutlierFactor, with the detector of outliers."""

from .loading import peer_tests
from .substitutes import QUICK, LocalOutlierFactor, in_their_places

globals().update(
    peer_tests(
        "neighbors/tests/test_lof.py",
        in_their_places(LocalOutlierFactor),
        {"quick": QUICK},
    )
)
