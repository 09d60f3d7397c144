"""Tests of ColumnTransformer, with autoencoders instead of scalers."""

from .loading import peer_tests
from .substitutes import QUICK, StandardScaler, replacements

globals().update(
    peer_tests(
        "compose/tests/test_column_transformer.py",
        replacements(StandardScaler),
        {"quick": QUICK},
    )
)
