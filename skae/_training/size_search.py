"""Search for the smallest number of components that retains a fraction of the variance."""

from bisect import bisect_left

import numpy as np
import optree

from .._networks.network import squared_norms
from .losses import Reconstruction
from .run import Run, TrainingCallback, train

# The first size, and each larger size, is trained with all steps of a fit. Smaller sizes start from
# the truncated initial network of a larger size and are trained for this fraction of the steps.
_SHARE_OF_STEPS = 0.5
_SEED = 23


class Sizing:
    """Search over the number of components of the code, called its size.

    Each size that is tried is trained once. A size that is larger than all earlier ones is trained
    with all steps of a fit. For a smaller size, the last components of the initial network of a
    larger size are set to zero, so that both share a compiled loop. If the code has an activation
    other than the identity, every size is trained with all steps.

    Parameters
    ----------
    table : Table
        All rows.
    start : callable
        ``start(training, size)`` returns the initial network for a table of training rows.
    plan : callable
        ``plan(size, share)`` returns the plan of a run over the split with the fraction `share` of
        the steps of a fit.
    split : Split
        Training rows and validation rows. If no validation row has a value, the errors are computed
        on the training rows.
    seed : int
        Seed of the order of minibatches and of the noise.
    log : callable
        Called with a line of text for each size.
    should_stop : callable or None
        Called at each evaluation. If it returns True, KeyboardInterrupt is raised.

    Attributes
    ----------
    errors : dict
        Mean squared error of the validation rows for each size.
    variance : float
        Mean squared distance of the validation rows from the mean of the training rows. Rows
        without any value are left out.
    """

    def __init__(self, table, start, plan, split, seed, log, should_stop):
        self.start, self.plan, self.split, self.seed, self.log = start, plan, split, seed, log
        self.table, self.errors, self._starts = table, {}, {}
        self._callback = _StopCallback(should_stop)
        self.training, held_out = split.tables(table)
        held_out = with_values(held_out)
        self.judge = held_out if held_out.n_rows else with_values(self.training)
        mean, is_incomplete = self.training.mean(), self.judge.is_incomplete

        def squares(rows):
            return squared_norms(rows - mean, np.isnan(rows) if is_incomplete else None)

        self.variance = self.judge.map(squares).mean() / table.n_averaged

    def smallest(self, share, size, largest):
        """Return the smallest size that retains a fraction of the variance.

        Parameters
        ----------
        share : float
            The fraction of the variance.
        size : int
            First size to try. It is doubled until a size retains enough of the variance. Smaller
            sizes are then tried by bisection.
        largest : int
            Maximum size, which is returned if no size retains enough.
        """

        def keeps(size):
            if size not in self.errors:
                self._try(size)
            return self.errors[size] <= (1 - share) * self.variance

        if self.variance == 0:
            return size
        least = 0
        while not keeps(size) and size < largest:
            least, size = size, min(2 * size, largest)
        return least + 1 + bisect_left(range(least + 1, size), True, key=keeps)

    def curve(self):
        """Return the sizes that were tried, in increasing order, and their errors as columns."""
        return np.array(sorted(self.errors.items()), dtype=np.float64).reshape(-1, 2)

    def _try(self, size):
        """Train a network with `size` components and store its error.

        Raises
        ------
        KeyboardInterrupt
            If training is interrupted, or if `should_stop` returns True in any worker.
        WorkerLostError
            If a worker is lost.
        """
        larger = min((other for other in self._starts if other > size), default=None)
        share_of_steps = 1.0 if larger is None else _SHARE_OF_STEPS
        if larger is None:
            network = self.start(self.training, size)
            # other activations of the code may map zero to a value other than zero
            if network.activations[1] == "identity":
                self._starts[size] = network
        else:
            network = first_components(self._starts[larger], size)
        run = Run(self.table, self.split, network, self.plan(network.code_size, share_of_steps))
        train([run], [np.random.default_rng([self.seed, _SEED, size])], self._callback)
        # workers may receive a stop request at different evaluations
        is_stopped = self._callback.is_stopped
        if run.stop_reason.is_abort or any(self.table.workers.all_gather_object(is_stopped)):
            raise run.error or KeyboardInterrupt
        errors = Reconstruction(network.activations).row_errors(run.network, self.judge)
        self.errors[size] = error = float(errors.mean())
        self.log(f"{size} components keep {1 - error / self.variance:.4f} of held-out variance")


def with_values(table):
    """Return the table of the rows that have at least one observed value."""
    if not table.is_incomplete:
        return table
    return table.select(np.flatnonzero(table.map(lambda rows: ~np.isnan(rows).all(axis=1))))


class _StopCallback(TrainingCallback):
    """Callback that stops a run if `should_stop` returns True, and stores the result."""

    def __init__(self, should_stop):
        self._should_stop, self.is_stopped = should_stop, False

    def on_evaluation(self, run, seconds_left):
        self.is_stopped = self._should_stop is not None and self._should_stop()
        return self.is_stopped


def first_components(network, size):
    """Return a copy of a network in which all components after the first `size` are zero.

    They stay zero in training, because the gradients of their weights are zero.
    """
    network = network._replace(params=optree.tree_map(np.copy, network.params))
    encoder, decoder = network.params["encoder"], network.params["decoder"]
    silenced = [encoder["coefs"][-1], encoder["intercepts"][-1], decoder["coefs"][0].T]
    silenced += [encoder["linear"], decoder["linear"].T] if "linear" in encoder else []
    for array in silenced:
        array[..., size:] = 0
    return network
