"""Time of fits and gradient steps on the GPU and on the CPU.

Three measurements. Fits of MNIST with 64 components, or of scikit-learn's digits with 16 if the
environment variable SKAE_MNIST is not set: the first fit of the process, which compiles the
training loop, and a further fit, beside PCA. Gradient steps per second of the default network for
MNIST, by training_speed.py. A fit of a generated table of 1 000 000 rows and 200 columns with
hidden layers of (1024, 1024).

Each device has its own process, in which TensorFlow is imported before the first fit. On a machine
with a GPU, the same is measured on its CPU. The large table is left out on a CPU, unless --large is
passed.

Run ``python benchmarks/gpu.py`` (two minutes on two cores without a GPU; ``--quick``: small tables,
under a minute). Writes gpu.json below benchmarks/output/ or --output.
"""

import os
import sys
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np
from _common import RESULTS, OneLineParser, environment, load, save, timed
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.metrics import mean_squared_error
from training_speed import DEFAULT_SIZES, N_FEATURES, Ours, measure

from skae import AutoencoderTransformer
from skae._runtime.tensorflow import import_tensorflow

BATCHES = [256, 1024, 4096]
HIDDEN = (1024, 1024)


def curved_rows(n_samples, n_features):
    """Return float32 rows near a curved surface, and 10 000 such test rows."""
    rng = np.random.default_rng(0)

    def draw(*shape):
        return rng.standard_normal(shape, dtype=np.float32)

    inner, outer = draw(8, n_features) / 3, draw(n_features, n_features) / 8
    X = np.empty((n_samples + 10_000, n_features), dtype=np.float32)
    for rows in np.array_split(X, 1 + len(X) // 50_000):
        rows[:] = np.sin(draw(len(rows), 8) @ inner) @ outer + draw(*rows.shape) / 10
    return X[:n_samples], X[n_samples:]


def compare(name, ae, X, X_test, results):
    """Add the times and the ratio of the errors of a first fit, a further fit and PCA."""
    _, results[f"{name}: first fit, with compilation, s"] = timed(lambda: ae.fit(X))
    again, results[f"{name}: further fit, s"] = timed(lambda: clone(ae).fit(X))
    pca, seconds = timed(lambda: PCA(ae.n_components, whiten=True, random_state=0).fit(X))
    pca_error = mean_squared_error(X_test, pca.inverse_transform(pca.transform(X_test)))
    results[f"{name}: PCA's fit, s"] = seconds
    error = mean_squared_error(X_test, again.reconstruct(X_test))
    results[f"{name}: PCA's error / ours"] = pca_error / error
    is_same = np.array_equal(ae.transform(X_test), again.transform(X_test))
    results[f"{name}: the same bits in both fits"] = is_same


def device_name(gpus, tf):
    """Return the name of the device that `fit` uses."""
    if not gpus:
        return f"{environment()['cpu']}, {os.cpu_count()} cores"
    details = tf.config.experimental.get_device_details(gpus[0])
    return details.get("device_name", gpus[0].name)


def run(hides_gpus, is_quick, is_large, connection):
    """Measure one device, and send its kind, its name and a dict of results."""
    if hides_gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    tf = import_tensorflow()
    gpus, results = tf.config.list_physical_devices("GPU"), {}
    kind, name = "GPU" if gpus else "CPU", device_name(gpus, tf)
    has_none = not gpus and not hides_gpus
    print("TensorFlow finds no GPU. " * has_none + f"Measuring the {kind}: {name}", flush=True)
    settings = {"random_state": 0, "max_steps": 100 if is_quick else None}
    is_mnist = bool(os.environ.get("SKAE_MNIST")) and not is_quick
    table = load("mnist" if is_mnist else "digits")
    ae = AutoencoderTransformer(64 if is_mnist else 16, **settings)
    compare(table.name, ae, table.X_train, table.X_test, results)

    rows = np.random.default_rng(0).random((60_000, N_FEATURES), dtype=np.float32)
    rounds, seconds = (1, 0.2) if is_quick else (5, 1.0)
    for size in BATCHES:
        ours = {"ours": Ours(rows, size, DEFAULT_SIZES, "pca")}
        speed = median(measure(ours, size, rounds, seconds)["ours"])
        results[f"steps per second, batches of {size} rows"] = speed / size
    if is_quick or is_large or gpus:
        shape, hidden = ((20_000, 50), (64, 64)) if is_quick else ((1_000_000, 200), HIDDEN)
        ae = AutoencoderTransformer(16, hidden_layer_sizes=hidden, **settings)
        label = f"{shape[0]} x {shape[1]}, layers of {hidden}"
        compare(label, ae, *curved_rows(*shape), results)
    connection.send((kind, name, results))


def in_new_process(*arguments):
    """Call `run` in a new process, and return what it sends."""
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=run, args=(*arguments, theirs))
    process.start()
    theirs.close()
    result = ours.recv()
    process.join()
    return result


def cell(value):
    """Return a number with three digits, or yes or no."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def main(arguments=None):
    """Measure the GPU, if there is one, and the CPU."""
    parser = OneLineParser(prog="gpu.py", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small tables and short rounds")
    parser.add_argument("--large", action="store_true", help="the large table on a CPU, too")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for the JSON")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    devices = [in_new_process(False, options.quick, options.large)]
    if devices[0][0] == "GPU":
        devices.append(in_new_process(True, options.quick, options.large))
    print("\n| |" + "".join(f" {kind} |" for kind, *_ in devices))
    print("|---|" + "---|" * len(devices))
    for row in devices[0][2]:
        cells = (cell(results.get(row)) for *_, results in devices)
        print(f"| {row} | " + " | ".join(cells) + " |")
    report = {"environment": environment(), "devices": devices}
    save(report, options.output / "gpu.json")


if __name__ == "__main__":
    main(sys.argv[1:])
