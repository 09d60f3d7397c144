"""
Denoising
=========

A denoising autoencoder is trained on clean rows. Noise is added to its input, and the target is the
clean row. `noise` is the standard deviation of this noise divided by the root mean square of the
centred data. In this example, the noise in training has the same standard deviation as the noise of
the test rows. The autoencoder then removes more noise than PCA with the best number of components.
It also removes more noise than the same autoencoder without `noise`, which was only trained to
reproduce its input.
"""

# %%
# Training for noise of known standard deviation
# ----------------------------------------------
# Gaussian noise with a standard deviation of 3 is added to pixels from 0 to 16. The number of
# components of PCA is selected on the training rows.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import mean_squared_error
from sklearn.model_selection import train_test_split

from skae import AutoencoderTransformer

X, y = load_digits(return_X_y=True)
X_train, X_test = train_test_split(X, random_state=0, stratify=y)
rng = np.random.default_rng(0)
level = 3.0


def cleaned(estimator, rows):
    """Return the reconstruction of rows by an estimator."""
    return estimator.inverse_transform(estimator.transform(rows))


noisy_train = X_train + rng.normal(scale=level, size=X_train.shape)
candidates = [PCA(k, random_state=0).fit(X_train) for k in range(2, 41, 2)]
pca = min(candidates, key=lambda p: mean_squared_error(X_train, cleaned(p, noisy_train)))

root_mean_square = np.sqrt(X_train.var(axis=0).mean())
denoiser = AutoencoderTransformer(16, noise=level / root_mean_square, random_state=0).fit(X_train)
plain = AutoencoderTransformer(16, random_state=0).fit(X_train)

# %%
# Denoised test rows
# ------------------
noisy = X_test + rng.normal(scale=level, size=X_test.shape)
panels = {
    "clean": X_test,
    "noisy": noisy,
    f"PCA, {pca.n_components} components": cleaned(pca, noisy),
    "not trained for noise": cleaned(plain, noisy),
    "trained for noise": cleaned(denoiser, noisy),
}
fig, axes = plt.subplots(len(panels), 8, figsize=(6.4, 3.6), layout="constrained")
for row, (name, images) in zip(axes, panels.items(), strict=True):
    error = mean_squared_error(X_test, images)
    print(f"{name:22} error {error:5.2f}")
    for ax, image in zip(row, images, strict=False):
        ax.imshow(image.reshape(8, 8), cmap="gray", vmin=0, vmax=16)
        ax.set(xticks=[], yticks=[])
    row[0].set_ylabel(f"{name}\nMSE {error:.1f}", rotation=0, ha="right", va="center")
fig.suptitle("Noisy test digits and their reconstructions")
plt.show()

# %%
# Other levels of noise
# ---------------------
# The next figure shows the errors of the same fitted estimators if the noise is weaker or stronger
# than in training. On nearly clean rows, training with noise gives a slightly larger error.
levels = np.array([0, 0.5, 1, 2, 3, 4, 6])
fig, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
estimators = {"PCA": pca, "not trained for noise": plain, "trained for noise": denoiser}
for (name, estimator), marker in zip(estimators.items(), "svo", strict=True):
    errors = [
        mean_squared_error(
            X_test, cleaned(estimator, X_test + rng.normal(scale=scale, size=X_test.shape))
        )
        for scale in levels
    ]
    ax.plot(levels, errors, marker=marker, label=name)
ax.axvline(level, color="0.5", linestyle=":", label="noise in training")
ax.set(xlabel="standard deviation of the noise", ylabel="test error", yscale="log")
ax.set_title("Error against the clean digits")
ax.legend()
plt.show()
