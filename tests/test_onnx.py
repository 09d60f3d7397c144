"""ONNX graphs compute what NumPy does: skl2onnx's conversion, run by onnxruntime."""

import copy
import importlib
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnxruntime import InferenceSession
from skl2onnx import to_onnx
from skl2onnx.common.data_types import DoubleTensorType
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

import skae.onnx  # noqa: F401
from skae import AutoencoderImputer, AutoencoderTransformer, OutlierDetector
from skae._networks.activations import ACTIVATIONS

METHODS = ["transform", "inverse_transform", "reconstruct"]


def fit(X, **params):
    """Fit a network that is no PCA any more."""
    params = {"max_steps": 20, "validation_fraction": 0, "random_state": 0} | params
    return AutoencoderTransformer(3, hidden_layer_sizes=(8,), **params).fit(X)


@pytest.fixture(scope="module")
def fitted(bounded_rows):
    return fit(bounded_rows)


def run(model, X):
    onnx.checker.check_model(model, full_check=True)
    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"X": X})


def assert_agrees(ae, X, tol=None):
    """Compare all methods, each for batches of several sizes in one graph."""
    tol = tol or {"float32": 1e-6, "float64": 1e-13}[X.dtype.name]
    for method in METHODS:
        inputs = ae.transform(X) if method == "inverse_transform" else X
        model = to_onnx(ae, inputs[:1], options={"method": method})
        for batch in (inputs[:1], inputs[:7], inputs):
            expected = getattr(ae, method)(batch)
            (actual,) = run(model, batch)
            assert actual.dtype == expected.dtype == X.dtype
            np.testing.assert_allclose(actual, expected, rtol=0, atol=tol * abs(expected).max())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("whiten", [True, False])
@pytest.mark.parametrize("init", ["pca", "glorot", "normal"])
def test_all_methods_agree_with_numpy(bounded_rows, init, whiten, dtype):
    X = bounded_rows.astype(dtype)
    assert_agrees(fit(X, init=init, whiten=whiten), X)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bounds", [None, "auto", (2.5, 3.5), (None, 3.2), (np.full(6, 2.9), None)])
def test_reconstructions_end_at_the_bounds(bounded_rows, bounds, dtype):
    X = bounded_rows.astype(dtype)
    ae = fit(X, bounds=bounds)
    assert_agrees(ae, X)
    free = copy.deepcopy(ae)
    free.bounds_ = np.array([[-np.inf], [np.inf]]) * np.ones(6)
    is_clipped = (ae.reconstruct(X) != free.reconstruct(X)).any()
    assert is_clipped == (bounds is not None)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_every_activation_agrees_with_numpy(bounded_rows, name, dtype):
    X = bounded_rows.astype(dtype)
    ae = fit(X, init="glorot", whiten=False, bounds=None)
    only_float32 = name == "gelu"  # onnxruntime has no error function in double precision
    for place in range(3):
        there = copy.deepcopy(ae)
        there.activations_ = tuple(name if i == place else "identity" for i in range(3))
        assert_agrees(there, X, tol=1e-6 if only_float32 else None)


@pytest.mark.parametrize("hidden_layer_sizes", [(), (8, 5)])
def test_networks_of_other_depths_agree_with_numpy(bounded_rows, hidden_layer_sizes):
    ae = AutoencoderTransformer(
        3, hidden_layer_sizes=hidden_layer_sizes, max_steps=20, validation_fraction=0
    )
    assert_agrees(ae.fit(bounded_rows), bounded_rows)


def test_rows_come_in_other_types_than_those_of_fit(bounded_rows, fitted):
    assert_agrees(fitted, bounded_rows.astype("float32"))
    assert_agrees(fit(bounded_rows.astype("float32")), bounded_rows)
    counts = bounded_rows.astype("int64")
    (codes,) = run(to_onnx(fitted, counts[:1]), counts)
    assert codes.dtype == "float32"
    np.testing.assert_allclose(codes, fitted.transform(counts), atol=1e-5)


@pytest.mark.parametrize("opset", [12, 18])
def test_older_opsets_will_do(bounded_rows, opset):
    X = bounded_rows.astype("float32")
    ae = fit(X, init="glorot")
    for name in ACTIVATIONS:
        ae.activations_ = (name, "identity", "identity")
        (actual,) = run(to_onnx(ae, X[:1], target_opset=opset), X)
        np.testing.assert_allclose(actual, ae.transform(X), atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_pipeline_gives_the_same_labels(dtype):
    X, y = load_digits(return_X_y=True)
    X = X.astype(dtype)
    ae = AutoencoderTransformer(8, max_steps=20, random_state=0)
    pipe = Pipeline([("ae", ae), ("clf", LogisticRegression(max_iter=1000))]).fit(
        X[:1500], y[:1500]
    )
    # as of skl2onnx 1.20 the dictionaries that it puts last are for single precision alone
    options = None if dtype == "float32" else {"zipmap": False}
    model = to_onnx(pipe, X[:1], options=options)
    for batch in (X[1500:1501], X[1500:1507], X[1500:]):
        labels, probabilities = run(model, batch)
        np.testing.assert_array_equal(labels, pipe.predict(batch))
        probabilities = np.array([[p[digit] for digit in range(10)] for p in probabilities])
        np.testing.assert_allclose(probabilities, pipe.predict_proba(batch), atol=1e-5)


@pytest.mark.parametrize("options", [{"ae__method": "reconstruct"}, "by class", "by id"])
def test_the_method_is_an_option_of_the_step(bounded_rows, options):
    ae = AutoencoderTransformer(
        3, hidden_layer_sizes=(8,), max_steps=20, validation_fraction=0, random_state=0
    )
    pipe = Pipeline([("scale", StandardScaler()), ("ae", ae)]).fit(bounded_rows)
    if not isinstance(options, dict):
        key = AutoencoderTransformer if options == "by class" else id(pipe["ae"])
        options = {key: {"method": "reconstruct"}}
    (actual,) = run(to_onnx(pipe, bounded_rows[:1], options=options), bounded_rows)
    np.testing.assert_allclose(
        actual, pipe["ae"].reconstruct(pipe["scale"].transform(bounded_rows))
    )


def test_mistakes_are_errors_at_conversion(bounded_rows, fitted):
    with pytest.raises(ValueError, match="X has 6 columns, but inverse_transform takes 3"):
        to_onnx(fitted, bounded_rows[:1], options={"method": "inverse_transform"})
    with pytest.raises(ValueError, match="X has 3 columns, but transform takes 6"):
        to_onnx(fitted, bounded_rows[:1, :3])
    with pytest.raises(ValueError, match="'fit'"):
        to_onnx(fitted, bounded_rows[:1], options={"method": "fit"})
    with pytest.raises(NotFittedError):
        to_onnx(AutoencoderTransformer(), bounded_rows[:1])


def test_the_number_of_columns_may_be_open(bounded_rows, fitted):
    types = [("X", DoubleTensorType([None, None]))]
    (codes,) = run(to_onnx(fitted, initial_types=types), bounded_rows)
    np.testing.assert_allclose(codes, fitted.transform(bounded_rows))


def test_converting_leaves_the_estimator_and_the_output_streams_alone(bounded_rows, fitted, capfd):
    before = copy.deepcopy(vars(fitted))
    to_onnx(fitted, bounded_rows[:1], options={"method": "reconstruct"})
    np.testing.assert_equal(vars(fitted), before)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("package", ["skl2onnx", "onnx"])
def test_a_missing_package_is_named_with_its_extra(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "skae.onnx")
    with pytest.raises(ImportError, match=r'pip install "skae\[onnx\]"'):
        importlib.import_module("skae.onnx")


@pytest.mark.slow
def test_import_skae_imports_neither_onnx_nor_tensorflow():
    code = """
import sys, skae
assert not {"onnx", "skl2onnx", "onnxruntime", "tensorflow", "keras"} & set(sys.modules)
import skae.onnx
assert not {"tensorflow", "keras"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_training_that_continues_after_missing_values_is_not_exported(bounded_rows, method):
    ae = fit(np.where(bounded_rows > 4, np.nan, bounded_rows)).set_params(warm_start=True)
    getattr(ae, method)(bounded_rows)
    for export in (lambda: to_onnx(ae, bounded_rows[:1]), ae.to_keras):
        with pytest.raises(ValueError, match="missing values, in this or an earlier call"):
            export()
    ae.set_params(warm_start=False).fit(bounded_rows).to_keras()


def test_what_would_not_be_filled_is_refused(bounded_rows):
    X, incomplete = bounded_rows, np.where(bounded_rows > 4, np.nan, bounded_rows)
    settings = {"hidden_layer_sizes": (), "max_steps": 5, "validation_fraction": 0}
    ae, imputer = AutoencoderTransformer(3, **settings), AutoencoderImputer(3, **settings)
    with pytest.raises(ValueError, match="missing values"):
        to_onnx(ae.fit(incomplete), X[:1])
    with pytest.raises(NotImplementedError, match="AutoencoderImputer"):
        to_onnx(imputer.fit(incomplete), X[:1])


def detector(X, **params):
    """Fit a detector whose network is no PCA any more."""
    params = {"max_steps": 40, "validation_fraction": 0, "random_state": 0, "n_draws": 5} | params
    params = {"n_neighbors": 0} | params
    return OutlierDetector(2, hidden_layer_sizes=(8,), contamination=0.2, **params).fit(X)


def assert_detects(fitted, X, tol, **options):
    for batch in (X[:1], X[:7], X):
        labels, scores = run(to_onnx(fitted, X[:1], **options), batch)
        assert labels.dtype == "int64"
        assert scores.dtype == X.dtype
        np.testing.assert_allclose(scores[:, 0], fitted.decision_function(batch), atol=tol)
        np.testing.assert_array_equal(labels[:, 0], fitted.predict(batch))


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"bounds": None, "activation": "tanh"},
        {"noise_variance": "feature"},
        {"likelihood": "bernoulli"},
        {"max_steps": 1, "alpha": 1e9},
    ],
)
def test_a_detector_gives_labels_and_scores(bounded_rows, params):
    X = bounded_rows
    if "likelihood" in params:
        X = (X.mean(axis=0) < X).astype(float)
    fitted = detector(X, **params)
    assert set(fitted.predict(X)) == {-1, 1}
    assert_detects(fitted, X, 1e-9)
    assert_detects(fitted, X.astype("float32"), 1e-3)


@pytest.mark.parametrize("opset", [12, 18])
def test_a_detector_is_converted_to_older_opsets(bounded_rows, opset):
    assert_detects(detector(bounded_rows), bounded_rows, 1e-9, target_opset=opset)


def test_a_detector_ends_a_pipeline(bounded_rows):
    inner = OutlierDetector(2, n_neighbors=0, max_steps=20, random_state=0)
    pipe = Pipeline([("scale", StandardScaler()), ("detector", inner)]).fit(bounded_rows)
    labels, _ = run(to_onnx(pipe, bounded_rows[:1]), bounded_rows)
    np.testing.assert_array_equal(labels[:, 0], pipe.predict(bounded_rows))


def test_a_row_with_a_missing_value_is_an_outlier_in_the_graph(bounded_rows):
    rows = np.where(np.eye(6) == 1, np.nan, bounded_rows[:6])
    labels, scores = run(to_onnx(detector(bounded_rows), rows[:1]), rows)
    assert (labels == -1).all()
    assert np.isnan(scores).all()


def test_detectors_that_cannot_be_converted_are_errors(bounded_rows):
    with pytest.raises(NotFittedError):
        to_onnx(OutlierDetector(), bounded_rows[:1])
    with pytest.raises(ValueError, match="X has 3 columns, but predict takes 6"):
        to_onnx(detector(bounded_rows), bounded_rows[:1, :3])
    with pytest.raises(ValueError, match="fit it with n_neighbors=0"):
        to_onnx(detector(bounded_rows, n_neighbors=5), bounded_rows[:1])
    incomplete = np.where(bounded_rows > 4, np.nan, bounded_rows)
    with pytest.raises(ValueError, match="This OutlierDetector was trained on rows with missing"):
        to_onnx(detector(incomplete), bounded_rows[:1])
    table = bounded_rows.astype(object)
    table[:, 0] = np.where(bounded_rows[:, 0] > 3, "high", "low")
    with pytest.raises(ValueError, match="This OutlierDetector was fitted to a table with categ"):
        to_onnx(detector(table, categorical_features=[0]), bounded_rows[:1])
