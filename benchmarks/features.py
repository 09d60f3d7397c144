"""Codes as features of a classifier: accuracy on test rows for skae and other transformers.

A transformer computes k components of each row. They are standardised by the training rows for all
methods. `logistic`: test accuracy of a LogisticRegression whose C (0.01, 0.1, 1 or 10) is selected
by 3-fold cross-validation on the labelled training rows; `logistic_default` has C = 1; `knn` is
KNeighborsClassifier(5), and `knn_raw` the same on the unscaled codes, because standardisation gives
the last components of PCA the same weight as the first ones. `mse`: mean squared error of the
reconstruction of test rows; `mse_over_pca`: divided by that of PCA with the same number of
components.

Small tables: 75 % of the rows for training, stratified, by seed; k is a quarter of the columns, at
least 2. Columns are standardised by the training rows, except in digits, which have one unit.
MNIST, pixels / 255, split as published, for several k and one seed, if SKAE_MNIST is set or
--tables names it. Shares of labels, for digits and MNIST: 1 %, 10 % and all, at least two of each
class, and with two there are 2 folds. Methods without y are fitted to all training rows; NCA, PLS
and the classifiers are fitted to the labelled rows only; ours with y gets -1 for a hidden label.

Peers: PCA; whitened PCA, which equals PCA after standardisation of the codes; KernelPCA (rbf, gamma
as SVC's "scale"; above 2000 rows 500 features of Nystroem, and PCA); the leaves of
RandomTreesEmbedding, and TruncatedSVD; NeighborhoodComponentsAnalysis, up to 2000 labelled rows;
PLSRegression, unscaled, on a column per class; UMAP and ParametricUMAP, if umap is installed.
UMAP's first fit compiles, and ParametricUMAP's network does not depend on the seed.

Ours: `default`; `swap` and `masking`, denoising plain stacks (see SWAP below); `with y`, trained
with a target and Gaussian noise (WITH_Y); `with y, cv`, the default or one of three target_weights,
whichever gives a LogisticRegression the highest accuracy in 3-fold cross-validation on the training
rows; not for MNIST, because it takes an hour.

Seconds of our fits include the compilation, which is repeated for each method (once for a search),
and exclude the import of TensorFlow, because a small fit comes first.

Run ``python benchmarks/features.py`` (hours; ``--quick``: two tables, one seed, short training).
Writes features.json, after each figure, and features.png below benchmarks/output/ or --output.
"""

import os
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from statistics import geometric_mean, mean, median
from typing import NamedTuple

import numpy as np
from _common import RESULTS, OneLineParser, environment, load, positive, save, timed
from matplotlib.figure import Figure
from sklearn import datasets
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA, KernelPCA, TruncatedSVD
from sklearn.ensemble import RandomTreesEmbedding
from sklearn.exceptions import ConvergenceWarning
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split
from sklearn.neighbors import KNeighborsClassifier, NeighborhoodComponentsAnalysis
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import LabelBinarizer, StandardScaler

from skae import AutoencoderTransformer
from skae._training import loop

# Settings for codes that a classifier uses.
SWAP = {
    "init": "glorot",
    "hidden_layer_sizes": (512, 256),
    "corruption": "swap",
    "noise": 0.3,
}
MASKING = SWAP | {"corruption": "masking", "noise": 0.5}
WITH_Y = {"target_weight": 0.1, "noise": 0.5}
# Gradient steps for large tables: denoising needs more steps than the default.
MANY_ROWS, SWAP_STEPS, STEPS_WITH_Y = 20_000, 14_000, 9_000
# Target weights of the search, after the defaults; the first of equal scores is selected.
TARGET_WEIGHTS = [0.02, 0.1, 0.5]
QUICK_STEPS = 50

MNIST_SIZES = (2, 8, 16, 64)
SHARES = (0.01, 0.1, 1.0)  # of labels, for these tables:
FEW_LABELS = ("digits", "mnist")
MAX_ROWS = 2000  # for methods with a cost that is quadratic in the number of rows
HIDDEN = -1  # instead of a label


def among_others(rng, rows, n_columns):
    """Mix a few informative columns, three uninformative columns and noise into many columns."""
    rows = np.column_stack([rows, rng.normal(size=(len(rows), 3))])
    rows = rows @ rng.normal(size=(rows.shape[1], n_columns))
    return rows + 0.5 * rng.normal(size=rows.shape)


def sheets():
    """Draw three rolled surfaces in a curved space."""
    rng = np.random.default_rng(0)
    y, radius = rng.integers(3, size=1200), rng.uniform(0.3, 2, size=1200)
    angle = 2.5 * radius + y * 2 * np.pi / 3
    rolled = [radius * np.cos(angle), radius * np.sin(angle), rng.uniform(-1, 1, size=1200)]
    rows = np.tanh(np.transpose(rolled) @ rng.normal(size=(3, 24)) + rng.normal(size=24))
    return rows + 0.1 * rng.normal(size=rows.shape), y


def clusters():
    """Draw four classes of three Gaussian clusters each."""
    rng = np.random.default_rng(0)
    cluster, centres = rng.integers(12, size=1200), 0.8 * rng.normal(size=(12, 24))
    return centres[cluster] + rng.normal(size=(1200, 24)), cluster % 4


def shells():
    """Draw three concentric shells, and other columns."""
    rng = np.random.default_rng(0)
    y, rows = rng.integers(3, size=1000), rng.normal(size=(1000, 3))
    rows *= ((1 + y + 0.15 * rng.normal(size=1000)) / np.linalg.norm(rows, axis=1))[:, None]
    return among_others(rng, rows, 20), y


def xor():
    """Draw four clusters at the corners of a square; opposite corners have the same class."""
    rng = np.random.default_rng(0)
    corners = rng.integers(2, size=(1000, 2))
    rows = 2 * corners - 1 + 0.35 * rng.normal(size=(1000, 2))
    return among_others(rng, rows, 20), corners[:, 0] ^ corners[:, 1]


# Rows and labels, except mnist, which is split. `noisy`: five columns that depend on three classes,
# five sums of them, and thirty columns of noise.
TABLES = {
    "digits": lambda: datasets.load_digits(return_X_y=True),
    "iris": lambda: datasets.load_iris(return_X_y=True),
    "wine": lambda: datasets.load_wine(return_X_y=True),
    "breast_cancer": lambda: datasets.load_breast_cancer(return_X_y=True),
    "noisy": lambda: datasets.make_classification(
        1000, 40, n_informative=5, n_redundant=5, n_classes=3, random_state=0
    ),
    "sheets": sheets,
    "clusters": clusters,
    "shells": shells,
    "xor": xor,
    "mnist": lambda: load("mnist"),
}


class Case(NamedTuple):
    """Data of a measurement. `steps` are parameters that shorten training."""

    X: np.ndarray
    X_test: np.ndarray
    y: np.ndarray
    y_test: np.ndarray
    seed: int
    steps: dict
    k: int = 2

    @property
    def labelled(self):
        """Return the labelled rows, and their labels."""
        seen = self.y != HIDDEN
        return self.X[seen], self.y[seen]


def case_of(name, data, seed, steps):
    """Split a table, and standardise its columns if they have different units."""
    if name == "mnist":  # its labels are unsigned
        labels = data.y_train.astype(int), data.y_test.astype(int)
        return Case(data.X_train, data.X_test, *labels, seed, steps)
    X, y = data
    parts = train_test_split(X, y, test_size=0.25, random_state=seed, stratify=y)
    if name != "digits":
        scaler = StandardScaler().fit(parts[0])
        parts[:2] = scaler.transform(parts[0]), scaler.transform(parts[1])
    return Case(*parts, seed, steps)


def with_labels(case, share):
    """Hide all but a share of the labels; a smaller share is a subset of a larger one."""
    rng = np.random.default_rng(case.seed)
    y = np.full_like(case.y, HIDDEN)
    for label in np.unique(case.y):
        rows = rng.permutation(np.flatnonzero(case.y == label))
        y[rows[: max(2, round(share * len(rows)))]] = label
    return case._replace(y=y)


def folds(y, seed):
    """Return 3 folds, or 2 if a class has only two labels."""
    n_folds = min(3, np.unique(y, return_counts=True)[1].min())
    return StratifiedKFold(n_folds, shuffle=True, random_state=seed)


def pca(case, **settings):
    """Fit PCA."""
    return PCA(case.k, random_state=case.seed, **settings).fit(case.X)


def kernel_pca(case):
    """Fit KernelPCA, or an approximation for large tables."""
    gamma = 1 / (case.X.shape[1] * case.X.var())
    if len(case.X) <= MAX_ROWS:
        model = KernelPCA(case.k, kernel="rbf", gamma=gamma, random_state=case.seed)
        return model.fit(case.X)
    features = Nystroem(gamma=gamma, n_components=500, random_state=case.seed)
    return make_pipeline(features, PCA(case.k, random_state=case.seed)).fit(case.X)


def random_trees(case):
    """Fit RandomTreesEmbedding and TruncatedSVD."""
    trees = RandomTreesEmbedding(random_state=case.seed)
    return make_pipeline(trees, TruncatedSVD(case.k, random_state=case.seed)).fit(case.X)


def pls(case):
    """Fit partial least squares to the labelled rows."""
    X, y = case.labelled
    members = LabelBinarizer().fit_transform(y).astype(float)
    return PLSRegression(min(case.k, *X.shape), scale=False).fit(X, members)


def nca(case):
    """Fit neighbourhood components to the labelled rows."""
    model = NeighborhoodComponentsAnalysis(case.k, random_state=case.seed)
    return model.fit(*case.labelled)


def umap(case, module="umap", name="UMAP", **settings):
    """Fit UMAP."""
    model = getattr(import_module(module), name)
    return model(n_components=case.k, random_state=case.seed, **settings).fit(case.X)


def parametric_umap(case):
    """Fit UMAP's network."""
    return umap(case, "umap.parametric_umap", "ParametricUMAP", keras_fit_kwargs={"verbose": 0})


def ours(case, long_steps=None, **settings):
    """Fit AutoencoderTransformer; with `long_steps` steps, if given, for large tables."""
    if long_steps and len(case.X) > MANY_ROWS:
        settings["max_steps"] = long_steps
    return autoencoder(case, **settings).fit(case.X, case.y)


def autoencoder(case, **settings):
    """Return an unfitted AutoencoderTransformer."""
    return AutoencoderTransformer(case.k, random_state=case.seed, **settings | case.steps)


class LabelledLogisticRegression(LogisticRegression):
    """Classifier that ignores unlabelled rows, as the last step of a pipeline."""

    def fit(self, X, y):
        """Fit to the labelled rows."""
        return super().fit(X[y != HIDDEN], y[y != HIDDEN])


def searched(case):
    """Fit AutoencoderTransformer with the target_weight that is best for a classifier."""
    classifier = LabelledLogisticRegression(max_iter=1000)
    steps = [
        ("ae", autoencoder(case)),
        ("scaler", StandardScaler()),
        ("classifier", classifier),
    ]
    labelled, hidden = np.flatnonzero(case.y != HIDDEN), np.flatnonzero(case.y == HIDDEN)
    y = case.y[labelled]
    cv = [  # unlabelled rows are training rows in all folds
        (np.concatenate([labelled[train], hidden]), labelled[test])
        for train, test in folds(y, case.seed).split(y, y)
    ]
    grid = [
        {"ae__target_weight": [0.0]},
        {"ae__target_weight": TARGET_WEIGHTS, "ae__noise": [WITH_Y["noise"]]},
    ]
    search = GridSearchCV(Pipeline(steps), grid, cv=cv, error_score="raise")
    return search.fit(case.X, case.y).best_estimator_["ae"]


class Method(NamedTuple):
    """Function that fits a transformer to a case, and the style of its markers."""

    fit: Callable
    color: str | None = None
    marker: str | None = None


# Okabe and Ito's colours for colour-blind readers. Whitened PCA would hide PCA.
METHODS = {
    "PCA": Method(pca, "#000000", "x"),
    "whitened PCA": Method(partial(pca, whiten=True)),
    "KernelPCA": Method(kernel_pca, "#E69F00", "v"),
    "random trees": Method(random_trees, "#009E73", "^"),
    "NCA": Method(nca, "#0072B2", "D"),
    "PLS": Method(pls, "#CC79A7", "s"),
    "UMAP": Method(umap, "#56B4E9", "p"),
    "ParametricUMAP": Method(parametric_umap, "#F0E442", "h"),
    "default": Method(ours, "#D55E00", "o"),
    "swap": Method(partial(ours, long_steps=SWAP_STEPS, **SWAP), "#56B4E9", "s"),
    "masking": Method(partial(ours, long_steps=SWAP_STEPS, **MASKING), "#009E73", "v"),
    "with y": Method(partial(ours, long_steps=STEPS_WITH_Y, **WITH_Y), "#CC79A7", "^"),
    "with y, cv": Method(searched, "#000000", "*"),
}
OURS = ("default", "swap", "masking", "with y", "with y, cv")
SUPERVISED = ("NCA", "PLS", "with y", "with y, cv")
BASELINES = ("PCA", "NCA", "PLS")  # peers of ours with y
VIEWED = ("PCA", "NCA", "default", "swap", "with y")  # with two components


def can_run(method, case):
    """Whether a method is measured on a case; False if it takes too long."""
    if method == "NCA":
        return np.count_nonzero(case.y != HIDDEN) <= MAX_ROWS
    return method != "with y, cv" or len(case.X) <= MANY_ROWS


def fitted(method, case):
    """Fit a method without compiled functions; return its codes and first figures."""
    if not case.steps:  # seconds of shortened training have no meaning
        loop.compiled_steps.cache_clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        transformer, seconds = timed(lambda: METHODS[method].fit(case))
        codes = [np.asarray(transformer.transform(X), float) for X in (case.X, case.X_test)]
    row = {"fit_seconds": seconds}
    if caught:
        row["warned"] = sorted({str(warning.message).splitlines()[0] for warning in caught})
    if method in OURS:
        row["target_weight"] = transformer.target_weight
    if isinstance(transformer, PCA | AutoencoderTransformer):
        row["mse"] = reconstruction_error(transformer, case.X_test)
        row["mse_over_pca"] = row["mse"] / reconstruction_error(pca(case), case.X_test)
    return codes, row


def reconstruction_error(transformer, X):
    """Return the mean squared error of the reconstruction from codes."""
    return float(np.mean((transformer.inverse_transform(transformer.transform(X)) - X) ** 2))


def evaluated(codes, case):
    """Return test accuracies of classifiers trained on the codes of labelled rows."""
    scaler = StandardScaler().fit(codes[0])
    standardised = [scaler.transform(part) for part in codes]
    linear = LogisticRegression(max_iter=1000)
    seen = case.y != HIDDEN
    y = case.y[seen]
    search = GridSearchCV(linear, {"C": [0.01, 0.1, 1.0, 10.0]}, cv=folds(y, case.seed))
    row = {}
    for key, model, (known, new) in (
        ("logistic", search, standardised),
        ("logistic_default", linear, standardised),
        ("knn", KNeighborsClassifier(5), standardised),
        ("knn_raw", KNeighborsClassifier(5), codes),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            row[key] = float(model.fit(known[seen], y).score(new, case.y_test))
    return row | {"C": search.best_params_["C"]}


def measure(case, methods, shares):
    """Yield method, share of labels, and the figures or the error of the method."""
    last, made = None, None
    for method, share in product(methods, shares):
        shown = with_labels(case, share)
        if not can_run(method, shown):
            continue
        try:
            if method in SUPERVISED or method != last:  # others need one fit for all shares
                last, made = method, fitted(method, shown)
            row = made[1] | evaluated(made[0], shown)
        except (ValueError, TypeError, ImportError, ArithmeticError) as error:
            last, row = None, {"failed": f"{type(error).__name__}: {error}"}
        yield {"share": share, "method": method} | row


def over_seeds(results, key):
    """Return the values of a figure for each method, by table, k and share of labels."""
    values = {method: {} for method in METHODS}
    for row in results:
        if key in row:
            cell = row["table"], row["k"], row["share"]
            values[row["method"]].setdefault(cell, []).append(row[key])
    return {method: cells for method, cells in values.items() if cells}


AVERAGES = dict.fromkeys(("logistic", "logistic_default", "knn", "knn_raw"), mean)
AVERAGES |= dict.fromkeys(("mse_over_pca", "fit_seconds"), geometric_mean)


def summarise(results):
    """Summarise the small tables with all labels."""
    results = [row for row in results if row["table"] != "mnist" and row["share"] == 1]
    medians, summary = {}, {}
    for key, average in AVERAGES.items():
        medians[key] = {
            method: {cell[0]: float(median(values)) for cell, values in cells.items()}
            for method, cells in over_seeds(results, key).items()
        }
        summary[key] = {method: average(of.values()) for method, of in medians[key].items()}
    scores = medians["logistic"]
    of_pca, chosen = scores.get("PCA", {}), scores.get("with y, cv", {})
    baselines = [scores[method] for method in BASELINES if method in scores]
    return summary | {
        "tables": {method: len(of) for method, of in scores.items()},
        # where the method ran
        "logistic of PCA": {method: mean(of_pca[t] for t in of) for method, of in scores.items()},
        "with y, cv - best of PCA, NCA, PLS": {
            t: score - max(of[t] for of in baselines if t in of) for t, score in chosen.items()
        },
        "over a point below PCA": {
            method: [t for t in scores[method] if scores[method][t] < of_pca[t] - 0.01 - 1e-9]
            for method in OURS
            if method in scores
        },
    }


def print_table(title, columns):
    """Print figures of methods, whose columns are dicts."""
    print(f"\n{title}\n{'':15}" + "".join(f"  {name:>8}" for name in columns))
    for method in METHODS:
        figures = [column.get(method, "") for column in columns.values()]
        texts = [f"{f:.3f}" if isinstance(f, float) else str(f) for f in figures]
        widened = zip(texts, columns, strict=True)
        if any(texts):
            print(f"{method:15}" + "".join(f"  {t:>{max(8, len(name))}}" for t, name in widened))


def print_medians(title, results, key, heading):
    """Print medians over seeds, a column for each table, k and share of labels."""
    columns = {}
    for method, cells in over_seeds(results, key).items():
        for (table, k, share), values in cells.items():
            name = heading.format(table=table, k=k, share=100 * share)
            columns.setdefault(name, {})[method] = float(median(values))
    if columns:
        print_table(f"{title}: {key}", columns)


def show(results, summary):
    """Print accuracies by table, and the summary."""
    all_labels = [row for row in results if row["share"] == 1]
    for key in ("logistic", "knn", "knn_raw", "mse_over_pca"):
        small = [row for row in all_labels if row["table"] != "mnist"]
        print_medians("Small tables and k, all labels", small, key, "{table} {k}")
    for table, key in product(FEW_LABELS, ("logistic", "logistic_default", "knn", "knn_raw")):
        rows = [row for row in results if row["table"] == table]
        print_medians(f"{table}, by k and share of labels", rows, key, "{k}, {share:g} %")
    for key in ("mse_over_pca", "fit_seconds"):
        print_medians("mnist, by k", [r for r in all_labels if r["table"] == "mnist"], key, "{k}")
    if summary["tables"]:
        columns = {key: summary[key] for key in ("tables", "logistic of PCA", *AVERAGES)}
        print_table("Means over small tables, all labels (errors, seconds: geometric)", columns)
        (key, gains), (description, below) = list(summary.items())[-2:]
        texts = [f"{table} {100 * points:+.1f}" for table, points in gains.items()]
        print(f"\n{key}, in points: {', '.join(texts)}")
        for method, tables in below.items():
            print(f"{method}: {description} on {len(tables)}: {', '.join(tables) or 'none'}")
    for method, failed in {r["method"]: r["failed"] for r in results if "failed" in r}.items():
        print(f"{method} failed, in some cells at least: {failed}")


def views(case, methods):
    """Return two-dimensional codes of new rows by each method, and the accuracy of 5 neighbours."""
    for method in VIEWED:
        if method in methods and can_run(method, case):
            codes, _ = fitted(method, case)
            new = StandardScaler().fit(codes[0]).transform(codes[1])
            yield method, (new, evaluated(codes, case)["knn"])


def named(method):
    """Return the name of a method in the figure."""
    return f"ours, {method}" if method in OURS else method


def draw(results, name, y, pictures, path):
    """Plot two-dimensional codes, and accuracies by table below."""
    figure = Figure(figsize=(13, 8), layout="constrained", dpi=80)
    top, bottom = figure.subfigures(2, 1, height_ratios=(1, 1.5))
    top.suptitle(f"{name}: codes of new rows, 2 components; in brackets, accuracy of 5 neighbours")
    grid = top.subplots(1, len(pictures), squeeze=False)[0]
    for axes, (method, (codes, score)) in zip(grid, pictures.items(), strict=True):
        axes.scatter(*codes.T, c=y, cmap="tab10", vmin=-0.5, vmax=9.5, s=9, linewidths=0)
        axes.set(title=f"{named(method)} ({score:.2f})", xticks=[], yticks=[])
        for label in np.unique(y):
            x, height = np.median(codes[y == label], axis=0)
            box = {"facecolor": "white", "alpha": 0.6, "pad": 0.6, "linewidth": 0}
            axes.text(x, height, str(label), ha="center", va="center", weight="bold", bbox=box)
    draw_methods(bottom.subplots(), over_seeds([r for r in results if r["share"] == 1], "logistic"))
    figure.savefig(path)


def draw_methods(axes, accuracies):
    """Plot the medians and ranges of each method side by side."""
    methods = [method for method in accuracies if METHODS[method].marker]
    cells = list(dict.fromkeys(cell for of in accuracies.values() for cell in of))
    for i, method in enumerate(methods):
        _, color, marker = METHODS[method]
        found = {j: accuracies[method].get(cell) for j, cell in enumerate(cells)}
        found = {j: (median(v), min(v), max(v)) for j, v in found.items() if v}
        middle, least, most = np.transpose(list(found.values()))
        x = np.array(list(found)) + (i - (len(methods) - 1) / 2) * 0.84 / len(methods)
        inside = color if method in OURS else "white"
        ends = (middle - least, most - middle)
        style = {"color": color, "mfc": inside, "ms": 8 if marker == "*" else 5, "lw": 1}
        axes.errorbar(x, middle, ends, fmt=marker, label=named(method), **style)
    for edge in range(1, len(cells)):
        axes.axvline(edge - 0.5, color="0.85", lw=0.8)
    axes.set(
        xlim=(-0.5, len(cells) - 0.5),
        ylabel="accuracy on new rows",
        title="LogisticRegression on standardised codes of k components, all labels",
    )
    axes.set_xticks(range(len(cells)), [f"{table}\nk = {k}" for table, k, _ in cells])
    axes.grid(alpha=0.3, axis="y")
    axes.figure.legend(loc="outside right upper")


def parse(arguments):
    """Parse the command line, and load the tables."""
    parser = OneLineParser(prog="features.py", description=__doc__.splitlines()[0])
    for name, choices in (("tables", TABLES), ("methods", METHODS)):
        parser.add_argument(
            f"--{name}", nargs="+", choices=choices, metavar="NAME", help=", ".join(choices)
        )
    parser.add_argument("--seeds", type=positive, metavar="N", help="number of seeds (default: 3)")
    for name, read, default, text in (
        ("sizes", positive, MNIST_SIZES, "of MNIST's codes"),
        ("shares", float, SHARES, "of the labels of digits and MNIST"),
    ):
        parser.add_argument(f"--{name}", nargs="+", type=read, default=default, help=text)
    parser.add_argument("--quick", action="store_true", help="two tables, one seed, short training")
    parser.add_argument("--output", type=Path, default=RESULTS, help="output folder")
    options = parser.parse_args(arguments)
    everything = [name for name in TABLES if name != "mnist" or os.environ.get("SKAE_MNIST")]
    names = options.tables or (["iris", "wine"] if options.quick else everything)
    options.seeds = options.seeds or (1 if options.quick else 3)
    options.steps = {"max_steps": QUICK_STEPS} if options.quick else {}
    asked = {"PCA", *(options.methods or METHODS)}  # other methods are compared with PCA
    if find_spec("umap") is None:
        asked -= {"UMAP", "ParametricUMAP"}
    options.methods = [method for method in METHODS if method in asked]
    try:
        tables = {name: TABLES[name]() for name in TABLES if name in names}  # mnist last
        options.output.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        parser.error(" ".join(str(error).split()))
    return options, tables


def cases(options, tables):
    """Yield table, case and shares of labels; last mnist, with one seed."""
    plan = [(name, seed) for seed in range(options.seeds) for name in tables if name != "mnist"]
    for name, seed in plan + [("mnist", 0)] * ("mnist" in tables):
        case = case_of(name, tables[name], seed, options.steps)
        sizes = options.sizes if name == "mnist" else [max(2, -(-case.X.shape[1] // 4))]
        for k in sizes:
            yield name, case._replace(k=k), options.shares if name in FEW_LABELS else [1.0]


def main(arguments=None):
    """Run the benchmark."""
    options, tables = parse(arguments)
    json_path, png_path = (options.output / f"features.{kind}" for kind in ("json", "png"))
    print(", ".join(f"{key} {value}" for key, value in environment().items()))
    tiny = np.random.default_rng(0).normal(size=(60, 4))
    _, seconds = timed(lambda: AutoencoderTransformer(2, max_iter=1, random_state=0).fit(tiny))
    print(f"A first small fit, which imports TensorFlow, took {seconds:.1f} s and is not counted.")
    report = {"environment": environment(), "summary": {}, "results": []}
    start = time.perf_counter()
    for table, case, shares in cases(options, tables):
        where = {"table": table, "k": case.k, "seed": case.seed}
        print(
            f"{time.perf_counter() - start:6.0f} s: {table}, k {case.k}, seed {case.seed}", end=""
        )
        for row in measure(case, options.methods, shares):
            report["results"].append(where | row)
            report["seconds"] = round(time.perf_counter() - start, 1)
            save(report, json_path)
            method = row["method"] if row["share"] == 1 else f"{row['method']} {row['share']:.0%}"
            print(f", {method} {row.get('logistic', np.nan):.3f}", end="", flush=True)
        print()
        report["summary"] = summarise(report["results"])
    save(report, json_path)
    show(report["results"], report["summary"])
    name = "digits" if "digits" in tables else next(iter(tables))
    case = case_of(name, tables[name], 0, options.steps)
    draw(report["results"], name, case.y_test, dict(views(case, options.methods)), png_path)
    print(f"Wrote {json_path} and {png_path}.")


if __name__ == "__main__":
    main(sys.argv[1:])
