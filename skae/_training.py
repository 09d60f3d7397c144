"""One training run: its length and pace, and which snapshot of the network it keeps.

Also the test that a snapshot must pass to be kept instead of PCA.
"""

import time
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from . import _minibatches, _tape
from ._workers import ALONE, WorkerLostError

# How max_iter="auto" trades time for error, in epochs and in gradient steps.
_AUTO_EPOCHS, _AUTO_MIN_STEPS, _AUTO_MAX_STEPS = 200, 600, 9000
# The held-out rows are looked at about so often in a run, at most once an epoch.
_EVALUATIONS = 40
# With early stopping, at least after so many epochs: however long the run could be, it can end.
_MAX_EPOCHS_BETWEEN = 10
# The learning rates and losses of a run are kept in arrays.
_MOST_STEPS = 10**9
# Share of the steps in which the cosine schedule climbs to its peak, and the number of steps for
# partial_fit, which does not know how many are to come.
_WARM_UP_SHARE = 0.05
_STREAM_WARM_UP_STEPS = 100
# A start that leaves less than this share of the variance is exact, up to rounding.
_EXACT = 1e-10
# A loss this many times the first one, or the data's variance, all through a chunk has exploded.
_EXPLODED = 1e6
_LARGEST = float(np.finfo(np.float32).max)
# Level of the test that a network must pass to be kept instead of PCA.
_SIGNIFICANCE = 0.05
# Endings of runs that came from outside.
BROKEN_OFF = ("interrupted", "lost")


class Plan(NamedTuple):
    """How long a run is and what paces it.

    Attributes
    ----------
    shape : tuple of int
        Shape of a chunk, see `_minibatches.chunk_shape`.
    steps_per_epoch : int
        Gradient steps in a pass over the training rows.
    learning_rates : ndarray of shape (n_steps,)
        One for each gradient step.
    stop : int
        Number of these steps to make.
    evaluate_every : int
        Number of steps between two looks at the held-out rows.
    """

    shape: tuple
    steps_per_epoch: int
    learning_rates: np.ndarray
    stop: int
    evaluate_every: int

    @property
    def n_looks(self):
        """How often the held-out rows will be looked at, after the start."""
        return -(-self.stop // self.evaluate_every)

    def chunk_lengths(self):
        """Cut the steps into chunks that end wherever the held-out rows are looked at."""
        done = 0
        while done < self.stop:
            to_evaluation = self.evaluate_every - done % self.evaluate_every
            length = min(self.shape[0], to_evaluation, self.stop - done)
            yield length
            done += length


def plan(shape, n_training, schedule, peak, max_iter, max_steps, early_stopping):
    """Plan a run over n_training rows; the parameters are those of the estimator."""
    steps_per_epoch = -(-n_training // shape[1])
    if max_iter != "auto":
        n_steps = max_iter * steps_per_epoch
    elif max_steps is None:
        n_steps = np.clip(_AUTO_EPOCHS * steps_per_epoch, _AUTO_MIN_STEPS, _AUTO_MAX_STEPS)
    else:
        n_steps = max_steps
    n_steps = int(n_steps if max_steps is None else min(n_steps, max_steps))
    if n_steps > _MOST_STEPS:
        raise ValueError(
            f"max_iter={max_iter!r} and max_steps={max_steps!r} ask for {n_steps:.1e} gradient "
            f"steps, {steps_per_epoch} in an epoch; at most {_MOST_STEPS:.0e} can be made."
        )
    rates = np.full(n_steps, min(peak, _LARGEST), dtype=np.float32)
    if schedule == "cosine":
        warm_up = max(1, round(_WARM_UP_SHARE * n_steps))
        steps = np.arange(1, n_steps + 1)
        progress = (steps - warm_up).clip(min=0) / max(1, n_steps - warm_up)
        rates *= np.minimum(steps / warm_up, (1 + np.cos(np.pi * progress)) / 2)
    n_epochs = n_steps / steps_per_epoch
    n_between = max(1, round(n_epochs / _EVALUATIONS))
    if early_stopping:
        n_between = min(n_between, _MAX_EPOCHS_BETWEEN)
    every = steps_per_epoch * n_between
    return Plan(shape, steps_per_epoch, rates, n_steps, every)


def plan_stream(shape, n_training, peak, step):
    """Plan one pass of partial_fit, which does not know how long the stream is, after `step` steps.

    The learning rate climbs for a fixed number of steps and stays there.
    """
    n_steps = -(-n_training // shape[1])
    steps = np.arange(step + 1, step + n_steps + 1)
    rates = (min(peak, _LARGEST) * np.minimum(steps / _STREAM_WARM_UP_STEPS, 1)).astype(np.float32)
    return Plan(shape, n_steps, rates, n_steps, n_steps)


class Run(NamedTuple):
    """What a training run leaves behind; errors and losses in the units of X.

    Attributes
    ----------
    network : Autoencoder
        The snapshot with the lowest held-out error; without held-out rows, the last one. Snapshots
        are taken when the held-out rows are looked at, or would be.
    losses : ndarray of shape (n_steps,)
        Training loss of each gradient step.
    steps : ndarray of shape (n_evaluations,)
        When the held-out rows were looked at, from 0 on.
    errors : ndarray of shape (n_evaluations, n_held_out)
        Mean squared error of each held-out row then.
    adam : tuple or None
        Without held-out rows, Adam's moments then, to go on with.
    ending : {"done", "exact", "early", "diverged", "interrupted", "lost"}
        What ended the run; "exact": there was nothing to learn at the start; "lost": a worker.
    error : Exception or None
        What the loss of a worker raised.
    """

    network: object
    losses: np.ndarray
    steps: np.ndarray
    errors: np.ndarray
    adam: tuple
    ending: str
    error: Exception = None


def row_errors(network, X, rows):
    """Mean squared error of each of the rows of X, in blocks.

    Computed in float32; rows that are too far from the training rows for that, in double precision.
    """
    in_float32, in_float64 = network.in_scaled_units(), network.astype(np.float64)
    errors = np.empty(len(rows))
    for block in _minibatches.row_blocks(len(rows), X.shape[1]):
        with np.errstate(over="ignore", invalid="ignore"):
            standardised = _minibatches.standardise(X, rows[block], network.offset, network.scale)
            errors[block] = in_float32.squared_errors(standardised)
            errors[block] *= network.scale**2
            far = block.start + np.flatnonzero(~np.isfinite(errors[block]))
            if len(far):
                far_rows = _minibatches.read_rows(X, rows[far]).astype(np.float64)
                errors[far] = in_float64.squared_errors(far_rows)
    return errors / X.shape[1]


def train(
    X,
    training,
    held_out,
    start,
    plan,
    *,
    baseline,
    alpha,
    noise,
    patience,
    tol,
    rng,
    report=None,
    step=0,
    adam=None,
    workers=ALONE,
):
    """Train a network and remember its best snapshot.

    Parameters
    ----------
    X : array, memmap or CSR of shape (n_samples, n_features)
        The table.
    training, held_out : ndarray of int
        Its rows to train on and to judge by; the second may be empty.
    start : Autoencoder
        The network to start from.
    plan : Plan
        Length and pace.
    baseline : Autoencoder
        The network whose held-out errors are those of step 0: the start or, for PCA, the start
        without bounds.
    alpha, noise : float
        See the estimator.
    patience : int or None
        Stop after so many evaluations in a row that did not improve the held-out error by `tol`
        times the variance of the data; None never stops.
    tol : float
        See `patience`.
    rng : numpy.random.Generator
        Shuffles the minibatches and makes the noise.
    report : callable, optional
        Called at each evaluation with the run so far and the seconds left; where it returns True
        the run ends.
    step, adam : int, tuple
        Steps made before and Adam's moments after them, where this run goes on from another.
    workers : Workers
        Who trains together, each with the same arguments.

    Returns
    -------
    Run
    """

    def errors_of(network, rows):
        ours = row_errors(network, X, rows[workers.share(len(rows))])
        return np.concatenate(workers.all_gather_object(ours))

    def look(snapshot, progress, errors):
        """Keep the snapshot if it is better, and return its error."""
        nonlocal network, adam, best_error
        looks.append((done, errors))
        error = errors.mean() if len(held_out) else np.nan
        if not len(held_out):
            network, adam = snapshot, progress.moments
        elif error < best_error:
            network, best_error = snapshot, error
        return error

    def so_far(ending, error=None):
        steps, errors = map(np.array, zip(*looks, strict=True))
        return Run(network, all_losses[:done].copy(), steps, errors, adam, ending, error)

    def snapshot_of(progress):
        trained = progress.network
        return start._replace(encoder=trained.encoder, decoder=trained.decoder)

    variance = start.scale**2
    network, ending, lost = start, "done", None
    all_losses, done, looks = np.empty(plan.stop), 0, [(0, errors_of(baseline, held_out))]
    best_error = looks[0][1].mean() if len(held_out) else np.nan
    stale = 0
    sample = training[:: max(1, len(training) // 1000)]
    if errors_of(start, sample).mean() <= _EXACT * variance:
        return so_far("exact")

    chunks = _minibatches.chunks(
        X,
        training,
        plan.chunk_lengths(),
        plan.shape,
        offset=start.offset,
        scale=start.scale,
        noise=noise,
        rng=rng,
        share=workers.share(plan.shape[1]),
    )
    began = time.monotonic()
    try:
        for progress in _tape.train(
            start.in_scaled_units(),
            chunks,
            plan.learning_rates,
            alpha=alpha,
            step=step,
            moments=adam,
            workers=workers,
        ):
            last, done = done, done + len(progress.losses)
            all_losses[last:done] = progress.losses.astype(np.float64) * variance
            limit = _EXPLODED * max(1.0, all_losses[0] / variance)
            if not np.isfinite(progress.losses).all() or progress.losses.min() > limit:
                ending = "diverged"
                break
            if done % plan.evaluate_every and done < plan.stop:
                continue
            snapshot = snapshot_of(progress)
            if not snapshot.is_finite():
                ending = "diverged"
                break
            goal = best_error - tol * variance
            error = look(snapshot, progress, errors_of(snapshot, held_out))
            stale = 0 if error < goal else stale + 1
            if report is not None:
                left = (time.monotonic() - began) * (plan.stop / done - 1)
                if any(workers.all_gather_object(report(so_far("early"), left))):
                    ending = "early"
                    break
            if patience is not None and stale >= patience:
                ending = "early"
                break
    except KeyboardInterrupt:
        if workers.n_workers > 1:  # the others cannot know, and wait
            raise
        ending = "interrupted"
    except WorkerLostError as error:
        ending, lost = "lost", error
    if ending in BROKEN_OFF and done > looks[-1][0]:
        snapshot = snapshot_of(progress)
        if snapshot.is_finite():
            look(snapshot, progress, row_errors(snapshot, X, held_out))
    return so_far(ending, lost)


def choose(runs, against_pca):
    """Choose the step at which to stop, by the held-out errors of all runs.

    Parameters
    ----------
    runs : list of Run
        Runs over different splits, paced alike.
    against_pca : bool
        Whether the start is PCA, which is kept unless another step is better beyond chance: at the
        5 % level of a one-sided paired t-test. If not, the best step is taken.

    Returns
    -------
    step : int
        The best step; without held-out rows, the last.
    curve : ndarray of shape (n_evaluations, 2)
        Steps, and the mean held-out error over all splits.
    """
    n_looks = min(len(run.errors) for run in runs)
    steps = runs[0].steps[:n_looks]
    errors = np.hstack([run.errors[:n_looks] for run in runs])
    if not errors.size:
        return int(steps[-1]), np.empty((0, 2))
    curve = errors.mean(axis=1)
    best = curve.argmin()
    if against_pca and not clearly_lower(errors[best], errors[0], _SIGNIFICANCE):
        best = 0
    return int(steps[best]), np.column_stack([steps, curve])


def clearly_lower(errors, baseline, significance):
    """Whether errors are lower than the baseline's on the same rows, beyond chance.

    One-sided paired t-test: what matters is how much better each row became against how much that
    varies from row to row, so a few lucky rows out of a small sample decide nothing.
    """
    n_rows = len(errors)
    if n_rows < 2 or not np.isfinite(baseline).all():
        return False
    gains = (baseline - errors) / (baseline.mean() or 1.0)  # so that their squares are numbers
    standard_error = gains.std(ddof=1) / np.sqrt(n_rows)
    return bool(gains.mean() > stdtrit(n_rows - 1, 1 - significance) * standard_error)
