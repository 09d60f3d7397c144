"""Validate the docstrings of all public names with numpydoc.

``python docs/check_docstrings.py`` or ``make -C docs docstrings``. The exit status is 1 if numpydoc
finds an error that is not ignored below.
"""

import importlib
import inspect
import sys

from numpydoc.validate import validate

MODULES = ("skae", "skae.plotting")
# Checks that the docstrings of this project do not pass, on purpose.
IGNORED = {
    "ES01",  # no extended summary, if one sentence is enough
    "RT02",  # results have names, as scikit-learn writes them
}
IGNORED_OF_METHODS = {
    "EX01",  # the examples of a class show its methods
    "SA01",  # the methods of a class are on its page
}


def public_names():
    """Yield the dotted name of each public class, and of each public method that it defines."""
    for module in MODULES:
        loaded = importlib.import_module(module)
        for name in loaded.__all__:
            yield f"{module}.{name}", True
            for method, member in inspect.getmembers(getattr(loaded, name)):
                owner = getattr(member, "__module__", None) or ""
                is_ours = owner.startswith("skae") or isinstance(member, property)
                if not method.startswith("_") and is_ours and inspect.getdoc(member):
                    yield f"{module}.{name}.{method}", False


def main():
    """Print the findings of numpydoc, and return whether there are any."""
    n_names, findings = 0, []
    for name, is_class in public_names():
        n_names += 1
        ignored = IGNORED if is_class else IGNORED | IGNORED_OF_METHODS
        for code, text in validate(name)["errors"]:
            if code not in ignored:
                findings.append(f"{name}: {code} {text}\n")
    sys.stdout.writelines(findings)
    sys.stdout.write(f"{n_names} public names, {len(findings)} findings\n")
    return bool(findings)


if __name__ == "__main__":
    sys.exit(main())
