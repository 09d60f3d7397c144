"""
Choosing the number of components
=================================

As for PCA, `n_components` may be an explained variance ratio between 0 and 1. `fit` then selects
the smallest number of components with which the network reaches this ratio on validation rows. On
digits, the autoencoder needs fewer components than PCA for the same ratio. The search trains a
network for each number that it tries, so it takes several times as long as one fit.
"""

# %%
# An explained variance ratio as `n_components`
# ---------------------------------------------
# The search tries PCA's number of components first, and others by bisection. `max_iter` is small
# here to save time.
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
    f"components for {share:.0%} of the variance: autoencoder {ae.n_components_}, "
    f"PCA {pca.n_components_}"
)
print(f"explained variance ratio of the autoencoder on test rows: {ae.score(X_test):.3f}")
for size, error in ae.components_curve_:
    print(f"tried {size:2.0f} components: validation error {error:.2f}")

# %%
# Error by number of components
# -----------------------------
# :class:`~skae.plotting.ComponentsDisplay` fits a clone of each estimator with each number of
# components, here on the training rows, and plots the errors on the test rows. If a classifier or
# another step follows, select the number of components in a search by the score of this step, as
# the next example does.
fig, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
estimators = {
    "PCA": PCA(),
    "autoencoder": AutoencoderTransformer(max_iter=30, random_state=0),
}
display = ComponentsDisplay.from_estimator(
    estimators, X_train, X_test, n_components=(2, 4, 8, 16), ax=ax
)
ax.set_title("Test error on digits by number of components")
ax.grid(which="both", alpha=0.3)
plt.show()

# %%
# PCA's error divided by the autoencoder's:
for size, ratio in zip(
    display.n_components, display.errors["PCA"] / display.errors["autoencoder"], strict=True
):
    print(f"{size:2d} components: {ratio:.2f}")
