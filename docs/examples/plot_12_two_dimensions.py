"""
Embeddings of digits in two dimensions
======================================

With two components, the latent code (embedding) of each image is a point in a plane. Three
estimators encode test digits: PCA, the autoencoder with its default parameters, and an autoencoder
also trained to predict the labels of the training images. The default autoencoder explains much
more of the variance than PCA and separates some of the digits. With labels, most of the digits are
separated. Two components do not explain all of the variance. If you only need a plot of similar
images, TSNE gives a clearer plot, but it cannot compute an image from a point.
"""

# %%
# Codes of three estimators
# -------------------------
import base64
import io

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from skae import AutoencoderTransformer
from skae.plotting import CodeDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
planes = {
    "PCA": PCA(2, random_state=0).fit(X_train),
    "defaults": AutoencoderTransformer(2, random_state=0).fit(X_train),
    "with labels": AutoencoderTransformer(2, target_weight=0.1, noise=0.3, random_state=0).fit(
        X_train, y_train
    ),
}
fig, axes = plt.subplots(1, 3, figsize=(7, 2.9), layout="constrained")
for ax, (name, estimator) in zip(axes, planes.items(), strict=True):
    CodeDisplay.from_estimator(estimator, X_test, y_test, ax=ax)
    ax.get_legend().remove()
    codes = estimator.transform(X_test)
    for digit in range(10):
        middle = np.median(codes[y_test == digit], axis=0)
        box = {"boxstyle": "circle,pad=0.15", "facecolor": "white", "alpha": 0.8, "linewidth": 0}
        ax.text(*middle, digit, ha="center", va="center", weight="bold", bbox=box)
    ax.set_title(name)
    neighbours = KNeighborsClassifier(5).fit(estimator.transform(X_train), y_train)
    kept = r2_score(X_test, estimator.inverse_transform(codes), multioutput="variance_weighted")
    print(
        f"{name:12} explained variance ratio {kept:.2f}, "
        f"accuracy of 5 neighbours {neighbours.score(codes, y_test):.2f}"
    )
axes[1].set_ylabel("")
axes[2].set_ylabel("")
fig.suptitle("Test digits in two components; labels are at the medians of the classes")
plt.show()

# %%
# Decoding a grid of points
# -------------------------
# The decoder computes an image from any point. The figure shows the images of a grid of points, for
# the autoencoder with default parameters.
steps = np.linspace(-1.8, 1.8, 10)
points = np.stack(np.meshgrid(steps, steps[::-1]), axis=-1).reshape(-1, 2)
images = planes["defaults"].inverse_transform(points).reshape(10, 10, 8, 8)
tiles = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1))).transpose(0, 2, 1, 3).reshape(100, 100)
fig, ax = plt.subplots(figsize=(4.6, 4.4), layout="constrained")
ax.imshow(tiles, cmap="gray", extent=(-2, 2, -2, 2))
ax.set(xlabel="component 0", ylabel="component 1")
ax.set_title("Decoded images of a grid of points")
plt.show()


# %%
# An interactive figure
# ---------------------
# The figure shows the codes of 150 test digits, trained with labels. Move the pointer to a digit to
# show its image. The figure is an SVG that contains all images, and needs no JavaScript.
class Hoverable:
    """SVG of digits at their codes, with the image of the digit under the pointer."""

    def __init__(self, codes, images, labels):
        low, high = codes.min(axis=0), codes.max(axis=0)
        self.places = (codes - low) / (high - low) * [380, -360] + [10, 380]
        self.images, self.labels = images, labels

    def _repr_html_(self):
        marks = []
        for (x, y), image, label in zip(self.places, self.images, self.labels, strict=True):
            file = io.BytesIO()
            pixels = (image * 255 / 16).astype(np.uint8).reshape(8, 8)
            Image.fromarray(pixels).save(file, "png", optimize=True)
            data = base64.b64encode(file.getvalue()).decode()
            color = to_hex(colormaps["tab10"](int(label)))
            marks.append(
                f'<g><text x="{x:.0f}" y="{y:.0f}" fill="{color}">{label}</text>'
                f'<image x="420" y="20" width="120" height="120" '
                f'href="data:image/png;base64,{data}"/></g>'
            )
        return (
            '<svg class="skae-codes" viewBox="0 0 560 400" width="560" role="img" '
            'aria-label="Test digits at the positions of their two-dimensional codes">'
            "<style>.skae-codes {max-width: 100%} "
            ".skae-codes text {font: bold 14px sans-serif; cursor: default} "
            ".skae-codes image {visibility: hidden; image-rendering: pixelated} "
            ".skae-codes g:hover image {visibility: visible}</style>"
            '<rect width="560" height="400" fill="white"/>'
            '<rect x="419" y="19" width="122" height="122" fill="#ddd"/>'
            + "".join(marks)
            + "</svg>"
        )


drawing = Hoverable(planes["with labels"].transform(X_test[:150]), X_test[:150], y_test[:150])
print(f"{len(drawing._repr_html_()) / 1000:.0f} kB")

# %%
drawing
