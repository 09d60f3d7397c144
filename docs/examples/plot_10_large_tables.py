"""
Large tables: memmaps and Dask
==============================

A table need not fit into memory. A memmap is read chunk by chunk while the chunk before is trained
on, and a stream of batches goes through `partial_fit`. Of a Dask collection, `transform` is lazy.
The table here is small, so that this page is quickly built; nothing changes for one that is larger
than memory. Beside it stands IncrementalPCA, which is as frugal, faster, and linear.
"""

# %%
# A table on disk
# ---------------
# 200,000 rows of 40 numbers, which depend on two: written block by block, and opened as a memmap.
import tempfile
import time
import warnings
from pathlib import Path

import dask.array as da
import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import IncrementalPCA

from skae import AutoencoderTransformer

folder = tempfile.TemporaryDirectory()
path = Path(folder.name, "table.npy")
n_rows, n_columns, block = 200_000, 40, 20_000
rng = np.random.default_rng(0)
weights, phases = rng.normal(size=(2, n_columns)), rng.uniform(0, 6, size=n_columns)
origin = np.empty((n_rows, 2))

out = np.lib.format.open_memmap(path, "w+", np.float32, (n_rows, n_columns))
for start in range(0, n_rows, block):
    part = slice(start, start + block)
    origin[part] = rng.uniform(-1, 1, size=(block, 2))
    clean = np.sin(origin[part] @ weights * 1.5 + phases)
    out[part] = clean + rng.normal(scale=0.1, size=clean.shape)
out.flush()
del out

X = np.load(path, mmap_mode="r")
print(f"{type(X).__name__} of shape {X.shape}, {path.stat().st_size / 1e6:.0f} MB")
train, test = X[:-block], X[-block:]

# %%
# Fit to the memmap
# -----------------
# `max_steps` caps the work whatever the number of rows: with batches of 256 these steps see less
# than the whole table, drawn at random.
start = time.perf_counter()
ae = AutoencoderTransformer(2, max_steps=600, random_state=0).fit(train)
print(
    f"autoencoder:    {time.perf_counter() - start:4.1f} s, keeps {ae.score(test):.3f} "
    "of the variance of test rows"
)
start = time.perf_counter()
pca = IncrementalPCA(2, batch_size=block).fit(train)
residual = test - pca.inverse_transform(pca.transform(test))
print(
    f"IncrementalPCA: {time.perf_counter() - start:4.1f} s, keeps "
    f"{1 - np.sum(residual**2) / np.sum((test - pca.mean_) ** 2):.3f}"
)

# %%
# A stream
# --------
# Each call makes gradient steps on its batch, and `transform` may be called at any time.
stream = AutoencoderTransformer(2, random_state=0)
for start in range(0, len(train), block):
    stream.partial_fit(train[start : start + block])
    if start // block % 3 == 2:
        print(f"{stream.n_samples_seen_:6d} rows seen, test rows keep {stream.score(test):.3f}")

# %%
# Dask
# ----
# The codes of a Dask array are a Dask array: nothing is computed before it is asked for, and
# then in threads, block by block. Here they go from disk to disk.
table = da.from_array(X, chunks=(block, n_columns))
codes = ae.transform(table)
print(codes)
target = np.lib.format.open_memmap(Path(folder.name, "codes.npy"), "w+", codes.dtype, codes.shape)
da.store(codes, target)
print("standard deviations of the codes:", np.round(codes.std(axis=0).compute(), 2))

# %%
# `fit` of a Dask collection is for a cluster: with a `distributed.Client` it happens where the
# partitions lie. Without one, the collection is computed in this process, and a warning says so:
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    AutoencoderTransformer(2, max_steps=20, random_state=0).fit(table[: 2 * block])
for warning in caught:
    print(f"{warning.category.__name__}: {warning.message}")

# %%
# What the codes hold
# -------------------
# Each hexagon of the plane of codes has the mean of the first of the two numbers that the rows were
# made of. The autoencoder unrolls them into a sheet; PCA lays rows with different numbers upon
# each other, where means tend towards zero.
fig, axes = plt.subplots(1, 2, figsize=(6.4, 3.2), layout="constrained")
planes = {"autoencoder": np.asarray(target), "IncrementalPCA": pca.transform(X)}
for ax, (name, plane) in zip(axes, planes.items(), strict=True):
    drawn = ax.hexbin(
        *plane.T, C=origin[:, 0], gridsize=40, cmap="cividis", vmin=-1, vmax=1, mincnt=3
    )
    ax.set(title=name, xlabel="component 0", ylabel="component 1")
fig.colorbar(drawn, ax=axes, label="first of the two numbers")
fig.suptitle(f"Codes of {n_rows} rows")
plt.show()

# %%
del X, train, test, table, codes, target
folder.cleanup()
