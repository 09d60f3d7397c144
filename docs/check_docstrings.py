"""Validate the docstrings of all public names with numpydoc.

``python docs/check_docstrings.py`` or ``make -C docs docstrings``. The exit status is 1 if numpydoc
finds what is not in KNOWN below, or no longer finds what is.
"""

import importlib
import inspect
import sys

from numpydoc.validate import validate

MODULES = ("skae", "skae.plotting")
# What this project's docstrings do otherwise, on purpose.
IGNORED = {
    "ES01",  # no extended summary, where one sentence says it
    "RT02",  # results have names, as scikit-learn writes them
}
IGNORED_OF_METHODS = {
    "EX01",  # the examples of a class show its methods
    "SA01",  # the methods of a class are on its page
}
_DISPLAYS = ("Code", "Components", "Contribution", "Imputation", "LossCurve", "Reconstruction")
_CALLBACK = ("setup", "teardown", "on_fit_task_begin", "on_fit_task_end")
# What is still to be mended in docstrings: code, and names.
KNOWN = {
    # no See Also
    "SA01": {"skae.Shard", *(f"skae.plotting.{name}Display" for name in _DISPLAYS)},
    # parameters that share the line "As in AutoencoderTransformer": no types, another order
    "PR03": {"skae.AutoencoderImputer", "skae.VariationalAutoencoder"},
    "PR04": {"skae.AutoencoderImputer", "skae.OutlierDetector", "skae.VariationalAutoencoder"},
    # parameters that scikit-learn's protocol of callbacks gives
    "PR01": {f"skae.Checkpoint.{name}" for name in _CALLBACK},
    # a result without description
    "RT03": {
        "skae.AutoencoderImputer.get_feature_names_out",
        *(f"skae.plotting.{name}Display.plot" for name in _DISPLAYS),
    },
    # a summary that begins with a noun which ends in s
    "SS05": {"skae.AutoencoderImputer.get_feature_names_out"},
}


def public_names():
    """Yield the dotted name of each public class, and of each public method of its own."""
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
    """Print what numpydoc finds and KNOWN does not say, and return whether there is any."""
    n_names, found, text_of = 0, set(), {}
    for name, is_class in public_names():
        n_names += 1
        ignored = IGNORED if is_class else IGNORED | IGNORED_OF_METHODS
        for code, text in validate(name)["errors"]:
            if code not in ignored:
                found.add((code, name))
                text_of[code, name] = text
    known = {(code, name) for code, names in KNOWN.items() for name in names}
    for code, name in sorted(found - known):
        sys.stdout.write(f"{name}: {code} {text_of[code, name]}\n")
    for code, name in sorted(known - found):
        sys.stdout.write(f"{name}: {code} is mended: take it out of KNOWN\n")
    n_new = len(found ^ known)
    sys.stdout.write(f"{n_names} public names, {len(found)} findings, {n_new} not as in KNOWN\n")
    return bool(n_new)


if __name__ == "__main__":
    sys.exit(main())
