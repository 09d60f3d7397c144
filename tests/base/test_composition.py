"""Estimators with an inner estimator: errors and interrupts of its fit."""

import pickle

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from skae import AutoencoderImputer, AutoencoderTransformer, OutlierDetector, VariationalAutoencoder
from skae._runtime.workers import WorkerLostError

from ..faults import TRAINING_LOOP, raising

X = np.random.default_rng(0).normal(size=(60, 4))
QUICK = {
    "n_components": 2,
    "hidden_layer_sizes": (4,),
    "max_steps": 2,
    "validation_fraction": 0.5,
    "random_state": 0,
}
INNER_ESTIMATORS = [
    (AutoencoderImputer, AutoencoderTransformer),
    (OutlierDetector, VariationalAutoencoder),
]


def outputs_of(estimator):
    """Return the output of a fitted estimator for rows, some with missing values."""
    rows = np.where(np.eye(*X.shape, dtype=bool), np.nan, X)
    if isinstance(estimator, OutlierDetector):
        return estimator.decision_function(rows)
    return estimator.transform(rows)


@pytest.mark.slow
@pytest.mark.parametrize(("cls", "part"), INNER_ESTIMATORS)
@pytest.mark.parametrize("error", [WorkerLostError("A worker was lost."), KeyboardInterrupt()])
def test_a_network_trained_before_an_error_is_kept(cls, part, error):
    expected = cls(**QUICK).fit(X)
    estimator = cls(**QUICK)
    with raising(f"skae.{part.__name__}.fit", error, at_end=True), pytest.raises(type(error)):
        estimator.fit(X)
    np.testing.assert_array_equal(outputs_of(estimator), outputs_of(expected))
    assert type(estimator.autoencoder_) is part


@pytest.mark.slow
@pytest.mark.parametrize(("cls", "part"), INNER_ESTIMATORS)
def test_an_error_before_the_first_evaluation_keeps_the_fitted_estimator(cls, part):
    estimator = cls(**QUICK).fit(X)
    before = outputs_of(estimator)
    lost = WorkerLostError("A worker was lost.")
    with raising(f"skae.{part.__name__}.fit", lost), pytest.raises(ConnectionError):
        estimator.fit(X + 1)
    np.testing.assert_array_equal(outputs_of(estimator), before)


@pytest.mark.slow
def test_an_interrupt_of_the_threshold_computation_keeps_the_network():
    expected = OutlierDetector(**QUICK).fit(X)
    detector = OutlierDetector(**QUICK)
    once = raising(
        "skae._networks.variational.Variational.log_likelihoods", KeyboardInterrupt(), times=1
    )
    with once, pytest.warns(ConvergenceWarning, match="interrupted"):
        detector.fit(X)
    assert detector.offset_ == expected.offset_


@pytest.mark.slow
def test_the_message_of_a_lost_worker_names_parameters_of_the_estimator():
    lost, message = WorkerLostError("A worker was lost."), "kept in this estimator: save it"
    for cls in (AutoencoderTransformer, AutoencoderImputer, OutlierDetector):
        estimator = cls(**QUICK)
        with raising(TRAINING_LOOP, lost), pytest.raises(ConnectionError, match=message) as caught:
            estimator.fit(X)
        assert ("warm_start" in str(caught.value)) == ("warm_start" in estimator.get_params())
        assert estimator.n_iter_ == 1


def test_estimators_are_pickled_with_their_own_classes():
    detector = OutlierDetector(**QUICK).fit(X)
    assert b"_new_part" not in pickle.dumps(detector)
