"""Inference with a fitted estimator: import, memory, first call, throughput, latency.

Import and first call: in fresh processes, in turns. ``import skae``, compared with ``import
sklearn.decomposition``; the first transform of an unpickled estimator (including the import),
compared with PCA and with the same encoder as a saved Keras model. Throughput: 60 000 rows of 784
float32 with 64 components. Latency: one such row. Both are compared with PCA.transform and
``keras.Model.predict`` (with several batch sizes), in one process and in turns. Medians.

Run ``python benchmarks/serving.py`` (about 4 minutes; ``--quick``: one round). Writes serving.json
below benchmarks/output/ or --output. Linux only (memory).
"""

import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from _common import RESULTS, OneLineParser, environment, positive
from sklearn.decomposition import PCA

from skae import AutoencoderTransformer
from skae._runtime.tensorflow import import_tensorflow

N_ROWS, N_FEATURES, K = 60_000, 784, 64
# Program of a new process; `code` is timed.
FRESH = """
import time
start = time.perf_counter()
{code}
seconds = time.perf_counter() - start
print(seconds, open('/proc/self/status').read().split('VmHWM:')[1].split()[0])
"""
IMPORTS = {"skae": "import skae", "sklearn.decomposition": "import sklearn.decomposition"}
FIRST_CALLS = {
    name: f"import pickle\npickle.load(open(r'{{folder}}/{name}.pickle', 'rb')).transform({{row}})"
    for name in ("skae", "PCA")
} | {
    "Keras": "import os\nos.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'\nimport keras\n"
    "keras.models.load_model(r'{folder}/encoder.keras').predict({row}, verbose=0)"
}
ROW = "__import__('numpy').zeros((1, 784), 'float32')"


def in_fresh_processes(codes, rounds):
    """Return median seconds and peak megabytes of code in new processes."""
    results = {name: [] for name in codes}
    # compile the bytecode, which an installed package has
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    for _ in range(rounds + 1):  # the first one is not counted
        for name, code in codes.items():
            command = [sys.executable, "-c", FRESH.format(code=code)]
            done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
            seconds, kilobytes = done.stdout.split()[-2:]
            results[name].append([float(seconds), float(kilobytes) / 1024])
    return {name: np.median(values[1:], axis=0).tolist() for name, values in results.items()}


def in_turns(calls, rounds, at_least=0.05):
    """Return the median seconds of each function, called in turns, often enough to measure it."""
    seconds = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            call()
            start, n_calls = time.perf_counter(), 0
            while (spent := time.perf_counter() - start) < at_least:
                call()
                n_calls += 1
            seconds[name].append(spent / n_calls)
    return {name: median(values[1:]) for name, values in seconds.items()}


def keras_encoder(estimator):
    """Build the estimator's encoder as a Keras model."""
    import_tensorflow()
    import keras

    inputs = keras.Input((N_FEATURES,))
    x = inputs - estimator.center_
    coefs, intercepts = estimator.encoder_["coefs"], estimator.encoder_["intercepts"]
    layers = [keras.layers.Dense(len(b)) for b in intercepts]
    path = keras.layers.Dense(K, use_bias=False)
    outputs = layers[1](keras.activations.silu(layers[0](x))) + path(x)
    model = keras.Model(inputs, outputs)
    for layer, coef, intercept in zip(layers, coefs, intercepts, strict=True):
        layer.set_weights([coef, intercept])
    path.set_weights([estimator.encoder_["linear"]])
    return model


def show(title, unit, figures, scale=1.0):
    """Print one comparison; skae is the first entry."""
    ours = next(iter(figures.values()))
    print(title)
    for name, value in figures.items():
        ratio = "" if value is ours else f"   ours is {ours / value:.3g} times that"
        print(f"    {name:24}{value * scale:>10.3f} {unit}{ratio}", flush=True)
    return {"unit": unit, **{name: value * scale for name, value in figures.items()}}


def main(arguments=None):
    """Run the benchmark."""
    parser = OneLineParser(prog="serving.py", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rounds", type=positive, default=9, help="of each measurement (default: 9)"
    )
    parser.add_argument("--quick", action="store_true", help="one round, fewer rows")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for the JSON")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    rounds = 1 if options.quick else options.rounds
    n_rows = 5000 if options.quick else N_ROWS
    rng = np.random.default_rng(0)
    X = rng.random((n_rows, 32), dtype=np.float32) @ rng.random((32, N_FEATURES), dtype=np.float32)
    X += rng.random(X.shape, dtype=np.float32)
    pca = PCA(K, random_state=0).fit(X[:5000])
    # hardly trained: the time of a call does not depend on the weights
    ae = AutoencoderTransformer(K, max_steps=20, validation_fraction=0, random_state=0).fit(
        X[:5000]
    )
    model = keras_encoder(ae)
    codes = ae.transform(X[:100])
    np.testing.assert_allclose(model.predict(X[:100], verbose=0), codes, rtol=1e-2, atol=1e-3)

    results = {}
    imports = in_fresh_processes(IMPORTS, rounds)
    with tempfile.TemporaryDirectory() as folder:
        for name, estimator in (("skae", ae), ("PCA", pca)):
            (Path(folder) / f"{name}.pickle").write_bytes(pickle.dumps(estimator))
        model.save(Path(folder) / "encoder.keras")
        codes = {name: c.format(folder=folder, row=ROW) for name, c in FIRST_CALLS.items()}
        first_calls = in_fresh_processes(codes, rounds)
    for title, measured in (("import", imports), ("load and first transform", first_calls)):
        for i, (quantity, unit) in enumerate((("time", "s"), ("peak memory of the process", "MB"))):
            figures = {name: values[i] for name, values in measured.items()}
            results[f"{title}, {quantity}"] = show(f"{title}, {quantity}", unit, figures)

    throughput = {"skae": lambda: ae.transform(X), "PCA": lambda: pca.transform(X)} | {
        f"Keras, batches of {n}": lambda n=n: model.predict(X, batch_size=n, verbose=0)
        for n in (32, 2048, 16_384)
    }
    title = f"transform {n_rows} rows"
    results[title] = show(title, "s", in_turns(throughput, rounds))
    row = X[:1]
    latency = {
        "skae": lambda: ae.transform(row),
        "PCA": lambda: pca.transform(row),
        "Keras predict": lambda: model.predict(row, verbose=0),
        "Keras call": lambda: model(row).numpy(),
    }
    title = "transform one row"
    results[title] = show(title, "µs", in_turns(latency, rounds), 1e6)
    path = options.output / "serving.json"
    path.write_text(json.dumps({"environment": environment(), "results": results}, indent=1) + "\n")
    print(f"Wrote {path}.")


if __name__ == "__main__":
    main(sys.argv[1:])
