"""Conversion to a Keras model, for GPUs, TF Serving and training with Keras."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._networks.forward import clip
from ._networks.network import Autoencoder
from ._runtime.tensorflow import import_tensorflow

# Activations with another name in Keras.
_ACTIVATIONS = {"identity": "linear", "logistic": "sigmoid"}


def to_keras(network: Autoencoder) -> Any:
    """Return a Keras model that reconstructs rows.

    Its layers "encoder" and "decoder" are models too. All layers are built-in layers of Keras, so
    that the model can be saved, loaded and exported without skae.

    Parameters
    ----------
    network : Autoencoder
        Fitted network.

    Returns
    -------
    model : keras.Model
        Uncompiled model that maps rows of shape (n_samples, n_features) to reconstructed rows, in
        the float type of Keras' dtype policy. All weights are trainable. As in `fit`, the gradient
        passes through the clipping to the bounds.
    """
    import_tensorflow()
    import keras

    dtype = keras.config.dtype_policy().variable_dtype
    network = network.rescaled(1.0).astype(np.dtype(dtype))
    hidden, code, output = network.activations

    rows = keras.Input((len(network.offset),), dtype=dtype, name="rows")
    centred = rows - network.offset
    encoder = keras.Model(
        rows, _forward(keras, network.params["encoder"], centred, hidden, code), name="encoder"
    )

    codes = keras.Input((network.code_size,), dtype=dtype, name="codes")
    decoded = _forward(keras, network.params["decoder"], codes, hidden, output) + network.offset
    if np.isfinite(network.bounds).any():
        low, high = network.bounds
        decoded = clip(decoded, low, high, ops=keras.ops)
    decoder = keras.Model(codes, decoded, name="decoder")

    return keras.Model(rows, decoder(encoder(rows)), name="autoencoder")


def _forward(keras: Any, half: dict[str, Any], x: Any, hidden: str, last: str) -> Any:
    """Return the output of the encoder or the decoder, as in `forward.forward`."""
    out = x
    for depth, weights in enumerate(zip(half["coefs"], half["intercepts"], strict=True), start=1):
        is_last = depth == len(half["coefs"])
        out = _dense(
            keras, out, weights, f"layer_{depth}", activation=None if is_last else _name(hidden)
        )
    if "linear" in half:
        out = out + _dense(keras, x, [half["linear"]], "linear", use_bias=False)
    return keras.layers.Activation(_name(last), name="output")(out)


def _dense(
    keras: Any, x: Any, weights: Sequence[NDArray[Any]], name: str, **options: object
) -> Any:
    # zeros, because other initializers change the state of Python's random module
    layer = keras.layers.Dense(
        weights[0].shape[1], kernel_initializer="zeros", name=name, **options
    )
    out = layer(x)
    layer.set_weights(weights)
    return out


def _name(activation: str) -> str:
    return _ACTIVATIONS.get(activation, activation)
