"""Callbacks of a fit."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .run import Run


class FitCallback:
    """Base class of the callbacks of a fit. The methods of this class do nothing."""

    def log(self, text: str, level: int = 2) -> None:
        """Report a line of text, which is for users with a `verbose` of at least `level`."""

    def should_stop(self) -> bool:
        """Whether a stop of training was requested."""
        return False

    def on_fit_begin(self, n_intervals: int, result_of: Callable[["Run"], Any]) -> None:
        """Handle the start of a fit.

        Parameters
        ----------
        n_intervals : int
            Maximum number of intervals between two evaluations, over all runs.
        result_of : callable
            ``result_of(run)`` returns a function that computes the `FitResult` of the fit, as if it
            ended at the call of `result_of`. `run` is the present run.
        """

    def on_interval_begin(self) -> None:
        """Handle the start of training, or its continuation after an evaluation."""

    def on_evaluation(self, run: "Run", seconds_left: float | None) -> bool:
        """Handle an evaluation of the validation rows; return True to stop the run.

        `seconds_left` estimates the remaining time of the run; None if there is no estimate yet.
        """
        return False

    def on_run_end(self, run: "Run") -> None:
        """Handle the end of a run, which may be between two evaluations."""
