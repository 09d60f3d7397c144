"""Pictures of autoencoders, in the manner of scikit-learn's displays.

May import the estimators and the layers below them, and matplotlib where something is drawn.
Start with `LossCurveDisplay` in `_curves`.
"""

from ._codes import CodeDisplay, ComponentsDisplay
from ._contributions import ContributionDisplay
from ._curves import LossCurveDisplay
from ._rows import ImputationDisplay, ReconstructionDisplay

__all__ = [
    "CodeDisplay",
    "ComponentsDisplay",
    "ContributionDisplay",
    "ImputationDisplay",
    "LossCurveDisplay",
    "ReconstructionDisplay",
]
