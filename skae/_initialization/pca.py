"""Principal axes of a table of any size, and how many keep a share of the variance."""

import numpy as np
from scipy.linalg import eigh
from sklearn.decomposition import PCA
from sklearn.utils.extmath import svd_flip

from .statistics import location_and_scale

# Up to here the covariance and its eigenvectors cost less than a few passes of training.
_MAX_COVARIANCE_FEATURES = 1500
# An eighth of a gigabyte in double precision, on which PCA's solvers make copies. Of larger tables
# they get a random subset, and the axes then make so many steps towards those of all rows.
_MAX_PCA_NUMBERS = 2**24
_SUBSPACE_ITERATIONS = 3


def code_size(table, n_components, seed):
    """Return the number of components, which may be given as a share of the variance."""
    if n_components >= 1:
        return int(min(n_components, table.n_features))
    standardised = table.standardised(*location_and_scale(table))
    return len(principal_components(standardised, n_components, seed)[0])


def principal_components(table, n_components, seed):
    """Principal axes of a table, always as many as asked for.

    From the covariance, summed block by block, where rows are many and columns few; else by
    scikit-learn's PCA.

    Parameters
    ----------
    table : Table
        Standardised rows, so that their squares do not overflow.
    n_components : int or float in (0, 1)
        Number of axes, or the share of variance that they must explain.
    seed : int
        For subsets, for the solvers of PCA that draw, and for the axes that the data leave open.

    Returns
    -------
    components : ndarray of shape (n_components, n_features)
        Orthonormal rows, with PCA's signs. If rows are fewer than components, the last are
        arbitrary.
    std : ndarray of shape (n_components,)
        Standard deviation of the rows along each, with ``n_samples - 1`` as in PCA.
    """
    n_features = table.n_features
    if n_features <= _MAX_COVARIANCE_FEATURES and table.n_rows > n_features:
        variance, components = _axes_of_covariance(table, n_components)
    elif table.n_rows > 1:
        variance, components = _axes_of_rows(table, n_components, seed)
    else:
        variance, components = np.zeros(0), np.zeros((0, n_features))
    std = np.sqrt(variance)
    _, components = svd_flip(None, components, u_based_decision=False)
    missing = int(max(1, min(n_components, n_features))) - len(components)
    if missing > 0:
        open_axes = np.random.default_rng(seed).standard_normal((missing, n_features))
        basis, _ = np.linalg.qr(np.vstack([components, open_axes]).T)
        components = np.vstack([components, basis.T[len(components) :]])
        std = np.append(std, np.zeros(missing))
    return components.astype(table.dtype), std.astype(table.dtype)


def _first(n_components, variance, components):
    """Return the first axes: so many or, given a share of the variance, as many as PCA takes."""
    if n_components < 1:
        explained = np.cumsum(variance) / (variance.sum() or 1.0)
        n_components = 1 + np.searchsorted(explained[:-1], n_components, side="right")
    return variance[:n_components], components[:n_components]


def _axes_of_covariance(table, n_components):
    """Return variances and axes, the strongest first."""
    (covariance,) = table.total(lambda rows: (rows.T @ rows,))
    covariance /= table.n_rows - 1
    last = table.n_features - 1
    needed = None if n_components < 1 else [max(0, last + 1 - n_components), last]
    variance, axes = eigh(covariance, subset_by_index=needed)
    return _first(n_components, variance[::-1].clip(min=0), axes.T[::-1])


def _axes_of_rows(table, n_components, seed):
    """Return variances and axes from scikit-learn's PCA, the strongest first.

    Where a copy of the rows would be large, it sees a random subset, and its axes go through a few
    subspace iterations over all rows.
    """
    n_rows, n_features, is_share = table.n_rows, table.n_features, n_components < 1
    size = min(n_rows, max(_MAX_PCA_NUMBERS // n_features, 2 if is_share else 2 * n_components))
    chosen = np.random.default_rng(seed).choice(n_rows, size, replace=False)
    rows = table.collect(np.sort(chosen))
    pca = PCA(None if is_share else min(n_components, *rows.shape), copy=False, random_state=seed)
    with np.errstate(invalid="ignore"):  # shares of a variance that is zero
        pca.fit(rows)
    variance, components = _first(n_components, pca.explained_variance_, pca.components_)
    if size < n_rows:
        variance, components = _subspace_iterations(components, table)
    return variance, components


def _subspace_iterations(components, table):
    """Rotate orthonormal axes towards the principal ones of all rows; return variances and axes.

    Golub & Van Loan, Matrix Computations, section 8.2.4.
    """
    for _ in range(_SUBSPACE_ITERATIONS):
        # the product of the covariance and the axes
        (product,) = table.total(lambda rows, axes=components.T: (rows.T @ (rows @ axes),))
        product /= table.n_rows - 1
        variance, rotation = np.linalg.eigh(components @ product)
        # the strongest first, so that they stay it
        axes, _ = np.linalg.qr(product @ rotation[:, ::-1])
        components = axes.T.astype(components.dtype)
    return variance[::-1].clip(min=0), components
