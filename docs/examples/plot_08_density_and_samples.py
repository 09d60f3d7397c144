"""
Density estimation and sampling
===============================

`VariationalAutoencoder` is a generative model: it computes the log-likelihood of rows and draws
samples. The initial model is probabilistic PCA, a single Gaussian, whose log-likelihood is
`PCA.score`. The trained network is kept if it increases the likelihood of validation rows. The
first section uses points on a curve in the plane. On digits, the log-likelihood is much higher than
PCA's. The log-likelihood of a GaussianMixture is even higher, as on most tables with a few dozen
columns.
"""

# %%
# A curve in the plane
# --------------------
# One component gives the position of a point on the curve. With the default penalty, `alpha=1`, the
# fitted curve is straighter than the true curve. The lower bound on validation rows shows that a
# smaller penalty is better.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split

from skae import VariationalAutoencoder

rng = np.random.default_rng(0)
angle = rng.uniform(0, 1.5 * np.pi, size=2000)
points = np.column_stack([np.cos(angle), np.sin(angle)]) * (0.4 + angle[:, None] / 4)
points += rng.normal(scale=0.06, size=points.shape)
train, test = points[:1500], points[1500:]

candidates = [
    VariationalAutoencoder(1, alpha=alpha, random_state=0).fit(train) for alpha in (1, 0.1)
]
for candidate in candidates:
    print(f"alpha={candidate.alpha}: bound on validation rows {candidate.lower_bound_:.3f} nats")
curve = max(candidates, key=lambda vae: vae.lower_bound_)
line = PCA(1).fit(train)
print(f"test rows, nats per row: PCA {line.score(test):.3f}, skae {curve.score(test):.3f}")

# %%
# The left and the middle panel show the log-density, with the same levels.
axis = np.linspace(-2.1, 1.7, 90)
grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
fig, axes = plt.subplots(1, 3, figsize=(6.6, 2.6), sharex=True, sharey=True, layout="constrained")
for ax, (name, model) in zip(axes, {"PCA": line, "skae": curve}.items(), strict=False):
    log_density = model.score_samples(grid).reshape(90, 90).clip(-8)
    filled = ax.contourf(axis, axis, log_density, levels=np.arange(-8, 2.1), cmap="cividis")
    ax.plot(*test[:150].T, ".", color="white", markersize=2)
    ax.set_title(f"{name}: log-density,\nwith test rows", fontsize="medium")
axes[2].plot(*curve.sample(500, random_state=0).T, ".", color="C0", markersize=2)
axes[2].set_title("500 samples\nof skae", fontsize="medium")
for ax in axes:
    ax.set_aspect("equal")
fig.colorbar(filled, ax=axes[:2], label="nats", location="left", shrink=0.8)
fig.suptitle("Rows on a curve")
plt.show()

# %%
# Digits
# ------
# Integers have no density, so uniform noise between 0 and 1 is added. With
# `noise_variance="feature"`, each pixel has its own noise variance, because pixels at the border
# hardly vary. The mixture has ten Gaussians, as many as there are digits. `reg_covar` adds the
# variance of the uniform noise to each Gaussian.
X, y = load_digits(return_X_y=True)
X_train, X_test = train_test_split(X + rng.uniform(size=X.shape), random_state=0, stratify=y)
models = {
    "PCA": PCA(8, random_state=0).fit(X_train),
    "skae": VariationalAutoencoder(8, noise_variance="feature", random_state=0).fit(X_train),
    "GaussianMixture": GaussianMixture(10, reg_covar=1 / 12, random_state=0).fit(X_train),
}
for name, model in models.items():
    print(f"{name:16} {model.score(X_test):7.1f} nats per test row")

# %%
# The codes of all ten classes are drawn from one Gaussian. Some samples of the variational
# autoencoder are therefore between the classes. The figure shows the samples without noise (means)
# and with noise.
codes = np.random.default_rng(1).standard_normal((10, 8))
panels = {
    "test rows": X_test,
    "skae, means": models["skae"].inverse_transform(codes),
    "skae, samples": models["skae"].sample(10, random_state=1),
    "GaussianMixture,\nsamples": models["GaussianMixture"].sample(30)[0][::3],
}
fig, axes = plt.subplots(len(panels), 10, figsize=(6.6, 2.7), layout="constrained")
for row, (name, images) in zip(axes, panels.items(), strict=True):
    for ax, image in zip(row, images, strict=False):
        ax.imshow(image.reshape(8, 8), cmap="gray", vmin=0, vmax=16)
        ax.set(xticks=[], yticks=[])
    row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize="small")
fig.suptitle("Digits, and samples from two densities")
plt.show()
