"""Activation functions."""

from collections.abc import Callable
from operator import attrgetter
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr


def _silu(x: NDArray[Any]) -> NDArray[Any]:
    # x * logistic(x), with few temporary arrays for speed, because this activation is the default
    half = 0.5 * x
    out = np.tanh(half)
    out += 1
    out *= half
    return out


# For each name, the NumPy function for inference and the attribute path of the TensorFlow function
# for training. The path is stored because only training imports TensorFlow. The logistic function
# is computed by the hyperbolic tangent, which does not overflow and is vectorised in NumPy: it is 7
# times as fast as scipy.special.expit.
ACTIVATIONS: dict[str, tuple[Callable[[NDArray[Any]], NDArray[Any]], str]] = {
    "identity": (lambda x: x, "identity"),
    "relu": (lambda x: np.maximum(x, 0), "nn.relu"),
    "tanh": (np.tanh, "math.tanh"),
    "logistic": (lambda x: 0.5 + 0.5 * np.tanh(0.5 * x), "math.sigmoid"),
    "elu": (lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), "nn.elu"),
    "gelu": (lambda x: x * ndtr(x), "nn.gelu"),
    "silu": (_silu, "nn.silu"),
}


def activation(name: str, ops: ModuleType) -> Callable[[Any], Any]:
    """Return the function with this name for NumPy arrays or for TensorFlow tensors.

    Parameters
    ----------
    name : str
        A key of `ACTIVATIONS`.
    ops : module
        `numpy` or `tensorflow`.
    """
    in_numpy, in_tensorflow = ACTIVATIONS[name]
    return in_numpy if ops is np else attrgetter(in_tensorflow)(ops)
