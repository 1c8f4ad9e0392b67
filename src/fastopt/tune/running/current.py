"""What an objective may know and say of the trial that it runs as.

Its number, its folder and its notes go with the params to wherever the objective runs, and the
notes come back with the outcome. While the objective's own code runs, and only then, the trial can
be found in a context variable: trials in other threads and callbacks between two values of a
generator have nothing to do with it.
"""

from __future__ import annotations

import contextvars
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastopt.tune.ledger.values import plain_notes

__all__ = [
    "CurrentTrial",
    "Given",
    "current_trial",
    "folder_of",
    "note",
    "within",
]

_current: contextvars.ContextVar[CurrentTrial] = contextvars.ContextVar("trial")


def folder_of(storage: str | None, name: str, number: int) -> str | None:
    """Where a trial's own files belong: beside the study's file, the same when it runs again."""
    if storage is None:
        return None
    part = quote(name, safe=" ")
    if not part.strip("."):
        part = part.replace(".", "%2E") or "_"
    return os.path.join(f"{os.path.abspath(storage)}-trials", part, str(number))


class CurrentTrial:
    """The trial that the objective runs as; see :func:`current_trial`.

    Attributes
    ----------
    number : int
    notes : dict
        What :func:`note` has kept so far.
    """

    def __init__(self, number: int, folder: str | None) -> None:
        self.number = number
        self.notes: dict[str, Any] = {}
        self._folder = folder

    def __repr__(self) -> str:
        return f"<trial {self.number}>"

    @property
    def folder(self) -> Path:
        """A folder of the trial's own beside the study's file, made if absent.

        A trial that is queued again finds there what its last attempt has left.

        Raises
        ------
        RuntimeError
            For a study without ``storage``.
        """
        if self._folder is None:
            raise RuntimeError(
                "the trial has no folder, as its study lives in memory; give it storage="
            )
        os.makedirs(self._folder, exist_ok=True)
        return Path(self._folder)


class Given(dict):
    """Params on their way to the objective, with the number and the folder of their trial."""

    def __init__(self, params: Mapping[str, Any], number: int, folder: str | None) -> None:
        super().__init__(params)
        self.number = number
        self.folder = folder

    def __reduce__(self) -> Any:
        return Given, (dict(self), self.number, self.folder)


class _Within:
    """An objective, or the generator that it has returned, with a current trial while it runs."""

    def __init__(self, trial: CurrentTrial, run: Any) -> None:
        self._trial = trial
        self._run = run

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        token = _current.set(self._trial)
        try:
            return function(*arguments)
        finally:
            _current.reset(token)

    def __call__(self, params: dict[str, Any]) -> Any:
        result = self._call(self._run, params)
        return _Steps(self._trial, result) if isinstance(result, Iterator) else result


class _Steps(_Within):
    def __iter__(self) -> _Steps:
        return self

    def __next__(self) -> Any:
        return self._call(next, self._run)


def within(
    objective: Callable[..., Any], params: Mapping[str, Any]
) -> tuple[Callable[..., Any], dict[str, Any], dict[str, Any]]:
    """The objective, which now knows its trial; the params as it gets them; and its notes."""
    if not isinstance(params, Given):
        return objective, dict(params), {}
    trial = CurrentTrial(params.number, params.folder)
    return _Within(trial, objective), dict(params), trial.notes


def current_trial() -> CurrentTrial:
    """The trial that the calling objective runs as: its ``number``, its ``folder`` for checkpoints.

    Works in the thread that called the objective, in workers and executors too.

    Raises
    ------
    RuntimeError
        Outside of an objective that a study runs, and in a batched one, which has many trials.

    Examples
    --------
    >>> from fastopt import tune
    >>> def objective(params):
    ...     return params["x"] + 100 * tune.current_trial().number
    >>> study = tune.Study({"x": tune.Int(1, 3)}, strategy="grid")
    >>> study.run(objective)
    >>> [trial.value for trial in study.trials]
    [1.0, 102.0, 203.0]
    """
    trial = _current.get(None)
    if trial is None:
        raise RuntimeError("no trial runs here: it is known inside of an objective of study.run")
    return trial


def note(**notes: Any) -> None:
    """Keep facts about the trial that the calling objective runs as, in ``trial.notes``.

    They are stored with the trial's result, also where it fails or is stopped, and do not influence
    the search.

    Parameters
    ----------
    **notes
        What JSON can hold; numbers and arrays of NumPy too. A later one of a name replaces the
        earlier.

    Raises
    ------
    RuntimeError
        Outside of an objective that a study runs.
    TypeError
        For what JSON cannot hold.

    Examples
    --------
    >>> from fastopt import tune
    >>> def objective(params):
    ...     tune.note(accuracy=0.9, confusion=[[9, 1], [2, 8]])
    ...     return params["x"]
    >>> study = tune.Study({"x": tune.Int(1, 3)}, strategy="grid")
    >>> study.run(objective)
    >>> study.best.notes["accuracy"]
    0.9
    """
    current_trial().notes.update(plain_notes(notes))
