"""All methods work if NumPy raises floating point errors."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from skae import (
    AutoencoderImputer,
    AutoencoderTransformer,
    OutlierDetector,
    VariationalAutoencoder,
)
from skae._networks.activations import ACTIVATIONS

# tables with as many rows share their compiled functions
DIGITS = load_digits().data[:60, 8:24]
NORMAL = np.random.default_rng(0).normal(size=(60, 16))
IS_MISSING = np.random.default_rng(1).random(NORMAL.shape) < 0.2
SHORT = {
    "hidden_layer_sizes": (8,),
    "max_steps": 8,
    "validation_fraction": 0,
    "random_state": 0,
}
TABLES = {
    "digits": DIGITS,
    "tiny": 1e-100 * NORMAL,
    "mixed scales": NORMAL * np.logspace(-150, 3, 16),
    "an outlier": np.vstack([NORMAL[:-1], np.full((1, 16), 1e100)]),
    "constant": np.full((60, 16), 0.1),
    "small float32": np.float32(1e-20) * NORMAL.astype(np.float32),
    "incomplete": np.where(IS_MISSING, np.nan, NORMAL),
    "wide": NORMAL[:10],
}
ESTIMATORS = {
    "transformer": AutoencoderTransformer(4, **SHORT),
    "plain stack": AutoencoderTransformer(4, init="glorot", **SHORT),
    "share": AutoencoderTransformer(0.5, **SHORT),
    "corrupted": AutoencoderTransformer(4, corruption="swap", noise=0.1, **SHORT),
    "variational": VariationalAutoencoder(4, **SHORT),
    "per feature": VariationalAutoencoder(4, noise_variance="feature", **SHORT),
    "contaminated": VariationalAutoencoder(4, contamination=0.1, **SHORT),
    "imputer": AutoencoderImputer(**SHORT),
    "detector": OutlierDetector(4, **SHORT),
}
METHODS = ("transform", "reconstruct", "score_samples", "score", "score_features")
METHODS += ("posterior_variance", "predict", "decision_function")
QUICK = {("variational", "tiny"), ("imputer", "incomplete")}
CASES = [
    pytest.param(estimator, table, marks=() if (estimator, table) in QUICK else pytest.mark.slow)
    for estimator in ESTIMATORS
    for table in TABLES
]


def use(estimator, X):
    """Call all methods of a fitted estimator."""
    if not np.isnan(X).any():
        far, near = X.copy(), X.copy()
        far[:3] *= X.dtype.type(1e9)
        near[:3] *= X.dtype.type(1e-9)
        near[3] = np.finfo(X.dtype).tiny
    else:
        far = near = X
    for rows in (X, far, near):
        for name in METHODS:
            if hasattr(estimator, name):
                getattr(estimator, name)(rows)
    if hasattr(estimator, "inverse_transform"):
        codes = estimator.transform(X)
        estimator.inverse_transform(codes)
        estimator.inverse_transform(codes * codes.dtype.type(1e-30))
    if hasattr(estimator, "sample"):
        estimator.sample(9, random_state=0)


@pytest.mark.parametrize(("name", "table"), CASES)
@pytest.mark.filterwarnings("ignore:Training diverged")
def test_every_method_works_if_floating_point_errors_are_raised(name, table):
    estimator, X = ESTIMATORS[name], TABLES[table]
    with np.errstate(all="raise"):
        use(estimator.fit(X), X)
        if hasattr(estimator, "partial_fit"):
            use(estimator.partial_fit(X[:9]), X)


@pytest.mark.slow
@pytest.mark.parametrize("likelihood", ["transformer", "variational", "detector"])
def test_a_bernoulli_likelihood_works_if_floating_point_errors_are_raised(likelihood):
    X = (DIGITS > 0).astype(np.float64)
    estimator = ESTIMATORS[likelihood]
    if likelihood != "transformer":
        estimator = type(estimator)(4, likelihood="bernoulli", **SHORT)
    with np.errstate(all="raise"):
        use(estimator.fit(X), X)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_any_activation_works_if_floating_point_errors_are_raised(activation):
    ae = AutoencoderTransformer(
        4, activation=activation, init="glorot", output_activation=activation, **SHORT
    )
    with np.errstate(all="raise"):
        use(ae.fit(NORMAL), NORMAL)
