"""Methods of fitted estimators on the blocks of a collection, without a cluster."""

import warnings
from copy import copy

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from dask_ml.wrappers import Incremental, ParallelPostFit
from sklearn.exceptions import NotFittedError

from skae import AutoencoderTransformer, VariationalAutoencoder


@pytest.fixture(scope="module", params=["float64", "float32"])
def rows(request):
    """A table, and the same in blocks of unequal length."""
    X = np.random.default_rng(0).normal(size=(300, 6)).astype(request.param)
    return X, da.from_array(X, chunks=((100, 150, 50), (6,)))


@pytest.fixture(scope="module")
def fitted(rows):
    settings = {"max_steps": 20, "validation_fraction": 0, "random_state": 0}
    return AutoencoderTransformer(2, **settings).fit(rows[0])


def by_block(method, X):
    return np.concatenate([method(block) for block in np.split(X, [100, 250])])


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_map_blocks_gives_the_bits_of_each_block(rows, fitted, scheduler):
    X, blocks = rows
    codes = blocks.map_blocks(fitted.transform, dtype=X.dtype, chunks=(blocks.chunks[0], (2,)))
    assert (codes.shape, codes.dtype) == ((300, 2), X.dtype)
    computed = codes.compute(scheduler=scheduler)
    assert computed.dtype == X.dtype
    np.testing.assert_array_equal(computed, by_block(fitted.transform, X))
    back = codes.map_blocks(fitted.inverse_transform, dtype=X.dtype, chunks=blocks.chunks)
    np.testing.assert_array_equal(
        back.compute(scheduler=scheduler), by_block(fitted.reconstruct, X)
    )
    scores = blocks.map_blocks(fitted.score_samples, dtype=float, drop_axis=1)
    np.testing.assert_array_equal(
        scores.compute(scheduler=scheduler), by_block(fitted.score_samples, X)
    )


@pytest.mark.parametrize(
    "scheduler", ["threads", pytest.param("processes", marks=pytest.mark.slow)]
)
def test_parallel_post_fit_transforms_in_blocks(rows, fitted, scheduler):
    X, blocks = rows
    codes = ParallelPostFit(fitted).transform(blocks)
    assert isinstance(codes, da.Array)
    assert codes.dtype == codes._meta.dtype == X.dtype
    np.testing.assert_array_equal(codes.compute(scheduler=scheduler), by_block(fitted.transform, X))


@pytest.mark.slow
def test_incremental_fits_block_by_block(rows):
    X, blocks = rows
    params = {"n_components": 2, "hidden_layer_sizes": (), "random_state": 0}
    wrapped = Incremental(AutoencoderTransformer(**params), shuffle_blocks=False).fit(blocks)
    expected = AutoencoderTransformer(**params)
    for block in np.split(X, [100, 250]):
        expected.partial_fit(block)
    assert wrapped.estimator_.n_samples_seen_ == 300
    np.testing.assert_array_equal(wrapped.estimator_.transform(X), expected.transform(X))


@pytest.fixture(scope="module")
def frames(rows):
    """A frame with an index that is no range, and the same in partitions."""
    X, _ = rows
    frame = pd.DataFrame(X, columns=list("abcdef"), index=np.arange(1000, 1300))
    return frame, dd.from_pandas(frame, npartitions=3)


@pytest.mark.parametrize(
    ("method", "shape"),
    [
        ("transform", (300, 2)),
        ("reconstruct", (300, 6)),
        ("score_samples", (300,)),
    ],
)
def test_methods_of_a_collection_are_lazy_and_have_the_bits_of_each_block(
    rows, fitted, method, shape
):
    X, blocks = rows
    lazy = getattr(fitted, method)(blocks.rechunk((100, 3)))
    assert isinstance(lazy, da.Array)
    assert lazy.shape == shape
    computed = lazy.compute(scheduler="sync")
    assert lazy.dtype == computed.dtype == (X.dtype if len(shape) == 2 else np.float64)
    blocks = np.split(X, [100, 200])
    expected = np.concatenate([getattr(fitted, method)(block) for block in blocks])
    np.testing.assert_array_equal(computed, expected)


def test_codes_of_a_collection_are_decoded_lazily(rows, fitted):
    X, blocks = rows
    back = fitted.inverse_transform(fitted.transform(blocks))
    assert isinstance(back, da.Array)
    np.testing.assert_array_equal(back.compute(scheduler="sync"), by_block(fitted.reconstruct, X))


def test_frames_keep_their_index_and_get_the_names_of_columns(frames, fitted):
    frame, parts = frames
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # fitted without names
        codes = fitted.transform(parts)
        scores = fitted.score_samples(parts).compute(scheduler="sync")
        computed = codes.compute(scheduler="sync")
        expected = fitted.transform(frame)
    assert list(codes.columns) == list(fitted.get_feature_names_out())
    assert list(computed.index) == list(scores.index) == list(frame.index)
    np.testing.assert_allclose(computed, expected, rtol=1e-4, atol=1e-6)


def test_empty_partitions_are_transformed_too(rows, fitted):
    X, blocks = rows
    least = X[100:250, 0].max()  # none of the second partition is above
    some = fitted.transform(blocks[blocks[:, 0] > least])
    kept = [block[block[:, 0] > least] for block in np.split(X, [100, 250])]
    expected = [fitted.transform(block) for block in kept if len(block)]
    assert len(expected) < 3
    np.testing.assert_array_equal(
        some.compute(scheduler="sync"), np.concatenate([X[:0, :2], *expected])
    )


def test_what_a_collection_cannot_give_is_refused(rows, fitted):
    _, blocks = rows
    with pytest.raises(ValueError, match="set_output"):
        copy(fitted).set_output(transform="pandas").transform(blocks)
    for method in ("transform", "reconstruct", "score_samples", "inverse_transform", "score"):
        with pytest.raises(NotFittedError):
            getattr(AutoencoderTransformer(), method)(blocks)


def test_a_collection_has_the_score_of_its_rows(rows, frames, fitted):
    X, blocks = rows
    assert fitted.score(blocks) == pytest.approx(fitted.score(X), rel=1e-5)
    settings = {"max_steps": 5, "validation_fraction": 0, "random_state": 0}
    far = AutoencoderTransformer(2, **settings).fit(X * np.float32(1e25))
    assert far.score(blocks * np.float32(1e25)) == pytest.approx(far.score(X * np.float32(1e25)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # fitted without names
        assert fitted.score(frames[1]) == pytest.approx(fitted.score(X), rel=1e-5)


def test_likelihoods_of_a_collection_are_lazy(rows):
    X, blocks = rows
    settings = {"max_steps": 5, "validation_fraction": 0, "random_state": 0}
    vae = VariationalAutoencoder(2, hidden_layer_sizes=(8,), **settings).fit(X)
    for method in ("score_samples", "score_features", "posterior_variance"):
        lazy = getattr(vae, method)(blocks)
        assert isinstance(lazy, da.Array)
        np.testing.assert_array_equal(
            lazy.compute(scheduler="sync"), by_block(getattr(vae, method), X)
        )


def test_without_a_client_a_collection_is_computed_and_that_is_said(rows):
    X, blocks = rows
    settings = {"max_steps": 5, "validation_fraction": 0, "random_state": 0}
    ours = AutoencoderTransformer(2, **settings)
    with pytest.warns(UserWarning, match=r"no distributed\.Client"):
        ours.fit(blocks)
    theirs = AutoencoderTransformer(2, **settings).fit(X)
    np.testing.assert_array_equal(ours.transform(X), theirs.transform(X))
