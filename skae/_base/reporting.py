"""Texts about the result of a fit: the last line of the log, warnings and errors."""

from typing import TYPE_CHECKING

from sklearn.exceptions import ConvergenceWarning

from .. import _sklearn_compat
from .._runtime.workers import WorkerLostError
from .._training.fit import FitResult
from .._training.run import StopReason

if TYPE_CHECKING:
    from .training import BaseAutoencoder

# Parameters whose decrease may keep training from diverging.
_REMEDIES = ("learning_rate_init", "alpha", "noise")


def kept_text(estimator: "BaseAutoencoder", result: FitResult) -> str:
    """Return the last line of the log: the kept network and its error."""
    objective, outcome = result.plan.objective, result.outcome
    error = objective.format_error(result.error, result.loss_scale)
    if outcome.step or not result.plan.pca_is_baseline:
        return f"kept step {outcome.step}: {error}"
    reason = ""
    if outcome.stop_reason == StopReason.EXACT:
        reason = ": its error is zero"
    elif len(outcome.curve):
        reason = ": the network was not better on validation rows"
    pca = "probabilistic PCA" if estimator._spec().is_imputer else estimator._pca_name
    return f"kept {pca}{reason} ({error})"


def report_stop(
    estimator: "BaseAutoencoder", stop_reason: StopReason, exception: BaseException | None
) -> None:
    """Warn if training diverged or was interrupted; raise an error if a worker was lost."""
    names = _sklearn_compat.named_parameters(estimator)
    if stop_reason == StopReason.DIVERGED:
        *most, last = [name for name in _REMEDIES if name in names]
        _sklearn_compat.warn(
            "Training diverged: the loss exploded, or the loss or a weight is infinite or NaN. The "
            "best network before that is kept. "
            f"Lower {', '.join(most)} or {last}, or scale the data.",
            ConvergenceWarning,
        )
    if stop_reason == StopReason.INTERRUPTED:
        _sklearn_compat.warn(
            "Training was interrupted. The best network so far is kept.", ConvergenceWarning
        )
    if stop_reason == StopReason.WORKER_LOST:
        go_on = ", and resume training with warm_start=True" if "warm_start" in names else ""
        raise WorkerLostError(
            f"{exception} The best network so far is kept in this estimator: save it{go_on}."
        ) from exception
