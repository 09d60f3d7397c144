"""What one sees of a fit as it goes on: lines of text, and scikit-learn's callbacks."""

from .run import Observer, Outcome


def print_line(estimator, text, at_least=1):
    """Print a line if an estimator is as verbose as that."""
    if estimator.verbose >= at_least:
        print(f"[{type(estimator).__name__}] {text}", flush=True)  # noqa: T201


class Progress(Observer):
    """Prints a line at each evaluation of a fit, and lets scikit-learn's callbacks see it.

    For callbacks, the interval between two evaluations is a task.

    Parameters
    ----------
    estimator : estimator
        The one that is fitted.
    X, y : object
        What it was given.
    n_tasks : int
        How many tasks there will be, at most.
    conclude : callable
        Returns the fitted attributes that an `Outcome` gives.
    asks_to_stop : callable, optional
        Returns whether to stop.
    """

    def __init__(self, estimator, X, y, n_tasks, conclude, asks_to_stop=None):
        self.estimator, self.conclude, self.fit, self.task = estimator, conclude, None, None
        self.asks_to_stop = asks_to_stop or (lambda: False)
        self.arguments = {"estimator": estimator, "X": X, "y": y}
        if hasattr(estimator, "_init_callback_context"):
            self.fit = estimator._init_callback_context(max_subtasks=n_tasks)
            self.fit.call_on_fit_task_begin(**self.arguments)

    def print(self, text, at_least=2):
        """Print a line if the estimator is as verbose as that."""
        print_line(self.estimator, text, at_least)

    def begin(self):
        """Begin a task."""
        if self.fit is not None:
            self.task = self.fit.subcontext("epoch").call_on_fit_task_begin(**self.arguments)

    def end(self, run, seconds_left):
        """Print a line and end the task; return whether to stop."""
        n_new, described = run.steps[-1] - run.steps[-2], run.plan.objective.described
        text = f"step {run.step}/{run.plan.stop}, epoch {run.step / run.plan.steps_per_epoch:.4g}"
        text += f", training {described(run.losses[-n_new:].mean())}"
        if len(run.errors[-1]):
            text += f", held-out {described(run.errors[-1].mean(), run.unit)}"
        if seconds_left is not None:
            text += f", {seconds_left:.0f} s left"
        self.print(text, at_least=1)
        return self.close(run) or self.asks_to_stop()

    def close(self, run):
        """End the task, if one is begun."""
        task, self.task = self.task, None
        if task is None:
            return False
        outcome = self.outcome or Outcome.of([run], run.plan.against_pca)
        return task.call_on_fit_task_end(
            **self.arguments, reconstruction_attributes=lambda: self.conclude(outcome)
        )

    def end_fit(self):
        """End the fit, whose attributes the estimator has by now."""
        if self.fit is not None:
            self.fit.call_on_fit_task_end(**self.arguments, reconstruction_attributes=dict)
