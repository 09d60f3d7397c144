"""Statistics of the columns of a table with categories."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skae._data.column_statistics import CategoryStatistics, NumberStatistics, TableStatistics

VALUES = st.lists(
    st.one_of(st.floats(-1e6, 1e6, width=32), st.integers(-9, 9).map(float), st.just(np.nan)),
    min_size=1,
    max_size=30,
)
ENTRIES = st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=30)
CUTS = st.lists(st.integers(0, 30), max_size=3)


def parts_of(entries, cuts):
    """Return entries as a column, and the parts of the column between sorted cuts."""
    column = pd.Series(entries, dtype=float if isinstance(entries[0], float) else object)
    cuts = [0, *sorted(min(cut, len(column)) for cut in cuts), len(column)]
    return column, [column[start:end] for start, end in pairwise(cuts)]


@given(VALUES, CUTS)
def test_merged_statistics_of_numbers_are_those_of_all_rows(values, cuts):
    column, parts = parts_of(values, cuts)
    ours = NumberStatistics.merged([NumberStatistics.of(part) for part in parts])
    theirs = NumberStatistics.of(column)
    if theirs is None:
        assert ours is None
        return
    size = np.nanmax(np.abs(values)) or 1.0
    assert (ours.n_values, ours.least, ours.most) == (theirs.n_values, theirs.least, theirs.most)
    assert ours.mean == pytest.approx(theirs.mean, rel=1e-9, abs=1e-9 * size)
    assert ours.variance == pytest.approx(theirs.variance, rel=1e-6, abs=1e-12 * size**2)


@given(ENTRIES, CUTS)
def test_merged_statistics_of_categories_are_those_of_all_rows(entries, cuts):
    column, parts = parts_of(entries, cuts)
    ours = CategoryStatistics.merged([CategoryStatistics.of(part) for part in parts])
    theirs = CategoryStatistics.of(column)
    assert ours == theirs
    assert ours.categories.tolist() == theirs.categories.tolist()


def test_merged_categories_have_the_order_of_the_dtypes():
    dtypes = [pd.CategoricalDtype(list("zx")), pd.CategoricalDtype(list("xya"))]
    parts = [CategoryStatistics.of(pd.Series(list("xx"), dtype=dtypes[0]))]
    parts.append(CategoryStatistics.of(pd.Series(list("xya"), dtype=dtypes[1])))
    assert CategoryStatistics.merged(parts).categories.tolist() == list("xya")


def test_a_constant_column_keeps_the_scale_one():
    parts = [NumberStatistics.of(pd.Series(np.full(n, 0.1))) for n in (3, 70, 1000)]
    assert NumberStatistics.merged(parts).scale == 1


def test_an_error_names_the_column():
    X = pd.DataFrame({"mass": [1.0, np.inf], "kind": ["a", "b"]})
    with pytest.raises(ValueError, match=r"'mass'.*infinity"):
        TableStatistics.of(X, np.array([False, True]))
