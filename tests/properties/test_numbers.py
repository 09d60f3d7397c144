"""Extreme finite numbers give correct results, or an error that names the cause."""

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA

from skae import (
    AutoencoderImputer,
    AutoencoderTransformer,
    OutlierDetector,
    VariationalAutoencoder,
)

NORMAL = np.random.default_rng(0).normal(size=(60, 5))
SHORT = {
    "hidden_layer_sizes": (4,),
    "max_steps": 4,
    "validation_fraction": 0,
    "random_state": 0,
}


@pytest.mark.slow
def test_a_constant_column_near_the_largest_float_changes_nothing():
    X = np.insert(NORMAL, 2, 1e308, axis=1)
    ae = AutoencoderTransformer(2, **SHORT).fit(X)
    np.testing.assert_allclose(ae.mean_, np.insert(NORMAL.mean(axis=0), 2, 1e308), atol=1e-12)
    expected = 1 - np.square(ae.reconstruct(X) - X).sum() / np.square(X - ae.mean_).sum()
    assert ae.score(X) == pytest.approx(expected)
    ae.partial_fit(X[:10])
    assert ae.mean_[2] == 1e308
    X[5, 2] = np.nan
    assert AutoencoderTransformer(2, **SHORT).fit(X).mean_[2] == 1e308


@pytest.mark.parametrize("exponent", [-165, pytest.param(-285, marks=pytest.mark.slow)])
def test_tiny_rows_are_reconstructed_no_worse_than_by_pca(exponent):
    X = NORMAL * 10.0**exponent
    ae = AutoencoderTransformer(2, **SHORT | {"validation_fraction": 0.5}).fit(X)
    share = PCA(2).fit(NORMAL).explained_variance_ratio_.sum()
    assert ae.score(X) == pytest.approx(share)
    np.testing.assert_allclose(ae.transform(X).std(axis=0, ddof=1), 1)


def test_rows_whose_variance_underflows_are_an_error():
    with pytest.raises(ValueError, match=r"X varies by 1e-165, .* multiply it by a constant"):
        VariationalAutoencoder(2, **SHORT).fit(NORMAL * 1e-165)


@pytest.mark.parametrize(
    "estimator",
    [
        AutoencoderTransformer(2, **SHORT),
        pytest.param(
            AutoencoderTransformer(2, **SHORT, whiten=False, bounds=(-1, None)),
            marks=pytest.mark.slow,
        ),
        pytest.param(VariationalAutoencoder(2, **SHORT), marks=pytest.mark.slow),
    ],
)
def test_float32_rows_near_the_largest_number_have_finite_codes(estimator):
    X = NORMAL.astype(np.float32)
    estimator.fit(X)
    far, most = X.copy(), np.finfo(np.float32).max
    far[:5] *= np.float32(1e38)
    far[5:7] = [[most], [-most]]
    codes, in_double = estimator.transform(far), estimator.transform(far.astype(np.float64))
    np.testing.assert_allclose(codes, in_double.clip(-most, most), rtol=1e-3)
    for rows in (estimator.reconstruct(far), estimator.inverse_transform(codes)):
        assert rows.dtype == np.float32
        assert np.isfinite(rows).all()
    if hasattr(estimator, "sample"):
        assert np.isfinite(estimator.posterior_variance(far)).all()
        assert not np.isnan(estimator.score_features(far)).any()
    assert not np.isnan(estimator.score_samples(far)).any()
    assert not np.isnan(estimator.score(far))


def test_float32_rows_near_the_largest_number_are_imputed():
    X = NORMAL.astype(np.float32)
    imputer = AutoencoderImputer(2, **SHORT).fit(X)
    far = np.where(np.eye(5, dtype=bool), np.float32(np.nan), np.float32(3e38))
    assert np.isfinite(imputer.transform(far)).all()


@pytest.mark.parametrize(
    "kind",
    [
        AutoencoderTransformer,
        *(
            pytest.param(kind, marks=pytest.mark.slow)
            for kind in (VariationalAutoencoder, AutoencoderImputer, OutlierDetector)
        ),
    ],
)
def test_integers_too_large_for_a_float_are_an_error_that_names_the_parameter(kind):
    bounded = {"batch_size", "n_components", "n_iter_no_change", "verbose"}
    bounded |= {"max_categories", "min_frequency", "n_neighbors"}
    for name in set(kind().get_params()) - bounded:
        params = {key: value for key, value in SHORT.items() if key != name}
        if name == "max_iter":
            del params["max_steps"]
        with pytest.raises(ValueError, match=name):
            kind(**params | {name: 10**400}).fit(NORMAL)


@pytest.mark.parametrize(("name", "expected"), [("max_categories", 3), ("min_frequency", 1)])
def test_limits_of_categories_may_be_any_integer(name, expected):
    X = pd.DataFrame({"number": np.arange(12.0), "word": list("abca") * 3})
    params = SHORT | {"hidden_layer_sizes": (), name: 10**400}
    ae = AutoencoderTransformer(2, **params).fit(X)
    assert len(ae.center_) == 1 + expected


@pytest.mark.slow
@pytest.mark.parametrize("name", ["batch_size", "n_components", "n_iter_no_change"])
def test_sizes_that_are_capped_may_be_any_integer(name):
    params = {"n_components": 2} | SHORT | {name: 10**400}
    ae = AutoencoderTransformer(**params).fit(NORMAL)
    assert ae.n_components_ == (5 if name == "n_components" else 2)
