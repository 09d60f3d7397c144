"""Rows with missing values: the probabilistic PCA that fills them, fitted by EM.

A missing value is NaN. It is filled with its mean given the values of its row that are there, under
a Gaussian whose covariance is of low rank, but for noise: the model of Tipping & Bishop (Journal of
the Royal Statistical Society B 61, 1999), whose components are PCA's where nothing is missing.
"""

import math
from itertools import islice
from typing import NamedTuple

import numpy as np
from sklearn.utils import gen_batches

# Least variance of the noise, as a share of that of an average column: systems stay solvable.
LEAST_NOISE = 1e-6
# EM makes so many products of entries and pairs of components for a row, at most.
_MAX_ROW_PRODUCTS, _MAX_COMPONENTS = 2**20, 64
# EM reads a random subset of the rows of a larger table: a step takes half a second at most. The
# choice of size and steps reads fewer, but enough to tell.
_MAX_PRODUCTS, _CHOICE_PRODUCTS, _MIN_ROWS = 2**32, 2**27, 500
# The choice is made with this share of the entries hidden.
_HIDDEN_SHARE = 0.2
_STEPS = (3, 5, 8, 12, 18, 27, 40, 60, 90)
# What is computed of a block of rows has about so many numbers.
_BLOCK = 2**20


def probabilistic_pca(variance, n_rows, n_features, n_columns=None):
    """Compute noise variance and lengths of the loadings from the variances of complete rows.

    Tipping & Bishop, equations 7 and 8, with the noise variance of scikit-learn's PCA: the variance
    that the first principal axes leave is divided by ``min(n_rows, n_features) - n_components``,
    because rows that are fewer than the columns show no variance in the other directions.

    Parameters
    ----------
    variance : ndarray of shape (n_components,)
        Variances of the rows along the first principal axes, with ``n_rows - 1`` in the
        denominator as in PCA. The rows are standardised: the variances of their columns, with
        ``n_rows`` in the denominator, are one on average, or all zero.
    n_rows, n_features : int
        Shape of the table.
    n_columns : int, optional
        Number of columns of X, if the features are coordinates in a subspace.

    Returns
    -------
    noise : float
        Noise variance of each column.
    lengths : ndarray of shape (n_loadings,)
        Lengths of the first loadings. They are fewer than the components if a direction would not
        be left for the noise.
    """
    total = n_features * n_rows / max(1, n_rows - 1) * variance.any()
    variance = variance[: max(0, min(n_features - 1, n_rows - 2))]
    n_left = min(n_rows, n_columns or n_features) - len(variance)
    noise = max((total - variance.sum()) / n_left, LEAST_NOISE)
    return float(noise), np.sqrt((variance - noise).clip(min=0))


class Filling(NamedTuple):
    """Probabilistic PCA, called with rows to fill what they miss.

    A row is ``mean + scale * (loadings @ z + e)``, with z from N(0, I) and e from
    N(0, noise_variance I).

    Attributes
    ----------
    mean : ndarray of shape (n_features,)
        In units of X.
    scale : float
        The unit of the others.
    loadings : ndarray of shape (n_features, n_components)
        Orthogonal columns, the longest first.
    noise_variance : float
        What the components leave, in each column.
    """

    mean: np.ndarray
    scale: float
    loadings: np.ndarray
    noise_variance: float

    def __call__(self, rows):
        """Return rows without NaN: the same array if there is none, else a copy."""
        missing = np.isnan(rows)
        incomplete = np.flatnonzero(missing.any(axis=1))
        if not len(incomplete):
            return rows
        rows, dtype = rows.copy(), rows.dtype
        mean, loadings = self.mean.astype(dtype), self.loadings.astype(dtype)
        most = np.finfo(dtype).max
        for batch in gen_batches(len(incomplete), max(1, _BLOCK // rows.shape[1])):
            index = incomplete[batch]
            seen = ~missing[index]
            with np.errstate(over="ignore", invalid="ignore"):
                centred = np.where(seen, (rows[index] - mean) / dtype.type(self.scale), 0)
                z = latent_mean(centred, seen, loadings, self.noise_variance)
                z[~np.isfinite(z).all(axis=1)] = 0  # rows so far away say nothing
                filled = mean + dtype.type(self.scale) * (z @ loadings.T)
            rows[index] = np.where(seen, rows[index], filled.clip(-most, most))
        return rows

    def astype(self, dtype):
        """Return the same model with loadings, its weights, in another float type."""
        return self._replace(loadings=self.loadings.astype(dtype, copy=False))

    def standardised(self, offset, scale):
        """Return the filling of rows from which an offset is subtracted, divided by a scale."""
        return self._replace(mean=(self.mean - offset) / scale, scale=self.scale / scale)

    def embedded(self, axes, origin):
        """Return the filling of rows, from that of their coordinates on orthonormal axes."""
        mean, loadings = origin + self.mean @ axes, axes.T @ self.loadings
        return self._replace(mean=mean, loadings=loadings)


def latent_mean(centred, seen, loadings, noise_variance):
    """Mean of the latent variables of rows, given what is there.

    It solves ``(Wᵀ S W + noise_variance I) z = Wᵀ S (x - mean)`` for each row, where S keeps what
    is there, by conjugate gradients with the diagonal as preconditioner (Golub & Van Loan, Matrix
    Computations, section 11.5.2): no matrix is made for a row. Each row ends where its own residual
    is as small as the square root of the precision, so that it does not depend on the others.

    Parameters
    ----------
    centred : ndarray of shape (n_rows, n_features)
        Rows, zero where they miss something.
    seen : ndarray of bool, of the same shape
        What is there.
    loadings, noise_variance : ndarray and float
        See `Filling`. All is computed in their float type.

    Returns
    -------
    z : ndarray of shape (n_rows, n_components)
    """
    dtype = loadings.dtype
    seen, noise_variance = seen.astype(dtype), dtype.type(noise_variance)
    diagonal = seen @ np.square(loadings) + noise_variance
    residual = centred @ loadings
    z, direction = np.zeros_like(residual), residual / diagonal
    product = np.einsum("ij,ij->i", residual, direction)
    goal, tiny = np.finfo(dtype).eps * product, np.finfo(dtype).tiny
    for _ in range(2 * loadings.shape[1]):
        goes_on = product > goal
        if not goes_on.any():
            break
        image = ((direction @ loadings.T) * seen) @ loadings + noise_variance * direction
        curvature = np.einsum("ij,ij->i", direction, image)
        length = np.where(goes_on, product / np.maximum(curvature, tiny), 0)[:, None]
        z += length * direction
        residual -= length * image
        descent = residual / diagonal
        before, product = product, np.einsum("ij,ij->i", residual, descent)
        direction = descent + (product / np.maximum(before, tiny))[:, None] * direction
    return z


def posterior(centred, seen, loadings, noise_variance):
    """Mean and covariance of the latent variables of rows; see `latent_mean`.

    Returns
    -------
    z : ndarray of shape (n_rows, n_components)
    covariance : ndarray of shape (n_rows, n_components, n_components)
    """
    n_features, n_components = loadings.shape
    precision = np.zeros((len(centred), n_components**2))
    for part in gen_batches(n_features, max(1, _BLOCK // max(1, n_components**2))):
        precision += seen[:, part].astype(np.float64) @ _products(loadings[part])
    precision = precision.reshape(len(centred), n_components, n_components)
    precision += noise_variance * np.eye(n_components)
    inverse = np.linalg.inv(precision)
    z = np.einsum("ijk,ik->ij", inverse, centred @ loadings)
    return z, noise_variance * inverse


def _products(vectors):
    """Outer product of each row with itself, flat."""
    return (vectors[:, :, None] * vectors[:, None, :]).reshape(len(vectors), -1)


def _rows_of_block(loadings):
    n_features, n_components = loadings.shape
    return max(1, _BLOCK // max(n_features, n_components**2))


class Effort(NamedTuple):
    """How closely probabilistic PCA is fitted.

    Attributes
    ----------
    n_components : int
        Number of components, less than those of columns and rows; 0 fills with columns' means.
    n_steps : int
        Steps of EM. Few of them are a regularisation: correlations grow step by step.
    """

    n_components: int
    n_steps: int


def fit_filling(table, effort, seed):
    """Fit probabilistic PCA to a table with missing values, by EM.

    Parameters
    ----------
    table : Table
        Standardised rows, so that their squares do not overflow.
    effort : Effort
        From `choose_effort`.
    seed : int
        Draws the rows of a subset.

    Returns
    -------
    Filling
        Of the standardised rows.
    """
    rows = _subset(table, effort.n_components, seed, _MAX_PRODUCTS)
    *_, filling = islice(_expectation_maximisation(rows, effort.n_components), effort.n_steps)
    return filling


def choose_effort(table, n_components, seed):
    """Choose size and steps that best fill entries which are hidden on purpose.

    The largest size comes first, and is halved as long as that helps.

    Parameters
    ----------
    table : Table
        Standardised rows.
    n_components : int
        Largest size.
    seed : int
        Draws the rows that are used, and what is hidden.

    Returns
    -------
    Effort
    """
    size = min(n_components, _MAX_COMPONENTS, table.n_features - 1, table.n_rows - 1)
    size = min(size, math.isqrt(_MAX_ROW_PRODUCTS // table.n_features))
    best, least = None, np.inf
    while True:
        effort, error = _choose_steps(_subset(table, size, seed, _CHOICE_PRODUCTS), size, seed)
        if best and error >= least:
            return best
        best, least = effort, error
        if not size:
            return best
        size //= 2


def _choose_steps(rows, size, seed):
    """Return the effort of so many components that fills hidden entries best, and its error."""
    hidden = ~np.isnan(rows) & (np.random.default_rng([1, seed]).random(rows.shape) < _HIDDEN_SHARE)
    kept, truth = np.where(hidden, np.nan, rows), rows[hidden]
    best, least = Effort(size, 1), np.inf
    for step, filling in enumerate(_expectation_maximisation(kept, size), start=1):
        if step not in _STEPS and size:
            continue
        error = np.square(filling(kept)[hidden] - truth).sum()
        if not error < least:
            break
        best, least = Effort(size, step), error
        if step == _STEPS[-1] or not size:
            break
    return best, least


def _subset(table, n_components, seed, max_products):
    """Return random rows, as many as EM may read, in double precision."""
    n_rows = max_products // (table.n_features * max(1, n_components**2))
    order = np.random.default_rng(seed).permutation(table.n_rows)
    return table.collect(np.sort(order[: max(n_rows, _MIN_ROWS)])).astype(np.float64)


def _expectation_maximisation(rows, n_components):
    """Fit probabilistic PCA to rows with NaN; yield the filling after each step.

    Tipping & Bishop 1999, appendix B, with the mean as one more column of the loadings and sums
    over what is there (Ilin & Raiko, JMLR 11, 2010, section 3). The first loadings are principal
    axes of the rows with means for what is missing.
    """
    seen = ~np.isnan(rows)
    n_seen, rows = seen.sum(axis=0), np.where(seen, rows, 0.0)
    mean, squares = rows.sum(axis=0) / np.maximum(n_seen, 1), np.square(rows).sum()
    centred, n_seen = np.where(seen, rows - mean, 0.0), max(1, n_seen.sum())
    variance = np.square(centred).sum() / n_seen
    least = LEAST_NOISE * (variance or 1.0)
    _, std, axes = np.linalg.svd(centred, full_matrices=False)
    std = std[:n_components] / np.sqrt(len(rows))
    n_components = len(std)  # fewer where rows are
    loadings = axes[:n_components].T * std
    noise_variance = max(variance - np.square(std).sum() / rows.shape[1], least)
    while True:
        if n_components:
            moments, products = _sums(rows, seen, mean, loadings, noise_variance)
            ridge = least * np.eye(n_components + 1)  # a column without values gets zeros
            solution = np.linalg.solve(moments + ridge, products[..., None])[..., 0]
            loadings, mean = solution[:, :-1], solution[:, -1]
            noise_variance = max((squares - (products * solution).sum()) / n_seen, least)
        axes, std, _ = np.linalg.svd(loadings, full_matrices=False)
        yield Filling(mean, 1.0, axes * std, float(noise_variance))


def _sums(rows, seen, mean, loadings, noise_variance):
    """Sum, over the rows in which a column is there, what its regression on z and 1 takes.

    The expected outer products of ``[z, 1]``, of shape (n_features, n_components + 1,
    n_components + 1), and those of ``[z, 1]`` and the column.
    """
    n_features, n_components = loadings.shape
    moments = np.zeros((n_features, (n_components + 1) ** 2))
    products = np.zeros((n_features, n_components + 1))
    for batch in gen_batches(len(rows), _rows_of_block(loadings)):
        there = seen[batch]
        centred = np.where(there, rows[batch] - mean, 0.0)
        z, covariance = posterior(centred, there, loadings, noise_variance)
        z = np.column_stack([z, np.ones(len(z))])
        outer = z[:, :, None] * z[:, None, :]
        outer[:, :-1, :-1] += covariance
        moments += there.T.astype(np.float64) @ outer.reshape(len(z), -1)
        products += rows[batch].T @ z
    return moments.reshape(n_features, n_components + 1, -1), products
