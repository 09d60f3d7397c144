"""Params of a network, and its forward pass.

Params are a nest of float arrays::

    encoder, decoder
        coefs       list of (n_in, n_out), one per layer
        intercepts  list of (n_out,), one per layer
        linear      (n_in, n_out), the linear path parallel to the layers; absent in a plain stack
    head            as encoder and decoder, with one layer that predicts y from the code; only in
                    training, and only with a target

Training and fitted estimators store params in this form. The same functions compute the forward
pass in NumPy for inference and in TensorFlow for training.
"""

from collections.abc import Iterable
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .activations import activation

Params: TypeAlias = dict[str, Any]
# Names of the hidden, code and output activation.
Activations: TypeAlias = tuple[str, str, str]


def with_inputs(encoder: Params, matrix: NDArray[Any]) -> Params:
    """Return the encoder that maps ``x`` to the output of `encoder` for ``x @ matrix``."""
    first, *others = encoder["coefs"]
    encoder = encoder | {"coefs": [matrix @ first, *others]}
    if "linear" in encoder:
        encoder["linear"] = matrix @ encoder["linear"]
    return encoder


def forward(params: Params, x: Any, hidden: str, last: str, ops: ModuleType = np) -> Any:
    """Compute the output of the encoder or the decoder: the layers plus the linear path.

    Parameters
    ----------
    params : dict
        Params of the encoder or the decoder, as arrays or as tensors. The params of several
        networks may be stacked along a first axis.
    x : ndarray or tensor of shape (n_rows, n_in)
        Input; with an additional first axis if several networks are stacked.
    hidden, last : str
        Names of the activations of the hidden layers and of the output.
    ops : module, default=numpy
        `numpy` or `tensorflow`.

    Returns
    -------
    out : ndarray or tensor of shape (n_rows, n_out)
        Output; with an additional first axis if several networks are stacked.
    """
    apply_hidden, apply_last = activation(hidden, ops), activation(last, ops)
    layers = zip(params["coefs"], params["intercepts"], strict=True)
    out = x
    for depth, (coef, intercept) in enumerate(layers):
        out = (apply_hidden(out) if depth > 0 else out) @ coef
        out += intercept[..., None, :]
    if "linear" in params:
        out += x @ params["linear"]
    return apply_last(out)


def clip(rows: Any, low: Any, high: Any, ops: ModuleType = np) -> Any:
    """Clip rows to the bounds of each feature; NumPy arrays are clipped in place.

    In TensorFlow the derivative is one everywhere (straight-through gradient). The derivative of
    the clip is zero outside the bounds, and outputs outside the bounds would not be trained. The
    data are within the bounds, so that the residual has the right sign there.
    """
    if ops is np:
        return np.clip(rows, low, high, out=rows)
    clipped = ops.minimum(ops.maximum(rows, low), high)
    # the value is exactly that of the first term, the derivative that of the second term
    return ops.stop_gradient(clipped) + (rows - ops.stop_gradient(rows))


def reconstruct(
    params: Params, rows: Any, bounds: Iterable[Any], activations: Activations, ops: ModuleType = np
) -> Any:
    """Encode and decode standardised rows, in NumPy or TensorFlow."""
    return decode(params, encode(params, rows, activations, ops), bounds, activations, ops)


def encode(params: Params, rows: Any, activations: Activations, ops: ModuleType = np) -> Any:
    """Return the codes of standardised rows."""
    hidden, code, _ = activations
    return forward(params["encoder"], rows, hidden, code, ops)


def decode(
    params: Params,
    codes: Any,
    bounds: Iterable[Any],
    activations: Activations,
    ops: ModuleType = np,
) -> Any:
    """Return the standardised rows that codes are decoded to, clipped to standardised bounds."""
    (hidden, _, output), (low, high) = activations, bounds
    return clip(forward(params["decoder"], codes, hidden, output, ops), low, high, ops)
