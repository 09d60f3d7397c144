"""
The network of a well-known tutorial
====================================

A well-known TensorFlow tutorial trains a network with layers of 784-128-64-128-784 units on MNIST,
with a sigmoid after every layer. It shows 4 x 4 digits and their reconstructions. This example
trains the same network on scikit-learn's digits, which need no download; the hidden layer and the
code have a quarter of the tutorial's units. One constructor call is enough. The error is larger
than the error of PCA with the same number of components, as it is for the original network on
MNIST. With a hidden layer of 128 units, as in the original network, the error on these small images
is below PCA's. The default parameters of `AutoencoderTransformer` give the lowest error.
"""

# %%
# Four estimators with 16 components
# ----------------------------------
# The tutorial's network needs pixels between 0 and 1, because its output is a sigmoid.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import mean_squared_error
from sklearn.model_selection import train_test_split

from skae import AutoencoderTransformer

X, y = load_digits(return_X_y=True)
X_train, X_test = train_test_split(X / 16, random_state=0, stratify=y)

recipe = AutoencoderTransformer(
    16,  # 64 in the tutorial
    hidden_layer_sizes=(32,),  # 128 in the tutorial
    activation="logistic",
    code_activation="logistic",
    output_activation="logistic",
    init="normal",
    whiten=False,
    learning_rate="constant",
    learning_rate_init=1e-3,
    batch_size=32,
    max_steps=20_000,
    alpha=0.0,
    validation_fraction=0,
    random_state=0,
).fit(X_train)
wide = clone(recipe).set_params(hidden_layer_sizes=(128,)).fit(X_train)
pca = PCA(16).fit(X_train)
defaults = AutoencoderTransformer(16, random_state=0).fit(X_train)

estimators = {"tutorial": recipe, "tutorial, wide": wide, "PCA": pca, "defaults": defaults}
rows, errors = {"original": X_test}, {}
for name, estimator in estimators.items():
    rows[name] = estimator.inverse_transform(estimator.transform(X_test))
    errors[name] = mean_squared_error(X_test, rows[name])
    print(f"{name:14} test error {errors[name]:.5f}")


# %%
# Reconstructed test digits
# -------------------------
# The first 16 test digits, and their reconstructions by each estimator.
def mosaic(images):
    """Return 16 images of 64 pixels as one image of 4 x 4 tiles with borders."""
    tiles = np.pad(images[:16].reshape(4, 4, 8, 8), ((0, 0), (0, 0), (1, 1), (1, 1)))
    return tiles.transpose(0, 2, 1, 3).reshape(40, 40)


fig, axes = plt.subplots(2, 3, figsize=(6, 4.2), layout="constrained")
for ax, (name, images) in zip(axes.flat, rows.items(), strict=False):
    ax.imshow(mosaic(images), cmap="gray", vmin=0, vmax=1)
    ax.set_title(name, fontsize="medium")
    ax.set(xticks=[], yticks=[])
ax = axes.flat[-1]
ax.barh(list(errors), list(errors.values()), color="0.8")
for i, (name, error) in enumerate(errors.items()):
    ax.text(0.0003, i, f"{name}: {error:.4f}", va="center", fontsize="small")
ax.invert_yaxis()
ax.set_title("test error", fontsize="medium")
ax.set(xticks=[], yticks=[])
fig.suptitle("Test digits reconstructed from 16 components")
plt.show()

# %%
# The training loss of the tutorial's network
# -------------------------------------------
# The loss hardly falls in the first steps, because small weights and sigmoids give nearly the same
# output for all rows. The dashed line is PCA's error on the training rows. The network does not
# reach it.
losses = recipe.loss_curve_.reshape(-1, 100).mean(axis=1)
pca_error = mean_squared_error(X_train, pca.inverse_transform(pca.transform(X_train)))
fig, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
ax.plot(np.arange(len(losses)) * 100 + 50, losses, label="tutorial, means of 100 steps")
ax.axhline(pca_error, color="0.3", linestyle="--", label="PCA")
ax.set(xlabel="gradient step", ylabel="mean squared error, training rows", yscale="log")
ax.set_title("The tutorial's network on digits")
ax.legend()
plt.show()
