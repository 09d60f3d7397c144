"""Search for the smallest number of components that retains a fraction of the variance."""

from bisect import bisect_left
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._data.table import Table
from .._networks.nests import map_nest
from .._networks.network import Autoencoder, squared_norms
from .callbacks import FitCallback
from .losses import Reconstruction, mean_error
from .plan import Plan, plan_fit
from .problem import Problem
from .run import Run, train

# The first size, and each larger size, is trained with all steps of a fit. Smaller sizes start from
# the truncated initial network of a larger size and are trained for this fraction of the steps.
_FRACTION_OF_STEPS = 0.5
_SEED = 23


class SizeSearch:
    """Search over the number of components of the code, called its size.

    Each size that is tried is trained once. A size that is larger than all earlier ones is trained
    with all steps of a fit. For a smaller size, the last components of the initial network of a
    larger size are set to zero, so that both share a compiled loop. If the code has an activation
    other than the identity, every size is trained with all steps.

    The errors are computed on the validation rows of the first split, or on its training rows if no
    validation row has a value. Rows without any value are left out.

    Parameters
    ----------
    problem : Problem
        Rows, splits and network. The number of components of its architecture is the first size.
    callback : FitCallback
        Reports a line of text for each size, and is asked at each evaluation whether to stop.
    """

    def __init__(self, problem: Problem, callback: FitCallback) -> None:
        self._problem = replace(problem, splits=problem.splits[:1])
        self._log, self._callback = callback.log, _StopCallback(callback)
        self._errors: dict[int, float] = {}
        self._starts: dict[int, Autoencoder] = {}
        self._training, validation_rows = problem.splits[0].tables(problem.table)
        validation_rows = _with_values(validation_rows)
        self._scored = validation_rows if validation_rows.n_rows else _with_values(self._training)
        mean, is_incomplete = self._training.mean(), self._scored.is_incomplete

        def squares(rows: NDArray[Any]) -> NDArray[Any]:
            return squared_norms(rows - mean, np.isnan(rows) if is_incomplete else None)

        total_variance = mean_error(self._scored.map(squares), self._scored)
        self._variance = total_variance / problem.table.n_features_in_loss

    def smallest(self, retained_variance: float) -> int:
        """Return the smallest size that retains a fraction of the variance.

        The first size is doubled until a size retains enough of the variance. Smaller sizes are
        then tried by bisection. If no size retains enough, the largest possible size is returned.

        Raises
        ------
        KeyboardInterrupt
            If training is interrupted, or if a stop was requested in any worker.
        WorkerLostError
            If a worker is lost.
        """

        def retains_enough(size: int) -> bool:
            if size not in self._errors:
                self._train_size(size)
            return bool(self._errors[size] <= (1 - retained_variance) * self._variance)

        size = self._problem.architecture.n_components
        largest = min(self._problem.table.n_features, self._problem.n_training)
        if self._variance == 0:
            return size
        too_small = 0
        while not retains_enough(size) and size < largest:
            too_small, size = size, min(2 * size, largest)
        sizes = range(too_small + 1, size)
        return too_small + 1 + bisect_left(sizes, True, key=retains_enough)

    def curve(self) -> NDArray[np.float64]:
        """Return the sizes that were tried, in increasing order, and their errors as columns."""
        return np.array(sorted(self._errors.items()), dtype=np.float64).reshape(-1, 2)

    def _train_size(self, size: int) -> None:
        """Train a network with `size` components and store its error."""
        problem, (split,) = self._problem.with_size(size), self._problem.splits
        larger = min((other for other in self._starts if other > size), default=None)
        if larger is None:
            network = problem.initial_network_for(self._training)
            plan = plan_fit(problem.with_size(network.code_size))
            # other activations of the code may map zero to a value other than zero
            if network.activations[1] == "identity":
                self._starts[size] = network
        else:
            network = mask_components(self._starts[larger], size)
            plan = _shorter_plan(problem.with_size(network.code_size))
        run = Run.begin(problem.table, split, network, plan)
        rng = np.random.default_rng([problem.seed, _SEED, size])
        train([run], [rng], self._callback)
        # workers may receive a stop request at different evaluations
        is_stopped = self._callback.is_stopped
        if run.stop_reason.is_abort or any(problem.table.workers.all_gather_object(is_stopped)):
            raise run.exception or KeyboardInterrupt
        errors = Reconstruction(network.activations).row_errors(run.network, self._scored)
        self._errors[size] = error = mean_error(errors, self._scored)
        retained = 1 - error / self._variance
        self._log(f"{size} components keep {retained:.4f} of the validation variance", level=1)


def _shorter_plan(problem: Problem) -> Plan:
    """Return the plan of a run with a fraction of the steps of a fit."""
    n_steps = max(1, round(_FRACTION_OF_STEPS * plan_fit(problem).n_steps))
    config = replace(problem.config, max_iter="auto", max_steps=n_steps)
    return plan_fit(replace(problem, config=config))


def _with_values(table: Table) -> Table:
    """Return the table of the rows that have at least one observed value."""
    if not table.is_incomplete:
        return table
    return table.select(np.flatnonzero(table.map(lambda rows: ~np.isnan(rows).all(axis=1))))


class _StopCallback(FitCallback):
    """Callback that ends a run if another callback requests a stop, and stores that it did."""

    def __init__(self, callback: FitCallback) -> None:
        self._callback, self.is_stopped = callback, False

    def on_evaluation(self, run: Run, seconds_left: float | None) -> bool:
        self.is_stopped = self._callback.should_stop()
        return self.is_stopped


def mask_components(network: Autoencoder, size: int) -> Autoencoder:
    """Return a copy of a network in which all components after the first `size` are zero.

    They stay zero in training, because the gradients of their weights are zero.
    """
    network = network.with_params(map_nest(np.copy, network.params))
    encoder, decoder = network.params["encoder"], network.params["decoder"]
    masked = [encoder["coefs"][-1], encoder["intercepts"][-1], decoder["coefs"][0].T]
    masked += [encoder["linear"], decoder["linear"].T] if "linear" in encoder else []
    for array in masked:
        array[..., size:] = 0
    return network
