"""Statistics of the columns of a table with categories, which determine the encoding.

Statistics of parts of a table, such as partitions of a Dask collection, can be merged.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler

from . import frames
from .weights import Weights, quantile, with_mean_of_at_least_one

# Shares of the values at or below each quantile of a column of numbers.
LEVELS = np.linspace(0, 1, 201)


@dataclass(frozen=True, kw_only=True, eq=False)
class NumberStatistics:
    """Statistics of a column of numbers.

    Attributes
    ----------
    n_values : float
        Number of values that are not missing, or the sum of their weights; at least one.
    mean, variance : float
        Mean and variance of the values.
    scale : float
        Standard deviation; 1 if all values are equal, see `StandardScaler`.
    least, most : float or int
        Minimum and maximum.
    is_integer : bool
        Whether the type of the values is an integer type.
    is_whole : bool
        Whether all values are whole numbers.
    quantiles : ndarray of shape (n_levels,)
        Quantiles of the values at `LEVELS`.
    """

    n_values: float
    mean: float
    variance: float
    scale: float
    least: float
    most: float
    is_integer: bool
    is_whole: bool
    quantiles: NDArray[np.float64]

    @classmethod
    def of(cls, column: Any, weights: Weights = None) -> Self | None:
        """Return the statistics of a column, or None if it has no value.

        `weights` are the weights of the rows.

        Raises
        ------
        ValueError
            If the squares of the values overflow.
        """
        values = frames.floats_of(column)
        is_observed = ~np.isnan(values)
        values = values[is_observed]
        if not len(values):
            return None
        if weights is not None:
            weights = with_mean_of_at_least_one(weights[is_observed])
        is_integer, observed = frames.is_integer(column), values.tolist()
        if is_integer:  # exact, also above 2**53
            observed = [int(entry) for entry in frames.entries_of(column) if entry is not None]
        return cls._from_rows(
            values,
            weights,
            least=min(observed),
            most=max(observed),
            is_integer=is_integer,
            is_whole=bool((values == np.rint(values)).all()),
            quantiles=quantile(values, LEVELS, weights),
        )

    @classmethod
    def merged(cls, parts: Sequence[Self | None]) -> Self | None:
        """Return the statistics of a column whose parts have the given statistics."""
        present = [part for part in parts if part is not None]
        if len(present) < 2:
            return present[0] if present else None
        # two values with the mean and the variance of each part
        means = np.array([part.mean for part in present])
        deviations = np.sqrt([part.variance for part in present])
        counts = np.array([part.n_values for part in present])
        return cls._from_rows(
            np.concatenate([means - deviations, means + deviations]),
            np.tile(counts / 2, 2),
            least=min(part.least for part in present),
            most=max(part.most for part in present),
            is_integer=all(part.is_integer for part in present),
            is_whole=all(part.is_whole for part in present),
            quantiles=np.quantile(
                np.concatenate([part.quantiles for part in present]),
                LEVELS,
                weights=np.repeat(counts, len(LEVELS)),
                method="inverted_cdf",
            ),
        )

    @classmethod
    def _from_rows(cls, values: NDArray[np.float64], weights: Weights, **others: Any) -> Self:
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            scaler = StandardScaler().fit(values[:, None], sample_weight=weights)
        moments = scaler.mean_[0], scaler.var_[0], scaler.scale_[0]
        mean, variance, scale = map(float, moments)
        if not np.isfinite([mean, scale]).all():
            raise ValueError("its squares overflow. Divide it by a constant.")
        n_values = len(values) if weights is None else float(weights.sum())
        return cls(n_values=n_values, mean=mean, variance=variance, scale=scale, **others)


@dataclass(frozen=True, kw_only=True)
class CategoryStatistics:
    """Statistics of a column of categories.

    Attributes
    ----------
    counts : Counter
        Number of entries of each category, or the sum of their weights.
    of_dtype : list or None
        Categories of the dtype of the column, if it has any.
    """

    counts: Counter[Any]
    of_dtype: list[Any] | None

    @classmethod
    def of(cls, column: Any, weights: Weights = None) -> Self:
        """Return the statistics of a column; `weights` are the weights of the rows."""
        entries = frames.entries_of(column).tolist()
        counts = Counter[Any](entries if weights is None else ())
        if weights is not None:
            for entry, weight in zip(entries, weights.tolist(), strict=True):
                counts[entry] += weight
        counts.pop(None, None)
        of_dtype: Any = getattr(column.dtype, "categories", None)
        of_dtype = of_dtype.to_list() if hasattr(of_dtype, "to_list") else None
        return cls(counts=counts, of_dtype=of_dtype)

    @classmethod
    def merged(cls, parts: Sequence[Self]) -> Self:
        """Return the statistics of a column whose parts have the given statistics."""
        lists = [part.of_dtype for part in parts if part.of_dtype is not None]
        return cls(
            counts=sum((part.counts for part in parts), Counter()),
            of_dtype=list(dict.fromkeys(chain(*lists))) if len(lists) == len(parts) else None,
        )

    @property
    def categories(self) -> NDArray[Any]:
        """Categories with entries, in the order of the dtype, or sorted.

        Raises
        ------
        TypeError
            If the entries cannot be sorted.
        """
        try:
            known = sorted(self.counts) if self.of_dtype is None else self.of_dtype
        except TypeError:
            types = frames.type_names(set(map(type, self.counts)))
            raise TypeError(f"its entries have {types}. Convert them to strings.") from None
        return frames.as_objects([category for category in known if self.counts[category]])


@dataclass(frozen=True, kw_only=True, eq=False)
class TableStatistics:
    """Statistics of the columns of a table.

    Attributes
    ----------
    template : data frame or ndarray
        The table without its rows.
    columns : list
        Statistics of each column; None for a column of numbers without any value.
    is_categorical : ndarray of bool
        Whether each column has categories.
    """

    template: Any
    columns: list[NumberStatistics | CategoryStatistics | None]
    is_categorical: NDArray[np.bool_]

    @classmethod
    def of(cls, X: Any, is_categorical: NDArray[np.bool_], weights: Weights = None) -> Self:
        """Return the statistics of a table; `weights` are the weights of its rows.

        Raises
        ------
        ValueError, TypeError
            If a column of numbers has other values, or if two columns have the same name.
        """
        names = frames.labels_of(X)
        repeated = [name for name, count in Counter(names).items() if count > 1]
        if repeated:
            raise ValueError(f"X has several columns with the name {repeated[0]!r}: rename them.")
        columns: list[NumberStatistics | CategoryStatistics | None] = []
        for i, name in enumerate(names):
            kind = CategoryStatistics if is_categorical[i] else NumberStatistics
            with frames.errors_naming_column(name):
                columns.append(kind.of(frames.column_of(X, i), weights))
        return cls(template=frames.without_rows(X), columns=columns, is_categorical=is_categorical)

    @classmethod
    def merged(cls, parts: Sequence[Self], template: Any) -> Self:
        """Return the statistics of a table whose parts have the given statistics."""
        is_categorical = parts[0].is_categorical
        columns = []
        for i, name in enumerate(frames.labels_of(template)):
            kind: Any = CategoryStatistics if is_categorical[i] else NumberStatistics
            with frames.errors_naming_column(name):
                columns.append(kind.merged([part.columns[i] for part in parts]))
        return cls(template=template, columns=columns, is_categorical=is_categorical)
