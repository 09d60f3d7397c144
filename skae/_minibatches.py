"""Rows of X to what training eats: held-out splits, shuffled minibatches, chunks of them.

X stays as it was given (array, memmap or CSR); rows are read, centred and scaled as
they are needed, one chunk ahead of the computation.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np
from scipy.sparse import issparse

# A million numbers: what is computed on a block of rows stays in the cache, of its last level...
_BLOCK = 2**20
# ... and what is only moved and scaled, in that of a core.
_GATHERED = 2**17
# Four million float32: a chunk costs 16 MB. To hand one over takes about a millisecond, which long
# chunks of short steps share; small tables look at their held-out rows too often to fill them.
_CHUNK = 2**22
# Some 17 thousand million multiplications, a tenth of a second or a few: between chunks, training
# can be interrupted.
_CHUNK_PRODUCTS = 2**34
_CHUNK_STEPS, _LONG_CHUNK_STEPS, _LONG_TABLE = 32, 128, 2**15
_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
# Smaller tables fill their minibatches up to this: to the same shapes, whatever the fold.
_MIN_BATCH = 256


def float_type(X):
    """Type in which the rows of X are read and served: float32 stays, all else is float64."""
    return X.dtype if X.dtype == _FLOAT32 else _FLOAT64


def _check_file(X, rows):
    """Refuse to read rows of a memmap whose file has shrunk: that would kill the process."""
    memmap, array = None, X
    while array is not None:  # from a view to the map behind it
        memmap = array if isinstance(array, np.memmap) else memmap
        array = getattr(array, "base", None)
    if memmap is None or memmap.filename is None:
        return
    size, needed = os.path.getsize(memmap.filename), memmap.offset + memmap.nbytes
    if size < needed:
        indices = range(len(X))[rows] if isinstance(rows, slice) else rows
        raise OSError(
            f"Rows {min(indices)} to {max(indices)} of X cannot be read: {memmap.filename} has "
            f"{size} bytes now, and had {needed} or more when it was mapped."
        )


def read_rows(X, rows):
    """Dense copy or view of the rows (indices or slice) of an array, memmap or CSR, as floats.

    In C order, whatever that of X: sums, and products in BLAS, depend on the order in their last
    bits.

    Raises
    ------
    OSError
        If X is a memmap and its file has become too short.
    """
    _check_file(X, rows)
    block = X[rows]
    if issparse(block):
        block = block.toarray()
    return block.astype(float_type(X), order="C", copy=False)


def standardise(X, rows, offset, scale, out=None, dtype=np.float32):
    """Read rows, centred and divided by the scale: in the precision of X, then cast."""
    block = read_rows(X, rows)
    if out is None:
        out = np.empty(block.shape, dtype=dtype)
    # in place where the block is a copy, for what this costs is memory traffic
    centred = np.subtract(block, offset, out=block if block.flags.owndata else None)
    return np.multiply(centred, 1 / scale, out=out)


def row_blocks(n_samples, width, numbers=_BLOCK):
    """Slices that cut n_samples rows of `width` numbers each into blocks of so many numbers."""
    size = max(1, numbers // width)
    return [slice(first, first + size) for first in range(0, n_samples, size)]


def held_out_splits(n_samples, fraction, min_held_out, rng):
    """Split the rows into training and held-out ones, as often as it takes.

    Parameters
    ----------
    n_samples : int
        Number of rows.
    fraction : float
        Share of the rows that each split holds out, at least one row, at most all but one.
    min_held_out : int
        Splits are added, with other rows held out, until so many rows were held out once or there
        are no more.
    rng : numpy.random.Generator
        Shuffles the rows.

    Returns
    -------
    list of (ndarray, ndarray)
        Sorted indices of the training and of the held-out rows; empty if nothing can be held out.
    """
    if fraction == 0 or n_samples < 2:
        return []
    order = rng.permutation(n_samples)
    size = min(max(1, round(fraction * n_samples)), n_samples - 1)
    n_splits = min(-(-min_held_out // size), n_samples // size)
    parts = [slice(i * size, (i + 1) * size) for i in range(n_splits)]
    return [(np.sort(np.delete(order, part)), np.sort(order[part])) for part in parts]


def minibatches(rows, batch_size, rng):
    """Yield shuffled batches of the row indices without end; an epoch's last may be short."""
    while True:
        order = rng.permutation(rows)
        for first in range(0, len(order), batch_size):
            yield order[first : first + batch_size]


def chunk_shape(n_samples, n_features, batch_size, n_weights):
    """Shape (n_steps, n_rows, n_features) of a chunk for a network of so many weights.

    It hardly depends on the number of rows: the folds of a cross-validation and the fit on all rows
    share a shape, and so one compiled loop.
    """
    n_rows = min(batch_size, max(_MIN_BATCH, 2 ** int(n_samples - 1).bit_length()))
    n_steps = _LONG_CHUNK_STEPS if n_samples >= _LONG_TABLE else _CHUNK_STEPS
    most = min(_CHUNK // (n_rows * n_features), _CHUNK_PRODUCTS // (n_rows * n_weights))
    return min(n_steps, max(1, most)), n_rows, n_features


def chunks(X, rows, lengths, shape, *, offset, scale, noise, rng, share=slice(None)):
    """Yield training's food: inputs, targets, row weights and the number of steps.

    The weights of a batch's rows sum to one.

    Parameters
    ----------
    X : array, memmap or CSR of shape (n_samples, n_features)
        The table.
    rows : ndarray of int
        Which of its rows to train on.
    lengths : iterable of int
        Number of steps of each chunk; a chunk shorter than its shape is padded.
    shape : tuple of int
        From `chunk_shape`. A batch shorter than its rows is padded with rows of weight zero.
    offset, scale : ndarray of shape (n_features,), float
        Rows are centred by the one and divided by the other.
    noise : float
        Standard deviation of the Gaussian noise added to the inputs, in units of `scale`.
    rng : numpy.random.Generator
        Shuffles, and makes the noise.
    share : slice
        Which rows of each batch to read: the others are another worker's.
    """
    max_steps, batch_size, n_features = shape
    batches = minibatches(rows, batch_size, rng)
    for n_steps in lengths:
        weights = np.zeros((max_steps, batch_size), dtype=np.float32)
        read = np.empty((n_steps, batch_size), dtype=rows.dtype)
        for step, batch in enumerate(islice(batches, n_steps)):
            read[step, : len(batch)] = batch
            read[step, len(batch) :] = batch[0]
            weights[step, : len(batch)] = 1 / len(batch)
        read, weights = read[:, share].ravel(), weights[:, share]
        targets = np.zeros((*weights.shape, n_features), dtype=np.float32)
        flat = targets[:n_steps].reshape(-1, n_features)
        for block in row_blocks(len(read), n_features, _GATHERED):
            standardise(X, read[block], offset, scale, out=flat[block])
        inputs = targets
        if noise:
            inputs = rng.standard_normal(shape, dtype=np.float32)[:, share]
            inputs *= np.float32(min(noise, 1e30))  # more would overflow all the same
            inputs += targets
        yield inputs, targets, weights, n_steps


def prefetch(iterator):
    """Yield from `iterator`, with one thread computing the next item meanwhile."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="skae-prefetch") as pool:
        upcoming = pool.submit(next, iterator, None)
        while (item := upcoming.result()) is not None:
            upcoming = pool.submit(next, iterator, None)
            yield item
