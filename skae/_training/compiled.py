"""Functions that XLA compiles."""

import re
import threading
from collections.abc import Callable
from typing import Any

from .._runtime.tensorflow import import_tensorflow
from .._runtime.threads import in_thread
from .._sklearn_compat import warn

# Beginning of the messages of a session's errors.
_SESSION_ERROR = re.compile(
    r"Graph execution error:\n\n(Detected at .*\nNode: '.*?'\n)?", re.DOTALL
)
_SLOWER = "XLA cannot compile the training loop here, so it runs uncompiled, which is slower: "


class CompiledFunction:
    """Function of nests of arrays that XLA compiles at the first call, once for all threads.

    If XLA cannot compile it, the function runs uncompiled, with a warning.

    Parameters
    ----------
    function : callable
        Function of nests of tensors. All calls must have the same shapes and dtypes.
    strategy : tf.distribute.Strategy or None
        With a strategy, the function must compile its own parts.
    is_in_session : bool
        Whether the function runs in a session, with NumPy arrays as inputs and outputs. Otherwise
        its inputs and outputs are tensors.
    """

    def __init__(self, function: Callable[..., Any], strategy: Any, is_in_session: bool) -> None:
        self.function = function
        self.strategy = strategy
        self.is_in_session = is_in_session
        self.lock = threading.Lock()
        self.traced: Callable[..., Any] | None = None

    def __call__(self, *arguments: Any) -> Any:
        tf = import_tensorflow()
        try:
            with self.lock:
                if self.traced is None and self.strategy is None:
                    return self._first_call(tf, arguments)
                if self.traced is None:  # parts of a step are compiled; a worker may be lost
                    self.traced = self._trace(tf, arguments, jit_compile=None)
            return self.traced(*arguments)
        except tf.errors.ResourceExhaustedError as error:
            raise MemoryError(_message(error)) from error

    def _first_call(self, tf: Any, arguments: tuple[Any, ...]) -> Any:
        try:
            traced = self._trace(tf, arguments, jit_compile=True)
            results = traced(*arguments)
        except tf.errors.OpError as error:
            if not _cannot_compile(tf, error):
                raise
            warn(_SLOWER + _message(error), RuntimeWarning)
            traced = self._trace(tf, arguments, jit_compile=None)
            results = traced(*arguments)
        self.traced = traced
        return results

    def _trace(
        self, tf: Any, arguments: tuple[Any, ...], jit_compile: bool | None
    ) -> Callable[..., Any]:
        # Trace explicitly: calling the tf.function would warn about retracing for other shapes.
        function = tf.function(self.function, jit_compile=jit_compile, autograph=False)
        traced: Callable[..., Any]
        if self.is_in_session:
            traced = in_thread(_InSession, tf, function, arguments)
        else:
            traced = in_thread(function.get_concrete_function, *arguments)
        return traced


class _InSession:
    """Function that runs in a session of its own, with NumPy arrays as inputs and outputs.

    TensorFlow frees the code that XLA compiles for a session together with the session. It never
    frees the code of a function that is called eagerly, and each takes about 150 of the 65530
    memory maps that Linux allows a process.
    """

    def __init__(self, tf: Any, function: Any, arguments: tuple[Any, ...]) -> None:
        placeholder, threading_config = tf.compat.v1.placeholder, tf.config.threading
        with tf.Graph().as_default() as graph:
            inputs = tf.nest.map_structure(lambda a: placeholder(a.dtype, a.shape), arguments)
            self._outputs = function.get_concrete_function(*inputs)(*inputs)
        self._nest, self._inputs = tf.nest, tf.nest.flatten(inputs)
        config = tf.compat.v1.ConfigProto(
            device_count={"GPU": 0},
            intra_op_parallelism_threads=threading_config.get_intra_op_parallelism_threads(),
            inter_op_parallelism_threads=threading_config.get_inter_op_parallelism_threads(),
        )
        # XLA optimises the graph
        config.graph_options.rewrite_options.disable_meta_optimizer = True
        self._session = tf.compat.v1.Session(graph=graph, config=config)

    def __call__(self, *arguments: Any) -> Any:
        feed = dict(zip(self._inputs, self._nest.flatten(arguments), strict=True))
        results = in_thread(self._session.run, self._nest.flatten(self._outputs), feed)
        return self._nest.pack_sequence_as(self._outputs, results)


def _message(error: Any) -> str:
    """Return the message of an error of TensorFlow."""
    prefix = _SESSION_ERROR.match(error.message)
    return str(error.message[prefix.end() if prefix else 0 :])


def _cannot_compile(tf: Any, error: Any) -> bool:
    """Whether the reason of an error is that XLA is missing or cannot compile an operation."""
    reason = _message(error).partition("\n")[0]  # the other lines are file paths
    if isinstance(error, tf.errors.UnimplementedError | tf.errors.NotFoundError):
        return True
    return isinstance(error, tf.errors.InvalidArgumentError) and "compil" in reason
