"""Principal axes of a table of any size."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from sklearn.decomposition import PCA
from sklearn.utils.extmath import svd_flip

from .._data.table import Table
from .._data.weights import weighted
from .statistics import location_and_scale

# Up to this number of features, the covariance and its eigenvectors take less time than a few
# epochs of training.
_MAX_COVARIANCE_FEATURES = 1500
# Maximum number of entries (128 MiB in double precision) that the solvers of PCA get, because they
# copy them. For a larger table, PCA is fitted to a random subset of its rows, and the axes are
# improved by this number of subspace iterations over all rows.
_MAX_PCA_ENTRIES = 2**24
_SUBSPACE_ITERATIONS = 3
_EPS = np.finfo(np.float64).eps


def code_size(table: Table, n_components: float, seed: int) -> int:
    """Return the number of components, which may be given as a fraction of the variance."""
    if n_components >= 1:
        return int(min(n_components, table.n_features))
    standardised = table.standardised(*location_and_scale(table))
    return len(principal_components(standardised, n_components, seed)[0])


def principal_components(
    table: Table,
    n_components: float,
    seed: int,
    *,
    max_covariance_features: int = _MAX_COVARIANCE_FEATURES,
    max_entries: int = _MAX_PCA_ENTRIES,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return principal axes of a table.

    They are eigenvectors of the covariance, which is summed block by block, if the table has few
    columns and more rows than columns. Otherwise they are computed by the PCA of scikit-learn.

    Parameters
    ----------
    table : Table
        Standardised rows, so that their squares do not overflow.
    n_components : int or float in (0, 1)
        Number of axes, or the fraction of the variance that they must explain.
    seed : int
        Seed of the subset of rows, of randomised solvers of PCA, and of arbitrary axes.
    max_covariance_features : int
        Maximum number of columns for which the covariance is computed.
    max_entries : int
        Maximum number of entries that PCA gets.

    Returns
    -------
    components : ndarray of shape (n_components, n_features)
        Orthonormal axes, with the signs of PCA. If the rows vary along fewer axes, the last axes
        are random.
    std : ndarray of shape (n_components,)
        Standard deviation of the rows along each axis, with ``n_samples - 1`` as in PCA.
    """
    n_features = table.n_features
    if n_features <= max_covariance_features and table.total_weight > n_features:
        variance, components = _axes_of_covariance(table, n_components)
    elif table.total_weight > 1:
        variance, components = _axes_of_rows(table, n_components, seed, max_entries)
    else:
        variance, components = np.zeros(0), np.zeros((0, n_features))
    # replace axes along which the rows do not vary, because rounding errors would determine them
    is_varying = variance > (_EPS * n_features) ** 2 * variance.max(initial=0)
    variance, components = variance[is_varying], components[is_varying]
    std = np.sqrt(variance)
    _, components = svd_flip(None, components, u_based_decision=False)
    missing = int(max(1, min(n_components, n_features))) - len(components)
    if missing > 0:
        open_axes = np.random.default_rng(seed).standard_normal((missing, n_features))
        basis, _ = np.linalg.qr(np.vstack([components, open_axes]).T)
        components = np.vstack([components, basis.T[len(components) :]])
        std = np.append(std, np.zeros(missing))
    return components.astype(table.dtype), std.astype(table.dtype)


def _first(
    n_components: float, variance: NDArray[Any], components: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the first axes and their variances.

    `n_components` is the number of axes, or a fraction of the variance, from which the number is
    computed as in PCA.
    """
    size = int(n_components)
    if n_components < 1:
        explained = np.cumsum(variance) / (variance.sum() or 1.0)
        size = 1 + int(np.searchsorted(explained[:-1], n_components, side="right"))
    return variance[:size], components[:size]


def _axes_of_covariance(table: Table, n_components: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return variances and axes from the covariance, in decreasing order of variance."""
    (covariance,) = table.sum_blocks(lambda rows, weights: (weighted(rows, weights).T @ rows,))
    covariance /= table.total_weight - 1
    last = table.n_features - 1
    needed = None if n_components < 1 else [max(0, last + 1 - n_components), last]
    variance, axes = eigh(covariance, subset_by_index=needed)
    is_small = variance <= _EPS * table.n_features * variance[-1]
    if is_small.any():  # rounding errors of eigenvalues: compute the variances from the rows
        small = axes[:, is_small]
        (squares,) = table.sum_blocks(
            lambda rows, weights: (weighted(np.square(rows @ small), weights).sum(axis=0),)
        )
        variance[is_small] = squares / (table.total_weight - 1)
        order = np.argsort(variance, kind="stable")
        variance, axes = variance[order], axes[:, order]
    return _first(n_components, variance[::-1].clip(min=0), axes.T[::-1])


def _axes_of_rows(
    table: Table, n_components: float, seed: int, max_entries: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return variances and axes from scikit-learn's PCA, in decreasing order of variance.

    If a copy of the rows would be large, PCA is fitted to a random subset, and a few subspace
    iterations over all rows improve its axes.
    """
    n_rows, is_share = table.n_rows, n_components < 1
    size = min(n_rows, max(max_entries // table.n_features, 2, 2 * int(n_components)))
    chosen = np.random.default_rng(seed).choice(n_rows, size, replace=False)
    chosen = np.sort(chosen)
    rows, weights = table.gather(chosen), table.take_weights(chosen)
    if weights is not None:
        rows = _with_covariance_of(rows, weights)
    max_rank = min(size, table.n_features)  # `rows` may have each row twice
    pca = PCA(max_rank if is_share else min(n_components, max_rank), copy=False, random_state=seed)
    with np.errstate(invalid="ignore"):  # ratios of a variance of zero
        pca.fit(rows)
    variance, components = _first(n_components, pca.explained_variance_, pca.components_)
    if size < n_rows:
        variance, components = _subspace_iterations(components, table)
    return variance, components


def _with_covariance_of(rows: NDArray[Any], weights: NDArray[np.float64]) -> NDArray[Any]:
    """Return rows of equal weight that have the covariance of centred rows with weights.

    They are twice as many, because each row is returned with both signs, so that their mean is
    zero. For a subset of rows with a total weight below two, the covariance is only proportional.
    """
    total = weights.sum()
    factor = np.sqrt((2 * len(rows) - 1) / 2 / max(total - 1, total / 2))
    scaled = (factor * weighted(rows, np.sqrt(weights))).astype(rows.dtype)
    return np.concatenate([scaled, -scaled])


def _subspace_iterations(
    components: NDArray[Any], table: Table
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Improve principal axes by subspace iterations over all rows; return variances and axes.

    Golub & Van Loan, Matrix Computations, section 8.2.4.
    """
    for _ in range(_SUBSPACE_ITERATIONS):
        product = _covariance_times(components.T, table)
        variance, rotation = np.linalg.eigh(components @ product)
        # sort by decreasing variance: QR orthogonalises each axis against the axes before it
        axes, _ = np.linalg.qr(product @ rotation[:, ::-1])
        components = axes.T.astype(components.dtype)
    return variance[::-1].clip(min=0), components


def _covariance_times(axes: NDArray[Any], table: Table) -> NDArray[Any]:
    """Return the product of the covariance and the axes."""
    (product,) = table.sum_blocks(
        lambda rows, weights: (weighted(rows, weights).T @ (rows @ axes),)
    )
    product /= table.total_weight - 1
    return product
