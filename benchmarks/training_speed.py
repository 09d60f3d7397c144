"""Rows per second of training: skae's loop, other loops, and the matrix products.

Two networks on random rows of 784 float32: the tutorial's stack 784-128-64-128-784 with sigmoids,
and the default one, a linear path plus hidden layers of 256. Adam, mean squared error, batches of
32, 256 and 1024. The limit is the step's own matrix products, forward and backward, in NumPy, on
the same cores. The time of ours includes all parts of a step of `fit`, such as the shuffling and
gathering of rows; the table is on the device, as in `fit`. The copy of the table to the device,
compilation and first calls are not timed.

Peers, on the tutorial's stack: its eager loop as written; the same loop with ``tf.function`` around
a step; Keras Model.fit; MLPRegressor (ReLU, and no sigmoid after the output); PyTorch's eager mode
with fused Adam, if installed. All run in one process, in turns; medians are shown.

Run ``python benchmarks/training_speed.py`` (about 8 minutes; ``--quick``: one round). Writes
training_speed.json below benchmarks/output/ or --output.
"""

import json
import sys
import time
from importlib.util import find_spec
from itertools import cycle, islice, pairwise
from pathlib import Path
from statistics import median

import numpy as np
from _common import RESULTS, OneLineParser, environment, positive
from sklearn.neural_network import MLPRegressor

from skae._data.corruption import Corruption
from skae._data.table import Table
from skae._initialization import initial_network
from skae._initialization.architecture import Architecture
from skae._networks.network import Autoencoder
from skae._runtime.tensorflow import import_tensorflow
from skae._training import loop, plan
from skae._training.losses import OnDeviceLoss, Reconstruction
from skae._training.optimizers import Adam

BATCHES = [32, 256, 1024]
N_FEATURES, K = 784, 64
# Layers of the tutorial's network, which all peers have, and of the default network.
SIZES, DEFAULT_SIZES = ([N_FEATURES, hidden, K, hidden, N_FEATURES] for hidden in (128, 256))
# Approximate duration of each measurement, in seconds.
SECONDS = 1.0


class Ours:
    """Loop of skae."""

    def __init__(self, X, batch_size, sizes, init):
        rng = np.random.default_rng(0)
        if init == "pca":
            axes = np.linalg.qr(rng.normal(size=(N_FEATURES, K)))[0].T.astype(np.float32)
            params = initial_network.init_from_pca(axes, np.ones(K), sizes[:3], rng)
            activations = ("silu", "identity", "identity")
        else:
            params = initial_network.init_random(init, sizes[:3], rng)
            activations = ("logistic",) * 3
        bounds = np.repeat([[-np.inf], [np.inf]], N_FEATURES, axis=1)
        start = Autoencoder(
            params=params,
            offset=np.zeros(N_FEATURES),
            scale=1.0,
            bounds=bounds,
            activations=activations,
        )
        self.start = start.astype(np.float32)
        architecture = Architecture(
            n_components=K, hidden_layer_sizes=(sizes[1],), activations=activations, init=init
        )
        self.table = Table(X).standardised(self.start.offset, 1.0)
        self.shape = plan.chunk_shape(self.table, architecture, batch_size, is_on_device=True)
        resident = self.table.rows_on_device(len(X))
        objective = Reconstruction(self.start.activations)
        tf = import_tensorflow()
        self.constants = (tf.convert_to_tensor(resident),), objective.constants(self.start)
        self.objective = OnDeviceLoss(objective)

    def __call__(self, n_steps):
        """Make `n_steps` steps."""
        longest, optimizer = self.shape[0], Adam()
        lengths = [longest] * (n_steps // longest) + [n_steps % longest or longest]
        rng = np.random.default_rng(0)
        steps = loop.train(
            loop.TrainState(self.start.params, optimizer.init(self.start.params)),
            self.table.batches(lengths, self.shape, Corruption(), rng, is_on_device=True),
            np.full(sum(lengths), 1e-3),
            loop.GradientStep(self.objective, self.constants, optimizer),
        )
        for _ in steps:
            pass
        return sum(lengths)


class Tape:
    """The tutorial's loop: eager as written, or with tf.function around a step."""

    def __init__(self, X, batch_size, compiled):
        self.tf = tf = import_tensorflow()
        shapes = [*pairwise(SIZES), *((n,) for n in SIZES[1:])]
        self.variables = [tf.Variable(tf.random.normal(s, stddev=0.05)) for s in shapes]
        self.optimizer = tf.optimizers.Adam(1e-3)
        self.step = tf.function(self._step) if compiled else self._step
        data = tf.data.Dataset.from_tensor_slices(X).repeat().shuffle(10_000)
        self.data = iter(data.batch(batch_size).prefetch(1))

    def _step(self, batch):
        tf, layers = self.tf, len(SIZES) - 1
        with tf.GradientTape() as tape:
            rows = batch
            for weight, bias in zip(self.variables[:layers], self.variables[layers:], strict=True):
                rows = tf.nn.sigmoid(tf.add(tf.matmul(rows, weight), bias))
            loss = tf.reduce_mean(tf.pow(batch - rows, 2))
        gradients = tape.gradient(loss, self.variables)
        self.optimizer.apply_gradients(zip(gradients, self.variables, strict=True))

    def __call__(self, n_steps):
        """Make `n_steps` steps."""
        for batch in islice(self.data, n_steps):
            self.step(batch)
        return n_steps


class Keras:
    """Model.fit with its defaults."""

    def __init__(self, X, batch_size):
        import_tensorflow()
        import keras

        layers = [keras.layers.Dense(n, activation="sigmoid") for n in SIZES[1:]]
        self.model = keras.Sequential([keras.Input((N_FEATURES,)), *layers])
        self.model.compile("adam", "mse")
        self.X, self.batch_size = X, batch_size

    def __call__(self, n_steps):
        """Make `n_steps` steps, in epochs of all rows."""
        rows = self.X[: min(n_steps * self.batch_size, len(self.X))]
        per_epoch = -(-len(rows) // self.batch_size)
        epochs = max(1, round(n_steps / per_epoch))
        self.model.fit(rows, rows, batch_size=self.batch_size, epochs=epochs, verbose=0)
        return epochs * per_epoch


class Mlp:
    """scikit-learn's MLPRegressor, by partial_fit."""

    def __init__(self, X, batch_size):
        self.model = MLPRegressor(hidden_layer_sizes=SIZES[1:-1], batch_size=batch_size)
        self.X, self.batch_size = X, batch_size

    def __call__(self, n_steps):
        """Make `n_steps` steps."""
        made, rows = 0, self.X[:8192]
        while made < n_steps:
            self.model.partial_fit(rows, rows)
            made += len(rows) // self.batch_size
        return made


class Torch:
    """PyTorch's eager mode."""

    def __init__(self, X, batch_size):
        import torch

        layers = []
        for n_in, n_out in pairwise(SIZES):
            layers += [torch.nn.Linear(n_in, n_out), torch.nn.Sigmoid()]
        self.model = torch.nn.Sequential(*layers)
        self.optimizer = torch.optim.Adam(self.model.parameters(), fused=True)
        self.loss, self.X = torch.nn.functional.mse_loss, torch.from_numpy(X)
        self.batches = torch.randperm(len(X)).split(batch_size)

    def __call__(self, n_steps):
        """Make `n_steps` steps."""
        for rows in islice(cycle(self.batches), n_steps):
            self.optimizer.zero_grad()
            x = self.X[rows]
            self.loss(self.model(x), x).backward()
            self.optimizer.step()
        return n_steps


class Limit:
    """The matrix products of a step, forward and backward, in NumPy."""

    def __init__(self, batch_size, sizes, linear):
        rng = np.random.default_rng(0)

        def draw(*shape):
            return rng.standard_normal(shape, dtype=np.float32)

        pairs = list(pairwise(sizes)) + linear * [(N_FEATURES, K), (K, N_FEATURES)]
        self.layers = [
            (draw(batch_size, n), draw(n, m), draw(batch_size, m), n == N_FEATURES)
            for n, m in pairs
        ]

    def __call__(self, n_steps):
        """Make `n_steps` steps."""
        for _ in range(n_steps):
            for x, weight, gradient, is_input in self.layers:
                x @ weight
                x.T @ gradient
                if not is_input:  # the gradient of the data is not needed
                    gradient @ weight.T
        return n_steps


def measure(contestants, batch_size, rounds, seconds):
    """Return rows per second of each method, measured in turns, as a list per method."""
    steps, speeds = {}, {name: [] for name in contestants}
    for name, make_steps in contestants.items():
        make_steps(3)  # compile
        n_steps, spent = 4, 0.0
        while spent < seconds / 8:
            n_steps *= 2
            start = time.perf_counter()
            made = make_steps(n_steps)
            spent = time.perf_counter() - start
        steps[name] = max(1, round(made * seconds / spent))
    for _ in range(rounds):
        for name, make_steps in contestants.items():
            make_steps(max(1, steps[name] // 8))  # wait for the threads of the method before
            start = time.perf_counter()
            made = make_steps(steps[name])
            speeds[name].append(made * batch_size / (time.perf_counter() - start))
    return speeds


def main(arguments=None):
    """Run the benchmark."""
    parser = OneLineParser(prog="training_speed.py", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rounds", type=positive, default=7, help="measurements of each (default: 7)"
    )
    parser.add_argument("--batch-sizes", type=positive, nargs="+", default=BATCHES, metavar="B")
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for the JSON")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    rounds, seconds = (1, 0.2) if options.quick else (options.rounds, SECONDS)
    X = np.random.default_rng(0).random((60_000, N_FEATURES), dtype=np.float32)

    results = []
    print(f"{'batch':>5}  {'':30}{'rows/s':>10}  {'spread':18}{'ours is':>9}{'time / limit':>14}")
    for batch_size in options.batch_sizes:
        tutorial = {
            "ours": Ours(X, batch_size, SIZES, "normal"),
            "matrix products": Limit(batch_size, SIZES, linear=False),
            "eager GradientTape": Tape(X, batch_size, compiled=False),
            "tf.function per step": Tape(X, batch_size, compiled=True),
            "Keras Model.fit": Keras(X, batch_size),
            "MLPRegressor": Mlp(X, batch_size),
        }
        if find_spec("torch"):
            tutorial["PyTorch eager"] = Torch(X, batch_size)
        default = {
            "ours": Ours(X, batch_size, DEFAULT_SIZES, "pca"),
            "matrix products": Limit(batch_size, DEFAULT_SIZES, linear=True),
        }
        for network, contestants in (("tutorial", tutorial), ("default", default)):
            speeds = measure(contestants, batch_size, rounds, seconds)
            typical = {name: median(values) for name, values in speeds.items()}
            for name, speed in typical.items():
                low, high = min(speeds[name]), max(speeds[name])
                print(
                    f"{batch_size:>5}  {network + ': ' + name:30}{speed:>10.0f}  "
                    f"{f'{low:.0f}-{high:.0f}':18}{typical['ours'] / speed:>8.2f}x"
                    f"{typical['matrix products'] / speed:>14.2f}",
                    flush=True,
                )
            results.append({"batch_size": batch_size, "network": network, "rows_per_s": speeds})
    path = options.output / "training_speed.json"
    path.write_text(json.dumps({"environment": environment(), "results": results}, indent=1) + "\n")
    print(f"Wrote {path}.")


if __name__ == "__main__":
    main(sys.argv[1:])
