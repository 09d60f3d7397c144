"""Optimisers, in the form of optax: functions from state to state. And learning rate schedules.

An optimiser has ``init(params)``, which returns its state, a nest of arrays, and
``update(gradients, state, params, step, rate)``, which returns new params and a new state as
tensors. Steps count from one. The loop compiles one function for all optimisers of the same class
that compare equal, so that whatever differs from fit to fit is state.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import optree

from .._runtime.tensorflow import import_tensorflow

# Share of the steps in which a schedule climbs to its peak before it falls, and the number of steps
# for a stream, which does not know how many are to come.
_WARM_UP_SHARE = 0.05
_STREAM_WARM_UP_STEPS = 100


class Adam(NamedTuple):
    """Adam (Kingma & Ba, ICLR 2015, algorithm 1), with its defaults, and an L2 penalty."""

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    def init(self, params, l2=None):
        """Return moments of zero.

        Parameters
        ----------
        params : nest of ndarray
            What will be trained.
        l2 : nest of float, optional
            For each of the params, the factor of half the sum of its squares that is added to the
            objective; zeros by default.

        Returns
        -------
        state : dict
            The moments "m" and "v", and "l2".
        """
        zeros = optree.tree_map(np.zeros_like, params)
        l2 = optree.tree_map(np.float32, l2 or optree.tree_map(lambda _: 0.0, params))
        return {"m": zeros, "v": zeros, "l2": l2}

    def update(self, gradients, state, params, step, rate):
        """Make a step."""
        tf = import_tensorflow(eagerly=False)

        each = tf.nest.map_structure
        t = tf.cast(step, tf.float32)
        rate = rate / (1 - self.beta_1**t)
        correction = 1 / (1 - self.beta_2**t)
        # The gradient of the penalty is added here, where it costs no pass of its own.
        gradients = each(lambda g, p, l2: g + l2 * p, gradients, params, state["l2"])
        m = each(lambda m, g: self.beta_1 * m + (1 - self.beta_1) * g, state["m"], gradients)
        v = each(
            lambda v, g: self.beta_2 * v + (1 - self.beta_2) * tf.square(g), state["v"], gradients
        )
        params = each(
            lambda p, m, v: p - rate * m / (tf.sqrt(v * correction) + self.epsilon), params, m, v
        )
        return params, {"m": m, "v": v, "l2": state["l2"]}


def linear(n_steps, part=slice(None)):
    """Climb to one in 5 % of the steps, then fall in a straight line to zero."""
    climb, progress = _climb_and_progress(n_steps, part)
    return np.minimum(climb, 1 - progress)


def cosine(n_steps, part=slice(None)):
    """Climb to one in 5 % of the steps, then half a cosine down to zero."""
    climb, progress = _climb_and_progress(n_steps, part)
    return np.minimum(climb, (1 + np.cos(np.pi * progress)) / 2)


def _climb_and_progress(n_steps, part):
    warm_up = max(1, round(_WARM_UP_SHARE * n_steps))
    steps = _numbers(n_steps, part)
    return steps / warm_up, (steps - warm_up).clip(min=0) / max(1, n_steps - warm_up)


def constant(n_steps, part=slice(None)):
    """Stay at one."""
    return np.ones(len(_numbers(n_steps, part)))


def warm_up(n_steps, part=slice(None), *, step):
    """Climb to one in 100 steps and stay there: n_steps of this, after `step` of them."""
    return np.minimum((step + _numbers(n_steps, part)) / _STREAM_WARM_UP_STEPS, 1)


def _numbers(n_steps, part):
    """Return the numbers of a part of the steps, which count from one."""
    return 1 + np.arange(*part.indices(n_steps))


# What `learning_rate` may be: functions from a number of steps, and a slice of them, to the share
# of the peak at each step of the slice.
SCHEDULES = {"linear": linear, "cosine": cosine, "constant": constant}


@dataclass(frozen=True)
class Rates:
    """The learning rates of a run: a sequence, of which slices are computed when they are read.

    Attributes
    ----------
    schedule : callable
        See `SCHEDULES`.
    n_steps : int
        Number of steps.
    peak : float
        The largest rate.
    """

    schedule: Any
    n_steps: int
    peak: float

    def __len__(self):
        return self.n_steps

    def __getitem__(self, part):
        return (self.peak * self.schedule(self.n_steps, part)).astype(np.float32)
