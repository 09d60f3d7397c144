"""Task and result of a training process, and its files and messages."""

from dataclasses import dataclass
from typing import Any

from sklearn.base import BaseEstimator

# Names of the files in the folder of a training process.
JOB, ROWS, TARGET, RESULT, STOPPED = "job", "rows", "y", "result", "stopped"
# Line on the standard input of a training process that requests a stop.
STOP = b"stop\n"
# Topic of the events that send the output of a training process to the client.
TOPIC = "skae"
# Interval in seconds at which the client checks the workers, and the workers check the client.
INTERVAL = 0.5


@dataclass(frozen=True, kw_only=True)
class Job:
    """Task of a training process.

    Attributes
    ----------
    estimator : estimator
        Estimator to train. It is fitted only if training continues from its network.
    method : str
        Name of the method that is called with rows and y.
    shape, dtype : tuple of int and str
        Shape and dtype of the rows in the file.
    has_y : bool
        Whether files with y exist.
    """

    estimator: BaseEstimator
    method: str
    shape: tuple[int, int]
    dtype: str
    has_y: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """Result of a training process.

    Attributes
    ----------
    state : dict or None
        Fitted attributes, or None if there is no fitted state.
    warned : list of (str, type)
        Messages and categories of warnings.
    error : BaseException or None
        Exception of the method, or None.
    is_stopped : bool
        Whether training stopped because a stop was requested.
    """

    state: dict[str, Any] | None
    warned: list[tuple[str, type[Warning]]]
    error: BaseException | None
    is_stopped: bool = False
