"""Quantiles with weights."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skae._data.weights import quantile

INTEGERS = st.lists(st.tuples(st.integers(-3, 3), st.integers(1, 4)), min_size=1, max_size=12)


@pytest.mark.parametrize("method", ["linear", "lower"])
@given(pairs=INTEGERS, q=st.lists(st.floats(0, 1), min_size=1, max_size=3))
def test_quantiles_with_integer_weights_are_those_of_repeated_values(method, pairs, q):
    values, weights = np.transpose(pairs)
    expected = np.quantile(np.repeat(values, weights), q, method=method)
    found = quantile(values.astype(float), q, weights.astype(float), method=method)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    first = quantile(values.astype(float), q[0], weights.astype(float), method=method)
    assert first == pytest.approx(expected[0], abs=1e-12)
