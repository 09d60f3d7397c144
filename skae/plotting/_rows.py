"""Displays of rows: reconstructions and imputations."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.metrics import root_mean_squared_error
from sklearn.utils import check_array

from .._data.columns import errors_naming_categories
from .._data.inputs import with_nan
from .._sklearn_compat import get_mask
from ._base import ONLY_NUMBERS, ImageShape, Rows, RowsDisplay, dense_rows, observed_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colour of imputed values in lines.
_IMPUTED_COLOR = "C3"


class ReconstructionDisplay(RowsDisplay):
    """Rows, their reconstructions, and the reconstruction errors.

    Missing entries are orange in an image, and are omitted from a line. Errors are computed over
    the observed entries.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_features)
        Original rows, with NaN for missing entries.
    reconstructions : dict
        Name of each estimator, and its reconstructions, an array of the same shape as `rows`.
    image_shape : tuple of int, optional
        Shape of a row as an image: (height, width) or (height, width, channels). If None, rows are
        drawn as lines over their features.

    Attributes
    ----------
    axes_ : ndarray of shape (n_panels, n_samples)
        One row of axes for the originals, and two rows for each estimator: reconstructions and
        errors.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    ComponentsDisplay : Reconstruction error against the number of components.
    ImputationDisplay : Rows with missing values and their imputations.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderTransformer
    >>> from skae.plotting import ReconstructionDisplay
    >>> X = load_digits().data
    >>> ae = AutoencoderTransformer(8, max_steps=20, random_state=0).fit(X)
    >>> display = ReconstructionDisplay.from_estimator(ae, X, image_shape=(8, 8))
    >>> display.axes_.shape
    (3, 8)
    >>> plt.close(display.figure_)
    """

    def __init__(
        self,
        rows: NDArray[Any],
        reconstructions: Mapping[str, NDArray[Any]],
        *,
        image_shape: ImageShape | None = None,
    ) -> None:
        self.rows = rows
        self.reconstructions = reconstructions
        self.image_shape = image_shape

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: Rows,
        *,
        other: BaseEstimator | None = None,
        n_samples: int = 8,
        image_shape: ImageShape | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Reconstruct rows and draw them.

        Parameters
        ----------
        estimator : estimator
            Fitted estimator with `transform` and `inverse_transform`.
        X : array-like of shape (n_samples, n_features)
            Rows; the first `n_samples` rows are drawn.
        other : estimator, optional
            Another fitted estimator for comparison, such as PCA.
        n_samples : int, default=8
            Maximum number of rows.
        image_shape : tuple of int, optional
            See the class.
        ax : matplotlib Axes, optional
            Axes whose area is divided into panels; by default the axes of a new figure.

        Returns
        -------
        display : ReconstructionDisplay
            The display, with `axes_` and `figure_`.

        Raises
        ------
        ValueError
            If `image_shape` is not valid, or its product is not the number of columns.
        """
        rows = (X.tocsr() if issparse(X) else X)[:n_samples]
        reconstructions = {
            name: np.asarray(e.inverse_transform(e.transform(rows)))
            for name, e in _named(estimator, other).items()
        }
        return cls(dense_rows(rows), reconstructions, image_shape=image_shape).plot(ax=ax)

    def _draw(self, ax: Axes | None) -> None:
        titles = ["original"]
        for name, rows in self.reconstructions.items():
            error = observed_error(self.rows, rows)
            titles += [f"{name}\nMSE {error:.3g}", f"{name}\nminus original"]
        self._make_panels(ax, titles, len(self.rows))
        reconstructions = list(self.reconstructions.values())
        errors = [rows - self.rows for rows in reconstructions]
        # images are clipped to the range of the originals; lines are not
        shown = [self.rows, *(reconstructions if self.image_shape is None else [])]
        limits = np.nanmin(shown), np.nanmax(shown)
        max_error = np.nanmax(np.abs(errors)) or 1.0
        axes_of_rows = chain(self.axes_[0], *self.axes_[1::2])
        for axes, row in zip(axes_of_rows, chain(self.rows, *reconstructions), strict=True):
            self._draw_row(axes, row, limits)
        for axes, row in zip(self.axes_[2::2].flat, chain(*errors), strict=True):
            self._draw_errors(axes, row, max_error)


class ImputationDisplay(RowsDisplay):
    """Rows with missing values, their imputations, and the complete rows if they are known.

    Missing entries of an image are orange. In lines, imputed values are red dots.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_features)
        Rows before imputation, with NaN for missing values.
    filled : dict
        Name of each imputer, and its imputed rows, an array of the same shape as `rows`.
    truth : ndarray of shape (n_samples, n_features), optional
        Complete rows. If given, titles show the root mean squared error over the missing entries.
    image_shape : tuple of int, optional
        Shape of a row as an image: (height, width) or (height, width, channels). If None, rows are
        drawn as lines over their features.

    Attributes
    ----------
    axes_ : ndarray of shape (n_panels, n_samples)
        One row of axes for the rows before imputation, one for each imputer, and one for the
        complete rows if they are given.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    ReconstructionDisplay : Rows and their reconstructions.
    skae.AutoencoderImputer : Imputer that starts as probabilistic PCA.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.preprocessing import scale
    >>> from skae import AutoencoderImputer
    >>> from skae.plotting import ImputationDisplay
    >>> X = scale(load_breast_cancer().data)
    >>> X_missing = np.where(np.random.default_rng(0).random(X.shape) < 0.3, np.nan, X)
    >>> imputer = AutoencoderImputer(max_steps=20, random_state=0).fit(X_missing)
    >>> display = ImputationDisplay.from_estimator(imputer, X_missing, truth=X)
    >>> display.axes_.shape
    (3, 8)
    >>> plt.close(display.figure_)
    """

    def __init__(
        self,
        rows: NDArray[Any],
        filled: Mapping[str, NDArray[Any]],
        *,
        truth: NDArray[Any] | None = None,
        image_shape: ImageShape | None = None,
    ) -> None:
        self.rows = rows
        self.filled = filled
        self.truth = truth
        self.image_shape = image_shape

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: Rows,
        *,
        truth: Rows | None = None,
        other: BaseEstimator | None = None,
        n_samples: int = 8,
        image_shape: ImageShape | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Impute rows and draw them.

        Parameters
        ----------
        estimator : estimator
            Fitted imputer of this package or of scikit-learn.
        X : array-like of shape (n_samples, n_features)
            Rows with missing values; the first `n_samples` rows are drawn.
        truth : array-like of shape (n_samples, n_features), optional
            Complete rows, if they are known.
        other : estimator, optional
            Another fitted imputer for comparison.
        n_samples : int, default=8
            Maximum number of rows.
        image_shape : tuple of int, optional
            See the class.
        ax : matplotlib Axes, optional
            Axes whose area is divided into panels; by default the axes of a new figure.

        Returns
        -------
        display : ImputationDisplay
            The display, with `axes_` and `figure_`.

        Raises
        ------
        ValueError
            If an imputer drops or adds columns, or changes observed values; if `truth` has another
            shape than X; if `image_shape` is not valid, or its product is not the number of
            columns.
        """
        sample, missing_value = X[:n_samples], getattr(estimator, "missing_values", np.nan)
        rows = with_nan(sample, missing_value)
        with errors_naming_categories(sample, ONLY_NUMBERS):
            rows = check_array(rows, dtype=np.float64, ensure_all_finite="allow-nan")
        missing = get_mask(rows, missing_value)
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

    def _draw(self, ax: Axes | None) -> None:
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
        limits = np.nanmin([*panels.values()]), np.nanmax([*panels.values()])
        for i, rows in enumerate(panels.values()):
            for axes, row, is_missing in zip(self.axes_[i], rows, missing, strict=True):
                self._draw_row(axes, row, limits)
                if self.image_shape is None and i <= len(self.filled):
                    # dots, because the line of an isolated value is not visible
                    index = np.flatnonzero(is_missing if i else ~is_missing)
                    color = _IMPUTED_COLOR if i else "C0"
                    axes.plot(index, row[index], ".", color=color, markersize=4)


def _named(estimator: BaseEstimator, other: BaseEstimator | None) -> dict[str, BaseEstimator]:
    """Return a dict of one or two estimators by class name, with numbers if the names are equal."""
    estimators = [estimator] if other is None else [estimator, other]
    names = [type(e).__name__ for e in estimators]
    if len(set(names)) < len(names):
        names = [f"{name} {i}" for i, name in enumerate(names, start=1)]
    return dict(zip(names, estimators, strict=True))


def _check_filled(name: str, filled: NDArray[Any], rows: NDArray[Any]) -> None:
    """Raise ValueError if an imputer changed the columns or the observed values."""
    if filled.shape != rows.shape:
        raise ValueError(
            f"{name} returns {filled.shape[1]} columns for rows of {rows.shape[1]}: give rows "
            "without columns that are empty in training, or set keep_empty_features=True and "
            "add_indicator=False."
        )
    observed = ~np.isnan(rows)
    if not np.allclose(filled[observed], rows[observed], rtol=1e-5):
        raise ValueError(
            f"{name} changes observed values. If the imputer is a step of a pipeline, pass the "
            "imputer and the rows that the step before it returns."
        )
