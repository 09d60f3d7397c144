"""State of partial_fit: statistics of earlier rows, stored rows, initial network."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array

from skae import AutoencoderTransformer, VariationalAutoencoder

from ..properties.test_refit import check_same

KINDS = [AutoencoderTransformer, VariationalAutoencoder]


def quick(kind=AutoencoderTransformer, n_components=3, **params):
    params = {"hidden_layer_sizes": 8, "random_state": 0} | params
    return kind(n_components, **params)


def curved_rows(n_samples, seed=0):
    """Return rows around a curved surface of three dimensions, from one distribution."""
    rng, shape = np.random.default_rng(seed), np.random.default_rng(99).normal(size=(2, 3, 8))
    where = rng.normal(size=(n_samples, 3))
    rows = where @ shape[0] + np.sin(2 * where) @ shape[1]
    return rows + 0.3 * rng.normal(size=rows.shape) + 3


def streamed(estimator, X, sizes):
    """Call partial_fit with the rows of X in batches of these sizes."""
    for batch in np.split(X, np.cumsum(sizes)[:-1]):
        estimator.partial_fit(batch)
    return estimator


def assert_same_stream(ours, theirs):
    """Compare all attributes to the bit, except the number of calls and the order of sums."""
    np.testing.assert_allclose(ours.mean_, theirs.mean_, rtol=1e-12)
    theirs.n_iter_, theirs.mean_ = ours.n_iter_, ours.mean_
    check_same(ours, theirs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [pytest.param([1] * 8, marks=pytest.mark.slow), [3, 1, 4]])
def test_a_stream_of_few_rows_starts_from_all_of_them(kind, sizes):
    X = curved_rows(8)
    one, parts = (streamed(quick(kind), X, cut) for cut in ([8], sizes))
    assert parts.n_iter_ == len(sizes)
    assert_same_stream(parts, one)


def test_stored_rows_are_used_until_the_initial_network_is_determined():
    X = curved_rows(60)
    one, parts = (streamed(quick(), X, cut) for cut in ([40, 20], [1, 9, 15, 15, 20]))
    for estimator in (one, parts):
        assert estimator._kept_rows_ is None
    assert parts.n_samples_seen_ == 60
    np.testing.assert_allclose(parts.mean_, X.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(parts.transform(X), one.transform(X), rtol=1e-6)


def test_a_stream_of_few_rows_is_fitted_and_pickled_after_each_call():
    X = curved_rows(12)
    estimator = quick()
    for first in range(0, 12, 2):
        batch = X[first : first + 2].copy()
        estimator = pickle.loads(pickle.dumps(estimator.partial_fit(batch)))
        batch[:] = np.nan  # the rows are copied
        assert np.isfinite(estimator.transform(X)).all()
        assert estimator.n_samples_seen_ == first + 2
    assert_same_stream(estimator, quick().partial_fit(X))


def test_rows_are_stored_until_they_determine_the_initial_network():
    X = curved_rows(256)
    kept = [quick().partial_fit(X[:n])._kept_rows_ for n in (1, 31, 32, 64)]
    assert [None if rows is None else len(rows) for rows in kept] == [1, 31, None, None]
    X[:40, 2] = 5  # a constant column that varies later
    assert len(quick().partial_fit(X[:40])._kept_rows_) == 40
    assert quick().partial_fit(X[:60])._kept_rows_ is None
    # with few distinct rows, one batch is enough; with one or two distinct rows, no number is
    X = (X > 3)[:, :3].astype(np.float64)
    assert quick(n_components=1).partial_fit(X)._kept_rows_ is None
    estimator = quick(n_components=1).partial_fit(np.ones((256, 3)))
    assert len(estimator._kept_rows_) == 1
    estimator.partial_fit(np.vstack([np.ones((255, 3)), np.zeros((1, 3))]))
    assert estimator.n_samples_seen_ == 512
    assert len(estimator._kept_rows_) == 2


@pytest.mark.parametrize("containers", [(csr_array, np.asarray), (np.asarray, csr_array)])
def test_the_type_of_the_rows_may_change(containers):
    X = curved_rows(20).clip(2, None).round(2)
    expected = quick().partial_fit(X)
    types = [np.float32, np.float64]
    parts = quick()
    for rows, container, dtype in zip((X[:10], X[10:]), containers, types, strict=True):
        parts.partial_fit(container(rows.astype(dtype)))
    assert parts.center_.dtype == np.float64
    np.testing.assert_allclose(parts.transform(X), expected.transform(X), atol=1e-3)


def test_other_feature_names_are_an_error_and_change_nothing():
    X = pd.DataFrame(curved_rows(10), columns=list("abcdefgh"))
    estimator = quick().partial_fit(X)
    before = pickle.dumps(estimator)
    with pytest.raises(ValueError, match="feature names should match"):
        estimator.partial_fit(X[list("hgfedcba")])
    with pytest.raises(ValueError, match="now missing"):
        estimator.partial_fit(X.iloc[:, :3])
    assert pickle.dumps(estimator) == before


def test_a_fraction_of_the_variance_is_that_of_all_stored_rows():
    X = curved_rows(60)
    sizes = [streamed(quick(n_components=0.9), X, cut).n_components_ for cut in ([1, 59], [60])]
    assert sizes[0] == sizes[1] > 1


def test_a_warm_start_after_few_rows_of_a_stream_starts_at_pca():
    X = curved_rows(60)
    params = {"max_steps": 5, "warm_start": True, "validation_fraction": 0.0}
    warm = quick(**params).partial_fit(X[:1]).fit(X)
    check_same(warm, quick(**params).fit(X))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_training_after_a_fit_on_equal_rows_starts_at_pca(method):
    X = 1e-3 * curved_rows(1000)
    later, new = (quick(max_steps=50, warm_start=True) for _ in range(2))
    later.fit(np.full((50, 8), 3e-3))
    errors = [np.square(getattr(ae, method)(X).reconstruct(X) - X).sum() for ae in (later, new)]
    assert errors[0] < 1.05 * errors[1]


@pytest.mark.parametrize("start", ["partial_fit", pytest.param("fit", marks=pytest.mark.slow)])
def test_the_mean_of_a_stream_is_that_of_the_observed_values(start):
    X = curved_rows(140)
    X[:, 3] += 100
    X[np.random.default_rng(0).random(X.shape) < 0.3] = np.nan
    X[:50, 7] = np.nan  # no value at all in the first batch
    estimator = quick(max_steps=2, validation_fraction=0.0)
    if start == "fit":
        with pytest.warns(UserWarning, match="no value"):
            estimator.fit(X[:50])
        streamed(estimator, X[50:], [30, 60])
    else:
        streamed(estimator, X, [50, 30, 60])
    np.testing.assert_allclose(estimator.mean_, np.nanmean(X, axis=0), rtol=1e-12)


def recovery(kind, unit, head, n_batches=30):
    """Return the score on new rows of a stream that begins with these rows."""
    X, X_test = unit * curved_rows(256 * n_batches), unit * curved_rows(1000, seed=1)
    estimator = quick(kind).partial_fit(unit * head)
    return streamed(estimator, X, [256] * n_batches).score(X_test)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "unit"), [(KINDS[0], 1e-3), (KINDS[1], 1.0)])
def test_a_stream_recovers_from_any_beginning(kind, unit):
    full = recovery(kind, unit, curved_rows(256, seed=2))
    rows = curved_rows(64, seed=2)
    beginnings = [rows[:n] for n in (1, 2, 3, 4, 5, 8, 12, 20, 31, 32, 64)]
    beginnings += [np.repeat(rows[:1], n, axis=0) for n in (20, 300)]
    beginnings += [np.repeat(rows[:2], counts, axis=0) for counts in ([255, 1], [128, 128])]
    beginnings += [np.vstack([rows[:3], np.full((253, rows.shape[1]), np.nan)])]
    for head in beginnings:
        assert recovery(kind, unit, head) > full - 0.05 * abs(full), len(head)
