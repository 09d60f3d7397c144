"""Tests of pipelines, with autoencoders as steps."""

from .loading import peer_tests
from .substitutes import PCA, QUICK, SimpleImputer, StandardScaler, replacements

globals().update(
    peer_tests(
        "tests/test_pipeline.py",
        replacements(PCA, SimpleImputer, StandardScaler),
        {"quick": QUICK},
    )
)
