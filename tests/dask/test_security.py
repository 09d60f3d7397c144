"""Addresses, modules, processes and files of the training processes."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import dask.array as da
import psutil
import pytest
from distributed import Client, LocalCluster
from sklearn.exceptions import ConvergenceWarning

from skae._dask.worker import reserved

from .helpers import LONG, autoencoder, until


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="ports cannot be shared here")
def test_a_server_for_all_addresses_is_reached_at_one_of_them():
    cards = psutil.net_if_addrs().values()
    families = (socket.AF_INET, socket.AF_INET6)
    addresses = [one.address for card in cards for one in card if one.family in families]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with reserved(f"127.0.0.1:{port}"), socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind(("", port))
        server.listen(len(addresses))
        server.settimeout(0.2)
        reached = []
        for address in addresses:
            with suppress(OSError), socket.create_connection((address, port), timeout=0.2):
                server.accept()[0].close()
                reached.append(address)
        with pytest.raises(OSError, match="in use"), reserved(f"127.0.0.1:{port}"):
            pass
    assert reached == ["127.0.0.1"]


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
def test_training_processes_are_reached_at_the_address_of_the_cluster_alone(
    client, table, evaluated, training_processes
):
    answers = {}

    def connect():
        evaluated.wait()
        try:
            answers.update(answers_of(training_processes()))
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=connect, daemon=True).start()
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        autoencoder(**LONG).fit(table[2])
    assert [bool(answer) for answer in answers.pop("127.0.0.1")] == [True, True]
    assert answers
    assert not any(map(any, answers.values())), answers


def answers_of(processes):
    """Return what each process answers at each address of this machine."""
    cards = psutil.net_if_addrs().values()
    families = (socket.AF_INET, socket.AF_INET6)
    addresses = [one.address for card in cards for one in card if one.family in families]
    ports = set()
    for process in processes:
        sockets = process.net_connections("tcp")
        ports |= {each.laddr.port for each in sockets if each.status == psutil.CONN_LISTEN}
    return {address: [answer(address, port) for port in ports] for address in addresses}


def answer(address, port):
    """Return what a server of HTTP/2 answers at once, as all servers of gRPC do."""
    greeting = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\4" + bytes(5)
    try:
        with socket.create_connection((address, port), timeout=2) as connection:
            connection.sendall(greeting)
            return connection.recv(100)
    except OSError:
        return b""


@pytest.mark.slow
def test_training_does_not_import_from_the_working_directory(tmp_path, monkeypatch, digits):
    monkeypatch.chdir(tmp_path)
    Path("tensorflow.py").write_text("raise SystemExit('this is another module')")
    with LocalCluster(n_workers=1, dashboard_address=":0") as cluster, Client(cluster):
        ours = autoencoder(max_steps=5).fit(da.from_array(digits[0]))
    assert ours.n_samples_seen_ == len(digits[0])


SCRIPT = """
import time
import dask.array as da
import numpy as np
from distributed import Client
from skae import AutoencoderTransformer

def slowly(block):
    time.sleep({seconds})
    return block

X = np.random.default_rng(0).normal(size=(400, 64))
with Client({address!r}):
    parts = da.from_array(X, chunks=(100, 64)).map_blocks(slowly, dtype=float)
    AutoencoderTransformer(8, max_steps=10_000_000).fit(parts)
"""


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["while rows are stored", "while it trains"])
def test_a_killed_client_leaves_no_training_and_no_rows_in_the_cluster(client, is_training, moment):
    seconds = 3 if moment == "while rows are stored" else 0
    script = SCRIPT.format(address=client.scheduler.address, seconds=seconds)

    def folders(dask_worker):
        return list(map(str, Path(dask_worker.local_directory).glob("skae-*")))

    def left():
        return is_training() or any(client.run(folders).values())

    with subprocess.Popen([sys.executable, "-c", script]) as process:
        until(is_training if moment == "while it trains" else left, seconds=60)
        time.sleep(1)
        process.kill()
    until(lambda: not left(), seconds=20)
