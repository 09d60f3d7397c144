"""Common code of the benchmarks: data sets, hidden entries, the machine, and one-line errors."""

import argparse
import json
import os
import platform
import sys
import time
import warnings
import zipfile
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata
from sklearn.datasets import fetch_openml, load_digits
from sklearn.model_selection import train_test_split
from sklearn.utils import assert_all_finite

from skae import AutoencoderTransformer
from skae._data.table import Table as Rows
from skae._initialization.statistics import location_and_scale

# Default folder for results. git ignores it; benchmarks/results contains the pictures in git.
RESULTS = Path(__file__).parent / "output"


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line on stderr and exit status 2."""

    def error(self, message):
        """Print the message and exit."""
        print(f"{self.prog}: {message}", file=sys.stderr)
        raise SystemExit(2)


def positive(text):
    """Return an argument as an integer of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {number}")
    return number


class Table(NamedTuple):
    """A data set, split.

    Attributes
    ----------
    name : str
        Name of the data set.
    X_train, X_test : ndarray of shape (n_samples, n_features)
        Rows.
    y_train, y_test : ndarray of shape (n_samples,) or None
        Labels, if there are any.
    image_shape : tuple of int or None
        Shape of a row as an image; None if rows are not images.
    """

    name: str
    X_train: np.ndarray
    X_test: np.ndarray
    y_train: np.ndarray | None
    y_test: np.ndarray | None
    image_shape: tuple | None


def load(name, seed=0):
    """Load ``digits``, ``mnist`` or a file.

    Parameters
    ----------
    name : str
        ``digits``: scikit-learn's, split 75/25 by class. ``mnist``: the file named by the
        environment variable SKAE_MNIST, else from OpenML; pixels / 255, split as published. Or a
        file .npz (arrays ``X`` and perhaps ``y``, or Keras' ``x_train``, ``y_train``, ``x_test``,
        ``y_test``), .npy or .csv (only rows), split 75/25.
    seed : int
        Seed of the split.

    Returns
    -------
    Table

    Raises
    ------
    ValueError, OSError
        If the data are not available or not a table of finite numbers; the message names a remedy.
    """
    if name == "digits":
        digits = load_digits()
        return _split("digits", digits.data, digits.target, (8, 8), seed)
    if name == "mnist":
        return _load_mnist()
    path = Path(name)
    if not path.is_file():
        raise ValueError(
            f"no data set named {name!r} and no such file; try digits, mnist or a file"
        )
    arrays = _read(path)
    if "x_train" in arrays:
        missing = {"y_train", "x_test", "y_test"} - set(arrays)
        if missing:
            raise ValueError(f"{path}: x_train is there but not {', '.join(sorted(missing))}")
        return _published_split(path.stem, arrays, 1)
    if "X" not in arrays:
        raise ValueError(f"{path}: no array named X or x_train, only {', '.join(arrays) or 'none'}")
    X, y = arrays["X"], arrays.get("y")
    image_shape = X.shape[1:] if X.ndim == 3 else None
    return _split(path.stem, _rows(path, X), _labels(path, y, len(X)), image_shape, seed)


def _read(path):
    """Return the arrays of a file by name; pickled objects are an error."""
    try:
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                size = sum(member.file_size for member in archive.infolist())
            if size > _memory():
                raise ValueError(f"it would unpack to {size:.1e} bytes, more than there is memory")
            with np.load(path, allow_pickle=False) as archive:
                return {key: archive[key] for key in archive.files}
        if path.suffix == ".npy":
            return {"X": np.load(path, allow_pickle=False)}
        if path.suffix == ".csv":
            with path.open() as lines:
                first = lines.readline()
            if not first.strip():
                raise ValueError("its first line is empty")
            header = any(not _is_number(cell) for cell in first.split(","))
            return {"X": np.loadtxt(path, delimiter=",", skiprows=int(header), ndmin=2)}
    except Exception as error:  # NumPy and zipfile raise a dozen types on malformed files
        raise ValueError(f"{path}: cannot be read: {error}") from error
    raise ValueError(f"{path}: only .npz, .npy and .csv files are read")


def _memory():
    """Return the memory of the machine in bytes, or infinity if it is unknown."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return np.inf


def _is_number(cell):
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _rows(path, X):
    """Validate rows and return a table of floats."""
    if X.ndim < 2 or X.dtype.kind not in "fiub" or len(X) < 8 or X[0].size < 2:
        raise ValueError(
            f"{path}: needs a table of numbers with at least 8 rows and 2 columns, "
            f"got an array of shape {X.shape} and type {X.dtype}"
        )
    X = X.reshape(len(X), -1)
    X = X if X.dtype in (np.float32, np.float64) else X.astype(np.float64)
    try:
        assert_all_finite(X)
        location_and_scale(Rows(X))  # an error for numbers whose squares overflow
    except ValueError as error:
        raise ValueError(f"{path}: {str(error).splitlines()[0]}") from error
    return X


def _labels(path, y, n_samples):
    if y is not None and y.shape != (n_samples,):
        raise ValueError(
            f"{path}: y must have one label for each of {n_samples} rows, got {y.shape}"
        )
    if y is not None and (y.dtype.kind == "f" or len(np.unique(y)) < 2):
        raise ValueError(f"{path}: y must hold labels of two classes or more, got {y.dtype}")
    return y


def _split(name, X, y, image_shape, seed):
    counts = None if y is None else np.unique(y, return_counts=True)[1]
    stratify = y if counts is not None and counts.min() >= 2 else None
    train, test = train_test_split(
        np.arange(len(X)), test_size=0.25, random_state=seed, stratify=stratify
    )
    labels = (None, None) if y is None else (y[train], y[test])
    return Table(name, X[train], X[test], *labels, image_shape)


def _published_split(name, arrays, divisor):
    """Return the table of a file in the layout of Keras."""
    X = {part: _rows(name, arrays[f"x_{part}"]) / divisor for part in ("train", "test")}
    if X["train"].shape[1] != X["test"].shape[1]:
        raise ValueError(f"{name}: x_train and x_test have rows of different lengths")
    y = {part: _labels(name, arrays[f"y_{part}"], len(X[part])) for part in X}
    shape = arrays["x_train"].shape[1:]
    return Table(
        name, X["train"], X["test"], y["train"], y["test"], shape if len(shape) == 2 else None
    )


def _load_mnist():
    path = os.environ.get("SKAE_MNIST")
    if path:
        if not Path(path).is_file():
            raise ValueError(f"SKAE_MNIST names {path}, which is not a file")
        arrays = _read(Path(path))
        if "x_train" not in arrays:
            raise ValueError(f"{path}: not MNIST in the layout that Keras ships (no x_train)")
        return _published_split("mnist", arrays, 255)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of each failed attempt; the error below is sufficient
            X, y = fetch_openml("mnist_784", version=1, as_frame=False, return_X_y=True)
    except Exception as error:  # any error of the internet connection
        raise ValueError(
            "MNIST is not here: set SKAE_MNIST to the path of an mnist.npz as Keras ships it, or "
            f"connect to the internet for scikit-learn to fetch it ({type(error).__name__})"
        ) from error
    X = X / 255
    return Table("mnist", X[:60000], X[60000:], y[:60000], y[60000:], (28, 28))


def by_value(rng, X):
    """Hide large entries more often; NaN is never hidden."""
    return rng.random(X.shape) < 0.4 * (rankdata(X, axis=0, nan_policy="omit") - 0.5) / len(X)


def blocks(rng, X):
    """Hide columns side by side, of half of the rows."""
    width = round(0.4 * X.shape[1])
    first = rng.integers(0, X.shape[1] - width + 1, size=(len(X), 1))
    columns = np.arange(X.shape[1])
    chosen = rng.permutation(len(X)) < len(X) / 2
    return chosen[:, None] & (columns >= first) & (columns < first + width)


def timed(fit):
    """Return a fitted estimator and the seconds that it took."""
    start = time.perf_counter()
    estimator = fit()
    return estimator, time.perf_counter() - start


def save(report, path):
    """Write a complete report, or no file."""
    new = path.with_suffix(".json.new")
    new.write_text(json.dumps(report, indent=1) + "\n")
    new.replace(path)


def environment():
    """Return the date, the machine and the versions."""
    cpu = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [line for line in cpuinfo.read_text().splitlines() if "model name" in line]
        cpu = models[0].split(":")[1].strip() if models else cpu
    return {
        "date": date.today().isoformat(),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("skae", "numpy", "scikit-learn", "tensorflow")},
    }


def tutorial_recipe(seed):
    """Return the tutorial's autoencoder, for pixels / 255."""
    return AutoencoderTransformer(
        64,
        hidden_layer_sizes=(128,),
        activation="logistic",
        code_activation="logistic",
        output_activation="logistic",
        init="normal",
        whiten=False,
        learning_rate="constant",
        learning_rate_init=1e-3,
        batch_size=32,
        max_steps=20_000,
        alpha=0.0,
        validation_fraction=0,
        random_state=seed,
    )
