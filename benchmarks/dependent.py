"""Comparison with PCA on later rows of tables with dependent rows.

Overlapping windows of a series are fitted, and windows of the rest of the series, which share no
value with these, are the test rows. Series: AR(2), a slow AR(2), a random walk, two seasonal ones,
and the yearly numbers of sunspots if statsmodels is installed (``pip install statsmodels``). A
series has --steps steps, and models are fitted to two thirds of them. Another seed gives another
series; sunspots have 309 years, and another seed changes only the network.

`transformer`: mean squared error; `imputer`: mean squared error of entries hidden at random, 20 %;
`variational` and `detector`: negated mean log-likelihood. `start` is the same estimator with a
learning rate of almost zero, which keeps PCA or probabilistic PCA. `random` has validation rows
drawn at random, as for independent rows: each row is a group. `default` detects the dependence. The
last two columns are divided by the first. For likelihoods, which may be negative, the difference in
nats is shown; above zero is worse.

Tables sorted by class (iris, digits, wine, breast cancer; the last two standardised): models are
fitted to the first 75 % of the rows. There is no dependence, and `default` must equal `random`.

Run ``python benchmarks/dependent.py`` (about an hour; ``--quick``: two series, one seed, short
training). Writes dependent.json below benchmarks/output/ or --output, and prints medians over the
seeds.
"""

import sys
import time
import warnings
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from statistics import median

import numpy as np
from _common import RESULTS, OneLineParser, environment, positive, save
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import lfilter
from sklearn import datasets
from sklearn.base import clone
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import scale

from skae import (
    AutoencoderImputer,
    AutoencoderTransformer,
    OutlierDetector,
    VariationalAutoencoder,
)

WIDTH, K = 24, 4
WARM_UP = 200
HIDDEN_SHARE = 0.2


def autoregressive(rng, n_steps, *coefficients):
    """Make an autoregressive series with unit noise."""
    filtered = lfilter([1], [1, *(-c for c in coefficients)], rng.normal(size=n_steps + WARM_UP))
    return filtered[WARM_UP:]


def daily(rng, n_steps):
    """Make hourly values with a daily and a weekly season, and autoregressive noise."""
    hours = np.arange(n_steps)
    seasons = 3 * np.sin(2 * np.pi * hours / 24) + 1.5 * np.sin(2 * np.pi * hours / (24 * 7))
    return seasons + 0.7 * autoregressive(rng, n_steps, 0.6)


def monthly(rng, n_steps):
    """Make daily values with sharp monthly minima, a yearly amplitude, a trend and noise."""
    days = np.arange(n_steps)
    amplitude = 4 + 2 * np.sin(2 * np.pi * days / 365)
    series = amplitude * np.sqrt(abs(np.sin(np.pi * days / 30))) + 0.002 * days
    return series + 0.5 * rng.normal(size=n_steps)


def sunspots(_, __):
    """Load the yearly numbers of sunspots."""
    from statsmodels.datasets import sunspots

    return sunspots.load_pandas().data["SUNACTIVITY"].to_numpy()


SERIES = {
    "AR(2)": lambda rng, n_steps: autoregressive(rng, n_steps, 1.6, -0.8),
    "slow AR(2)": lambda rng, n_steps: autoregressive(rng, n_steps, 1.9, -0.91),
    "random walk": lambda rng, n_steps: rng.normal(size=n_steps).cumsum(),
    "daily": daily,
    "monthly": monthly,
}
if find_spec("statsmodels"):
    SERIES["sunspots"] = sunspots
TABLES = {
    "iris": (datasets.load_iris, False),
    "digits": (datasets.load_digits, False),
    "wine": (datasets.load_wine, True),
    "breast cancer": (datasets.load_breast_cancer, True),
}


def windows(name, seed, n_steps):
    """Return windows for training, and later windows, which share no value with them."""
    series = SERIES[name](np.random.default_rng(seed), n_steps)
    X = sliding_window_view(series, WIDTH)
    n_fitted = len(X) * 2 // 3
    return X[:n_fitted], X[n_fitted + WIDTH - 1 :]


def sorted_by_class(name, seed):
    """Return training rows, sorted by class, and test rows."""
    load, is_scaled = TABLES[name]
    X, y = load(return_X_y=True)
    X, X_test, y, _ = train_test_split(X, y, test_size=0.25, random_state=seed, stratify=y)
    X, X_test = (scale(X), scale(X_test)) if is_scaled else (X, X_test)
    return X[np.argsort(y, kind="stable")], X_test


def squared_error(model, X):
    """Return the mean squared error of the reconstruction."""
    return float(np.square(model.reconstruct(X) - X).mean())


def imputation_error(model, X):
    """Return the mean squared error of hidden entries."""
    hidden = np.random.default_rng(0).random(X.shape) < HIDDEN_SHARE
    filled = model.transform(np.where(hidden, np.nan, X))
    return float(np.square(filled - X)[hidden].mean())


def negated_likelihood(model, X):
    """Return the negated mean log-likelihood."""
    return -float(np.mean(model.score_samples(X)))


ESTIMATORS = {
    "transformer": (AutoencoderTransformer(K), squared_error),
    "imputer": (AutoencoderImputer(), imputation_error),
    "variational": (VariationalAutoencoder(K), negated_likelihood),
    "detector": (OutlierDetector(K), negated_likelihood),
}


def measure(name, X, X_test, seed, max_steps):
    """Return the errors of the initial model, of random validation rows and of the default."""
    estimator, error = ESTIMATORS[name]
    estimator = clone(estimator).set_params(random_state=seed, max_steps=max_steps)
    start = clone(estimator).set_params(learning_rate_init=1e-30, max_steps=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # for quantities that are not used here
        models = {
            "start": start.fit(X),
            "random": clone(estimator).fit(X, groups=np.arange(len(X))),
            "default": clone(estimator).fit(X),
        }
    return {method: error(model, X_test) for method, model in models.items()}


def show(results):
    """Print a line for each table and estimator: medians over the seeds."""
    print(f"\n{'':16}{'':14}{'start':>10}{'random':>10}{'default':>10}")
    cells = dict.fromkeys((row["table"], row["estimator"]) for row in results)
    for table, name in cells:
        rows = [row for row in results if (row["table"], row["estimator"]) == (table, name)]
        compare = np.subtract if ESTIMATORS[name][1] is negated_likelihood else np.divide
        texts = [f"{median(row['start'] for row in rows):10.4g}"]
        for method in ("random", "default"):
            texts.append(f"{median(compare(row[method], row['start']) for row in rows):10.3f}")
        print(f"{table:16}{name:14}{''.join(texts)}")


def parse(arguments):
    """Parse the command line."""
    parser = OneLineParser(prog="dependent.py", description=__doc__.splitlines()[0])
    parser.add_argument("--series", nargs="*", choices=SERIES, metavar="NAME", help=str([*SERIES]))
    parser.add_argument("--tables", nargs="*", choices=TABLES, metavar="NAME", help=str([*TABLES]))
    parser.add_argument(
        "--estimators", nargs="+", choices=ESTIMATORS, metavar="NAME", help=", ".join(ESTIMATORS)
    )
    parser.add_argument("--seeds", type=positive, metavar="N", help="number of seeds (default: 5)")
    parser.add_argument(
        "--steps", type=positive, default=1000, metavar="N", help="of a series (default: 1000)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="two series, no tables, one seed, short training"
    )
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for the JSON")
    options = parser.parse_args(arguments)
    if options.series is None:
        options.series = ["AR(2)", "monthly"] if options.quick else list(SERIES)
    if options.tables is None:
        options.tables = [] if options.quick else list(TABLES)
    options.estimators = options.estimators or list(ESTIMATORS)
    options.seeds = options.seeds or (1 if options.quick else 5)
    try:
        options.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(str(error))
    return options


def main(arguments=None):
    """Run the benchmark."""
    options = parse(arguments)
    path, max_steps = options.output / "dependent.json", 200 if options.quick else None
    print(", ".join(f"{key} {value}" for key, value in environment().items()))
    report, began = {"environment": environment(), "results": []}, time.perf_counter()
    cases = [(name, windows, (options.steps,)) for name in options.series]
    cases += [(name, sorted_by_class, ()) for name in options.tables]
    for (table, make, sizes), name in product(cases, options.estimators):
        for seed in range(options.seeds):
            X, X_test = make(table, seed, *sizes)
            row = {"table": table, "estimator": name, "seed": seed}
            row |= measure(name, X, X_test, seed, max_steps)
            report["results"].append(row)
            report["seconds"] = round(time.perf_counter() - began, 1)
            save(report, path)
            print(f"{report['seconds']:6.0f} s: {row}", flush=True)
    show(report["results"])
    print(f"Wrote {path}.")


if __name__ == "__main__":
    main(sys.argv[1:])
