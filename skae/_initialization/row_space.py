"""The subspace of the rows, in which the network of a wide table is trained."""

from typing import NamedTuple

import numpy as np
from sklearn.utils.extmath import svd_flip

from .bounds import first_bounds
from .statistics import location_and_scale

# Up to here the axes of rows that are fewer than columns cost less than a few passes of training.
_MAX_SUBSPACE_ROWS, _MAX_SUBSPACE_NUMBERS = 2000, 2**25
# The axes of a code that the training rows leave open may lie outside the subspace if there is so
# many times the room for them: arbitrary ones would then catch less than a twentieth of an error.
_OPEN_AXES_ROOM = 20


class Subspace(NamedTuple):
    """The subspace in which the rows of a wide table lie.

    Attributes
    ----------
    axes : ndarray of shape (n_axes, n_features)
        Orthonormal: the rows' principal axes.
    origin : ndarray of shape (n_features,)
        Their mean.
    is_bounded : bool
        Whether the network has bounds, so that its decoder must be trained in all columns.
    """

    axes: np.ndarray
    origin: np.ndarray
    is_bounded: bool

    @classmethod
    def of(cls, table, architecture, n_training):
        """Return the subspace of a table, or None where training in it is not the same or no gain.

        Rows that are fewer than the columns span as many dimensions as there are rows. A network
        that starts at PCA and has no bounds does there what it does in all columns, at a cost that
        does not depend on their number. With bounds, its encoder does. If the training rows of a
        split, of which there are `n_training`, have fewer axes than the code, the others are
        arbitrary. In the subspace they would be those of the held-out rows, so they lie outside,
        where there is room.
        """
        if table.is_incomplete or architecture.is_imputer or architecture.likelihood:
            return None
        if table.shards is not None:  # no worker has all rows
            return None
        is_wide = 1 < table.n_rows <= min(_MAX_SUBSPACE_ROWS, table.n_features)
        is_small = table.n_rows * table.n_features <= _MAX_SUBSPACE_NUMBERS
        n_open = architecture.n_components - (n_training - 1)
        has_room = _OPEN_AXES_ROOM * n_open <= table.n_features - table.n_rows
        if not (is_wide and is_small and has_room and architecture.init == "pca"):
            return None
        is_bounded = bool(np.isfinite(first_bounds(table, architecture)).any())
        if is_bounded and n_open > 0:
            return None
        origin, scale = location_and_scale(table)
        # A QR decomposition first makes the singular vectors several times as cheap (Chan, ACM TOMS
        # 8, 1982, section 2). The last one is nothing, for the mean takes a dimension.
        basis, triangle = np.linalg.qr(table.standardised(origin, scale).take(slice(None)).T)
        axes = (basis @ np.linalg.svd(triangle)[0][:, :-1]).T
        _, axes = svd_flip(None, axes, u_based_decision=False)
        return table.workers.broadcast_object(cls(axes, origin.astype(table.dtype), is_bounded))

    def coordinates(self, table):
        """Return the table of the rows' coordinates."""
        X = table.alone().map(lambda rows: (rows - self.origin) @ self.axes.T, len(self.axes))
        return table._replace(X=X, n_embedding=table.n_features)

    def embed(self, network):
        """Return the network of rows, from that of their coordinates."""
        return network.embedded(self.axes, self.origin)
