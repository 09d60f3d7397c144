"""Checkpoints: what a killed process leaves."""

import os
import stat
import subprocess
import sys
import time

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from skae import AutoencoderTransformer, Checkpoint

callback = pytest.importorskip("sklearn.callback")  # of scikit-learn 1.9

X = load_digits().data


def test_the_file_is_the_estimator_after_the_last_look(tmp_path):
    path = tmp_path / "ae.joblib"
    ae = AutoencoderTransformer(8, max_iter=3, random_state=0)
    ae.set_callbacks(Checkpoint(path), callback.ProgressBar()).fit(X)
    saved = joblib.load(path)
    np.testing.assert_array_equal(saved.transform(X), ae.transform(X))
    assert not any("callback" in name for name in vars(saved))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["none/ae.joblib", "", "x" * 300])
def test_a_path_that_cannot_be_written_to_is_refused_before_training(tmp_path, name):
    ae = AutoencoderTransformer(8).set_callbacks(Checkpoint(tmp_path / name))
    with pytest.raises(OSError, match=f"Checkpoint cannot write to {tmp_path / name}"):
        ae.fit(X)
    assert not hasattr(ae, "encoder_")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", [None, b"ae.joblib", 3])
def test_a_path_that_is_none_is_refused_by_name(path):
    with pytest.raises(TypeError, match="Checkpoint's path must be"):
        AutoencoderTransformer(8).set_callbacks(Checkpoint(path)).fit(X)


@pytest.mark.parametrize("n_samples", [200, 1])
def test_the_file_is_the_fitted_estimator_at_last(tmp_path, n_samples):
    """Also after several splits, and where there is nothing to train."""
    path = tmp_path / "ae.joblib"
    ae = AutoencoderTransformer(8, max_steps=40, validation_fraction=0.4, random_state=0)
    ae.set_callbacks(Checkpoint(path)).fit(X[:n_samples])
    saved = joblib.load(path)
    np.testing.assert_array_equal(saved.transform(X), ae.transform(X))
    assert saved.best_step_ == ae.best_step_


def test_an_estimator_that_hands_over_no_fitted_state_is_not_saved(tmp_path):
    Checkpoint(tmp_path / "none").on_fit_task_end(None, None, fitted_estimator=None)
    assert not list(tmp_path.iterdir())


def test_parameters_of_any_name_are_saved(tmp_path):
    ae = AutoencoderTransformer(8, max_steps=5, random_state=0).fit(X)
    ae.my_callback_count_ = 3
    Checkpoint(tmp_path / "ae").on_fit_task_end(None, None, fitted_estimator=ae)
    assert joblib.load(tmp_path / "ae").my_callback_count_ == 3


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_fits_that_share_a_path_leave_one_of_them(tmp_path, backend):
    path = tmp_path / "ae.joblib"
    ae = AutoencoderTransformer(2, hidden_layer_sizes=(8,), validation_fraction=0.5, max_iter=40)
    search = GridSearchCV(ae.set_callbacks(Checkpoint(path)), {"alpha": [0, 0.1, 0.2, 0.3]}, cv=2)
    with joblib.parallel_config(backend, n_jobs=2):
        search.fit(X[:300])
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert np.isfinite(joblib.load(path).transform(X)).all()
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_to_write_leaves_the_last_file(tmp_path, monkeypatch):
    path = tmp_path / "ae.joblib"
    path.write_bytes(b"the one before")

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(joblib, "dump", full)
    with pytest.raises(OSError, match="no space left"):
        AutoencoderTransformer(8, max_iter=2).set_callbacks(Checkpoint(path)).fit(X)
    assert path.read_bytes() == b"the one before"


def saved_at(path):
    """Save an estimator with some parameter, and return what `joblib.load` finds at a path."""
    ae = AutoencoderTransformer(2, max_steps=12345)
    checkpoint = Checkpoint(path)
    checkpoint.setup(ae, None)
    checkpoint.on_fit_task_end(ae, None, fitted_estimator=ae)
    return joblib.load(path).max_steps


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_a_file_that_is_replaced_passes_its_permissions_on(tmp_path, mode):
    path, new = tmp_path / "ae", tmp_path / "new"
    path.touch()
    path.chmod(mode)
    assert saved_at(path) == 12345
    assert stat.S_IMODE(path.stat().st_mode) == mode
    saved_at(new)
    (tmp_path / "plain").touch()
    assert new.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
def test_until_it_is_whole_the_owner_alone_can_read_the_file(tmp_path, monkeypatch):
    dump, seen = joblib.dump, []

    def watching(estimator, file):
        dump(estimator, file)
        seen.extend((path.name, stat.S_IMODE(path.stat().st_mode)) for path in tmp_path.iterdir())

    monkeypatch.setattr(joblib, "dump", watching)
    saved_at(tmp_path / "first")
    saved_at(tmp_path / "second")
    parts = [(name, mode) for name, mode in seen if name.endswith(".part")]
    assert [mode for _, mode in parts] == [0o600, 0o600]
    assert len(dict(parts)) == 2  # names differ, so that no other user can create a link there


def test_the_target_of_a_link_is_replaced_and_the_link_stays(tmp_path):
    (tmp_path / "store").mkdir()
    target, link = tmp_path / "store" / "ae", tmp_path / "link"
    link.symlink_to(target)
    for _ in range(2):
        assert saved_at(link) == 12345
        assert link.is_symlink()
        assert not target.is_symlink()
    assert list((tmp_path / "store").iterdir()) == [target]


def test_names_may_be_as_long_as_the_file_system_allows(tmp_path):
    assert saved_at(tmp_path / ("x" * 255)) == 12345


WRITE = """
import os, random, signal, sys, time
from types import SimpleNamespace
import joblib
from skae import Checkpoint
task, checkpoint = SimpleNamespace(task_name="epoch"), Checkpoint(sys.argv[1])
estimator = joblib.load(sys.argv[1])
for _ in sys.stdin:
    writer = os.fork()
    while not writer:
        checkpoint.on_fit_task_end(None, task, fitted_estimator=estimator)
    time.sleep(random.uniform(0.01, 0.05))
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    print("killed", flush=True)
"""
FIT = """
import sys
from sklearn.datasets import load_digits
from skae import AutoencoderTransformer, Checkpoint
X = load_digits().data
ae = AutoencoderTransformer(8, max_iter=1000, random_state=0)
ae.set_callbacks(Checkpoint(sys.argv[1])).fit(X)
"""


def start(program, path):
    command = [sys.executable, "-c", program, str(path)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_killed_while_it_writes_leaves_a_whole_estimator(tmp_path):
    path = tmp_path / "ae.joblib"
    ae = AutoencoderTransformer(8, max_steps=20, random_state=0).fit(X)
    joblib.dump(ae, path)
    broken_off = 0
    with start(WRITE, path) as process:
        for _ in range(40):
            print("again", file=process.stdin, flush=True)
            assert process.stdout.readline() == "killed\n"
            np.testing.assert_array_equal(joblib.load(path).transform(X), ae.transform(X))
            broken_off += len(list(tmp_path.glob("*.part")))
    assert broken_off


@pytest.mark.slow
def test_training_goes_on_from_what_a_killed_process_leaves(tmp_path):
    path = tmp_path / "ae.joblib"
    with start(FIT, path) as process:
        while not path.exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    ae = joblib.load(path)
    before = ae.reconstruction_err_
    assert ae.set_params(warm_start=True, max_iter=40).fit(X).reconstruction_err_ < before
