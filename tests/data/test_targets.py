"""Supervised targets."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy.sparse import csr_array
from scipy.special import logsumexp
from sklearn.datasets import load_diabetes, load_digits
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline

from skae import AutoencoderTransformer
from skae._data.table import Table
from skae._data.targets import Target, target_array
from skae._initialization.architecture import Architecture
from skae._initialization.initial_network import first_network
from skae._networks.network import forward
from skae._training import loop
from skae._training.losses import Reconstruction, Supervised, head_errors

X, y = load_digits(return_X_y=True)
# one split of 900 rows has enough validation rows, so that a fit makes one run
PARAMETERS = {
    "n_components": 4,
    "max_steps": 200,
    "validation_fraction": 0.2,
    "random_state": 0,
}


def accuracy(ae):
    codes = ae.transform(X)
    return LogisticRegression(max_iter=1000).fit(codes[:900], y[:900]).score(codes[900:], y[900:])


@pytest.fixture(scope="module")
def unsupervised():
    return AutoencoderTransformer(**PARAMETERS).fit(X[:900], y[:900])


@pytest.fixture(scope="module")
def started():
    table = Table(X[:900])
    activations = ("silu", "identity", "identity")
    architecture = Architecture(n_components=4, hidden_layer_sizes=(8,), activations=activations)
    return table, first_network(table, architecture, 0)


def test_without_a_weight_y_is_ignored(unsupervised):
    again = AutoencoderTransformer(**PARAMETERS).fit(X[:900])
    np.testing.assert_array_equal(again.transform(X), unsupervised.transform(X))


def test_supervised_codes_predict_classes(unsupervised):
    supervised = AutoencoderTransformer(**PARAMETERS, target_weight=1).fit(X[:900], y[:900])
    assert accuracy(supervised) > accuracy(unsupervised) + 0.03
    assert supervised.score(X[900:]) > unsupervised.score(X[900:]) - 0.1
    assert set(supervised.encoder_) == set(unsupervised.encoder_)
    assert not hasattr(supervised, "head_")


@pytest.mark.slow
def test_labelled_rows_are_classified(unsupervised):
    few = np.where(np.arange(900) % 10, -1, y[:900])
    supervised = AutoencoderTransformer(**PARAMETERS, target_weight=1).fit(X[:900], few)
    rows, labels = X[:900:10], y[:900:10]
    head = LogisticRegression(max_iter=1000)
    before, after = (
        head.fit(codes, labels).score(codes, labels)
        for codes in (unsupervised.transform(rows), supervised.transform(rows))
    )
    assert after > before + 0.03


@pytest.mark.slow
def test_supervised_codes_predict_numbers():
    rows, disease = load_diabetes(return_X_y=True, scaled=False)
    numbers = np.column_stack([disease, -disease])
    numbers[::3, 1] = np.nan

    def r2(weight):
        settings = {"hidden_layer_sizes": (), "max_steps": 100, "validation_fraction": 0}
        ae = AutoencoderTransformer(2, target_weight=weight, random_state=0, **settings)
        codes = ae.fit(rows, numbers).transform(rows)
        return LinearRegression().fit(codes, disease).score(codes, disease)

    assert r2(1) > r2(0) + 0.1


def test_labels_of_any_kind_are_classes():
    names = np.array([f"digit {digit}" for digit in y])
    supervised = [
        AutoencoderTransformer(4, max_steps=5, random_state=0, target_weight=0.1).fit(X, labels)
        for labels in (y, names, list(names), y[:, None].astype(np.uint8).ravel())
    ]
    for ae in supervised[1:]:
        np.testing.assert_array_equal(ae.transform(X), supervised[0].transform(X))


def test_a_pipeline_passes_y():
    ae = AutoencoderTransformer(**PARAMETERS, target_weight=0.1)
    pipe = make_pipeline(ae, LogisticRegression(max_iter=1000)).fit(X[:900], y[:900])
    assert pipe.score(X[900:], y[900:]) > 0.8


def test_the_head_starts_at_discriminant_analysis(started):
    table, network = started
    labels = y[:900].astype(np.int32)
    network = Target.from_y(labels, table).with_head(network, replace(table, y=labels))
    codes = network.encode(X[:900])
    logits = forward(network.params["head"], codes, "identity", "identity")
    peer = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(codes, labels)
    assert (logits.argmax(axis=1) == labels).mean() > peer.score(codes, labels) - 0.01


def test_transforming_the_code_transforms_the_head(started):
    table, network = started
    labels = y[:900].astype(np.int32)
    network = Target.from_y(labels, table).with_head(network, replace(table, y=labels))
    matrix = np.random.default_rng(0).normal(size=(4, 4))
    other = network.transform_code(matrix, np.linalg.inv(matrix), np.arange(4.0))
    heads = [
        forward(net.params["head"], net.encode(X[:900]), "identity", "identity")
        for net in (network, other)
    ]
    np.testing.assert_allclose(heads[0], heads[1], atol=1e-8 * abs(heads[0]).max())


def test_unlabelled_rows_have_an_error_of_zero():
    outputs = np.random.default_rng(0).normal(size=(3, 2)).astype("f")
    classes = head_errors(outputs, np.array([0, -1, 1], np.int32)).numpy()
    log_shares = outputs - np.log(np.exp(outputs).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(classes, [-log_shares[0, 0], 0, -log_shares[2, 1]], rtol=1e-5)
    numbers = head_errors(outputs, np.float32([[0, 0], [np.nan, 0], [np.nan, np.nan]])).numpy()
    expected = [np.square(outputs[0]).mean(), outputs[1, 1] ** 2 / 2, 0]
    np.testing.assert_allclose(numbers, expected, rtol=1e-5)


INTEGERS = [0, 1, 2, None, 1, 0]
WORDS = ["a", "b", "c", None, "b", "a"]


@pytest.mark.parametrize(
    "labels",
    [
        pd.Series(INTEGERS, dtype="Int64"),
        pd.Series(INTEGERS, dtype="UInt8"),
        pd.Series(INTEGERS, dtype="int64[pyarrow]"),
        pd.Series(INTEGERS, dtype="category"),
        pd.Series(INTEGERS, dtype=object),
        pd.Series([0.5, 1.5, 2.5, None, 1.5, 0.5], dtype="category"),
        pd.array(INTEGERS, dtype="Int64"),
        pd.DataFrame({"label": pd.Series(INTEGERS, dtype="Int64")}),
        pl.Series(INTEGERS),
        pl.DataFrame({"label": INTEGERS}),
        pa.array(INTEGERS),
        pa.chunked_array([INTEGERS]),
        pa.table({"label": INTEGERS}),
        np.array(INTEGERS, dtype=object),
        np.ma.array([0, 1, 2, 2, 1, 0], mask=[0, 0, 0, 1, 0, 0]),
        INTEGERS,
        np.array([0, 1, 2, -1, 1, 0]),
        np.array([0, 1, 2, -1, 1, 0], dtype=np.int8),
        pd.Series([0, 1, 2, -1, 1, 0], dtype="category"),
        pl.Series([0, 1, 2, -1, None, 0])[[0, 1, 2, 3, 1, 0]],
        pd.Series(WORDS, dtype="string"),
        pd.Series(WORDS, dtype="str"),
        pd.Series(WORDS, dtype="string[pyarrow]"),
        pd.Series(WORDS, dtype="category"),
        pl.Series(WORDS),
        pl.Series(WORDS, dtype=pl.Categorical),
        pl.Series(WORDS, dtype=pl.Enum(["a", "b", "c"])),
        ["a", "b", "c", -1, "b", "a"],
        ["a", "b", "c", np.nan, "b", "a"],
        ["a", "b", "c", pd.NA, "b", "a"],
        np.array([b"a", b"b", b"c", -1, b"b", b"a"], dtype=object),
    ],
    ids=lambda labels: f"{type(labels).__module__} {getattr(labels, 'dtype', '')}",
)
def test_a_column_of_labels_with_missing_values_is_classes(labels):
    target = Target.from_y(labels, Table(X[:6]))
    np.testing.assert_array_equal(target.y, [0, 1, 2, -1, 1, 0])
    assert target.n_outputs == 3
    again = target.encode_validation(labels, Table(X[:6]))
    np.testing.assert_array_equal(again.y, target.y)


@pytest.mark.parametrize(
    "labels",
    [
        pd.Series([True, False, None], dtype="boolean"),
        pd.Series([True, False, None], dtype="bool[pyarrow]"),
        pl.Series([True, False, None]),
        [True, False, None],
        np.array([b"yes", b"no", b"no"]),
    ],
)
def test_booleans_and_bytes_are_classes(labels):
    target = Target.from_y(labels, Table(X[:3]))
    assert target.y.tolist() == [1, 0, 0 if isinstance(labels, np.ndarray) else -1]


NUMBERS = [1.5, None, 3.0, -1.0]


@pytest.mark.parametrize(
    "numbers",
    [
        pd.Series(NUMBERS),
        pd.Series(NUMBERS, dtype="Float64"),
        pd.Series(NUMBERS, dtype="double[pyarrow]"),
        pd.Series(NUMBERS, dtype=object),
        pd.DataFrame({"value": pd.Series(NUMBERS, dtype="Float32")}),
        pl.Series(NUMBERS),
        pl.Series(NUMBERS, dtype=pl.Decimal(10, 2)),
        pa.array(NUMBERS),
        NUMBERS,
        np.ma.array([1.5, 9.0, 3.0, -1.0], mask=[0, 1, 0, 0]),
        [1.5, np.nan, 3.0, -1.0],
    ],
    ids=lambda numbers: f"{type(numbers).__module__} {getattr(numbers, 'dtype', '')}",
)
def test_a_column_of_floats_with_missing_values_is_numbers(numbers):
    np.testing.assert_array_equal(np.ravel(target_array(numbers)), [1.5, np.nan, 3, -1])
    assert Target.from_y(numbers, Table(X[:4])).classes is None


def test_dates_in_y_val_are_an_error():
    target = Target.from_y(["a", "b"], Table(X[:2]))
    with pytest.raises(ValueError, match="dates"):
        target.encode_validation(np.array(["2020-01-01"], dtype="M8[D]"), Table(X[:1]))


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_a_frame_of_integers_and_floats_is_numbers(frame):
    table = frame({"a": [1.5, None, 2.0], "b": [1, 2, None]})
    if frame is pd.DataFrame:
        table["b"] = pd.array([1, 2, None], dtype="Int64")
    np.testing.assert_array_equal(target_array(table), [[1.5, 1], [np.nan, 2], [2, np.nan]])


@pytest.mark.parametrize("factor", [2.0**1000, 2.0**-1000, 1e300, 1e-300])
def test_targets_of_any_scale_give_the_same_network(factor):
    numbers = np.random.default_rng(0).normal(size=(20, 2))
    numbers[3, 1] = np.nan
    target, scaled = (Target.from_y(numbers * unit, Table(X[:20])) for unit in (1.0, factor))
    np.testing.assert_allclose(scaled.y, target.y, rtol=1e-6)
    again = scaled.encode_validation(numbers * factor, Table(X[:20]))
    np.testing.assert_allclose(again.y, target.y, rtol=1e-6)


@pytest.mark.slow
def test_other_weights_share_a_compiled_loop():
    objectives = {Supervised(Reconstruction(("silu",) * 3), weight) for weight in (0.1, 0.2)}
    assert len(objectives) == 1
    ae = AutoencoderTransformer(**PARAMETERS, target_weight=0.1).fit(X[:900], y[:900])
    before = loop.compiled_steps.cache_info().misses
    ae.set_params(target_weight=0.2).fit(X[:900], y[:900])
    assert loop.compiled_steps.cache_info().misses == before


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "requires y to be passed"),
        (y[:100], "inconsistent numbers of samples"),
        (np.zeros(900, int), "y has 1 class"),
        (np.full(900, -1), "y has 0 class"),
        (np.zeros((900, 2), int), "1d array"),
        (np.full(900, np.nan), "has no number"),
        (np.where(np.arange(900) % 2, np.inf, 0.0), "infinity"),
        (np.array([1, "a", 2] * 300, dtype=object), "several types, int, str.*-1"),
        (np.datetime64("2020-01-01") + np.arange(900), "dates.*-1"),
        (pd.Series(np.datetime64("2020-01-01") + np.arange(900)), "dates.*-1"),
        (pl.Series(np.datetime64("2020-01-01") + np.arange(900)), "dates.*-1"),
        (np.arange(900).astype("timedelta64[s]"), "dates.*-1"),
        (csr_array(np.ones((900, 1))), "at least 1 dimension"),
        (pd.Series([None] * 900, dtype="Int64"), "y has 0 class.*-1"),
        (pd.Series([None] * 900, dtype="Float64"), "y has 0 class.*-1|has no number"),
    ],
)
def test_an_invalid_y_is_an_error(labels, message):
    with pytest.raises((ValueError, TypeError), match=message):
        AutoencoderTransformer(target_weight=0.1).fit(X[:900], labels)


def test_partial_fit_with_a_target_weight_is_an_error():
    assert hasattr(AutoencoderTransformer(), "partial_fit")
    ae = AutoencoderTransformer(target_weight=0.1)
    with pytest.raises(AttributeError, match="partial_fit"):
        ae.partial_fit(X, y)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"init": "glorot"}, {"noise": 0.3, "corruption": "swap"}])
def test_supervised_training_works_with_other_parameters(settings, unsupervised):
    parameters = PARAMETERS | {"n_components": 8, "max_steps": 300} | settings
    supervised = AutoencoderTransformer(**parameters, target_weight=0.1).fit(X[:900], y[:900])
    assert accuracy(supervised) > accuracy(unsupervised)


@pytest.mark.slow
def test_supervised_training_works_in_a_small_row_space():
    wide = X[:60] @ np.random.default_rng(0).normal(size=(64, 300))
    settings = {"max_steps": 50, "validation_fraction": 0, "random_state": 0}
    ae = AutoencoderTransformer(3, target_weight=1.0, **settings)
    codes = ae.fit(wide, y[:60] > 4).transform(wide)
    assert LogisticRegression().fit(codes, y[:60] > 4).score(codes, y[:60] > 4) > 0.9


@pytest.mark.slow
def test_warm_starts_continue_supervised_training(unsupervised):
    ae = AutoencoderTransformer(**PARAMETERS, target_weight=0.1, warm_start=True)
    first = ae.fit(X[:900], y[:900]).validation_curve_[0, 1]
    assert ae.fit(X[:900], y[:900]).validation_curve_[0, 1] < first
    assert accuracy(ae) > accuracy(unsupervised)


@pytest.mark.slow
def test_memory_is_not_quadratic_in_the_number_of_classes():
    n_rows = 8000
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(n_rows, 2)), np.arange(n_rows, dtype=np.int32)
    table = Table(rows, y=labels)
    architecture = Architecture(
        n_components=2, hidden_layer_sizes=(4,), activations=("tanh", "identity", "identity")
    )
    start = first_network(table, architecture, 0)
    objective = Supervised(Reconstruction(architecture.activations), 0.1)
    objective.row_errors(
        Target(y=labels, n_outputs=n_rows).with_head(start, table), table.select([0])
    )
    tracemalloc.start()
    network = Target(y=labels, n_outputs=n_rows).with_head(start, table)
    errors = objective.row_errors(network, table)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 100 * 2**20  # all indicators are 488 MB, and all outputs of the head 244 MB
    assert errors.shape == (n_rows,)
    # the cross-entropy of the head's outputs, and the squared error
    head = network.params["head"]
    codes = network.encode(rows[:5])
    outputs = codes @ head["coefs"][0] + head["intercepts"][0]
    log_shares = outputs - logsumexp(outputs, axis=1, keepdims=True)
    squares = objective.reconstruction.row_errors(network, table)[:5]
    expected = squares - 0.1 * network.scale**2 * log_shares[np.arange(5), labels[:5]]
    np.testing.assert_allclose(errors[:5], expected, rtol=1e-5)
