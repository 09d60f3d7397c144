"""Each entry of the table of differences is a difference."""

import importlib
import inspect
import sys

import pytest
import sklearn
from sklearn.utils.fixes import parse_version

from . import substitutes
from .differences import DIFFERENCES, SINCE, UNTIL

pytestmark = pytest.mark.slow

_CLASSES = [(c, m) for c in DIFFERENCES if not c.startswith("test_") for m in DIFFERENCES[c]]
_TESTS = [(f, t) for f in DIFFERENCES if f.startswith("test_") for t in DIFFERENCES[f]]


@pytest.mark.parametrize(("substitute", "member"), _CLASSES)
def test_scikit_learn_has_the_member_and_skae_does_not(substitute, member):
    substitute = getattr(substitutes, substitute)
    module, name = substitute.place.rsplit(".", 1)
    peer = getattr(sys.modules[module], name)
    ours = next(c for c in substitute.__mro__ if c.__module__.startswith("skae."))
    name, _, value = member.partition("=")
    parameters = inspect.signature(peer).parameters
    source = inspect.getsource(sys.modules[peer.__module__])
    assert name in parameters or (not value and (hasattr(peer, name) or name in source))
    assert value or not hasattr(ours, name), "skae has it, too"
    assert value or name not in inspect.signature(ours).parameters, "skae has it, too"


@pytest.mark.parametrize(("module", "pattern"), _TESTS)
def test_scikit_learn_has_the_test(module, pattern):
    name = pattern.partition("[")[0]
    version = parse_version(sklearn.__version__)
    is_too_old = version < parse_version(SINCE.get(name, "0"))
    if is_too_old or (name in UNTIL and version >= parse_version(UNTIL[name])):
        pytest.skip("this version of scikit-learn does not have the test")
    assert hasattr(importlib.import_module(f"{__package__}.{module}"), name)
