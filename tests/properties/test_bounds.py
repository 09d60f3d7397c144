"""Bounds hold in every output, whether PCA or a network is kept."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics import mean_squared_error

from skae import AutoencoderImputer, AutoencoderTransformer, VariationalAutoencoder

RNG = np.random.default_rng(0)
NORMAL = RNG.normal(size=(60, 3)) @ RNG.normal(size=(3, 5)) + 0.3 * RNG.normal(size=(60, 5))
CURVED = np.sin(NORMAL @ RNG.normal(size=(5, 5)))
COUNTS = np.floor(np.exp(NORMAL - 0.5)).clip(max=9)
WIDE = RNG.normal(size=(8, 12))
IS_MISSING = RNG.random(NORMAL.shape) < 0.2

LOW, HIGH = 0.1, 0.7  # neither bound is a float32, and rows exceed both
SHORT = {"hidden_layer_sizes": (4,), "max_steps": 8, "random_state": 0}
NOT_TRAINED = {"max_steps": 1, "learning_rate_init": 1e-12, "validation_fraction": 0.5}
KEPT = {"validation_fraction": 0}  # the network is kept without validation


def outputs(estimator, X):
    """Yield all results of an estimator in the units of X."""
    if isinstance(estimator, AutoencoderImputer):
        is_missing = IS_MISSING[: len(X), : X.shape[1]]
        yield estimator.transform(np.where(is_missing, X.dtype.type(np.nan), X))[is_missing]
        yield from outputs(estimator.autoencoder_, X)
        return
    yield estimator.reconstruct(X)
    yield estimator.reconstruct(100 * X)
    yield estimator.inverse_transform(RNG.normal(scale=9, size=(9, estimator.n_components_)))
    if hasattr(estimator, "sample"):
        yield estimator.sample(100, random_state=0)


def check(estimator, X):
    for rows in outputs(estimator, X):
        assert rows.min() >= LOW
        assert rows.max() <= HIGH


BOUNDED = SHORT | {"bounds": (LOW, HIGH)}
ESTIMATORS = {
    "PCA is kept": AutoencoderTransformer(2, **BOUNDED | NOT_TRAINED),
    "a network is kept": AutoencoderTransformer(2, **BOUNDED, **KEPT),
    "PCA is exact": AutoencoderTransformer(5, **BOUNDED),
    "a code in the units of X": AutoencoderTransformer(2, whiten=False, **BOUNDED | NOT_TRAINED),
    "a plain stack": AutoencoderTransformer(2, init="glorot", **BOUNDED),
    "a share of the variance": AutoencoderTransformer(0.5, **BOUNDED | NOT_TRAINED),
    "hidden entries": AutoencoderTransformer(
        2, corruption="missing", noise=0.5, **BOUNDED | NOT_TRAINED
    ),
    "probabilistic PCA is imputed": AutoencoderImputer(2, **BOUNDED | NOT_TRAINED),
    "a network is imputed": AutoencoderImputer(2, **BOUNDED, **KEPT),
    "probabilistic PCA is kept": VariationalAutoencoder(2, **BOUNDED | NOT_TRAINED),
    "a variational network is kept": VariationalAutoencoder(2, **BOUNDED, **KEPT),
}
QUICK = ("PCA is kept", "probabilistic PCA is imputed", "probabilistic PCA is kept")
ESTIMATORS = [
    pytest.param(estimator, id=name, marks=() if name in QUICK else pytest.mark.slow)
    for name, estimator in ESTIMATORS.items()
]


@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.slow), "float64"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_given_bounds_hold_in_every_output(estimator, dtype):
    X = NORMAL.astype(dtype)
    estimator.fit(X)
    check(estimator, X)
    check(estimator, NORMAL.astype("float64" if dtype == "float32" else "float32"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "estimator", [e for e in ESTIMATORS if e.id in (*QUICK, "a network is kept")]
)
def test_given_bounds_hold_with_missing_values_and_in_wide_tables(estimator):
    check(estimator.fit(np.where(IS_MISSING, np.nan, NORMAL)), NORMAL)
    if estimator.validation_fraction:
        estimator.set_params(validation_fraction=0.5)
    estimator.fit(WIDE)
    check(getattr(estimator, "autoencoder_", estimator), WIDE)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [AutoencoderTransformer, VariationalAutoencoder])
def test_given_bounds_hold_after_continued_training(kind):
    estimator = kind(2, **BOUNDED | NOT_TRAINED).fit(NORMAL)
    check(estimator.partial_fit(NORMAL[:20]), NORMAL)
    check(estimator.set_params(warm_start=True).fit(NORMAL), NORMAL)
    check(kind(2, **BOUNDED).partial_fit(NORMAL).partial_fit(NORMAL), NORMAL)
    # the bounds are added to a network that was trained without bounds
    free = kind(2, **SHORT).fit(NORMAL)
    check(free.set_params(bounds=(LOW, HIGH), warm_start=True).fit(NORMAL), NORMAL)


def test_pca_is_evaluated_with_the_bounds_that_are_kept():
    ae = AutoencoderTransformer(2, **BOUNDED | NOT_TRAINED)
    ae.fit(NORMAL)
    pca = PCA(2).fit(NORMAL)
    clipped = pca.inverse_transform(pca.transform(NORMAL)).clip(LOW, HIGH)
    np.testing.assert_allclose(ae.reconstruct(NORMAL), clipped, atol=1e-9)
    errors = []
    rows = np.random.default_rng(np.random.RandomState(0).randint(2**31 - 1)).permutation(60)
    for part in (rows[:30], rows[30:]):
        pca = PCA(2).fit(np.delete(NORMAL, part, axis=0))
        clipped = pca.inverse_transform(pca.transform(NORMAL[part])).clip(LOW, HIGH)
        errors.append(mean_squared_error(NORMAL[part], clipped))
    assert ae.validation_curve_[0, 1] == pytest.approx(np.mean(errors), rel=1e-5)


@pytest.mark.parametrize("trained", [NOT_TRAINED, pytest.param({}, marks=pytest.mark.slow)])
def test_an_imputer_of_counts_imputes_no_negative_number(trained):
    rows = np.where(IS_MISSING, np.nan, COUNTS)
    filled = AutoencoderImputer(2, **SHORT | trained).fit_transform(rows)
    assert filled.min() == 0


def test_automatic_bounds_are_dropped_if_a_transformer_keeps_pca():
    settings = SHORT | {"learning_rate_init": 1.0, "validation_fraction": 0.5}
    ae = AutoencoderTransformer(2, **settings).fit(COUNTS)
    pca = PCA(2).fit(COUNTS)
    expected = pca.inverse_transform(pca.transform(COUNTS))
    assert expected.min() < 0
    np.testing.assert_allclose(ae.reconstruct(COUNTS), expected, atol=1e-9)
    assert np.isinf(ae.bounds_).all()


@pytest.mark.parametrize(
    "pair", [[LOW, HIGH], np.array([LOW, HIGH]), np.full((2, 5), [[LOW], [HIGH]])]
)
def test_bounds_may_be_any_pair(pair):
    ae = AutoencoderTransformer(2, **SHORT | NOT_TRAINED, bounds=pair).fit(NORMAL)
    np.testing.assert_array_equal(ae.bounds_, np.full((2, 5), [[LOW], [HIGH]]))


@pytest.mark.parametrize(
    "bounds", [(10**400, None), (None, 10**400), (-(10**400), 1), np.array(3), np.zeros(3)]
)
def test_invalid_pairs_of_bounds_are_an_error_that_names_bounds(bounds):
    with pytest.raises(ValueError, match="bounds"):
        AutoencoderTransformer(2, bounds=bounds).fit(NORMAL)
