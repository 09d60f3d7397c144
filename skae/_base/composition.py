"""Estimators that are made of another one, which they fit."""

from sklearn.exceptions import ConvergenceWarning

from .. import _sklearn_compat
from .._runtime.workers import WorkerLostError


def fit_part(owner, part, conclude, X, **given):
    """Fit the estimator that another one is made of, and keep what it has learnt.

    Parameters
    ----------
    owner : estimator
        Becomes fitted.
    part : estimator
        Not fitted yet. Its messages name the owner.
    conclude : callable
        Returns the fitted attributes of the owner, given the fitted part. It is called a second
        time if an interrupt ends it.
    X : object
        The rows.
    **given : object
        Other arguments of `fit`.

    Raises
    ------
    WorkerLostError
        If a worker was lost. If something was learnt before, the owner is fitted.
    KeyboardInterrupt
        If nothing was learnt yet, or if a second interrupt ends `conclude`.
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
