"""Fits in a cluster, compared with fits in one process."""

import asyncio
import pickle

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from distributed import Client

from skae import AutoencoderImputer

from .helpers import autoencoder, reconstruction_error


@pytest.mark.slow
def test_a_fit_in_the_cluster_is_that_of_one_process(client, table, is_training):
    X, X_test, parts = table
    alone = reconstruction_error(autoencoder(max_steps=200).fit(X), X_test)
    ours = autoencoder(max_steps=200).fit(parts)
    assert reconstruction_error(ours, X_test) == pytest.approx(alone, rel=0.02)
    assert ours.n_samples_seen_ == len(X)
    assert not is_training()
    again = autoencoder(max_steps=200).fit(parts)
    assert pickle.dumps(vars(ours)) == pickle.dumps(vars(again))
    assert reconstruction_error(pickle.loads(pickle.dumps(ours)), X_test) == reconstruction_error(
        ours, X_test
    )


@pytest.mark.slow
def test_validation_rows_and_groups_are_for_one_process(client, table):
    X, X_test, blocks = table
    for given in ({"X_val": X_test}, {"groups": np.arange(len(X))}):
        with pytest.raises(ValueError, match="is for a table in one process, and X is a Dask coll"):
            autoencoder().fit(blocks, **given)


@pytest.mark.slow
def test_an_imputer_is_fitted_in_the_cluster(client, digits):
    X, X_test = digits
    rng = np.random.default_rng(0)
    X, X_test = (np.where(rng.random(part.shape) < 0.1, np.nan, part) for part in (X, X_test))
    parts = dd.from_pandas(pd.DataFrame(X).rename(columns=str), npartitions=3)
    params = {"n_components": 8, "max_steps": 20, "random_state": 0}
    ours = AutoencoderImputer(**params).fit(parts)
    theirs = AutoencoderImputer(**params).fit(X)
    assert list(ours.feature_names_in_) == list(parts.columns)
    filled, expected = (each.autoencoder_.reconstruct(X_test) for each in (ours, theirs))
    errors = (np.nanmean((rows - X_test) ** 2) for rows in (filled, expected))
    assert next(errors) == pytest.approx(next(errors), rel=0.1)
    lazy = ours.transform(parts)
    assert isinstance(lazy, dd.DataFrame)
    assert not lazy.isna().any().any().compute()


@pytest.mark.slow
def test_what_the_chief_prints_is_printed_by_the_client(client, table, capsys):
    autoencoder(max_steps=20, verbose=1).fit(table[2])
    lines = capsys.readouterr().out.splitlines()
    steps = [line for line in lines if "step 20/20" in line]
    assert len(steps) == 1


@pytest.mark.slow
def test_a_task_fits_in_its_own_cluster_without_a_thread_to_spare(client, table, is_training):
    X, X_test, _ = table

    def fit():
        return autoencoder(max_steps=20).fit(da.from_array(X, chunks=(449, 64)))

    expected = autoencoder(max_steps=20).fit(da.from_array(X, chunks=(449, 64)))
    ours = client.submit(fit, pure=False).result(timeout=120)
    np.testing.assert_array_equal(ours.transform(X_test), expected.transform(X_test))
    assert not is_training()


@pytest.mark.slow
def test_an_asynchronous_client_is_refused(client, table):
    async def fit():
        async with Client(client.scheduler.address, asynchronous=True):
            with pytest.raises(ValueError, match="asynchronous"):
                autoencoder().fit(table[2])

    asyncio.run(fit())


@pytest.mark.slow
def test_a_frame_with_categories_is_refused(client):
    frame = pd.DataFrame({"word": ["a", "b"] * 20, "number": np.arange(40.0)})
    with pytest.raises(ValueError, match=r"categories in columns \['word'\]"):
        autoencoder(n_components=1).fit(dd.from_pandas(frame, npartitions=2))
