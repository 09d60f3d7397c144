"""State that `partial_fit` keeps between calls."""

from typing import Any, NamedTuple

import numpy as np

from .._networks.whitening import code_sums, moments

# Attributes of an estimator that hold the first fields of its `Stream`, in order.
_ATTRIBUTES = ("n_samples_seen_", "n_steps_", "n_iter_", "mean_", "loss_curve_")
_ATTRIBUTES += ("validation_curve_", "_n_observed_", "_kept_rows_")
# Number of distinct rows that determine the initial network, for each component of the code and for
# the mean: the first number if all columns vary, the second one if there are at least `batch_size`
# rows.
_ROWS_PER_DIMENSION, _ROWS_OF_A_BATCH_PER_DIMENSION = 8, 2


class Stream(NamedTuple):
    """Statistics of all rows seen so far, and the state of training.

    Attributes
    ----------
    n_samples, n_steps, n_batches : int
        Number of rows, of gradient steps, and of calls of `fit` and `partial_fit`.
    mean : ndarray of shape (n_features,)
        Mean of the observed values of each column.
    losses, curve : ndarray
        Values of `loss_curve_` and `validation_curve_`.
    n_observed : ndarray of shape (n_features,)
        Number of observed values of each column.
    kept : ndarray of shape (n_kept, n_features) or None
        Rows with which training starts again at the next call; see `rows_to_keep`.
    step : int
        Number of optimiser steps. It is zero after `fit`: the first call of `partial_fit` then
        starts with new moments, and the learning rate increases from zero again.
    params : dict or None
        Float32 params in the units of training. None: use the params of the fitted network.
    moments : dict or None
        Moments "m" and "v" of the optimiser.
    code_sums : tuple
        Number of encoded rows, sum of their codes, and sum of the outer products of the codes. Each
        row was encoded by the network at the time of its call.
    code : tuple of ndarray or None
        Matrix that maps the code of `params` to the whitened code, and its inverse.
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
        """Return the stream of an estimator, which may be unfitted."""
        if not hasattr(estimator, "encoder_"):
            return cls()
        state = getattr(estimator, "_stream_", None)
        if state is None:
            # the whitened code of fit has unit variance: compute its sums in the units of training
            norms = estimator._network.rescaled(estimator.scale_).direction_norms()
            n_rows = estimator.n_samples_seen_
            cross = (n_rows - 1) * np.diag(norms**-2)
            code = np.diag(norms), np.diag(1 / norms)
            state = {"code_sums": (n_rows, 0.0, cross), "code": code}
        return cls(*(getattr(estimator, name) for name in _ATTRIBUTES), **state)

    def attributes(self):
        """Return the attributes of an estimator that store this stream."""
        n_attributes = len(_ATTRIBUTES)
        return dict(zip(_ATTRIBUTES, self, strict=False)) | {
            "best_step_": self.n_steps,
            "_stream_": dict(zip(self._fields[n_attributes:], self[n_attributes:], strict=True)),
        }

    def restarted(self):
        """Return the stream without the state of training; row and call counts are kept."""
        counts = ("n_samples", "n_batches", "mean", "n_observed", "kept")
        return Stream(**{name: getattr(self, name) for name in counts})

    def resumed(self, network):
        """Return a network with the params of this stream; the same network if it has none."""
        return network if self.params is None else network._replace(params=self.params)

    def state(self, network, plan):
        """Return the initial state of a run, with the optimiser moments of this stream."""
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
            The run over the batch.
        error : float
            Mean squared error of the batch before the run.
        table : Table
            The rows kept from earlier calls, followed by the rows of the batch.
        new : Table
            The rows of the batch.
        whiten : bool
            Whether to whiten the code.
        kept : ndarray, optional
            The rows to keep for the next call.

        Returns
        -------
        network : Autoencoder
            The trained network, in the float type of the table.
        stream : Stream
            The stream including the batch.
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
        """Return the stream with the codes of a batch added, and a new whitening of all codes."""
        both = zip(self.code_sums, (table.n_rows, *code_sums(network, table)), strict=True)
        sums = tuple(before + new for before, new in both)
        _, covariance = moments(*sums)
        if self.code is None:
            code = network.whitening(covariance)
        else:  # ZCA whitening rotates least, so that codes of successive calls stay comparable
            to_code, from_code = self.code
            change, back = network.whitening(to_code.T @ covariance @ to_code, canonical=False)
            code = to_code @ change, back @ from_code
        return self._replace(code_sums=sums, code=code)


def rows_to_keep(table, n_components, batch_size):
    """Return the rows with which a stream must start again at the next call, or None.

    A few distinct rows do not determine the scale, the bounds, the PCA and the noise variance of
    the initial network, and neither do a few rows with a constant column. A row with missing values
    counts as the fraction of its values that is observed.

    Parameters
    ----------
    table : Table
        All rows from which the initial network was computed.
    n_components : int
        Number of components of the code.
    batch_size : int
        From this number of rows on, fewer distinct rows are enough, and columns may be constant.

    Returns
    -------
    rows : ndarray of shape (n_kept, n_features) or None
        All rows if there are fewer than `batch_size`. Otherwise the distinct rows with at least one
        observed value, at most `batch_size` of them. None if the initial network is determined.
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
    """Return at most `n_most` distinct rows of all workers; rows without any value are left out."""

    def add(rows):
        for row in rows[~np.isnan(rows).all(axis=1)] + 0.0:  # adding zero makes -0.0 positive
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
    """Return the row of shape (1, n_features) to which all rows of a table are equal, or None."""
    if not table.is_incomplete:  # the search stops at the second distinct row
        distinct = _distinct_rows(table, 2)
        return distinct if len(distinct) == 1 else None
    least, most = table.extremes()
    return None if (most > least).any() else most[None].astype(table.dtype)
