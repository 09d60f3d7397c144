"""Common tests of imputers."""

from .loading import peer_tests
from .substitutes import KEPT, TRAINED, IterativeImputer, KNNImputer, SimpleImputer, replacements

globals().update(
    peer_tests(
        "impute/tests/test_common.py",
        replacements(SimpleImputer, KNNImputer, IterativeImputer),
        {"kept": KEPT, "trained": TRAINED},
    )
)
