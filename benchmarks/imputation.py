"""AutoencoderImputer and other imputers: error, seconds, and accuracy of a classifier.

Entries of complete tables are hidden and imputed. Error: root mean square over the hidden entries,
divided by that of imputation with the mean of the observed values of each column. Columns are first
standardised by the observed values of the training rows, for all methods; the rows of MNIST are
pixels / 255, which have one unit. Columns without variation are dropped, and each row keeps at
least one entry.

Imputers are fitted to 75 % of the rows, with missing values, and impute these rows (`error`) and
the other rows, with the same pattern of missing values (`error_new`). For tables with labels: test
accuracy of a LogisticRegression that is trained on the imputed training rows.

Patterns: a share of the entries at random; `by-value`: larger values of a column are missing more
often (none of the smallest, 40 % of the largest); `blocks`: 40 % of the columns, side by side, of a
random half of the rows.

Peers, with their defaults: the mean, KNNImputer, IterativeImputer (BayesianRidge) up to 100
columns, fancyimpute's SoftImpute if it is installed and works (it has no `transform`, so new rows
are appended to the training rows), and IterativeImputer with 100 ExtraTrees, similar to MissForest,
which takes minutes: up to 30 columns, and only for the pattern `random-20`. EM-PCA is the initial
model of ours: the probabilistic PCA of the fitted AutoencoderImputer, without training.

Seconds of our fits include the compilation, which is repeated for each fit, and exclude the import
of TensorFlow, because a small fit comes first. scikit-learn's imputers have one thread except for
linear algebra (`n_jobs` is not set), TensorFlow has all. Speed of `transform`: 10 000 new rows of
30 columns, 20 % of the entries missing, imputed by KNNImputer and ours after a fit to 2000 rows.

Run ``python benchmarks/imputation.py`` (hours; ``--quick``: two tables, one pattern, one seed, no
ExtraTrees). Writes imputation.json, after each figure, and imputation.png below benchmarks/output/
or --output. MNIST, 5000 of its training rows, is used if SKAE_MNIST is set or --tables names it,
and only with the first seed, because it takes a quarter of an hour.
"""

import os
import sys
import time
import warnings
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from statistics import geometric_mean, mean, median
from typing import NamedTuple

import numpy as np
from _common import (
    RESULTS,
    OneLineParser,
    blocks,
    by_value,
    environment,
    load,
    positive,
    save,
    timed,
)
from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderImputer
from skae._training import loop


def gaussian(rng, n_rows, n_columns):
    """Draw rows of rank 5, and noise."""
    rows = rng.normal(size=(n_rows, 5)) @ rng.normal(size=(5, n_columns))
    return rows + 0.5 * rng.normal(size=rows.shape)


def curved(rng, n_rows, n_columns):
    """Draw rows of a curved surface: three latent variables, a layer of tanh, and noise."""
    weights, bias = rng.normal(size=(3, n_columns)), rng.normal(size=n_columns)
    rows = np.tanh(rng.normal(size=(n_rows, 3)) @ weights + bias)
    return rows + 0.1 * rng.normal(size=rows.shape)


def mnist():
    """Return 5000 random training rows of MNIST, and their labels."""
    table = load("mnist")
    rows = np.random.default_rng(0).choice(len(table.X_train), 5000, replace=False)
    return table.X_train[rows], table.y_train[rows]


# Rows and labels, if they have any.
TABLES = {
    "breast_cancer": lambda: load_breast_cancer(return_X_y=True),
    "wine": lambda: load_wine(return_X_y=True),
    "diabetes": lambda: (load_diabetes(scaled=False).data, None),
    "digits": lambda: load_digits(return_X_y=True),
    "gaussian": lambda: (gaussian(np.random.default_rng(0), 1000, 20), None),
    "curved": lambda: (curved(np.random.default_rng(0), 1000, 20), None),
    "mnist": mnist,
}


# Functions that return a mask of hidden entries.
PATTERNS = {
    "random-10": lambda rng, X: rng.random(X.shape) < 0.1,
    "random-20": lambda rng, X: rng.random(X.shape) < 0.2,
    "random-50": lambda rng, X: rng.random(X.shape) < 0.5,
    "by-value": by_value,
    "blocks": blocks,
}


class Cell(NamedTuple):
    """Data of a measurement: complete and incomplete rows, for training and new."""

    X: np.ndarray
    X_new: np.ndarray
    shown: np.ndarray
    shown_new: np.ndarray
    y: np.ndarray | None
    y_new: np.ndarray | None


def cell_of(X, y, pattern, seed, *, standardise):
    """Hide entries, split the rows and standardise the columns."""
    rng = np.random.default_rng(seed)
    X = X[:, np.ptp(X, axis=0) > 0]
    hidden = PATTERNS[pattern](rng, X)
    bare = np.flatnonzero(hidden.all(axis=1))
    hidden[bare, rng.integers(0, X.shape[1], size=len(bare))] = False
    rows, new = train_test_split(np.arange(len(X)), test_size=0.25, random_state=seed, stratify=y)
    shown = np.where(hidden, np.nan, X)
    if standardise:
        scaler = StandardScaler().fit(shown[rows])
        X, shown = scaler.transform(X), scaler.transform(shown)
    labels = (None, None) if y is None else (y[rows], y[new])
    return Cell(X[rows], X[new], shown[rows], shown[new], *labels)


class SoftImpute:
    """SoftImpute of fancyimpute, which only imputes the rows that it is fitted to."""

    def fit(self, X):
        """Impute rows."""
        self.X, self.filled = X, self._fill(X)
        return self

    def transform(self, X):
        """Return imputed rows; new rows are appended to the rows of `fit`."""
        return self.filled if X is self.X else self._fill(np.vstack([self.X, X]))[-len(X) :]

    def _fill(self, X):
        from fancyimpute import SoftImpute

        return SoftImpute(verbose=False).fit_transform(X)


class Untrained:
    """Probabilistic PCA of a fitted AutoencoderImputer."""

    def __init__(self, imputer):
        self.transform = imputer.autoencoder_._network.imputer


def extra_trees(seed):
    """Return an imputer similar to MissForest."""
    return IterativeImputer(ExtraTreesRegressor(100, random_state=seed), random_state=seed)


PEERS = {
    "mean": lambda seed: SimpleImputer(),
    "KNN": lambda seed: KNNImputer(),
    "BayesianRidge": lambda seed: IterativeImputer(random_state=seed),
    "ExtraTrees": extra_trees,
    "softImpute": lambda seed: SoftImpute(),
}
METHODS = [*PEERS, "EM-PCA", "ours"]
# Okabe and Ito's colours for colour-blind readers; the mean is the line at one.
STYLES = {
    "KNN": ("#E69F00", "v"),
    "BayesianRidge": ("#56B4E9", "^"),
    "ExtraTrees": ("#009E73", "D"),
    "softImpute": ("#CC79A7", "P"),
    "EM-PCA": ("#000000", "x"),
    "ours": ("#D55E00", "o"),
}


AVERAGES = {
    "error": geometric_mean,
    "error_new": geometric_mean,
    "accuracy": mean,
    "fit_seconds": geometric_mean,
    "transform_seconds": geometric_mean,
}


def peers_of(n_columns, pattern, *, quick):
    """Return the names of the peers that are measured on a table."""
    left_out = {
        "BayesianRidge": n_columns > 100,
        "ExtraTrees": n_columns > 30 or pattern != "random-20" or quick,
        "softImpute": find_spec("fancyimpute") is None,
    }
    return [name for name in PEERS if not left_out.get(name)]


def fit(imputer, X):
    """Fit an imputer without compiled functions, and return the seconds."""
    loop.compiled_steps.cache_clear()
    return timed(lambda: imputer.fit(X))[1]


def figures(imputer, cell):
    """Return errors, seconds and accuracy of a fitted imputer."""
    filled = imputer.transform(cell.shown)
    filled_new, seconds = timed(lambda: imputer.transform(cell.shown_new))
    means = np.nanmean(cell.shown, axis=0)
    result = {"transform_seconds": seconds}
    for key, rows, X, shown in (
        ("error", filled, cell.X, cell.shown),
        ("error_new", filled_new, cell.X_new, cell.shown_new),
    ):
        hidden = np.isnan(shown)
        squares = [np.sum((guess - X)[hidden] ** 2) for guess in (rows, means)]
        result[key] = float(np.sqrt(squares[0] / squares[1]))
    if cell.y is not None:
        classifier = LogisticRegression(max_iter=1000).fit(filled, cell.y)
        result["accuracy"] = classifier.score(filled_new, cell.y_new)
    return result


def measure(cell, seed, peers):
    """Yield the name of each method and its figures, or the error of a peer."""
    for name in peers:
        imputer = PEERS[name](seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            try:
                row = {"fit_seconds": fit(imputer, cell.shown), **figures(imputer, cell)}
            except (ValueError, TypeError, ImportError, ArithmeticError) as error:
                row = {"failed": f"{type(error).__name__}: {error}"}
        yield name, row
    imputer = AutoencoderImputer(random_state=seed)
    seconds = fit(imputer, cell.shown)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of the classifier
        yield "EM-PCA", figures(Untrained(imputer), cell)
        yield "ours", {"fit_seconds": seconds, **figures(imputer, cell)}


def over_seeds(results, key):
    """Return median, minimum and maximum of a figure for each method, by table and pattern."""
    values = {}
    for row in results:
        if key in row:
            cells = values.setdefault(row["method"], {})
            cells.setdefault((row["table"], row["pattern"]), []).append(row[key])
    return {
        method: {cell: (median(v), min(v), max(v)) for cell, v in values[method].items()}
        for method in METHODS
        if method in values
    }


def summarise(results):
    """Summarise the cells (a table with a pattern) in which ours, the last method, is measured."""
    done = {(row["table"], row["pattern"]) for row in results if row["method"] == "ours"}
    results = [row for row in results if (row["table"], row["pattern"]) in done]
    medians = {
        key: {
            method: {cell: triple[0] for cell, triple in cells.items()}
            for method, cells in over_seeds(results, key).items()
        }
        for key in AVERAGES
    }
    summary = {}
    for key, average in AVERAGES.items():  # for each method, and for ours on the same cells
        ours = medians[key].get("ours", {})
        summary[key] = {
            method: [average(cells.values()), average(ours[cell] for cell in cells)]
            for method, cells in medians[key].items()
        }
    errors, seconds = medians["error"], medians["fit_seconds"]
    peers = [method for method in errors if method in PEERS]
    # on the cells of each peer, because some peers omit difficult cells
    ratios = {peer: np.divide(*summary["error"][peer][::-1]) for peer in peers}
    best = max(ratios, key=ratios.get, default=None)
    ours = errors.get("ours", {})
    return summary | {
        "cells": {method: len(cells) for method, cells in errors.items()},
        "best peer": best,
        "ours / best peer": best and float(ratios[best]),
        # except for rounding
        "worse than EM-PCA": [c for c in ours if ours[c] > 1.00001 * errors["EM-PCA"][c]],
        "better than all peers": [
            c for c in ours if ours[c] < min(errors[peer].get(c, np.inf) for peer in peers)
        ],
        "fit seconds, ours / ExtraTrees": {
            cell[0]: seconds["ours"][cell] / theirs
            for cell, theirs in seconds.get("ExtraTrees", {}).items()
        },
    }


def names(results, key):
    """Return tables or patterns, in their order."""
    return list(dict.fromkeys(row[key] for row in results))


def show(results, summary):
    """Print a table for each pattern, and the summary."""
    errors = over_seeds(results, "error")
    del errors["mean"]  # one
    for pattern in names(results, "pattern"):
        print(f"\n{pattern:14}" + "".join(f"{method:>20}" for method in errors))
        for table in names(results, "table"):
            triples = [cells.get((table, pattern)) for cells in errors.values()]
            texts = ["{:.3f} {:.3f}..{:.3f}".format(*t) if t else "" for t in triples]
            print(f"{table:14}" + "".join(f"{text:>20}" for text in texts))
    print("\nOver all / ours on the same cells: geometric means, of accuracies the mean")
    print(f"{'':14}{'cells':>6}" + "".join(f"{key:>20}" for key in AVERAGES))
    for method, count in summary["cells"].items():
        pairs = [summary[key].get(method) for key in AVERAGES]
        texts = ["{:.3f} / {:.3f}".format(*pair) if pair else "" for pair in pairs]
        print(f"{method:14}{count:>6}" + "".join(f"{text:>20}" for text in texts))
    ratio, best = summary["ours / best peer"], summary["best peer"]
    print(f"\nThe best peer, where each ran, is {best}: our error is {ratio:.3f} of its.")
    for key in ("worse than EM-PCA", "better than all peers"):
        print(f"Ours is {key} in {len(summary[key])} of {summary['cells']['ours']} cells.")
    for table, ratio in summary["fit seconds, ours / ExtraTrees"].items():
        print(f"{table}: our fit takes {ratio:.3f} of ExtraTrees' seconds.")
    for method, failed in {r["method"]: r["failed"] for r in results if "failed" in r}.items():
        print(f"{method} failed, in some cells at least: {failed}")


def serving(rounds=3):
    """Measure the seconds to impute new rows."""
    rng = np.random.default_rng(0)
    X = StandardScaler().fit_transform(curved(rng, 12_000, 30))
    X[PATTERNS["random-20"](rng, X)] = np.nan
    imputers = {"KNN": KNNImputer(), "ours": AutoencoderImputer(random_state=0)}
    seconds = {}
    for name, imputer in imputers.items():
        imputer.fit(X[:2000])
        seconds[name] = median(
            timed(lambda i=imputer: i.transform(X[2000:]))[1] for _ in range(rounds)
        )
    ratio = seconds["KNN"] / seconds["ours"]
    print(
        f"10 000 new rows are imputed by KNNImputer in {seconds['KNN']:.2f} s, by ours in "
        f"{seconds['ours']:.3f} s, {ratio:.1f} times faster.",
        flush=True,
    )
    return {**seconds, "ratio": ratio}


def draw(results, path):
    """Plot errors by table, with a panel for each pattern."""
    errors, tables = over_seeds(results, "error"), names(results, "table")
    patterns = names(results, "pattern")
    width = min(3, len(patterns))
    height = -(-len(patterns) // width)
    figure = Figure(figsize=(4.2 * width + 1.6, 3.4 * height), layout="constrained", dpi=110)
    grid = figure.subplots(height, width, sharey=True, squeeze=False).ravel()
    for axes in grid[len(patterns) :]:
        axes.set_axis_off()
    for axes, pattern in zip(grid, patterns, strict=False):
        axes.axhline(1, color="0.5", lw=0.8)
        axes.set(title=pattern, yscale="log", xlim=(-0.5, len(tables) - 0.5))
        axes.set_xticks(range(len(tables)), tables, rotation=30, ha="right", rotation_mode="anchor")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
        axes.tick_params(axis="y", which="minor", labelsize="x-small")
        axes.grid(alpha=0.3, axis="y", which="both")
        for edge in range(1, len(tables)):
            axes.axvline(edge - 0.5, color="0.85", lw=0.8)
        draw_methods(axes, errors, [(table, pattern) for table in tables])
    for axes in grid[::width]:
        axes.set_ylabel("error / that of the mean")
    handles = {}
    for axes in figure.axes:
        handles |= dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    handles = {method: handles[method] for method in STYLES if method in handles}
    figure.legend(handles.values(), handles, loc="outside right upper")
    figure.savefig(path)


def draw_methods(axes, errors, cells):
    """Plot the medians and ranges of each method side by side."""
    methods = [method for method in STYLES if method in errors]
    for i, method in enumerate(methods):
        found = [j for j, cell in enumerate(cells) if cell in errors[method]]
        if found:
            x = np.array(found) + (i - (len(methods) - 1) / 2) * 0.8 / len(methods)
            middle, least, most = np.transpose([errors[method][cells[j]] for j in found])
            color, marker = STYLES[method]
            ends = (middle - least, most - middle)
            axes.errorbar(x, middle, ends, fmt=marker, color=color, ms=4.5, label=method)


def parse(arguments):
    """Parse the command line, and load the tables."""
    parser = OneLineParser(prog="imputation.py", description=__doc__.splitlines()[0])
    for name, choices in (("tables", TABLES), ("patterns", PATTERNS)):
        parser.add_argument(
            f"--{name}",
            nargs="+",
            choices=choices,
            metavar=name[:-1].upper(),
            help=", ".join(choices),
        )
    parser.add_argument("--seeds", type=positive, metavar="N", help="number of seeds (default: 3)")
    parser.add_argument(
        "--quick", action="store_true", help="two tables, one pattern, one seed, no ExtraTrees"
    )
    parser.add_argument(
        "--output", type=Path, default=RESULTS, help="folder for the JSON and the figure"
    )
    options = parser.parse_args(arguments)
    everything = [name for name in TABLES if name != "mnist" or os.environ.get("SKAE_MNIST")]
    names = options.tables or (["breast_cancer", "wine"] if options.quick else everything)
    options.patterns = options.patterns or (["random-20"] if options.quick else list(PATTERNS))
    options.seeds = options.seeds or (1 if options.quick else 3)
    try:
        tables = {name: TABLES[name]() for name in names}
        options.output.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        parser.error(" ".join(str(error).split()))
    return options, tables


def main(arguments=None):
    """Run the benchmark."""
    options, tables = parse(arguments)
    json_path, png_path = (options.output / f"imputation.{kind}" for kind in ("json", "png"))
    print(", ".join(f"{key} {value}" for key, value in environment().items()))
    tiny = np.random.default_rng(0).normal(size=(60, 4))
    tiny[::7, 1] = np.nan
    seconds = fit(AutoencoderImputer(max_iter=1, random_state=0), tiny)
    print(f"A first small fit, which imports TensorFlow, took {seconds:.1f} s and is not counted.")
    report = {"environment": environment(), "serving": serving(), "summary": {}, "results": []}
    start = time.perf_counter()
    for seed, table, pattern in product(range(options.seeds), tables, options.patterns):
        if seed and table == "mnist":
            continue
        cell = cell_of(*tables[table], pattern, seed, standardise=table != "mnist")
        peers = peers_of(cell.X.shape[1], pattern, quick=options.quick)
        print(f"{time.perf_counter() - start:6.0f} s: {table}, {pattern}, seed {seed}", end="")
        for method, row in measure(cell, seed, peers):
            where = {"table": table, "pattern": pattern, "seed": seed, "method": method}
            report["results"].append(where | row)
            report["summary"] = summarise(report["results"])
            report["seconds"] = round(time.perf_counter() - start, 1)
            save(report, json_path)
            print(f", {method} {row.get('error', np.nan):.3f}", end="", flush=True)
        print()
    show(report["results"], report["summary"])
    draw(report["results"], png_path)
    print(f"Wrote {json_path} and {png_path}.")


if __name__ == "__main__":
    main(sys.argv[1:])
