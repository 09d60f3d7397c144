"""Base classes of the displays, and shared functions: axes, dense rows, errors, grids.

Only functions that draw import matplotlib.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.metrics import mean_squared_error
from sklearn.utils import check_array

from .._data.columns import errors_naming_categories
from .._data.inputs import with_nan
from .._sklearn_compat import check_matplotlib_support

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

Rows: TypeAlias = Any  # an array, a sparse matrix or a data frame
Limits: TypeAlias = tuple[float, float]
ImageShape: TypeAlias = tuple[int, ...]

# Colour of the missing entries of an image.
_MISSING_COLOR = "C1"


def axes_or_new(
    ax: Axes | None, name: str, figsize: tuple[float, float] | None = None
) -> tuple[Axes, Figure | SubFigure]:
    """Return the given axes, or the axes of a new figure, and their figure."""
    check_matplotlib_support(f"{name}.plot")
    import matplotlib.pyplot as plt

    if ax is None:
        _, ax = plt.subplots(figsize=figsize, layout="constrained")
    return ax, ax.figure


# End of the error for rows with categories.
ONLY_NUMBERS = "This display draws columns of numbers only."


def dense_rows(X: Rows) -> NDArray[Any]:
    """Return rows as a dense array of floats, with NaN for missing values."""
    options = {"dtype": [np.float64, np.float32], "ensure_all_finite": "allow-nan"}
    with errors_naming_categories(X, ONLY_NUMBERS):
        X = check_array(with_nan(X), accept_sparse=True, **options)
    dense: NDArray[Any] = X.toarray() if issparse(X) else X
    return dense


def check_has_method(estimator: Any, method: str, classes: str) -> None:
    """Raise TypeError, which names the classes that have it, if an estimator lacks a method."""
    if not hasattr(estimator, method):
        raise TypeError(
            f"estimator must be a fitted {classes}, got {type(estimator).__name__}. If it is a "
            "step of a pipeline, pass this step and the rows that the step before it returns."
        )


def column_names(estimator: Any, names: Sequence[str] | None, n_features: int) -> list[str]:
    """Return names of columns: the given names, the names in `fit`, or "x0", "x1" and so on."""
    if names is None:
        names = getattr(estimator, "feature_names_in_", [f"x{i}" for i in range(n_features)])
    if len(names) != n_features:
        raise ValueError(f"feature_names are {len(names)}, but X has {n_features} columns.")
    return list(map(str, names))


def text_of(value: Any) -> str:
    """Return a number with three digits, or a category, as a text."""
    return f"{value:.3g}" if isinstance(value, float | np.floating) else str(value)


def shortened(text: str, length: int) -> str:
    """Return a text, shortened to a maximum length."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def observed_error(originals: NDArray[Any], rows: ArrayLike) -> float:
    """Return the mean squared error over the observed entries of the originals."""
    observed = ~np.isnan(originals)
    return float(mean_squared_error(originals[observed], np.asarray(rows)[observed]))


class AxesDisplay(ABC):
    """Base class of displays with one pair of axes."""

    ax_: Axes
    figure_: Figure | SubFigure

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw in; by default the axes of a new figure.

        Returns
        -------
        self : object
            The display, with `ax_` and `figure_`.
        """
        self._check()
        self.ax_, self.figure_ = axes_or_new(ax, type(self).__name__)
        self._draw(self.ax_)
        return self

    def _check(self) -> None:  # noqa: B027
        """Raise an exception if the data cannot be drawn."""

    @abstractmethod
    def _draw(self, ax: Axes) -> None:
        """Draw the data, and set the labels of the axes."""


class RowsDisplay(ABC):
    """Base class of displays with a grid of axes: one row of axes for each title."""

    rows: NDArray[Any]
    image_shape: ImageShape | None
    axes_: NDArray[Any]
    figure_: Figure | SubFigure

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes whose area is divided into panels; by default the axes of a new figure.

        Returns
        -------
        self : object
            The display, with `axes_` and `figure_`.
        """
        if self.image_shape is not None:
            check_image_shape(self.image_shape, self.rows.shape[1])
        self._draw(ax)
        return self

    @abstractmethod
    def _draw(self, ax: Axes | None) -> None:
        """Create the grid of axes, and draw the data."""

    def _make_panels(self, ax: Axes | None, titles: Collection[str], n_samples: int) -> None:
        """Create the grid of axes, and set a title for each row of axes."""
        width = 1.0 if self.image_shape is not None else 1.6
        figsize = (1.6 + width * n_samples, 0.3 + 1.05 * len(titles))
        ax, self.figure_ = axes_or_new(ax, type(self).__name__, figsize)
        self.axes_ = divide(ax, len(titles), n_samples)
        for axes in self.axes_.flat:
            axes.set(xticks=[], yticks=[])
        for axes, title in zip(self.axes_[:, 0], titles, strict=True):
            axes.set_ylabel(
                title, rotation=0, ha="right", va="center", fontsize="small", labelpad=6
            )

    def _draw_row(self, axes: Axes, row: NDArray[Any], limits: Limits) -> None:
        """Draw a row as a line or an image.

        A missing entry (NaN) interrupts the line, and is coloured in the image.
        """
        from matplotlib import colormaps
        from matplotlib.colors import to_rgba

        low, high = limits
        if self.image_shape is None:
            self._draw_line(axes, row, limits, color="C0")
            return

        image = ((row.reshape(self.image_shape) - low) / ((high - low) or 1.0)).clip(0, 1)
        if image.ndim == 3 and image.shape[2] > 1:
            image[np.isnan(image).any(axis=2)] = to_rgba(_MISSING_COLOR)[: image.shape[2]]
        cmap = colormaps["gray"].with_extremes(bad=_MISSING_COLOR)
        axes.imshow(image, cmap=cmap, vmin=0, vmax=1)

    def _draw_errors(self, axes: Axes, row: NDArray[Any], max_error: float) -> None:
        """Draw the errors of a row, on a symmetric scale; NaN as in `_draw_row`."""
        from matplotlib import colormaps

        if self.image_shape is None:
            self._draw_line(axes, row, (-max_error, max_error), color="C3")
            return
        image = row.reshape(self.image_shape)
        image = image.mean(axis=-1) if image.ndim == 3 else image
        cmap = colormaps["RdBu_r"].with_extremes(bad=_MISSING_COLOR)
        axes.imshow(image, cmap=cmap, vmin=-max_error, vmax=max_error)

    @staticmethod
    def _draw_line(axes: Axes, row: NDArray[Any], limits: Limits, color: str) -> None:
        """Draw a row as a line, with a dot for each entry between two missing entries."""
        axes.plot(row, linewidth=1, color=color)
        is_missing = np.pad(np.isnan(row), 1, constant_values=True)
        isolated = np.flatnonzero(is_missing[:-2] & ~is_missing[1:-1] & is_missing[2:])
        if len(isolated):
            axes.plot(isolated, row[isolated], ".", color=color, markersize=4)
        axes.set_ylim(*axes.yaxis.get_major_locator().nonsingular(*limits))  # if both are equal


def divide(
    ax: Axes,
    n_rows: int,
    n_columns: int,
    hspace: float = 0.1,
    height_ratios: Sequence[float] | None = None,
) -> NDArray[Any]:
    """Return a grid of axes in the area of the given axes, which are turned off."""
    ax.set_axis_off()
    spacing: dict[str, Any] = {"wspace": 0.05, "hspace": hspace, "height_ratios": height_ratios}
    if spec := ax.get_subplotspec():
        return spec.subgridspec(n_rows, n_columns, **spacing).subplots(squeeze=False)
    # axes that are not part of a grid
    (left, bottom), (right, top) = ax.get_position().get_points()
    box = {"left": left, "bottom": bottom, "right": right, "top": top}
    return ax.figure.add_gridspec(n_rows, n_columns, **spacing, **box).subplots(squeeze=False)


def check_image_shape(shape: ImageShape, n_features: int) -> None:
    """Raise ValueError if a shape is not the shape of an image with `n_features` entries."""
    if not _is_image_shape(shape):
        raise ValueError(
            f"image_shape={shape} must be (height, width), or (height, width, channels) with 1, 3 "
            "or 4 channels."
        )
    if np.prod(shape) != n_features:
        raise ValueError(
            f"image_shape={shape} holds {np.prod(shape)} numbers, but a row has {n_features}: the "
            f"product must be {n_features}."
        )


def _is_image_shape(shape: object) -> bool:
    sizes = np.atleast_1d(np.asarray(shape, dtype=object)).tolist()
    if not all(isinstance(size, int | np.integer) and size > 0 for size in sizes):
        return False
    return len(sizes) == 2 or (len(sizes) == 3 and sizes[2] in (1, 3, 4))
