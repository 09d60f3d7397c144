"""Tests of IsolationForest, with the outlier detector."""

from .loading import peer_tests
from .substitutes import QUICK, IsolationForest, replacements

globals().update(
    peer_tests(
        "ensemble/tests/test_iforest.py",
        replacements(IsolationForest),
        {"quick": QUICK},
    )
)
