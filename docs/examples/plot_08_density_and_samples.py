"""
Density, and samples of it
==========================

`VariationalAutoencoder` says how likely rows are, and draws new ones. It starts at probabilistic
PCA, a single Gaussian, whose likelihood is `PCA.score`, and bends it where held-out rows become
more likely. A curve of points in the plane shows what that means. On digits it is much more likely
than PCA; a GaussianMixture is more likely still, as on most tables with a few dozen columns.
"""

# %%
# A curve in the plane
# --------------------
# One number says where a point lies on the curve. The default penalty, `alpha=1`, keeps the curve
# straighter than it is; the bound on held-out training rows says that less is better.
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
    print(f"alpha={candidate.alpha}: bound on held-out rows {candidate.lower_bound_:.3f} nats")
curve = max(candidates, key=lambda vae: vae.lower_bound_)
line = PCA(1).fit(train)
print(f"test rows, nats per row: PCA {line.score(test):.3f}, ours {curve.score(test):.3f}")

# %%
# Level lines are those of the log-density, the same on the left and in the middle.
axis = np.linspace(-2.1, 1.7, 90)
grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
fig, axes = plt.subplots(1, 3, figsize=(6.6, 2.6), sharex=True, sharey=True, layout="constrained")
for ax, (name, model) in zip(axes, {"PCA": line, "ours": curve}.items(), strict=False):
    log_density = model.score_samples(grid).reshape(90, 90).clip(-8)
    filled = ax.contourf(axis, axis, log_density, levels=np.arange(-8, 2.1), cmap="cividis")
    ax.plot(*test[:150].T, ".", color="white", markersize=2)
    ax.set_title(f"{name}: log-density,\nwith test rows", fontsize="medium")
axes[2].plot(*curve.sample(500, random_state=0).T, ".", color="C0", markersize=2)
axes[2].set_title("500 samples\nof ours", fontsize="medium")
for ax in axes:
    ax.set_aspect("equal")
fig.colorbar(filled, ax=axes[:2], label="nats", location="left", shrink=0.8)
fig.suptitle("Rows on a curve")
plt.show()

# %%
# Digits
# ------
# Whole numbers have no density, so noise of the width of one is added. The noise of pixels differs,
# at the border hardly anything varies: hence a variance for each feature. The mixture has ten
# Gaussians, as there are ten digits, and adds the variance of the added noise to all of them.
X, y = load_digits(return_X_y=True)
X_train, X_test = train_test_split(X + rng.uniform(size=X.shape), random_state=0, stratify=y)
models = {
    "PCA": PCA(8, random_state=0).fit(X_train),
    "ours": VariationalAutoencoder(8, noise_variance="feature", random_state=0).fit(X_train),
    "GaussianMixture": GaussianMixture(10, reg_covar=1 / 12, random_state=0).fit(X_train),
}
for name, model in models.items():
    print(f"{name:16} {model.score(X_test):7.1f} nats per test row")

# %%
# A variational autoencoder of ten classes in one Gaussian of codes also draws what lies between
# classes. Its samples are shown without noise (means) and with it.
codes = np.random.default_rng(1).standard_normal((10, 8))
panels = {
    "test rows": X_test,
    "ours, means": models["ours"].inverse_transform(codes),
    "ours, samples": models["ours"].sample(10, random_state=1),
    "GaussianMixture,\nsamples": models["GaussianMixture"].sample(30)[0][::3],
}
fig, axes = plt.subplots(len(panels), 10, figsize=(6.6, 2.7), layout="constrained")
for row, (name, images) in zip(axes, panels.items(), strict=True):
    for ax, image in zip(row, images, strict=False):
        ax.imshow(image.reshape(8, 8), cmap="gray", vmin=0, vmax=16)
        ax.set(xticks=[], yticks=[])
    row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize="small")
fig.suptitle("Digits, and rows drawn from two densities")
plt.show()
