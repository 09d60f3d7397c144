"""The smallest code that keeps a share of the variance of held-out rows, found by training."""

from bisect import bisect_left

import numpy as np
import optree

from .._networks.network import squared_norms
from .losses import Reconstruction
from .run import Run, TrainingCallback, train

# A size below that which was trained as in a fit is tried by so large a part of a fit.
_SHARE_OF_STEPS = 0.5
_SEED = 23


class Sizing:
    """Trains networks of several sizes, and remembers what they keep.

    The largest is trained as a fit is. A smaller one has the same start, of whose code the later
    components are silenced, so that all sizes share a compiled loop.

    Parameters
    ----------
    table : Table
        All rows.
    start : callable
        ``start(table, size)`` returns the network with which training on a table starts.
    plan : callable
        ``plan(size, share)`` returns the plan of that share of a fit to the split's training rows.
    split : Split
        Training rows and held-out ones; if none of these has a value, the training rows judge.
    seed : int
        For the order of minibatches, and noise.
    log : callable
        Called with a line of text for each size.
    should_stop : callable or None
        Asked at each evaluation whether to stop; a KeyboardInterrupt is then raised.

    Attributes
    ----------
    errors : dict
        For each size, mean squared error of the held-out rows.
    variance : float
        Their mean squared distance from the mean of the training rows. Rows without any value do
        not count.
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
        """Return the smallest size that keeps a share of the variance.

        Parameters
        ----------
        share : float
            The share.
        size : int
            Size to begin with. It is doubled if it keeps less, and not passed if it keeps more.
        largest : int
            Size that is not passed; it is the answer if none keeps so much.
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
        """Return an array of the sizes that were tried, in order, and their errors."""
        return np.array(sorted(self.errors.items()), dtype=np.float64).reshape(-1, 2)

    def _try(self, size):
        """Train a network of some size."""
        larger = min((other for other in self._starts if other > size), default=None)
        share_of_steps = 1.0 if larger is None else _SHARE_OF_STEPS
        if larger is None:
            network = self.start(self.training, size)
            if network.activations[1] == "identity":  # of others, a component of zero may speak
                self._starts[size] = network
        else:
            network = first_components(self._starts[larger], size)
        run = Run(self.table, self.split, network, self.plan(network.code_size, share_of_steps))
        train([run], [np.random.default_rng([self.seed, _SEED, size])], self._callback)
        # one worker may have been asked when another was not yet
        is_stopped = self._callback.is_stopped
        if run.stop_reason.is_abort or any(self.table.workers.all_gather_object(is_stopped)):
            raise run.error or KeyboardInterrupt
        errors = Reconstruction(network.activations).row_errors(run.network, self.judge)
        self.errors[size] = error = float(errors.mean())
        self.log(f"{size} components keep {1 - error / self.variance:.4f} of held-out variance")


def with_values(table):
    """Return the table of the rows that have a value."""
    if not table.is_incomplete:
        return table
    return table.select(np.flatnonzero(table.map(lambda rows: ~np.isnan(rows).all(axis=1))))


class _StopCallback(TrainingCallback):
    """Stops a run if `should_stop` returns True, and stores that."""

    def __init__(self, should_stop):
        self._should_stop, self.is_stopped = should_stop, False

    def on_evaluation(self, run, seconds_left):
        self.is_stopped = self._should_stop is not None and self._should_stop()
        return self.is_stopped


def first_components(network, size):
    """Return a network whose code has so many components; the others are zero.

    They stay so in training, for no gradient reaches them.
    """
    network = network._replace(params=optree.tree_map(np.copy, network.params))
    encoder, decoder = network.params["encoder"], network.params["decoder"]
    silenced = [encoder["coefs"][-1], encoder["intercepts"][-1], decoder["coefs"][0].T]
    silenced += [encoder["linear"], decoder["linear"].T] if "linear" in encoder else []
    for array in silenced:
        array[..., size:] = 0
    return network
