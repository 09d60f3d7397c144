"""Tests of meta-estimators, with autoencoders inside of FeatureUnion."""

from sklearn.pipeline import FeatureUnion

from .loading import peer_tests
from .substitutes import QUICK, MaxAbsScaler, StandardScaler, replacements

_SUBSTITUTES = replacements(MaxAbsScaler, StandardScaler)
# The only meta-estimator that is tested with transformers of numbers.
_SUBSTITUTES["sklearn.utils.all_estimators"] = lambda: [("FeatureUnion", FeatureUnion)]

globals().update(peer_tests("tests/test_metaestimators.py", _SUBSTITUTES, {"quick": QUICK}))
