"""Faults inside skae: interrupts, lost workers, divergence and errors at a given place.

Users cannot cause these faults through an argument, and a real fault cannot be timed. This module
is therefore the only one in which tests replace functions and constants of skae. Tests use its
context managers, and check what a user sees after the fault. If a fault does not happen, its
context manager raises an AssertionError.
"""

import inspect
import math
import pkgutil
from contextlib import contextmanager
from functools import wraps
from unittest import mock

import numpy as np

TRAINING_LOOP = "skae._training.loop.train"
TRAINING_OF_SPLITS = "skae._training.selection.train"  # in parallel
STATISTICS = "skae._initialization.initial_network.location_and_scale"
WHITENING = "skae._networks.whitening.code_sums"


@contextmanager
def raising(name, error, *, after=0, times=math.inf, at_end=False):
    """Let a function of skae raise an error.

    Parameters
    ----------
    name : str
        Dotted name under which skae finds the function. If it is a generator function, the error
        is raised instead of an item.
    error : BaseException
        The error.
    after : int
        Number of calls, or of items, before the first error.
    times : int or inf
        Number of errors.
    at_end : bool
        Whether the function is completed before the error is raised.
    """
    function, n_calls = pkgutil.resolve_name(name), 0

    def fail():
        nonlocal n_calls
        n_calls += 1
        if after < n_calls <= after + times:
            raise error

    @wraps(function)
    def call(*arguments, **options):
        if not at_end:
            fail()
        result = function(*arguments, **options)
        if at_end:
            fail()
        return result

    @wraps(function)
    def generate(*arguments, **options):
        for item in function(*arguments, **options):
            fail()
            yield item

    with mock.patch(name, generate if inspect.isgeneratorfunction(function) else call):
        yield
    assert n_calls > after, f"{name} was called {n_calls} times"


@contextmanager
def diverging(after):
    """Let training diverge: after `after` calls of the training loop, the losses are NaN."""
    train, n_calls = pkgutil.resolve_name(TRAINING_LOOP), 0

    def diverge(*arguments, **options):
        nonlocal n_calls
        n_calls += 1
        is_bad = n_calls > after
        for state, losses in train(*arguments, **options):
            yield state, np.full_like(losses, np.nan) if is_bad else losses

    with mock.patch(TRAINING_LOOP, diverge):
        yield
    assert n_calls > after, f"the training loop was called {n_calls} times"
