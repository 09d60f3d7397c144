"""The table: results over all rows, and minibatches."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from threading import Barrier

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from skae._data.batches import shuffled_batches
from skae._data.corruption import Corruption
from skae._data.table import Table
from skae._runtime.workers import Workers

from .test_rows import CONTAINERS, in_blocks_of, in_shards


class Meeting:
    """Exchange of objects between the threads of `on_workers`."""

    def __init__(self, n_workers):
        self.barrier, self.items = Barrier(n_workers, timeout=60), [None] * n_workers

    def gather(self, index, item):
        self.items[index] = item
        self.barrier.wait()
        items = list(self.items)
        self.barrier.wait()
        return items


class ThreadWorkers(Workers):
    """Workers that are threads of this process; their strategy is a `Meeting`."""

    def all_gather_object(self, item):
        return self.strategy.gather(self.index, item)


def on_workers(n_workers, function):
    """Call a function in several workers at the same time, and return all results."""
    meeting = Meeting(n_workers)

    def work(index):
        try:
            return function(ThreadWorkers(meeting, range(index, index + 1), n_workers))
        except BaseException:
            meeting.barrier.abort()
            raise

    with ThreadPoolExecutor(n_workers) as pool:
        futures = [pool.submit(work, index) for index in range(n_workers)]
    errors = [future.exception() for future in futures if future.exception()]
    if errors:  # the cause, and not the errors of workers that waited for it
        raise min(errors, key=lambda error: "BrokenBarrier" in type(error).__name__)
    return [future.result() for future in futures]


def whole_numbers(least_rows=1):
    """Return a strategy of arrays of integers, whose sums are exact in any order."""
    shapes = st.tuples(st.integers(least_rows, 12), st.integers(1, 4))
    return arrays(np.float64, shapes, elements=st.integers(0, 9).map(float))


def some_rows(data, n_rows):
    """Draw None, or row indices in any order, possibly with repetitions."""
    indices = st.lists(st.integers(0, n_rows - 1), min_size=1, max_size=12)
    return data.draw(st.none() | indices.map(np.array))


def results(table):
    """Return results over all rows: sums, minima and maxima, one or two numbers for each row."""
    return [
        *table.sum_blocks(lambda rows, _: (rows.sum(axis=0), rows.T @ rows, len(rows))),
        table.sum(),
        *table.min_max(),
        table.map(lambda rows: (rows**2).sum(axis=1)),
    ]


def expected_results(rows):
    squares = (rows**2).sum(axis=1)
    extremes = rows.min(axis=0), rows.max(axis=0)
    return [rows.sum(axis=0), rows.T @ rows, len(rows), rows.sum(axis=0), *extremes, squares]


@settings(max_examples=50)
@given(data=st.data())
@pytest.mark.parametrize("container", CONTAINERS)
def test_results_over_all_rows_equal_those_of_numpy(contained, container, data):
    X, dtype = data.draw(whole_numbers()), data.draw(st.sampled_from(["f4", "f8", "u1"]))
    rows, n_numbers = some_rows(data, len(X)), data.draw(st.sampled_from([1, 5, 8, 2**20]))
    expected = X if rows is None else X[rows]
    table = in_blocks_of(n_numbers)(contained(X.astype(dtype), container), rows=rows)
    n_blocks = len(list(table.blocks()))
    assert n_blocks == -(-len(expected) // max(1, n_numbers // X.shape[1]))
    for ours, theirs in zip(results(table), expected_results(expected), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    shifted = table.standardised(np.full(X.shape[1], 2.0, dtype=table.dtype), 0.5)
    of_shifted = expected_results((expected - 2) / 0.5)
    for ours, theirs in zip(results(shifted), of_shifted, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(table.map(lambda rows: rows[:, :1]), expected[:, :1])
    np.testing.assert_array_equal(table.map(np.copy, 7), expected)


@settings(max_examples=50)
@given(data=st.data())
def test_results_of_several_workers_equal_those_of_one(data):
    X, n_workers = data.draw(whole_numbers()), data.draw(st.integers(2, 4))
    rows, n_numbers = some_rows(data, len(X)), data.draw(st.sampled_from([1, 5, 2**20]))
    expected = results(Table(X, rows=rows))
    table = in_blocks_of(n_numbers)(X, rows=rows)
    of_workers = on_workers(n_workers, lambda workers: results(replace(table, workers=workers)))
    for theirs in of_workers:
        for ours, other in zip(expected, theirs, strict=True):
            np.testing.assert_array_equal(ours, other)
            assert np.asarray(ours).dtype == np.asarray(other).dtype


@pytest.mark.parametrize("n_workers", [2, 3, 5])
@pytest.mark.parametrize(
    "function",
    [np.copy, lambda rows: rows[:, :2], lambda rows: rows.astype(np.float32)],
    ids=["rows", "columns", "float32"],
)
def test_mapped_results_are_in_the_order_of_the_rows(numbers, n_workers, function):
    expected = Table(numbers).map(function)
    table = in_blocks_of(10)
    of_workers = on_workers(
        n_workers, lambda workers: table(numbers, workers=workers).map(function)
    )
    for theirs in of_workers:
        np.testing.assert_array_equal(theirs, expected)
        assert theirs.dtype == expected.dtype


@pytest.mark.parametrize(
    "function",
    [np.copy, lambda rows: rows.sum(axis=1, dtype=np.float32)],
    ids=["rows", "float32"],
)
def test_workers_without_rows_do_not_change_the_results(numbers, function):
    expected = Table(numbers[:2]).map(function)
    for theirs in on_workers(3, lambda workers: Table(numbers[:2], workers=workers).map(function)):
        np.testing.assert_array_equal(theirs, expected)
        assert theirs.dtype == expected.dtype


def test_sums_are_in_double_precision():
    X = np.full((2**19, 3), 0.1, dtype=np.float32)
    expected = X[0].astype(np.float64) * 2**19
    np.testing.assert_allclose(Table(X).sum(), expected, rtol=1e-12)
    (counted,) = Table(X).sum_blocks(lambda rows, _: (np.ones(3, dtype=np.uint8),))
    assert counted.dtype == np.float64
    many = in_blocks_of(2)(np.ones((300, 2)))
    (counted,) = many.sum_blocks(lambda rows, _: (np.uint8(len(rows)),))
    assert counted == 300


@pytest.mark.parametrize("dtype", ["f4", "f8", "u1"])
def test_extremes_have_the_type_of_the_table(dtype):
    table = Table(np.array([[0, 7], [255, 3]], dtype=dtype))
    least, most = table.min_max()
    assert least.dtype == most.dtype == table.dtype
    np.testing.assert_array_equal(least, [0, 3])
    np.testing.assert_array_equal(most, [255, 7])


def test_an_empty_selection_has_empty_results(numbers):
    assert Table(numbers).select(slice(0, 0)).map(lambda rows: rows.sum(axis=1)).shape == (0,)


def batches(X, noise=0.0, seed=0, n_draws=0, offset=None, **attributes):
    """Return chunks of three and of two batches of four rows, from every second row of X."""
    offset = np.linspace(-1, 1, X.shape[1]) if offset is None else offset
    table = Table(X, **attributes).select(slice(None, None, 2)).standardised(offset, 2.0)
    rng = np.random.default_rng(seed)
    corruption = Corruption(noise=noise)
    return list(table.batches([3, 2], (3, 4, X.shape[1]), corruption, rng, n_draws=n_draws))


def test_chunks_have_standardised_rows_and_padding_of_weight_zero(numbers):
    scaled = ((numbers[::2] - np.linspace(-1, 1, 5)) / 2).astype(np.float32)
    for (batch, n_steps), expected in zip(batches(numbers), (3, 2), strict=True):
        inputs, targets, weights, y, draws = batch
        assert n_steps == expected
        assert inputs is targets
        assert y == draws == ()
        assert inputs.dtype == np.float32
        assert weights.dtype == np.float32
        assert inputs.shape == (3, 4, 5)
        for row in targets[:n_steps].reshape(-1, 5):
            assert np.abs(scaled - row).max(axis=1).min() < 1e-6
        assert not targets[n_steps:].any()
    # ten rows in batches of at most four rows: 3, 3, 4 and 3, 3
    weights = [batch.weights for batch, _ in batches(numbers)]
    assert [(w > 0).sum(axis=1).tolist() for w in weights] == [[3, 3, 4], [3, 3, 0]]
    for w in weights:
        np.testing.assert_allclose(w.sum(axis=1), w.any(axis=1), rtol=1e-6)


def test_a_short_batch_is_padded_with_its_first_row(numbers):
    (batch, _), _ = batches(numbers[:18])  # of nine rows
    np.testing.assert_allclose(batch.weights[2], [1 / 3, 1 / 3, 1 / 3, 0])
    np.testing.assert_array_equal(batch.targets[2, 3], batch.targets[2, 0])


@pytest.mark.parametrize("container", CONTAINERS)
def test_containers_give_the_same_batches(numbers, container, contained):
    other = contained(numbers, container)
    for (ours, n_ours), (theirs, n_theirs) in zip(batches(numbers), batches(other), strict=True):
        assert n_ours == n_theirs
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("selected", [None, np.array([4, 0, 7, 2, 9])], ids=["all", "selected"])
def test_a_table_on_the_device_has_the_rows_of_the_batches(numbers, selected):
    table = Table(numbers, rows=selected).standardised(np.ones(numbers.shape[1]), 2.0)
    resident, shape = table.rows_on_device(24), (3, 4, numbers.shape[1])
    assert resident.dtype == np.float32
    assert len(resident) == 24
    assert not resident[table.n_rows :].any()
    streams = (
        table.batches(
            [3, 2], shape, Corruption(), np.random.default_rng(0), is_on_device=is_on_device
        )
        for is_on_device in (True, False)
    )
    for (indices, n_steps), (rows, _) in zip(*streams, strict=True):
        assert indices.targets.dtype == np.int32
        np.testing.assert_array_equal(resident[indices.targets[:n_steps]], rows.targets[:n_steps])
        np.testing.assert_array_equal(indices.weights, rows.weights)


def test_noise_is_added_to_the_inputs_only(numbers):
    wide = np.tile(numbers, (1, 200))
    (clean, _), (noisy, _) = batches(wide)[0], batches(wide, noise=0.5)[0]
    np.testing.assert_array_equal(clean.targets, noisy.targets)
    assert noisy.inputs.dtype == np.float32
    assert (noisy.inputs - noisy.targets)[:2].std() == pytest.approx(0.5, rel=0.05)


def test_noise_above_the_float32_range_is_finite(numbers):
    (batch, _), _ = batches(numbers, noise=1e300)
    assert np.isfinite(batch.inputs).all()


@pytest.mark.parametrize("container", CONTAINERS)
def test_batches_have_the_y_of_their_rows(container, contained):
    X = np.arange(20.0)[:, None] * np.ones(5)
    y = np.stack([np.arange(20), np.arange(20) % 3], axis=1)
    for batch, n_steps in batches(contained(X, container), y=y):
        assert batch.y.shape == (3, 4, 2)
        assert batch.y.dtype == y.dtype
        row = batch.targets[:n_steps, :, 0] * 2 - 1  # read with an offset of -1 and a scale of 2
        np.testing.assert_allclose(batch.y[:n_steps, :, 0], row, atol=1e-5)
        np.testing.assert_array_equal(batch.y[..., 1], batch.y[..., 0] % 3)
    numbered = [batch.y for batch, _ in batches(X, y=np.arange(20))]
    assert all(part.shape == (3, 4) for part in numbered)
    epoch = numbered[0].ravel()[[0, 1, 2, 4, 5, 6, 8, 9, 10, 11]]
    np.testing.assert_array_equal(np.sort(epoch), np.arange(0, 20, 2))


@pytest.mark.parametrize("noise", [0.0, 0.5])
@pytest.mark.parametrize("n_workers", [2, 3, 5])
def test_workers_share_each_batch(numbers, n_workers, noise):
    y = np.arange(20)
    parts = {"noise": noise, "y": y, "n_draws": 2}
    single = batches(numbers, **parts)
    of_workers = [
        batches(numbers, **parts, workers=Workers(None, range(i, i + 1), n_workers))
        for i in range(n_workers)
    ]
    for (batch, n_steps), *theirs in zip(single, *of_workers, strict=True):
        assert all(their_steps == n_steps for _, their_steps in theirs)
        for ours, *parts in zip(batch, *(other for other, _ in theirs), strict=True):
            np.testing.assert_array_equal(np.concatenate(parts, axis=1), ours)


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=3), st.integers(1, 12), st.integers(0, 2**31)
)
def test_each_epoch_has_each_row_of_each_shard_once(cuts, batch_size, seed):
    X, cuts = np.arange(1.0, 31)[:, None], sorted(cuts)
    n_batches = -(-30 // batch_size)
    seen, lengths = [], []
    for index in range(len(cuts) + 1):
        table = in_shards(X, cuts, index, y=np.arange(30)).standardised(np.zeros(1), 1.0)
        shape = (n_batches, batch_size, 1)
        rng = np.random.default_rng(seed)
        ((batch, n_steps),) = table.batches([n_batches], shape, Corruption(), rng)
        assert n_steps == n_batches
        is_real = batch.weights > 0
        seen.append(np.sort(batch.targets[is_real].ravel()))
        np.testing.assert_array_equal(batch.targets[is_real].ravel(), batch.y[is_real] + 1)
        np.testing.assert_array_equal(seen[-1], table.X.ravel())
        lengths.append(is_real.sum(axis=1))
        weights = batch.weights.max(axis=1)
    sizes = sum(lengths)
    assert max(sizes) - min(sizes) <= len(lengths)
    np.testing.assert_allclose(weights[weights > 0], 1 / sizes[weights > 0], rtol=1e-6)


def test_each_row_of_a_batch_gets_standard_normal_draws_of_its_own():
    draws = [batch.draws for batch, _ in batches(np.zeros((400, 5)), n_draws=300)]
    assert [part.shape for part in draws] == [(3, 4, 300)] * 2
    draws = np.concatenate(draws).reshape(-1, 300)
    assert draws.dtype == np.float32
    assert abs(draws.mean()) < 0.05
    assert abs(draws.std() - 1) < 0.05
    assert abs(np.corrcoef(draws) - np.eye(len(draws))).max() < 0.3


def test_batches_are_gathered_in_blocks_of_any_size(numbers):
    for block_size in (1, 3):  # in rows; more columns have fewer rows in a block
        n_copies = 2**17 // (5 * block_size)
        wide = batches(np.repeat(numbers, n_copies, axis=1), offset=0)
        for (ours, _), (theirs, _) in zip(wide, batches(numbers, offset=0), strict=True):
            expected = np.repeat(theirs.targets, n_copies, axis=2)
            np.testing.assert_array_equal(ours.targets, expected)


@given(st.integers(1, 50), st.integers(1, 20))
def test_each_epoch_has_each_row_once(n_rows, batch_size):
    per_epoch = -(-n_rows // batch_size)
    stream = shuffled_batches([n_rows], 0, batch_size, np.random.default_rng(0))
    epochs = []
    for _ in range(3):
        parts, lengths = zip(*islice(stream, per_epoch), strict=True)
        assert list(lengths) == list(map(len, parts))
        sizes = [len(part) for part in parts]
        assert max(sizes) <= batch_size
        assert max(sizes) - min(sizes) <= 1
        epochs.append(np.concatenate(parts))
        np.testing.assert_array_equal(np.sort(epochs[-1]), np.arange(n_rows))
    if n_rows > 20:
        assert (epochs[0] != epochs[1]).any()
    table = Table(np.arange(100.0)[:, None]).select(slice(50, 50 + n_rows)).standardised(0.0, 1.0)
    ((batch, n_steps),) = table.batches(
        [per_epoch], (per_epoch + 1, batch_size, 1), Corruption(), np.random.default_rng(0)
    )
    assert n_steps == per_epoch
    seen = batch.targets[batch.weights > 0].ravel()
    np.testing.assert_array_equal(np.sort(seen), np.arange(50, 50 + n_rows))


def test_batches_of_a_table_that_is_not_standardised_have_unchanged_rows(numbers):
    ((batch, _),) = Table(numbers).batches([1], (1, 20, 5), Corruption(), np.random.default_rng(0))
    rows = batch.targets[0]
    np.testing.assert_allclose(np.sort(rows, axis=0), np.sort(numbers, axis=0), rtol=1e-6)
