"""Displays of codes, and of the error against the number of components."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_consistent_length, column_or_1d

from ._base import AxesDisplay, Rows, dense_rows, observed_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# With more classes than this, the colours are taken from a continuous colour map.
_MAX_CLASSES = 10


class CodeDisplay(AxesDisplay):
    """Scatter plot of two components of the code.

    Parameters
    ----------
    codes : ndarray of shape (n_samples, n_components)
        The codes.
    y : ndarray of shape (n_samples,), optional
        Labels or numbers for the colours of the points.
    components : tuple of two int, default=(0, 1)
        Indices of the components of the horizontal and the vertical axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    ReconstructionDisplay : Rows and their reconstructions.
    skae.AutoencoderTransformer : Its method `transform` computes the codes.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderTransformer
    >>> from skae.plotting import CodeDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> ae = AutoencoderTransformer(2, max_steps=20, random_state=0).fit(X)
    >>> display = CodeDisplay.from_estimator(ae, X, y)
    >>> len(display.ax_.collections)
    10
    >>> plt.close(display.figure_)
    """

    def __init__(
        self,
        codes: NDArray[Any],
        y: ArrayLike | None = None,
        *,
        components: tuple[int, int] = (0, 1),
    ) -> None:
        self.codes = codes
        self.y = y
        self.components = components

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: Rows,
        y: ArrayLike | None = None,
        *,
        components: tuple[int, int] = (0, 1),
        ax: Axes | None = None,
    ) -> Self:
        """Encode rows, and draw two components of their codes.

        Parameters
        ----------
        estimator : estimator
            A fitted transformer.
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,), optional
            See the class.
        components : tuple of two int, default=(0, 1)
            See the class.
        ax : matplotlib Axes, optional
            Axes to draw in; by default the axes of a new figure.

        Returns
        -------
        display : CodeDisplay
            The display, with `ax_` and `figure_`.

        Raises
        ------
        ValueError
            If the code does not have these components, or the length of `y` is not that of X.
        """
        return cls(np.asarray(estimator.transform(X)), y, components=components).plot(ax=ax)

    def _check(self) -> None:
        """Raise ValueError if the code lacks a component, or y does not have one label per row."""
        n_components = self.codes.shape[1]
        columns = np.atleast_1d(np.asarray(self.components, dtype=object)).tolist()
        exist = [isinstance(c, int | np.integer) and 0 <= c < n_components for c in columns]
        if len(columns) != 2 or not all(exist):
            raise ValueError(
                f"components={self.components} must be two columns of the code, "
                f"from 0 to {n_components - 1}."
            )
        if self.y is not None:
            check_consistent_length(self.codes, column_or_1d(self.y))

    def _draw(self, ax: Axes) -> None:
        x, other = (self.codes[:, c] for c in self.components)
        size = float(np.clip(4000 / len(x), 3, 30))
        if self.y is None:
            ax.scatter(x, other, s=size)
        else:
            labels, classes = _labels_and_classes(self.y)
            if len(classes) <= _MAX_CLASSES or labels.dtype.kind not in "iuf":
                for label, color in zip(classes, _colors(len(classes)), strict=True):
                    chosen = labels == label
                    ax.scatter(x[chosen], other[chosen], s=size, color=color, label=label)
                _add_legend(ax, len(classes), size)
            else:
                points = ax.scatter(x, other, s=size, c=labels, cmap="viridis")
                self.figure_.colorbar(points, ax=ax, label="y")
        ax.set(xlabel=f"component {self.components[0]}", ylabel=f"component {self.components[1]}")


def _labels_and_classes(y: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return labels, and the sorted classes; as strings if labels of several types are mixed."""
    labels: NDArray[Any] = column_or_1d(y)
    try:
        return labels, np.unique(labels)
    except TypeError:  # labels of several types cannot be sorted
        labels = labels.astype(str)
        return labels, np.unique(labels)


def _colors(n_classes: int) -> NDArray[Any]:
    from matplotlib import colormaps

    if n_classes <= _MAX_CLASSES:
        return colormaps["tab10"](np.arange(n_classes))
    return colormaps["turbo"](np.linspace(0, 1, n_classes))


def _add_legend(ax: Axes, n_classes: int, size: float) -> None:
    """Add a legend of the classes to the right of the axes."""
    ax.legend(
        title="y",
        fontsize="small",
        markerscale=float(np.sqrt(30 / size)),
        loc="center left",
        bbox_to_anchor=(1, 0.5),
        ncols=1 + (n_classes - 1) // 16,
    )


class ComponentsDisplay(AxesDisplay):
    """Reconstruction error of one or more estimators against the number of components.

    Parameters
    ----------
    n_components : array-like of shape (n_sizes,)
        Numbers of components.
    errors : dict
        Name of each estimator, and its mean squared errors over the observed entries, an array of
        shape (n_sizes,).

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    LossCurveDisplay : Training loss and validation error of one estimator.
    ReconstructionDisplay : Reconstructions of single rows.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from skae import AutoencoderTransformer
    >>> from skae.plotting import ComponentsDisplay
    >>> X = load_digits().data
    >>> estimators = [PCA(), AutoencoderTransformer(max_steps=20, random_state=0)]
    >>> display = ComponentsDisplay.from_estimator(
    ...     estimators, X[:1500], X[1500:], n_components=(2, 4)
    ... )
    >>> list(display.errors)
    ['PCA', 'AutoencoderTransformer']
    >>> plt.close(display.figure_)
    """

    def __init__(self, n_components: NDArray[Any], errors: Mapping[str, NDArray[Any]]) -> None:
        self.n_components = n_components
        self.errors = errors

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator | Sequence[BaseEstimator] | Mapping[str, BaseEstimator],
        X: Rows | None = None,
        X_test: Rows | None = None,
        *,
        n_components: Sequence[int] = (2, 4, 8, 16),
        ax: Axes | None = None,
    ) -> Self:
        """Fit clones with each number of components, and draw their errors.

        If X is None, nothing is fitted. The display then shows the errors that an earlier fit with
        `n_components` in (0, 1) has computed for each number of components that it tried.

        Parameters
        ----------
        estimator : estimator, list or dict of estimators
            Estimators with the parameter `n_components` and the methods `transform` and
            `inverse_transform`. The keys of a dict are the names.
        X : array-like of shape (n_samples, n_features), optional
            Training data.
        X_test : array-like of shape (n_test_samples, n_features), optional
            Rows on which the error is computed; by default X.
        n_components : sequence of int, default=(2, 4, 8, 16)
            Numbers of components.
        ax : matplotlib Axes, optional
            Axes to draw in; by default the axes of a new figure.

        Returns
        -------
        display : ComponentsDisplay
            The display, with `ax_` and `figure_`.

        Raises
        ------
        ValueError
            If X is None, and there are several estimators, or the estimator was not fitted with
            `n_components` in (0, 1).
        """
        named = _by_name(estimator)
        if X is None:
            sizes, curve = _components_curve(list(named.values())).T
            return cls(sizes.astype(int), dict.fromkeys(named, curve)).plot(ax=ax)
        X_test = X if X_test is None else X_test
        errors = {
            name: _errors_of_sizes(template, X, X_test, n_components)
            for name, template in named.items()
        }
        return cls(np.asarray(n_components), errors).plot(ax=ax)

    def _draw(self, ax: Axes) -> None:
        for name, errors in self.errors.items():
            ax.plot(self.n_components, errors, marker="o", label=name)
        is_positive = min(np.min(errors) for errors in self.errors.values()) > 0
        ax.set(
            xlabel="number of components",
            ylabel="mean squared error",
            xscale="log",
            yscale="log" if is_positive else "linear",
        )
        ax.set_xticks(self.n_components, labels=map(str, self.n_components))
        ax.set_xticks([], minor=True)
        ax.legend()


def _by_name(
    estimator: BaseEstimator | Sequence[BaseEstimator] | Mapping[str, BaseEstimator],
) -> Mapping[str, BaseEstimator]:
    """Return a dict of estimators by class name, or by their text if class names are equal."""
    if isinstance(estimator, dict):
        return estimator
    estimators = estimator if isinstance(estimator, list | tuple) else [estimator]
    named = {type(each).__name__: each for each in estimators}
    return named if len(named) == len(estimators) else {str(each): each for each in estimators}


def _components_curve(estimators: Sequence[BaseEstimator]) -> NDArray[Any]:
    """Return the numbers of components and the errors that a fit has computed."""
    curves = [getattr(estimator, "components_curve_", None) for estimator in estimators]
    if len(curves) != 1 or curves[0] is None:
        raise ValueError(
            "Without X, give one estimator that was fitted with n_components in (0, 1), "
            "and so has components_curve_."
        )
    return np.asarray(curves[0])


def _errors_of_sizes(
    template: BaseEstimator, X: Rows, X_test: Rows, n_components: Sequence[int]
) -> NDArray[Any]:
    """Fit clones with each number of components, and return their errors on the test rows."""
    originals = dense_rows(X_test)
    fitted = [clone(template).set_params(n_components=k).fit(X) for k in n_components]
    errors = [observed_error(originals, f.inverse_transform(f.transform(X_test))) for f in fitted]
    return np.array(errors)
