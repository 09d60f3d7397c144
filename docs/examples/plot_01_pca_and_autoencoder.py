"""
Dimensionality reduction: PCA and the autoencoder
=================================================

PCA and the autoencoder reduce the dimension of scikit-learn's digits from 64 to 8: each 8 x 8 image
becomes a latent code with 8 components. Training of the autoencoder starts at PCA, and the network
is kept only if it is better than PCA on validation rows. On test rows, which were not used in any
fit, the error of the autoencoder is well below PCA's. The fit takes seconds instead of
milliseconds. The last section uses a table without nonlinear structure, for which `fit` keeps PCA.
"""

# %%
# Two transformers with the same methods
# --------------------------------------
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
# The time of the autoencoder includes the compilation of the training loop. If this is the first
# fit of the process, it also includes the import of TensorFlow.
#
# Reconstructed test digits
# -------------------------
# The errors are the reconstruction minus the original. Both estimators have the same colour scale.
fig, ax = plt.subplots(figsize=(6.2, 4.6), layout="constrained")
ReconstructionDisplay.from_estimator(ae, X_test, other=pca, n_samples=7, image_shape=(8, 8), ax=ax)
fig.suptitle("Test digits reconstructed from 8 components: autoencoder and PCA")
plt.show()

# %%
# Training starts at PCA
# ----------------------
# The first validation error is that of PCA, fitted on the training rows. The network with the
# lowest validation error is kept.
fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
LossCurveDisplay.from_estimator(ae, ax=ax)
ax.set_title("Training loss of each step, and validation error")
plt.show()

# %%
# A table with linear structure
# -----------------------------
# A Gaussian table has only linear structure. No network is significantly better than PCA on it.
# `best_step_` is 0: `fit` has kept PCA, fitted on all rows.
linear = make_low_rank_matrix(500, 20, effective_rank=5, tail_strength=0.3, random_state=0)
linear_ae = AutoencoderTransformer(n_components=5, random_state=0).fit(linear)
linear_pca = PCA(n_components=5).fit(linear)
print("selected step:", linear_ae.best_step_)
print(f"explained variance ratio, autoencoder: {linear_ae.score(linear):.6f}")
print(f"explained variance ratio, PCA:         {linear_pca.explained_variance_ratio_.sum():.6f}")
