"""
Checkpoints, and resuming training
==================================

At each evaluation on the validation rows, a callback receives the estimator, fitted as if training
had stopped there. The callback `Checkpoint` saves this estimator, so that a complete estimator is
available if the process ends unexpectedly. A callback that returns True stops training. With
`warm_start=True`, `fit` starts from the saved network. It keeps the saved network unless training
lowers the validation error. Resumed training differs from uninterrupted training, because the
learning rate schedule starts again.
"""

# %%
# A callback that stops training
# ------------------------------
# Callbacks are objects with the four methods of scikit-learn's protocol (1.9 or newer). This one
# stores the validation error, and stops training after ten evaluations.
import tempfile
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skae import AutoencoderTransformer, Checkpoint


class TenEvaluations:
    """Callback that stops training after ten evaluations."""

    def setup(self, estimator, context):
        """Before the fit."""
        self.errors = []

    def on_fit_task_begin(self, estimator, context):
        """Before each task."""

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        """After each task: fitted_estimator is the estimator that fit would return now."""
        if fitted_estimator is not None:
            self.errors.append(fitted_estimator.reconstruction_err_)
        return len(self.errors) == 10

    def teardown(self, estimator, context):
        """After the fit."""


X, y = load_digits(return_X_y=True)
X_train, X_test = train_test_split(X, random_state=0, stratify=y)

folder = tempfile.TemporaryDirectory()
path = Path(folder.name, "digits.joblib")
stopper = TenEvaluations()
ae = AutoencoderTransformer(8, random_state=0).set_callbacks(stopper, Checkpoint(path))
ae.fit(X_train)
print(
    f"stopped after {ae.n_steps_} steps; explained variance ratio on test rows "
    f"{ae.score(X_test):.3f}"
)

# %%
# Resuming from the file
# ----------------------
# This code can also run in another process. The saved estimator is the one that `fit` returned.
saved = joblib.load(path)
print("saved:        ", f"{saved.score(X_test):.3f}")
resumed = joblib.load(path).set_params(warm_start=True).fit(X_train)
uninterrupted = AutoencoderTransformer(8, random_state=0).fit(X_train)
print(f"resumed:       {resumed.score(X_test):.3f}")
print(f"uninterrupted: {uninterrupted.score(X_test):.3f}")
folder.cleanup()

# %%
# Validation curves
# -----------------
# The validation rows are the same in all three fits, because the `random_state` is the same.
fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
first, second, full = (fit.validation_curve_.T for fit in (saved, resumed, uninterrupted))
ax.plot(*full, color="0.6", label="uninterrupted")
ax.plot(*first, color="C0", marker="o", markersize=4, label="stopped by the callback")
ax.plot(
    saved.n_steps_ + second[0],
    second[1],
    color="C1",
    marker="s",
    markersize=4,
    label="resumed from the file",
)
ax.set(xlabel="gradient steps", ylabel="mean squared error, validation rows", yscale="log")
ax.set_title("Digits in 8 components")
ax.legend()
plt.show()
