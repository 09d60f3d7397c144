"""Calls of scikit-learn's callbacks, and progress output."""

import re
import time
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from skae import AutoencoderTransformer

callback = pytest.importorskip("sklearn.callback")  # of scikit-learn 1.9

X, y = load_digits(return_X_y=True)
X, y = X[:1100], y[:1100]


class Recorder:
    """Callback that records its calls, and calls `act` at the end of each epoch."""

    def __init__(self, act=lambda *_: None):
        self.act = act
        self.begun, self.ended, self.calls = [], [], []

    def setup(self, estimator, context):
        self.calls.append("setup")

    def teardown(self, estimator, context):
        self.calls.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.begun.append((context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context, *, X, fitted_estimator):
        self.ended.append((context.task_name, context.task_id))
        if context.task_name == "epoch":
            return self.act(len(self.ended), fitted_estimator)
        return None


def autoencoder(*callbacks, **params):
    params = {"n_components": 8, "max_iter": 4, "random_state": 0} | params
    return AutoencoderTransformer(**params).set_callbacks(*callbacks)


def test_each_epoch_is_a_task():
    recorder = Recorder()
    autoencoder(recorder).fit(X)
    epochs = [("epoch", i) for i in range(4)]
    assert recorder.begun == [("fit", 0), *epochs]
    assert recorder.ended == [*epochs, ("fit", 0)]
    assert recorder.calls == ["setup", "teardown"]


@pytest.mark.slow
def test_several_splits_are_one_row_of_tasks():
    recorder = Recorder()
    ae = autoencoder(recorder, init="pca").fit(X[:300])
    # three splits in parallel, the fourth and, unless PCA is kept, a run on all rows
    epochs = [i for name, i in recorder.ended if name == "epoch"]
    assert epochs == list(range(2 * 4 + ae.best_step_ // (ae.n_steps_ // 4)))


def test_the_reconstructed_estimator_is_the_current_best_one():
    seen = []
    recorder = Recorder(lambda _, fitted: seen.append(fitted))
    ae = autoencoder(recorder).fit(X)
    errors = [((e.reconstruct(X) - X) ** 2).mean() for e in seen]
    assert errors == sorted(errors, reverse=True)
    assert [e.n_steps_ for e in seen] == [ae.n_steps_ * i // 4 for i in range(1, 5)]
    np.testing.assert_array_equal(seen[-1].transform(X), ae.transform(X))
    np.testing.assert_allclose(seen[0].transform(X).std(axis=0), 1, rtol=0.1)


@pytest.mark.parametrize(
    ("rows", "params"),
    [
        (X, {"early_stopping": True, "n_iter_no_change": 1, "tol": 1.0}),
        pytest.param(
            X[:300],
            {"early_stopping": True, "n_iter_no_change": 1, "tol": 1.0},
            marks=pytest.mark.slow,
        ),
        (X, {"learning_rate_init": 1e30}),
        (X[:300], {"learning_rate_init": 1e30}),
        (np.ones((50, 3)), {}),
    ],
    ids=["early", "early, several splits", "diverged", "diverged, several splits", "exact"],
)
@pytest.mark.filterwarnings("ignore:Training diverged")
def test_each_task_that_begins_ends(rows, params):
    recorder = Recorder()
    autoencoder(recorder, **{"max_iter": 20} | params).fit(rows)
    assert sorted(recorder.ended) == sorted(recorder.begun)
    assert recorder.ended[-1] == ("fit", 0)


@pytest.mark.parametrize("target", [None, y])
def test_callbacks_get_the_y_of_fit(target):
    seen = []

    class Listener(Recorder):
        def on_fit_task_end(self, estimator, context, *, X, y):
            seen.append(y)

    autoencoder(Listener()).fit(X, target)
    assert len(seen) == 5
    assert all(y is target for y in seen)


def test_callbacks_do_not_change_the_result():
    ours = autoencoder(Recorder()).fit(X)
    np.testing.assert_array_equal(ours.transform(X), autoencoder().fit(X).transform(X))


def test_a_callback_that_returns_true_stops_training():
    ae = autoencoder(Recorder(lambda n, _: n == 2)).fit(X)
    assert ae.n_iter_ == 2
    assert ae.score(X) > PCA(8).fit(X).explained_variance_ratio_.sum()


def test_an_error_in_a_callback_keeps_the_estimator_unchanged():
    def fail(n, _):
        raise RuntimeError("the disk is full")

    ae = autoencoder(Recorder(fail))
    with pytest.raises(RuntimeError, match="the disk is full"):
        ae.fit(X)
    with pytest.raises(NotFittedError):
        ae.transform(X)
    assert not hasattr(ae, "n_features_in_")

    ae = autoencoder().fit(X)
    codes = ae.transform(X)
    ae.set_callbacks(Recorder(fail))
    with pytest.raises(RuntimeError, match="the disk is full"):
        ae.fit(X[:, :20])
    np.testing.assert_array_equal(ae.transform(X), codes)


def test_progress_bars_show_the_tasks(capsys):
    autoencoder(callback.ProgressBar()).fit(X)
    assert "AutoencoderTransformer - fit" in capsys.readouterr().out
    pipe = Pipeline([("ae", autoencoder()), ("clf", LogisticRegression())])
    pipe.set_callbacks(callback.ProgressBar()).fit(X, y)
    assert "AutoencoderTransformer - fit" in capsys.readouterr().out


@pytest.mark.slow
def test_progress_bars_pass_through_a_grid_search(capsys):
    search = GridSearchCV(autoencoder(), {"alpha": [0, 1]}, cv=2)
    search.set_callbacks(callback.ProgressBar(max_propagation_depth=None)).fit(X)
    shown = capsys.readouterr().out
    assert "GridSearchCV" in shown
    assert "AutoencoderTransformer" in shown


def test_scoring_monitor_records_each_epoch():
    # it computes scores if there is a y; scoring=None is an error in scikit-learn 1.9
    monitor = callback.ScoringMonitor(scoring={"score": lambda ae, X, y: ae.score(X)})
    ae = autoencoder(monitor).fit(X, y)
    log = monitor.get_logs()
    scores = [row["score"] for row in log.data if row["task_name"] == "epoch"]
    assert len(scores) == 4
    assert scores == sorted(scores)
    assert scores[-1] == pytest.approx(ae.score(X))


def test_a_clone_keeps_the_callbacks():
    recorder = Recorder()
    clone(autoencoder(recorder)).fit(X)
    assert recorder.calls == ["setup", "teardown"]


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_higher_verbose_prints_more(verbose, capsys):
    autoencoder(verbose=verbose).fit(X)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == [0, 5, 6][verbose]
    for word in ("training MSE", "validation MSE", "R²", "s left")[: 4 * verbose]:
        assert word in lines[verbose]


@pytest.mark.slow
def test_the_time_left_does_not_count_compilation(capsys, compilations, monkeypatch):
    # a clock that advances only during compilation
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0 * len(compilations))
    autoencoder(verbose=1, hidden_layer_sizes=(9,)).fit(X)
    assert compilations
    assert set(re.findall(r"(\d+) s left", capsys.readouterr().out)) == {"0"}


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (
            {"learning_rate_init": 1e-30, "bounds": None},
            "kept PCA: the network was not better on validation rows",
        ),
        ({"n_components": 64}, "kept PCA: its error is zero"),
        pytest.param({"init": "glorot"}, "kept step ", marks=pytest.mark.slow),
        ({}, "kept step "),
    ],
)
def test_the_last_line_names_the_kept_network(params, expected, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # with as many components as columns
        ae = autoencoder(verbose=1, **params).fit(X)
    last = capsys.readouterr().out.splitlines()[-1]
    assert expected in last
    assert re.search(rf"MSE {ae.reconstruction_err_:.4g} \(R² \d\.\d{{4}}\)", last)
    if expected == "kept step ":
        assert f"kept step {ae.best_step_}: MSE" in last
