"""Marks of tests of scikit-learn that must fail, and a check for outdated marks."""

import warnings
from fnmatch import fnmatchcase

import pytest
from sklearn.conftest import global_dtype, pyplot  # noqa: F401

from .differences import DIFFERENCES, MAY_PASS

# Marks of scikit-learn's own plugins.
_MARKS = ("no_check_spmatrix", "thread_unsafe")


def pytest_configure(config):
    for mark in _MARKS:
        config.addinivalue_line("markers", f"{mark}: scikit-learn's")


def pytest_ignore_collect(config):
    """Do not import scikit-learn's tests if they cannot run."""
    return config.option.markexpr == "not slow" or None


@pytest.fixture
def global_random_seed():
    """Return the seed of scikit-learn's tests."""
    return 42


@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makeitem(collector, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's tests may be older than pytest
        items = yield
    entries = DIFFERENCES.get(collector.path.stem, {})
    for pattern in entries:
        if pattern.partition("[")[0] != name:
            continue
        matched = [item for item in items if fnmatchcase(item.name, pattern.replace("[", "[[]"))]
        if pattern == name:
            matched = items
        assert matched, f"{pattern} in differences.py is no test of {collector.path.name}"
        for item in matched:
            strict = pattern not in MAY_PASS
            item.add_marker(pytest.mark.xfail(strict=strict, reason=entries[pattern]))
    return items
