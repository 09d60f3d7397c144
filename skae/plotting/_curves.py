"""Pictures of training: its loss, and the errors of held-out rows."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ._base import axes_or_new


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
    loss_name : str, default="mean squared error"
        What is minimised.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it was drawn.
    figure_ : matplotlib Figure
        Its figure.

    See Also
    --------
    ComponentsDisplay : Reconstruction error against the number of components.
    skae.AutoencoderTransformer : Its attributes hold the curves.

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
            Where to draw.

        Returns
        -------
        display : LossCurveDisplay
            The display, with `ax_` and `figure_`.

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
        return cls(
            estimator.loss_curve_,
            estimator.validation_curve_,
            estimator.best_step_,
            start_name="PCA" if estimator._starts_at_pca_ else "start",
            loss_name=estimator._loss_name,
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
            The display, with `ax_` and `figure_`.
        """
        self.ax_, self.figure_ = axes_or_new(ax, type(self).__name__)
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
        # a negated log-likelihood can be below zero
        is_positive = min(losses.min(initial=1), self.validation_curve[:, 1:].min(initial=1)) > 0
        scale = "log" if is_positive else "linear"
        ax.set(xlabel="gradient step", ylabel=self.loss_name, yscale=scale)
        if ax.lines:
            ax.legend(fontsize="small")
        return self
