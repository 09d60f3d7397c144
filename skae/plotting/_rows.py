"""Displays of rows: reconstructions and imputations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.metrics import root_mean_squared_error

from ._base import ImageShape, Rows, column_names, observed_error
from ._tables import (
    OBSERVED_STYLE,
    RESULT_STYLES,
    TRUE_STYLE,
    Series,
    TableRowsDisplay,
    categories_in,
    missing_in,
    numbers_of,
    spread_of_rows,
    table_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colour of imputed values in lines.
_IMPUTED_COLOR = "C3"


class ReconstructionDisplay(TableRowsDisplay):
    """Rows, their reconstructions, and the reconstruction errors.

    Rows of a table are drawn beside each other. Each column has a position, and its values are
    points, in standard deviations from the mean of the column; a reconstructed value far outside
    the original values is at the edge. Categories are texts. With `image_shape`, rows are images,
    and with `ordered=True`, they are lines over the columns. Missing entries are orange in an
    image, and are omitted from a line.

    Errors are computed over the observed entries. In a table, they are errors of standardised
    columns, and the share of wrong categories.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_features)
        Original rows, with NaN for missing entries; of dtype object, with None for missing entries,
        if columns have categories.
    reconstructions : dict
        Name of each estimator, and its reconstructions, an array of the same shape as `rows`.
    feature_names : sequence of str of shape (n_features,), optional
        Names of the columns; by default "x0", "x1" and so on.
    is_categorical : ndarray of bool of shape (n_features,), optional
        Whether each column has categories; by default none has.
    center, scale : ndarray of shape (n_features,), optional
        Mean and standard deviation of each column; by default of `rows`.
    n_features : int, default=30
        Maximum number of columns that are drawn, in a table: those with the largest errors.
    ordered : bool, default=False
        Whether the columns are an ordered series, such as times or wavelengths. Rows are then drawn
        as lines over the columns.
    image_shape : tuple of int, optional
        Shape of a row as an image: (height, width) or (height, width, channels).

    Attributes
    ----------
    axes_ : ndarray of shape (1, n_samples) or (n_panels, n_samples)
        Axes of the rows of a table. For images and lines, one row of axes for the originals, and
        two rows for each estimator: reconstructions and errors.
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
        feature_names: Sequence[str] | None = None,
        is_categorical: NDArray[Any] | None = None,
        center: NDArray[Any] | None = None,
        scale: NDArray[Any] | None = None,
        n_features: int = 30,
        ordered: bool = False,
        image_shape: ImageShape | None = None,
    ) -> None:
        self.rows = rows
        self.reconstructions = reconstructions
        self.feature_names = feature_names
        self.is_categorical = is_categorical
        self.center = center
        self.scale = scale
        self.n_features = n_features
        self.ordered = ordered
        self.image_shape = image_shape

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: Rows,
        *,
        other: BaseEstimator | None = None,
        n_samples: int = 8,
        n_features: int = 30,
        feature_names: Sequence[str] | None = None,
        ordered: bool = False,
        image_shape: ImageShape | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Reconstruct rows and draw them.

        Parameters
        ----------
        estimator : estimator
            Fitted estimator with `transform` and `inverse_transform`.
        X : array-like of shape (n_samples, n_features)
            Rows; the first `n_samples` rows are drawn. In a table, the unit of a column is its
            standard deviation in all rows.
        other : estimator, optional
            Another fitted estimator for comparison, such as PCA.
        n_samples : int, default=8
            Maximum number of rows.
        n_features : int, default=30
            See the class.
        feature_names : sequence of str, optional
            Names of the columns; by default the names in `fit`, or "x0", "x1" and so on.
        ordered : bool, default=False
            See the class.
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
            If `image_shape` is not valid, or its product is not the number of columns; if it is
            given, or `ordered=True`, for columns with categories; if the length of `feature_names`
            is not the number of columns.
        """
        X = X.tocsr() if issparse(X) else X
        rows, is_categorical = X[:n_samples], categories_in(estimator, X)
        originals = table_of(rows, is_categorical)
        reconstructions = {
            name: table_of(e.inverse_transform(e.transform(rows)), is_categorical)
            for name, e in _named(estimator, other).items()
        }
        is_table = image_shape is None and not ordered
        center, scale = spread_of_rows(X, is_categorical) if is_table else (None, None)
        return cls(
            originals,
            reconstructions,
            feature_names=column_names(estimator, feature_names, originals.shape[1]),
            is_categorical=is_categorical,
            center=center,
            scale=scale,
            n_features=n_features,
            ordered=ordered,
            image_shape=image_shape,
        ).plot(ax=ax)

    def _draw_points(self, ax: Axes | None) -> None:
        """Draw originals and reconstructions as points of a table."""
        columns = self._columns(*self.reconstructions.values())
        series = [Series("original", self.rows, ~missing_in(self.rows), TRUE_STYLE)]
        errors = []
        for i, (name, rows) in enumerate(self.reconstructions.items()):
            errors.append(columns.errors(rows, self.rows))
            label = name + columns.summary(errors[-1], "MSE")
            style = RESULT_STYLES[i % len(RESULT_STYLES)]
            series.append(Series(label, rows, ~missing_in(rows), style))
        order = np.nan_to_num(errors).sum(axis=(0, 1))
        self._draw_table(ax, series, columns, order)

    def _draw_panels(self, ax: Axes | None) -> None:
        """Draw originals, reconstructions and errors as images or lines."""
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


class ImputationDisplay(TableRowsDisplay):
    """Rows with missing values, their imputations, and the complete rows if they are known.

    Rows of a table are drawn beside each other. Each column has a position, and its values are
    points, in standard deviations from the mean of the column: observed values are grey, imputed
    values are coloured, and a circle is the true value of an imputed one. An imputed value far
    outside the other values is at the edge. Categories are texts beside these markers. With
    `image_shape`, rows are images, and missing entries are orange. With `ordered=True`, rows are
    lines over the columns, and imputed values are red dots.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_features)
        Rows before imputation, with NaN for missing values; of dtype object, with None for missing
        values, if columns have categories.
    filled : dict
        Name of each imputer, and its imputed rows, an array of the same shape as `rows`.
    truth : ndarray of shape (n_samples, n_features), optional
        Complete rows. If given, titles or the legend show the root mean squared error over the
        missing entries. In a table, it is the error of standardised columns, and the legend also
        shows the share of wrong categories.
    feature_names : sequence of str of shape (n_features,), optional
        Names of the columns; by default "x0", "x1" and so on.
    is_categorical : ndarray of bool of shape (n_features,), optional
        Whether each column has categories; by default none has.
    center, scale : ndarray of shape (n_features,), optional
        Mean and standard deviation of each column; by default of `rows`.
    n_features : int, default=30
        Maximum number of columns that are drawn, in a table: those with the most missing entries.
    ordered : bool, default=False
        Whether the columns are an ordered series, such as times or wavelengths. Rows are then drawn
        as lines over the columns.
    image_shape : tuple of int, optional
        Shape of a row as an image: (height, width) or (height, width, channels).

    Attributes
    ----------
    axes_ : ndarray of shape (1, n_samples) or (n_panels, n_samples)
        Axes of the rows of a table. For images and lines, one row of axes for the rows before
        imputation, one for each imputer, and one for the complete rows if they are given.
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
    >>> from sklearn.datasets import load_wine
    >>> from skae import AutoencoderImputer
    >>> from skae.plotting import ImputationDisplay
    >>> X = load_wine(as_frame=True).data
    >>> X_missing = X.mask(np.random.default_rng(0).random(X.shape) < 0.3)
    >>> imputer = AutoencoderImputer(max_steps=20, random_state=0).fit(X_missing)
    >>> display = ImputationDisplay.from_estimator(imputer, X_missing, truth=X, n_samples=4)
    >>> display.axes_.shape
    (1, 4)
    >>> [label.get_text() for label in display.axes_[0, 0].get_yticklabels()][:3]
    ['alcohol', 'malic_acid', 'ash']
    >>> plt.close(display.figure_)
    """

    def __init__(
        self,
        rows: NDArray[Any],
        filled: Mapping[str, NDArray[Any]],
        *,
        truth: NDArray[Any] | None = None,
        feature_names: Sequence[str] | None = None,
        is_categorical: NDArray[Any] | None = None,
        center: NDArray[Any] | None = None,
        scale: NDArray[Any] | None = None,
        n_features: int = 30,
        ordered: bool = False,
        image_shape: ImageShape | None = None,
    ) -> None:
        self.rows = rows
        self.filled = filled
        self.truth = truth
        self.feature_names = feature_names
        self.is_categorical = is_categorical
        self.center = center
        self.scale = scale
        self.n_features = n_features
        self.ordered = ordered
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
        n_features: int = 30,
        feature_names: Sequence[str] | None = None,
        ordered: bool = False,
        image_shape: ImageShape | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Impute rows and draw them.

        Parameters
        ----------
        estimator : estimator
            Fitted imputer of this package or of scikit-learn.
        X : array-like of shape (n_samples, n_features)
            Rows with missing values; the first `n_samples` rows are drawn. In a table, the unit of
            a column is the standard deviation of its observed values in all rows.
        truth : array-like of shape (n_samples, n_features), optional
            Complete rows, if they are known; NaN for values that are not known.
        other : estimator, optional
            Another fitted imputer for comparison.
        n_samples : int, default=8
            Maximum number of rows.
        n_features : int, default=30
            See the class.
        feature_names : sequence of str, optional
            Names of the columns; by default the names in `fit`, or "x0", "x1" and so on.
        ordered : bool, default=False
            See the class.
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
            columns; if it is given, or `ordered=True`, for columns with categories; if the length
            of `feature_names` is not the number of columns.
        """
        X = X.tocsr() if issparse(X) else X
        sample, missing_value = X[:n_samples], getattr(estimator, "missing_values", np.nan)
        is_categorical = categories_in(estimator, X)
        rows, filled = table_of(sample, is_categorical, missing_value), {}
        for name, imputer in _named(estimator, other).items():
            filled[name] = table_of(imputer.transform(sample), is_categorical)
            _check_filled(name, filled[name], rows, is_categorical)
        if truth is not None:
            if np.shape(truth) != np.shape(X):
                raise ValueError(
                    f"truth has the shape {np.shape(truth)}, and X {np.shape(X)}: it must hold the "
                    "complete rows of X."
                )
            truth = table_of(truth[:n_samples], is_categorical)
        is_table, center, scale = image_shape is None and not ordered, None, None
        if is_table:
            center, scale = spread_of_rows(X, is_categorical, missing_value)
        return cls(
            rows,
            filled,
            truth=truth,
            feature_names=column_names(estimator, feature_names, rows.shape[1]),
            is_categorical=is_categorical,
            center=center,
            scale=scale,
            n_features=n_features,
            ordered=ordered,
            image_shape=image_shape,
        ).plot(ax=ax)

    def _draw_points(self, ax: Axes | None) -> None:
        """Draw observed, imputed and true values as points of a table."""
        missing = missing_in(self.rows)
        known = [] if self.truth is None else [self.truth]
        columns = self._columns(*self.filled.values(), *known)
        series = [Series("observed", self.rows, ~missing, OBSERVED_STYLE)]
        for i, (name, rows) in enumerate(self.filled.items()):
            label, style = name, RESULT_STYLES[i % len(RESULT_STYLES)]
            if self.truth is not None:
                errors = np.where(missing, columns.errors(rows, self.truth), np.nan)
                label += columns.summary(errors, "RMSE")
            series.append(Series(label, rows, missing & ~missing_in(rows), style))
        if self.truth is not None:
            is_known = missing & ~missing_in(self.truth)
            series.append(Series("true", self.truth, is_known, TRUE_STYLE))
        self._draw_table(ax, series, columns, missing.sum(axis=0))

    def _draw_panels(self, ax: Axes | None) -> None:
        """Draw given, imputed and true rows as images or lines."""
        missing = np.isnan(self.rows)
        panels = {"given": self.rows}
        for name, rows in self.filled.items():
            title = name
            if self.truth is not None and (known := missing & ~np.isnan(self.truth)).any():
                error = root_mean_squared_error(self.truth[known], rows[known])
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


def _check_filled(
    name: str, filled: NDArray[Any], rows: NDArray[Any], is_categorical: NDArray[np.bool_]
) -> None:
    """Raise ValueError if an imputer changed the columns or the observed values."""
    if filled.shape != rows.shape:
        raise ValueError(
            f"{name} returns {filled.shape[1]} columns for rows of {rows.shape[1]}: give rows "
            "without columns that are empty in training, or set keep_empty_features=True and "
            "add_indicator=False."
        )
    observed = ~missing_in(rows)
    theirs, ours = (numbers_of(table, is_categorical)[observed] for table in (filled, rows))
    is_equal = np.allclose(theirs, ours, rtol=1e-5, equal_nan=True)
    categories = observed & is_categorical
    if not (is_equal and np.array_equal(filled[categories], rows[categories])):
        raise ValueError(
            f"{name} changes observed values. If the imputer is a step of a pipeline, pass the "
            "imputer and the rows that the step before it returns."
        )
