"""Pictures of autoencoders, in the manner of scikit-learn's displays.

matplotlib is imported when something is drawn.
"""

from numbers import Integral

import numpy as np
from scipy.sparse import issparse
from sklearn.base import clone
from sklearn.metrics import mean_squared_error
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils.validation import check_is_fitted

from ._sklearn import check_matplotlib_support

# More classes than colours of the default cycle are drawn along a colour map.
_MAX_CLASSES = 10


def _axes(ax, name, figsize=None):
    """Return the axes to draw in, and their figure."""
    check_matplotlib_support(f"{name}.plot")
    import matplotlib.pyplot as plt

    if ax is None:
        _, ax = plt.subplots(figsize=figsize, layout="constrained")
    return ax, ax.figure


def _dense(X):
    X = check_array(X, accept_sparse=True)
    return X.toarray() if issparse(X) else X


class ReconstructionDisplay:
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
        estimators = [estimator] if other is None else [estimator, other]
        names = [type(e).__name__ for e in estimators]
        if len(set(names)) < len(names):
            names = [f"{name} {i}" for i, name in enumerate(names, start=1)]
        reconstructions = {
            name: np.asarray(e.inverse_transform(e.transform(rows)))
            for name, e in zip(names, estimators, strict=True)
        }
        return cls(_dense(rows), reconstructions, image_shape=image_shape).plot(ax=ax)

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
        n_samples, n_features = self.rows.shape
        shape = self.image_shape
        if shape is not None:
            _check_image_shape(shape, n_features)
        panels = {"original": self.rows}
        for name, rows in self.reconstructions.items():
            error = mean_squared_error(self.rows, rows)
            panels[f"{name}\nMSE {error:.3g}"] = rows
            panels[f"{name}\nminus original"] = rows - self.rows
        width = 1.0 if shape is not None else 1.6
        ax, self.figure_ = _axes(
            ax, type(self).__name__, (1.6 + width * n_samples, 0.3 + 1.05 * len(panels))
        )
        self.axes_ = _divide(ax, len(panels), n_samples)
        values = np.stack(list(panels.values()))
        originals, errors = self.rows, values[2::2]
        low, high = originals.min(), originals.max()
        most = np.abs(errors).max() or 1.0
        for i, (title, rows) in enumerate(panels.items()):
            is_error = i > 0 and i % 2 == 0
            for axes, row in zip(self.axes_[i], rows, strict=True):
                axes.set(xticks=[], yticks=[])
                if shape is None:
                    axes.plot(row, linewidth=1, color="C3" if is_error else "C0")
                    axes.set_ylim(
                        (-most, most) if is_error else (values[:2].min(), values[:2].max())
                    )
                elif is_error:
                    image = row.reshape(shape)
                    image = image.mean(axis=-1) if len(shape) == 3 else image
                    axes.imshow(image, cmap="RdBu_r", vmin=-most, vmax=most)
                else:
                    image = (row.reshape(shape) - low) / ((high - low) or 1.0)
                    axes.imshow(image.clip(0, 1), cmap="gray", vmin=0, vmax=1)
            self.axes_[i, 0].set_ylabel(
                title, rotation=0, ha="right", va="center", fontsize="small", labelpad=6
            )
        return self


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


class LossCurveDisplay:
    """Training loss and held-out error, PCA's level, and the network that was kept.

    Parameters
    ----------
    loss_curve : ndarray of shape (n_steps,)
        Training loss of each gradient step.
    validation_curve : ndarray of shape (n_evaluations, 2)
        Gradient steps and held-out errors; the first is the start's.
    best_step : int
        Which was kept.
    start_name : str, default="PCA"
        What training started from.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it was drawn.
    figure_ : matplotlib Figure
        Its figure.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderTransformer
    >>> from skae.plotting import LossCurveDisplay
    >>> X = load_digits().data[:300]
    >>> ae = AutoencoderTransformer(8, max_steps=20, random_state=0).fit(X)
    >>> display = LossCurveDisplay.from_estimator(ae)
    >>> display.ax_.get_xlabel()
    'gradient step'
    >>> plt.close(display.figure_)
    """

    def __init__(self, loss_curve, validation_curve, best_step, *, start_name="PCA"):
        self.loss_curve = loss_curve
        self.validation_curve = validation_curve
        self.best_step = best_step
        self.start_name = start_name

    @classmethod
    def from_estimator(cls, estimator, *, ax=None):
        """Draw the curves of a fitted autoencoder.

        Parameters
        ----------
        estimator : AutoencoderTransformer
            The fitted estimator.
        ax : matplotlib Axes, optional
            Where to draw.

        Returns
        -------
        display : LossCurveDisplay

        Raises
        ------
        TypeError
            If the estimator has no such curves.
        """
        check_is_fitted(estimator)
        if not hasattr(estimator, "validation_curve_"):
            raise TypeError(
                "estimator must be a fitted AutoencoderTransformer, got "
                f"{type(estimator).__name__}. Of a pipeline, give that step."
            )
        is_pca = estimator.init == "pca" and not estimator.warm_start
        return cls(
            estimator.loss_curve_,
            estimator.validation_curve_,
            estimator.best_step_,
            start_name="PCA" if is_pca else "start",
        ).plot(ax=ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw.

        Returns
        -------
        self : LossCurveDisplay
        """
        self.ax_, self.figure_ = _axes(ax, type(self).__name__)
        ax, losses = self.ax_, self.loss_curve
        # a minibatch's loss is noisy: as many means as can be told apart
        size = max(1, len(losses) // 200)
        parts = np.arange(0, len(losses), size)
        if len(losses):
            means = np.add.reduceat(losses, parts) / np.diff([*parts, len(losses)])
            ax.plot(parts + size / 2, means, color="C0", alpha=0.6, linewidth=1, label="training")
        if len(self.validation_curve):
            steps, errors = self.validation_curve.T
            ax.plot(steps, errors, color="C1", label="held-out rows")
            ax.axhline(
                errors[0], color="0.4", linestyle="--", label=f"{self.start_name}, held-out rows"
            )
            kept = errors[steps == self.best_step]
            if len(kept):  # a stream's last network was not judged yet
                ax.plot(
                    self.best_step,
                    kept[-1],
                    "o",
                    color="C1",
                    markersize=7,
                    label=f"kept: step {self.best_step}",
                )
        ax.set(xlabel="gradient step", ylabel="mean squared error", yscale="log")
        if ax.lines:
            ax.legend(fontsize="small")
        return self


class CodeDisplay:
    """Two numbers of the code, as a scatter plot.

    Parameters
    ----------
    codes : ndarray of shape (n_samples, n_components)
        The codes.
    y : ndarray of shape (n_samples,), optional
        Labels or numbers that colour the points.
    components : tuple of two int, default=(0, 1)
        Which columns of the code.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it was drawn.
    figure_ : matplotlib Figure
        Its figure.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderTransformer
    >>> from skae.plotting import CodeDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> ae = AutoencoderTransformer(2, max_steps=20, random_state=0).fit(X[:300])
    >>> display = CodeDisplay.from_estimator(ae, X[:300], y[:300])
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
        """Encode rows and draw their codes.

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
            Where to draw.

        Returns
        -------
        display : CodeDisplay

        Raises
        ------
        ValueError
            If the code does not have these columns, or as many rows as `y`.
        """
        return cls(np.asarray(estimator.transform(X)), y, components=components).plot(ax=ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw.

        Returns
        -------
        self : CodeDisplay
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
        except TypeError:  # of several types, which have no order
            labels = labels.astype(str)
            classes = np.unique(labels)
        self.ax_, self.figure_ = _axes(ax, type(self).__name__)
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
    """Reconstruction error against the number of components, of one or several estimators.

    Parameters
    ----------
    n_components : array-like of shape (n_sizes,)
        Sizes of the code.
    errors : dict
        By name, arrays of shape (n_sizes,): mean squared errors.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it was drawn.
    figure_ : matplotlib Figure
        Its figure.

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
    ...     estimators, X[:300], X[300:600], n_components=(2, 4)
    ... )
    >>> list(display.errors)
    ['PCA', 'AutoencoderTransformer']
    >>> plt.close(display.figure_)
    """

    def __init__(self, n_components, errors):
        self.n_components = n_components
        self.errors = errors

    @classmethod
    def from_estimator(cls, estimator, X, X_test=None, *, n_components=(2, 4, 8, 16), ax=None):
        """Fit clones with each number of components and draw their errors.

        Parameters
        ----------
        estimator : estimator, list or dict of estimators
            With `n_components`, `transform` and `inverse_transform`; of a dict, the keys are names.
        X : array-like of shape (n_samples, n_features)
            Rows to fit.
        X_test : array-like of shape (n_test_samples, n_features), optional
            Rows to judge by; those of X by default.
        n_components : sequence of int, default=(2, 4, 8, 16)
            The sizes.
        ax : matplotlib Axes, optional
            Where to draw.

        Returns
        -------
        display : ComponentsDisplay
        """
        if not isinstance(estimator, dict):
            several = estimator if isinstance(estimator, list | tuple) else [estimator]
            estimator = {type(e).__name__: e for e in several}
            if len(estimator) < len(several):
                estimator = {str(e): e for e in several}
        judged = X if X_test is None else X_test
        originals = _dense(judged)
        errors = {}
        for name, template in estimator.items():
            fitted = [clone(template).set_params(n_components=k).fit(X) for k in n_components]
            errors[name] = np.array(
                [
                    mean_squared_error(originals, f.inverse_transform(f.transform(judged)))
                    for f in fitted
                ]
            )
        return cls(np.asarray(n_components), errors).plot(ax=ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw.

        Returns
        -------
        self : ComponentsDisplay
        """
        self.ax_, self.figure_ = _axes(ax, type(self).__name__)
        for name, errors in self.errors.items():
            self.ax_.plot(self.n_components, errors, marker="o", label=name)
        self.ax_.set(
            xlabel="number of components", ylabel="mean squared error", xscale="log", yscale="log"
        )
        self.ax_.set_xticks(self.n_components, labels=map(str, self.n_components))
        self.ax_.set_xticks([], minor=True)
        self.ax_.legend()
        return self
