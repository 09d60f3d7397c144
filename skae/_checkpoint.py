"""A callback that saves the estimator while it is trained."""

import os
import stat
import tempfile
from contextlib import contextmanager, suppress
from copy import copy
from pathlib import Path

import joblib

from ._sklearn_compat import without_callbacks


class Checkpoint:
    """Callback that saves the fitted estimator at each evaluation of held-out rows, and at the end.

    The file always holds a whole estimator, as if `fit` had stopped at the last evaluation: it is
    written under another name in the same folder and then renamed, so a process that is killed
    leaves the file before (and perhaps one that starts with ``skae-`` and ends with ``.part``). To
    go on after that, load it and `fit` with ``warm_start=True``.

    A file that is replaced passes its permissions on. Until it is renamed, the new one can be read
    by its owner alone.

    Parameters
    ----------
    path : str or path-like
        The file, as `joblib.dump` writes it. An existing one is replaced; of a symbolic link, the
        file that it leads to. Where several fits share a path, as in a grid search, it holds the
        one that wrote last.

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
        path = Path(self.path).absolute()
        try:
            if path.is_dir():
                raise IsADirectoryError("it is a folder")
            _permissions(_target(path))
            with _new_file(_target(path).parent):
                pass
        except OSError as error:
            raise type(error)(f"Checkpoint cannot write to {path}: {error}.") from error

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
        path = _target(self.path)
        permissions = _permissions(path)
        with _new_file(path.parent) as (written, file):
            joblib.dump(saved, file)
            file.flush()
            os.fsync(file.fileno())
            written.chmod(permissions)
            file.close()
            written.replace(path)

    def teardown(self, estimator, context):
        """Do nothing.

        Parameters
        ----------
        estimator : estimator
            The estimator that is fitted; not used.
        context : sklearn.callback.CallbackContext
            Context of the fit; not used.
        """


def _target(path):
    """Return the file that a path leads to, through symbolic links."""
    return Path(os.path.realpath(path))


@contextmanager
def _new_file(folder):
    """Open a new file that no other user can guess, read or replace; remove it at the end.

    Yields
    ------
    path : Path
        Where it is. If it is renamed, it is kept.
    file : file object
        Open for writing bytes.
    """
    descriptor, name = tempfile.mkstemp(prefix="skae-", suffix=".part", dir=folder)
    try:
        with open(descriptor, "wb") as file:
            yield Path(name), file
    finally:
        Path(name).unlink(missing_ok=True)


def _permissions(path):
    """Return the permissions of a file; if there is none, those that a new one would get."""
    with suppress(FileNotFoundError):
        return stat.S_IMODE(path.stat().st_mode)
    with _new_file(path.parent) as (empty, _):
        name = empty.with_suffix(".new.part")
        descriptor = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)  # minus the umask
        try:
            return stat.S_IMODE(os.fstat(descriptor).st_mode)
        finally:
            os.close(descriptor)
            name.unlink()
