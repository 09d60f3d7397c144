"""Supervised targets: encoding of y and the linear head."""

from dataclasses import dataclass, replace
from decimal import Decimal
from numbers import Number, Real
from typing import Any, Protocol, Self, TypeVar

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.covariance import ledoit_wolf
from sklearn.linear_model import Ridge
from sklearn.utils import check_array, check_consistent_length, column_or_1d, gen_batches

from .inputs import DATES
from .table import Table
from .weights import Weights, weighted, weights_or_ones

# Maximum number of rows for the initialisation of the head.
_MAX_ROWS = 20_000
# Maximum number of class indicators in memory at once.
_MAX_INDICATORS = 2**22
# A component with a smaller standard deviation, in the units of training, is not used by the head.
_MIN_CODE_STD = 1e-6
# Missing label in an array of objects. Its type is Any because NumPy's functions accept None, and
# their type hints do not.
_MISSING: Any = None


class EncoderNetwork(Protocol):
    """Network with params to which a head is added, such as `Autoencoder`."""

    @property
    def params(self) -> dict[str, Any]:
        """Params of the network."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Float type of the params."""

    @property
    def code_size(self) -> int:
        """Number of components of the code."""

    @property
    def width(self) -> int:
        """Number of units of the widest layer."""

    def encode(self, X: NDArray[Any]) -> NDArray[Any]:
        """Return the codes of dense rows."""

    def with_params(self, params: dict[str, Any]) -> Self:
        """Return the same network with other params."""


_Network = TypeVar("_Network", bound=EncoderNetwork)


@dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """Encoded supervised target y.

    Attributes
    ----------
    y : ndarray
        For classes, the class numbers, of shape (n_samples,), int32, with -1 for unlabelled rows.
        For numbers, the standardised values, of shape (n_samples, n_columns), float32, with NaN for
        missing values.
    n_outputs : int
        Number of classes, or number of columns.
    classes : ndarray of shape (n_outputs,), or None
        Labels in the order of the class numbers; None for numbers.
    mean, scale : ndarray of shape (n_outputs,), or None
        Mean and standard deviation of numbers before standardisation; None for classes.
    weights : ndarray of shape (n_samples,) or None
        Weights of the rows.
    """

    y: NDArray[Any]
    n_outputs: int
    classes: NDArray[Any] | None = None
    mean: NDArray[np.float64] | None = None
    scale: NDArray[np.float64] | None = None
    weights: Weights = None

    @property
    def labelled_share(self) -> float:
        """Weighted fraction of the entries of y that are labelled."""
        shares = _is_labelled(self.y).reshape(len(self.y), -1).mean(axis=1)
        return float(np.average(shares, weights=self.weights))

    def with_head(self, network: _Network, table: Table) -> _Network:
        """Return a network with a linear head that predicts the y of a table of training rows."""
        return _with_head(network, table, self.n_outputs)

    @classmethod
    def from_y(cls, y: Any, table: Table) -> Self:
        """Encode the y of a table, as passed by the user.

        Floats are numbers, and other types are classes. The type of a column decides, also for
        columns with missing values; see `target_array`.

        Raises
        ------
        ValueError
            If y is None, has a different number of rows from X, has no label or number, or has only
            one class; if the workers have different y.
        """
        if y is None:
            raise ValueError(
                "target_weight above 0 requires y to be passed, but the target y is None. Pass y, "
                "or set target_weight=0."
            )
        y = table.workers.run_checked(target_array, y)
        table.workers.run_checked(check_consistent_length, table.X, y)
        if table.shards is not None:
            shards = table.workers.all_gather_object(y)
            y = np.concatenate([shard for shard in shards if len(shard)])
        is_number = y.dtype.kind == "f"
        target = cls._encode_numbers(y, table.weights) if is_number else cls._encode_classes(y)
        target = replace(target, weights=table.weights)
        table.workers.check_agreement({"the hash of y": joblib.hash(target.y)})
        return target

    def encode_validation(self, y_val: Any, table: Table) -> Self:
        """Encode the y of validation rows with the classes, or the mean and scale, of this target.

        Raises
        ------
        ValueError
            If y_val has a different number of rows from the table, a different number of columns
            from y, or classes that y does not have.
        """
        y_val = target_array(y_val)
        check_consistent_length(table.X, y_val)
        if self.classes is not None:
            return replace(self, y=_class_numbers(y_val, self.classes))
        assert self.mean is not None
        assert self.scale is not None
        numbers = _as_numbers(y_val, "y_val")
        if numbers.shape[1] != self.n_outputs:
            raise ValueError(f"y_val has {numbers.shape[1]} columns, and y has {self.n_outputs}.")
        return replace(self, y=((numbers - self.mean) / self.scale).astype(np.float32))

    @classmethod
    def _encode_numbers(cls, y: NDArray[Any], weights: Weights) -> Self:
        y = _as_numbers(y, "y")
        if np.isnan(y).all(axis=0).any():
            raise ValueError("y, or a column of it, has no number: all are NaN, for unlabelled.")
        # scale by a power of two, which is exact, so that squares neither overflow nor underflow
        _, exponent = np.frexp(np.nanmax(abs(y), axis=0))
        y = np.ldexp(y, -exponent)
        mean = _mean_of_observed(y, weights)
        y = y - mean
        scale = np.sqrt(_mean_of_observed(np.square(y), weights))
        scale = np.where(scale > 0, scale, 1)
        mean, unit = np.ldexp(mean, exponent), np.ldexp(scale, exponent)
        y = (y / scale).astype(np.float32)
        return cls(y=y, n_outputs=y.shape[1], mean=mean, scale=unit)

    @classmethod
    def _encode_classes(cls, y: NDArray[Any]) -> Self:
        y = column_or_1d(y, warn=True)
        is_labelled = _has_label(y)
        labels = y[is_labelled]
        try:
            classes, numbers = np.unique(labels, return_inverse=True)
        except TypeError:
            types = ", ".join(sorted({type(label).__name__ for label in labels}))
            raise ValueError(
                f"y has labels of several types, {types}: give them one. The number -1, or a "
                "missing value, stands for unlabelled."
            ) from None
        if len(classes) < 2:
            raise ValueError(
                f"y has {len(classes)} class(es), but at least two are required; -1, or a missing "
                "value, stands for unlabelled."
            )
        y = np.full(len(y), -1, np.int32)
        y[is_labelled] = numbers
        return cls(y=y, n_outputs=len(classes), classes=classes)


def _mean_of_observed(y: NDArray[np.float64], weights: Weights) -> NDArray[np.float64]:
    """Return the weighted mean of the numbers of each column that are not NaN."""
    is_observed = ~np.isnan(y)
    counts = is_observed if weights is None else weighted(is_observed, weights)
    total: NDArray[np.float64] = (np.where(is_observed, y, 0) * counts).sum(axis=0)
    mean: NDArray[np.float64] = total / counts.sum(axis=0)
    return mean


def _as_numbers(y: NDArray[Any], name: str) -> NDArray[np.float64]:
    """Return a validated 2D array of float64, with NaN for missing values."""
    y = y.reshape(len(y), -1) if y.ndim == 1 else y
    with config_context(assume_finite=False):
        numbers: NDArray[np.float64] = check_array(
            y, dtype=np.float64, ensure_all_finite="allow-nan", input_name=name
        )
    return numbers


def _has_label(y: NDArray[Any]) -> NDArray[np.bool_]:
    """Return a mask of the labels that are neither None nor -1 (unlabelled)."""
    if y.dtype.kind in "US":
        return np.ones(len(y), bool)
    has_label: NDArray[np.bool_] = np.not_equal(y, -1) & np.not_equal(y, _MISSING)
    return has_label


def _class_numbers(y_val: NDArray[Any], classes: NDArray[Any]) -> NDArray[np.int32]:
    """Return the class numbers of the labels of validation rows, with -1 for unlabelled rows."""
    y_val = column_or_1d(y_val, warn=True)
    is_labelled, known = _has_label(y_val), classes.tolist()
    unknown = [label for label in set(y_val[is_labelled].tolist()) if label not in known]
    if unknown:
        raise ValueError(f"y_val has labels that y has not: {sorted(map(str, unknown))[:10]}.")
    numbers = np.full(len(y_val), -1, np.int32)
    numbers[is_labelled] = np.searchsorted(classes, y_val[is_labelled])
    return numbers


def target_array(y: Any) -> NDArray[Any]:
    """Return y as an array whose dtype distinguishes numbers (float) from classes.

    Parameters
    ----------
    y : array-like, series or data frame
        Object of NumPy, pandas, polars or pyarrow. Columns of integers with missing values are
        classes here; NumPy would convert them to floats.

    Returns
    -------
    y : ndarray
        An array of floats for numbers, with NaN for missing values. Any other dtype for classes; an
        array of objects has None for missing values.

    Raises
    ------
    ValueError
        If y contains dates, times or durations.
    """
    if isinstance(y, np.ma.MaskedArray):
        y = np.where(np.ma.getmaskarray(y), _MISSING, y.data) if y.mask.any() else y.data
    if hasattr(y, "columns"):
        columns = [target_array(_column(y, i)) for i in range(y.shape[1])]
        if len(columns) == 1:
            return columns[0]
        if any(column.dtype.kind == "f" for column in columns):
            columns = [column.astype(np.float64) for column in columns]
        return np.column_stack(columns)
    dtype = getattr(y, "dtype", None)
    to_list = next((name for name in _TO_LIST if hasattr(y, name)), None)
    if to_list and not isinstance(dtype, np.dtype):
        values = getattr(y, to_list)()
        y = np.fromiter(values, dtype=object, count=len(values))
    array = np.asarray(y)
    if array.dtype.kind in "US" and not isinstance(dtype, np.dtype):  # a list such as ["a", -1]
        array = np.array(y, dtype=object)
    _check_no_dates(array)
    is_object = array.dtype.kind == "O" and array.ndim > 0
    return _typed(array, getattr(dtype, "name", "")) if is_object else array


_TO_LIST = ("to_pylist", "to_list", "tolist")  # methods of pyarrow, polars and pandas


def _column(frame: Any, i: int) -> Any:
    """Return a column of a pandas, polars or pyarrow data frame."""
    if hasattr(frame, "iloc"):
        return frame.iloc[:, i]
    return frame.to_series(i) if hasattr(frame, "to_series") else frame.column(i)


def _typed(values: NDArray[np.object_], type_name: str) -> NDArray[Any]:
    """Return an array of floats for numbers, else an array of objects with None for missing."""
    is_missing = np.frompyfunc(_is_missing, 1, 1)(values).astype(bool)
    observed = values[~is_missing]
    is_float = any(isinstance(value, float | np.floating | Decimal) for value in observed)
    is_number = is_float and all(isinstance(value, Real | Decimal) for value in observed)
    if is_number and type_name != "category":
        return np.where(is_missing, np.nan, values).astype(np.float64)
    return np.where(is_missing, _MISSING, values)


def _is_missing(value: Any) -> bool:
    """Whether a value is missing: None, pandas.NA, NaT or NaN."""
    if isinstance(value, Number):
        return value != value
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def _check_no_dates(y: NDArray[Any]) -> None:
    """Raise ValueError if labels are dates, times or durations."""
    labels = y.ravel() if y.dtype.kind == "O" else ()
    if y.dtype.kind in "mM" or any(isinstance(label, DATES) for label in labels):
        raise ValueError(
            "y has dates, times or durations, which are neither numbers nor classes. Convert them "
            "to floats, or to integers or strings for classes, with -1 for unlabelled rows."
        )


def _is_labelled(y: NDArray[Any]) -> NDArray[np.bool_]:
    """Return a mask of the entries of an encoded y that have a label or a number."""
    return y >= 0 if y.ndim == 1 else ~np.isnan(y)


def _with_head(network: _Network, table: Table, n_outputs: int) -> _Network:
    """Return a network with a linear head that predicts the table's y from the code.

    The head is fitted to the labelled rows. For classes it is linear discriminant analysis (Hastie,
    Tibshirani & Friedman, The Elements of Statistical Learning, section 4.3) with the covariance
    estimate of Ledoit & Wolf (Journal of Multivariate Analysis 88, 2004); its discriminants are
    the logits of a softmax. For numbers it is ridge regression.
    """
    y = table.take_y()
    rows = np.flatnonzero(_is_labelled(y).reshape(table.n_rows, -1).any(axis=1))
    rows = rows[:: -(-len(rows) // _MAX_ROWS) or 1]
    coef, intercept = np.zeros((network.code_size, n_outputs)), np.zeros(n_outputs)
    if len(rows) > 1:
        chosen = table.select(rows)
        codes = chosen.map(network.encode, network.width).astype(np.float64)
        weights = weights_or_ones(chosen.take_weights(), len(rows))
        mean = np.average(codes, axis=0, weights=weights)
        std = np.sqrt(np.average(np.square(codes - mean), axis=0, weights=weights))
        std[std < _MIN_CODE_STD] = np.inf
        fit = _discriminants if y.ndim == 1 else _ridge
        coef, intercept = fit((codes - mean) / std, y[rows], weights, n_outputs)
        coef /= std[:, None]
        intercept -= mean @ coef
    head = {"coefs": [coef.astype(network.dtype)], "intercepts": [intercept.astype(network.dtype)]}
    return network.with_params(network.params | {"head": head})


def _discriminants(
    codes: NDArray[np.float64],
    y: NDArray[np.int32],
    weights: NDArray[np.float64],
    n_classes: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    counts = 1.0 + np.bincount(y, weights, minlength=n_classes)  # one pseudo-count at the mean
    means = np.empty((n_classes, codes.shape[1]))
    for part in gen_batches(n_classes, max(1, _MAX_INDICATORS // len(y))):
        members = (y[:, None] == np.arange(part.start, part.stop)).astype(np.float64)
        means[part] = members.T @ weighted(codes, weights) / counts[part, None]
    # with these factors, rows of equal weight have the covariance of the weighted rows
    factors = np.sqrt(weights / weights.mean())
    covariance, _ = ledoit_wolf(weighted(codes - means[y], factors), assume_centered=True)
    coef = np.linalg.lstsq(covariance, means.T)[0]
    return coef, np.log(counts / counts.sum()) - (means.T * coef).sum(axis=0) / 2


def _ridge(
    codes: NDArray[np.float64],
    y: NDArray[np.float32],
    weights: NDArray[np.float64],
    n_columns: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    coef, intercept = np.zeros((codes.shape[1], n_columns)), np.zeros(n_columns)
    for column in range(n_columns):
        seen = ~np.isnan(y[:, column])
        if seen.any():
            model = Ridge().fit(codes[seen], y[seen, column], weights[seen])
            coef[:, column], intercept[column] = model.coef_, model.intercept_
    return coef, intercept
