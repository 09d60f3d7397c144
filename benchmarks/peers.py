"""Test error against seconds of fit on MNIST with 64 components: skae and other libraries.

Each run has its own process and clock. The clock includes the import of the library, compilation
and training. It is stopped while data are loaded and while errors are measured, which is at the end
of each budget. The time of the import is also shown. Each peer gets, at each budget, the best test
error over a grid of learning rates and batch sizes, which favours it. Ours has its defaults. Its
learning rate schedule ends with training, so that each budget is a separate run, with the number of
steps that follows from the speed of two short runs.

Peers: PCA; MLPRegressor fitted to its own input (128-64-128); a Keras model and Model.fit
(128-64-64-64-128, the deep autoencoder of the Keras blog with a code of 64); the GradientTape loop
of the tutorial, eager as written; our sizes as a plain stack in PyTorch's eager mode with fused
Adam, and PyOD's AutoEncoder (784-128-64, without dropout, which would reduce its accuracy), if
installed.

Run ``python benchmarks/peers.py`` (25 minutes; ``--quick``: under 3). Writes peers.json and
peers.png below benchmarks/output/ or --output. MNIST is loaded as in compare_pca.py.
"""

import json
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from itertools import groupby, pairwise, product
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from _common import RESULTS, OneLineParser, environment, load, tutorial_recipe
from matplotlib.figure import Figure

from skae._runtime.tensorflow import import_tensorflow

BUDGETS = [5, 15, 60]
GRID = [{"rate": r, "batch_size": b} for r, b in product([1e-3, 3e-3], [128, 512])]
K = 64


class Clock:
    """Clock of the fit, which is stopped while errors are measured."""

    def __init__(self, budgets, X_test):
        self.budgets, self.X_test = list(budgets), X_test
        self.points, self.imported = [], 0.0
        self.spent, self.started = 0.0, time.perf_counter()

    def import_ends(self):
        """Record the time of the import."""
        self.imported = time.perf_counter() - self.started

    def runs(self, reconstruct, *, final=False):
        """Measure the error after each budget and at the end; return whether a budget is left."""
        now = self.spent + time.perf_counter() - self.started
        if final or now >= self.budgets[0]:
            self.spent, budget = now, self.budgets[0]
            blocks = np.array_split(self.X_test, 20)
            error = np.mean([np.mean((reconstruct(rows) - rows) ** 2) for rows in blocks])
            self.points.append({"budget": budget, "seconds": now, "mse": float(error)})
            self.budgets = [b for b in self.budgets if b > now]
            self.started = time.perf_counter()
        return bool(self.budgets)


def pca(X, clock):
    """Fit PCA."""
    from sklearn.decomposition import PCA

    clock.import_ends()
    model = PCA(K).fit(X)
    clock.runs(lambda rows: model.inverse_transform(model.transform(rows)), final=True)


def skae(X, clock, max_steps):
    """Fit AutoencoderTransformer."""
    from skae import AutoencoderTransformer

    import_tensorflow()
    clock.import_ends()
    model = AutoencoderTransformer(K, max_steps=max_steps, random_state=0).fit(X)
    clock.runs(model.reconstruct, final=True)


def mlp_regressor(X, clock, rate, batch_size):
    """Fit scikit-learn's MLPRegressor to its own input."""
    from sklearn.neural_network import MLPRegressor

    clock.import_ends()
    model = MLPRegressor(
        hidden_layer_sizes=(128, K, 128),
        learning_rate_init=rate,
        batch_size=batch_size,
        random_state=0,
    )
    rng = np.random.default_rng(0)
    while True:
        for rows in np.array_split(rng.permutation(len(X)), 20):
            model.partial_fit(X[rows], X[rows])
            if not clock.runs(model.predict):
                return


def keras_fit(X, clock, rate, batch_size):
    """Train the deep autoencoder of the Keras blog with Model.fit."""
    import_tensorflow()
    import keras

    clock.import_ends()
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense
    layers = [dense(n, activation="relu") for n in (128, 64, K, 64, 128)]
    model = keras.Sequential([keras.Input((784,)), *layers, dense(784, activation="sigmoid")])
    model.compile(keras.optimizers.Adam(rate), "mse")

    class StopByTheClock(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if not clock.runs(lambda rows: model(rows).numpy()):
                self.model.stop_training = True

    model.fit(X, X, batch_size=batch_size, epochs=10_000, verbose=0, callbacks=[StopByTheClock()])


def eager_tape(X, clock, rate, batch_size):
    """Run the tutorial's loop as written: variables and a GradientTape, step by step."""
    tf = import_tensorflow()
    clock.import_ends()
    tf.random.set_seed(0)
    hidden = tutorial_recipe(0).hidden_layer_sizes
    sizes = [784, *hidden, K, *hidden[::-1], 784]
    weights = [tf.Variable(tf.random.normal(shape, stddev=0.05)) for shape in pairwise(sizes)]
    biases = [tf.Variable(tf.random.normal([n], stddev=0.05)) for n in sizes[1:]]
    optimizer = tf.optimizers.Adam(rate)

    def reconstruct(rows):
        for weight, bias in zip(weights, biases, strict=True):
            rows = tf.nn.sigmoid(tf.add(tf.matmul(rows, weight), bias))
        return rows

    data = tf.data.Dataset.from_tensor_slices(X).repeat().shuffle(10_000)
    for batch in data.batch(batch_size).prefetch(1):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.pow(batch - reconstruct(batch), 2))
        variables = weights + biases
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        if not clock.runs(lambda rows: reconstruct(rows).numpy()):
            return


def pytorch(X, clock, rate, batch_size):
    """Train a plain stack of our sizes in PyTorch's eager mode, with fused Adam."""
    import torch

    clock.import_ends()
    torch.manual_seed(0)
    layers = []
    for n_in, n_out in pairwise([784, 128, K, 128, 784]):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.SiLU()]
    del layers[-1], layers[3]  # code and output are linear
    model = torch.nn.Sequential(*layers)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, fused=True)
    table = torch.from_numpy(X)

    @torch.no_grad()
    def reconstruct(rows):
        return model(torch.from_numpy(rows)).numpy()

    while True:
        for indices in torch.randperm(len(table)).split(batch_size):
            optimizer.zero_grad()
            rows = table[indices]
            torch.nn.functional.mse_loss(model(rows), rows).backward()
            optimizer.step()
            if not clock.runs(reconstruct):
                return


def pyod(X, clock, rate, batch_size):
    """Fit PyOD's AutoEncoder."""
    import torch
    from pyod.models.auto_encoder import AutoEncoder

    clock.import_ends()

    class OutOfTimeError(Exception):
        pass

    class Clocked(AutoEncoder):
        @torch.no_grad()
        def reconstruct(self, rows):
            self.model.eval()
            rows = self.model(torch.from_numpy(rows)).numpy()
            self.model.train()
            return rows

        def training_forward(self, batch_data):
            loss = super().training_forward(batch_data)
            if not clock.runs(self.reconstruct):
                raise OutOfTimeError
            return loss

    model = Clocked(
        lr=rate,
        epoch_num=10_000,
        batch_size=batch_size,
        hidden_neuron_list=[128, K],
        dropout_rate=0.0,
        preprocessing=False,
        verbose=0,
    )
    with suppress(OutOfTimeError):
        model.fit(X)


# Peers by name: the function that fits it, and the package that it needs.
PEERS = {
    "PCA": (pca, "sklearn"),
    "skae": (skae, "skae"),
    "MLPRegressor": (mlp_regressor, "sklearn"),
    "Keras Model.fit": (keras_fit, "keras"),
    "eager GradientTape": (eager_tape, "tensorflow"),
    "PyTorch eager": (pytorch, "torch"),
    "PyOD AutoEncoder": (pyod, "pyod"),
}


def run(name, budgets, settings, connection):
    """Fit one peer with one setting, in its own process."""
    table = load("mnist")
    X, X_test = (rows.astype(np.float32) for rows in (table.X_train, table.X_test))
    clock = Clock(budgets, X_test)
    try:
        PEERS[name][0](X, clock, **settings)
    except ValueError as error:  # scikit-learn's, when training diverges
        print(f"{name} with {settings} stops early: {error}", file=sys.stderr)
    connection.send({"settings": settings, "import": clock.imported, "points": clock.points})


def in_new_process(name, budgets, settings):
    """Run one peer with one setting; return its result, or raise an error if it failed."""
    context = get_context("spawn")  # a forked process would have imported the library already
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=run, args=(name, budgets, settings, theirs))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        raise RuntimeError(f"{name} with {settings} failed; its message is above") from None
    finally:
        process.join()


def trials(name, budgets, grid):
    """Run one peer with all its settings, at all budgets."""
    if name == "PCA":
        return [in_new_process(name, budgets, {})]
    if name != "skae":
        return [in_new_process(name, budgets, settings) for settings in grid]
    few, many = 100, 500
    short, longer = (
        in_new_process(name, budgets, {"max_steps": n})["points"][0]["seconds"] for n in (few, many)
    )
    per_step = (longer - short) / (many - few)
    return [
        in_new_process(
            name, [budget], {"max_steps": max(1, round(0.95 * (budget - short) / per_step))}
        )
        for budget in budgets
    ]


def best_points(runs):
    """Return the lowest error over the runs at each budget."""
    points = [point | {"settings": run["settings"]} for run in runs for point in run["points"]]
    points.sort(key=lambda point: (point["budget"], point["mse"]))
    return [next(same) for _, same in groupby(points, key=lambda point: point["budget"])]


def main(arguments=None):
    """Run all peers."""
    parser = OneLineParser(prog="peers.py", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="budgets of 5 and 10 s, no grid")
    parser.add_argument("--only", nargs="+", choices=PEERS, metavar="PEER", help="peers to run")
    parser.add_argument("--output", type=Path, default=RESULTS, help="output folder")
    options = parser.parse_args(arguments)
    try:
        load("mnist")
        options.output.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        parser.error(" ".join(str(error).split()))
    budgets, grid = ([5, 10], GRID[:1]) if options.quick else (BUDGETS, GRID)

    results = {}
    heading = "".join(f"{f'{budget} s':>10}" for budget in budgets)
    print(f"{'test MSE within':20}{heading}   import   best setting at the last budget")
    for name in options.only or PEERS:
        package = PEERS[name][1]
        if find_spec(package) is None:
            print(f"{name:20}skipped: {package} is not installed")
            continue
        runs = trials(name, budgets, grid)
        best = best_points(runs)
        imported = float(np.median([run["import"] for run in runs]))
        results[name] = {"import": imported, "best": best, "runs": runs}
        figures = "".join(f"{point['mse']:>10.5f}" for point in best)
        figures += " " * 10 * (len(budgets) - len(best))
        settings = best[-1]["settings"].items()
        setting = ", ".join(f"{key} {value:g}" for key, value in settings) or "defaults"
        print(f"{name:20}{figures}{imported:>7.1f} s   {setting}", flush=True)

    report = {"environment": environment(), "budgets": budgets, "grid": grid, "results": results}
    json_path, png_path = (options.output / f"peers.{kind}" for kind in ("json", "png"))
    json_path.write_text(json.dumps(report, indent=1) + "\n")
    draw(results, png_path)
    print(f"Wrote {json_path} and {png_path}.")


def draw(results, path):
    """Plot error against seconds."""
    figure = Figure(figsize=(7, 4.5), layout="constrained", dpi=120)
    axes = figure.subplots()
    for name, result in results.items():
        seconds, errors = ([point[key] for point in result["best"]] for key in ("seconds", "mse"))
        axes.plot(seconds, errors, "s-" if name == "skae" else "o--", label=name)
        if name == "PCA":
            axes.axhline(errors[0], color="C0", lw=0.8, ls=":")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="seconds of fit, including import and compilation",
        ylabel="mean squared error of test rows",
        title="MNIST with 64 components",
    )
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize="small")
    figure.savefig(path)


if __name__ == "__main__":
    main(sys.argv[1:])
