"""Progress output and calls of scikit-learn callbacks."""

from .run import Outcome, TrainingCallback


def print_line(estimator, text, at_least=1):
    """Print a line of text if `estimator.verbose` is at least `at_least`."""
    if estimator.verbose >= at_least:
        print(f"[{type(estimator).__name__}] {text}", flush=True)  # noqa: T201


class Progress(TrainingCallback):
    """Callback that prints a line at each evaluation and calls scikit-learn callbacks.

    The interval between two evaluations is one task of the scikit-learn callbacks.

    Parameters
    ----------
    estimator : estimator
        The estimator on which `fit` was called.
    X, y : object
        Arguments of `fit`.
    n_tasks : int
        Maximum number of tasks.
    conclude : callable
        ``conclude(outcome)`` returns the fitted attributes that belong to an `Outcome`.
    should_stop : callable, optional
        ``should_stop()`` is called at each evaluation and returns whether to stop.
    """

    def __init__(self, estimator, X, y, n_tasks, conclude, should_stop=None):
        self.estimator, self.conclude, self.fit, self.task = estimator, conclude, None, None
        self.should_stop = should_stop or (lambda: False)
        self.arguments = {"estimator": estimator, "X": X, "y": y}
        if hasattr(estimator, "_init_callback_context"):
            self.fit = estimator._init_callback_context(max_subtasks=n_tasks)
            self.fit.call_on_fit_task_begin(**self.arguments)

    def log(self, text, at_least=2):
        """Print a line of text if `verbose` of the estimator is at least `at_least`."""
        print_line(self.estimator, text, at_least)

    def on_interval_begin(self):
        """Begin a task."""
        if self.fit is not None:
            self.task = self.fit.subcontext("epoch").call_on_fit_task_begin(**self.arguments)

    def on_evaluation(self, run, seconds_left):
        """Print a line and end the task; return whether to stop training."""
        n_new, described = run.steps[-1] - run.steps[-2], run.plan.objective.described
        text = f"step {run.step}/{run.plan.stop}, epoch {run.step / run.plan.steps_per_epoch:.4g}"
        text += f", training {described(run.losses[-n_new:].mean())}"
        if len(run.errors[-1]):
            text += f", held-out {described(run.errors[-1].mean(), run.unit)}"
        if seconds_left is not None:
            text += f", {seconds_left:.0f} s left"
        self.log(text, at_least=1)
        return self.on_run_end(run) or self.should_stop()

    def on_run_end(self, run):
        """End the current task, if there is one."""
        task, self.task = self.task, None
        if task is None:
            return False
        outcome = self.outcome or Outcome.of([run], run.plan.against_pca)
        return task.call_on_fit_task_end(
            **self.arguments, reconstruction_attributes=lambda: self.conclude(outcome)
        )

    def on_fit_end(self):
        """End the task of the fit. The fitted attributes of the estimator must be set before."""
        if self.fit is not None:
            self.fit.call_on_fit_task_end(**self.arguments, reconstruction_attributes=dict)
