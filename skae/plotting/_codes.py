"""Displays of codes, and of the error against the number of components."""

from numbers import Integral

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_consistent_length, column_or_1d

from ._base import axes_or_new, dense_rows, observed_error

# With more classes than this, the colours are taken from a continuous colour map.
_MAX_CLASSES = 10


class CodeDisplay:
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

    def __init__(self, codes, y=None, *, components=(0, 1)):
        self.codes = codes
        self.y = y
        self.components = components

    @classmethod
    def from_estimator(cls, estimator, X, y=None, *, components=(0, 1), ax=None):
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
            Axes to draw in; by default those of a new figure.

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

    def plot(self, ax=None):
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw in; by default those of a new figure.

        Returns
        -------
        self : CodeDisplay
            The display, with `ax_` and `figure_`.
        """
        n_components = self.codes.shape[1]
        columns = tuple(np.atleast_1d(np.asarray(self.components, dtype=object)))
        are_columns = all(isinstance(c, Integral) and 0 <= c < n_components for c in columns)
        if len(columns) != 2 or not are_columns:
            raise ValueError(
                f"components={self.components} must be two columns of the code, "
                f"from 0 to {n_components - 1}."
            )
        labels = None if self.y is None else column_or_1d(self.y)
        check_consistent_length(self.codes, labels)
        try:
            classes = [] if labels is None else np.unique(labels)
        except TypeError:  # labels of several types cannot be sorted
            labels = labels.astype(str)
            classes = np.unique(labels)
        self.ax_, self.figure_ = axes_or_new(ax, type(self).__name__)
        x, other = (self.codes[:, c] for c in self.components)
        size = float(np.clip(4000 / len(x), 3, 30))
        if labels is None:
            self.ax_.scatter(x, other, s=size)
        elif len(classes) <= _MAX_CLASSES or labels.dtype.kind not in "iuf":
            colors = self._colors(len(classes))
            for label, color in zip(classes, colors, strict=True):
                chosen = labels == label
                self.ax_.scatter(x[chosen], other[chosen], s=size, color=color, label=label)
            self.ax_.legend(
                title="y",
                fontsize="small",
                markerscale=np.sqrt(30 / size),
                loc="center left",
                bbox_to_anchor=(1, 0.5),
                ncols=1 + (len(classes) - 1) // 16,
            )
        else:
            points = self.ax_.scatter(x, other, s=size, c=labels, cmap="viridis")
            self.figure_.colorbar(points, ax=self.ax_, label="y")
        self.ax_.set(
            xlabel=f"component {self.components[0]}", ylabel=f"component {self.components[1]}"
        )
        return self

    @staticmethod
    def _colors(n_classes):
        from matplotlib import colormaps

        if n_classes <= _MAX_CLASSES:
            return colormaps["tab10"].colors[:n_classes]
        return colormaps["turbo"](np.linspace(0, 1, n_classes))


class ComponentsDisplay:
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

    def __init__(self, n_components, errors):
        self.n_components = n_components
        self.errors = errors

    @classmethod
    def from_estimator(cls, estimator, X=None, X_test=None, *, n_components=(2, 4, 8, 16), ax=None):
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
            Axes to draw in; by default those of a new figure.

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
        if not isinstance(estimator, dict):
            several = estimator if isinstance(estimator, list | tuple) else [estimator]
            estimator = {type(e).__name__: e for e in several}
            if len(estimator) < len(several):
                estimator = {str(e): e for e in several}
        if X is None:
            curves = [getattr(e, "components_curve_", None) for e in estimator.values()]
            if len(curves) != 1 or curves[0] is None:
                raise ValueError(
                    "Without X, give one estimator that was fitted with n_components in (0, 1), "
                    "and so has components_curve_."
                )
            n_components, errors = curves[0].T
            return cls(n_components.astype(int), dict.fromkeys(estimator, errors)).plot(ax=ax)
        judged = X if X_test is None else X_test
        originals = dense_rows(judged)
        errors = {}
        for name, template in estimator.items():
            fitted = [clone(template).set_params(n_components=k).fit(X) for k in n_components]
            errors[name] = np.array(
                [
                    observed_error(originals, f.inverse_transform(f.transform(judged)))
                    for f in fitted
                ]
            )
        return cls(np.asarray(n_components), errors).plot(ax=ax)

    def plot(self, ax=None):
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw in; by default those of a new figure.

        Returns
        -------
        self : ComponentsDisplay
            The display, with `ax_` and `figure_`.
        """
        self.ax_, self.figure_ = axes_or_new(ax, type(self).__name__)
        for name, errors in self.errors.items():
            self.ax_.plot(self.n_components, errors, marker="o", label=name)
        is_positive = min(np.min(errors) for errors in self.errors.values()) > 0
        self.ax_.set(
            xlabel="number of components",
            ylabel="mean squared error",
            xscale="log",
            yscale="log" if is_positive else "linear",
        )
        self.ax_.set_xticks(self.n_components, labels=map(str, self.n_components))
        self.ax_.set_xticks([], minor=True)
        self.ax_.legend()
        return self
