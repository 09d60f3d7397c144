"""Display of the contributions of features to the scores of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from .._data.frames import entries_of_table
from ._base import (
    ONLY_NUMBERS,
    ImageShape,
    Rows,
    RowsDisplay,
    axes_or_new,
    check_has_method,
    column_names,
    dense_rows,
    divide,
    text_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Lower bound of drawn log-likelihoods. Those of extreme rows overflow to minus infinity, which
# cannot be drawn.
_MIN_DRAWN = -1e100


class ContributionDisplay(RowsDisplay):
    """Contribution of each feature to the log-likelihood of rows.

    For each row, bars show the features with the lowest contributions, and their values. If
    `image_shape` is set, each row is drawn as an image instead, and its contributions as an image
    below: red pixels decrease the log-likelihood of the row, and blue pixels increase it. Each row
    has its own scale. The part of the score of a row that the features do not explain is due to
    its code.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_features)
        Rows that are drawn, with NaN for missing values; of dtype object, with None for missing
        values, if columns have categories.
    contributions : ndarray of shape (n_rows, n_features)
        Log-likelihood of each entry minus the median of its feature; NaN for missing values.
    scores : ndarray of shape (n_rows,)
        Log-likelihood of each row.
    labels : sequence of shape (n_rows,)
        Labels of the rows, such as their numbers.
    feature_names : sequence of str of shape (n_features,)
        Names of the features.
    n_features : int, default=6
        Maximum number of bars for each row.
    image_shape : tuple of int, optional
        Shape of a row as an image: (height, width) or (height, width, channels). If None, bars are
        drawn.

    Attributes
    ----------
    axes_ : ndarray of shape (n_rows, 1) or (2, n_rows)
        Axes of the bars of each row; or, with `image_shape`, one row of axes for the images and one
        row for the contributions.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    skae.OutlierDetector : Predicts which rows are outliers.
    skae.VariationalAutoencoder : Computes the log-likelihoods of rows and entries.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skae import OutlierDetector
    >>> from skae.plotting import ContributionDisplay
    >>> X = StandardScaler().set_output(transform="pandas").fit_transform(
    ...     load_breast_cancer(as_frame=True).data
    ... )
    >>> detector = OutlierDetector(4, max_steps=20, random_state=0).fit(X)
    >>> display = ContributionDisplay.from_estimator(detector, X, n_rows=3)
    >>> display.axes_.shape
    (3, 1)
    >>> plt.close(display.figure_)
    """

    def __init__(
        self,
        rows: NDArray[Any],
        contributions: NDArray[Any],
        scores: NDArray[Any],
        *,
        labels: Sequence[object],
        feature_names: Sequence[str],
        n_features: int = 6,
        image_shape: ImageShape | None = None,
    ) -> None:
        self.rows = rows
        self.contributions = contributions
        self.scores = scores
        self.labels = labels
        self.feature_names = feature_names
        self.n_features = n_features
        self.image_shape = image_shape

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: Rows,
        *,
        rows: int | Sequence[int] | NDArray[Any] | None = None,
        n_rows: int = 5,
        n_features: int = 6,
        feature_names: Sequence[str] | None = None,
        image_shape: ImageShape | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the rows with the lowest scores, or selected rows.

        The contribution of an entry is its log-likelihood minus the median of the log-likelihoods
        of its feature in X.

        Parameters
        ----------
        estimator : OutlierDetector or VariationalAutoencoder
            The fitted estimator.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows from which the medians are computed, with typical rows and the rows to draw.
        rows : array-like of int or bool, optional
            Indices or a mask of the rows to draw; by default the `n_rows` rows with the lowest
            scores.
        n_rows : int, default=5
            Maximum number of rows to draw if `rows` is None.
        n_features : int, default=6
            See the class.
        feature_names : sequence of str, optional
            Names of the features; by default the names of the columns in `fit`, or "x0", "x1" and
            so on.
        image_shape : tuple of int, optional
            See the class.
        ax : matplotlib Axes, optional
            Axes whose area is divided into panels; by default the axes of a new figure.

        Returns
        -------
        display : ContributionDisplay
            The display, with `axes_` and `figure_`.

        Raises
        ------
        TypeError
            If the estimator has no method `score_features`.
        ValueError
            If there are no rows to draw; if the length of `feature_names` is not the number of
            columns; if `image_shape` is not valid, or its product is not the number of columns.
        """
        check_has_method(estimator, "score_features", "OutlierDetector or VariationalAutoencoder")
        scores, entries = estimator.score_samples(X), np.asarray(estimator.score_features(X))
        has_categories = np.any(getattr(estimator, "is_categorical_", False))
        table = entries_of_table(X) if has_categories else dense_rows(X)
        is_missing = table == None if has_categories else np.isnan(table)  # noqa: E711
        entries = np.maximum(entries.astype(np.float64), _MIN_DRAWN)
        entries = np.ma.masked_array(entries, mask=is_missing)
        medians = np.ma.median(entries, axis=0)  # type: ignore[no-untyped-call]  # of NumPy
        by_score = np.argsort(scores, kind="stable")
        chosen = by_score[:n_rows] if rows is None else np.arange(len(table))[rows]
        if not np.size(chosen):
            raise ValueError(f"There are no rows to draw: rows={rows} and n_rows={n_rows}.")
        chosen = np.atleast_1d(chosen)
        return cls(
            table[chosen],
            (entries[chosen] - medians).filled(np.nan),
            scores[chosen],
            labels=[f"row {i}" for i in chosen],
            feature_names=column_names(estimator, feature_names, table.shape[1]),
            n_features=n_features,
            image_shape=image_shape,
        ).plot(ax=ax)

    def _draw(self, ax: Axes | None) -> None:
        if self.image_shape is not None and self.rows.dtype == object:
            raise ValueError(f"image_shape={self.image_shape} is for numbers. {ONLY_NUMBERS}")
        if self.image_shape is None:
            self._draw_bars(ax)
        else:
            self._draw_images(ax)

    def _draw_images(self, ax: Axes | None) -> None:
        """Draw rows and the contributions of their pixels, in two rows of axes."""
        self._make_panels(ax, ["row", "less likely\nthan usual"], len(self.rows))
        limits = np.fmin.reduce(self.rows, axis=None), np.fmax.reduce(self.rows, axis=None)
        for i, contributions in enumerate(self.contributions):
            limit = np.nanmax(np.abs(contributions), initial=0) or 1.0
            self._draw_row(self.axes_[0, i], self.rows[i], limits)
            self._draw_errors(self.axes_[1, i], -contributions, limit)
            title = f"{self.labels[i]}\n{self.scores[i]:.4g} nats"
            self.axes_[0, i].set_title(title, fontsize="small")

    def _draw_bars(self, ax: Axes | None) -> None:
        """Draw bars of the features with the lowest contributions, in a column of axes."""
        n_bars = max(1, min(self.n_features, self.rows.shape[1]))
        figsize = (6.4, 0.4 + (0.5 + 0.2 * n_bars) * len(self.rows))
        ax, self.figure_ = axes_or_new(ax, type(self).__name__, figsize)
        # without a layout engine, titles and tick labels need more space
        hspace = 0.1 if self.figure_.get_layout_engine() else 0.2 + 2 / n_bars
        self.axes_ = divide(ax, len(self.rows), 1, hspace)
        for i, (row, contributions) in enumerate(zip(self.rows, self.contributions, strict=True)):
            axes = self.axes_[i, 0]
            lowest = np.argsort(contributions, kind="stable")[:n_bars]  # argsort puts NaN last
            lowest = lowest[~np.isnan(contributions[lowest])]
            values = contributions[lowest]
            axes.barh(range(len(lowest)), values, color=["C3" if v < 0 else "C0" for v in values])
            names = [f"{self.feature_names[j]} = {text_of(row[j])}" for j in lowest]
            axes.set_yticks(range(len(lowest)), names, fontsize="small")
            axes.set_ylim(n_bars - 0.4, -0.6)
            axes.tick_params(axis="x", labelsize="small")
            axes.axvline(0, color="0.4", linewidth=0.8)
            title = f"{self.labels[i]}: score {self.scores[i]:.4g}"
            axes.set_title(title, loc="left", fontsize="small")
        self.axes_[-1, 0].set_xlabel("log-likelihood minus the feature's median, nats")
