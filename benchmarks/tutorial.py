"""Train the tutorial's network as written, and compare it with PCA.

784-128-64-128-784 on MNIST, sigmoid after every layer, weights and biases from N(0, 0.05²), mean
squared error, Adam at 0.001, batches of 32, 20 000 steps: the training loss, compared with the one
that the tutorial prints, and 4x4 digits with their reconstructions after 2000 and 20 000 steps.

Run ``python benchmarks/tutorial.py``. Writes tutorial.json and tutorial.png below
benchmarks/output/ or --output. MNIST is the file named by SKAE_MNIST, else from OpenML.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from _common import RESULTS, OneLineParser, environment, load, tutorial_recipe
from matplotlib.figure import Figure
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.metrics import mean_squared_error

# The training loss that the tutorial prints, by step.
PRINTED = {
    0: 0.2378,
    1000: 0.0584,
    2000: 0.0448,
    5000: 0.0299,
    10_000: 0.0174,
    15_000: 0.0128,
    20_000: 0.0106,
}
EARLY = 2_000


def main(arguments=None):
    """Run the benchmark."""
    parser = OneLineParser(prog="tutorial.py", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="of the training (default: 0)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="output folder")
    options = parser.parse_args(arguments)
    try:
        table = load("mnist")
        options.output.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        parser.error(" ".join(str(error).split()))
    X, X_test = table.X_train.astype(np.float32), table.X_test.astype(np.float32)

    recipe = tutorial_recipe(options.seed)
    n_steps = recipe.max_steps
    # the same seed gives the same steps: this is the other run, stopped early
    early = clone(recipe).set_params(max_steps=EARLY).fit(X)
    start = time.perf_counter()
    ae = recipe.fit(X)
    seconds = time.perf_counter() - start
    pca = PCA(64).fit(X)

    losses = ae.loss_curve_
    print("  step   ours  printed")
    ours = {}
    for step in [0, *range(1000, n_steps + 1, 1000)]:
        # one batch of 32 is noisy: mean of 100 steps, except at step 0
        ours[step] = float(losses[0] if step == 0 else losses[step - 100 : step].mean())
        print(f"{step:>6}  {ours[step]:.4f}  {PRINTED.get(step, '')}")
    last = float(losses[-500:].mean())
    errors = {
        name: [float(mean_squared_error(rows, reconstruct(rows))) for rows in (X, X_test)]
        for name, reconstruct in (
            ("recipe", ae.reconstruct),
            ("PCA", lambda rows: pca.inverse_transform(pca.transform(rows))),
        )
    }
    print(f"Mean over the last 500 steps: {last:.4f}; {n_steps} steps took {seconds:.1f} s.")
    for name, (training, test) in errors.items():
        print(f"{name:>6}: mean squared error {training:.5f} on training, {test:.5f} on test rows")
    ratio = errors["PCA"][1] / errors["recipe"][1]
    verdict = "beats" if ratio > 1 else "loses to"
    print(
        f"The recipe {verdict} PCA with as many components: PCA's test error is {ratio:.2f} of its."
    )

    report = {
        "seed": options.seed,
        "environment": environment(),
        "seconds": seconds,
        "loss": ours,
        "printed": PRINTED,
        "mean_of_last_500": last,
        "mse_train_test": errors,
    }
    json_path, png_path = (options.output / f"tutorial.{kind}" for kind in ("json", "png"))
    json_path.write_text(json.dumps(report, indent=1) + "\n")
    panels = {
        "original": X_test[:16],
        f"after {EARLY} steps": early.reconstruct(X_test[:16]),
        f"after {n_steps} steps": ae.reconstruct(X_test[:16]),
        "PCA, 64 components": pca.inverse_transform(pca.transform(X_test[:16])),
    }
    draw(panels, losses, errors["PCA"][0], png_path)
    print(f"Wrote {json_path} and {png_path}.")


def draw(panels, losses, pca_error, path):
    """Plot the loss, and 4x4 digits in each panel."""
    figure = Figure(figsize=(11, 5.6), layout="constrained", dpi=110)
    top, bottom = figure.subfigures(2, 1, height_ratios=(1, 1.15))
    axes = top.subplots()
    axes.plot(losses, lw=0.3, color="C1", alpha=0.5)
    smooth = np.convolve(losses, np.ones(100) / 100, mode="valid")
    axes.plot(np.arange(len(smooth)) + 99, smooth, color="C1", label="recipe (mean of 100 steps)")
    axes.plot(PRINTED.keys(), PRINTED.values(), "kx", label="as the tutorial prints it")
    axes.axhline(pca_error, color="C0", label="PCA, 64 components")
    axes.set(yscale="log", xlabel="step", ylabel="training loss")
    axes.grid(alpha=0.3)
    axes.legend()
    for axes, (title, rows) in zip(bottom.subplots(1, len(panels)), panels.items(), strict=True):
        mosaic = rows.reshape(4, 4, 28, 28).transpose(0, 2, 1, 3).reshape(112, 112)
        axes.imshow(mosaic, cmap="gray", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[], title=title)
    figure.savefig(path)


if __name__ == "__main__":
    main(sys.argv[1:])
