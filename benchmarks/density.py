"""Density estimation: log-likelihood of test rows, and quality of samples.

Nats per test row, in the unit in which the training rows have a mean square of one around their
means (densities depend on the unit; the likelihoods of binarised MNIST are probabilities and do
not). Peers: `PCA.score` with the same number of components, which is the initial model of ours;
FactorAnalysis, whose noise differs by feature; GaussianMixture with full covariances, with the
number of components (1 to 30) that has the highest likelihood on a tenth of the training rows;
KernelDensity, whose bandwidth is selected in the same way. The last two are not run on the 784
columns of MNIST.

Tables: digits and MNIST, with uniform noise between 0 and 1 added to the integers; breast_cancer,
standardised; `mixture`, ten Gaussians in 10 dimensions, rotated and mixed into 30 columns;
`curved`, a surface in 12 columns; each split 75/25 by a seed, MNIST as published. `mnist binary`:
each pixel is drawn once, with its value as the probability; ours has a Bernoulli likelihood, scored
with 200 draws on the first 2000 test rows, and is compared with independent pixels.

Samples of digits: for each class a density of its training rows. LogisticRegression is trained on
1000 samples of each class and tested on real rows. A RandomForest is trained to distinguish an
equal number of samples and real test rows: an accuracy of 0.5 is perfect.

Run ``python benchmarks/density.py`` (``--tables``, ``--seeds``, ``--quick``). Writes density.json
and density.png below benchmarks/output/ or --output.
"""

import sys
import warnings
from pathlib import Path
from statistics import median

import numpy as np
from _common import RESULTS, OneLineParser, environment, load, positive, save, timed
from matplotlib.figure import Figure
from sklearn import datasets
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.neighbors import KernelDensity
from sklearn.preprocessing import StandardScaler

from skae import VariationalAutoencoder
from skae._training import loop

SIZES = {"digits": (8, 32), "breast_cancer": (8,), "mixture": (8,), "curved": (4,), "mnist": (64,)}
BINARY = "mnist binary"
# A deeper network, more steps at a lower rate, and a smaller penalty: minutes on MNIST.
DEEP = {
    "hidden_layer_sizes": (512, 256),
    "learning_rate_init": 2e-3,
    "max_steps": 8000,
    "alpha": 0.05,
    "likelihood": "bernoulli",
}
SAMPLES_PER_CLASS, N_DRAWS, N_SCORED = 1000, 200, 2000
QUICK_STEPS = 30


def dequantised(rows, seed=0):
    """Add uniform noise between 0 and 1 to integers."""
    return rows + np.random.default_rng(seed).uniform(size=rows.shape)


def mixture():
    """Draw ten Gaussians, rotated and mixed into 30 columns."""
    rng = np.random.default_rng(0)
    kind, centres = rng.integers(10, size=2000), 3 * rng.normal(size=(10, 10))
    shapes = rng.normal(size=(10, 10, 10)) / 3
    rows = centres[kind] + np.einsum("ni,nij->nj", rng.normal(size=(2000, 10)), shapes[kind])
    return rows @ rng.normal(size=(10, 30)) + 0.3 * rng.normal(size=(2000, 30))


def curved():
    """Draw a curved surface in 12 columns."""
    rng = np.random.default_rng(0)
    t = rng.uniform(0, 3, size=(2000, 2))
    return np.sin(1.5 * t @ rng.normal(size=(2, 12))) + 0.1 * rng.normal(size=(2000, 12))


TABLES = {
    "digits": lambda: dequantised(datasets.load_digits().data),
    "breast_cancer": lambda: StandardScaler().fit_transform(datasets.load_breast_cancer().data),
    "mixture": mixture,
    "curved": curved,
    "mnist": lambda: load("mnist"),
    BINARY: lambda: load("mnist"),
}


def split(name, data, seed):
    """Return training and test rows, in the unit of the scores."""
    if name == BINARY:
        draws = np.random.default_rng(0)
        return [(draws.uniform(size=X.shape) < X).astype("f") for X in (data.X_train, data.X_test)]
    if name == "mnist":
        parts = [dequantised(np.round(255 * X)) for X in (data.X_train, data.X_test)]
    else:
        parts = train_test_split(data, test_size=0.25, random_state=seed)
    unit = np.sqrt(np.mean((parts[0] - parts[0].mean(axis=0)) ** 2))
    return [(X / unit).astype("f") if name == "mnist" else X / unit for X in parts]


def chosen(models, X, seed):
    """Select the model with the highest likelihood on a tenth of the rows, and fit it to all."""
    known, validation = train_test_split(X, test_size=0.1, random_state=seed)
    best = max(models, key=lambda model: model.fit(known).score(validation))
    return best.fit(X)


def gaussian_mixture(X, seed):
    """Fit a GaussianMixture."""
    sizes = (1, 2, 3, 5, 8, 12, 20, 30)
    models = [
        GaussianMixture(n, reg_covar=1e-3, random_state=seed) for n in sizes if n < len(X) / 5
    ]
    return chosen(models, X, seed)


def kernel_density(X, seed):
    """Fit a KernelDensity."""
    return chosen([KernelDensity(bandwidth=h) for h in np.geomspace(0.05, 2, 15)], X, seed)


def ours(k, seed, **params):
    """Return an unfitted VariationalAutoencoder."""
    return VariationalAutoencoder(k, random_state=seed, **params)


def methods(name, k, seed, steps):
    """Return functions that fit a density to rows."""
    if name == BINARY:
        return {"ours, deep": lambda X: ours(k, seed, **DEEP | steps).fit(X)}
    of = {
        "PCA": lambda X: PCA(k, random_state=seed).fit(X),
        "ours": lambda X: ours(k, seed, **steps).fit(X),
        "ours, by feature": lambda X: ours(k, seed, noise_variance="feature", **steps).fit(X),
    }
    if name != "mnist":
        of["FactorAnalysis"] = lambda X: FactorAnalysis(k, random_state=seed).fit(X)
        of["GaussianMixture"] = lambda X: gaussian_mixture(X, seed)
        of["KernelDensity"] = lambda X: kernel_density(X, seed)
    return of


def per_row(model, X):
    """Return the mean log-likelihood per row; the score of a KernelDensity is a sum."""
    return model.score(X) / (len(X) if isinstance(model, KernelDensity) else 1)


def measure(name, data, k, seed, steps):
    """Yield a row of figures for each method."""
    X, X_test = split(name, data, seed)
    where = {"table": name, "k": k, "seed": seed}
    if name == BINARY:
        p = X.mean(axis=0, dtype=float).clip(1e-4, 1 - 1e-4)
        x = X_test[:N_SCORED]
        nats = float(np.mean(x @ np.log(p) + (1 - x) @ np.log1p(-p)))
        yield where | {"method": "independent pixels", "nats": nats}
    for method, fit in methods(name, k, seed, steps).items():
        loop.compiled_steps.cache_clear()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model, seconds = timed(lambda fit=fit: fit(X))
        if name == BINARY:
            model.set_params(n_draws=N_DRAWS)
        scored = X_test[:N_SCORED] if name == BINARY else X_test
        yield where | {"method": method, "nats": per_row(model, scored), "fit_seconds": seconds}


def sampled_digits(seed, steps):
    """Return figures of samples by each method, and some samples for the figure."""
    X, y = datasets.load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(dequantised(X), y, random_state=seed, stratify=y)
    fits = {
        "GaussianMixture": lambda rows: gaussian_mixture(rows, seed),
        "ours": lambda rows: ours(8, seed, **steps).fit(rows),
        "ours, by feature": lambda rows: ours(8, seed, noise_variance="feature", **steps).fit(rows),
    }
    rows, pictures = [], {"real": X_test[:20]}
    labels = np.repeat(np.arange(10), SAMPLES_PER_CLASS)
    learner = LogisticRegression(max_iter=2000)
    real = learner.fit(X, y).score(X_test, y_test)
    for method, fit in fits.items():
        drawn = []
        for label in range(10):
            model = fit(X[y == label])
            if isinstance(model, GaussianMixture):
                model.random_state = seed
                drawn.append(model.sample(SAMPLES_PER_CLASS)[0])
            else:
                drawn.append(model.sample(SAMPLES_PER_CLASS, random_state=seed))
        samples = np.concatenate(drawn)
        accuracy = learner.fit(samples, labels).score(X_test, y_test)
        rng = np.random.default_rng(seed)
        fakes = samples[rng.choice(len(samples), len(X_test), replace=False)]
        both, is_real = np.concatenate([fakes, X_test]), np.repeat([0, 1], len(X_test))
        forest = RandomForestClassifier(random_state=seed)
        distinguished = cross_val_score(forest, both, is_real, cv=3).mean()
        figures = {
            "accuracy": accuracy,
            "accuracy_of_real": real,
            "told_from_real": float(distinguished),
        }
        rows.append({"method": method, "seed": seed} | figures)
        pictures[method] = np.concatenate([part[:2] for part in drawn])
    return rows, pictures


def draw(pictures, path):
    """Plot rows, real and sampled, as images."""
    figure = Figure(figsize=(10, 3.2), layout="constrained", dpi=110)
    for axes, (name, rows) in zip(figure.subplots(len(pictures), 1), pictures.items(), strict=True):
        images = rows.reshape(-1, 8, 8)
        axes.imshow(
            np.hstack([np.pad(image, 1) for image in images]), cmap="gray_r", vmin=0, vmax=17
        )
        axes.set(xticks=[], yticks=[])
        axes.set_ylabel(name, rotation=0, ha="right", va="center")
    figure.suptitle("digits: real rows, and samples of a density for each class, two of each")
    figure.savefig(path)


def show(results, samples):
    """Print medians over seeds."""
    cells = list(dict.fromkeys((row["table"], row["k"]) for row in results))
    names = list(dict.fromkeys(row["method"] for row in results))
    for key in ("nats", "fit_seconds"):
        print(f"\n{key}\n{'':20}" + "".join(f"{f'{t} {k}':>18}" for t, k in cells))
        for name in names:
            texts = []
            for cell in cells:
                found = [
                    row[key]
                    for row in results
                    if (row["table"], row["k"], row["method"]) == (*cell, name) and key in row
                ]
                texts.append(f"{median(found):.2f}" if found else "")
            print(f"{name:20}" + "".join(f"{text:>18}" for text in texts))
    print("\nSamples of digits, a density for each class")
    for name in dict.fromkeys(row["method"] for row in samples):
        rows = [row for row in samples if row["method"] == name]
        figures = {
            k: median(row[k] for row in rows) for k in rows[0] if k not in ("method", "seed")
        }
        print(f"{name:20}" + ", ".join(f"{key} {value:.3f}" for key, value in figures.items()))


def main(arguments=None):
    """Run the benchmark."""
    parser = OneLineParser(prog="density.py", description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="+", choices=TABLES, metavar="NAME", default=list(TABLES))
    parser.add_argument("--seeds", type=positive, default=3, help="number of seeds (default: 3)")
    parser.add_argument("--quick", action="store_true", help="one seed, short training, no MNIST")
    parser.add_argument("--output", type=Path, default=RESULTS, help="output folder")
    options = parser.parse_args(arguments)
    steps = {"max_steps": QUICK_STEPS} if options.quick else {}
    names = [name for name in options.tables if not (options.quick and "mnist" in name)]
    seeds = 1 if options.quick else options.seeds
    try:
        tables = {name: TABLES[name]() for name in names}
        options.output.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        parser.error(" ".join(str(error).split()))
    report = {"environment": environment(), "results": [], "samples": []}
    ours(1, 0, max_steps=1).fit(np.random.default_rng(0).normal(size=(60, 4)))  # imports TensorFlow
    for name, data in tables.items():
        for seed in range(1 if "mnist" in name else seeds):
            for k in SIZES.get(name, (64,)):
                for row in measure(name, data, k, seed, steps):
                    report["results"].append(row)
                    print(", ".join(f"{k} {v}" for k, v in row.items()), flush=True)
                    save(report, options.output / "density.json")
    if "digits" in names:
        for seed in range(seeds):
            rows, pictures = sampled_digits(seed, steps)
            report["samples"] += rows
        draw(pictures, options.output / "density.png")
    save(report, options.output / "density.json")
    show(report["results"], report["samples"])


if __name__ == "__main__":
    main(sys.argv[1:])
