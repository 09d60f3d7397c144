"""Import of scikit-learn's test modules with other classes."""

import importlib.util
import inspect
import re
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

import pytest
import sklearn
from sklearn.base import clone

import skae

# A compiled fit with these parameters takes a few hundredths of a second.
QUICK = {"n_components": 2, "hidden_layer_sizes": (), "max_steps": 1}


def replace_all_estimators(estimators):
    """Return substitutes for scikit-learn's list of all estimators."""

    def tested_estimators(type_filter=None):
        is_asked = {None: None, "transformer": "transform"}[type_filter]
        return [clone(e) for e in estimators if is_asked is None or hasattr(e, is_asked)]

    return {"sklearn.utils._test_common.instance_generator._tested_estimators": tested_estimators}


@contextmanager
def replaced(substitutes):
    """Replace objects of scikit-learn, given by their dotted names."""
    with ExitStack() as stack:
        for name, substitute in substitutes.items():
            stack.enter_context(mock.patch(name, substitute))
        yield


def peer_tests(path, substitutes, settings=None):
    """Return the global names with which a test module runs one of scikit-learn's.

    Parameters
    ----------
    path : str
        File of the module, in the package of scikit-learn.
    substitutes : dict
        Replacements of objects of scikit-learn, by their dotted names.
    settings : dict of dict or None
        Attributes of the substitutes for each setting of the tests.
    """
    settings = settings or {"default": {}}
    file = Path(sklearn.__file__).parent / path
    name = ".".join(["sklearn", *Path(path).with_suffix("").parts]) + "_with_skae"
    spec = importlib.util.spec_from_file_location(name, file)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    with replaced(substitutes):
        spec.loader.exec_module(module)

    @pytest.fixture(autouse=True, params=settings.values(), ids=settings.keys())
    def setting(request, monkeypatch):
        with replaced(substitutes):
            for substitute in filter(inspect.isclass, substitutes.values()):
                for attribute, value in request.param.items():
                    monkeypatch.setattr(substitute, attribute, value)
            yield

    names = {name.rsplit(".", 1)[1] for name in substitutes} | set(skae.__all__)
    members = {n: v for n, v in vars(module).items() if not n.startswith("__")}
    others = [n for n in members if n.startswith("test") and not _uses(module, n, names, set())]
    return {
        **{n: v for n, v in members.items() if n not in others},
        "setting": setting,
        "pytestmark": [pytest.mark.slow, pytest.mark.filterwarnings("default")],
    }


def _uses(module, name, names, seen):
    """Whether an object of a module, or an object that it uses, contains one of these names."""
    seen.add(name)
    value = vars(module)[name]
    if getattr(value, "__module__", module.__name__) != module.__name__:
        return False
    has_source = inspect.isroutine(value) or inspect.isclass(value)
    text = inspect.getsource(value) if has_source else repr(value)
    words = set(re.findall(r"\w+", text))
    return bool(words & names) or any(
        _uses(module, word, names, seen) for word in words & vars(module).keys() - seen
    )
