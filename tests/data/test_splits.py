"""Splits of the rows into training and validation rows."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skae._data.splits import all_rows, block_splits, group_numbers, group_splits, random_splits
from skae._data.table import Table


@given(st.integers(2, 300), st.floats(0.01, 0.99), st.integers(1, 120), st.integers(0, 5))
def test_splits_have_disjoint_validation_rows(n_samples, fraction, wanted, seed):
    splits = random_splits(n_samples, fraction, wanted, np.random.default_rng(seed))
    for split in splits:
        training, validation_rows = split.training, split.validation_rows
        assert len(training) > 0
        assert len(validation_rows) > 0
        np.testing.assert_array_equal(
            np.sort(np.concatenate([training, validation_rows])), np.arange(n_samples)
        )
    size = len(splits[0].validation_rows)
    assert abs(size - fraction * n_samples) <= 1
    combined = np.concatenate([split.validation_rows for split in splits])
    assert len(np.unique(combined)) == len(combined)
    # enough rows, or as many as possible, and not one split too many
    assert len(combined) >= wanted or len(combined) + size > n_samples
    assert len(combined) - size < wanted


@pytest.mark.parametrize(("n_samples", "fraction"), [(1, 0.1), (50, 0)])
def test_one_row_or_a_fraction_of_zero_gives_no_validation_rows(n_samples, fraction):
    (split,) = random_splits(n_samples, fraction, 100, np.random.default_rng(0))
    np.testing.assert_array_equal(split.training, np.arange(n_samples))
    assert len(split.validation_rows) == 0


def test_the_number_of_validation_rows_is_limited():
    (split,) = random_splits(700_000, 0.1, 100, np.random.default_rng(0))
    assert (len(split.training), len(split.validation_rows)) == (700_000 - 65_536, 65_536)


# ---- groups


def rows_of_groups(sizes, seed):
    """Return the group number of each row, shuffled."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    return np.random.default_rng(seed).permutation(groups)


@given(
    st.lists(st.integers(1, 30), min_size=2, max_size=40),
    st.floats(0.01, 0.9),
    st.integers(1, 120),
    st.integers(1, 8),
    st.integers(0, 5),
)
def test_each_group_is_in_training_or_in_validation(sizes, fraction, wanted, wanted_groups, seed):
    groups = rows_of_groups(sizes, seed)
    splits = group_splits(groups, fraction, wanted, wanted_groups, np.random.default_rng(seed))
    combined = np.concatenate([split.validation_rows for split in splits])
    assert len(np.unique(combined)) == len(combined) > 0
    for split in splits:
        rows = np.sort(np.concatenate([split.training, split.validation_rows]))
        np.testing.assert_array_equal(rows, np.arange(len(groups)))
        assert not set(groups[split.training]) & set(groups[split.validation_rows])
        assert len(split.training) > 0
        np.testing.assert_array_equal(split.groups, groups[split.validation_rows])
        # as near to the wanted number as complete groups allow; the last split may have half
        error = abs(len(split.validation_rows) - fraction * len(groups))
        is_last = split is splits[-1]
        assert error <= max(sizes) + 1 or (is_last and error <= fraction * len(groups) / 2 + 1)
    enough = len(combined) >= wanted and len(set(groups[combined])) >= wanted_groups
    left = len(groups) - len(combined)
    largest = max(sizes) if max(sizes) > len(groups) / 2 else 0
    assert enough or left - largest < fraction * len(groups) + max(sizes)


@given(st.integers(2, 300), st.floats(0.01, 0.5), st.integers(1, 120), st.integers(0, 5))
def test_groups_of_one_row_are_split_as_independent_rows(n_samples, fraction, wanted, seed):
    groups = np.arange(n_samples)
    ours = group_splits(groups, fraction, wanted, 1, np.random.default_rng(seed))
    theirs = random_splits(n_samples, fraction, wanted, np.random.default_rng(seed))
    assert len(theirs) <= len(ours) <= len(theirs) + 1
    for one, other in zip(ours, theirs, strict=False):
        np.testing.assert_array_equal(one.training, other.training)
        np.testing.assert_array_equal(one.validation_rows, other.validation_rows)


def test_a_group_with_more_than_half_of_the_rows_is_trained_on():
    groups = rows_of_groups([80, 5, 5, 5, 5], seed=0)
    for seed in range(10):
        splits = group_splits(groups, 0.1, 100, 5, np.random.default_rng(seed))
        assert all(0 in groups[split.training] for split in splits)
        assert sum(len(split.validation_rows) for split in splits) == 20


def test_a_single_group_is_an_error():
    groups, rng = np.zeros(10, int), np.random.default_rng(0)
    with pytest.raises(ValueError, match="groups has one group"):
        group_splits(groups, 0.1, 100, 5, rng)
    (split,) = group_splits(groups, 0, 100, 5, rng)
    assert len(split.validation_rows) == 0


def test_with_a_validation_table_all_rows_are_training_rows():
    table, validation = Table(np.ones((7, 2))), Table(np.zeros((3, 2)))
    training, validation_rows = all_rows(7, validation).tables(table)
    np.testing.assert_array_equal(training.take(slice(None)), table.X)
    np.testing.assert_array_equal(validation_rows.take(slice(None)), validation.X)


NAMES = ["b", "a", "b", "c", "a"]
DAYS = [datetime.date(2020, 1, 1 + "bac".index(name)) for name in NAMES]


@pytest.mark.parametrize(
    "groups",
    [
        NAMES,
        tuple(NAMES),
        np.array(NAMES),
        np.array(NAMES, dtype=object),
        np.array(NAMES, dtype=np.dtypes.StringDType()),
        [1, 0, 1, 2, 0],
        np.array([[1], [0], [1], [2], [0]])[:, 0],
        np.array([1.5, -0.0, 1.5, np.inf, 0.0]),
        [(1, 2), (1, 3), (1, 2), (2, 2), (1, 3)],
        ["b", 1, "b", (2, 3), 1],
        DAYS,
        np.array(DAYS, dtype="M8[D]"),
        pd.Series(NAMES, index=[4, 4, 1, 0, 7], dtype="category"),
        pd.Series([1, 0, 1, 2, 0], dtype="Int64"),
        pd.Series(DAYS, dtype="datetime64[ns]"),
        pl.Series(NAMES),
        pl.Series([1, 0, 1, 2, 0]),
    ],
    ids=lambda groups: f"{type(groups).__name__} {getattr(groups, 'dtype', '')}",
)
def test_groups_may_be_any_hashable_values(groups):
    numbers = group_numbers(groups, np.zeros((5, 2)))
    assert sorted(set(numbers)) == [0, 1, 2]
    same = np.equal.outer(numbers, numbers)
    np.testing.assert_array_equal(same, np.equal.outer(*2 * [np.array(NAMES)]))


@pytest.mark.parametrize(
    "groups",
    [
        ["a", None, "b", "b", "c"],
        ["a", float("nan"), "b", "b", "c"],
        ["a", pd.NA, "b", "b", "c"],
        np.array([1, 2, 2, np.nan, 3]),
        np.array(["2020-01-01", "NaT", "2020-01-01", "2020-01-02", "NaT"], dtype="M8[D]"),
        np.ma.masked_equal([1, 2, 3, 3, 4], 3),
        pd.Series([1, 2, None, 2, 3], dtype="Int64"),
        pd.Series(["a", "b", None, "b", "c"], dtype="string"),
        pl.Series(["a", "b", None, "b", "c"]),
    ],
    ids=lambda groups: f"{type(groups).__name__} {getattr(groups, 'dtype', '')}",
)
def test_missing_groups_are_an_error(groups):
    with pytest.raises(ValueError, match="groups has missing values"):
        group_numbers(groups, np.zeros((5, 2)))


def test_groups_of_another_length_or_shape_are_an_error():
    X = np.zeros((5, 2))
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[5, 4\]"):
        group_numbers(NAMES[:4], X)
    with pytest.raises(
        ValueError, match=r"groups must have one value for each row, got an array of shape \(5, 2\)"
    ):
        group_numbers(np.zeros((5, 2)), X)
    with pytest.raises(TypeError, match="groups must have hashable values"):
        group_numbers([[1], [2], [1], [2], [1]], X)


# ---- blocks


@given(
    st.integers(20, 200),
    st.integers(1, 60),
    st.floats(0.01, 0.9),
    st.integers(1, 120),
    st.integers(1, 8),
    st.integers(0, 5),
)
@settings(max_examples=40)
def test_rows_near_a_validation_block_are_not_trained_on(n, reach, fraction, wanted, blocks, seed):
    rng = np.random.default_rng(seed)
    splits = block_splits(n, reach, fraction, wanted, blocks, rng)
    combined = np.concatenate([split.validation_rows for split in splits])
    assert len(np.unique(combined)) == len(combined) > 0
    size = min(max(1, round(fraction * n)), n - 1)
    for split in splits:
        assert len(split.training) > 0
        assert not set(split.training) & set(split.validation_rows)
        assert size / 2 < len(split.validation_rows) <= size
        for validation_rows in (
            split.validation_rows[split.groups == block] for block in set(split.groups)
        ):
            np.testing.assert_array_equal(np.diff(validation_rows), 1)
        n_blocks = len(set(split.groups))
        distances = abs(np.subtract.outer(split.training, split.validation_rows)).min(axis=1)
        # rows within the reach of a block are left out, up to a limit
        margin = min(reach, (n - size) // (6 * n_blocks))
        assert distances.min() > margin
        assert n - len(split.training) - len(split.validation_rows) <= 2 * n_blocks * margin
    numbers = np.concatenate([split.groups for split in splits])
    assert len(set(numbers)) == sum(len(set(split.groups)) for split in splits)
    if blocks > 1 and len(combined) < n - 1 and len(set(numbers)) > 1:
        assert {0, n - 1} <= set(combined)  # the first and the last row
    is_full = len(combined) + len(splits[0].validation_rows) > n
    assert is_full or (len(combined) >= wanted and len(set(numbers)) >= blocks)


def test_blocks_are_spread_over_the_table_and_differ_between_splits():
    splits = block_splits(1000, 10, 0.1, 100, 20, np.random.default_rng(0))
    assert len(splits) == 2
    for split in splits:
        firsts = split.validation_rows[:: 100 // 10]
        assert (np.diff(firsts) > 20).all()
        assert firsts[0] < 200
        assert firsts[-1] > 800
    assert splits[0].validation_rows[0] == 0
    assert splits[1].validation_rows[-1] == 999
    assert not set(splits[0].validation_rows) & set(splits[1].validation_rows)
    again = block_splits(1000, 10, 0.1, 100, 20, np.random.default_rng(0))
    np.testing.assert_array_equal(again[1].validation_rows, splits[1].validation_rows)
