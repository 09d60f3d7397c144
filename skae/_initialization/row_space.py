"""Row space of a wide table, in which its network is trained."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.utils import gen_batches
from sklearn.utils.extmath import safe_sparse_dot, svd_flip

from .._data.table import Table
from .._networks.network import Autoencoder
from .architecture import Architecture
from .bounds import first_bounds, given_bounds
from .statistics import location_and_scale

# Up to this number of rows and of entries, the axes of the row space take less time than a few
# epochs of training.
_MAX_ROWS, _MAX_ENTRIES = 2000, 2**25
# If n_components exceeds the rank of the training rows, the extra axes are arbitrary. They may lie
# outside the row space only if its complement has at least this number of dimensions for each of
# them, so that they would explain less than 5 % of an error.
_MIN_FREE_DIMENSIONS = 20
# Up to this number of weights, a network with bounds is trained through its bounds, in all columns.
_MAX_BOUNDED_WEIGHTS = 2**21
# The axes are computed from the inner products of the rows if their variances are more than this
# fraction of the largest inner product; the error of an axis is then about 1e-8 at most.
_MIN_VARIANCE_RATIO = 1e-8


@dataclass(frozen=True, eq=False)
class RowSpace:
    """Affine subspace that contains the rows of a wide table.

    Attributes
    ----------
    axes : ndarray of shape (n_axes, n_features)
        Principal axes of the rows, which are orthonormal.
    coordinates : ndarray of shape (n_rows, n_axes)
        Coordinates of the rows.
    origin : ndarray of shape (n_features,)
        Mean of the rows.
    bounds, pca_bounds : ndarray of shape (2, n_features)
        Bounds of a trained network, and of PCA, which has no automatic bounds.
    trains_decoder : bool
        Whether the decoder is trained in the row space, too. It has no bounds there; the bounds are
        applied after training. Otherwise the decoder is trained in all columns.
    """

    axes: NDArray[Any]
    coordinates: NDArray[Any]
    origin: NDArray[Any]
    bounds: NDArray[Any]
    pca_bounds: NDArray[Any]
    trains_decoder: bool

    @classmethod
    def from_table(
        cls,
        table: Table,
        architecture: Architecture,
        n_training: int,
        *,
        has_other_rows: bool = False,
    ) -> "RowSpace | None":
        """Return the row space of a table, or None if the network is trained in all columns.

        If a table has fewer rows than columns, the row space has at most as many dimensions as
        there are rows. A network that starts at PCA and has no bounds computes the same in the row
        space as in all columns, at a cost that does not depend on the number of columns. With
        bounds, this holds for the encoder. A large network with bounds is trained without them, and
        they are applied afterwards. If there are `has_other_rows`, such as given validation rows,
        which may lie outside the row space, the decoder is trained in all columns.

        If the `n_training` training rows of a split span fewer axes than the code has components,
        the other axes are arbitrary. Within the row space they would be axes of the validation
        rows. They are therefore chosen outside the row space, and None is returned if its
        complement is too small. None is also returned if training in the row space would not be
        equivalent or would save no time.
        """
        n_free = architecture.n_components - (n_training - 1)
        if not _is_wide(table) or _MIN_FREE_DIMENSIONS * n_free > table.n_features - table.n_rows:
            return None
        if architecture.init != "pca" or architecture.is_imputer or architecture.likelihood:
            return None
        bounds = first_bounds(table, architecture)
        is_bounded = bool(np.isfinite(bounds).any())
        if (is_bounded and n_free > 0) or (has_other_rows and not is_bounded):
            return None
        origin, scale = location_and_scale(table)
        axes, coordinates = _principal_axes(table, origin, scale)
        is_small = architecture.n_weights(table.n_features) <= _MAX_BOUNDED_WEIGHTS
        space: RowSpace = table.workers.broadcast_object(
            cls(
                axes.astype(table.dtype, copy=False),
                (scale * coordinates).astype(table.dtype),
                origin.astype(table.dtype),
                bounds,
                given_bounds(architecture.bounds, table),
                trains_decoder=not (is_bounded and (is_small or has_other_rows)),
            )
        )
        return space

    def table(self, table: Table) -> Table:
        """Return the table of the coordinates of the rows, given the table of the rows."""
        y = None if table.y is None else table.take_y()
        table = replace(table, n_original_features=table.n_features, groups=None)
        return replace(table, X=self.coordinates, y=y, rows=None)

    def embed(self, network: Autoencoder, *, is_pca: bool = False) -> Autoencoder:
        """Return the network for rows in all columns, given a network for their coordinates."""
        bounds = self.pca_bounds if is_pca else self.bounds
        return replace(network.embedded(self.axes, self.origin), bounds=bounds)


def _is_wide(table: Table) -> bool:
    """Whether a table is complete, small, without weights, and no longer than wide."""
    # no worker has all rows of shards
    if table.is_incomplete or table.weights is not None or table.shards is not None:
        return False
    is_wide = 1 < table.n_rows <= min(_MAX_ROWS, table.n_features)
    return is_wide and table.n_rows * table.n_features <= _MAX_ENTRIES


def _principal_axes(
    table: Table, origin: NDArray[Any], scale: float
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the principal axes of standardised rows, and the coordinates of the rows.

    Both are computed from the inner products of the rows, so that a sparse table is not converted
    to a dense array. They are computed from dense rows if some variances are too small for that.
    """
    rows, mean, standardised = table.matrix(), origin / scale, table.standardised(origin, scale)
    is_sparse = issparse(rows)
    if is_sparse:
        rows = rows / scale
    else:
        rows = standardised.take(slice(None)).astype(np.float64, copy=False)
    inner = safe_sparse_dot(rows, rows.T, dense_output=True)
    largest = inner.diagonal().max()
    if is_sparse:  # centre the rows
        products = rows @ mean
        inner = inner - products[:, None] - products + mean @ mean
    squares, left = np.linalg.eigh(inner)
    # the smallest is zero, because the rows are centred
    squares, left = squares[:0:-1], left[:, :0:-1]
    if squares[-1] <= _MIN_VARIANCE_RATIO * max(squares[0], largest):
        dense = standardised.take(slice(None)) if is_sparse else rows.astype(table.dtype)
        return _axes_of_rows(dense)
    lengths = np.sqrt(squares)
    scaled = left / lengths
    axes = safe_sparse_dot(rows.T, scaled, dense_output=True).T
    # neither the centring nor the signs need a temporary array as large as the axes
    if is_sparse:
        totals = scaled.sum(axis=0)
        for columns in gen_batches(len(mean), 1000):
            axes[:, columns] -= np.outer(totals, mean[columns])
    # the signs of PCA, as from `svd_flip`: the entry of the largest magnitude is positive
    signs = np.where(axes.max(axis=1) < -axes.min(axis=1), -1, 1)
    axes *= signs[:, None]
    return axes, left * (signs * lengths)


def _axes_of_rows(rows: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the principal axes of centred rows, and the coordinates of the rows.

    A QR decomposition before the SVD makes it several times faster (Chan, ACM TOMS 8, 1982, section
    2). The last singular value is zero, because the rows are centred.
    """
    basis, triangle = np.linalg.qr(rows.T)
    axes = (basis @ np.linalg.svd(triangle)[0][:, :-1]).T
    _, axes = svd_flip(None, axes, u_based_decision=False)
    return axes, rows @ axes.T
