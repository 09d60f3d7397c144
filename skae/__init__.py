"""Autoencoders for scikit-learn that start as PCA and only get better."""

__version__ = "0.1.0"  # before the modules that put it into files

from ._autoencoder import AutoencoderTransformer
from ._checkpoint import Checkpoint
from ._imputer import AutoencoderImputer
from ._outlier_detector import OutlierDetector
from ._table import Shard
from ._variational_autoencoder import VariationalAutoencoder

__all__ = [
    "AutoencoderImputer",
    "AutoencoderTransformer",
    "Checkpoint",
    "OutlierDetector",
    "Shard",
    "VariationalAutoencoder",
]
