"""Mean of each column, and common scale of all columns."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._data.table import Table
from .._data.weights import Weights, weighted

OVERFLOW_MESSAGE = "X holds numbers whose squares overflow: divide it by a constant."
# Squares of numbers below the first limit lose digits. Weights that are divided by a scale below
# the second limit would overflow.
_SMALL, _SMALLEST = 1e-140, 1e-290
# If the scale exceeds this limit, or is below its inverse, numbers that are a few times larger or
# smaller than the scale overflow or underflow in float32.
_LARGE_FLOAT32 = 1e37


def location_and_scale(table: Table) -> tuple[NDArray[np.float64], float]:
    """Return the mean of each column, and the root mean square of the centred entries.

    Parameters
    ----------
    table : Table
        The rows.

    Returns
    -------
    mean : ndarray of shape (n_features,)
        Weighted mean of each column, in double precision.
    scale : float
        Common scale of all columns; 1 if no column varies.

    Raises
    ------
    ValueError
        If squares of the entries overflow, or if the scale of float32 rows is near the limits of
        float32.
    """
    # The first row is subtracted before the sums, so that large means do not reduce the precision
    # of the variance (Chan, Golub & LeVeque, The American Statistician 37, 1983, section 3).
    shift = table.gather(slice(0, 1))[0].astype(np.float64)

    def moments(unit: float) -> tuple[NDArray[np.float64], float]:
        def sums(block: NDArray[Any], weights: Weights) -> tuple[NDArray[Any], NDArray[Any]]:
            distances = block - shift if unit == 1 else (block - shift) / unit
            products = weighted(distances, weights)
            return products.sum(axis=0), np.einsum("ij,ij->j", products, distances)

        total, squares = table.sum_blocks(sums)
        mean = total / table.total_weight
        variance = squares / table.total_weight - mean**2
        return unit * mean, unit * float(np.sqrt(variance.clip(min=0).mean()))

    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        mean, scale = moments(1)
        if scale < _SMALL:  # squares may have underflowed
            (max_distance,) = table.reduce_blocks(
                np.maximum, lambda block, _: [abs(block - shift).max(initial=0)]
            )
            mean, scale = moments(float(max_distance)) if max_distance > 0 else (mean, 1.0)
            scale = max(scale, _SMALLEST)
    if not np.isfinite(scale):
        raise ValueError(OVERFLOW_MESSAGE)
    if table.dtype == np.float32 and not 1 / _LARGE_FLOAT32 <= scale <= _LARGE_FLOAT32:
        raise ValueError(
            f"X varies by {scale:.0e}, which is near the limits of its type, {table.dtype}: "
            "convert it to float64, or divide it by a constant."
        )
    return shift + mean, scale
