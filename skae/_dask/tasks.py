"""Functions that the client runs in the Dask workers.

They store rows in the local directory of the worker, start the training process (`worker`), and end
it. The folder of a process has the name of its fit, `token`.
"""

import json
import os
import pickle
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import check_array

from .._data.inputs import with_nan
from .._data.targets import target_array
from .._runtime.workers import WorkerLostError
from .job import INTERVAL, JOB, RESULT, ROWS, STOP, STOPPED, TARGET, TOPIC, Job, Result

# Training processes of the Dask workers in this process, by folder.
_processes: dict[Path, subprocess.Popen[bytes]] = {}


def make_folder(token: str) -> str:
    """Create the folder of a training process, and return its path.

    The folder is removed when the client no longer holds the result of this task.
    """
    from distributed import get_worker

    worker = get_worker()
    folder = Path(worker.local_directory) / token
    folder.mkdir(mode=0o700, parents=True)
    key = worker.get_current_task()
    threading.Thread(target=_end_with_client, args=(token, key, worker), daemon=True).start()
    return str(folder)


def _end_with_client(token: str, key: str, worker: Any) -> None:
    """End a training process when the result of a task is released, as after the client ends."""
    folder = Path(worker.local_directory) / token
    while folder.exists() and _is_held(key, worker):
        time.sleep(INTERVAL)
    end_process(token, worker)


def _is_held(key: str, worker: Any) -> bool:
    """Whether the cluster holds the result of a task, in this worker or another one."""
    from distributed.utils import sync

    if key in worker.state.tasks:
        return True
    try:
        return bool(sync(worker.loop, worker.scheduler.who_has, keys=[key])[key])
    except (OSError, RuntimeError):  # no response from the scheduler: the worker will end with it
        return True


def free_endpoint(_: str) -> str:
    """Return an address (host and free port) at which a process of this worker can listen."""
    from distributed import get_worker

    host = urlsplit(get_worker().address).hostname
    family = socket.AF_INET6 if ":" in (host or "") else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind((host or "localhost", 0))
        port = listener.getsockname()[1]
    return f"[{host}]:{port}" if family == socket.AF_INET6 else f"{host}:{port}"


def append_rows(
    folder: str, number: int, block: Any, y: Any, dtype: str, shape: tuple[int, int]
) -> tuple[int, int]:
    """Append a block of rows to the file, write its y, and return the new shape.

    The file is first truncated to the rows before this block, because Dask may run a task twice.
    """
    n_rows, n_features = shape
    block = _dense_block(block, n_features, dtype)
    path = Path(folder) / ROWS
    path.touch()
    with path.open("r+b") as file:
        file.truncate(n_rows * n_features * block.itemsize)
        file.seek(0, os.SEEK_END)
        np.ascontiguousarray(block).tofile(file)
    if y is not None:
        y = target_array(y)
        if len(y) != len(block):
            raise ValueError(f"A partition of X has {len(block)} rows, and that of y {len(y)}.")
        np.save(Path(folder) / f"{TARGET}-{number:09}.npy", y)
    return n_rows + len(block), n_features


def _dense_block(block: Any, n_features: int, dtype: str) -> Any:
    """Return a block of rows as a dense array, after a check of its dtype and its columns."""
    options = {"ensure_all_finite": "allow-nan", "ensure_min_samples": 0}
    block = check_array(with_nan(block), accept_sparse="csr", **options)
    block = block.toarray() if issparse(block) else block
    if not np.can_cast(block.dtype, dtype, "same_kind"):
        raise ValueError(f"A partition is of type {block.dtype}, and X says that it is {dtype}.")
    if block.shape[1] != n_features:
        raise ValueError(f"A partition has {block.shape[1]} columns, another has {n_features}.")
    return block.astype(dtype, copy=False)


def run_process(token: str, folder_name: str, job: Job, endpoints: list[str], index: int) -> Result:
    """Start a training process, wait for it, and return its result."""
    from distributed import get_worker, secede

    # this task only waits: release the worker's thread for other tasks
    secede()  # type: ignore[no-untyped-call]  # Dask has types in part
    folder, worker = Path(folder_name), get_worker()
    (folder / JOB).write_bytes(pickle.dumps(job))
    process = _start(folder, _environment(worker.state.nthreads, endpoints, index))
    try:
        for line in process.stdout or ():
            if index == 0:
                worker.log_event(TOPIC, (token, line.decode(errors="replace")))
        code = process.wait()
    finally:
        _kill(folder)
    if (folder / RESULT).exists():
        result: Result = pickle.loads((folder / RESULT).read_bytes())
        return result
    text = f"The training process of worker {index} ended with code {code}."
    if code > 0 and folder.exists():
        lines = (folder / "log").read_text(errors="replace").splitlines()
        text += f" Last output: {' '.join(lines[-2:])}"
    return Result(state=None, warned=[], error=WorkerLostError(text))


def _environment(n_threads: int, endpoints: list[str], index: int) -> dict[str, str]:
    """Return the environment variables of a training process."""
    environment = os.environ | {"OMP_NUM_THREADS": str(n_threads)}
    environment.pop("TF_CONFIG", None)
    if len(endpoints) > 1:
        task = {"cluster": {"worker": endpoints}, "task": {"type": "worker", "index": index}}
        environment["TF_CONFIG"] = json.dumps(task)
        environment["TF_GRPC_REUSE_PORT"] = "1"  # see `worker.reserved`
    return environment


def _start(folder: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a training process, and pass on a stop request or the end of the fit."""
    # -P: do not import modules from the working directory
    command = [sys.executable, "-P", "-m", "skae._dask.worker", str(folder)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
        )
    _processes[folder] = process
    if not folder.exists():  # training was ended in the meantime
        _kill(folder)
    elif (folder / STOPPED).exists():
        _send_stop(folder)
    return process


def stop_process(token: str, dask_worker: Any) -> None:
    """Request that the process of this worker stops at its next evaluation.

    If the process has not started, the request is sent when it starts.
    """
    folder = Path(dask_worker.local_directory) / token
    (folder / STOPPED).touch()
    _send_stop(folder)


def _send_stop(folder: Path) -> None:
    process = _processes.get(folder)
    if process and process.stdin:
        with suppress(OSError):  # the process has ended
            process.stdin.write(STOP)
            process.stdin.flush()


def _kill(folder: Path) -> None:
    if process := _processes.pop(folder, None):
        process.kill()
        process.wait()
        for pipe in filter(None, (process.stdin, process.stdout)):
            with suppress(OSError):
                pipe.close()


def end_process(token: str, dask_worker: Any) -> None:
    """Remove the folder of this worker's process, and kill the process."""
    folder = Path(dask_worker.local_directory) / token
    shutil.rmtree(folder, ignore_errors=True)
    _kill(folder)
