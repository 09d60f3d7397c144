"""Fit of an inner estimator by an estimator that wraps it."""

from sklearn.exceptions import ConvergenceWarning

from .. import _sklearn_compat
from .._runtime.workers import WorkerLostError


def fit_part(owner, part, conclude, X, **given):
    """Fit the inner estimator of an estimator, and set the fitted attributes of the latter.

    Parameters
    ----------
    owner : estimator
        Outer estimator, which becomes fitted.
    part : estimator
        Inner estimator, not fitted yet. Its messages name the outer estimator.
    conclude : callable
        ``conclude(part)`` returns the fitted attributes of the outer estimator, given the fitted
        inner estimator. If an interrupt ends it, it is called a second time.
    X : object
        Training data.
    **given : object
        Other arguments of `fit`.

    Raises
    ------
    WorkerLostError
        If a worker was lost. The outer estimator is fitted if the inner estimator is.
    KeyboardInterrupt
        If an interrupt ends the fit of the inner estimator before it is fitted, or if a second
        interrupt ends `conclude`.
    """
    part, error = _sklearn_compat.as_part_of(owner, part), None
    try:
        part.fit(X, **given)
    except (KeyboardInterrupt, WorkerLostError) as broken_off:
        if not hasattr(part, "encoder_"):
            raise
        error = broken_off
    try:
        state = conclude(_sklearn_compat.as_itself(part))
    except KeyboardInterrupt:
        state = conclude(_sklearn_compat.as_itself(part))
        _sklearn_compat.warn(
            "fit was interrupted after training: the result is kept.", ConvergenceWarning
        )
    owner._adopt(state)
    if error is not None:
        raise error
