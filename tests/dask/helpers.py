"""Estimators and functions that several modules of tests use."""

import time

import numpy as np

from skae import AutoencoderTransformer

# Long enough that training does not end before a test stops it. There are about 40 evaluations, so
# that the first one is after a few seconds.
LONG = {"max_steps": 20_000, "validation_fraction": 0.2, "verbose": 1}


def autoencoder(**params):
    return AutoencoderTransformer(**{"n_components": 8, "random_state": 0} | params)


def reconstruction_error(estimator, X):
    return np.square(estimator.reconstruct(X) - X).mean()


def until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)
