"""An estimator that is made of another one keeps what that one has learnt."""

import pickle

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from skae import AutoencoderImputer, AutoencoderTransformer, OutlierDetector, VariationalAutoencoder
from skae._runtime.workers import WorkerLostError

X = np.random.default_rng(0).normal(size=(60, 4))
QUICK = {
    "n_components": 2,
    "hidden_layer_sizes": (4,),
    "max_steps": 2,
    "validation_fraction": 0.5,
    "random_state": 0,
}
MADE_OF = [(AutoencoderImputer, AutoencoderTransformer), (OutlierDetector, VariationalAutoencoder)]


def served(estimator):
    """What a fitted estimator makes of rows, some of which have missing values."""
    rows = np.where(np.eye(*X.shape, dtype=bool), np.nan, X)
    if isinstance(estimator, OutlierDetector):
        return estimator.decision_function(rows)
    return estimator.transform(rows)


@pytest.mark.slow
@pytest.mark.parametrize(("cls", "part"), MADE_OF)
@pytest.mark.parametrize("error", [WorkerLostError("A worker was lost."), KeyboardInterrupt()])
def test_what_was_learnt_before_an_error_is_kept(cls, part, error, monkeypatch):
    fit = part.fit

    def broken_off(self, *arguments, **options):
        fit(self, *arguments, **options)
        raise error

    expected = cls(**QUICK).fit(X)
    monkeypatch.setattr(part, "fit", broken_off)
    estimator = cls(**QUICK)
    with pytest.raises(type(error)):
        estimator.fit(X)
    np.testing.assert_array_equal(served(estimator), served(expected))
    assert type(estimator.autoencoder_) is part


@pytest.mark.slow
@pytest.mark.parametrize(("cls", "part"), MADE_OF)
def test_an_error_before_anything_was_learnt_leaves_the_fitted_estimator(cls, part, monkeypatch):
    def lost(*_, **__):
        raise WorkerLostError("A worker was lost.")

    estimator = cls(**QUICK).fit(X)
    before = served(estimator)
    monkeypatch.setattr(part, "fit", lost)
    with pytest.raises(ConnectionError):
        estimator.fit(X + 1)
    np.testing.assert_array_equal(served(estimator), before)


def test_an_interrupt_while_the_threshold_is_computed_keeps_what_was_learnt(monkeypatch):
    score_samples, n_calls = VariationalAutoencoder.score_samples, 0

    def interrupted_once(self, rows):
        nonlocal n_calls
        n_calls += 1
        if n_calls == 1:
            raise KeyboardInterrupt
        return score_samples(self, rows)

    expected = OutlierDetector(**QUICK).fit(X)
    monkeypatch.setattr(VariationalAutoencoder, "score_samples", interrupted_once)
    detector = OutlierDetector(**QUICK)
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        detector.fit(X)
    assert detector.offset_ == expected.offset_


@pytest.mark.slow
def test_a_lost_worker_is_told_with_the_parameters_of_the_estimator(monkeypatch):
    from skae._training import loop

    def lost(*_, **__):
        raise WorkerLostError("A worker was lost.")
        yield

    monkeypatch.setattr(loop, "train", lost)
    for cls in (AutoencoderTransformer, AutoencoderImputer, OutlierDetector):
        estimator = cls(**QUICK)
        with pytest.raises(ConnectionError, match="kept in this estimator: save it") as caught:
            estimator.fit(X)
        assert ("warm_start" in str(caught.value)) == ("warm_start" in estimator.get_params())
        assert estimator.n_iter_ == 1


def test_estimators_are_pickled_with_their_own_classes():
    detector = OutlierDetector(**QUICK).fit(X)
    assert b"_new_part" not in pickle.dumps(detector)
