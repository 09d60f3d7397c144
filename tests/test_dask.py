"""Tables larger than memory, in blocks: Dask."""

import dask.array as da
import numpy as np
import pytest
from dask_ml.wrappers import Incremental, ParallelPostFit

from skae import AutoencoderTransformer


@pytest.fixture(scope="module", params=["float64", "float32"])
def rows(request):
    """A table, and the same in blocks of unequal length."""
    X = np.random.default_rng(0).normal(size=(300, 6)).astype(request.param)
    return X, da.from_array(X, chunks=((100, 150, 50), (6,)))


@pytest.fixture(scope="module")
def fitted(rows):
    return AutoencoderTransformer(2, max_steps=20, random_state=0).fit(rows[0])


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


def test_incremental_fits_block_by_block(rows):
    X, blocks = rows
    params = {"n_components": 2, "random_state": 0}
    wrapped = Incremental(AutoencoderTransformer(**params), shuffle_blocks=False).fit(blocks)
    expected = AutoencoderTransformer(**params)
    for block in np.split(X, [100, 250]):
        expected.partial_fit(block)
    assert wrapped.estimator_.n_samples_seen_ == 300
    np.testing.assert_array_equal(wrapped.estimator_.transform(X), expected.transform(X))
