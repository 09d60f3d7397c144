"""Shared functions of the displays: axes, dense rows, errors, grids of panels.

Only functions that draw import matplotlib.
"""

from numbers import Integral

import numpy as np
from scipy.sparse import issparse
from sklearn.metrics import mean_squared_error
from sklearn.utils import check_array

from .._data.inputs import with_nan
from .._sklearn_compat import check_matplotlib_support

# Colour of the missing entries of an image.
_MISSING_COLOR = "C1"


def axes_or_new(ax, name, figsize=None):
    """Return the given axes, or the axes of a new figure, and their figure."""
    check_matplotlib_support(f"{name}.plot")
    import matplotlib.pyplot as plt

    if ax is None:
        _, ax = plt.subplots(figsize=figsize, layout="constrained")
    return ax, ax.figure


def dense_rows(X):
    """Return rows as a dense array of floats, with NaN for missing values."""
    options = {"dtype": [np.float64, np.float32], "ensure_all_finite": "allow-nan"}
    X = check_array(with_nan(X), accept_sparse=True, **options)
    return X.toarray() if issparse(X) else X


def observed_error(originals, rows):
    """Return the mean squared error over the observed entries of the originals."""
    observed = ~np.isnan(originals)
    return mean_squared_error(originals[observed], np.asarray(rows)[observed])


class RowsDisplay:
    """Base class of displays with a grid of axes: one row of axes for each title."""

    def _make_panels(self, ax, titles, n_samples):
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

    def _draw_row(self, axes, row, limits):
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

    def _draw_errors(self, axes, row, most):
        """Draw the errors of a row, on a scale from -most to most; NaN as in `_draw_row`."""
        from matplotlib import colormaps

        if self.image_shape is None:
            self._draw_line(axes, row, (-most, most), color="C3")
            return
        image = row.reshape(self.image_shape)
        image = image.mean(axis=-1) if image.ndim == 3 else image
        cmap = colormaps["RdBu_r"].with_extremes(bad=_MISSING_COLOR)
        axes.imshow(image, cmap=cmap, vmin=-most, vmax=most)

    @staticmethod
    def _draw_line(axes, row, limits, color):
        """Draw a row as a line, with a dot for each entry between two missing entries."""
        axes.plot(row, linewidth=1, color=color)
        is_gap = np.pad(np.isnan(row), 1, constant_values=True)
        alone = np.flatnonzero(is_gap[:-2] & ~is_gap[1:-1] & is_gap[2:])
        if len(alone):
            axes.plot(alone, row[alone], ".", color=color, markersize=4)
        axes.set_ylim(*axes.yaxis.get_major_locator().nonsingular(*limits))  # if both are equal


def divide(ax, n_rows, n_columns, hspace=0.1):
    """Return a grid of axes in the area of the given axes, which are turned off."""
    ax.set_axis_off()
    shape_and_gaps = {"nrows": n_rows, "ncols": n_columns, "wspace": 0.05, "hspace": hspace}
    if spec := ax.get_subplotspec():
        grid = spec.subgridspec(**shape_and_gaps)
    else:  # axes that are not part of a grid
        (left, bottom), (right, top) = ax.get_position().get_points()
        box = {"left": left, "bottom": bottom, "right": right, "top": top}
        grid = ax.figure.add_gridspec(**shape_and_gaps, **box)
    return grid.subplots(squeeze=False)


def check_image_shape(shape, n_features):
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


def _is_image_shape(shape):
    shape = tuple(np.atleast_1d(np.asarray(shape, dtype=object)))
    sizes = all(isinstance(size, Integral) and size > 0 for size in shape)
    return sizes and (len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4)))
