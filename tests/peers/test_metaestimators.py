"""Tests of meta-estimators, with autoencoders inside of FeatureUnion."""

from sklearn.pipeline import FeatureUnion

from .loading import peer_tests
from .substitutes import QUICK, MaxAbsScaler, StandardScaler, in_their_places

_SUBSTITUTES = in_their_places(MaxAbsScaler, StandardScaler)
# The only meta-estimator that the tests give transformers of numbers.
_SUBSTITUTES["sklearn.utils.all_estimators"] = lambda: [("FeatureUnion", FeatureUnion)]

globals().update(peer_tests("tests/test_metaestimators.py", _SUBSTITUTES, {"quick": QUICK}))
