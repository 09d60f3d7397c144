"""Configuration of training and of the selection of a network."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Parameters of an estimator that control the training and the selection of its network.

    The fields have the names, the values and the meaning of the parameters of
    :class:`~skae.AutoencoderTransformer`. Numbers are Python numbers, because NumPy numbers of
    small types can overflow.
    """

    learning_rate: Literal["linear", "cosine", "constant"]
    learning_rate_init: float
    batch_size: int
    max_iter: int | Literal["auto"]
    max_steps: int | None
    alpha: float
    early_stopping: bool
    n_iter_no_change: int
    tol: float
    corruption: Literal["gaussian", "masking", "swap", "missing"] = "gaussian"
    noise: float = 0.0
