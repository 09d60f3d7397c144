"""Imputation of missing values by probabilistic PCA, which is fitted by EM.

A missing value is NaN. It is imputed with its conditional mean given the observed values of its
row, under a Gaussian distribution whose covariance is a matrix of low rank plus a multiple of the
identity. This is the model of Tipping & Bishop (Journal of the Royal Statistical Society B 61,
1999). Its components are those of PCA if the rows are complete.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray
from sklearn.utils import gen_batches

from .._data.rows import drawn_in_groups
from .._data.table import Table
from .._data.weights import weighted, weights_or_ones

# Smallest noise variance, as a fraction of the mean variance of the columns, so that the linear
# systems have solutions.
MIN_NOISE = 1e-6
# Upper bounds of n_features * n_components**2, the products that EM computes per row, and of
# n_components.
_MAX_ROW_PRODUCTS, _MAX_COMPONENTS = 2**20, 64
# EM uses a random subset of the rows of a large table. Maximum number of products in an EM step,
# which then takes at most half a second; maximum number in a step of `select_ppca_params`; and
# minimum number of rows of a subset.
_MAX_PRODUCTS, _CHOICE_PRODUCTS, _MIN_ROWS = 2**32, 2**27, 500
# `select_ppca_params` hides this fraction of the entries, and compares these numbers of EM steps.
_HIDDEN_SHARE = 0.2
_STEPS = (3, 5, 8, 12, 18, 27, 40, 60, 90)
# Approximate number of entries of the arrays that are computed for a block of rows.
_BLOCK = 2**20


def probabilistic_pca(
    variance: NDArray[Any], n_rows: float, n_features: int, rank: int | None = None
) -> tuple[float, NDArray[Any]]:
    """Compute noise variance and lengths of the loadings from the variances of complete rows.

    Tipping & Bishop, equations 7 and 8, with the noise variance of scikit-learn's PCA: the variance
    that the first principal axes do not explain is divided by ``min(n_rows, n_features) -
    n_components``, because rows that are fewer than the columns have no variance in the other
    directions.

    Parameters
    ----------
    variance : ndarray of shape (n_components,)
        Variances of the rows along the first principal axes, with ``n_rows - 1`` in the
        denominator as in PCA. The rows are standardised: the variances of their columns, with
        ``n_rows`` in the denominator, are one on average, or all zero.
    n_rows : float
        Number of rows, or the sum of their weights.
    n_features : int
        Number of columns.
    rank : int, optional
        Number of columns that are not linear functions of other columns; by default all.

    Returns
    -------
    noise : float
        Noise variance of each column.
    lengths : ndarray of shape (n_loadings,)
        Lengths of the first loadings. There are at most ``min(n_features - 1, n_rows - 2)``, so
        that at least one direction remains for the noise.
    """
    total = n_features * n_rows / max(1, n_rows - 1) * variance.any()
    variance = variance[: max(0, int(min(n_features - 1, n_rows - 2)))]
    n_left = min(n_rows, rank or n_features) - len(variance)
    noise = max((total - variance.sum()) / n_left, MIN_NOISE)
    return float(noise), np.sqrt((variance - noise).clip(min=0))


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbabilisticPCA:
    """Probabilistic PCA; a call with rows returns rows with missing values imputed.

    A row is ``mean + scale * (loadings @ z + e)``, with z from N(0, I) and e from
    N(0, noise_variance I).

    Attributes
    ----------
    mean : ndarray of shape (n_features,)
        Mean, in the units of X.
    scale : float
        Unit of the loadings and, squared, of the noise variance.
    loadings : ndarray of shape (n_features, n_components)
        Orthogonal columns, sorted by decreasing length.
    noise_variance : float
        Variance of each column that the components do not explain.
    """

    mean: NDArray[Any]
    scale: float
    loadings: NDArray[Any]
    noise_variance: float

    def __call__(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return rows without NaN: the same array if no value is missing, otherwise a copy."""
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
                z[~np.isfinite(z).all(axis=1)] = 0  # overflow: impute the mean
                filled = mean + dtype.type(self.scale) * (z @ loadings.T)
            rows[index] = np.where(seen, rows[index], filled.clip(-most, most))
        return rows

    def astype(self, dtype: DTypeLike) -> Self:
        """Return the same model with the loadings in another float type."""
        return replace(self, loadings=self.loadings.astype(dtype, copy=False))

    def standardised(self, offset: NDArray[Any], scale: float) -> Self:
        """Return the model of rows ``(X - offset) / scale``."""
        return replace(self, mean=(self.mean - offset) / scale, scale=self.scale / scale)

    def embedded(self, axes: NDArray[Any], origin: NDArray[Any]) -> Self:
        """Return the model of rows, given this model of their coordinates on orthonormal axes."""
        mean, loadings = origin + self.mean @ axes, axes.T @ self.loadings
        return replace(self, mean=mean, loadings=loadings)


def latent_mean(
    centred: NDArray[Any], seen: NDArray[np.bool_], loadings: NDArray[Any], noise_variance: float
) -> NDArray[Any]:
    """Return the mean of the latent variables of each row, given its observed values.

    It solves ``(Wᵀ S W + noise_variance I) z = Wᵀ S (x - mean)`` for each row, where W are the
    loadings and S is the diagonal matrix with ones for observed values. The method is conjugate
    gradients with a diagonal preconditioner (Golub & Van Loan, Matrix Computations, section
    11.5.2), which computes no matrix for each row. The iterations of a row stop when the relative
    norm of its residual is at most the square root of the machine epsilon, so that the result does
    not depend on the other rows.

    Parameters
    ----------
    centred : ndarray of shape (n_rows, n_features)
        Centred rows, with zeros for missing values.
    seen : ndarray of bool, of the same shape
        Mask of observed values.
    loadings, noise_variance : ndarray and float
        See `ProbabilisticPCA`. Computations are in the float type of the loadings.

    Returns
    -------
    z : ndarray of shape (n_rows, n_components)
        Posterior mean of the latent variables.
    """
    dtype = loadings.dtype
    seen, noise_variance = seen.astype(dtype), dtype.type(noise_variance)
    diagonal = seen @ np.square(loadings) + noise_variance
    residual = centred @ loadings
    z: NDArray[Any] = np.zeros_like(residual)
    direction = residual / diagonal
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


def posterior(
    centred: NDArray[Any], seen: NDArray[np.bool_], loadings: NDArray[Any], noise_variance: float
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the posterior mean and covariance of the latent variables of each row.

    See `latent_mean` for the parameters.

    Returns
    -------
    z : ndarray of shape (n_rows, n_components)
        Posterior means.
    covariance : ndarray of shape (n_rows, n_components, n_components)
        Posterior covariances.
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


def _products(vectors: NDArray[Any]) -> NDArray[Any]:
    """Return the outer product of each row with itself, as a row."""
    products: NDArray[Any] = vectors[:, :, None] * vectors[:, None, :]
    return products.reshape(len(vectors), -1)


@dataclass(frozen=True)
class PPCAParams:
    """Hyperparameters of probabilistic PCA.

    Attributes
    ----------
    n_components : int
        Number of components, less than the number of columns and the number of rows. With 0, the
        means of the columns are imputed.
    n_steps : int
        Number of EM steps. Few steps regularise the model, because the correlations increase with
        each step.
    """

    n_components: int
    n_steps: int


def fit_ppca(table: Table, ppca_params: PPCAParams, seed: int) -> ProbabilisticPCA:
    """Fit probabilistic PCA to a table with missing values, by EM.

    Parameters
    ----------
    table : Table
        Standardised rows, so that their squares do not overflow.
    ppca_params : PPCAParams
        Result of `select_ppca_params`.
    seed : int
        Seed of the random subset of rows.

    Returns
    -------
    ProbabilisticPCA
        Model of the standardised rows.
    """
    n_components = ppca_params.n_components
    subset = _subset(table, n_components, seed, _MAX_PRODUCTS)
    *_, imputer = islice(_expectation_maximisation(*subset, n_components), ppca_params.n_steps)
    return imputer


def select_ppca_params(table: Table, n_components: int, seed: int) -> PPCAParams:
    """Select the numbers of components and EM steps that best impute hidden entries.

    A random part of the observed entries is hidden for this purpose. The largest number of
    components is tried first, and is halved as long as the error decreases.

    Parameters
    ----------
    table : Table
        Standardised rows.
    n_components : int
        Largest number of components.
    seed : int
        Seed of the random subset of rows and of the hidden entries.

    Returns
    -------
    PPCAParams
    """
    size = min(n_components, _MAX_COMPONENTS, table.n_features - 1, table.n_rows - 1)
    size = min(size, math.isqrt(_MAX_ROW_PRODUCTS // table.n_features))
    best, least = None, np.inf
    while True:
        rows, weights = _subset(table, size, seed, _CHOICE_PRODUCTS)
        random = np.random.default_rng([1, seed]).random
        hidden = drawn_in_groups(random, rows.shape, table.groups) < _HIDDEN_SHARE
        ppca_params, error = _choose_steps(rows, weights, hidden, size)
        if best is not None and error >= least:
            return best
        best, least = ppca_params, error
        if not size:
            return best
        size //= 2


def _choose_steps(
    rows: NDArray[Any], weights: NDArray[Any], hidden: NDArray[np.bool_], size: int
) -> tuple[PPCAParams, float]:
    """Select the number of EM steps for `size` components; return both, and the error."""
    hidden = hidden & ~np.isnan(rows)
    kept = np.where(hidden, np.nan, rows)
    best, least = PPCAParams(size, 1), np.inf
    for step, imputer in enumerate(_expectation_maximisation(kept, weights, size), start=1):
        if step not in _STEPS and size:
            continue
        differences = np.where(hidden, imputer(kept) - rows, 0.0)
        error = weights @ np.square(differences).sum(axis=1)
        if not error < least:
            break
        best, least = PPCAParams(size, step), error
        if step == _STEPS[-1] or not size:
            break
    return best, least


def _subset(
    table: Table, n_components: int, seed: int, max_products: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a random subset of rows and their weights, limited by `max_products` of EM."""
    n_rows = max_products // (table.n_features * max(1, n_components**2))
    order = np.random.default_rng(seed).permutation(table.n_rows)
    chosen = np.sort(order[: max(n_rows, _MIN_ROWS)])
    rows = table.gather(chosen).astype(np.float64)
    return rows, weights_or_ones(table.take_weights(chosen), len(rows))


def _expectation_maximisation(
    rows: NDArray[Any], weights: NDArray[np.float64], n_components: int
) -> Iterator[ProbabilisticPCA]:
    """Fit probabilistic PCA to rows with NaN and weights; yield the model after each EM step.

    Tipping & Bishop 1999, appendix B, with the mean as an additional column of the loadings, and
    with sums over the observed values (Ilin & Raiko, JMLR 11, 2010, section 3). The initial
    loadings are the principal axes of the rows with column means for missing values.
    """
    seen = ~np.isnan(rows)
    n_observed, rows = weights @ seen, np.where(seen, rows, 0.0)
    mean = weights @ rows / np.where(n_observed > 0, n_observed, 1)
    squares = weights @ np.square(rows).sum(axis=1)
    centred, n_observed = np.where(seen, rows - mean, 0.0), n_observed.sum() or 1.0
    scaled = weighted(centred, np.sqrt(weights))
    variance = np.square(scaled).sum() / n_observed
    least = MIN_NOISE * (variance or 1.0)
    _, std, axes = np.linalg.svd(scaled, full_matrices=False)
    std = std[:n_components] / np.sqrt(weights.sum())
    n_components = len(std)  # at most the number of rows
    loadings = axes[:n_components].T * std
    noise_variance = max(variance - np.square(std).sum() / rows.shape[1], least)
    while True:
        if n_components:
            moments, products = _sums(rows, weights, seen, mean, loadings, noise_variance)
            ridge = least * np.eye(n_components + 1)  # a column without values gets zeros
            solution = np.linalg.solve(moments + ridge, products[..., None])[..., 0]
            loadings, mean = solution[:, :-1], solution[:, -1]
            noise_variance = max((squares - (products * solution).sum()) / n_observed, least)
        axes, std, _ = np.linalg.svd(loadings, full_matrices=False)
        yield ProbabilisticPCA(
            mean=mean, scale=1.0, loadings=axes * std, noise_variance=float(noise_variance)
        )


def _sums(
    rows: NDArray[Any],
    weights: NDArray[np.float64],
    seen: NDArray[np.bool_],
    mean: NDArray[Any],
    loadings: NDArray[Any],
    noise_variance: float,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the sums for the weighted regression of each column on ``[z, 1]``.

    They are sums over the observed values of the column.

    Returns
    -------
    moments : ndarray of shape (n_features, n_components + 1, n_components + 1)
        Sums of the expected outer products of ``[z, 1]`` with itself.
    products : ndarray of shape (n_features, n_components + 1)
        Sums of the expected products of ``[z, 1]`` and the column.
    """
    n_features, n_components = loadings.shape
    moments = np.zeros((n_features, (n_components + 1) ** 2))
    products = np.zeros((n_features, n_components + 1))
    n_block = max(1, _BLOCK // max(n_features, n_components**2))
    for batch in gen_batches(len(rows), n_block):
        there = seen[batch]
        centred = np.where(there, rows[batch] - mean, 0.0)
        z, covariance = posterior(centred, there, loadings, noise_variance)
        z = np.column_stack([z, np.ones(len(z))])
        outer = z[:, :, None] * z[:, None, :]
        outer[:, :-1, :-1] += covariance
        moments += weighted(there, weights[batch]).T @ outer.reshape(len(z), -1)
        products += weighted(rows[batch], weights[batch]).T @ z
    return moments.reshape(n_features, n_components + 1, -1), products
