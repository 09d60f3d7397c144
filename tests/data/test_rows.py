"""Rows of X: read as floats, in blocks, and assigned to the workers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from skae._data.table import Table
from skae._runtime.workers import Workers

CONTAINERS = ["array", "memmap", "CSR", "Fortran", "view"]


def in_blocks_of(n_numbers):
    """Return a class of tables that are read in blocks of `n_numbers` entries."""

    class SmallBlocks(Table):
        def _slices(self, *widths):
            n_rows = min(1000, max(1, n_numbers // max(self.n_features, *widths, 1)))
            return super()._slices(2**20 // n_rows)

    return SmallBlocks


@pytest.mark.parametrize("dtype", ["f4", "f8", "u1", "i8", "?"])
@pytest.mark.parametrize("container", CONTAINERS)
def test_rows_are_read_in_single_precision_where_they_came_in_it(
    numbers, dtype, container, contained
):
    X = contained(numbers.astype(dtype), container)
    expected = np.float32 if dtype == "f4" else np.float64
    assert Table(X).dtype == expected
    for rows in (slice(3, 9), np.array([3, 4, 5, 6, 7, 8])):
        read = Table(X).take(rows)
        assert read.dtype == expected
        assert read.flags.c_contiguous
        np.testing.assert_array_equal(read, numbers.astype(dtype)[3:9])


def test_standardising_rows_leaves_the_table_as_it_was(numbers):
    before = numbers.copy()
    assert np.shares_memory(Table(numbers).take(slice(0, 9)), numbers)
    for rows in (slice(0, 9), np.arange(9)):
        scaled = Table(numbers).standardised(np.ones(5), 4.0).take(rows)
        np.testing.assert_array_equal(scaled, (before[:9] - 1) / 4)
        np.testing.assert_array_equal(numbers, before)


def test_large_offsets_are_subtracted_in_the_precision_of_the_table():
    X = 1e9 + np.arange(6.0).reshape(3, 2)
    for rows in (np.arange(3), slice(0, 3)):
        out = np.empty((3, 2), dtype=np.float32)
        assert Table(X).standardised(X.mean(axis=0), 1.0).take(rows, out=out) is out
        np.testing.assert_array_equal(out, X - X.mean(axis=0))


@pytest.mark.parametrize("dtype", ["f4", "f8", "u1"])
@pytest.mark.parametrize("container", CONTAINERS)
def test_standardised_rows_are_the_same_however_they_are_asked_for(
    numbers, dtype, container, contained
):
    X = contained((9 * numbers).astype(dtype), container)
    table = Table(X)
    table = table.standardised(np.linspace(-1, 1, 5).astype(table.dtype), 3.0)
    expected = ((9 * numbers).astype(dtype) - np.linspace(-1, 1, 5)) / 3
    for read in (
        table.take(slice(3, 9)),
        table.take(np.arange(3, 9)),
        table.select(np.arange(3, 9)).take(slice(0, 6)),
    ):
        assert read.dtype == table.dtype
        assert read.flags.c_contiguous
        np.testing.assert_allclose(read, expected[3:9], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(read, table.take(slice(3, 9)))


def test_selected_rows_are_those_of_the_selection(numbers):
    y = np.arange(20)
    table = Table(numbers, y=y).select(np.arange(19, 0, -2)).select(slice(None, None, 3))
    assert (table.n_rows, table.n_features) == (4, 5)
    np.testing.assert_array_equal(table.rows, [19, 13, 7, 1])
    np.testing.assert_array_equal(table.take(slice(1, 3)), numbers[[13, 7]])
    np.testing.assert_array_equal(table.take(np.array([3, 0])), numbers[[1, 19]])
    assert table.y is y
    standardised = table.standardised(np.ones(5), 2.0).select(np.array([2, 0]))
    np.testing.assert_array_equal(standardised.take(slice(0, 2)), (numbers[[7, 19]] - 1) / 2)
    assert Table(numbers).select(slice(0, 0)).n_rows == 0


def test_a_table_alone_reads_all_rows(numbers):
    table = Table(numbers, workers=Workers(None, range(1, 2), 3))
    assert sum(map(len, table.blocks())) == 7
    assert sum(map(len, table.local().blocks())) == 20


@given(st.integers(0, 50), st.integers(1, 30), st.integers(1, 200))
def test_blocks_cover_the_rows_in_order(n_samples, width, n_numbers):
    rows = np.arange(n_samples * width, dtype=float).reshape(n_samples, width)
    blocks = list(in_blocks_of(n_numbers)(rows).blocks())
    np.testing.assert_array_equal(np.concatenate([rows[:0], *blocks]), rows)
    assert all(len(block) > 0 and (len(block) == 1 or block.size <= n_numbers) for block in blocks)


def test_the_blocks_of_a_table_stay_small_for_what_is_made_of_them():
    table = Table(np.broadcast_to(np.arange(5.0), (3 * 2**18, 5)))
    lengths = [len(block) for block in table.blocks()]
    assert sum(lengths) == 3 * 2**18
    assert max(lengths) == 2**20 // 5
    for widths in ((3,), (5,)):
        assert [len(block) for block in table.blocks(*widths)] == lengths
    assert max(len(block) for block in table.blocks(2, 50)) == 2**20 // 50
    few = table.select(slice(0, 3))
    assert [len(block) for block in few.blocks(2**20 + 1)] == [1, 1, 1]
    assert [len(block) for block in Table(np.ones((3, 5))).blocks(2**21)] == [1, 1, 1]


class Gathering:
    """Workers that run in turns: what one says, all others have said already."""

    def __init__(self, index, said):
        self.index, self.said = index, said

    def all_gather_object(self, item):
        return self.said

    def share(self, n_rows):
        raise AssertionError("rows of shards are not shared out")


def in_shards(X, cuts, index, **parts):
    """The table of one worker, whose shard lies between two cuts."""
    said = [(len(shard), False) for shard in np.split(X, cuts)]
    table = Table(np.split(X, cuts)[index], **parts)
    return table.in_shards(Gathering(index, said))


@pytest.mark.parametrize("cuts", [[0], [3], [0, 4], [2, 2, 5]])
def test_rows_before_those_of_a_table_are_the_first_worker_s(cuts):
    X, rows = np.arange(7.0, dtype=np.float32)[:, None], np.array([[8.0], [np.nan], [9.5]])
    tables = [in_shards(X, cuts, i).with_rows_before(rows) for i in range(len(cuts) + 1)]
    for table in [*tables, Table(X).with_rows_before(rows)]:
        assert table.n_rows == 10
        assert table.is_incomplete
        assert table.dtype == np.float64
    blocks = [block for table in tables for block in table.blocks()]
    np.testing.assert_array_equal(np.vstack(blocks), np.vstack([rows, X]))
    whole = Table(csr_array(X)).with_rows_before(rows)
    np.testing.assert_array_equal(whole.take(slice(None)), np.vstack([rows, X]))


@given(st.lists(st.integers(0, 20), min_size=1, max_size=3), st.sets(st.integers(0, 19)))
def test_each_worker_reads_the_rows_of_its_shard(cuts, chosen):
    X, cuts, chosen = np.arange(20.0)[:, None], sorted(cuts), np.array(sorted(chosen), dtype=int)
    parts = []
    for index in range(len(cuts) + 1):
        table = in_shards(X, cuts, index).select(chosen)
        blocks = list(table.blocks())
        alone = list(table.local().blocks())
        np.testing.assert_array_equal(np.vstack([X[:0], *alone]), np.vstack([X[:0], *blocks]))
        parts += blocks
    np.testing.assert_array_equal(np.vstack([X[:0], *parts]), X[chosen])
