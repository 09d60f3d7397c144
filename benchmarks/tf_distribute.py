"""Training with tf.distribute: worker processes on this machine, each on its own core.

Starts 1 to --workers processes on loopback, each bound to one core and to one thread, fits MNIST
(digits if SKAE_MNIST is not set) in each, and compares: the fitted networks of the workers with
each other and with that of one process without a strategy, and rows per second. Also computes, from
the bytes that are sent in a step, the number of rows for which a network is fast enough.

Run ``python benchmarks/tf_distribute.py --workers 2``. Writes tf_distribute.json below
benchmarks/output/ or --output. Stops all processes that it started.
"""

import contextlib
import hashlib
import json
import os
import pickle
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from _common import RESULTS, OneLineParser, environment, load, positive
from scipy.optimize import nnls

from skae import AutoencoderTransformer
from skae._data.corruption import Corruption
from skae._data.table import Table
from skae._initialization.architecture import Architecture
from skae._runtime.workers import current_workers
from skae._training import loop, plan
from skae._training.losses import Reconstruction
from skae._training.optimizers import Adam

BATCH_SIZES = (256, 1024, 4096)
# Number of steps that are timed, in chunks, after a first chunk that compiles.
TIMED_CHUNKS = 6
GBITS = (10, 100)


def table():
    """Return MNIST if SKAE_MNIST is set, else digits."""
    return load("mnist" if os.environ.get("SKAE_MNIST") else "digits")


def autoencoder(n_features, max_steps):
    """Return the estimator that is compared: defaults, with fewer steps."""
    return AutoencoderTransformer(min(64, n_features // 8), max_steps=max_steps, random_state=0)


def seconds_per_step(ae, X, batch_size):
    """Return the median over chunks of the time of a gradient step of a fitted network."""
    workers = current_workers()
    network = ae._network.rescaled(ae.scale_).with_params_in(np.float32)
    *hidden, n_components = map(len, ae.encoder_["intercepts"])
    architecture = Architecture(
        n_components=n_components,
        hidden_layer_sizes=hidden,
        activations=network.activations,
        init=ae.init,
        bounds=ae.bounds,
    )
    n_chunks, objective = TIMED_CHUNKS + 2, Reconstruction(network.activations)
    table = Table(X, workers=workers).standardised(network.offset, network.scale)
    shape = plan.chunk_shape(table, architecture, batch_size)
    steps = loop.train(
        loop.TrainState(network.params, Adam().init(network.params)),
        table.batches([shape[0]] * n_chunks, shape, Corruption(), np.random.default_rng(0)),
        np.full(shape[0] * n_chunks, 1e-4),
        loop.GradientStep(objective, objective.constants(network), Adam()),
        workers,
    )
    ends = [time.perf_counter() for _ in steps]
    return median(np.diff(ends)[1:]) / shape[0]


def work(index, n_workers, ports, max_steps, output):
    """Run the job of a worker, or, without ports, of one process without a strategy."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[index % len(cores)]})
    if ports:
        addresses = [f"localhost:{port}" for port in ports]
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        os.environ["TF_CONFIG"] = json.dumps(task)
    import tensorflow as tf

    data = table()
    X = data.X_train.astype(np.float32)
    ae = autoencoder(X.shape[1], max_steps)
    with contextlib.ExitStack() as stack:
        if ports:
            stack.enter_context(tf.distribute.MultiWorkerMirroredStrategy().scope())
        start = time.perf_counter()
        ae.fit(X)
        fit = time.perf_counter() - start
        steps = {size: seconds_per_step(ae, X, size) for size in BATCH_SIZES}
    error = ((ae.reconstruct(data.X_test) - data.X_test) ** 2).mean()
    halves = (ae.encoder_, ae.decoder_)
    result = {
        "fit": fit,
        "seconds per step": steps,
        "losses": ae.loss_curve_.tolist(),
        "test error": float(error),
        "hash": hashlib.sha256(pickle.dumps(vars(ae))).hexdigest(),
        "weights": int(sum(w.size for w in tf.nest.flatten(halves))),
    }
    Path(output).write_text(json.dumps(result))


def run(n_workers, max_steps, folder, *, strategy=True):
    """Start workers, wait for them, and return their results."""
    ports = []
    if strategy:
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(n_workers)]
            for s in sockets:
                s.bind(("localhost", 0))
            ports = [s.getsockname()[1] for s in sockets]
    environ = os.environ | {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    processes = []
    try:
        for index in range(n_workers):
            job = {"index": index, "n_workers": n_workers, "ports": ports, "max_steps": max_steps}
            job["output"] = str(folder / f"{index}.json")
            with open(folder / f"{index}.log", "w") as log:
                command = [sys.executable, __file__, "--job", json.dumps(job)]
                processes.append(subprocess.Popen(command, env=environ, stderr=log, stdout=log))
        for index, process in enumerate(processes):
            if process.wait(timeout=600):
                log = (folder / f"{index}.log").read_text()
                raise RuntimeError(f"worker {index} of {n_workers} failed:\n{log}")
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return [json.loads((folder / f"{index}.json").read_text()) for index in range(n_workers)]


def compare(ours, single):
    """Print the differences between the fits of the workers and of one process."""
    losses, expected = np.array(ours[0]["losses"]), np.array(single["losses"])
    figures = {
        "workers bit-identical": len({worker["hash"] for worker in ours}) == 1,
        "loss of the first step": abs(losses[0] / expected[0] - 1),
        "losses of 200 steps": np.abs(losses[:200] / expected[:200] - 1).max(),
        "test error": abs(ours[0]["test error"] / single["test error"] - 1),
    }
    print(f"{len(ours)} workers: fitted states bit-identical: {figures['workers bit-identical']}")
    print("  relative difference from one process without a strategy:")
    for name, value in list(figures.items())[1:]:
        print(f"    {name:24}{value:.1e}")
    return {name: float(value) for name, value in figures.items()}


def arithmetic(n_weights, seconds):
    """Print the number of rows for which a network is fast enough, for the measured speed."""
    n_bytes = 4 * (n_weights + 1)
    # time of a step of one worker, linear in the batch size: update of the weights, and each row
    sizes = sorted(seconds[1])
    line = np.column_stack([sizes, np.ones(len(sizes))])
    (per_row, update), _ = nnls(line, [seconds[1][size] for size in sizes])
    print(
        f"\n{n_weights:,} weights: {n_bytes / 1e6:.2f} MB all-reduced per step. A ring of n sends"
    )
    print("2 (n - 1) / n of that to each worker. On one core a step takes")
    print(f"{1e3 * update:.2f} ms and {1e6 * per_row:.2f} µs a row.")
    result = {"bytes": n_bytes, "seconds per update": update, "seconds per row": per_row}
    for n_workers in [n for n in seconds if n > 1]:
        for size in sizes:
            waited = seconds[n_workers][size] - update - per_row * size / n_workers
            rate = 8e-9 * n_bytes * 2 * (n_workers - 1) / n_workers / waited
            print(
                f"{n_workers} workers, batch {size}: {1e3 * waited:.2f} ms a step more than that, "
                f"as over a network of {rate:.1f} Gbit/s"
            )
    for gbits in GBITS:
        transfer = 2 * 8e-9 * n_bytes / gbits  # of many workers
        print(
            f"{gbits} Gbit/s: {1e3 * transfer:.2f} ms a step. It takes as long as the rows at "
            f"{transfer / per_row:.0f} rows a worker; from {4 * transfer / per_row:.0f} on, "
            "it costs at most a fifth."
        )
        result[f"seconds at {gbits} Gbit/s"] = transfer
    return result


def main(arguments=None):
    """Start the workers and compare."""
    parser = OneLineParser(prog="tf_distribute.py", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--workers", type=positive, default=2, help="maximum number of processes (default: 2)"
    )
    parser.add_argument("--max-steps", type=positive, default=400, help="of the fit (default: 400)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="output folder")
    parser.add_argument("--job", help="job of a worker process; used by the script itself")
    options = parser.parse_args(arguments)
    if options.job:
        return work(**json.loads(options.job))
    try:
        data = table()
        options.output.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        parser.error(" ".join(str(error).split()))
    results = {"environment": environment(), "data": data.name}
    print(f"{data.name}: {data.X_train.shape[0]} rows of {data.X_train.shape[1]} columns")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (single,) = run(1, options.max_steps, folder, strategy=False)
        seconds = {1: {int(size): s for size, s in single["seconds per step"].items()}}
        for n_workers in range(2, options.workers + 1):
            ours = run(n_workers, options.max_steps, folder)
            results[f"{n_workers} workers"] = compare(ours, single)
            # all workers wait for the slowest one
            seconds[n_workers] = {
                size: max(worker["seconds per step"][str(size)] for worker in ours)
                for size in BATCH_SIZES
            }
    print(f"\n{'rows per second':>22}" + "".join(f"   batch {size:>5}" for size in BATCH_SIZES))
    for n_workers, steps in seconds.items():
        rates = {size: size / s for size, s in steps.items()}
        cells = "".join(f"{rate:>14,.0f}" for rate in rates.values())
        print(f"{n_workers:>12} worker{'s' * (n_workers > 1):3}{cells}")
        if n_workers > 1:
            shares = [seconds[1][size] / s / n_workers for size, s in steps.items()]
            print(f"{'efficiency':>22}" + "".join(f"{share:>14.2f}" for share in shares))
        results[f"seconds per step, {n_workers}"] = steps
    results["arithmetic"] = arithmetic(single["weights"], seconds)
    path = options.output / "tf_distribute.json"
    path.write_text(json.dumps(results, indent=2) + "\n")
    print(f"Wrote {path}.")
    return None


if __name__ == "__main__":
    main()
