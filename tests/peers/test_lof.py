"""Tests of LocalOutlierFactor, with the outlier detector."""

from .loading import peer_tests
from .substitutes import QUICK, LocalOutlierFactor, replacements

globals().update(
    peer_tests(
        "neighbors/tests/test_lof.py",
        replacements(LocalOutlierFactor),
        {"quick": QUICK},
    )
)
