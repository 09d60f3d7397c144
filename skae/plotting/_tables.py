"""Drawing of rows of a table as points, in units of the spread of each column."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils import check_array
from sklearn.utils.sparsefuncs import mean_variance_axis

from .._data.columns import categorical_mask, errors_naming_categories
from .._data.frames import entries_of_table
from .._data.inputs import is_data_frame, with_nan
from .._sklearn_compat import get_mask
from ._base import (
    ONLY_NUMBERS,
    Rows,
    RowsDisplay,
    axes_or_new,
    column_names,
    dense_rows,
    divide,
    shortened,
    text_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The colours are of the palette of Okabe and Ito, which colour-blind readers can distinguish. The
# markers also differ in shape and in brightness, for print.
OBSERVED_STYLE = {"marker": "o", "color": "0.6", "markeredgecolor": "none", "zorder": 2.0}
TRUE_STYLE = {
    "marker": "o",
    "color": "black",
    "markerfacecolor": "none",
    "markersize": 1.5,
    "markeredgewidth": 0.9,
    "zorder": 4.0,
}
RESULT_STYLES = [
    {"marker": marker, "color": color, "markeredgecolor": "none", "zorder": 3.0}
    for marker, color in zip("Ds^vPX", ("#D55E00", "#0072B2", "#009E73", "#CC79A7") * 2)  # noqa: B905
]

# Longer names of columns, and longer categories, are shortened.
_MAX_NAME = 24
_MAX_CATEGORY = 14

# Heights of a line of text and of the labels of panels, and widths of a panel of numbers and of one
# with categories, in inches.
_LINE, _LABELS = 0.19, 0.75
_WIDTHS = 1.1, 1.5

# Fonts are between these sizes, in points.
_FONT_SIZES = 4.0, 8.0


@dataclass(frozen=True)
class Series:
    """Entries that have the same marker.

    Parameters
    ----------
    label : str
        Text in the legend.
    values : ndarray of shape (n_rows, n_features)
        Values of the entries.
    is_drawn : ndarray of bool of shape (n_rows, n_features)
        Which entries are drawn.
    style : dict
        Options of the markers; `markersize` is relative.
    """

    label: str
    values: NDArray[Any]
    is_drawn: NDArray[np.bool_]
    style: dict[str, Any]

    def marker(self, size: float) -> dict[str, Any]:
        """Return the options of the markers for a size in points."""
        size *= self.style.get("markersize", 1.0)
        return {"linestyle": "none", **self.style, "markersize": size}


@dataclass(frozen=True)
class Columns:
    """Columns of a table: which have categories, and the spread of the others."""

    is_categorical: NDArray[np.bool_]
    center: NDArray[np.float64]
    scale: NDArray[np.float64]

    def standardised(self, table: NDArray[Any]) -> NDArray[np.float64]:
        """Return the numbers of a table in standard deviations; NaN for categories."""
        result: NDArray[np.float64] = numbers_of(table, self.is_categorical) - self.center
        return result / self.scale

    def errors(self, table: NDArray[Any], truth: NDArray[Any]) -> NDArray[np.float64]:
        """Return squared errors of numbers, and whether categories are wrong; NaN if unknown."""
        errors = np.square(self.standardised(table) - self.standardised(truth))
        chosen = self.is_categorical
        errors[:, chosen] = table[:, chosen] != truth[:, chosen]
        errors[missing_in(truth)] = np.nan
        return errors

    def summary(self, errors: NDArray[Any], name: str) -> str:
        """Return errors as the end of a label; `name` is "MSE" or "RMSE"."""
        numbers, wrong = errors[:, ~self.is_categorical], errors[:, self.is_categorical]
        texts = []
        if not np.isnan(numbers).all():
            error = np.nanmean(numbers)
            texts.append(f"{name} {np.sqrt(error) if name == 'RMSE' else error:.3g}")
        if not np.isnan(wrong).all():
            texts.append(f"{np.nanmean(wrong):.0%} of categories wrong")
        return ": " * bool(texts) + ", ".join(texts)


class TableRowsDisplay(RowsDisplay):
    """Base class of displays that draw rows as images, as lines, or as points of a table."""

    feature_names: Sequence[str] | None
    is_categorical: NDArray[Any] | None
    center: NDArray[Any] | None
    scale: NDArray[Any] | None
    n_features: int
    ordered: bool

    @property
    def _is_table(self) -> bool:
        return self.image_shape is None and not self.ordered

    def _draw(self, ax: Axes | None) -> None:
        self._check_numbers()
        if self._is_table:
            self._draw_points(ax)
        else:
            self._draw_panels(ax)

    @abstractmethod
    def _draw_points(self, ax: Axes | None) -> None:
        """Draw rows as points of a table."""

    @abstractmethod
    def _draw_panels(self, ax: Axes | None) -> None:
        """Draw rows as images or lines."""

    def _check_numbers(self) -> None:
        """Raise ValueError if columns have categories, and rows are not drawn as a table."""
        if self.rows.dtype == object and not self._is_table:
            name = f"image_shape={self.image_shape}" if self.image_shape else "ordered=True"
            raise ValueError(f"{name} is for numbers, and columns have categories.")

    def _columns(self, *tables: NDArray[Any]) -> Columns:
        """Return the columns. Tables are used for columns without spread in the rows."""
        is_categorical = np.zeros(self.rows.shape[1], dtype=bool)
        if self.is_categorical is not None:
            is_categorical |= self.is_categorical
        center, scale = spread_of(numbers_of(self.rows, is_categorical))
        if self.center is not None and self.scale is not None:
            center, scale = np.array(self.center), np.array(self.scale)
        has_none = ~_is_spread(center, scale)
        everything = [numbers_of(table, is_categorical) for table in (self.rows, *tables)]
        other_center, other_scale = spread_of(np.vstack(everything))
        center[has_none], scale[has_none] = other_center[has_none], other_scale[has_none]
        has_none = ~_is_spread(center, scale)
        return Columns(is_categorical, np.nan_to_num(center), np.where(has_none, 1.0, scale))

    def _draw_table(
        self, ax: Axes | None, series: Sequence[Series], columns: Columns, order: NDArray[Any]
    ) -> None:
        """Draw rows beside each other, and the columns that are first in an order."""
        chosen = np.sort(np.argsort(-order, kind="stable")[: max(1, self.n_features)])
        is_categorical = columns.is_categorical[chosen]
        n_lines = np.sum([s.is_drawn[:, chosen] for s in series], axis=0).max(axis=0)
        heights = np.where(is_categorical, np.maximum(1, n_lines), 1)
        size = self._make_table(ax, series, heights, bool(is_categorical.any()))
        numbers = [columns.standardised(s.values)[:, chosen] for s in series]
        limits = _limits(
            [z[s.is_drawn[:, chosen]] for s, z in zip(series, numbers, strict=True)],
            [s.style in (OBSERVED_STYLE, TRUE_STYLE) for s in series],
        )
        edges = np.cumsum([0, *heights]) - 0.5
        for i, axes in enumerate(self.axes_[0]):
            for low, high in zip(edges[:-1:2], edges[1::2], strict=True):
                axes.axhspan(low, high, color="0.95", linewidth=0, zorder=0)
            axes.axvline(0, color="0.75", linewidth=0.8, zorder=1)
            for s, z in zip(series, numbers, strict=True):
                index = np.flatnonzero(s.is_drawn[i, chosen] & ~is_categorical)
                places = (edges[index] + edges[index + 1]) / 2
                if len(index):  # the layout engine reads an empty line as a point at the origin
                    x = z[i, index].clip(*limits)
                    axes.plot(x, places, **s.marker(0.6 * size), clip_on=False)
            for j in np.flatnonzero(is_categorical):
                _draw_categories(axes, series, (i, chosen[j]), (edges[j], edges[j + 1]), size)
            axes.set(xlim=limits, ylim=(edges[-1], edges[0]), yticks=[])
            axes.locator_params(axis="x", nbins=3, integer=True)
            axes.tick_params(axis="x", labelsize=size)
            axes.set_title(f"row {i}", fontsize=size)
        self._name_columns(chosen, edges, size)

    def _make_table(
        self,
        ax: Axes | None,
        series: Sequence[Series],
        heights: NDArray[Any],
        has_categories: bool,
    ) -> float:
        """Create a legend, and a panel for each row below it; return the size of fonts."""
        width = max(3.0, _WIDTHS[has_categories] * len(self.rows))
        figsize = (1.6 + width, _LABELS + _LINE * (1 + heights.sum()))
        ax, self.figure_ = axes_or_new(ax, type(self).__name__, figsize)
        ax.set_axis_off()
        if engine := self.figure_.get_layout_engine():
            engine.execute(self.figure_.canvas.figure)  # computes the size of the axes
        height = ax.bbox.height / self.figure_.dpi  # inches
        legend = _LINE
        for _ in range(2):  # smaller fonts have a lower legend
            panel = max(height - _LABELS - legend, height / 3)
            size = float(np.clip(0.65 * 72 * panel / heights.sum(), *_FONT_SIZES))
            legend = _draw_legend(ax, series, size) / self.figure_.dpi
        grid = divide(ax, 2, len(self.rows), height_ratios=[legend, panel])
        for axes in grid[0]:
            axes.remove()
        self.axes_ = grid[1:]
        return size

    def _name_columns(self, chosen: NDArray[Any], edges: NDArray[Any], size: float) -> None:
        """Set the names of the columns, and a label for the axes of all panels."""
        n_features, n_panels = self.rows.shape[1], self.axes_.shape[1]
        names = column_names(None, self.feature_names, n_features)
        names = [shortened(names[j], _MAX_NAME) for j in chosen]
        places = (edges[:-1] + edges[1:]) / 2
        self.axes_[0, 0].set_yticks(places, names, fontsize=size, parse_math=False)
        self.axes_[0, 0].tick_params(axis="y", length=0)
        label = "standard deviations from the mean"
        if len(chosen) < n_features:
            label += f"\n({len(chosen)} of {n_features} columns)"
        # the middle of an even number of panels is the right edge of one of them
        middle = self.axes_[0, (n_panels - 1) // 2]
        middle.set_xlabel(label, x=0.5 if n_panels % 2 else 1.0, fontsize=size)


def _draw_categories(
    axes: Axes, series: Sequence[Series], entry: tuple[int, int], edges: Any, size: float
) -> None:
    """Draw the categories of an entry, with their markers, below each other."""
    drawn = [s for s in series if s.is_drawn[entry]]
    low, high = edges
    lines = (low + high) / 2 + np.arange(len(drawn)) - (len(drawn) - 1) / 2
    transform = axes.get_yaxis_transform()
    for s, y in zip(drawn, lines, strict=True):
        axes.plot([0.08], [y], transform=transform, **s.marker(0.6 * size))
        text = axes.annotate(
            shortened(text_of(s.values[entry]), _MAX_CATEGORY),
            (0.08, y),
            xycoords=transform,
            xytext=(0.9 * size, 0),
            textcoords="offset points",
            va="center_baseline",
            color="0.3" if s.style is OBSERVED_STYLE else s.style["color"],
            fontsize=size,
            clip_on=True,
        )
        text.set_parse_math(False)


def _draw_legend(ax: Axes, series: Sequence[Series], size: float) -> float:
    """Draw a legend at the upper edge, as wide as fits; return its height in pixels."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], **s.marker(0.6 * size), label=s.label) for s in series]
    options: dict[str, Any] = {"loc": "upper center", "frameon": False}
    options |= {"borderaxespad": 0, "handletextpad": 0.2}
    for n_columns in range(len(series), 0, -1):
        legend = ax.legend(handles=handles, ncols=n_columns, fontsize=size, **options)
        excess = legend.get_window_extent().width / ax.bbox.width
        if excess <= 1:
            break
    else:
        legend = ax.legend(handles=handles, fontsize=max(_FONT_SIZES[0], size / excess), **options)
    legend.set_in_layout(False)
    return float(legend.get_window_extent().height)


def _limits(numbers: Sequence[NDArray[Any]], are_given: Sequence[bool]) -> tuple[float, float]:
    """Return limits of an axis with a margin.

    They contain zero, all given numbers, and the results that are not far outside.
    """
    given = [z for z, is_given in zip(numbers, are_given, strict=True) if is_given]
    low, high = _range(given, -1.0, 1.0)
    lowest, highest = _range(numbers, low, high)
    low, high = max(lowest, low - (high - low)), min(highest, high + (high - low))
    margin = 0.08 * (high - low)
    return low - margin, high + margin


def _range(numbers: Sequence[NDArray[Any]], low: float, high: float) -> tuple[float, float]:
    """Return the range of numbers and of an interval."""
    drawn = np.concatenate([[low, high], *numbers])
    return float(np.nanmin(drawn)), float(np.nanmax(drawn))


def missing_in(table: NDArray[Any]) -> NDArray[np.bool_]:
    """Return a mask of the missing entries of an array of floats or objects."""
    is_nan: NDArray[np.bool_] = table != table
    is_none: NDArray[np.bool_] = table == None  # noqa: E711
    return is_nan | is_none


def numbers_of(table: NDArray[Any], is_categorical: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the numbers of a table, with NaN for categories and missing values."""
    numbers = np.full(table.shape, np.nan)
    numbers[:, ~is_categorical] = table[:, ~is_categorical].astype(np.float64)  # None is NaN
    return numbers


def spread_of(numbers: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of the observed values of each column, or NaN."""
    observed = np.ma.masked_array(numbers, mask=np.isnan(numbers))
    center, scale = observed.mean(axis=0), observed.std(axis=0)
    return np.ma.filled(center, np.nan), np.ma.filled(scale, np.nan)


def spread_of_rows(
    X: Rows, is_categorical: NDArray[np.bool_], missing_value: Any = np.nan
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of each column of any container, or NaN."""
    if issparse(X):
        center, variance = mean_variance_axis(X, axis=0)
        return center, np.sqrt(variance)
    return spread_of(numbers_of(table_of(X, is_categorical, missing_value), is_categorical))


def _is_spread(center: NDArray[Any], scale: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether a standard deviation is more than a rounding error."""
    result: NDArray[np.bool_] = scale > 10 * np.finfo(np.float64).eps * np.abs(center)
    return result


def categories_in(estimator: BaseEstimator, X: Rows) -> NDArray[np.bool_]:
    """Return which columns have categories: for the estimator, or by their dtypes."""
    known = getattr(estimator, "is_categorical_", None)
    if known is not None:
        return np.asarray(known, dtype=bool)
    if is_data_frame(X):
        return categorical_mask(X, "from_dtype")
    return np.zeros(np.shape(X)[1], dtype=bool)


def table_of(
    X: Rows, is_categorical: NDArray[np.bool_], missing_value: Any = np.nan
) -> NDArray[Any]:
    """Return rows as floats with NaN, or as objects with None if columns have categories."""
    if is_categorical.any():
        return entries_of_table(X)
    if issparse(X):
        return dense_rows(X)
    with errors_naming_categories(X, ONLY_NUMBERS):
        table = check_array(
            with_nan(X, missing_value), dtype=np.float64, ensure_all_finite="allow-nan"
        )
    return np.where(get_mask(table, missing_value), np.nan, table)
