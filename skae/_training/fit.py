"""Fit of a network to a table.

`fit` of the estimators calls `fit_network`, which does the following steps: choose the space in
which the network is trained, choose the number of components, train, select the network that is
kept, and whiten its code.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .._data.table import Table
from .._initialization.row_space import RowSpace
from .._networks.network import Autoencoder
from .._networks.whitening import whitened
from .._runtime.workers import WorkerLostError, Workers
from .callbacks import FitCallback
from .losses import mean_error
from .plan import Plan, plan_fit
from .problem import Problem
from .run import StopReason
from .selection import Outcome, Selection
from .size_search import SizeSearch

_Result = TypeVar("_Result")
# If the workers hold shards and one worker is lost, each remaining worker whitens the code and
# computes the error on a sample of its own rows. This is the maximum size of the sample.
_MAX_ROWS_AFTER_WORKER_LOSS = 20_000


@dataclass(frozen=True, kw_only=True, eq=False)
class FitResult:
    """Result of a fit.

    Attributes
    ----------
    network : Autoencoder
        The network that is kept. Its code is whitened if `Problem.whiten` is True.
    error : float
        Validation error of `network`, or its error on the training rows if there are no validation
        rows.
    loss_scale : float
        Factor that converts a training loss to the unit of `error`: the variance of the rows, or
        one.
    outcome : Outcome
        Losses, validation errors and stop reason of the runs.
    plan : Plan
        Plan of the runs.
    components_curve : ndarray of shape (n_sizes, 2) or None
        Sizes of the code that were tried, and their validation errors; None without a search.
    """

    network: Autoencoder
    error: float
    loss_scale: float
    outcome: Outcome
    plan: Plan
    components_curve: NDArray[np.float64] | None

    @property
    def n_steps(self) -> int:
        """Number of gradient steps of the first run."""
        return len(self.outcome.losses)

    @property
    def n_epochs(self) -> int:
        """Number of epochs of the first run, at least one."""
        return max(1, -(-self.n_steps // self.plan.steps_per_epoch))


def fit_network(problem: Problem, callback: FitCallback) -> FitResult:
    """Fit a network.

    Parameters
    ----------
    problem : Problem
        Rows, splits, network and configuration.
    callback : FitCallback
        Its methods are called during the fit; see `FitCallback`.

    Returns
    -------
    FitResult
        Result of the fit. If an interrupt or the loss of a worker ends training, `network` is the
        best network before that, and `outcome.stop_reason` is INTERRUPTED or WORKER_LOST.

    Raises
    ------
    KeyboardInterrupt, WorkerLostError
        If there is no network yet.
    """
    trained, row_space = _in_row_space(problem)
    trained, components_curve = _with_size(trained, callback)
    plan = plan_fit(trained)
    selection = Selection(trained, plan)
    results = _Results(problem.table, trained, plan, row_space, components_curve)
    callback.on_fit_begin(
        selection.n_intervals,
        lambda run: partial(results.result_of, selection.outcome_now(run)),
    )
    _, result = finish(selection.train(callback), results.result_of, problem.table.workers)
    return result


def finish(
    outcome: Outcome, function: Callable[[Outcome], _Result], workers: Workers
) -> tuple[Outcome, _Result]:
    """Return the outcome of training, and ``function(outcome)``, in spite of one interrupt.

    If an interrupt or the loss of a worker ends the function, it is called again, with an outcome
    that has this stop reason. A second interrupt is raised.
    """
    try:
        return outcome, function(outcome)
    except (KeyboardInterrupt, WorkerLostError) as exception:
        outcome = outcome.aborted(exception, workers)
        return outcome, function(outcome)


def _with_size(
    problem: Problem, callback: FitCallback
) -> tuple[Problem, NDArray[np.float64] | None]:
    """Search for the size of the code, if a fraction of the variance is given.

    Return the problem with this size, and the sizes that were tried and their errors, or None.
    """
    if problem.retained_variance is None:
        return problem, None
    search = SizeSearch(problem, callback)
    return problem.with_size(search.smallest(problem.retained_variance)), search.curve()


def _in_row_space(problem: Problem) -> tuple[Problem, RowSpace | None]:
    """Return the problem in the row space of a wide table, and the row space.

    The second result is None if the network is trained in the columns of the table. In this case
    its encoder may still be trained in the axes of the row space; see `Problem.encoder_axes`.
    """
    if not problem.pca_is_baseline or problem.config.noise:
        return problem, None
    space = RowSpace.from_table(
        problem.table,
        problem.architecture,
        problem.n_training,
        has_other_rows=problem.splits[0].validation is not None,
    )
    if space is None:
        return problem, None
    if not space.trains_decoder:
        return replace(problem, encoder_axes=space.axes), None
    architecture = replace(problem.architecture, bounds=None)
    return replace(problem, table=space.table(problem.table), architecture=architecture), space


class _Results:
    """Results of the possible outcomes of a fit.

    The last whitened network is cached, because callbacks request it at each evaluation, and the
    best network changes less often.

    Parameters
    ----------
    table : Table
        All rows, with all columns of X.
    problem : Problem
        The problem in the space in which the network is trained.
    plan : Plan
        Plan of the runs.
    row_space : RowSpace or None
        Row space in which the network is trained; None if it is trained in all columns.
    components_curve : ndarray or None
        See `FitResult`.
    """

    def __init__(
        self,
        table: Table,
        problem: Problem,
        plan: Plan,
        row_space: RowSpace | None,
        components_curve: NDArray[np.float64] | None,
    ) -> None:
        self._table, self._problem, self._plan = table, problem, plan
        self._row_space, self._components_curve = row_space, components_curve
        self._cached: tuple[Autoencoder | None, Autoencoder] | None = None

    def result_of(self, outcome: Outcome) -> FitResult:
        """Return the result of the fit with this outcome."""
        table = self._table
        if outcome.stop_reason == StopReason.WORKER_LOST:
            is_sharded = table.shards is not None
            table = table.local_sample(_MAX_ROWS_AFTER_WORKER_LOSS) if is_sharded else table.local()
        network = self._kept_network(outcome, table)
        if len(outcome.curve):
            error = outcome.curve[outcome.curve[:, 0] == outcome.step, 1].item()
        else:
            error = mean_error(self._plan.objective.row_errors(network, table), table)
        return FitResult(
            network=network,
            error=float(error),
            loss_scale=self._plan.objective.loss_scale(network, self._table),
            outcome=outcome,
            plan=self._plan,
            components_curve=self._components_curve,
        )

    def _kept_network(self, outcome: Outcome, table: Table) -> Autoencoder:
        """Return the network of an outcome for all columns of X, whitened if `Problem.whiten`."""
        if self._cached is not None and self._cached[0] is outcome.network:
            return self._cached[1]
        if outcome.network is None:
            network = self._initial_network(table)
        elif self._row_space is None:
            network = outcome.network
        else:
            network = self._row_space.embed(outcome.network)
        network = network.astype(table.dtype)
        if self._problem.whiten and table.n_rows:  # the only remaining shard may have no rows
            network = whitened(network, table, is_pca=outcome.network is None)
        network = table.workers.broadcast_object(network)
        self._cached = outcome.network, network
        return network

    def _initial_network(self, table: Table) -> Autoencoder:
        """Return the initial network for all rows, in the form that `fit` keeps.

        PCA is computed from the coordinates in the row space, if there are enough of them.
        """
        problem, space = self._problem, self._row_space
        if space is None or problem.architecture.n_components > len(space.axes):
            return self._plan.kept_initial_network(problem.initial_network_for(table))
        coordinates = replace(problem.table, workers=table.workers)
        return space.embed(problem.initial_network_for(coordinates), is_pca=True)
