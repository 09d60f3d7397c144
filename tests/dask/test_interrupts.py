"""Interrupts of a fit, and workers that are busy during a fit."""

import ctypes
import os
import signal
import threading
import time

import pytest
from distributed import wait
from sklearn.exceptions import ConvergenceWarning

from .helpers import LONG, autoencoder, reconstruction_error


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_ends_training_and_keeps_the_best(client, table, evaluated, is_training):
    X, X_test, parts = table
    pca = reconstruction_error(autoencoder(max_steps=1).fit(X), X_test)
    ours = autoencoder(**LONG)

    def interrupt():
        evaluated.wait()
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        ours.fit(parts)
    assert 0 < ours.best_step_ < LONG["max_steps"]
    assert reconstruction_error(ours, X_test) < pca
    assert not is_training()


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_ends_the_search_of_a_size(client, table, is_training):
    ours = autoencoder(n_components=0.9, **LONG)

    def interrupt():
        while not is_training():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        ours.fit(table[2])
    assert not hasattr(ours, "encoder_")
    assert not is_training()


def hold_the_interpreter(seconds):
    ctypes.PyDLL(None).sleep(seconds)  # which, unlike CDLL, keeps the interpreter's lock


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
def test_a_worker_that_is_busy_for_long_is_not_lost(client, table, evaluated):
    ours, busy = autoencoder(**LONG), []

    def occupy():
        evaluated.wait()
        busy.append(client.submit(hold_the_interpreter, 13, pure=False))
        wait(busy)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=occupy, daemon=True).start()
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        ours.fit(table[2])
    assert busy[0].status == "finished"
