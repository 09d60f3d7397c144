"""Fits in a cluster, compared with fits in one process."""

import asyncio
import pickle

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from distributed import Client
from sklearn.base import clone

from skae import AutoencoderImputer, AutoencoderTransformer

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


def table_with_categories():
    """Return a frame with categories of three kinds, numbers, integers and missing values."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(400, 2))
    table = pd.DataFrame(
        {
            "word": np.select([z[:, 0] > 0, z[:, 1] > 0], ["a", "b"], "c"),
            "number": 2 * z[:, 0] + 5,
            "level": pd.Categorical(np.where(z.sum(axis=1) > 0, "high", "low"), ["low", "high"]),
            "yes": z[:, 1] > 0.3,
            "count": np.rint(9 * z[:, 1]).astype(int),
        },
        index=np.arange(1000, 1400),
    )
    return table.mask(rng.random(table.shape) < [0.1, 0.1, 0.1, 0, 0])


@pytest.mark.slow
@pytest.mark.parametrize("cls", [AutoencoderTransformer, AutoencoderImputer])
def test_a_frame_with_categories_is_fitted_as_in_one_process(client, cls):
    table = table_with_categories()
    parts = dd.from_pandas(table, npartitions=3)
    estimator = cls(2, max_steps=60, random_state=0)
    ours, theirs = clone(estimator).fit(parts), clone(estimator).fit(table)
    assert vars(ours).keys() == vars(theirs).keys()
    assert [list(part) for part in ours.categories_] == [list(part) for part in theirs.categories_]
    assert list(ours.feature_names_in_) == list(table.columns)
    assert ours.n_features_in_ == 5
    rows = ours.transform(parts).compute()
    assert rows.index.equals(table.index)
    if cls is AutoencoderImputer:
        assert not rows.isna().any(axis=None)
        different = rows.to_numpy() != theirs.transform(table).to_numpy()
        assert different[:, [0, 2, 3, 4]].mean() < 0.02
    else:
        np.testing.assert_allclose(rows, ours.transform(table), atol=1e-6)
        assert ours.score(parts) == pytest.approx(theirs.score(table), abs=0.01)
        n_steps = ours.n_steps_
        assert ours.partial_fit(parts).n_steps_ > n_steps
        with pytest.raises(ValueError, match="feature names"):
            ours.partial_fit(parts[["number", "word", "level", "yes", "count"]])


@pytest.mark.slow
def test_the_entries_of_a_column_of_objects_determine_whether_they_are_categories(client):
    with dask.config.set({"dataframe.convert-string": False}):
        table = pd.DataFrame({"word": ["a", "b"] * 20, "mass": np.arange(40.0)}, dtype=object)
        parts = dd.from_pandas(table, npartitions=2)
        ours = autoencoder(n_components=1, max_steps=20).fit(parts)
        assert ours.is_categorical_.tolist() == [True, False]
        assert ours.reconstruct(parts).compute()["word"].isin(["a", "b"]).all()
        table.iloc[3, 1] = "heavy"
        with pytest.raises(TypeError, match=r"'mass'.* the types float, str"):
            autoencoder(n_components=1).fit(dd.from_pandas(table, npartitions=2))
