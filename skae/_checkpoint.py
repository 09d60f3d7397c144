"""Callback that saves the estimator during training."""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import copy
from pathlib import Path
from typing import BinaryIO

import joblib
from sklearn.base import BaseEstimator

from ._sklearn_compat import without_callbacks


class Checkpoint:
    """Callback that saves the estimator at each evaluation on validation rows, and after training.

    The file always contains a complete fitted estimator, as if `fit` had stopped at the last
    evaluation. It is written under a temporary name in the same folder, and then renamed. If the
    process is killed, the previous file remains, and perhaps a temporary file whose name starts
    with ``skae-`` and ends with ``.part``. To continue training, load the file and call `fit` with
    ``warm_start=True``.

    If the file exists, the new file gets its permissions. Until it is renamed, the new file can be
    read by its owner only.

    Parameters
    ----------
    path : str or path-like
        Path of the file, which is written by `joblib.dump`. An existing file is replaced. If the
        path is a symbolic link, the target of the link is replaced. If several fits have the same
        path, as in a grid search, the file contains the estimator that was saved last.

    See Also
    --------
    AutoencoderTransformer.set_callbacks : Sets the callbacks of an estimator.

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

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path

    def setup(self, estimator: BaseEstimator, context: object) -> None:
        """Check before training that the file can be written.

        Parameters
        ----------
        estimator : estimator
            The estimator that is fitted; not used.
        context : sklearn.callback.CallbackContext
            Context of the fit; not used.

        Raises
        ------
        TypeError
            If the path is not a str or path-like.
        OSError
            If the file cannot be written.
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

    def on_fit_task_begin(self, estimator: BaseEstimator, context: object) -> None:
        """Do nothing.

        Parameters
        ----------
        estimator : estimator
            The estimator that is fitted; not used.
        context : sklearn.callback.CallbackContext
            Context of the task; not used.
        """

    def on_fit_task_end(
        self,
        estimator: BaseEstimator,
        context: object,
        *,
        fitted_estimator: BaseEstimator | None,
    ) -> None:
        """Save the fitted estimator, if there is one.

        Parameters
        ----------
        estimator : estimator
            The estimator that is fitted; not used.
        context : sklearn.callback.CallbackContext
            Context of the task; not used.
        fitted_estimator : estimator or None
            The estimator, as if `fit` had stopped at the end of this task. If None, nothing is
            saved.
        """
        if fitted_estimator is None:
            return
        saved = without_callbacks(copy(fitted_estimator))  # the callbacks belong to this fit only
        path = _target(self.path)
        permissions = _permissions(path)
        with _new_file(path.parent) as (written, file):
            joblib.dump(saved, file)
            file.flush()
            os.fsync(file.fileno())
            written.chmod(permissions)
            file.close()
            written.replace(path)

    def teardown(self, estimator: BaseEstimator, context: object) -> None:
        """Do nothing.

        Parameters
        ----------
        estimator : estimator
            The estimator that is fitted; not used.
        context : sklearn.callback.CallbackContext
            Context of the fit; not used.
        """


def _target(path: str | os.PathLike[str]) -> Path:
    """Return the target of a path after symbolic links are resolved."""
    return Path(os.path.realpath(path))


@contextmanager
def _new_file(folder: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """Open a new temporary file for the current user only, and remove it at the end.

    The name is random. A file that was renamed is not removed.

    Yields
    ------
    path : Path
        Path of the file.
    file : file object
        The file, opened for writing bytes.
    """
    descriptor, name = tempfile.mkstemp(prefix="skae-", suffix=".part", dir=folder)
    try:
        with open(descriptor, "wb") as file:
            yield Path(name), file
    finally:
        Path(name).unlink(missing_ok=True)


def _permissions(path: Path) -> int:
    """Return the permissions of a file, or of a new file if it does not exist."""
    with suppress(FileNotFoundError):
        return stat.S_IMODE(path.stat().st_mode)
    with _new_file(path.parent) as (empty, _):
        name = empty.with_suffix(".new.part")
        descriptor = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)  # the umask applies
        try:
            return stat.S_IMODE(os.fstat(descriptor).st_mode)
        finally:
            os.close(descriptor)
            name.unlink()
