"""Architecture of a network: as the parameters ask for it, and as it is for a table."""

from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any, Literal

from .._data.category_columns import CategoryColumns
from .._data.table import Table
from .._networks.ppca import PPCAParams
from .imputation import initial_imputer, select_imputation_params
from .pca import code_size

# With n_components="auto", the code has as many components as the table has columns, up to this
# number of columns. For wider tables it has as many as the imputation model.
_MAX_AUTO_COMPONENTS = 128
# Hidden layers with hidden_layer_sizes="auto", for a table of at most this number of columns and
# for a wider one. In `benchmarks/defaults.py --real`, three layers lower the error on narrow tables
# by a fifth, and overfit wider tables of few rows.
_MAX_NARROW_FEATURES, _NARROW_LAYERS, _WIDE_LAYERS = 16, (96, 96, 96), (256,)


def automatic_layers(n_features: int) -> tuple[int, ...]:
    """Return the hidden layers of hidden_layer_sizes="auto" for a number of columns."""
    return _NARROW_LAYERS if n_features <= _MAX_NARROW_FEATURES else _WIDE_LAYERS


@dataclass(frozen=True, kw_only=True)
class ArchitectureSpec:
    """Architecture that the parameters of an estimator ask for.

    Attributes
    ----------
    n_components : int, float or "auto"
        Number of components of the code, or how to determine it; see `AutoencoderTransformer`.
    hidden_layer_sizes : tuple of int or "auto"
        Sizes of the encoder's hidden layers; the decoder mirrors them.
    activations : tuple of str
        Hidden, code and output activation.
    init : {"pca", "glorot", "normal"}
        Initial network; see `AutoencoderTransformer`.
    bounds : "auto", None or pair
        Bounds of the output; see `AutoencoderTransformer`.
    is_imputer : bool
        Whether training starts at the imputation model, and not at PCA.
    likelihood : {"gaussian", "bernoulli"} or None
        Likelihood of a variational network, see `VariationalAutoencoder`; None for other networks.
    """

    n_components: float | Literal["auto"]
    hidden_layer_sizes: tuple[int, ...] | Literal["auto"]
    activations: tuple[str, str, str]
    init: str = "pca"
    bounds: Any = None
    is_imputer: bool = False
    likelihood: str | None = None

    @property
    def retained_variance(self) -> float | None:
        """Fraction of the variance that the code must retain; None if the size is given."""
        if self.is_imputer or self.n_components == "auto" or self.n_components >= 1:
            return None
        return float(self.n_components)

    def layers(self, n_features: int) -> tuple[int, ...]:
        """Return the sizes of the hidden layers for a table with this number of columns."""
        sizes = self.hidden_layer_sizes
        return automatic_layers(n_features) if isinstance(sizes, str) else sizes

    def with_size(
        self, n_components: int, n_features: int, ppca_params: PPCAParams | None = None
    ) -> "Architecture":
        """Return the architecture with this number of components, for a number of columns."""
        values = {field.name: getattr(self, field.name) for field in fields(ArchitectureSpec)}
        values |= {"n_components": n_components, "hidden_layer_sizes": self.layers(n_features)}
        return Architecture(**values, ppca_params=ppca_params)

    def resolve(self, table: Table, seed: int) -> "Architecture":
        """Return the architecture for a table of training rows.

        A fraction of the variance gives the number of components of PCA.

        Raises
        ------
        ValueError
            If all values of the table are missing.
        """
        ppca_params = None
        if table.observed_share() == 0:
            raise ValueError("X has no value at all: all of it is missing.")
        if table.is_incomplete or self.is_imputer:
            ppca_params = select_imputation_params(table, table.n_features, seed)
        if self.n_components == "auto":
            n_components = table.n_features
            if ppca_params is not None and table.n_features > _MAX_AUTO_COMPONENTS:
                n_components = max(1, ppca_params.n_components)
        else:
            # the fraction of the variance is computed on imputed rows
            is_share = table.is_incomplete and self.n_components < 1
            complete = (
                table.imputed(initial_imputer(table, ppca_params, seed)) if is_share else table
            )
            n_components = code_size(complete, self.n_components, seed)
        # the code of an imputer starts as the latent variables of the imputation model
        if self.is_imputer and ppca_params is not None and n_components < ppca_params.n_components:
            ppca_params = select_imputation_params(table, n_components, seed)
        architecture = self.with_size(n_components, table.n_features, ppca_params)
        return replace(architecture, categories=table.categories)


@dataclass(frozen=True, kw_only=True)
class Architecture(ArchitectureSpec):
    """Architecture of a network for a table of training rows.

    Attributes
    ----------
    n_components : int
        Number of components of the code.
    hidden_layer_sizes : tuple of int
        Sizes of the encoder's hidden layers; the decoder mirrors them.
    ppca_params : PPCAParams or None
        Hyperparameters of the imputation model; None if that model is computed from complete rows.
    categories : CategoryColumns or None
        The columns of categories of the table.
    """

    n_components: int
    hidden_layer_sizes: tuple[int, ...]
    ppca_params: PPCAParams | None = None
    categories: CategoryColumns | None = None

    def sizes(self, n_features: int) -> list[int]:
        """Return the sizes of the encoder's layers, from the features to the code."""
        return [n_features, *self.hidden_layer_sizes, self.n_components]

    def n_weights(self, n_features: int) -> int:
        """Return the number of coefs in the layers of encoder and decoder."""
        return 2 * sum(n_in * n_out for n_in, n_out in pairwise(self.sizes(n_features)))
