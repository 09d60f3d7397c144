"""Compare the autoencoder with PCA: reconstruction error, fit time, accuracy of a classifier.

For each number of components, on test rows: mean squared error, the error of PCA with its
reconstruction clipped to the same bounds (to separate the effect of clipping), seconds to fit, and
the accuracy of a default LogisticRegression on the codes. Both have their defaults, but PCA
whitens, because the classifier needs whitened codes to converge; whitening does not change the
reconstruction.

Run ``python benchmarks/compare_pca.py --help`` for the options. Writes compare_pca.json and
compare_pca.png below benchmarks/output/ or --output.
"""

import json
import sys
import time
import warnings
from ast import literal_eval
from pathlib import Path
from statistics import median

import numpy as np
from _common import RESULTS, OneLineParser, environment, load, timed, tutorial_recipe
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mean_squared_error

from skae import AutoencoderTransformer
from skae._runtime.tensorflow import import_tensorflow

SIZES = {"digits": [2, 4, 8, 16, 32], "mnist": [8, 16, 30, 64]}
# In the order of computation: key, heading, format.
COLUMNS = [
    ("run", "", "s"),
    ("n_components", "k", "d"),
    ("pca_seconds", "PCA fit s", ".3f"),
    ("pca_mse", "PCA MSE", ".4g"),
    ("pca_accuracy", "PCA acc.", ".3f"),
    ("skae_seconds", "skae fit s", ".2f"),
    ("skae_mse", "skae MSE", ".4g"),
    ("pca_clipped_mse", "PCA clipped", ".4g"),
    ("ratio", "PCA / skae", ".2f"),
    ("skae_accuracy", "skae acc.", ".3f"),
]


def parse(arguments):
    """Parse the command line."""
    parser = OneLineParser(prog="compare_pca.py", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--dataset",
        default="digits",
        metavar="digits|mnist|FILE",
        help="scikit-learn's digits (default), MNIST (the file named by SKAE_MNIST, else from "
        "OpenML), or a .npz, .npy or .csv file",
    )
    parser.add_argument(
        "--n-components",
        type=int,
        nargs="+",
        metavar="K",
        help="numbers of components (default: 2 4 8 16 32; mnist: 8 16 30 64)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of split and training (default: 0)")
    parser.add_argument(
        "--quick", action="store_true", help="two sizes; one epoch with more than 10 000 rows"
    )
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="parameters of the autoencoder, as in max_iter=50 'hidden_layer_sizes=(512,256)'",
    )
    parser.add_argument(
        "--output", type=Path, default=RESULTS, help="folder for the JSON and the figure"
    )
    options = parser.parse_args(arguments)
    try:
        settings = parse_settings(options.set)
        AutoencoderTransformer(**settings)._validate_params()
    except (ValueError, TypeError) as error:
        parser.error(f"argument --set: {error}")
    if options.seed < 0:
        parser.error(f"argument --seed: must be 0 or more, got {options.seed}")
    try:
        table = load(options.dataset, options.seed)
        options.output.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        parser.error(" ".join(str(error).split()))
    limit = min(table.X_train.shape)
    sizes = options.n_components or [
        k for k in SIZES.get(options.dataset, SIZES["digits"]) if k < limit
    ]
    if not all(1 <= k <= limit for k in sizes):
        parser.error(f"argument --n-components: must be from 1 to {limit} for this data set")
    if options.quick:
        sizes = sizes[1:4:2] or sizes[:1]
        if len(table.X_train) > 10_000:
            settings = {"max_iter": 1} | settings
    return options, table, sizes, settings


def parse_settings(arguments):
    """Parse NAME=VALUE, where the value is a Python literal or a word."""
    settings = {}
    for argument in arguments:
        name, is_there, value = argument.partition("=")
        if not is_there:
            raise ValueError(f"needs NAME=VALUE, got {argument}")
        try:
            settings[name] = literal_eval(value)
        except (ValueError, SyntaxError):
            settings[name] = value
    return settings


def accuracy(table, transformer):
    """Return the test accuracy of a LogisticRegression on the codes; None without labels."""
    if table.y_train is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier = LogisticRegression().fit(transformer.transform(table.X_train), table.y_train)
    return classifier.score(transformer.transform(table.X_test), table.y_test)


def compare(table, run, n_components, seed, settings, show):
    """Fit both with one number of components, and show each figure as soon as it is computed."""
    X, X_test = table.X_train, table.X_test
    row = {}

    def add(**figures):
        row.update(figures)
        for key, figure in figures.items():
            show(key, figure)

    add(run=run, n_components=n_components)
    pca = PCA(n_components, whiten=True, random_state=seed)
    # one fit of milliseconds would be noise
    seconds = median(timed(lambda: pca.fit(X))[1] for _ in range(3))
    rows = pca.inverse_transform(pca.transform(X_test))
    add(
        pca_seconds=seconds,
        pca_mse=mean_squared_error(X_test, rows),
        pca_accuracy=accuracy(table, pca),
    )
    skae = AutoencoderTransformer(**{"n_components": n_components, "random_state": seed} | settings)
    skae, seconds = timed(lambda: skae.fit(X))
    add(
        skae_seconds=seconds,
        skae_mse=mean_squared_error(X_test, skae.reconstruct(X_test)),
        pca_clipped_mse=mean_squared_error(X_test, np.clip(rows, *skae.bounds_)),
    )
    # both are exact
    equal = np.allclose(row["skae_mse"], row["pca_mse"], rtol=1e-6, atol=1e-12 * X_test.var())
    add(
        ratio=1.0 if equal else row["pca_mse"] / row["skae_mse"],
        skae_accuracy=accuracy(table, skae),
    )
    row["skae_kept_pca"] = skae.best_step_ == 0
    return row, pca, skae


def summarise(table, results):
    """Summarise the table in one sentence, including the advantages of PCA."""
    ratios = [row["ratio"] for row in results]
    slower = [row["skae_seconds"] / row["pca_seconds"] for row in results]
    text = (
        f"On {table.name}, PCA's test error is {_range(ratios, '.2f')} times the autoencoder's at "
        f"{_plural(len(ratios), 'size')} of the code (geometric mean "
        f"{np.exp(np.mean(np.log(ratios))):.2f}), while PCA fits {_range(slower, '.0f')} times "
        "faster"
    )
    kept = [row["n_components"] for row in results if row["skae_kept_pca"]]
    if kept:
        text += f"; for k = {_listed(kept)} the result of the autoencoder is PCA"
    if table.y_train is not None:
        gains = {r["n_components"]: r["skae_accuracy"] - r["pca_accuracy"] for r in results}
        better = [
            f"on {whose} codes for k = {_listed(wins)}"
            for whose, sign in (("the autoencoder's", 1), ("PCA's", -1))
            if (wins := [k for k, gain in gains.items() if gain * sign > 0])
        ]
        text += f"; a LogisticRegression is more accurate {' and '.join(better) or 'on neither'}"
    return text + "."


def _range(numbers, spec):
    low, high = format(min(numbers), spec), format(max(numbers), spec)
    return low if low == high else f"{low} to {high}"


def _listed(numbers):
    return ", ".join(map(str, numbers))


def _plural(count, noun):
    return f"{count} {noun}{'s' * (count != 1)}"


def choose_pictures(fitted):
    """Return the reconstructions in the figure: both, at the middle and smallest size."""
    sizes = sorted(fitted)
    pictures = {}
    for k in sorted({sizes[0], sizes[len(sizes) // 2]}, reverse=True):
        pca, skae = fitted[k]
        pictures[f"PCA {k}"] = lambda X, pca=pca: pca.inverse_transform(pca.transform(X))
        pictures[f"skae {k}"] = skae.reconstruct
    return pictures


def compare_with_classics(table, results, options, pictures):
    """Compare with two known results on MNIST: the tutorial's, and one of 2006."""
    classics = {}
    for row in results:
        if row["n_components"] == 30:
            errors = {name: row[f"{name}_mse"] * table.X_test.shape[1] for name in ("pca", "skae")}
            classics["squared_error_per_image_at_30"] = errors
            print(
                f"With 30 components, the squared error per test image is {errors['skae']:.2f} "
                f"(PCA: {errors['pca']:.2f}). Hinton & Salakhutdinov (Science 313:504, 2006): "
                "3.00, by 784-1000-500-250-30 with pre-training (PCA: 13.87)."
            )
    if not options.quick:
        recipe, seconds = timed(lambda: tutorial_recipe(options.seed).fit(table.X_train))
        mse = mean_squared_error(table.X_test, recipe.reconstruct(table.X_test))
        classics["tutorial_recipe"] = {"mse": mse, "seconds": seconds}
        pictures["tutorial 64"] = recipe.reconstruct
        print(
            f"The tutorial recipe (64 components, {recipe.n_steps_} steps): test error {mse:.4g}, "
            f"in {seconds:.1f} s."
        )
    return classics


def draw(table, results, pictures, path):
    """Plot the error by number of components and, for images, test rows and reconstructions."""
    has_images = table.image_shape is not None
    figure = Figure(figsize=(11 if has_images else 5.5, 4), layout="constrained", dpi=120)
    left, *rest = figure.subfigures(1, 2 if has_images else 1, squeeze=False).ravel()
    axes = left.subplots()
    sizes = [row["n_components"] for row in results]
    for key, label, style in (
        ("pca_mse", "PCA", "o-"),
        ("pca_clipped_mse", "PCA, clipped to the same bounds", "o:"),
        ("skae_mse", "AutoencoderTransformer", "s-"),
    ):
        color = "C1" if key == "skae_mse" else "C0"
        axes.plot(sizes, [row[key] for row in results], style, color=color, label=label)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="number of components",
        ylabel="mean squared error on test rows",
        title=f"{table.name}: reconstruction error",
    )
    axes.set_xticks(sizes, labels=map(str, sizes))
    axes.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
    axes.grid(alpha=0.3)
    axes.legend()
    if has_images:
        _draw_images(rest[0], table, pictures)
        rest[0].suptitle("test rows, and their reconstructions by number of components")
    figure.savefig(path)


def _draw_images(figure, table, pictures):
    """Yield ten test rows, one of each class if there are ten classes."""
    first = np.arange(len(table.X_test))
    if table.y_test is not None:
        _, first = np.unique(table.y_test, return_index=True)
    X = table.X_test[first[:10]]
    lines = {"original": X} | {name: reconstruct(X) for name, reconstruct in pictures.items()}
    grid = figure.subplots(len(lines), len(X), squeeze=False)
    for line, (name, rows) in zip(grid, lines.items(), strict=True):
        for axes, row in zip(line, rows, strict=True):
            axes.imshow(row.reshape(table.image_shape), cmap="gray_r", vmin=X.min(), vmax=X.max())
            axes.set(xticks=[], yticks=[])
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")


def main(arguments=None):
    """Run the comparison."""
    options, table, sizes, settings = parse(arguments)
    columns = [c for c in COLUMNS if table.y_train is not None or "accuracy" not in c[0]]
    widths = {key: max(len(heading), 4) for key, heading, _ in columns}
    formats = {key: spec for key, _, spec in columns}

    def show(key, figure):
        if key in widths:
            print(f"{format(figure, formats[key]):>{widths[key]}}", end="  ", flush=True)

    _, seconds = timed(import_tensorflow)
    print(
        f"{table.name}: {len(table.X_train)} training and {len(table.X_test)} test rows of "
        f"{table.X_train.shape[1]} features. Fit times exclude the import of TensorFlow "
        f"({seconds:.1f} s, once in a process) and include compilation."
    )
    if settings:
        print(f"The autoencoder's settings: {settings}.")
    print("".join(f"{heading:>{widths[key]}}  " for key, heading, _ in columns))
    results, fitted = [], {}
    start = time.perf_counter()
    for i, n_components in enumerate(sizes, start=1):
        run = f"{i}/{len(sizes)}"
        row, *models = compare(table, run, n_components, options.seed, settings, show)
        print()
        results.append(row)
        fitted[n_components] = models
    print(summarise(table, results))
    pictures = choose_pictures(fitted)
    classics = {}
    if options.dataset == "mnist":
        classics = compare_with_classics(table, results, options, pictures)

    report = {
        "dataset": table.name,
        "seed": options.seed,
        "settings": settings,
        "environment": environment(),
        "seconds": round(time.perf_counter() - start, 2),
        "results": results,
        **classics,
    }
    json_path, png_path = (options.output / f"compare_pca.{kind}" for kind in ("json", "png"))
    json_path.write_text(json.dumps(report, indent=1) + "\n")
    draw(table, results, pictures, png_path)
    print(f"Wrote {json_path} and {png_path}.")


if __name__ == "__main__":
    main(sys.argv[1:])
