"""
Choosing the size of the code
=============================

How many numbers should a row be kept in? As with PCA, `n_components` may be a share of the
variance: then the smallest code is chosen whose network keeps that share of held-out rows. On
digits it takes fewer numbers than PCA for the same share. The choice trains a network for each size
that it tries, so that it takes several times as long as one fit.
"""

# %%
# A share instead of a size
# -------------------------
# PCA's size is tried first, and others by bisection. `max_iter` is lowered to save time here.
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from skae import AutoencoderTransformer
from skae.plotting import ComponentsDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test = train_test_split(X, random_state=0, stratify=y)

share = 0.8
ae = AutoencoderTransformer(share, max_iter=30, random_state=0).fit(X_train)
pca = PCA(share).fit(X_train)
print(
    f"numbers for {share:.0%} of the variance: autoencoder {ae.n_components_}, "
    f"PCA {pca.n_components_}"
)
print(f"share that the autoencoder keeps of test rows: {ae.score(X_test):.3f}")
for size, error in ae.components_curve_:
    print(f"tried {size:2.0f} numbers: held-out error {error:.2f}")

# %%
# Errors of several sizes
# -----------------------
# :class:`~skae.plotting.ComponentsDisplay` fits clones of each estimator with each size, here
# on the training rows, and draws their errors on the test rows. Where a classifier or
# another step follows, let a search choose the size by what that step scores; the
# next example does.
fig, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
estimators = {
    "PCA": PCA(),
    "autoencoder": AutoencoderTransformer(max_iter=30, random_state=0),
}
display = ComponentsDisplay.from_estimator(
    estimators, X_train, X_test, n_components=(2, 4, 8, 16), ax=ax
)
ax.set_title("Test error of digits by size of the code")
ax.grid(which="both", alpha=0.3)
plt.show()

# %%
# PCA's error divided by the autoencoder's:
for size, ratio in zip(
    display.n_components, display.errors["PCA"] / display.errors["autoencoder"], strict=True
):
    print(f"{size:2d} numbers: {ratio:.2f}")
