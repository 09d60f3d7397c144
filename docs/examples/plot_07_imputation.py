"""
Filling in missing values
=========================

`AutoencoderImputer` starts at probabilistic PCA and learns to restore entries that are hidden from
it on purpose. On the correlated measurements of breast_cancer, and on digits, it is compared with
scikit-learn's imputers on new rows, by entries that were hidden and are known. What it saves is
error, and time where new rows are filled; what it costs is time to fit. Where columns tell little
about each other, it is no better than the linear methods.
"""

# %%
# A table of measurements
# -----------------------
# A fifth of the entries is hidden at random from standardised columns. Errors are root mean
# squared ones, over what was hidden of the test rows. NumPy gets one thread: these imputers solve
# many small systems, which is quicker so, above all where other processes run.
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
train_gaps = np.where(rng.random(train.shape) < 0.2, np.nan, train)
hidden = rng.random(test.shape) < 0.2
test_gaps = np.where(hidden, np.nan, test)

imputers = {
    "mean": SimpleImputer(),
    "KNNImputer": KNNImputer(),
    "IterativeImputer": IterativeImputer(max_iter=30, random_state=0),
    "AutoencoderImputer": AutoencoderImputer(random_state=0),
}
errors = {}
for name, imputer in imputers.items():
    start = time.perf_counter()
    imputer.fit(train_gaps)
    fitted = time.perf_counter()
    filled = imputer.transform(test_gaps)
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
# Pictures with holes
# -------------------
# The imputer learns from digits with a third of the pixels hidden, and fills test digits (orange:
# hidden). A KNNImputer, which must keep the training rows, stands beside it.
X, y = load_digits(return_X_y=True)
X_train, X_test = train_test_split(X, random_state=0, stratify=y)
X_train_gaps = np.where(rng.random(X_train.shape) < 1 / 3, np.nan, X_train)
X_test_gaps = np.where(rng.random(X_test.shape) < 1 / 3, np.nan, X_test)
imputer = AutoencoderImputer(max_iter=40, random_state=0).fit(X_train_gaps)
neighbours = KNNImputer().fit(X_train_gaps)

fig, ax = plt.subplots(figsize=(6.2, 4), layout="constrained")
ImputationDisplay.from_estimator(
    imputer, X_test_gaps, truth=X_test, other=neighbours, n_samples=7, image_shape=(8, 8), ax=ax
)
fig.suptitle("Digits with a third of the pixels hidden")
plt.show()

# %%
# The errors beside the pictures are of these rows alone. Of all test rows:
for name, estimator in {"AutoencoderImputer": imputer, "KNNImputer": neighbours}.items():
    missing = np.isnan(X_test_gaps)
    error = root_mean_squared_error(X_test[missing], estimator.transform(X_test_gaps)[missing])
    print(f"{name:19} error {error:.2f}")

# %%
one_thread.restore_original_limits()
