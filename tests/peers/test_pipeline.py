"""Tests of pipelines, with autoencoders as steps."""

from .loading import peer_tests
from .substitutes import PCA, QUICK, SimpleImputer, StandardScaler, in_their_places

globals().update(
    peer_tests(
        "tests/test_pipeline.py",
        in_their_places(PCA, SimpleImputer, StandardScaler),
        {"quick": QUICK},
    )
)
