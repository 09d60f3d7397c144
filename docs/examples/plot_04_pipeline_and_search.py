"""
In a pipeline, and in a search with a progress bar
==================================================

`AutoencoderTransformer` is a step like any other: here before a classifier, where a grid search
chooses between it and PCA, and the size of the code, by cross-validated accuracy on the training
rows. Small codes of the autoencoder serve the classifier better than PCA's; with 16 numbers there
is little between them, and the search takes PCA. A callback of scikit-learn (1.9 and newer) shows
how far the fits are.
"""

# %%
# The search
# ----------
# The step itself is a parameter of the pipeline, so that one grid holds both transformers. PCA
# whitens its codes, as the autoencoder does, for the classifier converges on such. The progress
# bar has one line for each level of the search that `max_propagation_depth` admits, here the first.
import matplotlib.pyplot as plt
import pandas as pd
from sklearn.callback import ProgressBar
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline

from skae import AutoencoderTransformer

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)

pipe = Pipeline([("reduce", PCA()), ("classify", LogisticRegression(max_iter=1000))])
sizes = [4, 8, 16]
grid = {
    "reduce": [
        PCA(whiten=True, random_state=0),
        AutoencoderTransformer(max_iter=20, random_state=0),
    ],
    "reduce__n_components": sizes,
}
search = GridSearchCV(pipe, grid, cv=3)
search.set_callbacks(ProgressBar(max_propagation_depth=0)).fit(X_train, y_train)

# %%
# What was chosen, and its accuracy on rows that had no part in the search:
print(search.best_params_)
print(f"cross-validated accuracy {search.best_score_:.3f}")
print(f"test accuracy            {search.score(X_test, y_test):.3f}")

# %%
# Accuracy of both, by size
# -------------------------
# Bars are standard deviations over the three folds.
table = pd.DataFrame(search.cv_results_)
table["name"] = table["param_reduce"].map(lambda step: type(step).__name__)
fig, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
for name, marker in [("PCA", "s"), ("AutoencoderTransformer", "o")]:
    part = table[table["name"] == name]
    size = part["param_reduce__n_components"].astype(int)
    ax.errorbar(
        size, part["mean_test_score"], part["std_test_score"], marker=marker, capsize=3, label=name
    )
ax.set(xlabel="numbers in the code", ylabel="cross-validated accuracy", xscale="log")
ax.set_xticks(sizes, labels=sizes)
ax.set_xticks([], minor=True)
ax.set_title("Digits: LogisticRegression on codes")
ax.legend(loc="lower right")
plt.show()

# %%
# The fitted pipeline has all that the steps have. Its first step also gives rows back from codes,
# and a progress bar can be given to a single fit, too, where it sees the evaluations of the
# held-out rows.
ae = AutoencoderTransformer(8, max_iter=20, random_state=0)
ae.set_callbacks(ProgressBar()).fit(X_train)
print(f"share of the variance of test rows: {ae.score(X_test):.3f}")
