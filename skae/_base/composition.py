"""Fit of an inner estimator by an estimator that wraps it."""

from collections.abc import Callable
from typing import Any

from sklearn.exceptions import ConvergenceWarning

from .. import _sklearn_compat
from .._runtime.workers import WorkerLostError


def fit_inner(
    owner: Any,
    inner: Any,
    attributes_of: Callable[[Any], dict[str, Any]],
    X: object,
    **given: object,
) -> None:
    """Fit the inner estimator of an estimator, and set the fitted attributes of the latter.

    Parameters
    ----------
    owner : estimator
        Outer estimator, which becomes fitted.
    inner : estimator
        Inner estimator, not fitted yet. Its messages name the outer estimator.
    attributes_of : callable
        ``attributes_of(inner)`` returns the fitted attributes of the outer estimator, given the
        fitted inner estimator. If an interrupt ends it, it is called a second time.
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
        interrupt ends `attributes_of`.
    """
    inner = _sklearn_compat.with_name_of_owner(owner, inner)
    error: BaseException | None = None
    try:
        inner.fit(X, **given)
    except (KeyboardInterrupt, WorkerLostError) as exception:
        if not hasattr(inner, "encoder_"):
            raise
        error = exception
    try:
        state = attributes_of(_sklearn_compat.with_own_name(inner))
    except KeyboardInterrupt:
        state = attributes_of(_sklearn_compat.with_own_name(inner))
        _sklearn_compat.warn(
            "fit was interrupted after training: the result is kept.", ConvergenceWarning
        )
    owner._set_fitted(state)
    if error is not None:
        raise error
