"""Partitions of rows and of y, and where they are trained on."""

import time

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from distributed import wait

from .helpers import autoencoder

try:
    from sklearn import callback as sklearn_callback
except ImportError:  # before scikit-learn 1.9
    sklearn_callback = None


@pytest.mark.slow
def test_partitions_are_fitted_where_they_lie(client, digits):
    X = np.tile(digits[0].astype(np.float32)[:1200], (10, 1))
    first, second = sorted(client.nthreads())
    pieces = [
        client.persist(da.from_array(part, chunks=3000), workers=[worker])
        for part, worker in zip(np.split(X, 4), [second, first, second, first], strict=True)
    ]
    persisted = da.concatenate(pieces).persist()
    wait(persisted)
    before = client.run(lambda dask_worker: dask_worker.transfer_outgoing_bytes_total)
    ours = autoencoder(max_steps=20).fit(persisted)
    after = client.run(lambda dask_worker: dask_worker.transfer_outgoing_bytes_total)
    assert max(after[worker] - before[worker] for worker in after) < X.nbytes / 4  # the weights
    assert ours.n_samples_seen_ == len(X)
    np.testing.assert_allclose(ours.mean_, X.mean(axis=0), rtol=1e-5)
    frame = pd.DataFrame(X).rename(columns=str)
    frame = client.persist(dd.from_pandas(frame, npartitions=4), workers=[first])
    wait(frame)
    before = client.run(lambda dask_worker: dask_worker.transfer_outgoing_bytes_total)
    autoencoder(max_steps=5).fit(frame * 2)
    after = client.run(lambda dask_worker: dask_worker.transfer_outgoing_bytes_total)
    assert max(after[worker] - before[worker] for worker in after) < X.nbytes / 4


@pytest.mark.slow
def test_frames_give_names_and_labels_are_predicted(client, digits):
    X, _ = digits
    frame = pd.DataFrame(X, columns=[f"p{i}" for i in range(64)])
    parts = dd.from_pandas(frame, npartitions=4)
    y = (parts["p20"] > 8).astype(int)
    ours = autoencoder(max_steps=60, target_weight=0.5).fit(parts, y)
    assert list(ours.feature_names_in_) == list(frame.columns)
    unsupervised = autoencoder(max_steps=60).fit(frame)
    codes = [estimator.transform(frame) for estimator in (ours, unsupervised)]
    with_target, plain = (np.corrcoef(code.T, y.compute())[-1, :-1] for code in codes)
    assert np.square(with_target).sum() > np.square(plain).sum()


@pytest.mark.slow
def test_y_of_unknown_chunk_sizes_is_taken_partition_by_partition(client, digits):
    X = da.from_array(digits[0], chunks=((200, 600, 547), 64))
    y = X[:, 20:22]
    of_unknown_sizes = y[y[:, 0] >= 0]
    assert np.isnan(of_unknown_sizes.shape[0])
    ours, theirs = (
        autoencoder(max_steps=5, target_weight=0.5).fit(X, each).transform(digits[1])
        for each in (of_unknown_sizes, y)
    )
    np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ValueError, match=r"3 partitions, and y has 2.*compute_chunk_sizes"):
        autoencoder(target_weight=0.5).fit(X, of_unknown_sizes.blocks[:2])
    with pytest.raises(ValueError, match="A partition of X has 200 rows, and that of y"):
        autoencoder(target_weight=0.5).fit(X, y[y[:, 0] > 8])


@pytest.mark.slow
def test_labels_may_be_strings_and_workers_may_have_few_partitions_or_no_rows(client, digits):
    X = digits[0]
    parts = da.from_array(X, chunks=((1, 0, 40, 1306), 64)).map_blocks(slowly, dtype=X.dtype)
    labels = np.where(X[:, 20] > 8, "dark", "light")
    ours = autoencoder(max_steps=20, target_weight=0.5).fit(parts, labels.astype(object))
    assert ours.n_samples_seen_ == len(X)
    with pytest.raises(ValueError, match="one row is required"):
        autoencoder().fit(parts[parts[:, 20] > 17])


def slowly(block):
    time.sleep(0.2)
    return block


@pytest.mark.slow
def test_rows_that_are_refused_by_one_worker_are_refused_by_all(client, table, is_training):
    X, _, parts = table
    with pytest.raises(ValueError, match="infinity"):
        autoencoder().fit(da.where(parts == X.max(), np.inf, parts))
    with pytest.raises(ValueError, match="low < high"):
        autoencoder(bounds=(1, 0)).fit(parts)
    with pytest.raises(ValueError, match="2D array"):
        autoencoder().fit(parts[:, 0])
    if sklearn_callback is not None:
        with pytest.raises(ValueError, match="Callbacks"):
            autoencoder().set_callbacks(sklearn_callback.ProgressBar()).fit(parts)
    assert not is_training()
