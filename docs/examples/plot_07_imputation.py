"""
Imputation of missing values
============================

The initial model of `AutoencoderImputer` is probabilistic PCA. The network is then trained to
restore hidden entries: observed values that are set to missing on purpose. This example compares
`AutoencoderImputer` with scikit-learn's imputers on new rows of breast_cancer and of digits. The
measurements of breast_cancer are correlated. The measure is the error on hidden entries, whose true
values are known. The autoencoder has the lowest error and imputes new rows faster than KNNImputer
and IterativeImputer, but its fit takes longer. If the columns depend only weakly on each other, the
autoencoder is not better than the linear methods.
"""

# %%
# A table of measurements
# -----------------------
# The columns are standardised, and a fifth of the entries is hidden at random. Errors are root mean
# square errors over the hidden entries of the test rows. NumPy uses one thread: these imputers
# solve many small linear systems, which is faster with one thread, especially if other processes
# run.
import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.metrics import root_mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from skae import AutoencoderImputer
from skae.plotting import ImputationDisplay

one_thread = threadpool_limits(1)
rng = np.random.default_rng(0)
train, test = train_test_split(load_breast_cancer().data, random_state=0)
scaler = StandardScaler().fit(train)
train, test = scaler.transform(train), scaler.transform(test)
train_missing = np.where(rng.random(train.shape) < 0.2, np.nan, train)
hidden = rng.random(test.shape) < 0.2
test_missing = np.where(hidden, np.nan, test)

imputers = {
    "mean": SimpleImputer(),
    "KNNImputer": KNNImputer(),
    "IterativeImputer": IterativeImputer(max_iter=30, random_state=0),
    "AutoencoderImputer": AutoencoderImputer(random_state=0),
}
errors = {}
for name, imputer in imputers.items():
    start = time.perf_counter()
    imputer.fit(train_missing)
    fitted = time.perf_counter()
    filled = imputer.transform(test_missing)
    done = time.perf_counter()
    errors[name] = root_mean_squared_error(test[hidden], filled[hidden])
    print(
        f"{name:19} error {errors[name]:.3f}   fit {fitted - start:6.3f} s   "
        f"new rows {done - fitted:.3f} s"
    )

# %%
fig, ax = plt.subplots(figsize=(6, 2.6), layout="constrained")
bars = ax.barh(list(errors), list(errors.values()), color=["0.7", "0.7", "0.7", "C0"])
ax.bar_label(bars, fmt="%.3f", padding=3)
ax.invert_yaxis()
ax.margins(x=0.12)
ax.set(xlabel="error of hidden entries, in standard deviations")
ax.set_title("breast_cancer: a fifth of the entries hidden")
plt.show()

# %%
# Imputed values of four test rows: the closer a coloured marker is to the centre of the circle, the
# smaller is its error. Grey points are observed values.
names = load_breast_cancer().feature_names
fig, ax = plt.subplots(figsize=(7, 4.6), layout="constrained")
ImputationDisplay.from_estimator(
    imputers["AutoencoderImputer"],
    test_missing,
    truth=test,
    other=imputers["KNNImputer"],
    n_samples=4,
    n_features=16,
    feature_names=names,
    ax=ax,
)
plt.show()

# %%
# Images with hidden pixels
# -------------------------
# The imputer is fitted on digits with a third of the pixels hidden, and imputes test digits (hidden
# pixels are orange). A KNNImputer, which stores the training rows, is shown for comparison.
X, y = load_digits(return_X_y=True)
X_train, X_test = train_test_split(X, random_state=0, stratify=y)
X_train_missing = np.where(rng.random(X_train.shape) < 1 / 3, np.nan, X_train)
X_test_missing = np.where(rng.random(X_test.shape) < 1 / 3, np.nan, X_test)
imputer = AutoencoderImputer(max_iter=40, random_state=0).fit(X_train_missing)
neighbours = KNNImputer().fit(X_train_missing)

fig, ax = plt.subplots(figsize=(6.2, 4), layout="constrained")
ImputationDisplay.from_estimator(
    imputer, X_test_missing, truth=X_test, other=neighbours, n_samples=7, image_shape=(8, 8), ax=ax
)
fig.suptitle("Digits with a third of the pixels hidden")
plt.show()

# %%
# The errors in the figure are for the rows in the figure. The errors for all test rows are:
for name, estimator in {"AutoencoderImputer": imputer, "KNNImputer": neighbours}.items():
    missing = np.isnan(X_test_missing)
    error = root_mean_squared_error(X_test[missing], estimator.transform(X_test_missing)[missing])
    print(f"{name:19} error {error:.2f}")

# %%
one_thread.restore_original_limits()
