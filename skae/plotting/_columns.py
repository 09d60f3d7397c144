"""Display of the reconstruction errors of columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from ._base import AxesDisplay, Rows, check_has_method, column_names, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Longer names of columns are shortened.
_MAX_NAME = 40


class ColumnErrorsDisplay(AxesDisplay):
    """Reconstruction error of each column.

    The bars are in descending order of the errors. Columns whose error is NaN are last. For a table
    with categories, columns of numbers and columns of categories have different colours.

    Parameters
    ----------
    errors : ndarray of shape (n_features,)
        Error of each column, from `column_errors`; NaN if a column has no value.
    is_categorical : ndarray of bool of shape (n_features,)
        Whether each column has categories.
    feature_names : sequence of str of shape (n_features,)
        Names of the columns.
    n_features : int, default=30
        Maximum number of columns that are drawn: those with the largest errors.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the bars.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    ReconstructionDisplay : Rows and their reconstructions.
    skae.AutoencoderTransformer.column_errors : Computes the errors.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_iris
    >>> from skae import AutoencoderTransformer
    >>> from skae.plotting import ColumnErrorsDisplay
    >>> X = load_iris(as_frame=True).frame.astype({"target": "category"})
    >>> ae = AutoencoderTransformer(2, max_steps=20, random_state=0).fit(X)
    >>> display = ColumnErrorsDisplay.from_estimator(ae, X)
    >>> len(display.ax_.patches)
    5
    >>> plt.close(display.figure_)
    """

    def __init__(
        self,
        errors: NDArray[Any],
        is_categorical: NDArray[Any],
        *,
        feature_names: Sequence[str],
        n_features: int = 30,
    ) -> None:
        self.errors = errors
        self.is_categorical = is_categorical
        self.feature_names = feature_names
        self.n_features = n_features

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: Rows,
        *,
        feature_names: Sequence[str] | None = None,
        n_features: int = 30,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the errors of the columns of X.

        Parameters
        ----------
        estimator : AutoencoderTransformer
            The fitted estimator.
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows, preferably not the training rows.
        feature_names : sequence of str, optional
            Names of the columns; by default the names in `fit`, or "x0", "x1" and so on.
        n_features : int, default=30
            See the class.
        ax : matplotlib Axes, optional
            Axes to draw in; by default the axes of a new figure.

        Returns
        -------
        display : ColumnErrorsDisplay
            The display, with `ax_` and `figure_`.

        Raises
        ------
        TypeError
            If the estimator has no method `column_errors`.
        ValueError
            If the length of `feature_names` is not the number of columns.
        """
        check_has_method(estimator, "column_errors", "AutoencoderTransformer")
        errors = estimator.column_errors(X)
        return cls(
            errors,
            estimator.is_categorical_,
            feature_names=column_names(estimator, feature_names, len(errors)),
            n_features=n_features,
        ).plot(ax=ax)

    def _draw(self, ax: Axes) -> None:
        errors, is_categorical = np.asarray(self.errors), np.asarray(self.is_categorical)
        drawn = np.argsort(-errors, kind="stable")[: max(1, self.n_features)]  # NaN are last
        for kind, color, label in (
            (False, "C0", "number: squared error of the standardised column"),
            (True, "C1", "category: share of wrong entries"),
        ):
            places = np.flatnonzero(is_categorical[drawn] == kind)
            if len(places):
                ax.barh(places, errors[drawn[places]], color=color, label=label)
        names = [shortened(str(self.feature_names[i]), _MAX_NAME) for i in drawn]
        ax.set_yticks(range(len(drawn)), names, fontsize="small", parse_math=False)
        ax.set_ylim(len(drawn) - 0.4, -0.6)
        ax.set_xlabel("reconstruction error" if is_categorical.any() else "mean squared error")
        if is_categorical.any():
            ax.legend(fontsize="small", loc="lower right")
