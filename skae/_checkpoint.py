"""A callback that saves the estimator while it is trained."""

import os
from copy import copy
from pathlib import Path

import joblib


class Checkpoint:
    """Callback that saves the fitted estimator at each look at the held-out rows.

    The file always holds a whole estimator, as if `fit` had stopped at the last look: it is
    written beside and put in place in one move, so a process that is killed leaves the one before.
    To go on after that, load it and `fit` with ``warm_start=True``.

    Parameters
    ----------
    path : str or path-like
        The file, as `joblib.dump` writes it. An existing one is replaced.

    See Also
    --------
    AutoencoderTransformer.set_callbacks : Where callbacks go.

    Examples
    --------
    >>> import joblib, tempfile
    >>> from pathlib import Path
    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderTransformer, Checkpoint
    >>> X, _ = load_digits(return_X_y=True)
    >>> path = Path(tempfile.mkdtemp()) / "digits.joblib"
    >>> ae = AutoencoderTransformer(8, max_iter=3, random_state=0)
    >>> ae = ae.set_callbacks(Checkpoint(path)).fit(X)
    >>> saved = joblib.load(path)
    >>> bool((saved.transform(X) == ae.transform(X)).all())
    True
    >>> before = saved.score(X)
    >>> saved.set_params(warm_start=True).fit(X).score(X) > before
    True
    """

    def __init__(self, path):
        self.path = path

    def setup(self, estimator, context):
        """Refuse a path that cannot be written, before training."""
        folder = Path(self.path).absolute().parent
        if not os.access(folder, os.W_OK):
            raise OSError(f"Checkpoint cannot write to {folder}: no such folder, or no permission.")

    def on_fit_task_begin(self, estimator, context):
        """Do nothing."""

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        """Save it."""
        if context.task_name != "epoch":
            return
        saved = copy(fitted_estimator)
        for name in [name for name in vars(saved) if "callback" in name]:
            del vars(saved)[name]  # of this fit, and perhaps not fit for a file
        path = Path(self.path).absolute()
        beside = path.with_name(f"{path.name}.part")
        with beside.open("wb") as file:
            joblib.dump(saved, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)

    def teardown(self, estimator, context):
        """Do nothing."""
