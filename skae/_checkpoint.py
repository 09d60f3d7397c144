"""A callback that saves the estimator while it is trained."""

import os
import threading
from copy import copy
from pathlib import Path

import joblib

from ._sklearn import without_callbacks


class Checkpoint:
    """Callback that saves the fitted estimator at each evaluation of held-out rows, and at the end.

    The file always holds a whole estimator, as if `fit` had stopped at the last evaluation: it is
    written beside and put in place in one move, so a process that is killed leaves the one before
    (and perhaps a file with the ending ``.part``). To go on after that, load it and `fit` with
    ``warm_start=True``.

    Parameters
    ----------
    path : str or path-like
        The file, as `joblib.dump` writes it. An existing one is replaced. Where several fits share
        a path, as in a grid search, it holds the one that wrote last.

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
        """Refuse a path that cannot be written, before training.

        Parameters
        ----------
        estimator : estimator
            The estimator that is fitted; not used.
        context : sklearn.callback.CallbackContext
            Context of the fit; not used.

        Raises
        ------
        TypeError
            If the path is none.
        OSError
            If no file can be written there.
        """
        if not isinstance(self.path, str | os.PathLike):
            raise TypeError(f"Checkpoint's path must be a str or path-like, got {self.path!r}.")
        path, beside = self._paths()
        try:
            if path.is_dir():
                raise IsADirectoryError("it is a folder")
            beside.touch()
            beside.unlink()
        except OSError as error:
            raise type(error)(f"Checkpoint cannot write to {path}: {error}.") from error

    def _paths(self):
        """Return the file, and one beside it that no other thread or process writes."""
        path = Path(self.path).absolute()
        return path, path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.part")

    def on_fit_task_begin(self, estimator, context):
        """Do nothing.

        Parameters
        ----------
        estimator : estimator
            The estimator that is fitted; not used.
        context : sklearn.callback.CallbackContext
            Context of the task; not used.
        """

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        """Save the fitted estimator, if there is one.

        Parameters
        ----------
        estimator : estimator
            The estimator that is fitted; not used.
        context : sklearn.callback.CallbackContext
            Context of the task; not used.
        fitted_estimator : estimator or None
            The estimator, as if `fit` had stopped at the end of this task. If this is None, nothing
            is saved.
        """
        if fitted_estimator is None:
            return
        saved = without_callbacks(copy(fitted_estimator))  # they are of this fit alone
        path, beside = self._paths()
        try:
            with beside.open("wb") as file:
                joblib.dump(saved, file)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)

    def teardown(self, estimator, context):
        """Do nothing.

        Parameters
        ----------
        estimator : estimator
            The estimator that is fitted; not used.
        context : sklearn.callback.CallbackContext
            Context of the fit; not used.
        """
