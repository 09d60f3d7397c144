"""Tests of IncrementalPCA, with autoencoders."""

from .loading import peer_tests
from .substitutes import KEPT, TRAINED, IncrementalPCA, in_their_places

globals().update(
    peer_tests(
        "decomposition/tests/test_incremental_pca.py",
        in_their_places(IncrementalPCA),
        {"kept": KEPT, "trained": TRAINED},
    )
)
