"""What training minimises, and the errors of held-out rows by which it is judged.

An objective is a callable ``objective(params, batch, constants)`` that returns a scalar tensor. It
is compiled once for all objectives that compare equal, so that whatever differs from fit to fit
comes in as an argument: `constants` are a nest of arrays.
"""

from typing import Any, NamedTuple

import numpy as np

from ._network import reconstruct

# Entries of held-out rows are hidden in so many parts, to judge how they are filled: all of them,
# or the first ones of more numbers than this.
_PARTS, _MAX_JUDGED, _JUDGE_SEED = 5, 2**18, 17


class Reconstruction(NamedTuple):
    """Mean squared error of the clipped reconstruction, in units of scale².

    Attributes
    ----------
    activations : tuple of str
        Hidden, code and output activation of the network.
    """

    activations: tuple

    def constants(self, network):
        """Return the bounds of standardised rows, finite: `tf.debugging` complains of others.

        Of shape (1, n_features), so that those of several networks can be stacked.
        """
        return tuple(np.nan_to_num(network.standardised_bounds(np.float32))[:, None])

    def __call__(self, params, batch, constants):
        """Return the weighted mean over the rows of a batch; of each, if networks are stacked."""
        import tensorflow as tf

        rows = reconstruct(params, batch.inputs, constants, self.activations, ops=tf)
        errors, weights = tf.square(rows - batch.targets), batch.weights
        if len(weights.shape) == len(errors.shape):  # of each entry
            return tf.reduce_sum(tf.reduce_mean(weights * errors, axis=-1), axis=-1)
        return tf.reduce_sum(weights * tf.reduce_mean(errors, axis=-1), axis=-1)

    def row_errors(self, network, table):
        """Mean squared error of each row of a table, in the units of X."""
        errors = table.map(network.squared_errors, network.width)
        return errors * (network.scale**2 / table.n_averaged)


class Imputation(Reconstruction):
    """The same, judged by entries of held-out rows that are hidden on purpose."""

    def row_errors(self, network, table):
        """Mean squared error of each row's hidden entries, in the units of X.

        A fifth is hidden at a time, the same each time that a table is judged. All are, one fifth
        after the other, if there are not many. A row in which more is seen counts more.
        """
        rng = np.random.default_rng(_JUDGE_SEED)
        n_judged = max(1, min(_PARTS, _MAX_JUDGED // max(1, table.n_rows * table.n_features)))

        def errors(rows):
            part = np.where(np.isnan(rows), _PARTS, rng.integers(_PARTS, size=rows.shape))
            squares = [network.squared_errors(rows, part == i) for i in range(n_judged)]
            return np.column_stack([sum(squares), (part < n_judged).sum(axis=1)])

        squares, n_hidden = table.map(errors, network.width).reshape(-1, 2).T
        return squares * (network.scale**2 / max(1.0, n_hidden.sum() / max(1, len(squares))))


class Resident(NamedTuple):
    """An objective over rows that are gathered in the compiled step, from a table in the runtime.

    Its constants are a tuple and the objective's own. In the tuple are the inputs and the targets
    of all rows, as one array if they are the same.

    Attributes
    ----------
    objective : callable
        Sees the rows.
    """

    objective: Any

    def __call__(self, params, batch, constants):
        """Return the objective of a batch whose inputs and targets are row indices."""
        import tensorflow as tf

        tables, constants = constants
        # of several networks, each has its own
        n_stacked = len(batch.targets.shape) - 1
        rows = [tf.gather(table, batch.targets, batch_dims=n_stacked, axis=-2) for table in tables]
        batch = batch._replace(inputs=rows[0], targets=rows[-1])
        return self.objective(params, batch, constants)
