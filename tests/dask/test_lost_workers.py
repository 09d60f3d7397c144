"""Fits whose cluster loses a worker."""

import os
import signal
import threading
import time

import pytest

from .helpers import LONG, autoencoder, reconstruction_error


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["at once", "after an evaluation"])
def test_a_killed_worker_is_a_connection_error_and_the_cluster_is_usable(
    client, table, evaluated, is_training, moment
):
    _, X_test, parts = table
    ours, killed, limit = autoencoder(**LONG), [], 40

    def kill():
        while not is_training():
            time.sleep(0.05)
        if moment == "after an evaluation":
            evaluated.wait()
        pid = next(iter(client.run(os.getpid).values()))
        killed.append(time.monotonic())
        os.kill(pid, signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()
    with pytest.raises(ConnectionError):
        ours.fit(parts)
    assert time.monotonic() - killed[0] < limit
    time.sleep(1)
    assert not is_training()
    client.wait_for_workers(2, timeout=60)
    if moment == "after an evaluation":
        assert ours.best_step_ > 0
        assert (error := reconstruction_error(ours, X_test)) < 4
        ours.set_params(warm_start=True, max_steps=1000).fit(parts)
        assert reconstruction_error(ours, X_test) <= error * (1 + 1e-6)
    else:
        autoencoder(max_steps=5).fit(parts)
