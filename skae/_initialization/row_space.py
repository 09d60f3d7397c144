"""Row space of a wide table, in which its network is trained."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.extmath import svd_flip

from .._data.table import Table
from .._networks.network import Autoencoder
from .architecture import Architecture
from .bounds import first_bounds
from .statistics import location_and_scale

# Up to this number of rows and of entries, the axes of the row space take less time than a few
# epochs of training.
_MAX_ROWS, _MAX_ENTRIES = 2000, 2**25
# If n_components exceeds the rank of the training rows, the extra axes are arbitrary. They may lie
# outside the row space only if its complement has at least this number of dimensions for each of
# them, so that they would explain less than 5 % of an error.
_MIN_FREE_DIMENSIONS = 20


@dataclass(frozen=True, eq=False)
class RowSpace:
    """Affine subspace that contains the rows of a wide table.

    Attributes
    ----------
    axes : ndarray of shape (n_axes, n_features)
        Principal axes of the rows, which are orthonormal.
    origin : ndarray of shape (n_features,)
        Mean of the rows.
    is_bounded : bool
        Whether the network has bounds, so that its decoder must be trained in all columns.
    """

    axes: NDArray[Any]
    origin: NDArray[Any]
    is_bounded: bool

    @classmethod
    def from_table(
        cls, table: Table, architecture: Architecture, n_training: int
    ) -> "RowSpace | None":
        """Return the row space of a table, or None if the network is trained in all columns.

        If a table has fewer rows than columns, the row space has at most as many dimensions as
        there are rows. A network that starts at PCA and has no bounds computes the same in the row
        space as in all columns, at a cost that does not depend on the number of columns. With
        bounds, this holds for the encoder.

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
        is_bounded = bool(np.isfinite(first_bounds(table, architecture)).any())
        if is_bounded and n_free > 0:
            return None
        origin, scale = location_and_scale(table)
        # A QR decomposition before the SVD makes it several times faster (Chan, ACM TOMS 8, 1982,
        # section 2). The last singular value is zero, because the rows are centred.
        basis, triangle = np.linalg.qr(table.standardised(origin, scale).take(slice(None)).T)
        axes = (basis @ np.linalg.svd(triangle)[0][:, :-1]).T
        _, axes = svd_flip(None, axes, u_based_decision=False)
        space: RowSpace = table.workers.broadcast_object(
            cls(axes, origin.astype(table.dtype), is_bounded)
        )
        return space

    def coordinates(self, table: Table) -> Table:
        """Return the table of the coordinates of the rows in the row space."""
        X = table.local().map(lambda rows: (rows - self.origin) @ self.axes.T, len(self.axes))
        return replace(table, X=X, n_original_features=table.n_features)

    def embed(self, network: Autoencoder) -> Autoencoder:
        """Return the network for rows in all columns, given a network for their coordinates."""
        return network.embedded(self.axes, self.origin)


def _is_wide(table: Table) -> bool:
    """Whether a table is complete, small, and has at most as many rows as columns."""
    if table.is_incomplete or table.shards is not None:  # no worker has all rows of shards
        return False
    is_wide = 1 < table.n_rows <= min(_MAX_ROWS, table.n_features)
    return is_wide and table.n_rows * table.n_features <= _MAX_ENTRIES
