"""Pictures of rows: what is left of them, what was filled in, and what makes them unusual.

matplotlib is imported when something is drawn.
"""

from numbers import Integral

import numpy as np
from scipy.sparse import issparse
from sklearn.metrics import mean_squared_error, root_mean_squared_error
from sklearn.utils import check_array

from .._data.inputs import with_nan
from .._sklearn_compat import check_matplotlib_support, get_mask

# Missing entries of an image, a colour beside the greys; and lines or dots of what was filled in.
_MISSING_COLOR, _FILLED_COLOR = "C1", "C3"
# Log-likelihoods overflow where rows are absurd, and infinities cannot be drawn.
_LEAST_DRAWN = -1e100


def axes_or_new(ax, name, figsize=None):
    """Return the axes to draw in, and their figure."""
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
    """Return the mean squared error over the entries that are not missing in the originals."""
    observed = ~np.isnan(originals)
    return mean_squared_error(originals[observed], np.asarray(rows)[observed])


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
        """Draw the errors of a row, of which zero is the middle; NaN as in `_draw_row`."""
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
        """Draw a row as a line, with dots for entries between two missing ones."""
        axes.plot(row, linewidth=1, color=color)
        is_gap = np.pad(np.isnan(row), 1, constant_values=True)
        alone = np.flatnonzero(is_gap[:-2] & ~is_gap[1:-1] & is_gap[2:])
        if len(alone):
            axes.plot(alone, row[alone], ".", color=color, markersize=4)
        axes.set_ylim(*axes.yaxis.get_major_locator().nonsingular(*limits))  # if both are equal


class ReconstructionDisplay(_RowsDisplay):
    """Rows, what is left of them, and what is lost.

    Missing entries of an image are orange, and gaps in a line. Errors are over the others.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_features)
        What was encoded, with NaN for missing entries.
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

    See Also
    --------
    ComponentsDisplay : Reconstruction error against the number of components.
    ImputationDisplay : Rows with missing values, and what was filled in.

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
            The display, with `axes_` and `figure_`.

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
            The display, with `axes_` and `figure_`.
        """
        if self.image_shape is not None:
            _check_image_shape(self.image_shape, self.rows.shape[1])
        titles, drawn = ["original"], [self.rows]
        for name, rows in self.reconstructions.items():
            error = observed_error(self.rows, rows)
            titles += [f"{name}\nMSE {error:.3g}", f"{name}\nminus original"]
            drawn += [rows, rows - self.rows]
        self._make_panels(ax, titles, len(self.rows))
        # an image shows the range of the originals, and lines may leave it
        shown = drawn[:1] if self.image_shape is not None else [drawn[0], *drawn[1::2]]
        limits = np.nanmin(shown), np.nanmax(shown)
        most = np.nanmax(np.abs(drawn[2::2])) or 1.0
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

    See Also
    --------
    ReconstructionDisplay : Rows, and what is left of them.
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
            The display, with `axes_` and `figure_`.

        Raises
        ------
        ValueError
            If an imputer drops or adds columns, or changes what is there; if `truth` has another
            shape than X; if `image_shape` is none, or does not hold as many numbers as a row.
        """
        sample, missing_value = X[:n_samples], getattr(estimator, "missing_values", np.nan)
        rows = with_nan(sample, missing_value)
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

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; its area is divided.

        Returns
        -------
        self : ImputationDisplay
            The display, with `axes_` and `figure_`.
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


class ContributionDisplay(_RowsDisplay):
    """Rows, and how much less likely than usual each of their features is.

    Of each row, bars of the features that make it least likely, with their values; or the row as an
    image, and below it an image in which red pixels make it less likely, and blue ones more. The
    scale is each row's own. What the features leave of a row's score is that its code is unusual.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_features)
        What is drawn, with NaN for what is missing.
    contributions : ndarray of shape (n_rows, n_features)
        Log-likelihood of each entry minus what is usual for its feature; NaN where it is missing.
    scores : ndarray of shape (n_rows,)
        Log-likelihood of each row.
    labels : sequence of shape (n_rows,)
        What to call the rows, such as their numbers.
    feature_names : sequence of str of shape (n_features,)
        Names of the features.
    n_features : int, default=6
        How many bars each row gets, at most.
    image_shape : tuple of int, optional
        Shape of a row as an image, (height, width) or (height, width, channels). Without it, bars
        are drawn.

    Attributes
    ----------
    axes_ : ndarray of shape (n_rows, 1) or (2, n_rows)
        Axes of the bars of each row, or a row of axes for the images and one for contributions.
    figure_ : matplotlib Figure
        The figure.

    See Also
    --------
    skae.OutlierDetector : Says which rows are outliers.
    skae.VariationalAutoencoder : Gives the log-likelihoods of rows and entries.

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
        self, rows, contributions, scores, *, labels, feature_names, n_features=6, image_shape=None
    ):
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
        estimator,
        X,
        *,
        rows=None,
        n_rows=5,
        n_features=6,
        feature_names=None,
        image_shape=None,
        ax=None,
    ):
        """Draw the least likely rows, or chosen ones.

        What is usual for a feature is the median of its log-likelihoods in X.

        Parameters
        ----------
        estimator : OutlierDetector or VariationalAutoencoder
            The fitted estimator.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, those that are usual among them.
        rows : array-like of int or bool, optional
            Which rows to draw, as NumPy takes indices.
        n_rows : int, default=5
            Without `rows`, how many of the least likely rows to draw, at most.
        n_features : int, default=6
            See the class.
        feature_names : sequence of str, optional
            Names of the features. By default those of X in `fit`, or "x0", "x1" and so on.
        image_shape : tuple of int, optional
            See the class.
        ax : matplotlib Axes, optional
            Where to draw; its area is divided.

        Returns
        -------
        display : ContributionDisplay
            The display, with `axes_` and `figure_`.

        Raises
        ------
        TypeError
            If the estimator does not score features.
        ValueError
            If there are no rows to draw; if `feature_names` are not as many as the columns; if
            `image_shape` is none, or does not hold as many numbers as a row.
        """
        if not hasattr(estimator, "score_features"):
            raise TypeError(
                "estimator must be a fitted OutlierDetector or VariationalAutoencoder, got "
                f"{type(estimator).__name__}. Of a pipeline, give that step and the rows that "
                "reach it."
            )
        scores, entries = estimator.score_samples(X), estimator.score_features(X)
        table = dense_rows(X)
        entries = np.maximum(entries.astype(np.float64), _LEAST_DRAWN)
        entries = np.ma.masked_array(entries, mask=np.isnan(table))
        likeliest_last = np.argsort(scores, kind="stable")
        chosen = likeliest_last[:n_rows] if rows is None else np.arange(len(table))[rows]
        if not np.size(chosen):
            raise ValueError(f"There are no rows to draw: rows={rows} and n_rows={n_rows}.")
        chosen = np.atleast_1d(chosen)
        return cls(
            table[chosen],
            (entries[chosen] - np.ma.median(entries, axis=0)).filled(np.nan),
            scores[chosen],
            labels=[f"row {i}" for i in chosen],
            feature_names=_feature_names(estimator, feature_names, table.shape[1]),
            n_features=n_features,
            image_shape=image_shape,
        ).plot(ax=ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; its area is divided.

        Returns
        -------
        self : ContributionDisplay
            The display, with `axes_` and `figure_`.
        """
        if self.image_shape is None:
            self._draw_bars(ax)
        else:
            _check_image_shape(self.image_shape, self.rows.shape[1])
            self._draw_images(ax)
        return self

    def _draw_images(self, ax):
        """Draw rows and what their pixels contribute, in two rows of axes."""
        self._make_panels(ax, ["row", "less likely\nthan usual"], len(self.rows))
        limits = np.fmin.reduce(self.rows, axis=None), np.fmax.reduce(self.rows, axis=None)
        for i, contributions in enumerate(self.contributions):
            most = np.nanmax(np.abs(contributions), initial=0) or 1.0
            self._draw_row(self.axes_[0, i], self.rows[i], limits)
            self._draw_errors(self.axes_[1, i], -contributions, most)
            title = f"{self.labels[i]}\n{self.scores[i]:.4g} nats"
            self.axes_[0, i].set_title(title, fontsize="small")

    def _draw_bars(self, ax):
        """Draw bars of the features that contribute least, in a column of axes."""
        n_bars = max(1, min(self.n_features, self.rows.shape[1]))
        figsize = (6.4, 0.4 + (0.5 + 0.2 * n_bars) * len(self.rows))
        ax, self.figure_ = axes_or_new(ax, type(self).__name__, figsize)
        # a layout engine makes room for titles and numbers itself
        hspace = 0.1 if self.figure_.get_layout_engine() else 0.2 + 2 / n_bars
        self.axes_ = _divide(ax, len(self.rows), 1, hspace)
        for i, (row, contributions) in enumerate(zip(self.rows, self.contributions, strict=True)):
            axes = self.axes_[i, 0]
            lowest = np.argsort(contributions, kind="stable")[:n_bars]  # NaN comes last
            lowest = lowest[~np.isnan(contributions[lowest])]
            values = contributions[lowest]
            axes.barh(range(len(lowest)), values, color=["C3" if v < 0 else "C0" for v in values])
            names = [f"{self.feature_names[j]} = {row[j]:.3g}" for j in lowest]
            axes.set_yticks(range(len(lowest)), names, fontsize="small")
            axes.set_ylim(n_bars - 0.4, -0.6)
            axes.tick_params(axis="x", labelsize="small")
            axes.axvline(0, color="0.4", linewidth=0.8)
            title = f"{self.labels[i]}: log-likelihood {self.scores[i]:.4g}"
            axes.set_title(title, loc="left", fontsize="small")
        self.axes_[-1, 0].set_xlabel("log-likelihood minus the feature's median, nats")


def _feature_names(estimator, names, n_features):
    """Return names of the features: given ones, those of training, or numbered ones."""
    if names is None:
        names = getattr(estimator, "feature_names_in_", [f"x{i}" for i in range(n_features)])
    if len(names) != n_features:
        raise ValueError(f"feature_names are {len(names)}, but X has {n_features} columns.")
    return list(map(str, names))


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


def _divide(ax, n_rows, n_columns, hspace=0.1):
    """Return axes in a grid that takes the place of some axes."""
    ax.set_axis_off()
    shape_and_gaps = {"nrows": n_rows, "ncols": n_columns, "wspace": 0.05, "hspace": hspace}
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
