"""Numbers that mark missing values in X, as the parameter `missing_values`."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def check_marker(missing_values: Any) -> None:
    """Raise ValueError if the marker of missing values is not a finite number."""
    try:
        is_finite = math.isfinite(missing_values)
    except OverflowError:
        is_finite = False
    if not is_finite:
        raise ValueError(
            f"missing_values must be NaN or a finite float64 number, got {missing_values!r}. If "
            "infinity stands for missing values, replace it by NaN in X, and set "
            "missing_values=np.nan."
        )


def equals_marker(rows: NDArray[Any], value: Any, dtype_before: Any) -> NDArray[np.bool_]:
    """Return a mask of the entries that equal a number after rounding to a float type.

    The types are the type of the rows, their type before validation, and float32, because a
    float32 column in a frame with float64 columns is converted to float64.
    """
    types = {rows.dtype.type, np.float32}
    if getattr(dtype_before, "kind", None) == "f":
        types.add(dtype_before.type)
    with np.errstate(over="ignore"):
        values = {float(of_type(value)) for of_type in types}
    masks: list[NDArray[np.bool_]] = [rows == rows.dtype.type(number) for number in values]
    equal: NDArray[np.bool_] = np.logical_or.reduce(masks)
    return equal
