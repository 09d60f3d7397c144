"""Displays of autoencoders, with the interface of scikit-learn's display classes.

This package may import the estimators and the layers below them. Only functions that draw import
matplotlib. A short example of a display is `LossCurveDisplay` in `_curves`.
"""

from ._codes import CodeDisplay, ComponentsDisplay
from ._columns import ColumnErrorsDisplay
from ._contributions import ContributionDisplay
from ._curves import LossCurveDisplay
from ._rows import ImputationDisplay, ReconstructionDisplay

__all__ = [
    "CodeDisplay",
    "ColumnErrorsDisplay",
    "ComponentsDisplay",
    "ContributionDisplay",
    "ImputationDisplay",
    "LossCurveDisplay",
    "ReconstructionDisplay",
]
