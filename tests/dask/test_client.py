"""Tables larger than memory, in blocks: Dask, and a cluster of its workers on this machine."""

import asyncio
import ctypes
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from contextlib import suppress
from copy import copy
from pathlib import Path

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import psutil
import pytest
from dask_ml.wrappers import Incremental, ParallelPostFit
from distributed import Client, LocalCluster, wait
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from skae import AutoencoderImputer, AutoencoderTransformer, VariationalAutoencoder
from skae._dask.worker import reserved

try:
    from sklearn import callback as sklearn_callback
except ImportError:  # before scikit-learn 1.9
    sklearn_callback = None


@pytest.fixture(scope="module", params=["float64", "float32"])
def rows(request):
    """A table, and the same in blocks of unequal length."""
    X = np.random.default_rng(0).normal(size=(300, 6)).astype(request.param)
    return X, da.from_array(X, chunks=((100, 150, 50), (6,)))


@pytest.fixture(scope="module")
def fitted(rows):
    settings = {"max_steps": 20, "validation_fraction": 0, "random_state": 0}
    return AutoencoderTransformer(2, **settings).fit(rows[0])


def by_block(method, X):
    return np.concatenate([method(block) for block in np.split(X, [100, 250])])


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_map_blocks_gives_the_bits_of_each_block(rows, fitted, scheduler):
    X, blocks = rows
    codes = blocks.map_blocks(fitted.transform, dtype=X.dtype, chunks=(blocks.chunks[0], (2,)))
    assert (codes.shape, codes.dtype) == ((300, 2), X.dtype)
    computed = codes.compute(scheduler=scheduler)
    assert computed.dtype == X.dtype
    np.testing.assert_array_equal(computed, by_block(fitted.transform, X))
    back = codes.map_blocks(fitted.inverse_transform, dtype=X.dtype, chunks=blocks.chunks)
    np.testing.assert_array_equal(
        back.compute(scheduler=scheduler), by_block(fitted.reconstruct, X)
    )
    scores = blocks.map_blocks(fitted.score_samples, dtype=float, drop_axis=1)
    np.testing.assert_array_equal(
        scores.compute(scheduler=scheduler), by_block(fitted.score_samples, X)
    )


@pytest.mark.parametrize(
    "scheduler", ["threads", pytest.param("processes", marks=pytest.mark.slow)]
)
def test_parallel_post_fit_transforms_in_blocks(rows, fitted, scheduler):
    X, blocks = rows
    codes = ParallelPostFit(fitted).transform(blocks)
    assert isinstance(codes, da.Array)
    assert codes.dtype == codes._meta.dtype == X.dtype
    np.testing.assert_array_equal(codes.compute(scheduler=scheduler), by_block(fitted.transform, X))


def test_incremental_fits_block_by_block(rows):
    X, blocks = rows
    params = {"n_components": 2, "hidden_layer_sizes": (), "random_state": 0}
    wrapped = Incremental(AutoencoderTransformer(**params), shuffle_blocks=False).fit(blocks)
    expected = AutoencoderTransformer(**params)
    for block in np.split(X, [100, 250]):
        expected.partial_fit(block)
    assert wrapped.estimator_.n_samples_seen_ == 300
    np.testing.assert_array_equal(wrapped.estimator_.transform(X), expected.transform(X))


@pytest.fixture(scope="module")
def frames(rows):
    """A frame with an index that is no range, and the same in partitions."""
    X, _ = rows
    frame = pd.DataFrame(X, columns=list("abcdef"), index=np.arange(1000, 1300))
    return frame, dd.from_pandas(frame, npartitions=3)


@pytest.mark.parametrize(
    ("method", "shape"),
    [
        ("transform", (300, 2)),
        ("reconstruct", (300, 6)),
        ("score_samples", (300,)),
    ],
)
def test_methods_of_a_collection_are_lazy_and_have_the_bits_of_each_block(
    rows, fitted, method, shape
):
    X, blocks = rows
    lazy = getattr(fitted, method)(blocks.rechunk((100, 3)))
    assert isinstance(lazy, da.Array)
    assert lazy.shape == shape
    computed = lazy.compute(scheduler="sync")
    assert lazy.dtype == computed.dtype == (X.dtype if len(shape) == 2 else np.float64)
    blocks = np.split(X, [100, 200])
    expected = np.concatenate([getattr(fitted, method)(block) for block in blocks])
    np.testing.assert_array_equal(computed, expected)


def test_codes_of_a_collection_are_decoded_lazily(rows, fitted):
    X, blocks = rows
    back = fitted.inverse_transform(fitted.transform(blocks))
    assert isinstance(back, da.Array)
    np.testing.assert_array_equal(back.compute(scheduler="sync"), by_block(fitted.reconstruct, X))


def test_frames_keep_their_index_and_get_the_names_of_columns(frames, fitted):
    frame, parts = frames
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # fitted without names
        codes = fitted.transform(parts)
        scores = fitted.score_samples(parts).compute(scheduler="sync")
        computed = codes.compute(scheduler="sync")
        expected = fitted.transform(frame)
    assert list(codes.columns) == list(fitted.get_feature_names_out())
    assert list(computed.index) == list(scores.index) == list(frame.index)
    np.testing.assert_allclose(computed, expected, rtol=1e-4, atol=1e-6)


def test_empty_partitions_are_transformed_too(rows, fitted):
    X, blocks = rows
    least = X[100:250, 0].max()  # none of the second partition is above
    some = fitted.transform(blocks[blocks[:, 0] > least])
    kept = [block[block[:, 0] > least] for block in np.split(X, [100, 250])]
    expected = [fitted.transform(block) for block in kept if len(block)]
    assert len(expected) < 3
    np.testing.assert_array_equal(
        some.compute(scheduler="sync"), np.concatenate([X[:0, :2], *expected])
    )


def test_what_a_collection_cannot_give_is_refused(rows, fitted):
    _, blocks = rows
    with pytest.raises(ValueError, match="set_output"):
        copy(fitted).set_output(transform="pandas").transform(blocks)
    for method in ("transform", "reconstruct", "score_samples", "inverse_transform", "score"):
        with pytest.raises(NotFittedError):
            getattr(AutoencoderTransformer(), method)(blocks)


def test_a_collection_has_the_score_of_its_rows(rows, frames, fitted):
    X, blocks = rows
    assert fitted.score(blocks) == pytest.approx(fitted.score(X), rel=1e-5)
    settings = {"max_steps": 5, "validation_fraction": 0, "random_state": 0}
    far = AutoencoderTransformer(2, **settings).fit(X * np.float32(1e25))
    assert far.score(blocks * np.float32(1e25)) == pytest.approx(far.score(X * np.float32(1e25)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # fitted without names
        assert fitted.score(frames[1]) == pytest.approx(fitted.score(X), rel=1e-5)


def test_likelihoods_of_a_collection_are_lazy(rows):
    X, blocks = rows
    settings = {"max_steps": 5, "validation_fraction": 0, "random_state": 0}
    vae = VariationalAutoencoder(2, **settings).fit(X)
    for method in ("score_samples", "score_features", "posterior_variance"):
        lazy = getattr(vae, method)(blocks)
        assert isinstance(lazy, da.Array)
        np.testing.assert_array_equal(
            lazy.compute(scheduler="sync"), by_block(getattr(vae, method), X)
        )


def test_without_a_client_a_collection_is_computed_and_that_is_said(rows):
    X, blocks = rows
    settings = {"max_steps": 5, "validation_fraction": 0, "random_state": 0}
    ours = AutoencoderTransformer(2, **settings)
    with pytest.warns(UserWarning, match=r"no distributed\.Client"):
        ours.fit(blocks)
    theirs = AutoencoderTransformer(2, **settings).fit(X)
    np.testing.assert_array_equal(ours.transform(X), theirs.transform(X))


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


# ---- a cluster


def is_training():
    """Whether a training process is left on this machine."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"skae._dask.worker" in path.read_bytes():
                return True
        except OSError:  # it has just ended
            continue
    return False


@pytest.fixture(scope="module")
def client():
    """A client of a cluster of two workers with a thread each, in processes."""
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        yield client


@pytest.fixture
def table(digits):
    """Digits, and the same in partitions of unequal length and of half the columns."""
    X, X_test = digits
    X = X.astype(np.float32)
    return X, X_test, da.from_array(X, chunks=((200, 300, 47, 500, 300), (32, 32)))


def autoencoder(**params):
    return AutoencoderTransformer(**{"n_components": 8, "random_state": 0} | params)


def test_error(estimator, X):
    return np.square(estimator.reconstruct(X) - X).mean()


test_error.__test__ = False


@pytest.mark.slow
def test_a_fit_in_the_cluster_is_that_of_one_process(client, table):
    X, X_test, parts = table
    alone = test_error(autoencoder().fit(X), X_test)
    ours = autoencoder().fit(parts)
    assert test_error(ours, X_test) == pytest.approx(alone, rel=0.02)
    assert ours.n_samples_seen_ == len(X)
    assert not is_training()
    again = autoencoder().fit(parts)
    assert pickle.dumps(vars(ours)) == pickle.dumps(vars(again))
    assert test_error(pickle.loads(pickle.dumps(ours)), X_test) == test_error(ours, X_test)


@pytest.mark.slow
def test_validation_rows_and_groups_are_for_one_process(client, table):
    X, X_test, blocks = table
    for given in ({"X_val": X_test}, {"groups": np.arange(len(X))}):
        with pytest.raises(ValueError, match="is for a table in one process, and X is a Dask coll"):
            autoencoder().fit(blocks, **given)


@pytest.mark.slow
def test_partitions_are_fitted_where_they_lie(client, digits):
    X = np.tile(digits[0].astype(np.float32)[:1200], (10, 1))
    first, second = sorted(client.nthreads())
    pieces = [
        client.persist(da.from_array(part, chunks=3000), workers=[worker])
        for part, worker in zip(np.split(X, 4), [second, first, second, first], strict=True)
    ]
    persisted = da.concatenate(pieces).persist()
    wait(persisted)
    before = client.run(lambda dask_worker: dask_worker.transfer_outgoing_bytes_total)
    ours = autoencoder(max_steps=20).fit(persisted)
    after = client.run(lambda dask_worker: dask_worker.transfer_outgoing_bytes_total)
    assert max(after[worker] - before[worker] for worker in after) < X.nbytes / 4  # the weights
    assert ours.n_samples_seen_ == len(X)
    np.testing.assert_allclose(ours.mean_, X.mean(axis=0), rtol=1e-5)
    frame = pd.DataFrame(X).rename(columns=str)
    frame = client.persist(dd.from_pandas(frame, npartitions=4), workers=[first])
    wait(frame)
    before = client.run(lambda dask_worker: dask_worker.transfer_outgoing_bytes_total)
    autoencoder(max_steps=5).fit(frame * 2)
    after = client.run(lambda dask_worker: dask_worker.transfer_outgoing_bytes_total)
    assert max(after[worker] - before[worker] for worker in after) < X.nbytes / 4


@pytest.mark.slow
def test_frames_give_names_and_labels_are_taught(client, digits):
    X, _ = digits
    frame = pd.DataFrame(X, columns=[f"p{i}" for i in range(64)])
    parts = dd.from_pandas(frame, npartitions=4)
    y = (parts["p20"] > 8).astype(int)
    ours = autoencoder(max_steps=60, target_weight=0.5).fit(parts, y)
    assert list(ours.feature_names_in_) == list(frame.columns)
    untaught = autoencoder(max_steps=60).fit(frame)
    codes = [estimator.transform(frame) for estimator in (ours, untaught)]
    taught, plain = (np.corrcoef(code.T, y.compute())[-1, :-1] for code in codes)
    assert np.square(taught).sum() > np.square(plain).sum()


@pytest.mark.slow
def test_y_of_unknown_chunk_sizes_is_taken_partition_by_partition(client, digits):
    X = da.from_array(digits[0], chunks=((200, 600, 547), 64))
    y = X[:, 20:22]
    of_unknown_sizes = y[y[:, 0] >= 0]
    assert np.isnan(of_unknown_sizes.shape[0])
    ours, theirs = (
        autoencoder(max_steps=5, target_weight=0.5).fit(X, each).transform(digits[1])
        for each in (of_unknown_sizes, y)
    )
    np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ValueError, match=r"3 partitions, and y has 2.*compute_chunk_sizes"):
        autoencoder(target_weight=0.5).fit(X, of_unknown_sizes.blocks[:2])
    with pytest.raises(ValueError, match="A partition of X has 200 rows, and that of y"):
        autoencoder(target_weight=0.5).fit(X, y[y[:, 0] > 8])


@pytest.mark.slow
def test_an_imputer_is_fitted_in_the_cluster(client, digits):
    X, X_test = digits
    rng = np.random.default_rng(0)
    X, X_test = (np.where(rng.random(part.shape) < 0.1, np.nan, part) for part in (X, X_test))
    parts = dd.from_pandas(pd.DataFrame(X).rename(columns=str), npartitions=3)
    params = {"n_components": 8, "max_steps": 20, "random_state": 0}
    ours = AutoencoderImputer(**params).fit(parts)
    theirs = AutoencoderImputer(**params).fit(X)
    assert list(ours.feature_names_in_) == list(parts.columns)
    filled, expected = (each.autoencoder_.reconstruct(X_test) for each in (ours, theirs))
    errors = (np.nanmean((rows - X_test) ** 2) for rows in (filled, expected))
    assert next(errors) == pytest.approx(next(errors), rel=0.1)
    lazy = ours.transform(parts)
    assert isinstance(lazy, dd.DataFrame)
    assert not lazy.isna().any().any().compute()


@pytest.mark.slow
def test_labels_may_be_strings_and_workers_may_have_few_partitions_or_no_rows(client, digits):
    X = digits[0]
    parts = da.from_array(X, chunks=((1, 0, 40, 1306), 64)).map_blocks(slowly, dtype=X.dtype)
    labels = np.where(X[:, 20] > 8, "dark", "light")
    ours = autoencoder(max_steps=20, target_weight=0.5).fit(parts, labels.astype(object))
    assert ours.n_samples_seen_ == len(X)
    with pytest.raises(ValueError, match="one row is required"):
        autoencoder().fit(parts[parts[:, 20] > 17])


def slowly(block):
    time.sleep(0.2)
    return block


@pytest.mark.slow
def test_a_failed_fit_leaves_the_fitted_estimator(client, digits):
    X = digits[0]
    ours = autoencoder(max_steps=5).fit(X)
    before = pickle.dumps(vars(ours))
    frame = pd.DataFrame(np.where(X == 16, np.inf, X)).rename(columns=str)
    with pytest.raises(ValueError, match="infinity"):
        ours.fit(dd.from_pandas(frame, npartitions=2))
    assert pickle.dumps(vars(ours)) == before


@pytest.mark.slow
def test_a_stream_of_collections_goes_on(client, table):
    X, X_test, parts = table
    ours = autoencoder().partial_fit(parts)
    first = test_error(ours, X_test)
    for _ in range(3):
        ours.partial_fit(parts)
    assert ours.n_samples_seen_ == 4 * len(X)
    assert test_error(ours, X_test) < first
    codes = ours.transform(X_test)
    with pytest.warns(ConvergenceWarning, match="diverged"):
        ours.set_params(learning_rate_init=1e12).partial_fit(parts)
    np.testing.assert_array_equal(ours.transform(X_test), codes)


@pytest.mark.slow
def test_rows_that_are_refused_by_one_worker_are_refused_by_all(client, table):
    X, _, parts = table
    with pytest.raises(ValueError, match="infinity"):
        autoencoder().fit(da.where(parts == X.max(), np.inf, parts))
    with pytest.raises(ValueError, match="low < high"):
        autoencoder(bounds=(1, 0)).fit(parts)
    with pytest.raises(ValueError, match="2D array"):
        autoencoder().fit(parts[:, 0])
    if sklearn_callback is not None:
        with pytest.raises(ValueError, match="Callbacks"):
            autoencoder().set_callbacks(sklearn_callback.ProgressBar()).fit(parts)
    assert not is_training()


@pytest.mark.slow
def test_what_the_chief_prints_is_printed_by_the_client(client, table, capsys):
    autoencoder(max_steps=20, verbose=1).fit(table[2])
    lines = capsys.readouterr().out.splitlines()
    steps = [line for line in lines if "step 20/20" in line]
    assert len(steps) == 1


@pytest.fixture
def evaluated(monkeypatch):
    """An event that is set when a training process has told of its first evaluation."""
    event = threading.Event()
    monkeypatch.setattr("skae._dask.client._Training._print", lambda training, line: event.set())
    return event


# Long enough not to be over before it is told to.
LONG = {"max_steps": 200_000, "validation_fraction": 0.2, "verbose": 1}
LONG_ENOUGH = LONG | {"max_steps": 20_000}


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_ends_training_and_keeps_the_best(client, table, evaluated):
    _, X_test, parts = table
    pca = test_error(autoencoder(max_steps=1).fit(parts), X_test)
    ours = autoencoder(**LONG)

    def interrupt():
        evaluated.wait()
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        ours.fit(parts)
    assert 0 < ours.best_step_ < LONG["max_steps"]
    assert test_error(ours, X_test) < pca
    assert not is_training()


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
def test_training_processes_are_reached_at_the_address_of_the_cluster_alone(
    client, table, evaluated
):
    answers = {}

    def connect():
        evaluated.wait()
        try:
            answers.update(answers_of_training_processes())
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=connect, daemon=True).start()
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        autoencoder(**LONG_ENOUGH).fit(table[2])
    assert [bool(answer) for answer in answers.pop("127.0.0.1")] == [True, True]
    assert answers
    assert not any(map(any, answers.values())), answers


def answers_of_training_processes():
    """Return what each process answers at each address of this machine."""
    cards = psutil.net_if_addrs().values()
    families = (socket.AF_INET, socket.AF_INET6)
    addresses = [one.address for card in cards for one in card if one.family in families]
    ports = set()
    for process in psutil.process_iter(["cmdline"]):
        if "skae._dask.worker" in (process.info["cmdline"] or ()):
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


def hold_the_interpreter(seconds):
    ctypes.PyDLL(None).sleep(seconds)  # which, unlike CDLL, keeps the interpreter's lock


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
def test_a_worker_that_is_busy_for_long_is_not_lost(client, table, evaluated):
    ours, busy = autoencoder(**LONG_ENOUGH), []

    def occupy():
        evaluated.wait()
        busy.append(client.submit(hold_the_interpreter, 13, pure=False))
        wait(busy)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=occupy, daemon=True).start()
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        ours.fit(table[2])
    assert busy[0].status == "finished"


@pytest.mark.slow
def test_a_task_fits_in_its_own_cluster_without_a_thread_to_spare(client, table):
    X, X_test, _ = table

    def fit():
        return autoencoder(max_steps=20).fit(da.from_array(X, chunks=(449, 64)))

    expected = autoencoder(max_steps=20).fit(da.from_array(X, chunks=(449, 64)))
    ours = client.submit(fit, pure=False).result(timeout=120)
    np.testing.assert_array_equal(ours.transform(X_test), expected.transform(X_test))
    assert not is_training()


@pytest.mark.slow
def test_training_does_not_import_from_the_working_directory(tmp_path, monkeypatch, digits):
    monkeypatch.chdir(tmp_path)
    Path("tensorflow.py").write_text("raise SystemExit('this is another module')")
    with LocalCluster(n_workers=1, dashboard_address=":0") as cluster, Client(cluster):
        ours = autoencoder(max_steps=5).fit(da.from_array(digits[0]))
    assert ours.n_samples_seen_ == len(digits[0])


@pytest.mark.slow
def test_an_asynchronous_client_is_refused(client, table):
    async def fit():
        async with Client(client.scheduler.address, asynchronous=True):
            with pytest.raises(ValueError, match="asynchronous"):
                autoencoder().fit(table[2])

    asyncio.run(fit())


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
def test_a_killed_client_leaves_no_training_and_no_rows_in_the_cluster(client, moment):
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


def until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_ends_the_search_of_a_size(client, table):
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


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["at once", "a little later", "after an evaluation"])
def test_a_killed_worker_is_a_connection_error_and_the_cluster_is_usable(
    client, table, evaluated, moment
):
    _, X_test, parts = table
    ours, killed = autoencoder(**LONG), []

    def kill():
        while not is_training():
            time.sleep(0.05)
        if moment == "after an evaluation":
            evaluated.wait()
        elif moment != "at once":
            time.sleep(3)
        pid = next(iter(client.run(os.getpid).values()))
        killed.append(time.monotonic())
        os.kill(pid, signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()
    with pytest.raises(ConnectionError):
        ours.fit(parts)
    assert time.monotonic() - killed[0] < 20
    time.sleep(1)
    assert not is_training()
    client.wait_for_workers(2, timeout=60)
    if moment == "after an evaluation":
        assert ours.best_step_ > 0
        assert (error := test_error(ours, X_test)) < 4
        ours.set_params(warm_start=True, max_steps=1000).fit(parts)
        assert test_error(ours, X_test) <= error * (1 + 1e-6)
    else:
        autoencoder(max_steps=5).fit(parts)
