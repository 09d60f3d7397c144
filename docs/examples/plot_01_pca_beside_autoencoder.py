"""
PCA beside the autoencoder
==========================

Both keep 8 numbers of each 8 x 8 image of scikit-learn's digits. The autoencoder starts at PCA's
solution and is trained from there, so that it can only win on the held-out rows that choose the
network; on test rows, which neither has seen, its error is well below PCA's here. The price is
time: seconds instead of milliseconds. The last part shows a table where there is nothing to be
gained, and where `fit` therefore returns PCA.
"""

# %%
# The data, and two transformers with the same methods
# ----------------------------------------------------
import time

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits, make_low_rank_matrix
from sklearn.decomposition import PCA
from sklearn.metrics import mean_squared_error
from sklearn.model_selection import train_test_split

from skae import AutoencoderTransformer
from skae.plotting import LossCurveDisplay, ReconstructionDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)

pca = PCA(n_components=8)
ae = AutoencoderTransformer(n_components=8, random_state=0)
for name, estimator in {"PCA": pca, "autoencoder": ae}.items():
    start = time.perf_counter()
    estimator.fit(X_train)
    seconds = time.perf_counter() - start
    rows = estimator.inverse_transform(estimator.transform(X_test))
    error = mean_squared_error(X_test, rows)
    print(f"{name:12} test error {error:5.2f}   fitted in {seconds:.3f} s")

# %%
# The time of the autoencoder contains the import of TensorFlow, if this is the first fit of the
# process, and the compilation of the training loop.
#
# Test digits, and what is left of them
# -------------------------------------
# The errors, reconstruction minus original, have the same colour scale for both.
fig, ax = plt.subplots(figsize=(6.2, 4.6), layout="constrained")
ReconstructionDisplay.from_estimator(ae, X_test, other=pca, n_samples=7, image_shape=(8, 8), ax=ax)
fig.suptitle("Test digits kept in 8 numbers: autoencoder and PCA")
plt.show()

# %%
# Training starts at PCA
# ----------------------
# The first held-out error is that of PCA, fitted on the other rows. The network with the lowest
# held-out error is kept.
fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
LossCurveDisplay.from_estimator(ae, ax=ax)
ax.set_title("Loss of each step, and held-out error beside PCA's")
plt.show()

# %%
# Where nothing is to be gained
# -----------------------------
# A Gaussian table has nothing but linear structure. No network beats PCA there beyond chance, and
# `best_step_` is 0: what was kept is PCA, fitted on all rows.
linear = make_low_rank_matrix(500, 20, effective_rank=5, tail_strength=0.3, random_state=0)
linear_ae = AutoencoderTransformer(n_components=5, random_state=0).fit(linear)
linear_pca = PCA(n_components=5).fit(linear)
print("step that was kept:", linear_ae.best_step_)
print(f"share of the variance, autoencoder: {linear_ae.score(linear):.6f}")
print(f"share of the variance, PCA:         {linear_pca.explained_variance_ratio_.sum():.6f}")
