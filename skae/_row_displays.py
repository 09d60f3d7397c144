"""Pictures of rows, as images or as lines: what is left of them, and what was filled in.

matplotlib is imported when something is drawn.
"""

from numbers import Integral

import numpy as np
from scipy.sparse import issparse
from sklearn.metrics import mean_squared_error, root_mean_squared_error
from sklearn.utils import check_array

from ._sklearn import check_matplotlib_support, get_mask

# Missing entries of an image, a colour beside the greys; and lines or dots of what was filled in.
_MISSING_COLOR, _FILLED_COLOR = "C1", "C3"


def axes_or_new(ax, name, figsize=None):
    """Return the axes to draw in, and their figure."""
    check_matplotlib_support(f"{name}.plot")
    import matplotlib.pyplot as plt

    if ax is None:
        _, ax = plt.subplots(figsize=figsize, layout="constrained")
    return ax, ax.figure


def dense_rows(X):
    """Return rows as a dense array."""
    X = check_array(X, accept_sparse=True)
    return X.toarray() if issparse(X) else X


class _RowsDisplay:
    """A grid of axes, with a panel of rows beside each title."""

    def _make_panels(self, ax, titles, n_samples):
        """Make the axes of the panels, each with its title."""
        width = 1.0 if self.image_shape is not None else 1.6
        figsize = (1.6 + width * n_samples, 0.3 + 1.05 * len(titles))
        ax, self.figure_ = axes_or_new(ax, type(self).__name__, figsize)
        self.axes_ = _divide(ax, len(titles), n_samples)
        for axes in self.axes_.flat:
            axes.set(xticks=[], yticks=[])
        for axes, title in zip(self.axes_[:, 0], titles, strict=True):
            axes.set_ylabel(
                title, rotation=0, ha="right", va="center", fontsize="small", labelpad=6
            )

    def _draw_row(self, axes, row, limits):
        """Draw a row; what is NaN is a gap of a line, and coloured in an image."""
        low, high = limits
        if self.image_shape is None:
            axes.plot(row, linewidth=1, color="C0")
            axes.set_ylim(low, high)
            return
        from matplotlib import colormaps
        from matplotlib.colors import to_rgba

        image = ((row.reshape(self.image_shape) - low) / ((high - low) or 1.0)).clip(0, 1)
        if image.ndim == 3 and image.shape[2] > 1:
            image[np.isnan(image).any(axis=2)] = to_rgba(_MISSING_COLOR)[: image.shape[2]]
        cmap = colormaps["gray"].with_extremes(bad=_MISSING_COLOR)
        axes.imshow(image, cmap=cmap, vmin=0, vmax=1)

    def _draw_errors(self, axes, row, most):
        """Draw the errors of a row, of which zero is the middle."""
        if self.image_shape is None:
            axes.plot(row, linewidth=1, color="C3")
            axes.set_ylim(-most, most)
            return
        image = row.reshape(self.image_shape)
        image = image.mean(axis=-1) if image.ndim == 3 else image
        axes.imshow(image, cmap="RdBu_r", vmin=-most, vmax=most)


class ReconstructionDisplay(_RowsDisplay):
    """Rows, what is left of them, and what is lost.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_features)
        What was encoded.
    reconstructions : dict
        By name, arrays of the same shape.
    image_shape : tuple of int, optional
        Shape of a row as an image, (height, width) or (height, width, channels). Without it, rows
        are drawn as lines over their features.

    Attributes
    ----------
    axes_ : ndarray of shape (n_panels, n_samples)
        A row of axes for the originals, and two for each reconstruction.
    figure_ : matplotlib Figure
        The figure.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderTransformer
    >>> from skae.plotting import ReconstructionDisplay
    >>> X = load_digits().data[:300]
    >>> ae = AutoencoderTransformer(8, max_steps=20, random_state=0).fit(X)
    >>> display = ReconstructionDisplay.from_estimator(ae, X, image_shape=(8, 8))
    >>> display.axes_.shape
    (3, 8)
    >>> plt.close(display.figure_)
    """

    def __init__(self, rows, reconstructions, *, image_shape=None):
        self.rows = rows
        self.reconstructions = reconstructions
        self.image_shape = image_shape

    @classmethod
    def from_estimator(cls, estimator, X, *, other=None, n_samples=8, image_shape=None, ax=None):
        """Reconstruct some rows and draw them.

        Parameters
        ----------
        estimator : estimator
            Fitted, with `transform` and `inverse_transform`.
        X : array-like of shape (n_samples, n_features)
            Rows, of which the first are drawn.
        other : estimator, optional
            Another one to hold beside it, such as PCA.
        n_samples : int, default=8
            How many rows, at most.
        image_shape : tuple of int, optional
            See the class.
        ax : matplotlib Axes, optional
            Where to draw; its area is divided.

        Returns
        -------
        display : ReconstructionDisplay

        Raises
        ------
        ValueError
            If `image_shape` is none, or does not hold as many numbers as a row.
        """
        rows = (X.tocsr() if issparse(X) else X)[:n_samples]
        reconstructions = {
            name: np.asarray(e.inverse_transform(e.transform(rows)))
            for name, e in _named(estimator, other).items()
        }
        return cls(dense_rows(rows), reconstructions, image_shape=image_shape).plot(ax=ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; its area is divided.

        Returns
        -------
        self : ReconstructionDisplay
        """
        if self.image_shape is not None:
            _check_image_shape(self.image_shape, self.rows.shape[1])
        titles, drawn = ["original"], [self.rows]
        for name, rows in self.reconstructions.items():
            error = mean_squared_error(self.rows, rows)
            titles += [f"{name}\nMSE {error:.3g}", f"{name}\nminus original"]
            drawn += [rows, rows - self.rows]
        self._make_panels(ax, titles, len(self.rows))
        # an image shows the range of the originals, and lines may leave it
        shown = drawn[:1] if self.image_shape is not None else drawn[:2]
        limits = np.min(shown), np.max(shown)
        most = np.abs(drawn[2::2]).max() or 1.0
        for i, rows in enumerate(drawn):
            for axes, row in zip(self.axes_[i], rows, strict=True):
                if i > 0 and i % 2 == 0:
                    self._draw_errors(axes, row, most)
                else:
                    self._draw_row(axes, row, limits)
        return self


class ImputationDisplay(_RowsDisplay):
    """Rows with missing values, what was filled in, and what had been there, if that is known.

    Missing entries of an image are orange. In lines, entries that were filled in are red dots.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_features)
        What was imputed, with NaN for what is missing.
    filled : dict
        By name, arrays of the same shape.
    truth : ndarray of shape (n_samples, n_features), optional
        The complete rows. Titles then give the root mean squared error over the missing entries.
    image_shape : tuple of int, optional
        Shape of a row as an image, (height, width) or (height, width, channels). Without it, rows
        are drawn as lines over their features.

    Attributes
    ----------
    axes_ : ndarray of shape (n_panels, n_samples)
        A row of axes for what was imputed, one for each imputer, and one for the complete rows.
    figure_ : matplotlib Figure
        The figure.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.preprocessing import scale
    >>> from skae import AutoencoderImputer
    >>> from skae.plotting import ImputationDisplay
    >>> X = scale(load_wine().data)
    >>> X_missing = np.where(np.random.default_rng(0).random(X.shape) < 0.3, np.nan, X)
    >>> imputer = AutoencoderImputer(max_steps=20, random_state=0).fit(X_missing)
    >>> display = ImputationDisplay.from_estimator(imputer, X_missing, truth=X)
    >>> display.axes_.shape
    (3, 8)
    >>> plt.close(display.figure_)
    """

    def __init__(self, rows, filled, *, truth=None, image_shape=None):
        self.rows = rows
        self.filled = filled
        self.truth = truth
        self.image_shape = image_shape

    @classmethod
    def from_estimator(
        cls, estimator, X, *, truth=None, other=None, n_samples=8, image_shape=None, ax=None
    ):
        """Impute some rows and draw them.

        Parameters
        ----------
        estimator : estimator
            A fitted imputer, this package's or one of scikit-learn's.
        X : array-like of shape (n_samples, n_features)
            Rows with missing values, of which the first are drawn.
        truth : array-like of shape (n_samples, n_features), optional
            The complete rows, if they are known.
        other : estimator, optional
            Another imputer to hold beside it.
        n_samples : int, default=8
            How many rows, at most.
        image_shape : tuple of int, optional
            See the class.
        ax : matplotlib Axes, optional
            Where to draw; its area is divided.

        Returns
        -------
        display : ImputationDisplay

        Raises
        ------
        ValueError
            If an imputer drops or adds columns, or changes what is there; if `truth` has another
            shape than X; if `image_shape` is none, or does not hold as many numbers as a row.
        """
        sample = X[:n_samples]
        rows = check_array(sample, dtype=np.float64, ensure_all_finite="allow-nan")
        missing = get_mask(rows, getattr(estimator, "missing_values", np.nan))
        rows = np.where(missing, np.nan, rows)
        filled = {}
        for name, imputer in _named(estimator, other).items():
            filled[name] = np.asarray(imputer.transform(sample))
            _check_filled(name, filled[name], rows)
        if truth is not None:
            if np.shape(truth) != np.shape(X):
                raise ValueError(
                    f"truth has the shape {np.shape(truth)}, and X {np.shape(X)}: it must hold the "
                    "complete rows of X."
                )
            truth = check_array(truth[:n_samples], dtype=np.float64)
        return cls(rows, filled, truth=truth, image_shape=image_shape).plot(ax=ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; its area is divided.

        Returns
        -------
        self : ImputationDisplay
        """
        if self.image_shape is not None:
            _check_image_shape(self.image_shape, self.rows.shape[1])
        missing = np.isnan(self.rows)
        panels = {"given": self.rows}
        for name, rows in self.filled.items():
            title = name
            if self.truth is not None and missing.any():
                error = root_mean_squared_error(self.truth[missing], rows[missing])
                title += f"\nRMSE {error:.3g}"
            panels[title] = rows
        if self.truth is not None:
            panels["original"] = self.truth
        self._make_panels(ax, panels, len(self.rows))
        limits = [np.nanmin([*panels.values()]), np.nanmax([*panels.values()])]
        for i, rows in enumerate(panels.values()):
            for axes, row, gaps in zip(self.axes_[i], rows, missing, strict=True):
                self._draw_row(axes, row, limits)
                if self.image_shape is None and i <= len(self.filled):
                    index = np.flatnonzero(gaps if i else ~gaps)  # of one between gaps is no line
                    color = _FILLED_COLOR if i else "C0"
                    axes.plot(index, row[index], ".", color=color, markersize=4)
        return self


def _named(estimator, other):
    """Return one or two estimators by their names, numbered if they are the same."""
    estimators = [estimator] if other is None else [estimator, other]
    names = [type(e).__name__ for e in estimators]
    if len(set(names)) < len(names):
        names = [f"{name} {i}" for i, name in enumerate(names, start=1)]
    return dict(zip(names, estimators, strict=True))


def _check_filled(name, filled, rows):
    """Refuse to show rows that an imputer did not just fill."""
    if filled.shape != rows.shape:
        raise ValueError(
            f"{name} returns {filled.shape[1]} columns for rows of {rows.shape[1]}: give rows "
            "without columns that are empty in training, or set keep_empty_features=True and "
            "add_indicator=False."
        )
    seen = ~np.isnan(rows)
    if not np.allclose(filled[seen], rows[seen], rtol=1e-5):
        raise ValueError(
            f"{name} changes values that are there. Of a pipeline, give the imputer and the rows "
            "that reach it."
        )


def _divide(ax, n_rows, n_columns):
    """Return axes in a grid that takes the place of some axes."""
    ax.set_axis_off()
    shape_and_gaps = {"nrows": n_rows, "ncols": n_columns, "wspace": 0.05, "hspace": 0.1}
    if spec := ax.get_subplotspec():
        grid = spec.subgridspec(**shape_and_gaps)
    else:  # axes that stand anywhere in their figure
        (left, bottom), (right, top) = ax.get_position().get_points()
        box = {"left": left, "bottom": bottom, "right": right, "top": top}
        grid = ax.figure.add_gridspec(**shape_and_gaps, **box)
    return grid.subplots(squeeze=False)


def _check_image_shape(shape, n_features):
    """Refuse a shape that is not that of an image with so many numbers."""
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
