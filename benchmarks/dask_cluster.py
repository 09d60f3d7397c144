"""Fit a Dask collection in clusters of worker processes on this machine.

Part one: MNIST (digits if SKAE_MNIST is not set) is stored in partitions on disk, which clusters of
one-thread workers read and fit. Results: seconds, test error compared with one process, the bits of
a second fit, bytes through the process of client and scheduler, and anonymous memory of the largest
worker, including its training process. Part two, with --large: workers with a memory limit write a
Parquet table of this many gigabytes, rows on a curved surface with noise, and fit it.

Run ``python benchmarks/dask_cluster.py``. Writes dask_cluster.json below benchmarks/output/ or
--output. Stops all processes that it started.
"""

import os
import pickle
import sys
import tempfile
import threading
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
from _common import RESULTS, OneLineParser, environment, load, positive, save, timed
from dask import delayed
from distributed import Client, LocalCluster
from tornado.iostream import IOStream

from skae import AutoencoderTransformer

MEGABYTE, N_PARTITIONS = 1e6, 16
LARGE_COLUMNS, LARGE_PARTITION_ROWS, LARGE_WORKERS = 784, 20_000, 2


class Traffic:
    """Count the bytes that this process, of client and scheduler, reads and writes at sockets."""

    def __init__(self):
        self.n_bytes, originals = 0, (IOStream.read_from_fd, IOStream.write_to_fd)
        IOStream.read_from_fd, IOStream.write_to_fd = map(self._counting, originals)

    def _counting(self, method):
        def counted(stream, data):
            n_bytes = method(stream, data)
            self.n_bytes += n_bytes or 0
            return n_bytes

        return counted


def anonymous_bytes(pid):
    """Return the anonymous memory of a process; zero if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def children(pid):
    """Return the child processes of a process."""
    try:
        tasks = Path(f"/proc/{pid}/task").glob("*/children")
        return [child for path in tasks for child in path.read_text().split()]
    except OSError:
        return []


@contextmanager
def peak_of(pids):
    """Yield a list, with the maximum memory of a process with its children, and without them."""
    peak, stop = [0, 0], threading.Event()

    def watch():
        while not stop.wait(0.1):
            for pid in pids:
                own = anonymous_bytes(pid)
                peak[1] = max(peak[1], own)
                peak[0] = max(peak[0], own + sum(map(anonymous_bytes, children(pid))))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


def read(path, first, end):
    """Read a partition of a table on disk."""
    return np.load(path, mmap_mode="r")[first:end].copy()


def partitions(path, X):
    """Return the Dask array of a table on disk."""
    ends = np.linspace(0, len(X), N_PARTITIONS + 1).astype(int).tolist()
    blocks = [
        da.from_delayed(delayed(read)(str(path), a, b), (b - a, X.shape[1]), X.dtype)
        for a, b in pairwise(ends)
    ]
    return da.concatenate(blocks)


def fitted_in_cluster(n_workers, table, max_steps, test, traffic, memory_limit="auto"):
    """Fit twice in a cluster, and return figures."""
    options = {"threads_per_worker": 1, "dashboard_address": ":0", "memory_limit": memory_limit}
    with LocalCluster(n_workers=n_workers, **options) as cluster, Client(cluster) as client:
        pids = list(client.run(os.getpid).values())
        ae, again = (autoencoder(test.shape[1], max_steps) for _ in range(2))
        before = traffic.n_bytes
        with peak_of(pids) as peak:
            _, seconds = timed(lambda: ae.fit(table))
        n_bytes = traffic.n_bytes - before
        again.fit(table)
    return {
        "workers": n_workers,
        "seconds": seconds,
        "test error": float(np.square(ae.reconstruct(test) - test).mean()),
        "same bits again": pickle.dumps(vars(ae)) == pickle.dumps(vars(again)),
        "megabytes through client and scheduler": n_bytes / MEGABYTE,
        "megabytes of a worker, peak": peak[0] / MEGABYTE,
        "megabytes of its Dask process alone": peak[1] / MEGABYTE,
        "megabytes of its partitions": table.nbytes / n_workers / MEGABYTE,
    }


def autoencoder(n_features, max_steps):
    """Return the estimator that is compared."""
    return AutoencoderTransformer(min(64, n_features // 8), max_steps=max_steps, random_state=0)


def small_table(workers, max_steps, traffic):
    """Fit MNIST or digits in clusters of several sizes, and in one process."""
    data = load("mnist" if os.environ.get("SKAE_MNIST") else "digits")
    X, test = data.X_train.astype(np.float32), data.X_test.astype(np.float32)
    print(f"{data.name}: {X.shape[0]} rows of {X.shape[1]} columns, {X.nbytes / MEGABYTE:.0f} MB")
    single, seconds = timed(lambda: autoencoder(X.shape[1], max_steps).fit(X))
    error = float(np.square(single.reconstruct(test) - test).mean())
    results = [{"workers": 0, "seconds": seconds, "test error": error}]
    print(f"one process, all its cores: {seconds:.1f} s, test error {error:.6f}")
    with tempfile.TemporaryDirectory() as folder:
        np.save(path := Path(folder) / "rows.npy", X)
        for n_workers in workers:
            found = fitted_in_cluster(n_workers, partitions(path, X), max_steps, test, traffic)
            found["difference"] = found["test error"] / error - 1
            print(f"{n_workers} workers: {', '.join(map(format_error, found.items()))}", flush=True)
            results.append(found)
    return data.name, results


def format_error(item):
    """Return a text with a figure."""
    name, value = item
    return f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"


def write_part(folder, number, n_rows):
    """Write rows on a curved surface of sixteen dimensions, with noise, as a Parquet file."""
    surface, rng = np.random.default_rng(0), np.random.default_rng([1, number])
    first, second = (
        surface.normal(size=shape, scale=shape[0] ** -0.5).astype(np.float32)
        for shape in ((16, 256), (256, LARGE_COLUMNS))
    )
    codes = rng.standard_normal((n_rows, 16), np.float32)
    rows = np.tanh(2 * codes @ first) @ second
    rows += 0.1 * rng.standard_normal(rows.shape, np.float32)
    frame = pd.DataFrame(rows, columns=[f"x{i}" for i in range(LARGE_COLUMNS)])
    frame.to_parquet(Path(folder) / f"part-{number:05}.parquet", compression=None)
    return rows.nbytes


def large_table(gigabytes, memory_limit, max_steps, traffic, folder):
    """Fit a table that is larger than the total memory of the workers."""
    n_bytes = 4 * LARGE_COLUMNS * LARGE_PARTITION_ROWS
    numbers = range(round(gigabytes * 1e9 / n_bytes))
    options = {"n_workers": LARGE_WORKERS, "threads_per_worker": 1, "dashboard_address": ":0"}
    with LocalCluster(**options, memory_limit=memory_limit) as cluster, Client(cluster) as client:
        sizes = client.gather(
            client.map(partial(write_part, folder, n_rows=LARGE_PARTITION_ROWS), numbers)
        )
        table = dd.read_parquet(folder)
        pids = list(client.run(os.getpid).values())
        before, ae = traffic.n_bytes, autoencoder(16 * 8, max_steps)
        with peak_of(pids) as peak:
            _, seconds = timed(lambda: ae.fit(table))
        is_alive = list(client.run(os.getpid).values()) == pids
    found = {
        "gigabytes": sum(sizes) / 1e9,
        "rows": ae.n_samples_seen_,
        "memory limit of a worker": memory_limit,
        "seconds": seconds,
        "held-out error / the variance": float(ae.reconstruction_err_ / ae.scale_**2),
        "PCA's": float(ae.validation_curve_[0, 1] / ae.scale_**2),
        "no worker was restarted": is_alive,
        "megabytes through client and scheduler": (traffic.n_bytes - before) / MEGABYTE,
        "megabytes of a worker, peak": peak[0] / MEGABYTE,
        "megabytes of its Dask process alone": peak[1] / MEGABYTE,
    }
    print(f"large: {', '.join(map(format_error, found.items()))}")
    return found


def main(arguments=None):
    """Run the benchmark."""
    parser = OneLineParser(prog="dask_cluster.py", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--workers", type=int, nargs="*", default=[1, 2, 4], help="sizes of clusters")
    add("--max-steps", type=positive, help="of a fit; by default all")
    add("--large", type=float, default=0, metavar="GB", help="size of a large table")
    add("--memory-limit", default="2GB", help="of its workers (default: 2GB)")
    add("--output", type=Path, default=RESULTS, help="output folder")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    traffic, report = Traffic(), {"environment": environment()}
    if options.workers:
        found = small_table(options.workers, options.max_steps, traffic)
        report["data"], report["clusters"] = found
    if options.large:
        with tempfile.TemporaryDirectory() as folder:
            limit = (options.memory_limit, options.max_steps)
            report["large"] = large_table(options.large, *limit, traffic, folder)
    save(report, options.output / "dask_cluster.json")


if __name__ == "__main__":
    main(sys.argv[1:])
