"""Encoding of tables with categories as arrays of numbers, and decoding of such arrays.

A column of numbers becomes one column, standardised. A column of categories becomes one column for
each category: ``(indicator - p) / sqrt(p)`` for a category of frequency p. PCA of the encoded table
is factor analysis of mixed data [1]_. A missing entry is NaN in all columns of its category [2]_.

References
----------
.. [1] J. Pagès. "Analyse factorielle de données mixtes", Revue de statistique appliquée 52, 2004.
.. [2] V. Audigier, F. Husson, J. Josse. "A principal component method to impute missing values for
   mixed data", Advances in Data Analysis and Classification 10, 2016.
"""

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .. import _sklearn_compat
from . import frames
from .category_columns import CategoryColumns
from .column_statistics import CategoryStatistics, NumberStatistics, TableStatistics
from .inputs import is_data_frame, is_frame, with_nan
from .normal_scores import NormalScores
from .weights import ROUNDING, Weights

# Without limits from the user, a column may have this number of categories, or half as many
# categories as entries. Of a column with more, the categories with less than this share of the
# entries, or one entry, form a group.
_MAX_CATEGORIES, _ALWAYS_ALLOWED, _MIN_SHARE = 100, 20, 0.01
# Largest limit of the number of rows: larger integers may be too large for a float.
_MAX_COUNT = 2**62


class CategoryLimits(NamedTuple):
    """Parameters of `OneHotEncoder` that limit the number of categories of a column."""

    max_categories: int | None = None
    min_frequency: float | None = None


class _Column(Protocol):
    """Encoding of one column."""

    @property
    def width(self) -> int:
        """Number of encoded columns."""

    def encode(self, column: Any) -> NDArray[np.float64]:
        """Return the encoded columns of a column, with NaN for missing entries."""

    def missing(self, column: Any) -> NDArray[np.bool_]:
        """Return a mask of the missing entries of a column."""

    def decode(self, encoded: NDArray[Any]) -> NDArray[Any]:
        """Return the entries of encoded columns."""

    def errors(self, encoded: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
        """Return the error of each entry."""


@dataclass(frozen=True)
class _Numbers:
    """Encoding of a column of numbers, with the minimum and maximum of the training rows."""

    mean: float
    scale: float
    least: float
    most: float
    is_integer: bool
    width = 1

    def encode(self, column: Any) -> NDArray[np.float64]:
        encoded: NDArray[np.float64] = (frames.floats_of(column) - self.mean) / self.scale
        return encoded[:, None]

    def missing(self, column: Any) -> NDArray[np.bool_]:
        return np.isnan(frames.floats_of(column))

    def decode(self, encoded: NDArray[Any]) -> NDArray[Any]:
        values = encoded[:, 0] * self.scale + self.mean
        if self.is_integer:
            return frames.integers_between(values, self.least, self.most)
        for extreme in (self.least, self.most):  # a bound that holds to the last bit
            values = np.where(encoded[:, 0] == (extreme - self.mean) / self.scale, extreme, values)
        return values

    def errors(self, encoded: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
        errors: NDArray[Any] = np.square(encoded - others)[:, 0]
        return errors


@dataclass(frozen=True, eq=False)
class _Categories:
    """Encoding of a column of categories; a column without any entry has no encoded column.

    Attributes
    ----------
    categories : ndarray of object
        Categories of the training rows.
    indicators : ndarray of int
        Number of the indicator of each category. Rare categories have the same, the last.
    frequencies : ndarray of float
        Share of the training entries of each indicator.
    decoded : ndarray of object
        Most frequent category of each indicator.
    empty : object
        Entry that is decoded if there is no indicator.
    """

    categories: NDArray[Any]
    indicators: NDArray[np.intp]
    frequencies: NDArray[np.float64]
    decoded: NDArray[Any]
    empty: Any = None

    @property
    def width(self) -> int:
        return len(self.frequencies)

    def encode(self, column: Any) -> NDArray[np.float64]:
        codes = _codes(frames.entries_of(column), self.categories)
        known = codes >= 0
        encoded = np.full((len(codes), self.width), np.nan)
        indicators = np.eye(self.width)[self.indicators[codes[known]]]
        encoded[known] = (indicators - self.frequencies) / np.sqrt(self.frequencies)
        return encoded

    def missing(self, column: Any) -> NDArray[np.bool_]:
        missing: NDArray[np.bool_] = frames.entries_of(column) == None  # noqa: E711
        return missing

    def decode(self, encoded: NDArray[Any]) -> NDArray[Any]:
        if not self.width:
            return np.full(len(encoded), self.empty)
        return self.decoded[self._most_probable(encoded)]

    def errors(self, encoded: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
        if not self.width:
            return np.full(len(encoded), np.nan)
        is_wrong = self._most_probable(encoded) != self._most_probable(others)
        return np.where(np.isnan(encoded[:, 0]), np.nan, is_wrong)

    def _most_probable(self, encoded: NDArray[Any]) -> NDArray[np.intp]:
        """Return the indicator with the largest probability of each row."""
        p = self.frequencies
        number: NDArray[np.intp] = np.argmax(encoded * np.sqrt(p) + p, axis=1)
        return number


@dataclass(frozen=True, kw_only=True, eq=False)
class MixedColumns:
    """Encoding of a table that has at least one column of categories.

    Attributes
    ----------
    template : data frame of pandas or polars, or ndarray
        The training table without its rows.
    columns : list
        Encoding of each column.
    is_categorical : ndarray of bool
        Whether each column has categories.
    """

    template: Any
    columns: list[_Column]
    is_categorical: NDArray[np.bool_]

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"template": frames.state_of(self.template)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state | {"template": frames.template_of(state["template"])})

    @property
    def categories(self) -> list[NDArray[Any]]:
        """Categories of each column that has categories."""
        chosen = np.flatnonzero(self.is_categorical)
        return [self.columns[i].categories for i in chosen]  # type: ignore[attr-defined]

    @property
    def groups(self) -> NDArray[np.intp]:
        """Number of the table's column for each encoded column."""
        return np.repeat(np.arange(len(self.columns)), [column.width for column in self.columns])

    @property
    def category_columns(self) -> CategoryColumns:
        """The encoded columns of categories, and the encodings of normal scores."""
        widths = [column.width for column in self.columns]
        ends = np.cumsum(widths)
        frequencies, slices, scores = np.full(sum(widths), np.nan), [], {}
        for column, end in zip(self.columns, ends.tolist(), strict=True):
            start = end - column.width
            if isinstance(column, NormalScores):
                scores[start] = column
            elif isinstance(column, _Categories) and column.width:
                frequencies[start:end] = column.frequencies
                slices.append((start, end))
        return CategoryColumns(tuple(slices), frequencies, scores)

    @property
    def empty_columns(self) -> list[int]:
        """Numbers of the columns without any value in the training rows."""
        return [i for i, column in enumerate(self.columns) if not column.width]

    def encode(self, X: Any) -> NDArray[np.float64]:
        """Return the encoded table; categories that are not in the training rows are missing."""
        return np.hstack(self._of_columns(X, "encode"))

    def decode(
        self, encoded: NDArray[Any], index: Any = None, given: dict[int, Any] | None = None
    ) -> Any:
        """Return an encoded table as a table like the training table.

        `index` is the index of the rows of a pandas frame. `given` has the values of all rows for
        some columns.
        """
        parts = zip(self.columns, self._split(encoded), strict=True)
        entries = [column.decode(part) for column, part in parts]
        for i, value in (given or {}).items():
            entries[i] = frames.as_objects([value] * len(encoded))
        if isinstance(self.template, np.ndarray):
            return np.column_stack(entries).astype(self.template.dtype)
        likes = [frames.column_of(self.template, i) for i in range(len(entries))]
        series = [frames.column_like(*pair) for pair in zip(likes, entries, strict=True)]
        if is_frame(self.template, "polars"):
            return type(self.template)(series)
        frame = type(self.template)(dict(enumerate(series)))
        frame.columns = self.template.columns
        return frame if index is None else frame.set_axis(index)

    def missing(self, X: Any) -> NDArray[np.bool_]:
        """Return a mask of the missing entries of a table; unknown categories are not missing."""
        return np.column_stack(self._of_columns(X, "missing"))

    def unknown(self, X: Any, encoded: NDArray[Any]) -> NDArray[np.bool_]:
        """Return a mask of the entries of a table that are categories of no training row.

        `encoded` is the encoded table.
        """
        parts = self._split(encoded)
        has_code = [~np.isnan(part).any(axis=1) for part in parts]
        mask: NDArray[np.bool_] = ~np.column_stack(has_code) & ~self.missing(X)
        return mask

    def _of_columns(self, X: Any, method: str) -> list[NDArray[Any]]:
        """Return the result of a method for each column of a table."""
        results, names = [], frames.labels_of(X)
        for i, column in enumerate(self.columns):
            with frames.errors_naming_column(names[i]):
                results.append(getattr(column, method)(frames.column_of(X, i)))
        return results

    def filled(self, X: Any, encoded: NDArray[Any], missing: NDArray[np.bool_]) -> Any:
        """Return a table with decoded entries at missing ones; the others are unchanged."""
        decoded = self.decode(encoded, getattr(X, "index", None))
        if isinstance(X, np.ndarray):
            return np.where(missing, decoded, X)
        names, result = frames.labels_of(X), X.clone() if is_frame(X, "polars") else X.copy()
        for i in np.flatnonzero(missing.any(axis=0)).tolist():
            entries = frames.entries_of(frames.column_of(decoded, i))
            parts = frames.column_of(X, i), missing[:, i], entries
            with frames.errors_naming_column(names[i]):
                column = frames.with_entries(*parts, frames.column_of(self.template, i))
            if is_frame(X, "polars"):
                result = result.with_columns(column)
            else:
                result.isetitem(i, column)
        return result

    def errors(self, encoded: NDArray[Any], others: NDArray[Any]) -> NDArray[np.float64]:
        """Return the error of each entry of the table; NaN for missing entries.

        It is the squared error in standard deviations for a number, and for a category, whether
        the most probable category is another one.
        """
        parts = zip(self.columns, self._split(encoded), self._split(others), strict=True)
        return np.column_stack([column.errors(ours, theirs) for column, ours, theirs in parts])

    def row_of(self, values: dict[int, Any]) -> NDArray[np.float64]:
        """Return an encoded row with values of some columns, and NaN for all other entries.

        Raises
        ------
        ValueError, TypeError
            If a value is missing, is no category of its column, or is no number.
        """
        row = np.full((1, len(self.groups)), np.nan)
        names = frames.labels_of(self.template)
        for i, value in values.items():
            with frames.errors_naming_column(names[i]):
                encoded = self.columns[i].encode(with_nan(frames.as_objects([value])))
            row[:, self.groups == i] = encoded
            if np.isnan(encoded).any() or not encoded.size:
                kind = "a number"
                if self.is_categorical[i]:
                    kind = f"one of {list(self.columns[i].categories)}"  # type: ignore[attr-defined]
                raise ValueError(
                    f"The value of column {names[i]!r} is {value!r}: it must be {kind}."
                )
        return row

    def matched(self, encoded: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
        """Return rows whose normal scores have the distribution of the training rows.

        Parameters
        ----------
        encoded : ndarray of shape (n_rows, n_encoded)
            Encoded rows.
        others : ndarray of shape (n_others, n_encoded)
            Encoded rows whose columns have the distribution of the columns of `encoded`. Their
            quantiles are mapped to the quantiles of the training rows.
        """
        parts = zip(self.columns, self._split(encoded), self._split(others), strict=True)
        return np.hstack(
            [
                column.matched(ours, theirs) if isinstance(column, NormalScores) else ours
                for column, ours, theirs in parts
            ]
        )

    def sums(self, encoded: NDArray[Any]) -> NDArray[Any]:
        """Return the sum over the encoded columns of each column."""
        return np.column_stack([part.sum(axis=1) for part in self._split(encoded)])

    def _split(self, encoded: NDArray[Any]) -> list[NDArray[Any]]:
        """Return the encoded columns of each column."""
        ends = np.cumsum([column.width for column in self.columns])[:-1]
        return np.split(encoded, ends, axis=1)


def mixed_columns(
    X: Any,
    categorical_features: Any,
    limits: CategoryLimits,
    *,
    weights: Weights = None,
    as_normal_scores: bool = False,
) -> MixedColumns | None:
    """Return the encoding of a table of training rows, or None if no column has categories.

    Parameters
    ----------
    X : data frame or ndarray
        Training rows.
    categorical_features : object
        Parameter of the estimator.
    limits : CategoryLimits
        Parameters of the estimator.
    weights : ndarray of shape (n_rows,), optional
        Weights of the rows.
    as_normal_scores : bool, default=False
        Whether numbers are encoded as normal scores, and not standardised.

    Raises
    ------
    ValueError, TypeError
        If a column cannot be encoded, or if no column has a value.
    """
    is_categorical = categorical_mask(X, categorical_features)
    if not is_categorical.any():
        return None
    table = TableStatistics.of(X, is_categorical, weights)
    return columns_from_statistics(table, limits, as_normal_scores=as_normal_scores)


def columns_from_statistics(
    table: TableStatistics, limits: CategoryLimits, *, as_normal_scores: bool = False
) -> MixedColumns:
    """Return the encoding of a table with categories whose statistics are given.

    Raises
    ------
    ValueError, TypeError
        If a column cannot be encoded, or if no column has a value.
    """
    columns = []
    for name, column in zip(frames.labels_of(table.template), table.columns, strict=True):
        with frames.errors_naming_column(name):
            if isinstance(column, CategoryStatistics):
                columns.append(_categories(column, name, limits))
            else:
                columns.append(_numbers(column, as_normal_scores))
    if not any(column.width for column in columns):
        raise ValueError("X has no value at all: all of it is missing.")
    return MixedColumns(
        template=table.template, columns=columns, is_categorical=table.is_categorical
    )


@contextmanager
def errors_naming_categories(X: Any, hint: str) -> Iterator[None]:
    """Name the columns of a data frame that have categories if they cannot be converted."""
    try:
        yield
    except (TypeError, ValueError) as error:
        of_types = re.search("convert|cast", str(error))
        if not (of_types and (chosen := categorical_columns(X, "from_dtype"))):
            raise
        names = [frames.labels_of(X)[i] for i in chosen]
        message = f"X has categories in columns {names}, which are no numbers. {hint}"
        raise ValueError(message) from error


def categorical_mask(X: Any, categorical_features: Any) -> NDArray[np.bool_]:
    """Return a mask of the columns that have categories."""
    return np.isin(np.arange(X.shape[1]), categorical_columns(X, categorical_features))


def categorical_columns(X: Any, categorical_features: Any) -> Sequence[int]:
    """Return the indices of the columns that have categories."""
    if categorical_features is None:
        return []
    if not isinstance(categorical_features, str):
        key = np.asarray(categorical_features).tolist()
        with _sklearn_compat.errors_naming(f"categorical_features={key!r}"):
            chosen: Sequence[int] = _sklearn_compat.column_indices(X, key)
        return chosen
    return frames.columns_with_categories(X) if is_data_frame(X) else []


def _numbers(column: NumberStatistics | None, as_normal_scores: bool) -> _Column:
    """Return the encoding of a column of numbers; None for a column without any value."""
    if column is None:
        nothing = np.empty(0)
        return _Categories(nothing, nothing.astype(np.intp), nothing, nothing, empty=0.0)
    if as_normal_scores:
        return NormalScores(column)
    return _Numbers(column.mean, column.scale, column.least, column.most, column.is_integer)


def _categories(column: CategoryStatistics, name: Any, limits: CategoryLimits) -> _Column:
    """Return the encoding of a column of categories, with the limits of `OneHotEncoder`."""
    categories = column.categories
    counts = np.array([column.counts[category] for category in categories], dtype=np.float64)
    if limits == CategoryLimits():
        limits = _default_limits(len(categories), counts.sum(), name)
    return _Categories(categories, *_indicators(_are_rare(counts, limits), counts, categories))


def _are_rare(counts: NDArray[np.float64], limits: CategoryLimits) -> NDArray[np.bool_]:
    """Return a mask of the categories that form one group, as in `OneHotEncoder`.

    `counts` are the numbers of rows of the categories, or the sums of their weights, which
    `OneHotEncoder` does not accept.
    """
    least = limits.min_frequency or 0
    least = min(least, _MAX_COUNT) if isinstance(least, Integral) else least * counts.sum()
    rare: NDArray[np.bool_] = counts < least * (1 - ROUNDING)
    n_indicators = (~rare).sum() + 1  # plus one also without rare categories, as there
    if limits.max_categories is not None and limits.max_categories < n_indicators:
        order = np.argsort(counts, kind="stable")
        rare[order[: len(counts) - limits.max_categories + 1]] = True
    return rare


def _default_limits(n_categories: int, n_entries: float, name: Any) -> CategoryLimits:
    """Return limits for a column with very many categories, with a warning; else no limits."""
    if n_categories <= min(_MAX_CATEGORIES, max(_ALWAYS_ALLOWED, n_entries / 2)):
        return CategoryLimits()
    least = max(2, math.ceil(_MIN_SHARE * n_entries))
    _sklearn_compat.warn(
        f"Column {name!r} of X has {n_categories} categories: those with fewer than {least} rows "
        "form one group. Remove the column if it identifies the rows, or set max_categories or "
        "min_frequency.",
        UserWarning,
    )
    return CategoryLimits(min_frequency=least)


def _indicators(
    rare: NDArray[np.bool_], counts: NDArray[np.float64], categories: NDArray[Any]
) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[Any]]:
    """Return the indicator of each category, and frequency and category of each indicator."""
    indicators = np.where(rare, (~rare).sum(), np.cumsum(~rare) - 1)
    frequencies = np.bincount(indicators, counts) / counts.sum()
    decoded = categories[~rare]
    if rare.any():
        decoded = frames.as_objects([*decoded, categories[rare][np.argmax(counts[rare])]])
    return indicators, frequencies, decoded


def _codes(entries: NDArray[Any], categories: NDArray[Any]) -> NDArray[np.intp]:
    """Return the number of the category of each entry; -1 for all others."""
    numbers = {category: i for i, category in enumerate(categories)}
    return np.fromiter((numbers.get(entry, -1) for entry in entries), np.intp, len(entries))
