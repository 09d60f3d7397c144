"""An autoencoder for scikit-learn that starts as PCA and only gets better."""

from ._autoencoder import AutoencoderTransformer
from ._checkpoint import Checkpoint

__version__ = "0.1.0"
__all__ = ["AutoencoderTransformer", "Checkpoint"]
