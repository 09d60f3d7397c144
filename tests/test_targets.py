"""What the code should tell of y."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_digits
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline

from skae import AutoencoderTransformer, _loop
from skae._network import forward
from skae._objectives import Reconstruction, Supervised, head_errors
from skae._start import Architecture, first_network
from skae._table import Table
from skae._targets import Target

X, y = load_digits(return_X_y=True)
PARAMETERS = {"n_components": 4, "max_steps": 200, "random_state": 0}


def accuracy(ae):
    codes = ae.transform(X)
    return LogisticRegression(max_iter=1000).fit(codes[:900], y[:900]).score(codes[900:], y[900:])


@pytest.fixture(scope="module")
def untaught():
    return AutoencoderTransformer(**PARAMETERS).fit(X[:900], y[:900])


@pytest.fixture(scope="module")
def started():
    table = Table(X[:900])
    activations = ("silu", "identity", "identity")
    architecture = Architecture(4, (8,), activations, "pca", None)
    return table, first_network(table, architecture, 0)


def test_without_a_weight_y_is_ignored(untaught):
    again = AutoencoderTransformer(**PARAMETERS).fit(X[:900])
    np.testing.assert_array_equal(again.transform(X), untaught.transform(X))


def test_a_code_that_is_taught_classes_tells_them(untaught):
    taught = AutoencoderTransformer(**PARAMETERS, target_weight=1).fit(X[:900], y[:900])
    assert accuracy(taught) > accuracy(untaught) + 0.03
    assert taught.score(X[900:]) > untaught.score(X[900:]) - 0.1
    assert set(taught.encoder_) == set(untaught.encoder_)
    assert not hasattr(taught, "head_")


@pytest.mark.slow
def test_the_rows_with_labels_are_told_apart(untaught):
    few = np.where(np.arange(900) % 10, -1, y[:900])
    taught = AutoencoderTransformer(**PARAMETERS, target_weight=1).fit(X[:900], few)
    rows, labels = X[:900:10], y[:900:10]
    head = LogisticRegression(max_iter=1000)
    before, after = (
        head.fit(codes, labels).score(codes, labels)
        for codes in (untaught.transform(rows), taught.transform(rows))
    )
    assert after > before + 0.03


def test_a_code_that_is_taught_numbers_tells_them():
    rows, disease = load_diabetes(return_X_y=True, scaled=False)
    numbers = np.column_stack([disease, -disease])
    numbers[::3, 1] = np.nan

    def r2(weight):
        settings = {"max_steps": 100, "validation_fraction": 0, "random_state": 0}
        ae = AutoencoderTransformer(2, target_weight=weight, **settings)
        codes = ae.fit(rows, numbers).transform(rows)
        return LinearRegression().fit(codes, disease).score(codes, disease)

    assert r2(1) > r2(0) + 0.1


def test_labels_of_any_kind_are_classes():
    names = np.array([f"digit {digit}" for digit in y])
    taught = [
        AutoencoderTransformer(4, max_steps=5, random_state=0, target_weight=0.1).fit(X, labels)
        for labels in (y, names, list(names), y[:, None].astype(np.uint8).ravel())
    ]
    for ae in taught[1:]:
        np.testing.assert_array_equal(ae.transform(X), taught[0].transform(X))


def test_a_pipeline_hands_y_on():
    ae = AutoencoderTransformer(**PARAMETERS, target_weight=0.1)
    pipe = make_pipeline(ae, LogisticRegression(max_iter=1000)).fit(X[:900], y[:900])
    assert pipe.score(X[900:], y[900:]) > 0.8


def test_the_head_starts_at_discriminant_analysis(started):
    table, network = started
    labels = y[:900].astype(np.int32)
    network = Target.of(labels, table).with_head(lambda _: network)(table._replace(y=labels))
    codes = network.encode(X[:900])
    logits = forward(network.params["head"], codes, "identity", "identity")
    peer = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(codes, labels)
    assert (logits.argmax(axis=1) == labels).mean() > peer.score(codes, labels) - 0.01


def test_a_new_code_takes_its_head_along(started):
    table, network = started
    labels = y[:900].astype(np.int32)
    network = Target.of(labels, table).with_head(lambda _: network)(table._replace(y=labels))
    matrix = np.random.default_rng(0).normal(size=(4, 4))
    other = network.recode(matrix, np.linalg.inv(matrix), np.arange(4.0))
    heads = [
        forward(net.params["head"], net.encode(X[:900]), "identity", "identity")
        for net in (network, other)
    ]
    np.testing.assert_allclose(heads[0], heads[1], atol=1e-8 * abs(heads[0]).max())


def test_what_is_not_labelled_has_no_error():
    outputs = np.random.default_rng(0).normal(size=(3, 2)).astype("f")
    classes = head_errors(outputs, np.array([0, -1, 1], np.int32)).numpy()
    log_shares = outputs - np.log(np.exp(outputs).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(classes, [-log_shares[0, 0], 0, -log_shares[2, 1]], rtol=1e-5)
    numbers = head_errors(outputs, np.float32([[0, 0], [np.nan, 0], [np.nan, np.nan]])).numpy()
    expected = [np.square(outputs[0]).mean(), outputs[1, 1] ** 2 / 2, 0]
    np.testing.assert_allclose(numbers, expected, rtol=1e-5)


@pytest.mark.slow
def test_other_weights_share_a_compiled_loop():
    objectives = {Supervised(Reconstruction(("silu",) * 3), weight) for weight in (0.1, 0.2)}
    assert len(objectives) == 1
    ae = AutoencoderTransformer(**PARAMETERS, target_weight=0.1).fit(X[:900], y[:900])
    before = _loop._Compiled.cache_info().misses
    ae.set_params(target_weight=0.2).fit(X[:900], y[:900])
    assert _loop._Compiled.cache_info().misses == before


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
        (np.array([1, "a", 2] * 300, dtype=object), "several types, int, str"),
    ],
)
def test_a_y_that_cannot_be_taught_is_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        AutoencoderTransformer(target_weight=0.1).fit(X[:900], labels)


def test_a_stream_is_taught_no_y():
    assert hasattr(AutoencoderTransformer(), "partial_fit")
    ae = AutoencoderTransformer(target_weight=0.1)
    with pytest.raises(AttributeError, match="partial_fit"):
        ae.partial_fit(X, y)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"init": "glorot"}, {"noise": 0.3, "corruption": "swap"}])
def test_y_is_taught_with_other_parameters_too(settings, untaught):
    parameters = PARAMETERS | {"n_components": 8, "max_steps": 300} | settings
    taught = AutoencoderTransformer(**parameters, target_weight=0.1).fit(X[:900], y[:900])
    assert accuracy(taught) > accuracy(untaught)


@pytest.mark.slow
def test_rows_that_span_a_small_space_are_taught_too():
    wide = X[:60] @ np.random.default_rng(0).normal(size=(64, 300))
    settings = {"max_steps": 50, "validation_fraction": 0, "random_state": 0}
    ae = AutoencoderTransformer(3, target_weight=1.0, **settings)
    codes = ae.fit(wide, y[:60] > 4).transform(wide)
    assert LogisticRegression().fit(codes, y[:60] > 4).score(codes, y[:60] > 4) > 0.9


@pytest.mark.slow
def test_warm_starts_go_on_being_taught(untaught):
    ae = AutoencoderTransformer(**PARAMETERS, target_weight=0.1, warm_start=True)
    first = ae.fit(X[:900], y[:900]).validation_curve_[0, 1]
    assert ae.fit(X[:900], y[:900]).validation_curve_[0, 1] < first
    assert accuracy(ae) > accuracy(untaught)
