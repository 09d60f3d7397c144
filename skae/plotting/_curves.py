"""Display of the training loss and the validation error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from ._base import AxesDisplay

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class LossCurveDisplay(AxesDisplay):
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
        loss_curve: NDArray[Any],
        validation_curve: NDArray[Any],
        best_step: int,
        *,
        start_name: str = "PCA",
        loss_name: str = "mean squared error",
    ) -> None:
        self.loss_curve = loss_curve
        self.validation_curve = validation_curve
        self.best_step = best_step
        self.start_name = start_name
        self.loss_name = loss_name

    @classmethod
    def from_estimator(cls, estimator: BaseEstimator, *, ax: Axes | None = None) -> Self:
        """Draw the curves of a fitted autoencoder.

        Parameters
        ----------
        estimator : AutoencoderTransformer or VariationalAutoencoder
            The fitted estimator.
        ax : matplotlib Axes, optional
            Axes to draw in; by default the axes of a new figure.

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
                f"{type(estimator).__name__}. If it is a step of a pipeline, pass it."
            )
        return cls(
            estimator.loss_curve_,
            estimator.validation_curve_,
            estimator.best_step_,
            start_name="PCA" if estimator._starts_at_pca_ else "start",
            loss_name=estimator._loss_name,
        ).plot(ax=ax)

    def _draw(self, ax: Axes) -> None:
        self._draw_training(ax)
        if len(self.validation_curve):
            self._draw_validation(ax)
        # a negative log-likelihood can be below zero
        lowest = min(self.loss_curve.min(initial=1), self.validation_curve[:, 1:].min(initial=1))
        scale = "log" if lowest > 0 else "linear"
        ax.set(xlabel="gradient step", ylabel=self.loss_name, yscale=scale)
        if ax.lines:
            ax.legend(fontsize="small")

    def _draw_training(self, ax: Axes) -> None:
        """Draw means of the training losses, because the losses of minibatches are noisy."""
        losses = self.loss_curve
        if len(losses):
            size = max(1, len(losses) // 200)  # at most 400 means
            starts = np.arange(0, len(losses), size)
            means = np.add.reduceat(losses, starts) / np.diff([*starts, len(losses)])
            ax.plot(starts + size / 2, means, color="C0", alpha=0.6, linewidth=1, label="training")

    def _draw_validation(self, ax: Axes) -> None:
        """Draw the validation errors, that of the initial network, and that of the kept network."""
        steps, errors = self.validation_curve.T
        ax.plot(steps, errors, color="C1", label="validation rows")
        initial = f"{self.start_name}, validation rows"
        ax.axhline(errors[0], color="0.4", linestyle="--", label=initial)
        kept = errors[steps == self.best_step]
        if len(kept):  # partial_fit has not evaluated its last network yet
            label = f"kept: step {self.best_step}"
            ax.plot(self.best_step, kept[-1], "o", color="C1", markersize=7, label=label)
