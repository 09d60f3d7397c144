"""A stream as data: what `partial_fit` knows of the rows before, and what a batch makes of it."""

from typing import Any, NamedTuple

import numpy as np

from ._canonical import code_sums, moments

# Where an estimator keeps the first fields of a stream.
_PUBLIC = ("n_samples_seen_", "n_steps_", "n_iter_", "mean_", "loss_curve_", "validation_curve_")


class Stream(NamedTuple):
    """All rows so far, and the state of training.

    Attributes
    ----------
    n_samples, n_steps, n_batches : int
        Rows seen, gradient steps made, and calls of fit and partial_fit.
    mean : ndarray of shape (n_features,)
        Mean of the rows.
    losses, curve : ndarray
        As `loss_curve_` and `validation_curve_`.
    step : int
        Steps of the optimiser. Its moments are new after `fit`, so that they count anew from there,
        and the learning rate climbs again.
    params : dict or None
        Float32 params in the units of training; None where the fitted network gives them.
    moments : dict or None
        The optimiser's m and v.
    code_sums : tuple of ndarray
        Sum of the codes of all rows, each as encoded in its time, and of their outer products.
    code : tuple of ndarray or None
        The map from the code of `params` to the canonical one, and its inverse.
    """

    n_samples: int = 0
    n_steps: int = 0
    n_batches: int = 0
    mean: Any = 0.0
    losses: np.ndarray = np.empty(0)
    curve: np.ndarray = np.empty((0, 2))
    step: int = 0
    params: dict | None = None
    moments: dict | None = None
    code_sums: tuple = (0.0, 0.0)
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
            cross = (estimator.n_samples_seen_ - 1) * np.diag(norms**-2)
            state = {"code_sums": (0.0, cross), "code": (np.diag(norms), np.diag(1 / norms))}
        return cls(*(getattr(estimator, name) for name in _PUBLIC), **state)

    def attributes(self):
        """Return the attributes of an estimator that holds this stream."""
        n_public = len(_PUBLIC)
        return dict(zip(_PUBLIC, self, strict=False)) | {
            "best_step_": self.n_steps,
            "_stream_": dict(zip(self._fields[n_public:], self[n_public:], strict=True)),
        }

    def resumed(self, network):
        """Return a network with the params of training so far, if there are any."""
        return network if self.params is None else network._replace(params=self.params)

    def state(self, network, plan):
        """Return the state of training, which goes on from the moments so far."""
        state = plan.initial_state(network.params, self.n_samples)
        if self.moments is None:
            return state
        optimizer_state = state.optimizer_state | self.moments
        return state._replace(optimizer_state=optimizer_state, step=self.step)

    def after(self, run, error, table, whiten):
        """Return the network and the stream after a run over a batch.

        Parameters
        ----------
        run : Run
            Over the batch.
        error : float
            Mean squared error of the batch before it.
        table : Table
            The rows of the batch.
        whiten : bool
            Whether to give the code its canonical form.
        """
        state, n_samples = run.state and run.state.optimizer_state, self.n_samples + table.n_rows
        complete = table.filled(run.start.filling)
        stream = self._replace(
            n_samples=n_samples,
            n_steps=self.n_steps + len(run.losses),
            n_batches=self.n_batches + 1,
            mean=(self.mean * self.n_samples + complete.sum()) / n_samples,
            losses=np.concatenate([self.losses, run.losses]),
            curve=np.vstack([self.curve, [[self.n_steps, error]]]),
            step=self.step + len(run.losses),
            params=run.network.params,
            moments={"m": state["m"], "v": state["v"]} if state else self.moments,
        )
        network = run.network.astype(table.dtype)
        if whiten:
            stream = stream._with_codes_of(network, table)
            mean, _ = moments(n_samples, *stream.code_sums)
            network = network.recode(*stream.code, mean)
        return table.workers.broadcast_object((network, stream))

    def _with_codes_of(self, network, table):
        """Return the stream with the codes of a batch, and the map that makes all codes white."""
        both = zip(self.code_sums, code_sums(network, table), strict=True)
        sums = tuple(before + new for before, new in both)
        _, covariance = moments(self.n_samples, *sums)
        if self.code is None:
            code = network.whitening(covariance)
        else:  # codes of different times should mean the same: rotate them as little as possible
            to_code, from_code = self.code
            change, back = network.whitening(to_code.T @ covariance @ to_code, canonical=False)
            code = to_code @ change, back @ from_code
        return self._replace(code_sums=sums, code=code)
