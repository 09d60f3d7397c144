"""
The tutorial recipe, and its 4 x 4 pictures
===========================================

A well-known TensorFlow tutorial trains 784-128-64-128-784 on MNIST, with a sigmoid after every
layer, and shows 4 x 4 digits and their reconstructions. This is the same recipe for scikit-learn's
digits, which need no download, shortened: every layer is a quarter as wide. It is one constructor
call, and it loses to PCA with as many components, as the original does on MNIST. With the wide
hidden layers of the original it passes PCA on these small images, and the defaults of
`AutoencoderTransformer` are better than all of them.
"""

# %%
# Ways to keep 16 numbers of 64
# -----------------------------------
# The recipe wants pixels between 0 and 1, for its output is a sigmoid.
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

estimators = {"recipe": recipe, "recipe, wide": wide, "PCA": pca, "defaults": defaults}
rows, errors = {"original": X_test}, {}
for name, estimator in estimators.items():
    rows[name] = estimator.inverse_transform(estimator.transform(X_test))
    errors[name] = mean_squared_error(X_test, rows[name])
    print(f"{name:12} test error {errors[name]:.5f}")


# %%
# The pictures
# ------------
# The first 16 test digits, and what each of them gives back.
def mosaic(images):
    """Return 16 rows of 64 pixels as one picture, 4 x 4, with a border around each."""
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
fig.suptitle("Test digits kept in 16 numbers")
plt.show()

# %%
# The loss of the recipe
# ----------------------
# Its loss hardly falls at first, for small weights and sigmoids make all outputs alike. The line of
# PCA is its error on the training rows, where the recipe does not get to.
losses = recipe.loss_curve_.reshape(-1, 100).mean(axis=1)
pca_error = mean_squared_error(X_train, pca.inverse_transform(pca.transform(X_train)))
fig, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
ax.plot(np.arange(len(losses)) * 100 + 50, losses, label="recipe, means of 100 steps")
ax.axhline(pca_error, color="0.3", linestyle="--", label="PCA")
ax.set(xlabel="gradient step", ylabel="mean squared error, training rows", yscale="log")
ax.set_title("The tutorial recipe on digits")
ax.legend()
plt.show()
