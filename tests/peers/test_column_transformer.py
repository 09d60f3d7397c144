"""Tests of ColumnTransformer, with autoencoders in the place of scalers."""

from .loading import peer_tests
from .substitutes import QUICK, StandardScaler, in_their_places

globals().update(
    peer_tests(
        "compose/tests/test_column_transformer.py",
        in_their_places(StandardScaler),
        {"quick": QUICK},
    )
)
