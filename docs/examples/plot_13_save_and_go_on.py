"""
Saving while training, and going on
===================================

A callback gets the estimator at each evaluation of the held-out rows, fitted as if training had
ended there. `Checkpoint` saves it, so that a process that dies leaves a whole estimator behind, and
one that returns True ends training. With `warm_start=True`, `fit` goes on from there, and keeps
what it started from if that is not beaten. Going on is not quite the same as training in one go,
for the learning rate climbs and falls anew.
"""

# %%
# A fit that ends early
# ---------------------
# Callbacks are objects with the four methods of scikit-learn's protocol (1.9 and newer). This one
# notes the error on the held-out rows, and ends training after ten evaluations.
import tempfile
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skae import AutoencoderTransformer, Checkpoint


class TenEvaluations:
    """Ends training after ten evaluations."""

    def setup(self, estimator, context):
        """Before the fit."""
        self.errors = []

    def on_fit_task_begin(self, estimator, context):
        """Before each task."""

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        """After each task: fitted_estimator is what fit would return now."""
        if fitted_estimator is not None:
            self.errors.append(fitted_estimator.reconstruction_err_)
        return len(self.errors) == 10

    def teardown(self, estimator, context):
        """After the fit."""


X, y = load_digits(return_X_y=True)
X_train, X_test = train_test_split(X, random_state=0, stratify=y)

folder = tempfile.TemporaryDirectory()
path = Path(folder.name, "digits.joblib")
ender = TenEvaluations()
ae = AutoencoderTransformer(8, random_state=0).set_callbacks(ender, Checkpoint(path))
ae.fit(X_train)
print(f"ended after {ae.n_steps_} steps; share of the variance of test rows {ae.score(X_test):.3f}")

# %%
# Going on from the file
# ----------------------
# Another process could do this. What was saved is what `fit` returned.
saved = joblib.load(path)
print("the file's share:", f"{saved.score(X_test):.3f}")
went_on = joblib.load(path).set_params(warm_start=True).fit(X_train)
in_one_go = AutoencoderTransformer(8, random_state=0).fit(X_train)
print(f"after going on:   {went_on.score(X_test):.3f}")
print(f"in one go:        {in_one_go.score(X_test):.3f}")
folder.cleanup()

# %%
# The curves
# ----------
# The held-out rows are the same in all three fits, for they have the same `random_state`.
fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
first, second, whole = (fit.validation_curve_.T for fit in (saved, went_on, in_one_go))
ax.plot(*whole, color="0.6", label="in one go")
ax.plot(*first, color="C0", marker="o", markersize=4, label="ended by the callback")
ax.plot(
    saved.n_steps_ + second[0],
    second[1],
    color="C1",
    marker="s",
    markersize=4,
    label="going on from the file",
)
ax.set(xlabel="gradient steps", ylabel="mean squared error, held-out rows", yscale="log")
ax.set_title("Digits in 8 numbers")
ax.legend()
plt.show()
