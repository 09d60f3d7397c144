"""Tests that imputers have in common."""

from .loading import peer_tests
from .substitutes import KEPT, TRAINED, IterativeImputer, KNNImputer, SimpleImputer, in_their_places

globals().update(
    peer_tests(
        "impute/tests/test_common.py",
        in_their_places(SimpleImputer, KNNImputer, IterativeImputer),
        {"kept": KEPT, "trained": TRAINED},
    )
)
