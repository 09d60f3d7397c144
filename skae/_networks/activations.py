"""The activations a network may use."""

from operator import attrgetter

import numpy as np
from scipy.special import ndtr


def _silu(x):
    # x * logistic(x) with as few temporary arrays as possible, for this is the default
    half = 0.5 * x
    out = np.tanh(half)
    out += 1
    out *= half
    return out


# For each name, the NumPy function that serves it and the path of TensorFlow's, which trains it. A
# path and not the function, because TensorFlow is imported by training alone. The hyperbolic
# tangent never overflows and NumPy vectorises it: 7 times as fast as scipy's expit.
ACTIVATIONS = {
    "identity": (lambda x: x, "identity"),
    "relu": (lambda x: np.maximum(x, 0), "nn.relu"),
    "tanh": (np.tanh, "math.tanh"),
    "logistic": (lambda x: 0.5 + 0.5 * np.tanh(0.5 * x), "math.sigmoid"),
    "elu": (lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), "nn.elu"),
    "gelu": (lambda x: x * ndtr(x), "nn.gelu"),
    "silu": (_silu, "nn.silu"),
}


def activation(name, ops):
    """Return the function of this name, for the arrays of numpy or the tensors of tensorflow."""
    in_numpy, in_tensorflow = ACTIVATIONS[name]
    return in_numpy if ops is np else attrgetter(in_tensorflow)(ops)
