"""Choose the defaults by measurement: each parameter varied alone, over tables of many kinds.

For each variation and data set: PCA's test error divided by the autoencoder's, median over seeds,
with k = n_features // 4 numbers (20 at most) and a random quarter of the rows for testing. The last
columns are the geometric mean over the data sets, the worst of them, and the median seconds of a
fit.

Run ``python benchmarks/defaults.py`` (about an hour; ``--quick``: two variations, one seed, few
data sets). Writes defaults.json below benchmarks/results/ or --output.
"""

import json
import sys
from pathlib import Path
from statistics import geometric_mean, median

import numpy as np
from _common import RESULTS, OneLineParser, environment, load, positive, timed
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.metrics import mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderTransformer

VARIATIONS = [
    {},
    {"hidden_layer_sizes": (64,)},
    {"hidden_layer_sizes": (256,)},
    {"hidden_layer_sizes": (128, 128)},
    {"activation": "relu"},
    {"activation": "tanh"},
    {"activation": "gelu"},
    {"learning_rate_init": 2e-3},
    {"learning_rate_init": 5e-3},
    {"learning_rate_init": 1e-2},
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


def tables(mnist):
    """Name the data sets: real ones, and ones drawn with a fixed seed."""
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


def ratio(X, seed, variation):
    """PCA's test error divided by ours, and the seconds of our fit."""
    X, X_test = train_test_split(X, test_size=0.25, random_state=seed)
    k = max(1, min(X.shape[1] // 4, 20))
    pca = PCA(k, random_state=seed).fit(X)
    ae = AutoencoderTransformer(k, random_state=seed, **variation)
    ae, seconds = timed(lambda: ae.fit(X))
    pca_mse = mean_squared_error(X_test, pca.inverse_transform(pca.transform(X_test)))
    return pca_mse / mean_squared_error(X_test, ae.reconstruct(X_test)), seconds


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
    parser.add_argument("--quick", action="store_true", help="two variations, one seed, few tables")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for the JSON")
    options = parser.parse_args(arguments)
    try:
        mnist = load("mnist")
    except ValueError as error:
        print(f"Without MNIST: {error}")
        mnist = None
    options.output.mkdir(parents=True, exist_ok=True)
    data = dict(tables(mnist))
    variations = [VARIATIONS[i] for i in options.only] if options.only else VARIATIONS
    seeds = range(options.seeds)
    if options.quick:
        variations, seeds = variations[:2], range(1)
        data = {name: data[name] for name in ("iris", "counts", "noise")}

    results = []
    print(f"{'':34}" + "".join(f"{name[:10]:>11}" for name in (*data, "mean", "worst", "fit s")))
    for variation in variations:
        name = ", ".join(f"{key}={value}" for key, value in variation.items()) or "defaults"
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
