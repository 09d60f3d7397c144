"""Activation functions in NumPy and in TensorFlow."""

import numpy as np
import pytest
import tensorflow as tf

from skae._networks.activations import ACTIVATIONS, activation


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numpy_and_tensorflow_agree(name, dtype):
    x = np.concatenate([np.linspace(-8, 8, 1001), [-1e4, 1e4]]).astype(dtype)
    ours = activation(name, np)(x)
    theirs = activation(name, tf)(tf.constant(x)).numpy()
    assert ours.dtype == dtype
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=np.finfo(dtype).eps * 8)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_does_not_change_its_input(name):
    x = np.linspace(-2, 2, 5)
    before = x.copy()
    activation(name, np)(x)
    np.testing.assert_array_equal(x, before)
