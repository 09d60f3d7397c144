"""The workers that train together: what they tell each other, and which rows are whose.

A worker is a process under a `tf.distribute` strategy, with one replica of the network per device.
Every worker runs the same program on the same table; they differ in the rows that they read.
Without a strategy there is one worker, which talks to itself.
"""

import pickle
import sys
import threading
from concurrent.futures import Future
from functools import partial
from typing import NamedTuple

import numpy as np

from .tensorflow import import_tensorflow

# A worker that waits this many seconds for another takes it for lost. One whose process ends or
# freezes is noticed by TensorFlow in seconds; this is for one that lives and does something else,
# and may be long, for workers do not read a large table at the same pace.
TIMEOUT = 600
# Larger tensors do not pass through the protocol buffers of TensorFlow's collectives.
_MOST_BYTES = 2**31 - 1


class WorkerLostError(ConnectionError):
    """A worker does not answer."""


def _says_that_a_worker_is_lost(error):
    """Whether an error of a collective comes from another worker's end, and not from this one."""
    errors = import_tensorflow().errors
    lost = errors.AbortedError | errors.CancelledError | errors.DeadlineExceededError
    lost |= errors.UnavailableError | TimeoutError
    payloads = getattr(error, "experimental_payloads", None) or ()
    return isinstance(error, lost) or any(b"CoordinationService" in key for key in payloads)


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
        return slice(*self.ends(n_rows)[self.index :][:2])

    def ends(self, n_rows):
        """Where the share of each worker in n_rows begins, and the last one ends."""
        return _ends(n_rows, self.n_workers)

    def split(self, n_rows):
        """Slices that hand so many rows of this worker out to its replicas."""
        ends = _ends(n_rows, len(self.replicas))
        return list(map(slice, ends, ends[1:]))

    def ends_of_replicas(self, n_rows):
        """Where the rows of each replica begin in a batch of which this worker has n_rows.

        The last number is where the rows of the last one end.
        """
        sizes = [part.stop - part.start for part in self.split(n_rows)]
        return tuple(np.cumsum([0, *np.concatenate(self.all_gather_object(sizes))]).tolist())

    def per_replica(self, values):
        """Make one argument for a step out of one value for each of this worker's replicas."""
        if len(self.replicas) == 1:
            return values[0]
        return self.strategy.experimental_distribute_values_from_function(
            lambda context: values[context.replica_id_in_sync_group - self.replicas[0]]
        )

    def of_first_replica(self, value):
        """Return this worker's first replica's part of what a step returned."""
        strategy = self.strategy
        return value if strategy is None else strategy.experimental_local_results(value)[0]

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
        try:
            return outcome.result(TIMEOUT)
        except (TimeoutError, import_tensorflow().errors.OpError) as error:
            if not _says_that_a_worker_is_lost(error):
                raise
            reason = getattr(error, "message", f"nothing heard for {TIMEOUT:g} seconds")
            text = f"Worker {self.index} of {self.n_workers} has lost another one: "
            raise WorkerLostError(text + reason.partition("\n")[0]) from error

    def all_gather_object(self, item):
        """Return the objects of all workers in their order, the same list to all."""
        if self.n_workers == 1:
            return [item]
        message = np.frombuffer(pickle.dumps(item), dtype=np.uint8)
        sizes = np.zeros(self.n_workers, dtype=np.int64)
        sizes[self.index] = len(message)
        sizes = self._sum(sizes)
        ends = np.cumsum(sizes)
        if ends[-1] > _MOST_BYTES:  # for all workers alike, so that none waits for the others
            raise ValueError(
                f"Workers can tell each other {_MOST_BYTES:.1e} bytes at a time, and have "
                f"{ends[-1]:.1e}. Set a smaller hidden_layer_sizes or n_components, or give X "
                "fewer columns."
            )
        messages = np.zeros(-(-ends[-1] // 4), dtype=np.int32)  # collectives do not take bytes
        messages.view(np.uint8)[ends[self.index] - len(message) : ends[self.index]] = message
        messages = self._sum(messages).view(np.uint8)
        starts = ends - sizes
        return [pickle.loads(messages[a:b]) for a, b in zip(starts, ends, strict=True)]

    def checked(self, function, *arguments, **options):
        """Call a function of what this worker alone was given, which may refuse it.

        Raises
        ------
        Exception
            What it raises in any worker, in all of them, so that none waits for another.
        """
        if self.n_workers == 1:
            return function(*arguments, **options)
        result, error = None, None
        try:
            result = function(*arguments, **options)
        except Exception as refusal:
            error = refusal
        for refusal in filter(None, self.all_gather_object(error)):
            raise refusal
        return result

    def broadcast_object(self, item):
        """Return the chief's object."""
        return self.all_gather_object(item if self.index == 0 else None)[0]

    def check_agreement(self, facts):
        """Compare what each worker was given, by name.

        Raises
        ------
        ValueError
            If two workers were given something else.
        """
        everyone = self.all_gather_object(facts)
        for worker, theirs in enumerate(everyone):
            for name, value in everyone[0].items():
                if theirs[name] != value:
                    raise ValueError(
                        "All workers must be given the same parameters and all rows of X, or each "
                        f"a Shard with the same columns, but {name} is {value} on worker 0 and "
                        f"{theirs[name]} on worker {worker}."
                    )

    def _sum(self, array):
        """Sum of an array over the workers."""
        values = [array, *[np.zeros_like(array)] * (len(self.replicas) - 1)]
        values = self.per_replica(list(map(import_tensorflow().constant, values)))
        return self.together(partial(self.strategy.reduce, "SUM", axis=None), values).numpy()


# The only one.
ALONE = Workers()


def _ends(n_rows, n_pieces):
    return [n_rows * i // n_pieces for i in range(n_pieces + 1)]


def current_workers():
    """Return the workers of the strategy in whose scope the caller is.

    Raises
    ------
    ValueError
        If the strategy's replicas do not work in step.
    """
    if "tensorflow" not in sys.modules:
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
    ids = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(context.replica_id_in_sync_group)
    )
    ours = [int(i) for i in strategy.experimental_local_results(ids)]
    return Workers(strategy, range(ours[0], ours[-1] + 1), strategy.num_replicas_in_sync)
