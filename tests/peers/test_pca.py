"""Tests of PCA, with autoencoders."""

from .loading import peer_tests
from .substitutes import KEPT, PCA, in_their_places

globals().update(
    peer_tests(
        "decomposition/tests/test_pca.py",
        in_their_places(PCA),
        {"kept": KEPT},
    )
)
