"""
Semi-supervised codes for a classifier with few labels
======================================================

All images of digits are available, but only some have labels. This example compares four codes with
8 components, trained on all training images. The criterion is the accuracy of a logistic regression
on the codes:

- PCA;
- the autoencoder with its default parameters;
- an autoencoder trained to restore entries that were replaced with values of other rows
  (self-supervised: no labels);
- an autoencoder also trained to predict the known labels (supervised, or semi-supervised if some
  rows have no label).

With so few components, all three autoencoders give the classifier better features than PCA. If all
labels are known, the code trained with labels is the best one. If few labels are known, this code
is not better than the other autoencoders.
"""

# %%
# Four codes
# ----------
# The label -1 means unlabelled. The values of `noise` and `target_weight` were selected on training
# rows of MNIST, not on digits.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderTransformer

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)

without_labels = {
    "PCA": PCA(8, random_state=0),
    "default": AutoencoderTransformer(8, random_state=0),
    "swapped entries": AutoencoderTransformer(
        8,
        init="glorot",
        hidden_layer_sizes=(512, 256),
        corruption="swap",
        noise=0.3,
        random_state=0,
    ),
}
for estimator in without_labels.values():
    estimator.fit(X_train)
supervised = AutoencoderTransformer(8, target_weight=0.1, noise=0.5, random_state=0)

# %%
# Accuracy by the number of labels
# --------------------------------
# The labelled rows are a stratified random sample. If only some rows have labels, the accuracy is
# the mean over two samples, which are the same for all codes. The code with labels is fitted again
# for each sample.
shares = [0.02, 0.1, 1.0]


def labelled(share, seed):
    """Return the indices of the labelled rows."""
    rows = np.arange(len(y_train))
    if share == 1:
        return rows
    return train_test_split(rows, train_size=share, stratify=y_train, random_state=seed)[0]


def accuracy(code, rows):
    """Return the test accuracy of a logistic regression trained on the labelled rows."""
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    classifier.fit(code.transform(X_train[rows]), y_train[rows])
    return classifier.score(code.transform(X_test), y_test)


names = [*without_labels, "with labels"]
curves = {name: [] for name in names}
for share in shares:
    scores = {name: [] for name in names}
    for seed in range(2 if share < 1 else 1):
        rows = labelled(share, seed)
        for name, code in without_labels.items():
            scores[name].append(accuracy(code, rows))
        known = np.full(len(y_train), -1)
        known[rows] = y_train[rows]
        scores["with labels"].append(accuracy(supervised.fit(X_train, known), rows))
    for name in names:
        curves[name].append(np.mean(scores[name]))

n_labels = [len(labelled(share, 0)) for share in shares]
print("labels          ", *(f"{n:6d}" for n in n_labels))
for name, scores in curves.items():
    print(f"{name:16}", *(f"{score:6.3f}" for score in scores))

# %%
fig, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
for (name, scores), marker in zip(curves.items(), "sovD", strict=True):
    ax.plot(n_labels, scores, marker=marker, label=name)
ax.set(xlabel="labelled training rows", ylabel="test accuracy", xscale="log")
ax.set_xticks(n_labels, labels=n_labels)
ax.set_xticks([], minor=True)
ax.set_title("Digits: LogisticRegression on 8 components")
ax.legend()
plt.show()
