"""
Contextual anomalies and the columns that explain them
======================================================

`OutlierDetector` finds anomalies: rows with a low score. `ContributionDisplay` shows the columns
that lower the score. In some test rows of breast_cancer, the sign of one standardised measurement
is changed. The new value is common for this column, but not in combination with the other values of
the row. IsolationForest, which splits by one column at a time, is not better than random scores.
The likelihood of PCA is nearly as good as `OutlierDetector`, but does not give contributions of
features.
"""

# %%
# Fifteen wrong entries
# ---------------------
# Training and test rows are standardised with the means and variances of the training rows. In 15
# test rows, the sign of one entry is changed. Each of these entries is more than one standard
# deviation away from the mean.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import LocalOutlierFactor
from sklearn.preprocessing import StandardScaler

from skae import OutlierDetector
from skae.plotting import ContributionDisplay

data = load_breast_cancer()
train, test = train_test_split(data.data, random_state=0)
scaler = StandardScaler().fit(train)
train, test = scaler.transform(train), scaler.transform(test)

rng = np.random.default_rng(0)
rows = rng.choice(np.flatnonzero((np.abs(test) > 1).any(axis=1)), 15, replace=False)
columns = np.array([rng.choice(np.flatnonzero(np.abs(test[i]) > 1)) for i in rows])
test[rows, columns] *= -1
is_wrong = np.isin(np.arange(len(test)), rows)

# %%
# Detection by four methods
# -------------------------
detector = OutlierDetector(16, random_state=0).fit(train)
others = {
    "PCA's likelihood": PCA(16, random_state=0),
    "IsolationForest": IsolationForest(random_state=0),
    "LocalOutlierFactor": LocalOutlierFactor(novelty=True),
}
scores = {"OutlierDetector": detector.score_samples(test)}
scores |= {name: other.fit(train).score_samples(test) for name, other in others.items()}
for name, score in scores.items():
    print(f"{name:19} area under the ROC curve {roc_auc_score(is_wrong, -score):.3f}")

is_flagged = detector.predict(test) == -1
print(
    f"flagged: {is_flagged[is_wrong].sum()} of {is_wrong.sum()} wrong rows, "
    f"{is_flagged[~is_wrong].sum()} of {(~is_wrong).sum()} others"
)

# %%
# One training row in twenty is below the threshold. The test rows were not used in `fit`. Even
# without the wrong rows, a larger fraction of the test rows is therefore below the threshold.
fig, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
decision = detector.decision_function(test)
low = -400  # lower values are shown there
bins = np.linspace(low, decision.max(), 41)
labels = {"as measured": ~is_wrong, "one entry wrong": is_wrong}
for (name, chosen), color in zip(labels.items(), ["C0", "C1"], strict=True):
    ax.hist(decision[chosen].clip(low), bins=bins, label=name, color=color, alpha=0.7)
ax.axvline(0, color="0.3", linestyle="--", label="threshold")
ax.set(xlabel="decision_function, nats", ylabel="test rows", yscale="log", ylim=(0.5, None))
ax.set_title("Test rows of breast_cancer, with fifteen wrong entries")
ax.legend(loc="upper left")
plt.show()

# %%
# Contributions of the features
# -----------------------------
# The score of each entry is its contribution to the log-likelihood of the row. A bar is the
# difference between this score and the median of its feature. If two measurements contradict each
# other, such as two measures of symmetry, both entries have low scores.
fig, ax = plt.subplots(figsize=(6.4, 5), layout="constrained")
shown = rows[:4]
display = ContributionDisplay.from_estimator(
    detector, test, rows=shown, n_features=4, feature_names=data.feature_names, ax=ax
)
for axes, j in zip(display.axes_[:, 0], columns, strict=False):
    axes.set_title(f"wrong: {data.feature_names[j]}", loc="right", fontsize="small", weight="bold")
fig.suptitle("Contributions of features to four outliers")
plt.show()
# sphinx_gallery_thumbnail_number = 2

# %%
# The 30 entries of each row are ranked by their contribution, largest first. The ranks of the wrong
# entries are:
entries = detector.score_features(test)
order = (entries - np.median(entries, axis=0))[rows].argsort(axis=1)
places = 1 + np.argmax(order == columns[:, None], axis=1)
print("ranks:", *np.sort(places))
print(
    f"first in {(places == 1).sum()} of {len(rows)} rows, in the first three in "
    f"{(places <= 3).sum()}"
)
