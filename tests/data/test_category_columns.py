"""Probabilities of categories."""

import numpy as np
import pytest

from skae._data.category_columns import with_temperature

PROBABILITIES = np.array([[0.1, 0.3, 0.6], [0.0, 0.5, 0.5], [1.0, 0.0, 0.0]])


@pytest.mark.parametrize("temperature", [0.25, 0.5, 2, 100])
def test_a_temperature_is_an_exponent_of_probabilities(temperature):
    powers = PROBABILITIES ** (1 / temperature)
    expected = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(with_temperature(PROBABILITIES, temperature), expected, atol=1e-12)


@pytest.mark.parametrize("temperature", [0, 1e-300])
def test_without_temperature_the_most_probable_category_is_certain(temperature):
    expected = [[0, 0, 1], [0, 0.5, 0.5], [1, 0, 0]]
    np.testing.assert_array_equal(with_temperature(PROBABILITIES, temperature), expected)


def test_a_temperature_of_one_changes_nothing():
    assert with_temperature(PROBABILITIES, 1) is PROBABILITIES
