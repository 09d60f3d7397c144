"""Implementation of `fit` and `partial_fit`, shared by the autoencoders."""

from copy import copy
from dataclasses import replace
from functools import partial

import joblib
import numpy as np
from sklearn import config_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import assert_all_finite, check_random_state

from .. import _sklearn_compat
from .._dask.client import has_client, trained
from .._dask.collections import is_collection
from .._data.dependence import dependence_reach
from .._data.splits import (
    MIN_HELD_OUT,
    MIN_HELD_OUT_GROUPS,
    all_rows,
    block_splits,
    group_numbers,
    group_splits,
    random_splits,
)
from .._data.table import Shard
from .._data.targets import Target
from .._initialization.initial_network import Architecture, first_network, restarted
from .._initialization.row_space import Subspace
from .._networks.whitening import Canonical
from .._parameters import (
    activations,
    check_combinations,
    check_given,
    check_same,
    check_same_network,
    is_imputer,
    is_share,
    layer_sizes,
    refuse_given,
    training_config,
)
from .._runtime.workers import WorkerLostError, current_workers
from .._training.callbacks import Progress, print_line
from .._training.incremental import Stream, equal_row, rows_to_keep
from .._training.plan import plan_fit, plan_stream
from .._training.run import Run, StopReason, concluded, run_fit, stacks, train
from .._training.size_search import Sizing


class TrainingMixin:
    """Mixin that trains a network and sets the fitted attributes.

    An estimator with this mixin has all names in `_parameters.CONSTRAINTS` as parameters or as
    class attributes. Its method `_objective` returns the loss function.
    """

    @np.errstate(under="ignore")  # underflow to zero is harmless
    def _fit(self, X, y, should_stop=None, *, X_val=None, y_val=None, groups=None):
        """Train the network, and return the fitted estimator.

        `should_stop` is called at each evaluation, and training stops if it returns True.
        """
        given = {"X_val": X_val, "y_val": y_val, "groups": groups}
        check_given(self, **given)
        if is_collection(X):
            return self._fit_collection("_fit", X, y, **given)
        warm = self.warm_start and hasattr(self, "encoder_") and Stream.of(self).kept is None
        table, columns, seed, architecture = self._open(X, fitted=warm)
        names = [name for name, part in given.items() if part is not None]
        table.workers.check_agreement({"what fit is given": ", ".join(["X", *names])})
        if table.shards is not None:
            refuse_given("a Shard", **given)
        target = Target.of(y, table) if self.target_weight else None
        table = table._replace(y=target and target.y)
        if len(empty := table.empty_columns()):
            empty = _sklearn_compat.column_labels(empty, columns.get("feature_names_in_"))
            _sklearn_compat.warn(
                f"X has no value in columns {empty}: they count as zeros.", UserWarning
            )
        against_pca = self.init == "pca" and not warm
        validation = self._validation_table(X_val, y_val, table, columns, target)
        splits = self._splits(table, validation, groups, seed, against_pca)
        rows, subspace, axes = table, None, None
        if not (warm or self.noise):
            subspace = Subspace.of(table, architecture, len(splits[0].training))
        if subspace is not None and subspace.is_bounded:
            axes, subspace = subspace.axes, None
        elif validation is not None:  # validation rows may lie outside the row space
            subspace = None
        elif subspace is not None:
            rows, architecture = subspace.coordinates(table), architecture._replace(bounds=None)
        objective = self._objective(architecture, target)
        if not warm and is_share(self):
            architecture, columns["components_curve_"] = self._sized(
                rows, architecture, objective, splits[0], axes, seed, target, should_stop
            )
        start = self._start(table, architecture, seed, warm, target)
        config = training_config(self)
        plan = plan_fit(objective, rows, architecture, splits, config, against_pca, axes)

        columns["mean_"], columns["_n_observed_"] = table.mean_and_count()
        columns |= {"n_samples_seen_": table.n_rows, "_starts_at_pca_": against_pca}
        columns["_kept_rows_"] = equal_row(table)
        columns["_had_gaps_"] = table.is_incomplete or (warm and self._had_gaps_)
        canonical = Canonical(
            lambda table: plan.kept_start(start(table)), bool(self.whiten), subspace
        )
        conclude = partial(self._conclude, table, plan, canonical, columns)
        # with several splits, a last run trains on all rows
        n_runs = len(stacks(splits, plan.n_stacked)) + (len(splits) > 1)
        n_tasks = n_runs * plan.n_evaluations
        progress = Progress(self, table.X, y, n_tasks, conclude, should_stop)
        outcome = run_fit(rows, start, plan, splits, seed, progress)
        outcome, state = concluded(outcome, conclude, table.workers)
        self._adopt(state)
        progress.log(self._kept_text(outcome, plan, table), at_least=1)
        progress.on_fit_end()
        _report(self, outcome.stop_reason, outcome.error)
        return self

    def _validation_table(self, X_val, y_val, table, columns, target):
        """Return the table of the validation rows that the user passed, or None.

        Parameters
        ----------
        X_val, y_val : object
            Arguments of `fit`.
        table : Table
            The training rows.
        columns : dict
            The fitted attributes that describe the columns of the training rows.
        target : Target or None
            Target that the code is trained to predict.

        Raises
        ------
        ValueError, TypeError
            If X_val has other columns than X, or if it is invalid for a reason that also makes X
            invalid.
        """
        if X_val is None:
            return None
        fitted = copy(self)
        vars(fitted).update(columns)
        with _sklearn_compat.refusals_of("X_val"):
            validation, _ = fitted._table(X_val, reset=False)
            self._check_rows(validation, columns)
            if validation.dtype != table.dtype:
                with np.errstate(over="ignore"):
                    validation = validation._replace(X=validation.X.astype(table.dtype))
                with config_context(assume_finite=False):
                    assert_all_finite(validation.X, allow_nan=True)
        if target is not None:
            validation = validation._replace(y=target.of_validation(y_val, validation).y)
        if table.workers.n_workers > 1:
            given = joblib.hash((validation.X, validation.y))
            table.workers.check_agreement({"the hash of X_val and y_val": given})
        return validation

    def _splits(self, table, validation, groups, seed, against_pca):
        """Return the splits into training and validation rows; see the module `_data.splits`."""
        if validation is not None:
            return [all_rows(table.n_rows, validation)]
        fraction, rng = float(self.validation_fraction), np.random.default_rng(seed)
        if self.early_stopping and fraction == 0:
            raise ValueError(
                "early_stopping=True needs validation rows, and validation_fraction=0 holds none "
                "out. Set validation_fraction=0.1, pass X_val, or set early_stopping=False."
            )
        min_held_out = MIN_HELD_OUT[is_imputer(self)] if against_pca else 1
        min_groups = MIN_HELD_OUT_GROUPS if against_pca else 1
        if groups is None:
            reach = dependence_reach(table) if fraction else 0
            if not reach:
                return random_splits(table.n_rows, fraction, min_held_out, rng)
            return block_splits(table.n_rows, reach, fraction, min_held_out, min_groups, rng)
        groups = table.workers.checked(group_numbers, groups, table.X)
        table.workers.check_agreement({"the hash of groups": joblib.hash(groups)})
        return group_splits(groups, fraction, min_held_out, min_groups, rng)

    def _fit_collection(self, method, X, y, **given):
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
            return getattr(self, method)(**computed)
        refuse_given("a Dask collection", **given)
        result = trained(self, method, X, y)
        self._adopt(result.state)
        for text, category in result.warned:
            _sklearn_compat.warn(text, category)
        if result.error is not None:
            raise result.error
        _report(self, StopReason.INTERRUPTED if result.is_stopped else StopReason.COMPLETED, None)
        return self

    @np.errstate(under="ignore")
    def _partial_fit(self, X, y=None, should_stop=None):
        """Continue training with the next rows of a stream, and return the estimator."""
        if is_collection(X):
            return self._fit_collection("_partial_fit", X, None)
        is_new = not hasattr(self, "encoder_")
        if not is_new:
            check_same("whiten", bool(self.whiten), self._whitened_)
        new, columns, seed, architecture = self._open(X, fitted=not is_new)
        table, stream = new, Stream.of(self)
        starts = is_new or stream.kept is not None
        if stream.kept is not None:
            table, stream = new.with_rows_before(stream.kept), stream.restarted()
            architecture = self._architecture().sized(table, seed)
        objective = self._objective(architecture)

        network = stream.resumed(self._start(table, architecture, seed, not starts)(table))
        error = objective.row_errors(network.with_params_in(np.float32), table).mean()
        plan = plan_stream(objective, table, architecture, training_config(self), stream.step)
        rng, state = np.random.default_rng([seed, stream.n_steps]), stream.state(network, plan)
        run = Run(table, all_rows(table.n_rows), network, plan)
        train([run], [rng], state=state)
        # ignore a batch on which training diverged, because it would change the whitening
        if run.stop_reason != StopReason.DIVERGED or is_new:
            if run.stop_reason == StopReason.WORKER_LOST:
                table, new = table.alone(), new.alone()
            kept = rows_to_keep(table, network.code_size, self.batch_size) if starts else None
            whiten = bool(self.whiten)
            network, stream = stream.after(run, error, table, new, whiten, kept)
            columns |= {"_had_gaps_": table.is_incomplete or getattr(self, "_had_gaps_", False)}
            columns["_starts_at_pca_"] = self.init == "pca" if starts else self._starts_at_pca_
            columns[self._error_name] = float(stream.curve[-1, 1])
            self._adopt(self._weights(network) | columns | stream.attributes())
        _report(self, run.stop_reason, run.error)
        return self

    def _conclude(self, table, plan, canonical, known, outcome):
        """Return the fitted attributes of a fit with this outcome.

        Parameters
        ----------
        table : Table
            All rows.
        plan : Plan
            Plan of the runs.
        canonical : Canonical
            Returns the whitened network of an outcome.
        known : dict
            The fitted attributes that do not depend on the outcome.
        outcome : Outcome
            Result of the runs.
        """
        if outcome.stop_reason == StopReason.WORKER_LOST:
            table = table.alone() if table.shards is None else table.sample_alone(_HASTY_ROWS)
        network = canonical(outcome, table)
        if len(outcome.curve):
            error = outcome.curve[outcome.curve[:, 0] == outcome.step, 1].item()
        else:
            error = plan.objective.row_errors(network, table).mean()
        n_steps = len(outcome.losses)
        return {
            **known,
            **self._weights(network),
            "n_steps_": n_steps,
            "n_iter_": max(1, -(-n_steps // plan.steps_per_epoch)),
            "best_step_": outcome.step,
            "loss_curve_": outcome.losses,
            "validation_curve_": outcome.curve,
            self._error_name: float(error),
        }

    def _kept_text(self, outcome, plan, table):
        """Return a line of text about the network that was kept, and its error."""
        unit = plan.objective.unit(self._network._replace(scale=self.scale_), table)
        described = plan.objective.described(getattr(self, self._error_name), unit)
        if outcome.step or not plan.against_pca:
            return f"kept step {outcome.step}: {described}"
        reason = ""
        if outcome.stop_reason == StopReason.EXACT:
            reason = ": it leaves no error"
        elif len(outcome.curve):
            reason = ": the network was not better on validation rows"
        pca = "probabilistic PCA" if is_imputer(self) else self._pca_name
        return f"kept {pca}{reason} ({described})"

    def _weights(self, network):
        """Return the fitted attributes that store a network."""
        params = network.rescaled(1.0).with_params_in(network.offset.dtype).params
        return {
            "encoder_": params["encoder"],
            "decoder_": params["decoder"],
            "offset_": network.offset,
            "scale_": network.scale,
            "bounds_": network.bounds,
            "filling_": network.filling.astype(network.offset.dtype)._asdict(),
            "activations_": network.activations,
            "n_components_": network.code_size,
            "_whitened_": bool(self.whiten),
        }

    def _table(self, X, *, reset):
        """Validate the rows of X, which may be a Shard, in all workers.

        Return their table, which holds the workers, and the fitted attributes that describe its
        columns.
        """
        workers, is_shard = current_workers(), isinstance(X, Shard)
        workers.check_agreement({"X": "a Shard" if is_shard else "all rows"})
        rows, is_shard = X.X if is_shard else X, is_shard and workers.n_workers > 1
        options = {"reset": reset, "min_samples": 0 if is_shard else 1}
        table, columns = workers.checked(self._validate, rows, **options)
        if is_shard:
            return table.in_shards(workers), columns
        return table._replace(workers=workers), columns

    def _check_rows(self, table, columns):
        """Raise an error if rows are invalid for this estimator; this method accepts all rows."""

    def _agree(self, table, columns):
        """Return the seed, which is the same in all workers.

        Raises
        ------
        ValueError
            If the workers have different parameters, tables or fitted networks.
        """
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        if table.workers.n_workers > 1:
            facts = {name: repr(value) for name, value in self.get_params().items()}
            facts["the callbacks"] = repr(_sklearn_compat.callback_names(self))
            facts["random_state"] = "None" if self.random_state is None else f"seed {seed}"
            if table.shards is None:
                facts["the shape of X"] = str(table.X.shape)
                sample = np.arange(table.n_rows)[:: max(1, table.n_rows // 100)]
                facts["the hash of 100 rows of X"] = joblib.hash(table.take(sample))
            facts["the number of columns of X"] = str(table.n_features)
            facts["the names of the columns"] = str(columns.get("feature_names_in_"))
            facts["the type of X"] = str(table.X.dtype)
            facts["the hash of the fitted network"] = joblib.hash(getattr(self, "encoder_", None))
            table.workers.check_agreement(facts)
        return table.workers.broadcast_object(seed)

    def _open(self, X, *, fitted):
        """Validate parameters and rows, against the fitted network if `fitted` is True.

        Return the table, the fitted attributes that describe its columns, the seed, and the
        architecture of the network.
        """
        check_combinations(self)
        if fitted:
            check_same_network(self)
        table, columns = self._table(X, reset=not fitted)
        seed = self._agree(table, columns)
        self._check_rows(table, columns)
        architecture = self._architecture()
        if fitted:
            return table, columns, seed, architecture._replace(n_components=self.n_components_)
        return table, columns, seed, architecture.sized(table, seed)

    def _architecture(self):
        """Return the architecture of the network, from the parameters alone."""
        return Architecture(
            self.n_components,
            layer_sizes(self.hidden_layer_sizes),
            activations(self),
            self.init,
            self.bounds,
            is_imputer=is_imputer(self),
        )

    def _start(self, table, architecture, seed, warm, target=None):
        """Return a function that returns the initial network for a table of training rows.

        With `warm`, the initial network is the fitted one. With a target, it has a linear head.
        """
        start = partial(self._first_network, architecture=architecture, seed=seed)
        if warm:
            network = restarted(self._trained_network, self.scale_, self.bounds, table)
            start = lambda training: network  # noqa: E731
        return start if target is None else target.with_head(start)

    # whether this estimator is the inner estimator of an AutoencoderImputer
    _is_of_imputer = False
    # name of the loss, and name of the attribute that holds the error of the kept network
    _loss_name, _error_name = "mean squared error", "reconstruction_err_"
    _pca_name = "PCA"
    _first_network = staticmethod(first_network)

    @property
    def _trained_network(self):
        """The fitted network with all trained params."""
        return self._network

    def _sized(self, table, architecture, objective, split, axes, seed, target, should_stop):
        """Search for the smallest code that retains the fraction `n_components` of the variance.

        Return the architecture with its number of components, and `components_curve_`.
        """

        def start(training, size):
            sized = architecture._replace(n_components=size)
            return self._start(table, sized, seed, warm=False, target=target)(training)

        def plan(size, share):
            sized, config = architecture._replace(n_components=size), training_config(self)
            against_pca = self.init == "pca"
            plan = plan_fit(objective, table, sized, [split], config, against_pca, axes)
            if share == 1:
                return plan
            n_steps = max(1, round(share * plan.stop))
            config = replace(config, max_iter="auto", max_steps=n_steps)
            return plan_fit(objective, table, sized, [split], config, against_pca, axes)

        log = partial(print_line, self)
        sizing = Sizing(table, start, plan, split, seed, log, should_stop)
        largest = min(table.n_features, len(split.training))
        size = sizing.smallest(float(self.n_components), architecture.n_components, largest)
        return architecture._replace(n_components=size), sizing.curve()


# If the workers hold shards and one worker is lost, each other worker whitens the code and computes
# the fitted attributes on a sample of at most this number of its rows.
_HASTY_ROWS = 20_000
_NO_CLIENT = (
    "There is no distributed.Client, so the Dask collection is computed in this process and fitted "
    "there. Make a client first to fit it where its partitions lie."
)
_REMEDIES = ("learning_rate_init", "alpha", "noise")


def _report(estimator, stop_reason, error):
    """Warn if training diverged or was interrupted; raise an error if a worker was lost."""
    names = _sklearn_compat.named_parameters(estimator)
    if stop_reason == StopReason.DIVERGED:
        *most, last = [name for name in _REMEDIES if name in names]
        _sklearn_compat.warn(
            "Training diverged: the loss exploded, or the loss or the weights stopped being "
            "finite. The best network before that is kept. "
            f"Lower {', '.join(most)} or {last}, or scale the data.",
            ConvergenceWarning,
        )
    if stop_reason == StopReason.INTERRUPTED:
        _sklearn_compat.warn(
            "Training was interrupted. The best network up to then is kept.", ConvergenceWarning
        )
    if stop_reason == StopReason.WORKER_LOST:
        go_on = ", and go on from it with warm_start=True" if "warm_start" in names else ""
        raise WorkerLostError(
            f"{error} The best network up to then is kept in this estimator: save it{go_on}."
        ) from error
