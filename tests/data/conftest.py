"""Fixtures of the tests of `skae._data`."""

import numpy as np
import pytest
from scipy.sparse import csr_array


@pytest.fixture
def numbers():
    rng = np.random.default_rng(0)
    return rng.normal(size=(20, 5)) * (rng.random((20, 5)) < 0.5)


@pytest.fixture(scope="session")
def contained(tmp_path_factory):
    """A function that puts an array into a container."""
    path = tmp_path_factory.mktemp("tables") / "table.npy"

    def contain(X, container):
        if container == "memmap":
            path.unlink(missing_ok=True)
            np.save(path, X)
            return np.load(path, mmap_mode="r")
        if container == "view":
            return np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3]
        return {"array": np.array, "CSR": csr_array, "Fortran": np.asfortranarray}[container](X)

    return contain
