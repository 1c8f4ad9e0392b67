"""Ask and tell: what a study remembers, and who may add to it."""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from .callbacks import notify
from .evaluate import read_value
from .history import History
from .owner import register
from .parameters import Categorical, Float, Int
from .records import describe, differences, params_to_json
from .space import Space
from .storage import Storage
from .strategies import make_strategy
from .strategy import Strategy, View
from .trial import Trial

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["AskTell"]

MISSING = object()


def _check_seed(seed: int | None) -> int:
    if seed is None:
        return secrets.randbits(32)
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise TypeError(f"seed must be an integer or None, got {seed!r}")
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed!r}")
    return seed.__index__()


class AskTell:
    """The part of :class:`~fastopt.tune.Study` that gives out trials and takes their results."""

    def __init__(
        self,
        space: Mapping[str, Float | Int | Categorical] | Space,
        *,
        strategy: str | Strategy = "bayes",
        direction: str = "minimize",
        seed: int | None = 0,
        storage: str | os.PathLike[str] | None = None,
        name: str = "study",
        constraint: Callable[[dict[str, Any]], Any] | None = None,
        callbacks: Iterable[Any] = (),
    ) -> None:
        self.space = space if isinstance(space, Space) else Space(space)
        self.strategy = make_strategy(strategy)
        if direction not in ("minimize", "maximize"):
            raise ValueError(f"direction must be 'minimize' or 'maximize', got {direction!r}")
        self.direction = direction
        self.seed = _check_seed(seed)
        if not isinstance(name, str):
            raise TypeError(f"name must be a string, got {name!r}")
        self.name = name
        if constraint is not None and not callable(constraint):
            raise TypeError(f"constraint must be callable, got {constraint!r}")
        self.constraint = constraint
        self.callbacks = list(callbacks)
        if hasattr(self.strategy, "check"):
            self.strategy.check(self.space)
        initial = self.space.initial()
        if initial is not None:
            self._check_constraint(initial, "the point of the initial values")

        self._lock = threading.RLock()
        self._warned: set[int] = set()
        self._stopping = False
        self._told = 0
        self._cache: dict[Any, Any] = {}
        self._owner = register(self)
        self._storage = Storage(storage, name)
        self._history = History(self.space, direction, self._storage)
        try:
            self._open(initial, any_seed=seed is None)
            self._history.refresh()
        except BaseException:
            self._storage.close()
            raise

    def _open(self, initial: dict[str, Any] | None, any_seed: bool) -> None:
        here = describe(self.space, self.strategy, self.direction, self.seed)
        first = [] if initial is None else [params_to_json(self.space, initial)]
        there = self._storage.open_study(here, first)
        if any_seed:
            here["seed"] = self.seed = there["seed"]
        lines = differences(there, here)
        if lines:
            raise ValueError(
                f"{self._storage.path}, study {self.name!r}, was started differently and cannot be "
                "resumed so:\n  " + "\n  ".join(lines)
            )

    def __repr__(self) -> str:
        where = "" if self._storage.path is None else f", storage={self._storage.path!r}"
        return (
            f"<Study {self.name!r}: {len(self._history.trials)} trials, {self.strategy!r}{where}>"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _check_constraint(self, params: dict[str, Any], what: str) -> None:
        if self.constraint is not None and not self.constraint(dict(params)):
            raise ValueError(f"constraint: {what} does not satisfy it: {params!r}")

    @property
    def trials(self) -> list[Trial]:
        """All trials by number, those of other processes included."""
        with self._lock:
            self._history.refresh()
            return [self._history.trials[number] for number in sorted(self._history.trials)]

    @property
    def finished(self) -> list[Trial]:
        """The trials that have ended, in the order in which they did."""
        with self._lock:
            self._history.refresh()
            return list(self._history.finished)

    @property
    def best(self) -> Trial:
        """The done trial with the best value, the first of equals.

        Raises
        ------
        ValueError
            While no trial has succeeded.
        """
        with self._lock:
            self._history.refresh()
            if self._history.best is None:
                failed = [trial for trial in self._history.finished if trial.state == "failed"]
                last = f"; the last failure: {failed[-1].error}" if failed else ""
                raise ValueError(
                    f"no trial has succeeded yet ({len(self._history.finished)} ended, "
                    f"{len(failed)} failed{last})"
                )
            return self._history.best

    # Ask and tell

    def ask(self) -> Trial:
        """The next trial to evaluate, now running.

        First come trials whose process died and those given to :meth:`requeue`, then enqueued
        points, then the strategy's.

        Raises
        ------
        SpaceExhausted
            If there is nothing left to suggest; ImprovementSpent, which is one, if the strategy
            expects too little of it.
        """
        taken: list[int] = []
        try:
            with self._lock:
                self._storage.transact(partial(self._take, taken))
                self._history.refresh()
                trial = self._history.trials[taken[0]]
            self._notify("on_trial_start", trial)
        except BaseException:
            # Ctrl-C, and nobody gets the trial.
            if taken:
                with self._lock:
                    self._history.refresh()
                    self._release([n for n in taken if self._history.owners.get(n) == self._owner])
            raise
        return trial

    def _take(self, taken: list[int], connection: sqlite3.Connection) -> None:
        """Make the next trial ours, and add its number to ``taken``."""
        self._history.refresh()
        number = self._history.orphan()
        if number is not None:
            taken.append(number)
            self._storage.claim(connection, number, self._owner)
            return
        number = len(self._history.trials)
        queue_id, params = self._storage.next_enqueued() or (None, None)
        if params is None:
            params = params_to_json(self.space, self._suggest(number))
        taken.append(number)
        self._storage.insert(connection, number, params, self._owner, queue_id)

    def _suggest(self, number: int) -> dict[str, Any]:
        view = View(
            space=self.space,
            seed=self.seed,
            direction=self.direction,
            number=number,
            finished=self._history.finished,
            pending=self._history.pending(),
            taken=self._history.taken,
            constraint=self.constraint,
            cache=self._cache,
        )
        if hasattr(self.strategy, "tell"):
            while self._told < len(self._history.finished):
                self._told += 1
                self.strategy.tell(view, self._history.finished[self._told - 1])
        params = self.space.check(self.strategy.ask(view))
        self._check_constraint(params, f"the suggestion of {self.strategy!r}")
        return params

    def tell(
        self,
        trial: Trial | int,
        value: Any = MISSING,
        *,
        error: str | None = None,
        values: Iterable[float] = (),
    ) -> None:
        """Store the result of a running trial; it is on disk when this returns.

        Parameters
        ----------
        trial : Trial or int
            The trial, or its number.
        value : float
            A finite real number. With anything else (NaN, an infinity, None, a string) the trial
            counts as failed, and its ``error`` says why.
        error : str, optional
            Instead of a value: why the trial failed.
        values : iterable of float, optional
            The values at each epoch.

        Raises
        ------
        ValueError
            If there is no such trial, or it is not running.
        TypeError
            For both a value and an error, or neither.
        """
        if (value is MISSING) is (error is None):
            raise TypeError("tell needs either a value or error=, not both")
        values = [float(item) for item in values]
        if error is not None:
            self._finish(trial, "failed", error=str(error), values=values)
            return
        number, reason = read_value(value)
        if reason is not None:
            self._finish(trial, "failed", error=f"the value is {reason}", values=values)
        else:
            self._finish(trial, "done", value=number, values=values)

    def _finish(
        self,
        trial: Trial | int,
        state: str,
        value: float | None = None,
        error: str | None = None,
        values: Iterable[float] = (),
    ) -> None:
        number = trial.number if isinstance(trial, Trial) else trial
        values = list(values)

        def store(connection: sqlite3.Connection) -> None:
            if not self._storage.finish(connection, number, state, value, error, values):
                self._refuse(number)

        with self._lock:
            self._storage.transact(store, durable=True)
            self._history.refresh()
            trial = self._history.trials[number]
        self._notify("on_trial_end", trial)

    def _refuse(self, number: Any) -> None:
        self._history.refresh()
        if number not in self._history.trials:
            raise ValueError(
                f"trial {number!r} does not exist; there are {len(self._history.trials)}"
            )
        raise ValueError(
            f"trial {number} is not running, it is {self._history.trials[number].state}"
        )

    def requeue(self, trial: Trial | int) -> None:
        """Queue a running trial again: some ``ask`` will give it out, same number, same params.

        For trials of a process that has died where that cannot be seen: on another host or in
        another container.

        Raises
        ------
        ValueError
            If there is no such trial, or it is not running.
        """
        number = trial.number if isinstance(trial, Trial) else trial

        def disown(connection: sqlite3.Connection) -> None:
            if not self._storage.claim(connection, number, None):
                self._refuse(number)

        with self._lock:
            self._storage.transact(disown)
            self._history.refresh()

    def enqueue(self, params: Mapping[str, Any]) -> None:
        """Add a point of the user's own, to be evaluated before the strategy's.

        Raises
        ------
        ValueError, TypeError
            If it is not a complete point of the space, or violates the constraint.
        """
        checked = self.space.check(params)
        self._check_constraint(checked, "the enqueued point")
        with self._lock:
            self._storage.enqueue(params_to_json(self.space, checked))
            self._history.refresh()

    def stop(self) -> None:
        """Make ``run`` end when the trials that run have ended; for callbacks."""
        self._stopping = True

    def close(self) -> None:
        """Queue the trials again that were asked from this object but not told, and close."""
        with self._lock:
            self._history.refresh()
            self._release([n for n, owner in self._history.owners.items() if owner == self._owner])
            self._storage.close()

    def _release(self, numbers: Iterable[int]) -> None:
        """Queue those trials again that still run."""

        def disown(connection: sqlite3.Connection) -> None:
            for number in numbers:
                self._storage.claim(connection, number, None)

        with self._lock:
            self._storage.transact(disown)

    def _notify(self, event: str, *arguments: Any) -> None:
        notify(self.callbacks, self._warned, event, self, *arguments)
