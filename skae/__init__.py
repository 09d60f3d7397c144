"""Autoencoders for scikit-learn, which start at PCA.

Dimensionality reduction, imputation, anomaly detection, density estimation and sampling.
"""

from ._autoencoder import AutoencoderTransformer
from ._checkpoint import Checkpoint
from ._data.table import Shard
from ._imputer import AutoencoderImputer
from ._outlier_detector import OutlierDetector
from ._variational_autoencoder import VariationalAutoencoder
from ._version import __version__ as __version__

__all__ = [
    "AutoencoderImputer",
    "AutoencoderTransformer",
    "Checkpoint",
    "OutlierDetector",
    "Shard",
    "VariationalAutoencoder",
]
