"""The workers that train together: what they tell each other, and which rows are whose.

A worker is a process under a `tf.distribute` strategy, with one replica of the network per device.
Every worker runs the same program on the same table; they differ in the rows that they read.
Without a strategy there is one worker, which talks to itself.
"""

import pickle
import sys
import threading
from concurrent.futures import Future
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np

from ._tensorflow import import_tensorflow

# A worker that waits this many seconds for another takes it for lost. One whose process ends or
# freezes is noticed by TensorFlow in seconds; this is for one that lives and does something else,
# and may be long, for workers do not read a large table at the same pace.
TIMEOUT = 600


class WorkerLostError(ConnectionError):
    """A worker does not answer."""


class Workers(NamedTuple):
    """The workers of a strategy, seen from one of them.

    Attributes
    ----------
    strategy : tf.distribute.Strategy or None
        None where there is one process with one replica.
    replicas : range
        This worker's share of the replicas, numbered over all workers.
    n_replicas : int
        Number of replicas of all workers.
    """

    strategy: object = None
    replicas: range = range(1)
    n_replicas: int = 1

    @property
    def index(self):
        """Number of this worker; 0 is the chief."""
        return self.replicas[0] // len(self.replicas)

    @property
    def n_workers(self):
        """Number of workers."""
        return self.n_replicas // len(self.replicas)

    def share(self, n_rows):
        """Slice of n_rows that is this worker's."""
        return _piece(n_rows, self.index, self.n_workers)

    def split(self, n_rows):
        """Slices that hand so many rows of this worker out to its replicas."""
        n_replicas = len(self.replicas)
        return [_piece(n_rows, i, n_replicas) for i in range(n_replicas)]

    def per_replica(self, values):
        """Make one argument for a step out of one value for each of this worker's replicas."""
        if len(self.replicas) == 1:
            return values[0]
        return self.strategy.experimental_distribute_values_from_function(
            lambda context: values[context.replica_id_in_sync_group - self.replicas[0]]
        )

    def of_first_replica(self, value):
        """Return this worker's first replica's part of what a step returned."""
        return (
            value if self.strategy is None else self.strategy.experimental_local_results(value)[0]
        )

    def together(self, function, *arguments):
        """Call what all workers call now.

        Raises
        ------
        WorkerLostError
            If another worker is gone, or does not come within `TIMEOUT` seconds.
        """
        if self.n_workers == 1:
            return function(*arguments)
        outcome = Future()

        def call():
            try:
                outcome.set_result(function(*arguments))
            except BaseException as error:
                outcome.set_exception(error)

        # In a thread, for a call that waits for the others can neither be timed nor interrupted:
        # the timeout of TensorFlow's collectives costs one sleeping thread each.
        threading.Thread(target=call, daemon=True).start()
        errors = import_tensorflow().errors
        try:
            return outcome.result(TIMEOUT)
        except (
            TimeoutError,
            errors.AbortedError,
            errors.CancelledError,
            errors.DeadlineExceededError,
            errors.FailedPreconditionError,
            errors.InternalError,
            errors.UnavailableError,
        ) as error:
            silence = f"nothing heard for {TIMEOUT:g} seconds"
            reason = getattr(error, "message", silence).partition("\n")[0]
            raise WorkerLostError(
                f"Worker {self.index} of {self.n_workers} has lost another one: {reason}"
            ) from error

    def all_gather_object(self, item):
        """Return the objects of all workers in their order, the same list to all."""
        if self.n_workers == 1:
            return [item]
        message = np.frombuffer(pickle.dumps(item), dtype=np.uint8)
        sizes = np.zeros(self.n_workers, dtype=np.int32)
        sizes[self.index] = len(message)
        sizes = self._sum(sizes)
        ends = np.cumsum(sizes)
        messages = np.zeros(-(-ends[-1] // 4), dtype=np.int32)  # collectives do not take bytes
        messages.view(np.uint8)[ends[self.index] - len(message) : ends[self.index]] = message
        messages = self._sum(messages).view(np.uint8)
        return [
            pickle.loads(messages[end - size : end]) for size, end in zip(sizes, ends, strict=True)
        ]

    def broadcast_object(self, item):
        """Return the chief's object."""
        return self.all_gather_object(item if self.index == 0 else None)[0]

    def _sum(self, array):
        """Sum of an array over the workers."""
        values = [array, *[np.zeros_like(array)] * (len(self.replicas) - 1)]
        total = self.together(_adder(self.strategy), self.per_replica(values))
        return self.of_first_replica(total).numpy()


@lru_cache(maxsize=8)
def _adder(strategy):
    """Return a function that sums over the replicas."""
    tf = import_tensorflow()

    def add(value):
        value = tf.identity(value)  # on the replica's device, by which strategies reduce
        return tf.distribute.get_replica_context().all_reduce("SUM", value)

    @partial(tf.function, reduce_retracing=True, autograph=False)
    def run(values):
        return strategy.run(add, (values,))

    return run


# The only one.
ALONE = Workers()


def _piece(n_rows, i, n_pieces):
    return slice(n_rows * i // n_pieces, n_rows * (i + 1) // n_pieces)


def current_workers():
    """Return the workers of the strategy in whose scope the caller is.

    Raises
    ------
    ValueError
        If the strategy's replicas do not work in step.
    """
    if "tensorflow" not in sys.modules:  # no scope can be open
        return ALONE
    tf = import_tensorflow()
    if not tf.distribute.has_strategy():
        return ALONE
    strategy = tf.distribute.get_strategy()
    if isinstance(strategy, tf.distribute.ParameterServerStrategy):
        raise ValueError(
            "The workers of a ParameterServerStrategy do not train in step. Fit in the scope of a "
            "MultiWorkerMirroredStrategy, or of none."
        )
    replicas = []

    def note(context):
        replicas.append(context.replica_id_in_sync_group)
        return tf.constant(0)

    strategy.experimental_distribute_values_from_function(note)
    return Workers(strategy, range(replicas[0], replicas[-1] + 1), strategy.num_replicas_in_sync)
