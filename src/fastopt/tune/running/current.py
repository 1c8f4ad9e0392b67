"""What an objective may know and say of the trial that it runs as.

Its number, its folder and its notes go with the params to wherever the objective runs, and the
notes come back with the outcome. While the objective's own code runs, and only then, the trial can
be found in a context variable: trials in other threads and callbacks between two values of a
generator have nothing to do with it. Of a batched objective it holds the trials of all rows.
"""

from __future__ import annotations

import contextvars
import os
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from types import GeneratorType
from typing import Any
from urllib.parse import quote

from fastopt.tune.ledger.values import plain_notes

__all__ = [
    "CurrentTrial",
    "Given",
    "Within",
    "current_trial",
    "current_trials",
    "folder_of",
    "note",
    "within",
]

# Of the name of a folder; file systems take 255.
LONGEST_PART = 200

_current: contextvars.ContextVar[CurrentTrial | list[CurrentTrial]] = contextvars.ContextVar(
    "trial"
)


def folder_of(storage: str | None, name: str, number: int) -> str | None:
    """Where a trial's own files belong: beside the study's file, the same when it runs again."""
    if storage is None:
        return None
    part = quote(name, safe=" ")
    if not part.strip("."):
        part = part.replace(".", "%2E") or "_"
    if len(part) > LONGEST_PART:
        part = f"{part[: LONGEST_PART - 13]}-{sha256(name.encode()).hexdigest()[:12]}"
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
    """Params on their way to the objective, with the number and the folder of their trial, and how
    many objectives it is to return.
    """

    def __init__(
        self, params: Mapping[str, Any], number: int, folder: str | None, n_objectives: int = 1
    ) -> None:
        super().__init__(params)
        self.number = number
        self.folder = folder
        self.n_objectives = n_objectives

    def __reduce__(self) -> Any:
        return Given, (dict(self), self.number, self.folder, self.n_objectives)


class Within:
    """An objective, or the generator that it has returned, with its current trial while it runs, or
    the trials of its rows.
    """

    def __init__(self, trial: CurrentTrial | list[CurrentTrial], run: Any) -> None:
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


class _Steps(Within):
    def __iter__(self) -> _Steps:
        return self

    def __next__(self) -> Any:
        return self._call(next, self._run)

    def send(self, answer: Any) -> Any:
        return self._call(self._run.send, answer)

    def __del__(self) -> None:
        # One that is stopped may clean up, for which its trial must be known as before.
        if isinstance(self._run, GeneratorType) and self._run.gi_frame is not None:
            self._call(self._run.close)


def within(
    objective: Callable[..., Any], params: Mapping[str, Any]
) -> tuple[Callable[..., Any], dict[str, Any], dict[str, Any]]:
    """The objective, which now knows its trial; the params as it gets them; and its notes."""
    if not isinstance(params, Given):
        return objective, dict(params), {}
    trial = CurrentTrial(params.number, params.folder)
    return Within(trial, objective), dict(params), trial.notes


def _running() -> CurrentTrial | list[CurrentTrial]:
    try:
        return _current.get()
    except LookupError:
        raise RuntimeError(
            "no trial runs here: it is known inside of an objective of study.run"
        ) from None


def current_trial() -> CurrentTrial:
    """The trial that the calling objective runs as: its ``number``, its ``folder`` for checkpoints.

    Works in the thread that called the objective, in workers and executors too.

    Raises
    ------
    RuntimeError
        Outside of an objective that a study runs, and in a batched one, which has many trials: see
        :func:`current_trials`.

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
    trial = _running()
    if isinstance(trial, list):
        raise RuntimeError(
            "a batched objective has a trial for each row; tune.current_trials() has them all"
        )
    return trial


def current_trials() -> list[CurrentTrial]:
    """The trials that the calling objective runs as: one, or of a batched one those of its rows.

    They are the rows that there are now, in their order. Else as :func:`current_trial`.

    Examples
    --------
    >>> from fastopt import tune
    >>> def training(params):
    ...     rows = yield params["x"]
    ...     print([trial.number for trial in tune.current_trials()])
    ...     yield params["x"][rows]
    >>> study = tune.Study({"x": tune.Int(1, 6)}, strategy="grid")
    >>> study.run(training, batch=6, scheduler=tune.TopK(2))
    [0, 1]
    """
    running = _running()
    return [*running] if isinstance(running, list) else [running]


def _entries(name: str, column: Any, rows: int) -> list[Any]:
    """What a note of a batched objective says of each row."""
    try:
        entries = [] if isinstance(column, (str, bytes, Mapping)) else list(column)
    except TypeError:
        entries = []
    if len(entries) != rows:
        raise ValueError(
            f"note: {name!r} must have an entry for each of the {rows} rows, in their order, "
            f"got {column!r}; write [value] * {rows} for what is the same of all"
        )
    return entries


def note(**notes: Any) -> None:
    """Keep facts about the trial that the calling objective runs as, in ``trial.notes``.

    They are stored with the trial's result, also where it fails or is stopped, and do not influence
    the search. Of a trial whose time is over or whose worker dies, those are stored that it had
    when it last yielded. In a batched objective each fact is a list or an array with an entry for
    each row that there is now, like the losses.

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
    ValueError
        In a batched objective, for what has not as many entries as there are rows.

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
    running = _running()
    if isinstance(running, CurrentTrial):
        running.notes.update(plain_notes(notes))
        return
    columns = [_entries(name, column, len(running)) for name, column in notes.items()]
    plain = [plain_notes(dict(zip(notes, row, strict=True))) for row in zip(*columns, strict=True)]
    for trial, facts in zip(running, plain):  # noqa: B905 (nothing was noted, or of every row)
        trial.notes.update(facts)
