"""Loss functions and validation errors.

All objectives of the same class that compare equal share one compiled function. Values that differ
between fits are therefore passed in the argument `constants`, a nest of arrays.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import gen_batches

from .._data.batches import Batch
from .._data.rows import drawn_in_groups
from .._data.table import Table
from .._data.weights import quantile
from .._networks.forward import Activations, Params, decode, encode, forward
from .._networks.network import Autoencoder
from .._networks.variational import Likelihood, Variational, negative_log_likelihoods, posterior
from .._runtime.tensorflow import import_tensorflow

# The validation error of an imputer is the error of hidden entries: the observed entries are
# divided at random into _N_PARTS parts, and one part is hidden at a time. Each part needs a pass
# over the table. There are at most _MAX_HIDDEN_ENTRIES entries in all passes, but at least one
# pass. _VALIDATION_SEED is the seed of the parts and of the draws of `Elbo.row_errors`.
_N_PARTS, _MAX_HIDDEN_ENTRIES, _VALIDATION_SEED = 5, 2**18, 17
# Number of rows for which random numbers are drawn at a time to skip the rows of other workers.
_MAX_DRAWN = 2**12


class Objective(Protocol):
    """Loss function and validation error of a run; hashable."""

    @property
    def least(self) -> float:
        """Lower bound of the error. An initial network whose error reaches it is exact."""

    @property
    def n_draws(self) -> int:
        """Number of random numbers for each row of a batch."""

    @property
    def min_steps(self) -> int:
        """Minimum number of gradient steps with ``max_iter="auto"``."""

    def constants(self, network: Autoencoder) -> Any:
        """Return the constants of the loss function, a nest of arrays, for an initial network."""

    def __call__(self, params: Params, batch: Batch, constants: Any) -> Any:
        """Return the loss of a batch: a scalar tensor, or one value for each stacked network."""

    def loss_scale(self, network: Autoencoder, table: Table) -> float:
        """Return the factor from the loss to row errors."""

    def format_error(self, error: float, unit: float | None = None) -> str:
        """Return a text with an error; `unit` is the result of `loss_scale`."""

    def row_errors(self, network: Autoencoder, table: Table) -> NDArray[np.float64]:
        """Return the error of each row of a table, in the squared units of X or in nats."""


def _rng_of_share(
    table: Table, draw: Callable[[np.random.Generator, int], NDArray[Any]]
) -> np.random.Generator:
    """Return the generator of random numbers for the rows of a table that this worker reads.

    It has already drawn the numbers of the rows before them, which other workers read. Each row
    therefore gets the same numbers for any number of workers. ``draw(rng, n_rows)`` draws the
    numbers of `n_rows` rows.
    """
    rng = np.random.default_rng(_VALIDATION_SEED)
    for rows in gen_batches(table.share.start, _MAX_DRAWN) if table.share.start else ():
        draw(rng, rows.stop - rows.start)
    return rng


def _finite_bounds(network: Autoencoder) -> tuple[NDArray[Any], NDArray[Any]]:
    low, high = np.nan_to_num(network.standardised_bounds(np.float32))[:, None]
    return low, high


def mean_error(errors: NDArray[np.float64], table: Table) -> float:
    """Return the weighted mean of the errors of the rows of a table; NaN without rows."""
    if not len(errors):
        return np.nan
    return float(np.average(errors, weights=table.take_weights()))


def _has_entry_weights(batch: Batch) -> bool:
    """Whether each entry of a batch has a weight, and not each row."""
    return len(batch.weights.shape) == len(batch.targets.shape)


def _entry_weights(batch: Batch) -> Any:
    """Return the weights of entries; their last axis has length one if each row has a weight."""
    return batch.weights if _has_entry_weights(batch) else batch.weights[..., None]


@dataclass(frozen=True)
class Reconstruction:
    """Mean squared error of the clipped reconstruction, in units of scale².

    Attributes
    ----------
    activations : tuple of str
        Hidden, code and output activation of the network.
    """

    activations: Activations
    least: ClassVar[float] = 0.0
    n_draws: ClassVar[int] = 0
    min_steps: ClassVar[int] = 600

    def constants(self, network: Autoencoder) -> Any:
        """Return the lower and upper bounds of standardised rows, each of shape (1, n_features).

        They are finite, because `tf.debugging` rejects infinite values. The first axis allows the
        bounds of several networks to be stacked.
        """
        return _finite_bounds(network)

    def __call__(self, params: Params, batch: Batch, constants: Any) -> Any:
        """Return the weighted mean over the rows of a batch; one for each stacked network."""
        return self.loss(params, self.codes(params, batch), batch, constants)

    def codes(self, params: Params, batch: Batch) -> Any:
        """Return the codes of a batch."""
        tf = import_tensorflow(eagerly=False)

        return encode(params, batch.inputs, self.activations, ops=tf)

    def loss(self, params: Params, codes: Any, batch: Batch, constants: Any) -> Any:
        """Return the loss of the rows that are decoded from codes."""
        tf = import_tensorflow(eagerly=False)

        rows = decode(params, codes, constants, self.activations, ops=tf)
        errors = tf.square(rows - batch.targets)
        if _has_entry_weights(batch):
            losses = tf.reduce_mean(batch.weights * errors, axis=-1)
        else:
            losses = batch.weights * tf.reduce_mean(errors, axis=-1)
        return tf.reduce_sum(losses, axis=-1)

    def loss_scale(self, network: Autoencoder, table: Table) -> float:
        """Return the factor from the loss to row errors: the variance of the data."""
        return network.scale**2 * (table.n_features / table.n_features_in_loss)

    def format_error(self, error: float, unit: float | None = None) -> str:
        """Return a text with an error; with `unit`, the text includes R²."""
        text = f"MSE {error:.4g}"
        return f"{text} (R² {1 - error / unit:.4f})" if unit else text

    def row_errors(self, network: Autoencoder, table: Table) -> NDArray[np.float64]:
        """Return the mean squared error of each row of a table, in the squared units of X."""
        errors: NDArray[np.float64] = table.map(network.squared_errors, network.width)
        return errors * (network.scale**2 / table.n_features_in_loss)


class Imputation(Reconstruction):
    """Mean squared error, with a validation error that is computed on hidden entries."""

    def row_errors(self, network: Autoencoder, table: Table) -> NDArray[np.float64]:
        """Return the squared error of the hidden entries of each row, in the squared units of X.

        One fifth of the observed entries is hidden at a time, and all fifths in turn if the table
        is small; the fifths are the same at each call. The sum of each row is divided by the mean
        number of hidden entries per row, so that rows with more observed values have more weight in
        the mean.
        """

        def parts_of(rng: np.random.Generator, n_rows: int) -> NDArray[Any]:
            shape = (n_rows, table.n_features)
            return drawn_in_groups(partial(rng.integers, 0, _N_PARTS), shape, table.groups)

        rng = _rng_of_share(table, parts_of)
        n_hidden_parts = max(
            1, min(_N_PARTS, _MAX_HIDDEN_ENTRIES // max(1, table.n_rows * table.n_features))
        )

        def errors(rows: NDArray[Any]) -> NDArray[np.float64]:
            part = np.where(np.isnan(rows), _N_PARTS, parts_of(rng, len(rows)))
            squares = [network.squared_errors(rows, part == i) for i in range(n_hidden_parts)]
            return np.column_stack([sum(squares), (part < n_hidden_parts).sum(axis=1)])

        found: NDArray[np.float64] = table.map(errors, network.width).reshape(-1, 2)
        n_hidden = np.average(found[:, 1], weights=table.take_weights()) if len(found) else 1.0
        return found[:, 0] * (network.scale**2 / max(1.0, n_hidden))


@dataclass(frozen=True)
class Supervised:
    """Sum of a reconstruction loss and the weighted loss of a linear head that predicts y.

    The input of the head is the code. Its loss is the cross-entropy of classes or the squared error
    of numbers, averaged over the labelled values.

    Attributes
    ----------
    reconstruction : Reconstruction
        The reconstruction loss.
    weight : float
        Weight of the head's loss, divided by the fraction of y that is labelled.
    """

    reconstruction: Reconstruction
    weight: float = field(compare=False)
    least: ClassVar[float] = Reconstruction.least
    n_draws: ClassVar[int] = Reconstruction.n_draws
    min_steps: ClassVar[int] = Reconstruction.min_steps

    def loss_scale(self, network: Autoencoder, table: Table) -> float:
        """Return the factor from the loss to row errors; see `Reconstruction.loss_scale`."""
        return self.reconstruction.loss_scale(network, table)

    def format_error(self, error: float, unit: float | None = None) -> str:
        """Return a text with an error; see `Reconstruction.format_error`."""
        return self.reconstruction.format_error(error, unit)

    def constants(self, network: Autoencoder) -> Any:
        """Return the constants of the reconstruction loss, and the weight."""
        return self.reconstruction.constants(network), np.float32(self.weight).reshape(1)

    def __call__(self, params: Params, batch: Batch, constants: Any) -> Any:
        """Return the weighted sum of the two losses."""
        tf = import_tensorflow(eagerly=False)

        constants, weight = constants
        codes = self.reconstruction.codes(params, batch)
        loss = self.reconstruction.loss(params, codes, batch, constants)
        errors = head_errors(forward(params["head"], codes, "identity", "identity", tf), batch.y)
        weights = tf.reduce_mean(_entry_weights(batch), axis=-1)
        return loss + weight[..., 0] * tf.reduce_sum(weights * errors, axis=-1)

    def row_errors(self, network: Autoencoder, table: Table) -> NDArray[np.float64]:
        """Return the sum of both losses for each row of a table, in the squared units of X."""
        errors = self.reconstruction.row_errors(network, table)
        if not table.n_rows:
            return errors
        head, y, n_done = network.params["head"], table.take_y()[table.share], 0

        def head_errors_of(rows: NDArray[Any]) -> NDArray[Any]:
            nonlocal n_done
            outputs = forward(head, network.encode(rows), "identity", "identity")
            own, n_done = y[n_done : n_done + len(rows)], n_done + len(rows)
            losses: NDArray[Any] = head_errors(outputs.astype(np.float32), own).numpy()
            return losses

        # the number of outputs of the head limits the size of a block
        of_head = table.map(head_errors_of, network.width, head["intercepts"][0].shape[-1])
        return errors + self.weight * network.scale**2 * of_head.astype(np.float64)


def head_errors(outputs: Any, y: Any) -> Any:
    """Return the loss of each row, given the outputs of the head; zero if y has no label."""
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
    """Negated evidence lower bound in nats (Kingma & Welling, ICLR 2014, equation 10).

    Each batch contains one standard normal draw of the code for each row. The loss is per feature.

    Attributes
    ----------
    activations : tuple of str
        Hidden, code and output activation of the network.
    n_draws : int
        Number of components of the code.
    contamination : float
        Fraction of the rows of each batch that are left out, rounded up: the rows with the highest
        losses, irrespective of their weights.
    beta : float
        Weight of the divergence of the posterior from the prior.
    categories : tuple of (int, int)
        First and last encoded column, exclusive, of each column of categories.
    """

    activations: Activations
    n_draws: int
    contamination: float = 0.0
    beta: float = field(default=1.0, compare=False)
    categories: tuple[tuple[int, int], ...] = ()
    least: ClassVar[float] = -np.inf
    min_steps: ClassVar[int] = 1200

    def loss_scale(self, network: Autoencoder, table: Table) -> float:
        """Return the factor from the loss, which is per feature, to row errors."""
        return table.n_features

    def format_error(self, error: float, unit: float | None = None) -> str:
        """Return a text with the lower bound; `unit` is not used."""
        return f"bound of the log-likelihood {-error:.4g}"

    def constants(self, network: Autoencoder) -> Any:
        """Return the constants of the likelihood, the mean logarithm of the units, and beta."""
        assert isinstance(network, Variational)
        constants = [np.nan_to_num(each)[None] for each in network.constants(np.float32)]
        log_unit = np.float32(network.log_units.mean()).reshape(1)
        return constants, log_unit, np.float32(self.beta).reshape(1)

    def __call__(self, params: Params, batch: Batch, constants: Any, factors: Any = None) -> Any:
        """Return the weighted mean over the rows of a batch; one for each stacked network.

        `factors` is the result of `row_factors` for these rows, if other replicas have other rows
        of the batch. Otherwise it is computed here.
        """
        tf = import_tensorflow(eagerly=False)

        losses, weights = self.row_losses(params, batch, constants)
        if self.depends_on_all_rows:
            factors = self.row_factors(losses, weights) if factors is None else factors
            # set the losses of left-out rows to zero, because zero times infinity is NaN
            losses = factors * tf.where(factors > 0, losses, 0)
        return tf.reduce_sum(losses, axis=-1)

    @property
    def depends_on_all_rows(self) -> bool:
        """Whether the weight of a row depends on the losses of the other rows of the batch."""
        return self.contamination > 0

    def row_losses(self, params: Params, batch: Batch, constants: Any) -> tuple[Any, Any]:
        """Return the weighted loss of each row of a batch, and its weight."""
        tf = import_tensorflow(eagerly=False)

        of_likelihood, log_unit, beta = constants
        mean, log_variance = posterior(params, batch.inputs, self.activations[0], tf)
        codes = mean + tf.exp(log_variance / 2) * batch.draws
        kind = Likelihood.from_parts(self.activations, self.categories)
        parts = (codes, batch.targets, of_likelihood, kind, tf)
        errors, weights = negative_log_likelihoods(params, *parts), batch.weights
        divergence = tf.square(mean) + tf.exp(log_variance) - 1 - log_variance
        divergence = tf.reduce_sum(divergence, axis=-1) / (2 * errors.shape[-1])
        if _has_entry_weights(batch):  # average them over the row
            errors, weights = weights * errors, tf.reduce_mean(weights, axis=-1)
        else:
            errors = weights[..., None] * errors
        losses = tf.reduce_mean(errors, axis=-1) + weights * (beta * divergence + log_unit)
        return losses, weights

    def row_factors(self, losses: Any, weights: Any) -> Any:
        """Return the factor of each row's loss, given the losses and the weights of all rows.

        The factor is zero for the rows with the highest losses. Their number is the fraction
        `contamination` of the rows with positive weight, rounded up, but at least one row is kept.
        The factors of the kept rows are larger than one, so that their total weight stays one.
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

    def row_errors(self, network: Autoencoder, table: Table) -> NDArray[np.float64]:
        """Return the negated lower bound of each row's log-likelihood, in the units of X.

        With `contamination`, the errors of that fraction of the rows with the highest errors are
        replaced by the highest error of the other rows.
        """
        assert isinstance(network, Variational)

        def draws_of(rng: np.random.Generator, n_rows: int) -> NDArray[Any]:
            return rng.standard_normal((n_rows, self.n_draws))

        def errors(rows: NDArray[Any]) -> NDArray[np.float64]:
            return -network.log_weights(rows, draws_of(rng, len(rows)), self.beta)

        rng = _rng_of_share(table, draws_of)

        found: NDArray[np.float64] = table.map(errors, network.width)
        if not (self.contamination and len(found)):
            return found
        weights = table.take_weights()
        most = quantile(found, 1 - self.contamination, weights, method="lower")
        return found.clip(max=most)


@dataclass(frozen=True)
class OnDeviceLoss:
    """Objective for a table that is held in the TensorFlow runtime.

    Its batches contain row indices, and the compiled step gathers the rows. Its constants are a
    tuple of arrays and the constants of the inner objective. The tuple contains the inputs and the
    targets of all rows, or one array if both are the same.

    Attributes
    ----------
    objective : Objective
        Inner objective, which is called with the gathered rows.
    """

    objective: Objective

    def __call__(self, params: Params, batch: Batch, constants: Any) -> Any:
        """Return the objective of a batch whose inputs and targets are row indices."""
        tf = import_tensorflow(eagerly=False)

        tables, constants = constants
        # each of several stacked networks has its own table and indices
        n_stacked = len(batch.targets.shape) - 1
        rows = [tf.gather(table, batch.targets, batch_dims=n_stacked, axis=-2) for table in tables]
        batch = batch._replace(inputs=rows[0], targets=rows[-1])
        return self.objective(params, batch, constants)
