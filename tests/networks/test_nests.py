"""Functions of nests of arrays."""

from typing import NamedTuple

import numpy as np
import optree
import pytest

from skae._networks.nests import arrays_of, map_nest


class Pair(NamedTuple):
    """A nest of two parts."""

    first: object
    second: object = ()


NEST = {"b": [np.ones(2), (np.zeros(3), np.arange(4))], "a": Pair(np.ones(1)), "empty": []}


def test_the_results_are_those_of_optree():
    expected = optree.tree_map(lambda a: a + 1, NEST)
    actual = map_nest(lambda a: a + 1, NEST)
    assert optree.tree_structure(actual) == optree.tree_structure(expected)
    np.testing.assert_equal(actual, expected)


def test_a_function_takes_an_array_of_each_nest():
    doubled = map_nest(np.add, NEST, NEST)
    np.testing.assert_equal(doubled, map_nest(lambda a: 2 * a, NEST))
    assert list(doubled) == list(NEST)


def test_nests_of_other_structures_are_an_error():
    with pytest.raises(ValueError, match="shorter"):
        map_nest(np.add, [np.ones(2), np.ones(2)], [np.ones(2)])


def test_the_arrays_of_a_nest_are_in_order():
    sizes = [len(array) for array in arrays_of(NEST)]
    assert sizes == [2, 3, 4, 1]
