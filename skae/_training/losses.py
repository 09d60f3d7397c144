"""What training minimises, and the errors of held-out rows by which it is judged.

An objective is a callable ``objective(params, batch, constants)`` that returns a scalar tensor. It
is compiled once for all objectives of the same class that compare equal, so that whatever differs
from fit to fit comes in as an argument: `constants` are a nest of arrays.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np
from sklearn.utils import gen_batches

from .._networks.network import decode, encode, forward
from .._networks.variational import negative_log_likelihoods, posterior
from .._runtime.tensorflow import import_tensorflow

# Entries of held-out rows are hidden in so many parts, to judge how they are filled: all of them,
# or the first ones of more numbers than this.
_PARTS, _MAX_JUDGED, _JUDGE_SEED = 5, 2**18, 17
# Number of rows of other workers for which random numbers are drawn at a time.
_MOST_DRAWN = 2**12


def _rng_of_share(table, draw):
    """Return the generator that draws for the rows of a table that this worker reads.

    It has made the draws for the rows before them, which other workers read, so that all rows get
    the same numbers, however many workers there are. ``draw(rng, n_rows)`` draws for some rows.
    """
    rng = np.random.default_rng(_JUDGE_SEED)
    for rows in gen_batches(table.share.start, _MOST_DRAWN) if table.share.start else ():
        draw(rng, rows.stop - rows.start)
    return rng


def _finite_bounds(network):
    return tuple(np.nan_to_num(network.standardised_bounds(np.float32))[:, None])


@dataclass(frozen=True)
class Reconstruction:
    """Mean squared error of the clipped reconstruction, in units of scale².

    Attributes
    ----------
    activations : tuple of str
        Hidden, code and output activation of the network.
    least : float
        The least that errors can be; a start that is there is exact.
    n_draws : int
        Random numbers that a row of a batch takes.
    min_steps : int
        How many gradient steps a short table takes, if nobody says.
    """

    activations: tuple
    least: ClassVar[float] = 0.0
    n_draws: ClassVar[int] = 0
    min_steps: ClassVar[int] = 600

    def constants(self, network):
        """Return the bounds of standardised rows, finite: `tf.debugging` complains of others.

        Of shape (1, n_features), so that those of several networks can be stacked.
        """
        return _finite_bounds(network)

    def __call__(self, params, batch, constants):
        """Return the weighted mean over the rows of a batch; of each, if networks are stacked."""
        return self.loss(params, self.codes(params, batch), batch, constants)

    def codes(self, params, batch):
        """Return the codes of a batch."""
        tf = import_tensorflow(eagerly=False)

        return encode(params, batch.inputs, self.activations, ops=tf)

    def loss(self, params, codes, batch, constants):
        """Return the loss of the rows that codes give."""
        tf = import_tensorflow(eagerly=False)

        rows = decode(params, codes, constants, self.activations, ops=tf)
        errors, weights = tf.square(rows - batch.targets), batch.weights
        if len(weights.shape) == len(errors.shape):  # of each entry
            return tf.reduce_sum(tf.reduce_mean(weights * errors, axis=-1), axis=-1)
        return tf.reduce_sum(weights * tf.reduce_mean(errors, axis=-1), axis=-1)

    def unit(self, network, table):
        """Return what a loss of one is in the errors of rows: the data's variance."""
        return network.scale**2 * (table.n_features / table.n_averaged)

    def described(self, error, unit=None):
        """Say what an error is; with the unit, also as a share of the variance."""
        text = f"MSE {error:.4g}"
        return f"{text} (R² {1 - error / unit:.4f})" if unit else text

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

        def parts_of(rng, n_rows):
            return rng.integers(_PARTS, size=(n_rows, table.n_features))

        rng = _rng_of_share(table, parts_of)
        n_judged = max(1, min(_PARTS, _MAX_JUDGED // max(1, table.n_rows * table.n_features)))

        def errors(rows):
            part = np.where(np.isnan(rows), _PARTS, parts_of(rng, len(rows)))
            squares = [network.squared_errors(rows, part == i) for i in range(n_judged)]
            return np.column_stack([sum(squares), (part < n_judged).sum(axis=1)])

        squares, n_hidden = table.map(errors, network.width).reshape(-1, 2).T
        return squares * (network.scale**2 / max(1.0, n_hidden.sum() / max(1, len(squares))))


@dataclass(frozen=True)
class Supervised:
    """An objective, and the loss of a linear head that reads y from the code.

    Cross-entropy of classes, or squared error of numbers, averaged over what is labelled.

    Attributes
    ----------
    reconstruction : Reconstruction
        The objective.
    weight : float
        Of the head's loss, divided by the share of y that is labelled.
    """

    reconstruction: Reconstruction
    weight: float = field(compare=False)
    least: ClassVar[float] = Reconstruction.least
    n_draws: ClassVar[int] = Reconstruction.n_draws
    min_steps: ClassVar[int] = Reconstruction.min_steps

    def unit(self, network, table):
        """Return the unit of the objective."""
        return self.reconstruction.unit(network, table)

    def described(self, error, unit=None):
        """Say what an error is, as the objective does."""
        return self.reconstruction.described(error, unit)

    def constants(self, network):
        """Return those of the objective, and the weight."""
        return self.reconstruction.constants(network), np.float32(self.weight).reshape(1)

    def __call__(self, params, batch, constants):
        """Return the weighted sum of the two losses."""
        tf = import_tensorflow(eagerly=False)

        constants, weight = constants
        codes = self.reconstruction.codes(params, batch)
        loss = self.reconstruction.loss(params, codes, batch, constants)
        outputs, weights = forward(params["head"], codes, "identity", "identity", tf), batch.weights
        if len(weights.shape) == len(outputs.shape):  # of each entry: on average the row's
            weights = tf.reduce_mean(weights, axis=-1)
        errors = head_errors(outputs, batch.y)
        return loss + weight[..., 0] * tf.reduce_sum(weights * errors, axis=-1)

    def row_errors(self, network, table):
        """Return the sum of both for each row of a table, in the units of X, squared."""
        errors = self.reconstruction.row_errors(network, table)
        if not table.n_rows:
            return errors
        head, y, n_done = network.params["head"], table.take_y()[table.share], 0

        def head_errors_of(rows):
            nonlocal n_done
            outputs = forward(head, network.encode(rows), "identity", "identity")
            own, n_done = y[n_done : n_done + len(rows)], n_done + len(rows)
            return head_errors(outputs.astype(np.float32), own).numpy()

        # blocks are smaller where the head has many outputs
        of_head = table.map(head_errors_of, network.width, head["intercepts"][0].shape[-1])
        return errors + self.weight * network.scale**2 * of_head.astype(np.float64)


def head_errors(outputs, y):
    """Loss of each row's y, given what a head says of it; zero where there is none."""
    tf = import_tensorflow(eagerly=False)

    if len(y.shape) < len(outputs.shape):  # classes
        seen = tf.cast(y >= 0, outputs.dtype)
        labels = tf.maximum(y, 0)
        return seen * tf.nn.sparse_softmax_cross_entropy_with_logits(labels, outputs)
    seen = tf.math.is_finite(y)
    residual = tf.where(seen, outputs, 0) - tf.where(seen, y, 0)
    return tf.reduce_mean(tf.square(residual), axis=-1)


@dataclass(frozen=True)
class Elbo:
    """The negated evidence lower bound, in nats (Kingma & Welling, ICLR 2014, equation 10).

    Its batches carry a draw of the code of each row.

    Attributes
    ----------
    activations : tuple of str
        Hidden, code and output activation of the network.
    n_draws : int
        Size of the code.
    contamination : float
        Share of the rows of each batch, those with the highest losses, that do not count, rounded
        up.
    beta : float
        Weight of the divergence of the posterior from the prior.
    """

    activations: tuple
    n_draws: int
    contamination: float = 0.0
    beta: float = field(default=1.0, compare=False)
    least: ClassVar[float] = -np.inf
    min_steps: ClassVar[int] = 1200

    def unit(self, _, table):
        """Return what a loss of one is in the errors of rows: losses are per feature."""
        return table.n_features

    def described(self, error, unit=None):
        """Say what an error is."""
        return f"bound of the log-likelihood {-error:.4g}"

    def constants(self, network):
        """Return the bounds of standardised rows, the logarithm of the scale, and beta."""
        log_scale = np.float32(np.log(network.scale))
        return _finite_bounds(network), np.reshape(log_scale, 1), np.float32(self.beta).reshape(1)

    def __call__(self, params, batch, constants, factors=None):
        """Return the weighted mean over the rows of a batch; of each, if networks are stacked.

        `factors` are those of `row_factors`, where other replicas have other rows of the batch.
        """
        tf = import_tensorflow(eagerly=False)

        losses, weights = self.row_losses(params, batch, constants)
        if self.depends_on_all_rows:
            factors = self.row_factors(losses, weights) if factors is None else factors
            # so that an infinite loss that does not count is zero
            losses = factors * tf.where(factors > 0, losses, 0)
        return tf.reduce_sum(losses, axis=-1)

    @property
    def depends_on_all_rows(self):
        """Whether what a row counts depends on the losses of the other rows of the batch."""
        return self.contamination > 0

    def row_losses(self, params, batch, constants):
        """Return the weighted loss of each row of a batch, and its weight."""
        tf = import_tensorflow(eagerly=False)

        bounds, log_scale, beta = constants
        mean, log_variance = posterior(params, batch.inputs, self.activations[0], tf)
        codes = mean + tf.exp(log_variance / 2) * batch.draws
        parts = (codes, batch.targets, bounds, self.activations, tf)
        errors, weights = negative_log_likelihoods(params, *parts), batch.weights
        divergence = tf.square(mean) + tf.exp(log_variance) - 1 - log_variance
        divergence = tf.reduce_sum(divergence, axis=-1) / (2 * errors.shape[-1])
        if len(weights.shape) == len(errors.shape):  # of each entry: on average the row's
            errors, weights = weights * errors, tf.reduce_mean(weights, axis=-1)
        else:
            errors = weights[..., None] * errors
        losses = tf.reduce_mean(errors, axis=-1) + weights * (beta * divergence + log_scale)
        return losses, weights

    def row_factors(self, losses, weights):
        """Return the factor of each row's loss, given the losses and the weights of all rows.

        It is zero for the rows with the highest losses: the share `contamination` of the rows with
        a weight, rounded up, but not all of them. The other rows get the weight of all of them.
        """
        tf = import_tensorflow(eagerly=False)

        n_real = tf.reduce_sum(tf.cast(weights > 0, tf.float64), axis=-1, keepdims=True)
        n_trimmed = tf.math.ceil(tf.round(1e6 * self.contamination * n_real) / 1e6)
        n_trimmed = tf.cast(tf.minimum(n_trimmed, n_real - 1), tf.int32)
        each = tf.where(weights > 0, tf.stop_gradient(losses) / weights, losses.dtype.min)
        order = tf.argsort(each, direction="DESCENDING", stable=True)
        kept = tf.where(tf.argsort(order) >= n_trimmed, weights, 0)
        share = tf.reduce_sum(kept, axis=-1, keepdims=True)
        return tf.cast(kept > 0, losses.dtype) / tf.maximum(share, 1e-6)

    def row_errors(self, network, table):
        """Return the negated bound of each row's log-likelihood, in the units of X.

        Those of outliers count as that of the least likely other row.
        """

        def draws_of(rng, n_rows):
            return rng.standard_normal((n_rows, self.n_draws))

        def errors(rows):
            return -network.log_weights(rows, draws_of(rng, len(rows)), self.beta)

        rng = _rng_of_share(table, draws_of)

        found = table.map(errors, network.width)
        if not (self.contamination and len(found)):
            return found
        return np.minimum(found, np.quantile(found, 1 - self.contamination, method="lower"))


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
        tf = import_tensorflow(eagerly=False)

        tables, constants = constants
        # of several networks, each has its own
        n_stacked = len(batch.targets.shape) - 1
        rows = [tf.gather(table, batch.targets, batch_dims=n_stacked, axis=-2) for table in tables]
        batch = batch._replace(inputs=rows[0], targets=rows[-1])
        return self.objective(params, batch, constants)
