"""Tests of PCA, with autoencoders."""

from .loading import peer_tests
from .substitutes import KEPT, PCA, replacements

globals().update(
    peer_tests(
        "decomposition/tests/test_pca.py",
        replacements(PCA),
        {"kept": KEPT},
    )
)
