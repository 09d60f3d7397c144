"""Tests of IncrementalPCA, with autoencoders."""

from .loading import peer_tests
from .substitutes import KEPT, TRAINED, IncrementalPCA, replacements

globals().update(
    peer_tests(
        "decomposition/tests/test_incremental_pca.py",
        replacements(IncrementalPCA),
        {"kept": KEPT, "trained": TRAINED},
    )
)
