"""Optimisers and learning rate schedules.

Optimisers have the functional interface of optax. All optimisers of the same class that compare
equal share one compiled function. Values that differ between fits are therefore part of the state.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._networks.nests import map_nest
from .._runtime.tensorflow import import_tensorflow

# Length of the warm-up, in which the learning rate increases to its peak: a fraction of all steps
# in fit, and a number of steps in partial_fit, where the total number of steps is unknown.
_WARM_UP_SHARE = 0.05
_STREAM_WARM_UP_STEPS = 100


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma & Ba, ICLR 2015, algorithm 1) with the default constants and an L2 penalty."""

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    def init(self, params: Any, l2: Any = None) -> dict[str, Any]:
        """Return the initial state.

        Parameters
        ----------
        params : nest of ndarray
            Initial params.
        l2 : nest of float, optional
            Penalty factor of each array of params: `l2` / 2 times the sum of its squares is added
            to the objective. The default is zero for all.

        Returns
        -------
        state : dict
            The moments "m" and "v", which are zero, and "l2".
        """
        zeros = map_nest(np.zeros_like, params)
        l2 = map_nest(np.float32, l2 or map_nest(lambda _: 0.0, params))
        return {"m": zeros, "v": zeros, "l2": l2}

    def update(
        self, gradients: Any, state: dict[str, Any], params: Any, step: Any, rate: Any
    ) -> tuple[Any, dict[str, Any]]:
        """Make a step; return the new params and the new state."""
        tf = import_tensorflow(eagerly=False)

        each = tf.nest.map_structure
        t = tf.cast(step, tf.float32)
        rate = rate / (1 - self.beta_1**t)
        correction = 1 / (1 - self.beta_2**t)
        # Adding the gradient of the penalty here needs no extra pass over the weights.
        gradients = each(lambda g, p, l2: g + l2 * p, gradients, params, state["l2"])
        m = each(lambda m, g: self.beta_1 * m + (1 - self.beta_1) * g, state["m"], gradients)
        v = each(
            lambda v, g: self.beta_2 * v + (1 - self.beta_2) * tf.square(g), state["v"], gradients
        )
        params = each(
            lambda p, m, v: p - rate * m / (tf.sqrt(v * correction) + self.epsilon), params, m, v
        )
        return params, {"m": m, "v": v, "l2": state["l2"]}


def linear(n_steps: int, part: slice = slice(None)) -> NDArray[np.float64]:
    """Increase to one in the first 5 % of the steps, then decrease linearly to zero."""
    climb, progress = _climb_and_progress(n_steps, part)
    return np.minimum(climb, 1 - progress)


def cosine(n_steps: int, part: slice = slice(None)) -> NDArray[np.float64]:
    """Increase to one in the first 5 % of the steps, then decrease to zero along half a cosine."""
    climb, progress = _climb_and_progress(n_steps, part)
    return np.minimum(climb, (1 + np.cos(np.pi * progress)) / 2)


def _climb_and_progress(
    n_steps: int, part: slice
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    warm_up = max(1, round(_WARM_UP_SHARE * n_steps))
    steps = _numbers(n_steps, part)
    return steps / warm_up, (steps - warm_up).clip(min=0) / max(1, n_steps - warm_up)


def constant(n_steps: int, part: slice = slice(None)) -> NDArray[np.float64]:
    """Return one for every step."""
    return np.ones(len(_numbers(n_steps, part)))


def warm_up(n_steps: int, part: slice = slice(None), *, step: int) -> NDArray[np.float64]:
    """Increase to one in 100 steps, then stay at one, for `n_steps` steps after `step` steps."""
    return np.minimum((step + _numbers(n_steps, part)) / _STREAM_WARM_UP_STEPS, 1)


def _numbers(n_steps: int, part: slice) -> NDArray[np.intp]:
    """Return the step numbers, counted from one, of the slice `part` of `n_steps` steps."""
    return 1 + np.arange(*part.indices(n_steps))


# ``schedule(n_steps, part)`` returns the learning rate at each step of the slice `part`, as a
# fraction of the peak.
Schedule: TypeAlias = Callable[[int, slice], NDArray[np.float64]]
# Values of `learning_rate`.
SCHEDULES: dict[str, Schedule] = {"linear": linear, "cosine": cosine, "constant": constant}


@dataclass(frozen=True)
class Rates:
    """Sequence of the learning rates of a run; a slice is computed when it is read.

    Attributes
    ----------
    schedule : callable
        See `Schedule`.
    n_steps : int
        Number of steps.
    peak : float
        Largest learning rate.
    """

    schedule: Schedule
    n_steps: int
    peak: float

    def __len__(self) -> int:
        return self.n_steps

    def __getitem__(self, part: slice) -> NDArray[np.float32]:
        rates: NDArray[Any] = self.peak * self.schedule(self.n_steps, part)
        return rates.astype(np.float32)
