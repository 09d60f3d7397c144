"""Time and memory of a fit against the size of the table, for several containers.

Each fit runs in its own process, on random rows around a plane, with 16 components. The time is
that of one epoch (``max_iter=1``), after a fit of one step has imported TensorFlow and compiled.
Memory is the maximum anonymous memory (RssAnon) during the fit, minus the memory of the process
before it: TensorFlow, and the table if it is in memory; pages of a memmap belong to the file.

Run ``python benchmarks/scaling.py`` (about 15 minutes, up to 5 GB of memory and of temporary files;
``--quick``: under a minute). Writes scaling.json and scaling.png below benchmarks/output/ or
--output. Linux only.
"""

import json
import sys
import tempfile
import threading
import time
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np
from _common import RESULTS, OneLineParser, environment
from matplotlib.figure import Figure
from scipy.sparse import random_array

from skae import AutoencoderTransformer

ROWS = [10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000]
FEATURES = [50, 100, 200, 500, 1000, 2000, 5000]
CONTAINERS = ["float64", "float32", "memmap", "csr"]
# One entry in twenty of a CSR table is not zero.
DENSITY = 0.05


def rows_in_memory(n_samples, n_features, dtype):
    """Yield rows around a plane, block by block."""
    rng = np.random.default_rng(0)
    plane = rng.standard_normal((16, n_features), dtype=np.float32)
    X = np.empty((n_samples, n_features), dtype=dtype)
    for block in np.array_split(np.arange(n_samples), 1 + n_samples * n_features // 10**7):
        X[block] = rng.standard_normal((len(block), 16), dtype=np.float32) @ plane
        X[block] += rng.standard_normal((len(block), n_features), dtype=np.float32)
    return X


def write_rows(path, n_samples, n_features):
    """Write the same rows to a .npy file, block by block."""
    X = np.lib.format.open_memmap(path, "w+", np.float32, (n_samples, n_features))
    rng = np.random.default_rng(0)
    for first in range(0, n_samples, 20_000):
        block = X[first : first + 20_000]
        block[:] = rows_in_memory(*block.shape, np.float32) + rng.standard_normal()


def make_table(container, n_samples, n_features, folder):
    """Return a table in its container."""
    if container == "memmap":
        return np.load(Path(folder) / f"{n_samples}x{n_features}.npy", mmap_mode="r")
    if container == "csr":
        return random_array(
            (n_samples, n_features), density=DENSITY, format="csr", dtype=np.float32, rng=0
        )
    return rows_in_memory(n_samples, n_features, container)


def anonymous_memory():
    """Return the anonymous resident memory of this process, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return 1024 * int(line.split()[1])
    raise OSError("this kernel does not report RssAnon")


class PeakMemory:
    """Record the anonymous memory of this process in a thread."""

    def __enter__(self):
        self.before = self.peak = anonymous_memory()
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self):
        while not self.done.wait(0.01):
            self.peak = max(self.peak, anonymous_memory())

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()

    @property
    def added(self):
        """Maximum of the added bytes."""
        return self.peak - self.before


def run(container, n_samples, n_features, folder, settings, connection):
    """Fit once to compile, and once to measure."""
    X = make_table(container, n_samples, n_features, folder)
    ae = AutoencoderTransformer(16, random_state=0, **settings)
    AutoencoderTransformer(16, max_steps=1).fit(X[:5000])  # imports TensorFlow
    with PeakMemory() as memory:
        AutoencoderTransformer(16, max_steps=1).fit(X)  # compiles for these shapes
        start = time.perf_counter()
        ae.fit(X)
        seconds = time.perf_counter() - start
    connection.send({"seconds": seconds, "added": memory.added, "steps": ae.n_steps_})


def measure(container, n_samples, n_features, folder, settings):
    """Run one size in a new process."""
    if container == "memmap":
        write_rows(Path(folder) / f"{n_samples}x{n_features}.npy", n_samples, n_features)
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(
        target=run, args=(container, n_samples, n_features, folder, settings, theirs)
    )
    process.start()
    theirs.close()
    try:
        result = ours.recv()
    finally:
        process.join()
        for file in Path(folder).iterdir():
            file.unlink()
    return {"container": container, "n_samples": n_samples, "n_features": n_features} | result


def show(result):
    """Print a line of the table."""
    numbers = result["n_samples"] * result["n_features"]
    size = numbers * {"float64": 8, "csr": 8 * DENSITY}.get(result["container"], 4) / 1e6
    print(
        f"{result['container']:>8}{result['n_samples']:>10}{result['n_features']:>8}{size:>11.0f}"
        f"{result['added'] / 1e6:>10.0f}{result['seconds']:>9.2f}"
        f"{result['seconds'] / result['n_samples'] * 1e6:>12.2f}"
        f"{result['seconds'] / numbers * 1e9:>12.1f}",
        flush=True,
    )


def main(arguments=None):
    """Run the benchmark."""
    parser = OneLineParser(prog="scaling.py", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small tables only")
    parser.add_argument("--output", type=Path, default=RESULTS, help="output folder")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    rows, features, wide = (
        ([5000, 20_000], [50, 200], 6000) if options.quick else (ROWS, FEATURES, 60_000)
    )
    by_rows, by_features = [], []
    print(
        f"{'':>8}{'rows':>10}{'columns':>8}{'table MB':>11}{'added MB':>10}{'s':>9}"
        f"{'µs / row':>12}{'ns / number':>12}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for results, sizes in (
            (by_rows, [(n, 100) for n in rows]),
            (by_features, [(wide, d) for d in features]),
        ):
            for container in CONTAINERS:
                for n_samples, n_features in sizes:
                    results.append(
                        measure(container, n_samples, n_features, folder, {"max_iter": 1})
                    )
                    show(results[-1])
        large = None
        if not options.quick:
            print("a memmap of 4 GB, max_steps=500:")
            large = measure("memmap", 2_500_000, 400, folder, {"max_steps": 500})
            show(large)
    per_row = {(r["container"], r["n_samples"]): r["seconds"] / r["n_samples"] for r in by_rows}
    low, high = (20_000, rows[-1]) if 20_000 in rows else (rows[0], rows[-1])
    ratio = {c: per_row[c, high] / per_row[c, low] for c in CONTAINERS}
    text = ", ".join(f"{c} {value:.2f}" for c, value in ratio.items())
    print(
        f"Time per row at {high:,} rows / at {low:,}: {text} (median {median(ratio.values()):.2f})"
    )
    json_path, png_path = (options.output / f"scaling.{kind}" for kind in ("json", "png"))
    report = {"by_rows": by_rows, "by_features": by_features, "large_memmap": large}
    report["environment"] = environment()
    json_path.write_text(json.dumps(report, indent=1) + "\n")
    draw(by_rows, by_features, png_path)
    print(f"Wrote {json_path} and {png_path}.")


def draw(by_rows, by_features, path):
    """Plot time and memory against rows and columns, with the slope of the time."""
    figure = Figure(figsize=(9, 6.5), layout="constrained", dpi=110)
    panels = figure.subplots(2, 2, sharex="col", sharey="row")
    for column, (results, key) in enumerate(((by_rows, "n_samples"), (by_features, "n_features"))):
        fixed = "100 columns" if key == "n_samples" else f"{results[0]['n_samples']:,} rows"
        label = "rows" if key == "n_samples" else "columns"
        for container in CONTAINERS:
            mine = [r for r in results if r["container"] == container]
            sizes, seconds = [r[key] for r in mine], [r["seconds"] for r in mine]
            upper = slice(-max(2, len(sizes) // 2), None)
            slope = np.polyfit(np.log(sizes[upper]), np.log(seconds[upper]), 1)[0]
            panels[0, column].plot(sizes, seconds, "o-", label=f"{container}, slope {slope:.2f}")
            panels[1, column].plot(sizes, [r["added"] / 1e6 for r in mine], "o-", label=container)
        panels[0, column].set(title=f"one epoch over {fixed}", ylabel="seconds of fit")
        panels[1, column].set(xlabel=label, ylabel="maximum of added MB")
        panels[0, column].legend(fontsize="small", title="upper half")
        for axes in panels[:, column]:
            axes.set(xscale="log", yscale="log")
            axes.grid(alpha=0.3)
    figure.savefig(path)


if __name__ == "__main__":
    main(sys.argv[1:])
