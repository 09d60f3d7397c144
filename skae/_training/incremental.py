"""A stream as data: what `partial_fit` knows of the rows before, and what a batch makes of it."""

from typing import Any, NamedTuple

import numpy as np

from .._networks.whitening import code_sums, moments

# Where an estimator keeps the first fields of a stream.
_ATTRIBUTES = ("n_samples_seen_", "n_steps_", "n_iter_", "mean_", "loss_curve_")
_ATTRIBUTES += ("validation_curve_", "_n_observed_", "_kept_rows_")
# The start of a stream is determined by this number of distinct rows for each dimension of the
# code and for the mean, if all columns vary; by fewer if the rows are a whole batch.
_ROWS_PER_DIMENSION, _ROWS_OF_A_BATCH_PER_DIMENSION = 8, 2


class Stream(NamedTuple):
    """All rows so far, and the state of training.

    Attributes
    ----------
    n_samples, n_steps, n_batches : int
        Rows seen, gradient steps made, and calls of fit and partial_fit.
    mean : ndarray of shape (n_features,)
        Mean of the observed values of each column.
    losses, curve : ndarray
        As `loss_curve_` and `validation_curve_`.
    n_observed : ndarray of shape (n_features,)
        Number of the observed values of each column.
    kept : ndarray of shape (n_kept, n_features) or None
        Rows with which training starts again at the next call; see `rows_to_keep`.
    step : int
        Steps of the optimiser. Its moments are new after `fit`, so that they count anew from there,
        and the learning rate climbs again.
    params : dict or None
        Float32 params in the units of training; None where the fitted network gives them.
    moments : dict or None
        The optimiser's m and v.
    code_sums : tuple
        Number of encoded rows, sum of their codes, each as encoded in its time, and sum of their
        outer products.
    code : tuple of ndarray or None
        The map from the code of `params` to the canonical one, and its inverse.
    """

    n_samples: int = 0
    n_steps: int = 0
    n_batches: int = 0
    mean: Any = 0.0
    losses: np.ndarray = np.empty(0)
    curve: np.ndarray = np.empty((0, 2))
    n_observed: Any = 0.0
    kept: np.ndarray | None = None
    step: int = 0
    params: dict | None = None
    moments: dict | None = None
    code_sums: tuple = (0, 0.0, 0.0)
    code: tuple | None = None

    @classmethod
    def of(cls, estimator):
        """Return the stream up to now of an estimator, fitted or not."""
        if not hasattr(estimator, "encoder_"):
            return cls()
        state = getattr(estimator, "_stream_", None)
        if state is None:
            # the code of fit has unit variance, and this is what it has in the units of training
            norms = estimator._network.rescaled(estimator.scale_).direction_norms()
            n_rows = estimator.n_samples_seen_
            cross = (n_rows - 1) * np.diag(norms**-2)
            code = np.diag(norms), np.diag(1 / norms)
            state = {"code_sums": (n_rows, 0.0, cross), "code": code}
        return cls(*(getattr(estimator, name) for name in _ATTRIBUTES), **state)

    def attributes(self):
        """Return the attributes of an estimator that holds this stream."""
        n_attributes = len(_ATTRIBUTES)
        return dict(zip(_ATTRIBUTES, self, strict=False)) | {
            "best_step_": self.n_steps,
            "_stream_": dict(zip(self._fields[n_attributes:], self[n_attributes:], strict=True)),
        }

    def restarted(self):
        """Return the stream before any training; it still counts all rows and calls."""
        counts = ("n_samples", "n_batches", "mean", "n_observed", "kept")
        return Stream(**{name: getattr(self, name) for name in counts})

    def resumed(self, network):
        """Return a network with the params of training so far, if there are any."""
        return network if self.params is None else network._replace(params=self.params)

    def state(self, network, plan):
        """Return the state of training, which goes on from the moments so far."""
        n_kept = 0 if self.kept is None else len(self.kept)
        state = plan.initial_state(network.params, self.n_samples - n_kept)
        if self.moments is None:
            return state
        optimizer_state = state.optimizer_state | self.moments
        return state._replace(optimizer_state=optimizer_state, step=self.step)

    def after(self, run, error, table, new, whiten, kept=None):
        """Return the network and the stream after a run over a batch.

        Parameters
        ----------
        run : Run
            Over the batch.
        error : float
            Mean squared error of the batch before it.
        table : Table
            The rows of the batch, and before them those that were kept.
        new : Table
            The rows of the batch.
        whiten : bool
            Whether to give the code its canonical form.
        kept : ndarray, optional
            The rows to keep for the next call.
        """
        state = run.state and run.state.optimizer_state
        mean, n_new = new.mean_and_count()
        n_observed = n_new + self.n_observed
        gain = (mean - self.mean) * (n_new / np.maximum(n_observed, 1))
        stream = self._replace(
            n_samples=self.n_samples + new.n_rows,
            n_steps=self.n_steps + len(run.losses),
            n_batches=self.n_batches + 1,
            mean=self.mean + gain,
            n_observed=n_observed,
            losses=np.concatenate([self.losses, run.losses]),
            curve=np.vstack([self.curve, [[self.n_steps, error]]]),
            step=self.step + len(run.losses),
            params=run.network.params,
            moments={"m": state["m"], "v": state["v"]} if state else self.moments,
            kept=kept,
        )
        network = run.network.astype(table.dtype)
        if whiten:
            stream = stream._with_codes_of(network, table)
            mean, _ = moments(*stream.code_sums)
            network = network.recode(*stream.code, mean)
        return table.workers.broadcast_object((network, stream))

    def _with_codes_of(self, network, table):
        """Return the stream with the codes of a batch, and the map that makes all codes white."""
        both = zip(self.code_sums, (table.n_rows, *code_sums(network, table)), strict=True)
        sums = tuple(before + new for before, new in both)
        _, covariance = moments(*sums)
        if self.code is None:
            code = network.whitening(covariance)
        else:  # codes of different times should mean the same: rotate them as little as possible
            to_code, from_code = self.code
            change, back = network.whitening(to_code.T @ covariance @ to_code, canonical=False)
            code = to_code @ change, back @ from_code
        return self._replace(code_sums=sums, code=code)


def rows_to_keep(table, n_components, batch_size):
    """Return the rows of a table from which a stream must start again, or None.

    As long as the distinct rows of a stream are few, they do not determine the scale, the bounds,
    PCA and the noise at which training starts. Nor do a few rows in which a column is constant. A
    row with missing values counts in part.

    Parameters
    ----------
    table : Table
        All rows that training has started from.
    n_components : int
        Size of the code.
    batch_size : int
        From this number of rows on, fewer distinct rows determine the start, and columns may be
        constant.

    Returns
    -------
    rows : ndarray of shape (n_kept, n_features) or None
        All rows if they are fewer than `batch_size`; else the distinct rows that have a value, at
        most `batch_size` of them.
    """
    distinct = _distinct_rows(table, batch_size)
    n_observed = np.isfinite(distinct).sum() / table.n_features
    if table.n_rows >= batch_size:
        is_enough = n_observed >= _ROWS_OF_A_BATCH_PER_DIMENSION * (n_components + 1)
        return None if is_enough else distinct
    least, most = table.extremes()
    is_enough = n_observed >= _ROWS_PER_DIMENSION * (n_components + 1)
    return None if is_enough and (most > least).all() else np.array(table.collect(slice(None)))


def _distinct_rows(table, n_most):
    """Return distinct rows that have a value, of all workers, at most `n_most` of them."""

    def add(rows):
        for row in rows[~np.isnan(rows).all(axis=1)] + 0.0:  # which makes a negative zero positive
            if len(found) == n_most:
                return
            found.setdefault(row.tobytes(), row)

    found: dict[bytes, np.ndarray] = {}
    for block in table.blocks():
        add(block)
        if len(found) == n_most:
            break
    parts, found = table.workers.all_gather_object(list(found.values())), {}
    for rows in filter(None, parts):
        add(np.array(rows))
    return np.array(list(found.values()), table.dtype).reshape(len(found), table.n_features)


def equal_row(table):
    """Return the row that all rows of a table are equal to, of shape (1, n_features), or None."""
    if not table.is_incomplete:  # two rows that differ end the search
        distinct = _distinct_rows(table, 2)
        return distinct if len(distinct) == 1 else None
    least, most = table.extremes()
    return None if (most > least).any() else most[None].astype(table.dtype)
