"""Imports between modules."""

import ast
from functools import cache
from pathlib import Path

import pytest

import skae

ROOT = Path(skae.__file__).parent
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in ROOT.rglob("*.py")
}
ESTIMATORS_AND_EXPORTS = {
    "_autoencoder",
    "_imputer",
    "_outlier_detector",
    "_variational_autoencoder",
    "onnx",
    "_checkpoint",
    "__init__",
    *(name for name in MODULES if name.startswith("plotting.")),
}


@cache
def imports(name):
    """Return the modules of skae that a module imports at run time, in functions too."""
    found, tree = set(), ast.parse(MODULES[name].read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            package = name.split(".")[: -node.level]
            path = [*package, *(node.module.split(".") if node.module else [])]
            names = [".".join(path), *(".".join([*path, alias.name]) for alias in node.names)]
            found |= {imported for imported in names if imported in MODULES}
    return found


def test_the_loop_does_not_import_network_objective_optimiser_or_table():
    assert imports("_training.loop") <= {
        "_runtime.tensorflow",
        "_runtime.threads",
        "_runtime.workers",
        "_training.compiled",
    }


@pytest.mark.parametrize("name", sorted(MODULES.keys() - ESTIMATORS_AND_EXPORTS))
def test_other_modules_do_not_import_estimators_and_exports(name):
    assert not imports(name) & ESTIMATORS_AND_EXPORTS


def test_imports_between_modules_have_no_cycle():
    below, remaining = set(), set(MODULES)
    while remaining:
        free = {name for name in remaining if imports(name) <= below}
        assert free, f"a cycle among {sorted(remaining)}"
        below, remaining = below | free, remaining - free


def test_private_names_of_scikit_learn_are_imported_in_one_module():
    for name in MODULES.keys() - {"_sklearn_compat"}:
        for node in ast.walk(ast.parse(MODULES[name].read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sklearn"):
                parts = [*node.module.split("."), *(alias.name for alias in node.names)]
                assert not any(part.startswith("_") for part in parts), (name, parts)
