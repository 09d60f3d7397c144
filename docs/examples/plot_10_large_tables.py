"""
Large tables: memmaps and Dask
==============================

A table does not need to fit into memory. A memmap is read in chunks: the next chunk is read while
the network trains on the current one. `partial_fit` trains on batches, one call per batch. For a
Dask collection, `transform` is lazy. The table in this example is small, so that the page is built
quickly. The same code works for a table larger than memory. IncrementalPCA is shown for comparison:
it needs as little memory, it is faster, and it is linear.
"""

# %%
# A table on disk
# ---------------
# The table has 200,000 rows and 40 columns, which are functions of two latent variables plus noise.
# It is written in blocks and opened as a memmap.
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
# `max_steps` limits the work for any number of rows. With batches of 256 rows, 600 steps use only a
# part of the rows, drawn at random.
start = time.perf_counter()
ae = AutoencoderTransformer(2, max_steps=600, random_state=0).fit(train)
print(
    f"autoencoder:    {time.perf_counter() - start:4.1f} s, "
    f"explained variance ratio on test rows {ae.score(test):.3f}"
)
start = time.perf_counter()
pca = IncrementalPCA(2, batch_size=block).fit(train)
residual = test - pca.inverse_transform(pca.transform(test))
print(
    f"IncrementalPCA: {time.perf_counter() - start:4.1f} s, explained variance ratio on test rows "
    f"{1 - np.sum(residual**2) / np.sum((test - pca.mean_) ** 2):.3f}"
)

# %%
# Incremental training
# --------------------
# Each call of `partial_fit` makes gradient steps on its batch. `transform` is available after each
# call.
stream = AutoencoderTransformer(2, random_state=0)
for start in range(0, len(train), block):
    stream.partial_fit(train[start : start + block])
    if start // block % 3 == 2:
        print(f"{stream.n_samples_seen_:6d} rows, score on test rows {stream.score(test):.3f}")

# %%
# Dask
# ----
# The codes of a Dask array are a Dask array. The codes are computed only when the result is needed,
# in threads, block by block. Here the rows are read from disk, and the codes are written to disk.
table = da.from_array(X, chunks=(block, n_columns))
codes = ae.transform(table)
print(codes)
target = np.lib.format.open_memmap(Path(folder.name, "codes.npy"), "w+", codes.dtype, codes.shape)
da.store(codes, target)
print("standard deviations of the codes:", np.round(codes.std(axis=0).compute(), 2))

# %%
# With a `distributed.Client`, `fit` of a Dask collection trains on the workers that hold the
# partitions. Without a client, the collection is computed in this process, with a warning:
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    AutoencoderTransformer(2, max_steps=20, random_state=0).fit(table[: 2 * block])
for warning in caught:
    print(f"{warning.category.__name__}: {warning.message}")

# %%
# Codes and latent variables
# --------------------------
# The colour of each hexagon is the mean of the first latent variable over the rows with codes in
# this hexagon. The codes of the autoencoder change smoothly with the latent variable. In the plane
# of PCA, rows with different values of the latent variable overlap, and their mean is near zero.
fig, axes = plt.subplots(1, 2, figsize=(6.4, 3.2), layout="constrained")
planes = {"autoencoder": np.asarray(target), "IncrementalPCA": pca.transform(X)}
for ax, (name, plane) in zip(axes, planes.items(), strict=True):
    drawn = ax.hexbin(
        *plane.T, C=origin[:, 0], gridsize=40, cmap="cividis", vmin=-1, vmax=1, mincnt=3
    )
    ax.set(title=name, xlabel="component 0", ylabel="component 1")
fig.colorbar(drawn, ax=axes, label="first latent variable")
fig.suptitle(f"Codes of {n_rows} rows")
plt.show()

# %%
del X, train, test, table, codes, target
folder.cleanup()
