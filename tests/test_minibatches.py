"""Rows to chunks."""

import os
from itertools import islice

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from skae._minibatches import (
    chunk_shape,
    chunks,
    float_type,
    held_out_splits,
    minibatches,
    prefetch,
    read_rows,
    row_blocks,
    standardise,
)


@given(st.integers(2, 300), st.floats(0.01, 0.99), st.integers(1, 120), st.integers(0, 5))
def test_splits_hold_out_other_rows_each_time(n_samples, fraction, wanted, seed):
    splits = held_out_splits(n_samples, fraction, wanted, np.random.default_rng(seed))
    for training, held_out in splits:
        assert len(training) > 0
        assert len(held_out) > 0
        np.testing.assert_array_equal(
            np.sort(np.concatenate([training, held_out])), np.arange(n_samples)
        )
    size = len(splits[0][1])
    assert abs(size - fraction * n_samples) <= 1
    everyone = np.concatenate([held_out for _, held_out in splits])
    assert len(np.unique(everyone)) == len(everyone)
    # enough, or all that there are; and not one split too many
    assert len(everyone) >= wanted or len(everyone) + size > n_samples
    assert len(everyone) - size < wanted


def test_nothing_is_held_out_of_one_row_or_by_request():
    rng = np.random.default_rng(0)
    assert held_out_splits(1, 0.1, 100, rng) == []
    assert held_out_splits(50, 0, 100, rng) == []


@given(st.integers(1, 50), st.integers(1, 20))
def test_each_epoch_sees_each_row_once(n_rows, batch_size):
    rows = np.arange(100, 100 + n_rows)
    per_epoch = -(-n_rows // batch_size)
    stream = minibatches(rows, batch_size, np.random.default_rng(0))
    for _ in range(3):
        epoch = np.concatenate(list(islice(stream, per_epoch)))
        np.testing.assert_array_equal(np.sort(epoch), rows)


@given(st.integers(1, 10**7), st.integers(1, 10**6), st.integers(1, 10**5), st.integers(1, 10**9))
def test_chunks_have_a_bounded_size(n_samples, n_features, batch_size, n_weights):
    n_steps, n_rows, width = chunk_shape(n_samples, n_features, batch_size, n_weights)
    assert width == n_features
    assert n_steps == 1 or n_steps * n_rows * width <= 2**22
    assert n_steps == 1 or n_steps * n_rows * n_weights <= 2**34
    assert min(batch_size, n_samples) <= n_rows <= batch_size
    assert n_rows < max(257, 2 * n_samples)


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ((100, 10, 256, 1000), (32, 256, 10)),
        ((1024, 10, 5000, 1000), (32, 1024, 10)),
        ((1025, 10, 5000, 1000), (32, 2048, 10)),
        ((2**15 - 1, 10, 64, 1000), (32, 64, 10)),
        ((2**15, 10, 64, 1000), (128, 64, 10)),
        ((2**15, 1000, 256, 1000), (16, 256, 1000)),
        ((2**15, 10, 256, 10**7), (6, 256, 10)),
        ((2**15, 10, 256, 10**9), (1, 256, 10)),
    ],
    ids=str,
)
def test_chunks_are_long_where_tables_are_and_short_where_steps_are(arguments, shape):
    assert chunk_shape(*arguments) == shape
    assert all(isinstance(size, int) for size in chunk_shape(*arguments))


def test_folds_of_a_cross_validation_share_a_shape():
    assert len({chunk_shape(n, 13, 256, 1000) for n in (118, 119, 178)}) == 1


def food(X, noise=0.0, seed=0):
    rows = np.arange(0, X.shape[0], 2)
    offset = np.linspace(-1, 1, X.shape[1])
    return list(
        chunks(
            X,
            rows,
            [3, 2],
            (3, 4, X.shape[1]),
            offset=offset,
            scale=2.0,
            noise=noise,
            rng=np.random.default_rng(seed),
        )
    )


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    return rng.normal(size=(20, 5)) * (rng.random((20, 5)) < 0.5)


def test_chunks_hold_centred_scaled_rows_and_say_which_are_padding(table):
    scaled = ((table[::2] - np.linspace(-1, 1, 5)) / 2).astype(np.float32)
    for (inputs, targets, weights, n_steps), expected in zip(food(table), (3, 2), strict=True):
        assert n_steps == expected
        assert inputs is targets
        assert inputs.dtype == np.float32
        assert weights.dtype == np.float32
        assert inputs.shape == (3, 4, 5)
        for row in targets[:n_steps].reshape(-1, 5):
            assert np.abs(scaled - row).max(axis=1).min() < 1e-6
        assert not targets[n_steps:].any()
    # ten rows in batches of four: 4, 4, 2 and 4, 4
    weights = [weights for _, _, weights, _ in food(table)]
    assert [(w > 0).sum(axis=1).tolist() for w in weights] == [[4, 4, 2], [4, 4, 0]]
    for w in weights:
        np.testing.assert_allclose(w.sum(axis=1), w.any(axis=1), rtol=1e-6)


def test_a_batch_of_one_row_is_padded_with_it(table):
    (_, targets, weights, _), _ = food(table[:18])  # of nine rows
    assert weights[2].tolist() == [1, 0, 0, 0]
    np.testing.assert_array_equal(targets[2], targets[2, :1].repeat(4, axis=0))


def test_containers_give_the_same_food(table, tmp_path):
    np.save(tmp_path / "table.npy", table)
    memmap = np.load(tmp_path / "table.npy", mmap_mode="r")
    for other in (memmap, csr_array(table), np.asfortranarray(table)):
        for ours, theirs in zip(food(table), food(other), strict=True):
            for a, b in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(a, b)


def test_noise_is_on_the_inputs_alone(table):
    wide = np.tile(table, (1, 200))
    clean, noisy = food(wide)[0], food(wide, noise=0.5)[0]
    np.testing.assert_array_equal(clean[1], noisy[1])
    assert noisy[0].dtype == np.float32
    assert (noisy[0] - noisy[1])[:2].std() == pytest.approx(0.5, rel=0.05)


def test_large_offsets_are_subtracted_in_the_precision_of_the_table():
    X = 1e9 + np.arange(6.0).reshape(3, 2)
    rows = standardise(X, np.arange(3), X.mean(axis=0), 1.0)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, X - X.mean(axis=0))


@pytest.mark.parametrize("dtype", ["f4", "f8", "u1", "i8", "?"])
@pytest.mark.parametrize("container", [np.array, csr_array])
def test_rows_are_read_in_single_precision_where_they_came_in_it(table, dtype, container):
    X = container(table.astype(dtype))
    expected = np.float32 if dtype == "f4" else np.float64
    assert float_type(X) == expected
    for rows in (slice(3, 9), np.array([3, 4, 5, 6, 7, 8])):
        read = read_rows(X, rows)
        assert read.dtype == expected
        np.testing.assert_array_equal(read, table.astype(dtype)[3:9])


def test_standardising_rows_leaves_the_table_as_it_was(table):
    before = table.copy()
    assert np.shares_memory(read_rows(table, slice(0, 9)), table)
    for rows in (slice(0, 9), np.arange(9)):
        scaled = standardise(table, rows, np.ones(5), 4.0, dtype=np.float64)
        np.testing.assert_array_equal(scaled, (before[:9] - 1) / 4)
        np.testing.assert_array_equal(table, before)


@given(st.integers(0, 5000), st.integers(1, 2 * 10**6))
@example(5, 2**20)
def test_blocks_cover_the_rows_in_order(n_samples, width):
    blocks = list(row_blocks(n_samples, width))
    covered = [range(n_samples)[block] for block in blocks]
    assert [row for rows in covered for row in rows] == list(range(n_samples))
    assert all(len(rows) == 1 or len(rows) * width <= 2**20 for rows in covered)


def test_prefetch_keeps_the_order_and_stays_one_ahead():
    made = []

    def numbers():
        for i in range(10):
            made.append(i)
            yield i

    seen = []
    for number in prefetch(numbers()):
        seen.append(number)
        assert len(made) <= number + 3
    assert seen == list(range(10))


def test_prefetch_of_nothing_is_nothing():
    assert list(prefetch(iter([]))) == []


def test_prefetch_passes_errors_on():
    def broken():
        yield 1
        raise OSError("cannot read rows 256 to 511")

    stream = prefetch(broken())
    assert next(stream) == 1
    with pytest.raises(OSError, match="rows 256"):
        next(stream)


@pytest.mark.parametrize("rows", [slice(2, 5), np.array([4, 2, 3])])
def test_a_file_that_has_shrunk_is_an_error_with_the_rows(tmp_path, rows):
    np.save(tmp_path / "table.npy", np.ones((6, 1000)))
    memmap = np.load(tmp_path / "table.npy", mmap_mode="r")
    view = np.asarray(memmap)[:, ::2]
    assert read_rows(view, rows).shape == (3, 500)
    os.truncate(tmp_path / "table.npy", 30_000)
    with pytest.raises(
        OSError, match=r"Rows 2 to 4 of X cannot be read: .*table\.npy has 30000 bytes"
    ):
        read_rows(view, rows)
