"""
Pipeline and grid search with a progress bar
============================================

`AutoencoderTransformer` can be a step of a pipeline. Here it comes before a classifier, and a grid
search selects the transformer (the autoencoder or PCA) and the number of components. The criterion
is the cross-validated accuracy on the training rows. With few components, the classifier is better
on codes of the autoencoder. With 16 components, the difference is small, and the search selects
PCA. A callback of scikit-learn (1.9 or newer) shows the progress of the fits.
"""

# %%
# The grid search
# ---------------
# The step itself is a parameter of the pipeline, so one grid can contain both transformers. PCA
# whitens its codes, as the autoencoder does, because the classifier converges faster on whitened
# codes. With `max_propagation_depth=0`, only the search itself has a progress bar.
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
# The selected parameters, and the accuracy on the test rows:
print(search.best_params_)
print(f"cross-validated accuracy {search.best_score_:.3f}")
print(f"test accuracy            {search.score(X_test, y_test):.3f}")

# %%
# Accuracy by number of components
# --------------------------------
# Error bars are standard deviations over the three folds.
table = pd.DataFrame(search.cv_results_)
table["name"] = table["param_reduce"].map(lambda step: type(step).__name__)
fig, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
for name, marker in [("PCA", "s"), ("AutoencoderTransformer", "o")]:
    part = table[table["name"] == name]
    size = part["param_reduce__n_components"].astype(int)
    ax.errorbar(
        size, part["mean_test_score"], part["std_test_score"], marker=marker, capsize=3, label=name
    )
ax.set(xlabel="number of components", ylabel="cross-validated accuracy", xscale="log")
ax.set_xticks(sizes, labels=sizes)
ax.set_xticks([], minor=True)
ax.set_title("Digits: LogisticRegression on codes")
ax.legend(loc="lower right")
plt.show()

# %%
# A single fit can also have a progress bar. It then shows the evaluations on the validation rows.
ae = AutoencoderTransformer(8, max_iter=20, random_state=0)
ae.set_callbacks(ProgressBar()).fit(X_train)
print(f"explained variance ratio on test rows: {ae.score(X_test):.3f}")
