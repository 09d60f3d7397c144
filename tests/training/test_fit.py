"""The fit of a network to a table."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from skae import AutoencoderTransformer
from skae._data.splits import Split, all_rows
from skae._data.table import Table
from skae._initialization.architecture import Architecture
from skae._initialization.initial_network import first_network
from skae._parameters import training_config
from skae._runtime.workers import SINGLE_PROCESS
from skae._training.callbacks import FitCallback
from skae._training.fit import finish, fit_network
from skae._training.losses import Reconstruction
from skae._training.problem import Problem
from skae._training.run import StopReason

from ..faults import raising

ARCHITECTURE = Architecture(
    n_components=2, hidden_layer_sizes=(8,), activations=("silu", "identity", "identity")
)


@dataclass(frozen=True)
class Interrupted(Reconstruction):
    """Loss whose computations of row errors with these numbers are interrupted."""

    interrupts: Collection[int] = field(default=(), compare=False)
    calls: list[int] = field(default_factory=list, compare=False)

    def row_errors(self, network, table):
        self.calls.append(len(self.calls))
        if self.calls[-1] in self.interrupts:
            raise KeyboardInterrupt
        return super().row_errors(network, table)


def problem(**changes):
    table = Table(np.random.default_rng(0).normal(size=(60, 5)))
    stated = Problem(
        table=table,
        splits=[all_rows(60)],
        architecture=ARCHITECTURE,
        objective=Reconstruction(ARCHITECTURE.activations),
        initial_network=lambda training, architecture: first_network(training, architecture, 0),
        config=training_config(AutoencoderTransformer(max_steps=4)),
        seed=0,
        whiten=True,
    )
    return replace(stated, **changes)


def test_an_interrupt_after_training_keeps_the_network_and_a_second_one_is_raised():
    objective = Interrupted(ARCHITECTURE.activations)
    expected = fit_network(problem(objective=objective), FitCallback())
    assert expected.outcome.stop_reason == StopReason.COMPLETED
    last = objective.calls[-1]
    once = Interrupted(ARCHITECTURE.activations, [last])
    result = fit_network(problem(objective=once), FitCallback())
    assert result.outcome.stop_reason == StopReason.INTERRUPTED
    X = np.random.default_rng(1).normal(size=(5, 5))
    np.testing.assert_array_equal(result.network.encode(X), expected.network.encode(X))
    twice = Interrupted(ARCHITECTURE.activations, [last, last + 1])
    with pytest.raises(KeyboardInterrupt):
        fit_network(problem(objective=twice), FitCallback())


@pytest.mark.slow
def test_an_interrupt_of_the_fitted_attributes_keeps_the_outcome_once():
    outcome, calls = fit_network(problem(), FitCallback()).outcome, []

    def interrupted_once(outcome):
        calls.append(outcome.stop_reason)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return "attributes"

    outcome, result = finish(outcome, interrupted_once, SINGLE_PROCESS)
    assert (outcome.stop_reason, result) == (StopReason.INTERRUPTED, "attributes")
    assert calls == [StopReason.COMPLETED, StopReason.INTERRUPTED]
    calls.clear()
    with pytest.raises(KeyboardInterrupt):
        finish(outcome, interrupted_once, SINGLE_PROCESS)


@pytest.mark.slow
@pytest.mark.parametrize("whiten", [True, False])
def test_an_interrupt_of_an_estimators_last_step_keeps_the_network(whiten):
    X = problem().table.X
    params = {"max_steps": 4, "whiten": whiten, "random_state": 0}
    expected = AutoencoderTransformer(2, **params).fit(X)
    name = "skae._base.training.BaseAutoencoder._weights"
    with (
        raising(name, KeyboardInterrupt(), after=0, times=1),
        pytest.warns(ConvergenceWarning, match="interrupted"),
    ):
        ae = AutoencoderTransformer(2, **params).fit(X)
    np.testing.assert_array_equal(ae.transform(X), expected.transform(X))


def test_an_interrupt_before_training_is_raised():
    with pytest.raises(KeyboardInterrupt):
        fit_network(problem(objective=Interrupted(ARCHITECTURE.activations, [0])), FitCallback())


def test_the_code_is_white_and_the_error_is_that_of_the_training_rows_without_validation_rows():
    X = problem().table.X
    result = fit_network(problem(), FitCallback())
    np.testing.assert_allclose(np.cov(result.network.encode(X).T), np.eye(2), atol=1e-6)
    rows = result.network.decode(result.network.encode(X))
    assert result.error == pytest.approx(np.square(rows - X).mean())


def test_a_callback_can_ask_for_the_result_at_each_evaluation():
    class Recorder(FitCallback):
        def __init__(self):
            self.errors = []

        def on_fit_begin(self, n_intervals, result_of):
            self.n_intervals, self.result_of = n_intervals, result_of

        def on_evaluation(self, run, seconds_left):
            self.errors.append(self.result_of(run)().error)
            return False

    recorder = Recorder()
    result = fit_network(problem(), recorder)
    assert len(recorder.errors) == recorder.n_intervals
    assert recorder.errors[-1] == result.error


def test_as_long_as_pca_leads_it_is_computed_once():
    rows = []

    def counting(training, architecture):
        rows.append(training.n_rows)
        return first_network(training, architecture, 0)

    class Asking(FitCallback):
        def __init__(self):
            self.steps = []

        def on_fit_begin(self, n_intervals, result_of):
            self.result_of = result_of

        def on_evaluation(self, run, seconds_left):
            self.steps.append(self.result_of(run)().outcome.step)
            return False

    asking = Asking()
    estimator = AutoencoderTransformer(max_iter=10, learning_rate_init=1e-30)
    stated = problem(
        splits=[Split(np.arange(40), np.arange(40, 60))],
        initial_network=counting,
        config=training_config(estimator),
        pca_is_baseline=True,
    )
    result = fit_network(stated, asking)
    assert [*asking.steps, result.outcome.step] == [0] * 11
    assert rows.count(60) == 1
