"""An autoencoder for scikit-learn that starts as PCA and only gets better."""

from ._autoencoder import AutoencoderTransformer

__version__ = "0.1.0"
__all__ = ["AutoencoderTransformer"]
