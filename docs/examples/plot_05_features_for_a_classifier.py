"""
Features for a classifier that has few labels
=============================================

All images of digits are at hand, but only some have labels. Four codes of 8 numbers, learnt from
all training images, are compared by what a logistic regression makes of them: PCA's, the default
autoencoder's, one that must put back entries which were swapped with other rows' (no labels), and
one that must also tell the labels that there are. In codes as small as these, all three of the
autoencoder's serve the classifier better than PCA's. The labels make the best code where all of
them are known, and are of no help where few are.
"""

# %%
# Codes
# -----
# -1 stands for an unlabelled row. The settings of noise and weight were chosen on training rows of
# MNIST, and not for digits.
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
taught = AutoencoderTransformer(8, target_weight=0.1, noise=0.5, random_state=0)

# %%
# Accuracy by the number of labels
# --------------------------------
# The labelled rows are drawn so that each digit has its share. Each number is the mean over two
# draws, the same for all; the code with labels is fitted anew for each.
shares = [0.02, 0.1, 1.0]


def labelled(share, seed):
    """Return the numbers of the rows that have labels."""
    rows = np.arange(len(y_train))
    if share == 1:
        return rows
    return train_test_split(rows, train_size=share, stratify=y_train, random_state=seed)[0]


def accuracy(code, rows):
    """Test accuracy of a logistic regression that learns from some labels."""
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
        scores["with labels"].append(accuracy(taught.fit(X_train, known), rows))
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
ax.set_title("Digits: LogisticRegression on codes of 8 numbers")
ax.legend()
plt.show()
