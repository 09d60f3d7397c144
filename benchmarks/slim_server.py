"""Estimators in a server without TensorFlow: equal results, size on disk and memory.

``python benchmarks/slim_server.py write FOLDER`` fits the estimators in an environment with
TensorFlow, and saves each one with rows and with the results of its methods.

``python benchmarks/slim_server.py check FOLDER`` runs in the environment of the server, in which
skae is installed with ``pip install --no-deps``, and TensorFlow, Keras, optree and matplotlib are
not installed. It loads the files and compares the results. It then checks that `fit` raises an
ImportError that names TensorFlow. It prints the size of the installed packages, without pip and
setuptools, and the peak memory of the process. If pandas is installed, the check includes an
estimator that was fitted to a data frame, and not the size.
"""

import argparse
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import joblib
import numpy as np
from sklearn.datasets import load_digits

import skae

ABSENT = ("keras", "matplotlib", "optree", "tensorflow")
# Packages of the virtual environment that the server does not need.
TOOLS = ("_distutils_hack", "pip", "pkg_resources", "setuptools")
MAX_MEGABYTES = 300
METHODS = {
    "AutoencoderTransformer": ("transform", "reconstruct", "score_samples"),
    "AutoencoderImputer": ("transform",),
    "VariationalAutoencoder": ("transform", "score_samples"),
    "OutlierDetector": ("predict", "score_samples"),
}
QUICK = {"max_steps": 40, "random_state": 0}


def with_categories():
    """Return a table of numbers, categories and missing values, as an array of objects."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(300, 4)).astype(object)
    table[:, 1] = rng.choice(["red", "green", "blue"], size=300)
    table[:20, 0] = np.nan
    return table


def frame_of(table):
    """Return the table of `with_categories` as a data frame of pandas."""
    import pandas as pd

    frame = pd.DataFrame(table, columns=list("abcd"))
    return frame.astype({"a": float, "b": "category", "c": float, "d": float})


def fitted():
    """Yield the name of a file, a fitted estimator and rows as an array."""
    X = load_digits().data
    incomplete = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)
    table = with_categories()
    yield "digits", skae.AutoencoderTransformer(8, **QUICK).fit(X), X
    yield "density", skae.VariationalAutoencoder(8, **QUICK).fit(X), X
    yield "outliers", skae.OutlierDetector(8, **QUICK).fit(X), X
    yield "incomplete", skae.AutoencoderImputer(8, **QUICK).fit(incomplete), incomplete
    categories = {"categorical_features": [1], **QUICK}
    yield "table", skae.AutoencoderTransformer(2, **categories).fit(table), table
    yield "imputed-table", skae.AutoencoderImputer(2, **categories).fit(table), table
    if find_spec("pandas"):
        yield "frame", skae.AutoencoderTransformer(2, **QUICK).fit(frame_of(table)), table


def results(name, estimator, X):
    """Return the results of the methods of a fitted estimator, as arrays."""
    X = frame_of(X) if name == "frame" else X
    values = {name: getattr(estimator, name)(X) for name in METHODS[type(estimator).__name__]}
    if hasattr(estimator, "inverse_transform"):
        values["inverse_transform"] = estimator.inverse_transform(values["transform"])
    # the types of frames depend on the installed packages
    return {method: np.asarray(table) for method, table in values.items()}


def write(folder):
    """Save fitted estimators, rows and results."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, estimator, X in fitted():
        joblib.dump(estimator, folder / f"{name}.joblib")
        joblib.dump((X, results(name, estimator, X)), folder / f"{name}.results")
        print(f"Wrote {name}.joblib.")


def equal(actual, expected):
    """Whether two arrays are equal up to rounding; categories are equal strings."""
    if expected.dtype != object:
        return np.allclose(actual, expected, rtol=1e-6, atol=1e-8, equal_nan=True)
    pairs = zip(actual.ravel(), expected.ravel(), strict=True)
    return all(a == b if isinstance(b, str) else np.isclose(a, b, equal_nan=True) for a, b in pairs)


def check(folder):
    """Compare the results of the saved estimators; raise AssertionError if they differ."""
    present = [name for name in ABSENT if find_spec(name)]
    assert not present, f"these packages are installed: {present}"
    paths = sorted(folder.glob("*.joblib"))
    assert paths, f"{folder} contains no estimators"
    for path in paths:
        if path.stem == "frame" and not find_spec("pandas"):
            continue
        estimator = joblib.load(path)
        X, expected = joblib.load(path.with_suffix(".results"))
        actual = results(path.stem, estimator, X)
        for method, values in expected.items():
            assert equal(actual[method], values), f"{path.stem}: {method} differs"
        print(f"{path.stem}: {', '.join(expected)} are equal")
    check_fit_is_an_error()
    print(f"peak memory of this process: {peak_megabytes():.0f} MB")
    if not find_spec("pandas"):
        size = megabytes_installed()
        print(f"installed packages: {size:.0f} MB")
        assert size <= MAX_MEGABYTES, f"this is more than {MAX_MEGABYTES} MB"


def check_fit_is_an_error():
    """Check that `fit` raises an ImportError that names the package to install."""
    message = ""
    try:
        skae.AutoencoderTransformer(2).fit(load_digits().data)
    except ImportError as error:
        message = str(error)
    assert "pip install tensorflow" in message, f"the message of the ImportError of fit: {message}"


def megabytes_installed():
    """Return the size of the installed packages, without pip and setuptools."""
    packages = Path(sysconfig.get_paths()["purelib"])
    sizes = [
        path.stat().st_size
        for package in packages.iterdir()
        if not package.name.startswith(TOOLS)
        for path in (package, *package.rglob("*"))
        if path.is_file()
    ]
    return sum(sizes) / 1e6


def peak_megabytes():
    """Return the peak memory of this process; not on Windows."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def main(arguments=None):
    """Run one of the two commands."""
    parser = argparse.ArgumentParser(prog="slim_server.py", description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["write", "check"])
    parser.add_argument("folder", type=Path, help="folder of the saved estimators")
    options = parser.parse_args(arguments)
    {"write": write, "check": check}[options.command](options.folder)


if __name__ == "__main__":
    main()
