"""An autoencoder for scikit-learn that starts as PCA and only gets better."""

__version__ = "0.1.0"  # before the modules that put it into files

from ._autoencoder import AutoencoderTransformer
from ._checkpoint import Checkpoint

__all__ = ["AutoencoderTransformer", "Checkpoint"]
