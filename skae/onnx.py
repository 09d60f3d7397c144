"""ONNX export of fitted autoencoders; the import registers the converters with skl2onnx.

After ``import skae.onnx``, `skl2onnx.to_onnx` converts `AutoencoderTransformer`, `OutlierDetector`,
and the means of `VariationalAutoencoder`, as a single estimator or as a step of a pipeline. The
option "method" of the autoencoders sets the method that the graph computes: "transform" (the
default), "inverse_transform" or "reconstruct". Like all options of converters, it is set for the
estimator, for a step of a pipeline, or for a class::

    to_onnx(ae, X[:1], options={"method": "reconstruct"})
    to_onnx(pipe, X[:1], options={"ae__method": "reconstruct"})
    to_onnx(pipe, X[:1], options={AutoencoderTransformer: {"method": "reconstruct"}})

The graph accepts any number of rows. For float64 rows it computes in double precision, except for
the error function of gelu; for other types it computes in single precision. For a data frame, pass
``X[:1].to_numpy()`` to `to_onnx`, because skl2onnx would create one input for each column. The
graph does not impute missing values: the conversion of an estimator that was trained with missing
values raises an error, and so does the conversion of `AutoencoderImputer`.

The graph of an `OutlierDetector` has two outputs of shape (n_samples, 1), as the graphs of other
outlier detectors: "label" is the result of ``predict``, and "scores" of ``decision_function``. It
holds ``n_draws`` reconstructions of each row in memory: pass many rows in batches. A row with a
missing value is labelled as an outlier, and its score is NaN. The detector must be fitted with
``n_neighbors=0``: the graph does not compare rows with training rows.

Examples
--------
>>> from onnxruntime import InferenceSession
>>> from skl2onnx import to_onnx
>>> from sklearn.datasets import load_iris
>>> import skae.onnx
>>> X = load_iris().data.astype("float32")
>>> ae = skae.AutoencoderTransformer(2, max_steps=20, random_state=0).fit(X)
>>> encoder = InferenceSession(to_onnx(ae, X[:1]).SerializeToString())
>>> (codes,) = encoder.run(None, {"X": X})
>>> bool(abs(codes - ae.transform(X)).max() < 1e-5)
True
>>> decoder = to_onnx(ae, codes[:1], options={"method": "inverse_transform"})
>>> decoder = InferenceSession(decoder.SerializeToString())
>>> (rows,) = decoder.run(None, {"X": codes})
>>> rows.shape
(150, 4)
"""

from collections.abc import Callable
from typing import Any, NoReturn, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from ._autoencoder import AutoencoderTransformer
from ._base.density import _DRAW_SEED
from ._imputer import AutoencoderImputer
from ._networks.variational import _LOG_2PI, _LOG_VARIANCES, Variational
from ._outlier_detector import OutlierDetector
from ._variational_autoencoder import VariationalAutoencoder

try:
    from onnx import TensorProto
    from onnx.helper import np_dtype_to_tensor_dtype
    from onnx.numpy_helper import from_array
    from skl2onnx import update_registered_converter
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int64TensorType
    from skl2onnx.common.utils import check_input_and_output_numbers
except ImportError as error:
    raise ImportError('skae.onnx needs skl2onnx. Install it: pip install "skae[onnx]"') from error

__all__: list[str] = []  # the function to call is skl2onnx.to_onnx

_Input: TypeAlias = str | ArrayLike  # the name of an output, or a constant

# Activations, built from operators that onnxruntime also has in double precision. It does not have
# Elu and Gelu in double precision.
_ACTIVATIONS: dict[str, Callable[["_Adder", str], str]] = {
    "identity": lambda add, x: x,
    "relu": lambda add, x: add("Relu", x),
    "tanh": lambda add, x: add("Tanh", x),
    "logistic": lambda add, x: add("Sigmoid", x),
    "elu": lambda add, x: add("Add", add("Relu", x), add("Sub", add("Exp", add("Min", x, 0)), 1)),
    "gelu": lambda add, x: add(
        "Mul", add("Mul", x, 0.5), add("Add", _erf(add, add("Mul", x, np.sqrt(0.5))), 1)
    ),
    # no product with Sigmoid, because onnxruntime (up to 1.28 at least) fuses it into QuickGelu,
    # which has single precision only
    "silu": lambda add, x: add("Div", x, add("Add", add("Exp", add("Neg", x)), 1)),
}


def _erf(add: "_Adder", x: str) -> str:
    """Add the error function, which onnxruntime has in single precision only."""
    erf = add("Erf", add("Cast", x, to=TensorProto.FLOAT))
    return add("Cast", erf, to=add.proto_type)


class _Adder:
    """Callable that adds nodes of one float type to the graph."""

    def __init__(self, scope: Any, container: Any, dtype: DTypeLike) -> None:
        self.scope, self.container, self.dtype = scope, container, np.dtype(dtype)
        self.proto_type = np_dtype_to_tensor_dtype(self.dtype)

    def __call__(self, op_type: str, *inputs: _Input, **attributes: object) -> str:
        """Add a node with one output, and return the name of the output.

        Inputs are names of outputs, or constants, which are cast to the float type unless they are
        arrays of integers.
        """
        names = [x if isinstance(x, str) else self._constant(x) for x in inputs]
        output: str = self.scope.get_unique_variable_name(op_type.lower())
        name = self.scope.get_unique_operator_name(op_type)
        self.container.add_node(op_type, names, output, name=name, **attributes)
        return output

    def _constant(self, value: ArrayLike) -> str:
        name: str = self.scope.get_unique_variable_name("constant")
        is_index = isinstance(value, np.ndarray) and value.dtype == np.int64
        # as a tensor: skl2onnx is fifty times slower with an array
        tensor = from_array(np.asarray(value, dtype=np.int64 if is_index else self.dtype))
        self.container.add_initializer(name, None, None, tensor)
        return name


def _forward(add: _Adder, half: dict[str, Any], x: str, hidden: str, last: str) -> str:
    """Add the encoder or the decoder, with the same operations as `forward.forward`."""
    out = x
    for depth, (coef, intercept) in enumerate(
        zip(half["coefs"], half["intercepts"], strict=True), start=1
    ):
        out = add("Add", add("MatMul", out, coef), intercept)
        if depth < len(half["coefs"]):
            out = _ACTIVATIONS[hidden](add, out)
    if "linear" in half:
        out = add("Add", out, add("MatMul", x, half["linear"]))
    return _ACTIVATIONS[last](add, out)


def _method(options_of: Any, estimator: BaseEstimator) -> str:
    """Return the option "method" of an estimator."""
    return str(options_of.get_options(estimator, {"method": "transform"})["method"])


def _calculate_output_shape(operator: Any) -> None:
    check_input_and_output_numbers(operator, input_count_range=1, output_count_range=1)
    estimator, rows = operator.raw_operator, operator.inputs[0]
    check_is_fitted(estimator)
    method = _method(operator.scope_inst, estimator)
    n_in = n_out = estimator.n_features_in_
    if method == "transform":
        n_out = estimator.n_components_
    elif method == "inverse_transform":
        n_in = estimator.n_components_
    n_columns = rows.get_second_dimension()
    if n_columns not in (None, n_in):
        raise ValueError(f"X has {n_columns} columns, but {method} takes {n_in}.")
    is_double = isinstance(rows.type, DoubleTensorType)
    output_type = DoubleTensorType if is_double else FloatTensorType
    operator.outputs[0].type = output_type([rows.get_first_dimension(), n_out])


def _convert(scope: Any, operator: Any, container: Any) -> None:
    estimator = operator.raw_operator
    estimator._check_exportable()
    network, method = estimator._network, _method(container, estimator)
    hidden, code, output = network.activations
    is_double = isinstance(operator.outputs[0].type, DoubleTensorType)
    add = _Adder(scope, container, np.float64 if is_double else np.float32)
    out = add("Cast", operator.inputs[0].full_name, to=add.proto_type)  # integers to floats
    if method != "inverse_transform":
        out = _forward(
            add, network.params["encoder"], add("Sub", out, network.offset), hidden, code
        )
    if method != "transform":
        out = add(
            "Add", _forward(add, network.params["decoder"], out, hidden, output), network.offset
        )
        for op_type, bound in zip(("Max", "Min"), network.bounds, strict=True):
            if np.isfinite(bound).any():
                out = add(op_type, out, bound)
    container.add_node(
        "Identity", out, operator.outputs[0].full_name, name=scope.get_unique_operator_name("out")
    )


def _calculate_detector_shapes(operator: Any) -> None:
    check_input_and_output_numbers(operator, input_count_range=1, output_count_range=2)
    detector, rows = operator.raw_operator, operator.inputs[0]
    check_is_fitted(detector)
    n_columns, n_rows = rows.get_second_dimension(), rows.get_first_dimension()
    if n_columns not in (None, detector.n_features_in_):
        raise ValueError(f"X has {n_columns} columns, but predict takes {detector.n_features_in_}.")
    is_double = isinstance(rows.type, DoubleTensorType)
    operator.outputs[0].type = Int64TensorType([n_rows, 1])
    operator.outputs[1].type = (DoubleTensorType if is_double else FloatTensorType)([n_rows, 1])


def _convert_detector(scope: Any, operator: Any, container: Any) -> None:
    detector, (label, scores) = operator.raw_operator, operator.outputs
    autoencoder = detector._inner
    autoencoder._check_exportable()
    if detector.n_neighbors_:
        raise ValueError(
            "The graph does not compare rows with training rows. To export an OutlierDetector to "
            "ONNX, fit it with n_neighbors=0."
        )
    network = autoencoder._trained_network.rescaled(autoencoder.scale_)
    draws = np.random.default_rng(_DRAW_SEED).standard_normal(
        (autoencoder.n_draws, 1, autoencoder.n_components_)
    )
    is_double = isinstance(scores.type, DoubleTensorType)
    add = _Adder(scope, container, np.float64 if is_double else np.float32)
    x = add("Cast", operator.inputs[0].full_name, to=add.proto_type)
    rows = add("Div", add("Sub", x, network.offset), network.scale)
    log_weights = _log_weights(add, network, rows, draws)
    # since version 18 of the operators, the axes are an input
    axes = (np.array([0]),) if container.target_opset >= 18 else ()
    attributes = {} if axes else {"axes": [0]}
    total = add("ReduceLogSumExp", log_weights, *axes, keepdims=0, **attributes)
    difference = add("Sub", total, np.log(len(draws)) + detector.offset_)
    is_inside = add("Cast", add("GreaterOrEqual", difference, 0), to=add.proto_type)
    signs = add("Cast", add("Sub", add("Mul", is_inside, 2), 1), to=TensorProto.INT64)
    for result, output in ((signs, label), (difference, scores)):
        name = scope.get_unique_operator_name("out")
        container.add_node("Identity", result, output.full_name, name=name)


def _log_weights(add: _Adder, network: Variational, rows: str, draws: NDArray[np.float64]) -> str:
    """Add the log importance weights, of shape (n_draws, n_rows, 1); see `Variational`.

    `draws` has the shape (n_draws, 1, n_components).
    """
    hidden, size = network.activations[0], draws.shape[-1]
    out = _forward(add, network.params["encoder"], rows, hidden, "identity")
    mean = add("Gather", out, np.arange(size), axis=1)
    log_variance = add("Gather", out, np.arange(size, 2 * size), axis=1)
    for op_type, limit in zip(("Max", "Min"), _LOG_VARIANCES, strict=True):
        log_variance = add(op_type, log_variance, limit)
    codes = add("Add", mean, add("Mul", add("Exp", add("Mul", log_variance, 0.5)), draws))
    squares = add("Sub", add("Mul", codes, codes), np.square(draws))
    halves = np.full((size, 1), 0.5)
    prior = add("MatMul", add("Sub", squares, log_variance), halves)
    return add("Neg", add("Add", _losses(add, network, rows, codes), prior))


def _losses(add: _Adder, network: Variational, rows: str, codes: str) -> str:
    """Add the negative log-likelihoods of rows, of shape (n_draws, n_rows, 1), given codes."""
    out = _forward(add, network.params["decoder"], codes, network.activations[0], "identity")
    n_columns = len(network.offset)
    if network.likelihood.is_bernoulli:
        # softplus, which older versions of onnxruntime have in single precision only
        log_1p = add("Log", add("Add", add("Exp", add("Neg", add("Abs", out))), 1))
        losses = add("Sub", add("Add", add("Max", out, 0), log_1p), add("Mul", rows, out))
        return add("MatMul", losses, np.ones((n_columns, 1)))
    for op_type, bound in zip(("Max", "Min"), network.constants(np.float64), strict=True):
        if np.isfinite(bound).any():
            out = add(op_type, out, bound)
    residual = add("Sub", out, rows)
    log_noise = np.broadcast_to(network.params["log_noise_variance"], n_columns).astype(float)
    squares = add("MatMul", add("Mul", residual, residual), np.exp(-log_noise)[:, None] / 2)
    return add("Add", squares, np.sum((_LOG_2PI + log_noise) / 2 + network.log_units))


def _refuse(operator: object) -> NoReturn:
    raise NotImplementedError(
        "AutoencoderImputer has no ONNX graph: fill missing values in Python, and convert what "
        "comes after it in the pipeline."
    )


update_registered_converter(
    AutoencoderImputer,
    "SkaeAutoencoderImputer",
    _refuse,
    lambda scope, operator, container: _refuse(operator),
)
update_registered_converter(
    OutlierDetector, "SkaeOutlierDetector", _calculate_detector_shapes, _convert_detector
)
for _estimator in (AutoencoderTransformer, VariationalAutoencoder):
    update_registered_converter(
        _estimator,
        f"Skae{_estimator.__name__}",
        _calculate_output_shape,
        _convert,
        options={"method": ["transform", "inverse_transform", "reconstruct"]},
    )
