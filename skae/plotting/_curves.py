"""Display of the training loss and the validation error."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ._base import axes_or_new


class LossCurveDisplay:
    """Training loss and validation error over the gradient steps.

    A dashed line marks the error of the initial network, such as PCA. A point marks the step whose
    network is kept.

    Parameters
    ----------
    loss_curve : ndarray of shape (n_steps,)
        Training loss of each gradient step.
    validation_curve : ndarray of shape (n_evaluations, 2)
        Gradient step and validation error of each evaluation; the first is that of the initial
        network.
    best_step : int
        Gradient step whose network is kept.
    start_name : str, default="PCA"
        Name of the initial network in the legend.
    loss_name : str, default="mean squared error"
        Name of the loss, the label of the vertical axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    ComponentsDisplay : Reconstruction error against the number of components.
    skae.AutoencoderTransformer : Its attributes `loss_curve_` and `validation_curve_`.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderTransformer
    >>> from skae.plotting import LossCurveDisplay
    >>> X = load_digits().data
    >>> ae = AutoencoderTransformer(8, max_steps=20, random_state=0).fit(X)
    >>> display = LossCurveDisplay.from_estimator(ae)
    >>> display.ax_.get_xlabel()
    'gradient step'
    >>> plt.close(display.figure_)
    """

    def __init__(
        self,
        loss_curve,
        validation_curve,
        best_step,
        *,
        start_name="PCA",
        loss_name="mean squared error",
    ):
        self.loss_curve = loss_curve
        self.validation_curve = validation_curve
        self.best_step = best_step
        self.start_name = start_name
        self.loss_name = loss_name

    @classmethod
    def from_estimator(cls, estimator, *, ax=None):
        """Draw the curves of a fitted autoencoder.

        Parameters
        ----------
        estimator : AutoencoderTransformer or VariationalAutoencoder
            The fitted estimator.
        ax : matplotlib Axes, optional
            Axes to draw in; by default those of a new figure.

        Returns
        -------
        display : LossCurveDisplay
            The display, with `ax_` and `figure_`.

        Raises
        ------
        TypeError
            If the estimator has no attribute `validation_curve_`.
        """
        check_is_fitted(estimator)
        if not hasattr(estimator, "validation_curve_"):
            raise TypeError(
                "estimator must be a fitted AutoencoderTransformer, got "
                f"{type(estimator).__name__}. Of a pipeline, give that step."
            )
        return cls(
            estimator.loss_curve_,
            estimator.validation_curve_,
            estimator.best_step_,
            start_name="PCA" if estimator._starts_at_pca_ else "start",
            loss_name=estimator._loss_name,
        ).plot(ax=ax)

    def plot(self, ax=None):
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw in; by default those of a new figure.

        Returns
        -------
        self : LossCurveDisplay
            The display, with `ax_` and `figure_`.
        """
        self.ax_, self.figure_ = axes_or_new(ax, type(self).__name__)
        ax, losses = self.ax_, self.loss_curve
        # minibatch losses are noisy: draw means of consecutive steps, at most 400
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
            if len(kept):  # partial_fit has not evaluated its last network yet
                ax.plot(
                    self.best_step,
                    kept[-1],
                    "o",
                    color="C1",
                    markersize=7,
                    label=f"kept: step {self.best_step}",
                )
        # a negative log-likelihood can be below zero
        is_positive = min(losses.min(initial=1), self.validation_curve[:, 1:].min(initial=1)) > 0
        scale = "log" if is_positive else "linear"
        ax.set(xlabel="gradient step", ylabel=self.loss_name, yscale=scale)
        if ax.lines:
            ax.legend(fontsize="small")
        return self
