"""Extreme inputs, interrupts, processes, threads and memory."""

import hashlib
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from skae import AutoencoderTransformer

from ..faults import STATISTICS, raising

DIGITS = load_digits().data
NORMAL = np.random.default_rng(0).normal(size=(120, 6))
SPARSE = sparse.csr_matrix(np.where(NORMAL > 0.5, NORMAL, 0))
SPARSE.data[:5] = 0  # stored, and zero


def autoencoder(n_components=2, **params):
    """Return an autoencoder that trains on three splits in parallel, and then on all rows."""
    defaults = {"hidden_layer_sizes": (256,), "max_steps": 60, "validation_fraction": 0.3}
    defaults |= {"random_state": 0}
    return AutoencoderTransformer(n_components, **defaults | params)


def dense(X):
    return np.asarray(X.toarray() if sparse.issparse(X) else X, dtype=np.float64)


def check(X, n_components):
    """Fit an estimator, call its methods, and check properties of the results."""
    ae = autoencoder(n_components).fit(X)
    codes, rows = ae.transform(X), ae.reconstruct(X)
    for array in (codes, rows, ae.score_samples(X), ae.loss_curve_, ae.validation_curve_):
        assert np.isfinite(array).all()
    assert np.isfinite(ae.reconstruction_err_)
    assert ae.score(X) <= 1
    table = dense(X)
    centred = table - table.mean(axis=0)
    size = np.abs(centred).max()
    constant = size <= 1e-14 * np.abs(table).max()
    exact = constant or ae.n_components_ >= np.linalg.matrix_rank(centred / size)
    if exact and codes.dtype == np.float64:
        atol = 1e-6 * size + 4 * np.finfo(float).smallest_subnormal
        np.testing.assert_allclose(rows, table, atol=atol)
    if constant:
        return  # the codes are rounding errors
    order = np.random.default_rng(0).permutation(len(table))
    tolerance = (1e-7 if codes.dtype == np.float64 else 1e-4) * max(np.abs(codes).max(), 1e-6)
    np.testing.assert_allclose(
        ae.transform(table.astype(codes.dtype)[order]), codes[order], atol=tolerance
    )
    one = ae.transform(table[:1].astype(codes.dtype))
    np.testing.assert_allclose(one, codes[:1], atol=tolerance)


def integers(dtype):
    most = 1 if dtype == "bool" else min(np.iinfo(dtype).max, 2**60)
    return np.random.default_rng(0).integers(0, most, size=(120, 6), endpoint=True).astype(dtype)


MANY = {
    **{f"1e{e}": NORMAL * 10.0**e for e in (-150, -30, -10, 10, 30, 100)},
    **{f"float32 1e{e}": (NORMAL * 10.0**e).astype("f4") for e in (-30, -10, 10, 30)},
    **{
        dtype: integers(dtype) for dtype in ("bool", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")
    },
    "float16": NORMAL.astype("f2"),
    "long double": NORMAL.astype(np.longdouble),
    "big endian": NORMAL.astype(">f8"),
    "objects": NORMAL.astype(object),
    "mixed scales": NORMAL * 10.0 ** np.array([-30, -10, 0, 5, 10, 30]),
    "far from zero": NORMAL + 1e8,
    "subnormal": NORMAL * 1e-320,
    "an outlier": np.vstack([NORMAL, [1e12] * 6]),
    "constant": np.full((50, 6), 3.3),
    "zeros": np.zeros((50, 6)),
    "constant and duplicate columns": np.c_[NORMAL[:, :4], NORMAL[:, 0], np.ones(120)],
    "rank one": np.outer(NORMAL[:, 0], np.arange(1, 7)),
    "one row": NORMAL[:1],
    "two rows": NORMAL[:2],
    "one row many times": np.repeat(NORMAL[:1], 30, axis=0),
    "one column": NORMAL[:, :1],
    "Fortran order": np.asfortranarray(NORMAL),
    "negative strides": NORMAL[::-1, ::-1],
    "every other column": np.repeat(NORMAL, 2, axis=1)[:, ::2],
    "nullable": pd.DataFrame(NORMAL).convert_dtypes(),
    "CSR": SPARSE,
    "CSC": SPARSE.tocsc(),
    "sparse array": sparse.csr_array(SPARSE),
    "empty CSR": sparse.csr_matrix((40, 6)),
}


@pytest.mark.parametrize("n_components", [2, pytest.param(9, marks=pytest.mark.slow)])
@pytest.mark.parametrize("X", MANY.values(), ids=MANY)
def test_any_numbers_give_numbers(X, n_components):
    check(X, n_components)


@given(
    shape=st.tuples(st.integers(1, 40), st.sampled_from([1, 3])),
    exponents=st.lists(st.integers(-30, 30), min_size=3, max_size=3),
    rank=st.integers(0, 3),
    offset=st.sampled_from([0, 1, -1e3]),
    n_components=st.sampled_from([1, 3]),
    seed=st.integers(0, 100),
)
@settings(max_examples=60)
@example((1, 1), [0, 0, 0], 0, 0, 1, 0)
@example((20, 1), [-22, 0, 0], 0, 1, 1, 0)
def test_any_table_gives_numbers(shape, exponents, rank, offset, n_components, seed):
    rng = np.random.default_rng(seed)
    n_rows, n_columns = shape
    X = rng.normal(size=(n_rows, rank)) @ rng.normal(size=(rank, n_columns)) + offset
    check(X * 10.0 ** np.array(exponents[:n_columns]), n_components)


def test_a_read_only_table_is_unchanged():
    X = NORMAL.copy()
    X.flags.writeable = False
    check(X, 2)
    np.testing.assert_array_equal(X, NORMAL)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(50, 100_000), (1_000_000, 2)])
def test_very_wide_and_very_long_tables(shape):
    X = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    ae = AutoencoderTransformer(
        1, hidden_layer_sizes=(8,), validation_fraction=0.4, max_steps=5, random_state=0
    ).fit(X)
    assert np.isfinite(ae.transform(X[:10])).all()
    assert 0 <= ae.score(X) <= 1


def test_numbers_whose_squares_overflow_are_an_error_that_names_x():
    with pytest.raises(ValueError, match="squares overflow: divide it by a constant"):
        autoencoder().fit(NORMAL * 1e200)
    for refit in ("fit", "partial_fit"):
        ae = autoencoder(warm_start=True).fit(NORMAL)
        before = pickle.dumps(ae)
        with pytest.raises(ValueError, match="squares overflow: divide it by a constant"):
            getattr(ae, refit)(NORMAL * 1e200)
        assert pickle.dumps(ae) == before


@pytest.mark.parametrize("init", ["pca", pytest.param("glorot", marks=pytest.mark.slow)])
@pytest.mark.parametrize("X", [NORMAL * 1e-42, NORMAL[:20] * 2e37], ids=["small", "large"])
def test_float32_numbers_at_the_limits_are_an_error_that_names_the_type(X, init):
    with pytest.raises(ValueError, match="type, float32: convert it to float64"):
        autoencoder(init=init).fit(X.astype(np.float32))
    assert np.isfinite(autoencoder(init=init).fit(X).transform(X)).all()


@pytest.mark.parametrize(
    ("dtype", "far"),
    [("float32", far) for far in (1e10, 1e20, 1e38)]
    + [("float64", far) for far in (1e10, 1e38, 1e160, 1e300)],
)
def test_rows_far_from_the_mean_have_a_score(dtype, far):
    X = NORMAL.astype(dtype)
    ae = autoencoder().fit(X)
    X[0] = far
    assert -1e6 < ae.score(X) <= 1
    scores = ae.score_samples(X)
    assert scores.argmin() == 0
    assert np.isfinite(scores[1:]).all()
    assert np.isfinite(scores[0]) == (far < 1e154)


EXTREMES = [
    {"learning_rate_init": 1e3},
    {"learning_rate_init": 1e6},
    {"learning_rate_init": 1e300},
    {"alpha": 1e9},
    {"alpha": 1e300},
    {"noise": 1e6},
    {"noise": 1e300},
    {"learning_rate_init": 1e6, "learning_rate": "constant", "alpha": 1e9, "noise": 1e6},
    {"activation": "relu", "learning_rate_init": 100},
    {"activation": "elu", "learning_rate_init": 1e4},
    {"batch_size": 10**15},
    {"max_iter": 10**12},
    {"bounds": (-1e300, 1e300)},
    {"bounds": (7, 7.0001)},
    {"hidden_layer_sizes": (3,) * 8},
    {"validation_fraction": 0.999},
    {"n_components": 10**9},
    {"tol": 1e300, "early_stopping": True},
    {"corruption": "missing", "noise": 0.1},
    {"corruption": "missing", "noise": 1},
    {"corruption": "masking", "noise": 0.5},
    {"corruption": "swap", "noise": 0.5},
]


@pytest.mark.slow
@pytest.mark.filterwarnings("default::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("params", EXTREMES, ids=str)
def test_the_error_is_not_above_that_of_pca_with_any_parameters(params, recwarn):
    X, X_test = DIGITS[:600], DIGITS[600:1000]
    ae = autoencoder(**{"n_components": 8, "validation_fraction": 0.1} | params).fit(X)
    assert len(recwarn) <= 1
    pca = PCA(8, svd_solver="full").fit(X)
    low, high = params.get("bounds", (-np.inf, np.inf))
    rows = np.clip(pca.inverse_transform(pca.transform(X_test)), low, high)
    pca_error = ((rows - X_test) ** 2).mean()
    assert np.isfinite(ae.transform(X_test)).all()
    assert ((ae.reconstruct(X_test) - X_test) ** 2).mean() <= pca_error * (1 + 1e-9)


@pytest.mark.parametrize(
    "params", [{"learning_rate_init": 1e3}, {"learning_rate_init": 1e30}, {"noise": 1e300}], ids=str
)
@pytest.mark.parametrize("init", ["pca", pytest.param("glorot", marks=pytest.mark.slow)])
def test_divergence_stops_training_with_one_warning(params, init):
    ae = autoencoder(8, init=init, validation_fraction=0, **{"max_steps": 500} | params)
    with pytest.warns(
        ConvergenceWarning, match="Lower learning_rate_init, alpha or noise"
    ) as caught:
        ae.fit(DIGITS[:600])
    assert len(caught) == 1
    assert ae.n_steps_ < 100
    assert np.isfinite(ae.transform(DIGITS)).all()


INTERRUPTED = """
import warnings
import numpy as np
from skae import AutoencoderTransformer
from skae._runtime.tensorflow import import_tensorflow
X = np.random.default_rng(0).normal(size=(5000, 400)) ** 3
import_tensorflow()
class Ready:
    def setup(self, estimator, context): pass
    def teardown(self, estimator, context): pass
    def on_fit_task_begin(self, estimator, context):
        if context.task_name == "epoch":
            print("training", flush=True)
    def on_fit_task_end(self, estimator, context): pass
ae = AutoencoderTransformer(20, hidden_layer_sizes={hidden}, max_iter={epochs}, random_state=0)
ae.set_callbacks(Ready())
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    ae.fit(X)
print([str(w.message) for w in caught], ae.n_steps_ < 10**6, np.isfinite(ae.transform(X)).all())
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(
    ("hidden", "epochs", "seconds"),  # immediately, while TensorFlow converts, traces or compiles
    [((16,), 10**5, 0), ((16,), 10**5, 0.5), ((16,), 10**5, 3), ((2048, 2048), 1000, 0.5)],
)
def test_ctrl_c_stops_training_and_keeps_the_network(hidden, epochs, seconds):
    program = INTERRUPTED.format(hidden=hidden, epochs=epochs)
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "training\n"
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)  # the complete training would take hours
    assert process.returncode == 0, errors
    last = output.splitlines()[-1]
    assert "Training was interrupted" in last
    assert last.endswith("True True")


def test_an_interrupt_before_training_keeps_the_fitted_network():
    ae, fresh = autoencoder().fit(NORMAL), autoencoder()
    before = pickle.dumps(ae)
    with raising(STATISTICS, KeyboardInterrupt()):
        for estimator in (ae, fresh):
            with pytest.raises(KeyboardInterrupt):
                estimator.fit(DIGITS)
    assert pickle.dumps(ae) == before
    with pytest.raises(NotFittedError):
        fresh.transform(DIGITS)


def digest(ae):
    return hashlib.sha256(pickle.dumps(vars(ae))).hexdigest()


def fit_and_digest(X=DIGITS[:300]):
    return digest(autoencoder(4).fit(X))


@pytest.mark.slow
def test_the_same_bits_from_any_process_thread_and_cache():
    expected = fit_and_digest()
    assert fit_and_digest() == expected  # compiled beforehand
    with ThreadPoolExecutor(2) as pool:
        assert set(pool.map(fit_and_digest, [DIGITS[:300]] * 4)) == {expected}
    # sums in BLAS depend on the number of threads, which joblib chooses for its workers
    threads = int(os.environ["OMP_NUM_THREADS"])
    with joblib.parallel_config("loky", inner_max_num_threads=threads):
        found = joblib.Parallel(n_jobs=2)(joblib.delayed(fit_and_digest)() for _ in range(2))
    assert found == [expected] * 2


@pytest.mark.slow
def test_the_same_bits_from_any_container(tmp_path):
    X = DIGITS[:300]
    np.save(tmp_path / "X.npy", X)
    expected = autoencoder(4).fit(X)
    for same in (
        np.asfortranarray(X),
        np.repeat(X, 2, axis=0)[::-2][::-1],
        np.load(tmp_path / "X.npy", mmap_mode="r"),
        pd.DataFrame(X),
        X.tolist(),
        X.astype(np.uint8),
        sparse.csr_matrix(X),
    ):
        ae = autoencoder(4).fit(same)
        assert digest(ae) == digest(expected)
        np.testing.assert_array_equal(ae.transform(same), expected.transform(X))


@pytest.mark.slow
def test_random_states_advance_as_scikit_learns_do():
    rng = np.random.RandomState(0)
    first = autoencoder(random_state=rng).fit(NORMAL)
    second = autoencoder(random_state=rng).fit(NORMAL)
    again = autoencoder(random_state=np.random.RandomState(0)).fit(NORMAL)
    assert digest(first) != digest(second)
    np.testing.assert_array_equal(first.transform(NORMAL), again.transform(NORMAL))


@pytest.mark.slow
def test_several_threads_give_the_results_of_one_thread():
    sizes = [1, 2] * 8
    expected = [autoencoder(k).fit(NORMAL).transform(NORMAL) for k in sizes[:2]] * 8
    shared = autoencoder(4).fit(DIGITS)
    codes = shared.transform(DIGITS)

    def work(k):
        np.testing.assert_array_equal(shared.transform(DIGITS), codes)
        return autoencoder(k).fit(NORMAL).transform(NORMAL)

    with ThreadPoolExecutor(8) as pool:
        for ours, theirs in zip(pool.map(work, sizes), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def in_fork(connection, ae, X):
    connection.send(ae.transform(X))
    try:
        ae.fit(X)
    except RuntimeError as error:
        connection.send(str(error))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_transforms_and_fit_is_an_error():
    ae = autoencoder().fit(NORMAL)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=in_fork, args=(theirs, ae, NORMAL))
    process.start()
    try:
        assert ours.poll(30)
        np.testing.assert_array_equal(ours.recv(), ae.transform(NORMAL))
        assert ours.poll(30)
        assert "'spawn' or joblib's 'loky'" in ours.recv()
        process.join(30)
        assert process.exitcode == 0
    finally:
        process.kill()


@pytest.mark.slow
def test_spawned_processes_fit():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(fit_and_digest) == fit_and_digest()


MANY_FITS = """
import gc, os
import numpy as np
from skae import AutoencoderTransformer
X = np.random.default_rng(0).normal(size=(200, 40)) ** 3

def resident_memory():
    gc.collect()
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

for i in range(300):
    AutoencoderTransformer(
        2 + i % 3, hidden_layer_sizes=(8,), max_steps=4, validation_fraction=0, random_state=i
    ).fit(X)
    if i == 149:
        before = resident_memory()
print(resident_memory() / before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory is read in /proc")
def test_memory_does_not_grow_over_many_fits():
    result = subprocess.run(
        [sys.executable, "-c", MANY_FITS], capture_output=True, text=True, check=True
    )
    assert float(result.stdout) < 1.05


MAPS = """
from functools import lru_cache
import numpy as np
from skae import AutoencoderTransformer
from skae._training import loop
loop.compiled_steps = lru_cache(6)(loop.compiled_steps.__wrapped__)
maps = []
for width in range(3, 18):  # more than the number of compiled functions that are kept
    ae = AutoencoderTransformer(2, hidden_layer_sizes=(4,), max_steps=1, validation_fraction=0)
    ae.fit(np.random.default_rng(0).normal(size=(30, width)))
    maps.append(len(open("/proc/self/maps").readlines()))
print((maps[-1] - maps[-5]) / (maps[5] - maps[1]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="memory is read in /proc")
def test_compiled_code_is_freed():
    command = [sys.executable, "-c", MAPS]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(result.stdout) < 0.2


MANY_SHAPES = """
import os
import numpy as np
from skae import AutoencoderTransformer
from skae._runtime.tensorflow import import_tensorflow
import_tensorflow()  # with the output of its import
os.write(2, b"---\\n")
for width in range(3, 10):
    ae = AutoencoderTransformer(2, max_steps=1, validation_fraction=0)
    ae.fit(np.random.default_rng(0).normal(size=(30, width)))
"""


@pytest.mark.slow
def test_fits_of_many_shapes_write_no_warning():
    command = [sys.executable, "-c", MANY_SHAPES]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == ""
    assert result.stderr.rpartition("---\n")[2] == ""


class AlmostArray:
    """Object that is almost an array."""

    def __init__(self, act):
        self.act = act
        self.shape, self.ndim = (120, 6), 2

    def __len__(self):
        return 120

    def __array__(self, dtype=None, copy=None):
        return self.act()


def fail():
    raise RuntimeError("no array here")


@pytest.mark.parametrize(
    "act",
    [fail, lambda: np.zeros(3), lambda: np.array([["a"]]), lambda: np.zeros((0, 6)), lambda: "x"],
    ids=["raises", "one-dimensional", "strings", "no rows", "no array"],
)
def test_objects_that_are_almost_arrays_are_an_error(act):
    ae = autoencoder()
    with pytest.raises((ValueError, TypeError, RuntimeError)):
        ae.fit(AlmostArray(act))
    with pytest.raises(NotFittedError):
        ae.transform(NORMAL)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # they may diverge
def test_changing_the_rows_during_training_does_not_crash():
    X = DIGITS[:1000].copy()
    stop = threading.Event()

    def change():
        rng = np.random.default_rng(0)
        while not stop.is_set():
            X[rng.integers(1000)] = rng.choice([0, 1e3, 16])

    thread = threading.Thread(target=change)
    thread.start()
    try:
        ae = autoencoder(4, max_steps=300).fit(X)
    finally:
        stop.set()
        thread.join()
    assert np.isfinite(ae.transform(DIGITS)).all()


def test_a_modified_file_is_an_error():
    data = skops.io.dumps(autoencoder().fit(NORMAL))
    ours = ["skae._autoencoder.AutoencoderTransformer"]
    assert skops.io.get_untrusted_types(data=data) == ours
    modified = data.replace(b"skae._autoencoder", b"skae._bytecoder__")
    with pytest.raises(Exception, match=r"(?i)untrusted|crc|bad|zip"):
        skops.io.loads(modified, trusted=ours)
    malicious = autoencoder().fit(NORMAL)
    malicious.mean_ = os.system
    data = skops.io.dumps(malicious)
    with pytest.raises(skops.io.exceptions.UntrustedTypesFoundException, match="system"):
        skops.io.loads(data, trusted=ours)
