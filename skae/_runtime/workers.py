"""Communication between training workers, and the assignment of rows to workers.

A worker is a process under a `tf.distribute` strategy, with one replica of the network per device.
All workers run the same program on the same table, and each worker reads different rows. Without a
strategy there is one worker, which does not communicate.
"""

import pickle
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from .tensorflow import import_tensorflow

_Item = TypeVar("_Item")
_Arguments = ParamSpec("_Arguments")

# Timeout of collectives, in seconds. After this time, another worker counts as lost. TensorFlow
# notices within seconds that a process has ended or is frozen. The timeout is for a process that
# runs but does not call the collective. It is long because workers may need different times to read
# a large table.
TIMEOUT = 600
# Maximum size of a tensor in the protocol buffers of TensorFlow's collectives.
_MAX_BYTES = 2**31 - 1


class WorkerLostError(ConnectionError):
    """A training worker does not respond."""


def _is_worker_loss(error: Exception) -> bool:
    """Whether an error of a collective means that another worker is lost."""
    errors = import_tensorflow().errors
    lost = errors.AbortedError | errors.CancelledError | errors.DeadlineExceededError
    lost |= errors.UnavailableError | TimeoutError
    payloads = getattr(error, "experimental_payloads", None) or ()
    return isinstance(error, lost) or any(b"CoordinationService" in key for key in payloads)


@dataclass(frozen=True)
class Workers:
    """The workers of a strategy, and the position of this worker.

    Attributes
    ----------
    strategy : tf.distribute.Strategy or None
        None if there is one process with one replica.
    replicas : range
        Numbers of this worker's replicas; replicas are numbered over all workers.
    n_replicas : int
        Number of replicas over all workers.
    """

    strategy: Any = None
    replicas: range = range(1)
    n_replicas: int = 1

    @property
    def index(self) -> int:
        """Index of this worker; 0 is the chief."""
        return self.replicas[0] // len(self.replicas)

    @property
    def n_workers(self) -> int:
        """Number of workers."""
        return self.n_replicas // len(self.replicas)

    def share(self, n_rows: int) -> slice:
        """Return the slice of `n_rows` rows that this worker reads."""
        return slice(*self.ends(n_rows)[self.index :][:2])

    def ends(self, n_rows: int) -> list[int]:
        """Return the index of each worker's first row among `n_rows` rows, then `n_rows`."""
        return _ends(n_rows, self.n_workers)

    def split(self, n_rows: int) -> list[slice]:
        """Return slices that divide `n_rows` rows of this worker among its replicas."""
        ends = _ends(n_rows, len(self.replicas))
        return list(map(slice, ends, ends[1:]))

    def ends_of_replicas(self, n_rows: int) -> tuple[int, ...]:
        """Return the index of each replica's first row in a batch, then the number of rows.

        This worker has `n_rows` rows of the batch. The replicas are those of all workers.
        """
        sizes = [part.stop - part.start for part in self.split(n_rows)]
        return tuple(np.cumsum([0, *np.concatenate(self.all_gather_object(sizes))]).tolist())

    def per_replica(self, values: Sequence[Any]) -> Any:
        """Return one argument of a step from a list with one value for each local replica."""
        if len(self.replicas) == 1:
            return values[0]
        return self.strategy.experimental_distribute_values_from_function(
            lambda context: values[context.replica_id_in_sync_group - self.replicas[0]]
        )

    def of_first_replica(self, value: Any) -> Any:
        """Return the result of this worker's first replica from the results of a step."""
        strategy = self.strategy
        return value if strategy is None else strategy.experimental_local_results(value)[0]

    def run_collective(
        self,
        function: Callable[_Arguments, _Item],
        *arguments: _Arguments.args,
        **options: _Arguments.kwargs,
    ) -> _Item:
        """Call a collective function, which all workers must call.

        Raises
        ------
        WorkerLostError
            If another worker has ended, or does not call the function within `TIMEOUT` seconds.
        """
        if self.n_workers == 1:
            return function(*arguments, **options)
        outcome: Future[_Item] = Future()

        def call() -> None:
            try:
                outcome.set_result(function(*arguments, **options))
            except BaseException as error:
                outcome.set_exception(error)

        # In a thread, because a call that waits for other workers has no timeout and cannot be
        # interrupted. TensorFlow's own timeout would need one sleeping thread for each collective.
        threading.Thread(target=call, daemon=True).start()
        try:
            return outcome.result(TIMEOUT)
        except (TimeoutError, import_tensorflow().errors.OpError) as error:
            if not _is_worker_loss(error):
                raise
            reason = getattr(error, "message", f"nothing heard for {TIMEOUT:g} seconds")
            text = f"Worker {self.index} of {self.n_workers} has lost another one: "
            raise WorkerLostError(text + reason.partition("\n")[0]) from error

    def all_gather_object(self, item: _Item) -> list[_Item]:
        """Return the objects of all workers, in the order of the workers, in every worker."""
        if self.n_workers == 1:
            return [item]
        message = np.frombuffer(pickle.dumps(item), dtype=np.uint8)
        sizes = np.zeros(self.n_workers, dtype=np.int64)
        sizes[self.index] = len(message)
        sizes = self._sum(sizes)
        ends = np.cumsum(sizes)
        if ends[-1] > _MAX_BYTES:  # true in all workers, so that no worker waits for the others
            raise ValueError(
                f"Workers can exchange at most {_MAX_BYTES:.1e} bytes at a time, but there are "
                f"{ends[-1]:.1e}. Set a smaller hidden_layer_sizes or n_components, or give X "
                "fewer columns."
            )
        messages = np.zeros(-(-ends[-1] // 4), dtype=np.int32)  # collectives do not support bytes
        messages.view(np.uint8)[ends[self.index] - len(message) : ends[self.index]] = message
        gathered = self._sum(messages).view(np.uint8).data
        starts = ends - sizes
        return [pickle.loads(gathered[a:b]) for a, b in zip(starts, ends, strict=True)]

    def run_checked(
        self,
        function: Callable[_Arguments, _Item],
        *arguments: _Arguments.args,
        **options: _Arguments.kwargs,
    ) -> _Item:
        """Call a function that may raise in one worker only, such as a check of its rows.

        Raises
        ------
        Exception
            The first exception of any worker. It is raised in all workers, so that no worker waits
            for another.
        """
        if self.n_workers == 1:
            return function(*arguments, **options)
        error: Exception | None = None
        try:
            result = function(*arguments, **options)
        except Exception as refusal:
            error = refusal
        for first in filter(None, self.all_gather_object(error)):
            raise first
        return result

    def broadcast_object(self, item: _Item) -> _Item:
        """Return the object of the chief in every worker."""
        return self.all_gather_object([item] if self.index == 0 else [])[0][0]

    def check_agreement(self, facts: Mapping[str, Any]) -> None:
        """Check that all workers have the same values, given by name.

        Raises
        ------
        ValueError
            If a value differs between workers.
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

    def _sum(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the sum of an array over the workers."""
        values = [array, *[np.zeros_like(array)] * (len(self.replicas) - 1)]
        values = self.per_replica(list(map(import_tensorflow().constant, values)))
        total: NDArray[Any] = self.run_collective(
            self.strategy.reduce, "SUM", values, axis=None
        ).numpy()
        return total


# One process with one replica.
SINGLE_PROCESS = Workers()


def _ends(n_rows: int, n_pieces: int) -> list[int]:
    return [n_rows * i // n_pieces for i in range(n_pieces + 1)]


def current_workers() -> Workers:
    """Return the workers of the current `tf.distribute` strategy.

    Raises
    ------
    ValueError
        If the strategy is asynchronous (a ParameterServerStrategy).
    """
    if "tensorflow" not in sys.modules:
        return SINGLE_PROCESS
    tf = import_tensorflow()
    if not tf.distribute.has_strategy():
        return SINGLE_PROCESS
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
