"""Progress output and calls of scikit-learn callbacks."""

from collections.abc import Callable
from typing import Any

from .callbacks import FitCallback
from .fit import FitResult
from .run import Run


class Progress(FitCallback):
    """Callback that prints a line at each evaluation and calls scikit-learn callbacks.

    The interval between two evaluations is one task of the scikit-learn callbacks.

    Parameters
    ----------
    estimator : estimator
        The estimator on which `fit` was called.
    X, y : object
        Arguments of `fit`.
    attributes_of : callable
        ``attributes_of(result)`` returns the fitted attributes that belong to a `FitResult`.
    stop_requested : callable, optional
        Called at each evaluation; returns whether to stop.
    """

    def __init__(
        self,
        estimator: Any,
        X: object,
        y: object,
        attributes_of: Callable[[FitResult], dict[str, Any]],
        stop_requested: Callable[[], bool] | None = None,
    ) -> None:
        self._estimator, self._attributes_of = estimator, attributes_of
        self._stop_requested = stop_requested
        self._arguments = {"estimator": estimator, "X": X, "y": y}
        self._result_of: Callable[[Run], Callable[[], FitResult]]
        self._fit_context: Any = None
        self._task: Any = None

    def log(self, text: str, level: int = 2) -> None:
        """Print a line of text if `verbose` of the estimator is at least `level`."""
        if self._estimator.verbose >= level:
            print(f"[{type(self._estimator).__name__}] {text}", flush=True)  # noqa: T201

    def should_stop(self) -> bool:
        """Whether a stop of training was requested."""
        return self._stop_requested is not None and self._stop_requested()

    def on_fit_begin(
        self, n_intervals: int, result_of: Callable[[Run], Callable[[], FitResult]]
    ) -> None:
        """Begin the task of the fit."""
        self._result_of = result_of
        if hasattr(self._estimator, "_init_callback_context"):
            self._fit_context = self._estimator._init_callback_context(max_subtasks=n_intervals)
            self._fit_context.call_on_fit_task_begin(**self._arguments)

    def on_interval_begin(self) -> None:
        """Begin a task."""
        if self._fit_context is not None:
            task = self._fit_context.subcontext("epoch")
            self._task = task.call_on_fit_task_begin(**self._arguments)

    def on_evaluation(self, run: Run, seconds_left: float | None) -> bool:
        """Print a line and end the task; return whether to stop training."""
        n_new, format_error = run.steps[-1] - run.steps[-2], run.plan.objective.format_error
        text = (
            f"step {run.step}/{run.plan.n_steps}, epoch {run.step / run.plan.steps_per_epoch:.4g}"
        )
        text += f", training {format_error(run.losses[-n_new:].mean())}"
        if len(run.errors[-1]):
            text += f", validation {format_error(run.errors[-1].mean(), run.loss_scale)}"
        if seconds_left is not None:
            text += f", {seconds_left:.0f} s left"
        self.log(text, level=1)
        return self._end_task(run) or self.should_stop()

    def on_run_end(self, run: Run) -> None:
        """End the current task, if there is one."""
        self._end_task(run)

    def on_fit_end(self) -> None:
        """End the task of the fit. The fitted attributes of the estimator must be set before."""
        if self._fit_context is not None:
            self._fit_context.call_on_fit_task_end(
                **self._arguments, reconstruction_attributes=dict
            )

    def _end_task(self, run: Run) -> bool:
        """End the current task; return whether a callback stops training."""
        task, self._task = self._task, None
        if task is None:
            return False
        compute_result = self._result_of(run)
        stops = task.call_on_fit_task_end(
            **self._arguments,
            reconstruction_attributes=lambda: self._attributes_of(compute_result()),
        )
        return bool(stops)
