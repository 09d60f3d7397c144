"""Description of a fit: the rows, the splits, the network and the configuration."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from .._data.splits import Split
from .._data.table import Table
from .._initialization.architecture import Architecture
from .._networks.network import Autoencoder
from .config import TrainingConfig
from .losses import Objective


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """Everything that determines which network a fit trains, and how.

    Attributes
    ----------
    table : Table
        All training rows.
    splits : sequence of Split
        Splits into training and validation rows.
    architecture : Architecture
        Architecture of the network.
    objective : callable
        Loss function and validation errors; see `losses`.
    initial_network : callable
        ``initial_network(training, architecture)`` returns the initial network for a table of
        training rows.
    config : TrainingConfig
        Parameters of training.
    seed : int
        Seed of the initial network, of the order of minibatches and of the noise.
    pca_is_baseline : bool
        Whether the initial network is PCA, which is kept unless another step is significantly
        better.
    whiten : bool
        Whether to whiten the code of the network.
    retained_variance : float or None
        Fraction of the variance that the code must retain; None if the size of the code is given.
    encoder_axes : ndarray of shape (n_axes, n_features) or None
        Orthonormal axes in which the encoder is trained, if the table fits into the runtime; None
        if it is trained in the columns of the table.
    """

    table: Table
    splits: Sequence[Split]
    architecture: Architecture
    objective: Objective
    initial_network: Callable[[Table, Architecture], Autoencoder]
    config: TrainingConfig
    seed: int
    pca_is_baseline: bool = False
    whiten: bool = False
    retained_variance: float | None = None
    encoder_axes: NDArray[Any] | None = None

    @property
    def n_training(self) -> int:
        """Number of training rows of a split."""
        return len(self.splits[0].training)

    def initial_network_for(self, training: Table) -> Autoencoder:
        """Return the initial network for a table of training rows."""
        return self.initial_network(training, self.architecture)

    def with_size(self, n_components: int) -> "Problem":
        """Return the problem with another number of components."""
        return replace(self, architecture=replace(self.architecture, n_components=n_components))
