"""A cluster of Dask workers on this machine, for each module of tests."""

import time

import dask.array as da
import numpy as np
import psutil
import pytest
from distributed import Client, LocalCluster

from skae._dask.job import TOPIC


@pytest.fixture(scope="module")
def local_directory(tmp_path_factory):
    """The folder below which the workers of the cluster have their files."""
    return str(tmp_path_factory.mktemp("workers"))


@pytest.fixture(scope="module")
def client(local_directory):
    """A client of a cluster of two workers with a thread each, in processes."""
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    options["local_directory"] = local_directory
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        yield client


@pytest.fixture(scope="module")
def training_processes(local_directory):
    """A function that returns the training processes of the cluster, but not of other clusters."""

    def training_processes():
        commands = ((each, each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"]))
        return [
            process
            for process, command in commands
            if "skae._dask.worker" in command and command[-1].startswith(local_directory)
        ]

    return training_processes


@pytest.fixture(scope="module")
def is_training(training_processes):
    """A function that returns whether a training process of the cluster is left."""
    return lambda: bool(training_processes())


@pytest.fixture
def table(digits):
    """Digits, and the same in partitions of unequal length and of half the columns."""
    X, X_test = digits
    X = X.astype(np.float32)
    return X, X_test, da.from_array(X, chunks=((200, 300, 47, 500, 300), (32, 32)))


class FirstLine:
    """The first line that a training process prints after this object is created."""

    def __init__(self, client):
        self._client, self._n_before = client, len(client.get_events(TOPIC))

    def wait(self):
        """Wait until the line is printed, which is after an evaluation."""
        while len(self._client.get_events(TOPIC)) == self._n_before:
            time.sleep(0.05)


@pytest.fixture
def evaluated(client):
    """An object with which a test waits for an evaluation of a training process."""
    return FirstLine(client)
