"""`fit` and `partial_fit` of the autoencoders."""

from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

import numpy as np

from .. import _sklearn_compat
from .._dask.client import has_client, trained
from .._dask.collections import is_collection
from .._data.columns import MixedColumns
from .._data.splits import all_rows
from .._data.table import Table
from .._data.targets import Target
from .._data.weights import Weights
from .._initialization.architecture import Architecture, ArchitectureSpec
from .._initialization.initial_network import first_network, warm_start_network
from .._networks.network import Autoencoder
from .._parameters import (
    CONSTRAINTS,
    check_given,
    check_not_given,
    check_numbers,
    check_same,
    check_same_network,
    training_config,
)
from .._runtime.workers import current_workers
from .._sklearn_compat import CallbackSupportMixin
from .._training.config import TrainingConfig
from .._training.fit import FitResult, finish, fit_network
from .._training.incremental import Stream, equal_row, train_on_batch
from .._training.losses import Objective
from .._training.problem import Problem
from .._training.progress import Progress
from .._training.run import StopReason
from .inference import FittedAutoencoder
from .reporting import kept_text, report_stop
from .validation import (
    TrainingData,
    agreed_seed,
    read_table,
    read_validation_rows,
    split_rows,
    warn_of_empty_columns,
    with_positive_weights,
)

_SHARED = (
    "hidden_layer_sizes",
    "activation",
    "bounds",
    "learning_rate",
    "learning_rate_init",
    "batch_size",
    "max_iter",
    "max_steps",
    "alpha",
    "validation_fraction",
    "early_stopping",
    "n_iter_no_change",
    "tol",
    "warm_start",
    "random_state",
    "verbose",
)
_NO_CLIENT = (
    "There is no distributed.Client, so the Dask collection is loaded into the memory of this "
    "process and fitted here. Create a client first to fit it in the workers of a cluster."
)


class BaseAutoencoder(CallbackSupportMixin, FittedAutoencoder, metaclass=ABCMeta):
    """Base class of the autoencoders: the shared parameters, and training.

    A subclass defines the architecture and the loss of its network, and the names of the loss and
    of the fitted attribute that holds the error.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {name: CONSTRAINTS[name] for name in _SHARED}

    # name of the loss, name of the fitted attribute that holds the error of the kept network, and
    # name of the linear method that gives the initial network
    _loss_name: ClassVar[str]
    _error_name: ClassVar[str]
    _pca_name: ClassVar[str]

    # private fitted attributes: whether the code is whitened, whether the initial network was PCA,
    # the rows that partial_fit stores, and the number of observed values of each column
    _whitened_: bool
    _starts_at_pca_: bool
    _kept_rows_: Any
    _n_observed_: Any

    def __init__(
        self,
        n_components: Any,
        *,
        hidden_layer_sizes: Literal["auto"] | int | Sequence[int],
        activation: str,
        bounds: Any,
        learning_rate: Literal["linear", "cosine", "constant"],
        learning_rate_init: float,
        batch_size: int,
        max_iter: int | Literal["auto"],
        max_steps: int | None,
        alpha: float,
        validation_fraction: float,
        early_stopping: bool,
        n_iter_no_change: int,
        tol: float,
        warm_start: bool,
        random_state: int | np.random.RandomState | None,
        verbose: int,
    ) -> None:
        self.n_components = n_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.bounds = bounds
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.max_steps = max_steps
        self.alpha = alpha
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    # ---- methods and properties that a subclass defines

    @abstractmethod
    def _spec(self) -> ArchitectureSpec:
        """Return the architecture that the parameters ask for."""

    @abstractmethod
    def _objective(self, architecture: Architecture, target: Target | None) -> Objective:
        """Return the loss function."""

    @property
    def _trained_network(self) -> Autoencoder:
        """The fitted network, including params that `transform` does not need."""
        return self._network

    @property
    def _whitens(self) -> bool:
        """Whether `fit` whitens the code."""
        return False

    @property
    def _is_supervised(self) -> bool:
        """Whether the code is trained to predict y. It is also read before validation."""
        return False

    def _check_parameters(self) -> None:
        """Raise ValueError if parameters cannot be combined with each other."""
        check_numbers(self)

    def _check_rows(self, table: Table, columns: dict[str, Any]) -> None:
        """Raise an error if rows are invalid for this estimator; this method accepts all rows."""

    def _columns_of_collection(self, X: Any, *, reset: bool) -> MixedColumns | None:
        """Return the encoding of a Dask collection, or None if no column has categories."""
        return None

    def _encoded_collection(self, X: Any, columns: MixedColumns) -> Any:
        """Return a Dask collection as a Dask array with encoded rows."""
        return X

    def _target(self, y: object, table: Table) -> Target | None:
        """Return the target that the code is trained to predict, or None."""
        return None

    def _first_network(self, table: Table, architecture: Architecture, seed: int) -> Autoencoder:
        """Return the initial network for a table of training rows."""
        return first_network(table, architecture, seed)

    # ---- fit

    @np.errstate(under="ignore")  # underflow to zero is harmless
    def _fit(
        self,
        X: Any,
        y: Any,
        stop_requested: Callable[[], bool] | None = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        groups: Any = None,
        sample_weight: Any = None,
    ) -> Self:
        """Train the network, and return the fitted estimator.

        `stop_requested` is called at each evaluation, and training stops if it returns True.
        """
        given = {"X_val": X_val, "y_val": y_val, "groups": groups}
        check_given(is_supervised=self._is_supervised, **given)
        if is_collection(X):
            check_not_given("a Dask collection", sample_weight=sample_weight)
            return self._fit_collection("_fit", X, y, **given)
        X, y, given = self._with_positive_weights(X, y, given | {"sample_weight": sample_weight})
        weights = given["sample_weight"]
        warm = self.warm_start and hasattr(self, "encoder_") and self._kept_rows_ is None
        data = self._read(X, fitted=warm, weights=weights)
        problem = self._problem(data, y, given, warm)
        statistics = data.columns | self._statistics(problem.table, warm)

        def attributes_of(result: FitResult) -> dict[str, Any]:
            return statistics | self._attributes(result)

        progress = Progress(self, data.table.X, y, attributes_of, stop_requested)
        result = fit_network(problem, progress)
        outcome, state = finish(result.outcome, lambda _: attributes_of(result), data.table.workers)
        self._set_fitted(state)
        progress.log(kept_text(self, result), level=1)
        progress.on_fit_end()
        report_stop(self, outcome.stop_reason, outcome.exception)
        return self

    def _with_positive_weights(
        self, X: Any, y: Any, given: dict[str, Any]
    ) -> tuple[Any, Any, dict[str, Any]]:
        """Return X, y and the other arguments of `fit`, without rows of weight zero.

        If there are weights, a y that is not used is not returned.
        """
        workers, names = current_workers(), [n for n, part in given.items() if part is not None]
        workers.check_agreement({"what fit is given": ", ".join(["X", *names])})
        if given["sample_weight"] is None:
            return X, y, given
        used = {"y": y} if self._is_supervised else {}
        X, given = with_positive_weights(X, given | used)
        return X, given.pop("y", None), given

    def _read(self, X: object, *, fitted: bool, weights: Weights = None) -> TrainingData:
        """Validate parameters and rows; if `fitted`, they must match the fitted network.

        `weights` are the weights of the rows.
        """
        self._check_parameters()
        if fitted:
            check_same_network(self, self._spec())
        table, columns = read_table(self, X, reset=not fitted, weights=weights)
        seed = agreed_seed(self, table, columns)
        self._check_rows(table, columns)
        if fitted:
            architecture = self._spec().with_size(self.n_components_, table.n_features)
            architecture = replace(architecture, categories=table.categories)
        else:
            architecture = self._spec().resolve(table, seed)
        return TrainingData(table=table, columns=columns, seed=seed, architecture=architecture)

    def _problem(self, data: TrainingData, y: Any, given: dict[str, Any], warm: bool) -> Problem:
        """Return the description of a fit: its rows, splits, network, loss and parameters.

        Parameters
        ----------
        data : TrainingData
            The validated rows.
        y : object
            Argument of `fit`.
        given : dict
            Arguments X_val, y_val, groups and sample_weight of `fit`.
        warm : bool
            Whether the initial network is the fitted network of the previous fit.
        """
        table, spec = data.table, self._spec()
        if table.shards is not None:
            check_not_given("a Shard", **given)
        target = self._target(y, table)
        table = replace(table, y=None if target is None else target.y)
        if self._encoding is None:
            warn_of_empty_columns(table, data.columns)
        pca_is_baseline = spec.init == "pca" and not warm
        validation = read_validation_rows(self, given["X_val"], given["y_val"], data, target)
        splits = split_rows(self, table, validation, given["groups"], data.seed, pca_is_baseline)
        return Problem(
            table=table,
            splits=splits,
            architecture=data.architecture,
            objective=self._objective(data.architecture, target),
            initial_network=self._initial_network(table, data.seed, warm, target),
            config=self._config(table),
            seed=data.seed,
            pca_is_baseline=pca_is_baseline,
            whiten=self._whitens,
            retained_variance=None if warm else spec.retained_variance,
        )

    def _config(self, table: Table) -> TrainingConfig:
        """Return the configuration of training.

        `alpha` is divided by the mean weight, because the L2 penalty is `alpha` divided by the
        number of rows, and a row of weight 2 counts as two rows.
        """
        config = training_config(self)
        return replace(config, alpha=config.alpha * table.n_rows / table.total_weight)

    def _initial_network(
        self, table: Table, seed: int, warm: bool, target: Target | None = None
    ) -> Callable[[Table, Architecture], Autoencoder]:
        """Return a function that returns the initial network for a table of training rows.

        If `warm` is True, the initial network is the fitted network of the previous fit. With a
        target, the network gets a linear head that predicts it.
        """
        fitted = None
        if warm:
            fitted = warm_start_network(self._trained_network, self.scale_, self.bounds, table)

        def start(training: Table, architecture: Architecture) -> Autoencoder:
            network = fitted
            if network is None:
                network = self._first_network(training, architecture, seed)
            return network if target is None else target.with_head(network, training)

        return start

    # ---- fitted attributes

    def _statistics(self, table: Table, warm: bool) -> dict[str, Any]:
        """Return the fitted attributes that the training rows determine."""
        mean, n_observed = table.mean_and_count()
        return {
            "mean_": mean,
            "n_samples_seen_": table.total_weight,
            "_n_observed_": n_observed,
            "_starts_at_pca_": self._spec().init == "pca" and not warm,
            "_kept_rows_": equal_row(table),
            "_trained_with_missing_": table.is_incomplete or (warm and self._trained_with_missing_),
        }

    def _attributes(self, result: FitResult) -> dict[str, Any]:
        """Return the fitted attributes that the result of a fit determines."""
        curve, outcome = result.components_curve, result.outcome
        return {
            **self._weights(result.network),
            **({} if curve is None else {"components_curve_": curve}),
            "n_steps_": result.n_steps,
            "n_iter_": result.n_epochs,
            "best_step_": outcome.step,
            "loss_curve_": outcome.losses,
            "validation_curve_": outcome.curve,
            self._error_name: result.error,
        }

    def _weights(self, network: Autoencoder) -> dict[str, Any]:
        """Return the fitted attributes that store a network."""
        params, imputer = (
            network.rescaled(1.0).with_params_in(network.offset.dtype).params,
            network.imputer,
        )
        assert imputer is not None  # every initial network has one
        return {
            "encoder_": params["encoder"],
            "decoder_": params["decoder"],
            "center_": network.offset,
            "scale_": network.scale,
            "bounds_": network.bounds,
            "imputation_model_": dict(vars(imputer.astype(network.offset.dtype))),
            "activations_": network.activations,
            "n_components_": network.code_size,
            "_whitened_": self._whitens,
        }

    # ---- partial_fit

    @np.errstate(under="ignore")
    def _partial_fit(
        self, X: Any, y: Any = None, stop_requested: Callable[[], bool] | None = None
    ) -> Self:
        """Continue training with the next rows of a stream, and return the estimator."""
        if is_collection(X):
            return self._fit_collection("_partial_fit", X, None)
        is_new = not hasattr(self, "encoder_")
        if not is_new:
            check_same("whiten", self._whitens, self._whitened_)
        data, stream = self._read(X, fitted=not is_new), Stream.from_estimator(self)
        starts = stream.starts
        table, architecture = data.table, data.architecture
        if stream.kept is not None:
            table, stream = table.with_rows_before(stream.kept), stream.restarted()
            architecture = self._spec().resolve(table, data.seed)
        problem = Problem(
            table=table,
            splits=[all_rows(table.n_rows)],
            architecture=architecture,
            objective=self._objective(architecture, None),
            initial_network=self._initial_network(table, data.seed, not starts),
            config=training_config(self),
            seed=data.seed,
            whiten=self._whitens,
        )
        result = train_on_batch(stream, problem, data.table)
        if result is None:  # the batch is ignored
            report_stop(self, StopReason.DIVERGED, None)
            return self
        self._set_fitted(
            data.columns
            | self._weights(result.network)
            | result.stream.attributes()
            | {
                "_trained_with_missing_": table.is_incomplete
                or (not is_new and self._trained_with_missing_),
                "_starts_at_pca_": architecture.init == "pca" if starts else self._starts_at_pca_,
                self._error_name: float(result.stream.curve[-1, 1]),
            }
        )
        report_stop(self, result.stop_reason, result.exception)
        return self

    # ---- Dask collections

    def _fit_collection(self, method: str, X: Any, y: Any, **given: Any) -> Self:
        """Call a fit method in the workers of a Dask cluster, and set the fitted attributes.

        Without a Dask client, compute the collection and call the method in this process.
        """
        if not has_client():
            _sklearn_compat.warn(_NO_CLIENT, UserWarning)
            parts = {"X": X, "y": y, **given}
            computed = {
                name: part.compute() if is_collection(part) else part
                for name, part in parts.items()
            }
            fitted: Self = getattr(self, method)(**computed)
            return fitted
        check_not_given("a Dask collection", **given)
        is_continued = hasattr(self, "encoder_") and (method != "_fit" or self.warm_start)
        names = _sklearn_compat.feature_names(self, X._meta, reset=not is_continued)
        estimator = copy(self)
        if self._encoding is None:
            columns = self._columns_of_collection(X, reset=not is_continued)
            if columns is not None:
                X, estimator._encoding = self._encoded_collection(X, columns), columns
        result = trained(estimator, method, X, y, is_continued)
        assert result.state is not None  # otherwise `trained` raises an error
        self._set_fitted(result.state | names)
        for text, category in result.warned:
            _sklearn_compat.warn(text, category)
        if result.error is not None:
            raise result.error
        reason = StopReason.INTERRUPTED if result.is_stopped else StopReason.COMPLETED
        report_stop(self, reason, None)
        return self
