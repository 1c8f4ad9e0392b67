"""The trials of a study: give them out, take their results."""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, get_args

from fastopt import _checks
from fastopt.tune.ledger.agreement import Agreement, Resume
from fastopt.tune.ledger.database import Access, Database
from fastopt.tune.ledger.encoding import describe, params_from_json, params_to_json
from fastopt.tune.ledger.history import History
from fastopt.tune.ledger.kept import Kept, Outcome
from fastopt.tune.ledger.liveness import Owner
from fastopt.tune.ledger.reports import Reports
from fastopt.tune.ledger.restore import pack_space
from fastopt.tune.ledger.sqlite import Storage
from fastopt.tune.ledger.values import plain_notes
from fastopt.tune.space import Parameter, Result, Space, Trial
from fastopt.tune.strategies.by_name import make_strategy
from fastopt.tune.strategies.driver import Driver
from fastopt.tune.strategies.protocol import Direction, Name, SpaceExhausted, Strategy, satisfies

__all__ = ["Ledger"]


class Ledger:
    """What a study remembers, in step with its file and with other processes.

    The arguments are those of :class:`fastopt.tune.Study`, which documents them.

    Attributes
    ----------
    space, strategy, directions, seed, name, constraint
        As in the study. For ``seed=None`` the seed is the one that was drawn, or the file's.
    storage : Storage
    reports : Reports
        The values that running trials report.
    """

    def __init__(
        self,
        space: Mapping[str, Parameter] | Space,
        *,
        strategy: Name | Strategy,
        directions: Sequence[Direction],
        seed: int | None,
        storage: str | os.PathLike[str] | None,
        name: str,
        constraint: Callable[[dict[str, Any]], Any] | None,
        lock_timeout: float = 60.0,
        resume: Resume = "same",
        access: Access = "create",
    ) -> None:
        self.space = space if isinstance(space, Space) else Space(space)
        self.strategy = make_strategy(strategy)
        self.directions = tuple(directions)
        self.seed = secrets.randbits(32) if seed is None else _checks.integer("seed", seed, least=0)
        self.name = _checked_name(name)
        if constraint is not None and not callable(constraint):
            raise TypeError(f"constraint must be callable, got {constraint!r}")
        self.constraint = constraint
        _checks.choice("resume", resume, get_args(Resume))
        if hasattr(self.strategy, "check"):
            self.strategy.check(self.space)
        initial = self.space.initial()
        if initial is not None:
            self._check_constraint(initial, "the point of the initial values")

        self._lock = threading.RLock()
        self._owner = Owner(self)
        # The revision of the history that the strategy was shown.
        self._revision = 0
        timeout = _checks.number("lock_timeout", lock_timeout, least=0, most=2e6)
        self.storage = Storage(Database(storage, timeout, access), name)
        self._access = access
        self._agreement = Agreement(self.storage)
        self._history = History(self.space, self.directions, self.storage)
        self._kept = Kept(self.storage, self._history)
        self.reports = Reports(self.space, self.storage, self._history, self._owner, self._lock)
        try:
            self._open(initial, seed is None, resume)
            self._history.refresh()
        except BaseException:
            self.storage.close()
            raise
        self._driver = Driver(
            self.strategy,
            self.space,
            seed=self.seed,
            directions=self.directions,
            constraint=constraint,
        )

    def _open(self, initial: dict[str, Any] | None, any_seed: bool, resume: Resume) -> None:
        if self._access != "create":  # the space has just been made from the description
            self._agreement.find()
            return
        here = describe(self.space, self.strategy, self.directions, self.seed)
        here["restore"] = {
            "space": pack_space(self.space),
            "constraint": self.constraint is not None,
        }
        first = [] if initial is None else [params_to_json(self.space, initial)]
        self.seed = self._agreement.open(self.space, here, first, any_seed, resume)

    def check(self, params: Mapping[str, Any], what: str) -> dict[str, Any]:
        """The params as the space has them; an error unless they are a point that may be tried."""
        checked = self.space.check(params)
        self._check_constraint(checked, what)
        return checked

    def _check_constraint(self, params: dict[str, Any], what: str) -> None:
        if not satisfies(self.constraint, params):
            raise ValueError(f"constraint: {what} does not satisfy it: {params!r}")

    @property
    def history(self) -> History:
        """This process's copy of what the storage holds."""
        return self._history

    def trials(self) -> list[Trial]:
        """All trials by number, those of other processes included."""
        with self._lock:
            self._history.refresh()
            return [self._history.trials[number] for number in sorted(self._history.trials)]

    def finished(self) -> list[Trial]:
        """The trials that have ended, in the order in which they did."""
        with self._lock:
            self._history.refresh()
            return list(self._history.finished)

    def best(self) -> Trial | None:
        """The feasible trial with the best value, the first of equals."""
        with self._lock:
            self._history.refresh()
            return self._history.best

    def front(self) -> list[Trial]:
        """The feasible trials that no other dominates, if there are several objectives."""
        with self._lock:
            self._history.refresh()
            return list(self._history.front)

    def has_succeeded(self) -> bool:
        """Whether a trial is done, feasible or not."""
        with self._lock:
            self._history.refresh()
            return self._history.n_constraints is not None

    def standing(self) -> str:
        """How the study stands, in a few words."""
        best, front = self.best(), self._history.front
        if best is not None:
            return f"best {best.value:.6g}"
        if front:
            return f"{len(front)} on the front"
        return "none feasible yet" if self.has_succeeded() else "no result yet"

    def __len__(self) -> int:
        """Trials that this process has seen so far; the file is not read."""
        return len(self._history.trials)

    def failed(self) -> int:
        """How many of these have failed."""
        return sum(trial.state == "failed" for trial in self._history.finished)

    def ask(
        self, announce: Callable[[Trial], Any], count: int = 1, most: int | None = None
    ) -> list[Trial]:
        """The next trials to evaluate together, now running; ``announce`` was called with each.

        There are fewer than ``count`` where trials are queued again, which come alone, or where
        there is nothing more to suggest. A study that holds ``most`` trials gets no other,
        whichever process asks.
        """
        taken: list[int] = []
        try:
            with self._lock:
                self._kept.write()
                self.storage.transact(partial(self._take, taken, count, most))
                self._history.refresh()
                trials = [self._history.trials[number] for number in taken]
            for trial in trials:
                announce(trial)
        except BaseException:
            # Ctrl-C: no caller gets the trials.
            if taken:
                with self._lock:
                    self._driver.forget()
                    self._history.refresh()
                    self.release([n for n in self._own() if n in taken])
            raise
        return trials

    def _take(
        self, taken: list[int], count: int, most: int | None, connection: sqlite3.Connection
    ) -> None:
        """Make the next trials ours, and add their numbers to ``taken``."""
        self._agreement.check(connection)
        self._history.refresh()
        orphans = self._history.orphans()[:count]
        taken += orphans
        for number in orphans:
            self.storage.claim(connection, number, self._owner.name())
        new: list[Trial] = []
        while not orphans and len(new) < count:
            try:
                trial, queue_id = self._next(new, most)
            except SpaceExhausted:
                if not new:
                    raise
                return
            taken.append(trial.number)
            params = params_to_json(self.space, trial.params)
            self.storage.insert(connection, trial.number, params, self._owner.name(), queue_id)
            new.append(trial)

    def _next(self, new: Sequence[Trial], most: int | None) -> tuple[Trial, int | None]:
        """The trial that comes after those in ``new``, and its place in the queue, if it has one.

        The history does not know ``new``, which may not be stored after all.
        """
        number = self._history.next_number() + len(new)
        if most is not None and len(self._history.trials) + len(new) >= most:
            raise SpaceExhausted(f"the study holds {most} trials, and no more are wanted")
        queue_id, text = self.storage.next_enqueued() or (None, None)
        params = self._suggest(number, new) if text is None else params_from_json(self.space, text)
        return Trial(number, params), queue_id

    def _suggest(self, number: int, new: Sequence[Trial]) -> dict[str, Any]:
        history = self._history
        if history.revision != self._revision:
            self._revision = history.revision
            self._driver.forget()
        pending = [*history.pending(), *new]
        taken = history.taken
        if new:
            taken = taken | {self.space.key(trial.params) for trial in new}
        return self._driver.ask(number, history.finished, pending, taken, len(new))

    def has_orphans(self) -> bool:
        """Whether trials are queued again."""
        with self._lock:
            self._history.refresh()
            return bool(self._history.orphans())

    def finish(
        self,
        trial: Trial | int,
        state: str,
        result: Result | float | None = None,
        error: str | None = None,
        values: Iterable[float] = (),
        notes: Mapping[str, Any] = MappingProxyType({}),
        traceback: str | None = None,
    ) -> Trial:
        """Store what a running trial came to; it is on disk when this returns.

        If the file cannot be written (it is locked, has been moved, the disk is full) the result is
        kept, and written together with whatever this object writes next. One with another number
        of constraints than the trials before is a failure.
        """
        number = _number(trial)
        text = json.dumps(plain_notes(notes))
        if isinstance(result, float):
            result = Result(result)
        with self._lock:
            if state == "done" and result is not None:
                reason = self.other_constraints(result)
                if reason is not None:
                    state, result, error = "failed", None, f"the value is {reason}"
            try:
                self._kept.add(number, (state, result, error, list(values), text, traceback))
                self.reports.discard(number)
                self._kept.write(number)
                self._history.refresh()
                return self._history.trials[number]
            except OSError as problem:
                if number not in self._kept:
                    raise
                what = f"error {error!r}" if result is None else f"value {result.value!r}"
                raise type(problem)(
                    f"{problem}; the {what} of trial {number} is kept, and is written as soon as "
                    "the file can be, by the next tell, ask, run or close of this study"
                ) from problem
            except BaseException:
                self._kept.discard(number)
                raise

    def other_constraints(self, result: Result) -> str | None:
        """What is wrong with the number of constraints, if it is not that of the trials before."""
        count, known = len(result.constraints), self._history.n_constraints
        if known is None or count == known:
            return None
        return (
            f"a result with {count} constraints, needs {known} as in the trials before: the same "
            "ones each time, 0 or less where one does not matter; study.correct(trial, "
            "tune.Result(value, constraints=[...])) gives earlier trials theirs"
        )

    def insert(self, ended: Iterable[tuple[dict[str, Any], Outcome]]) -> list[Trial]:
        """Store new trials that have ended, params and outcome of each: all of them or none."""
        rows = [(params_to_json(self.space, params), outcome) for params, outcome in ended]

        def write(connection: sqlite3.Connection) -> int:
            self._history.refresh()
            self._agreement.check(connection)
            first = self._history.next_number()
            for number, (text, outcome) in enumerate(rows, first):
                self.storage.insert(connection, number, text, self._owner.name(), None)
                self.storage.finish(connection, number, *outcome)
            return first

        with self._lock:
            first = self.storage.transact(write, durable=True)
            self._history.refresh()
            return [self._history.trials[first + i] for i in range(len(rows))]

    def traceback(self, trial: Trial | int) -> str | None:
        """Where a failed trial raised; None if it did not."""
        number = _number(trial)
        with self._lock:
            return self.storage.traceback(number)

    def revise(
        self,
        trial: Trial | int,
        state: str,
        result: Callable[[Trial], Result] | None,
        error: str | None,
    ) -> Trial:
        """Change what a trial that has ended came to; the trial, which is last of the finished.

        ``result`` makes the new one of the trial as it is.
        """
        number = _number(trial)

        def write(connection: sqlite3.Connection) -> None:
            self._history.refresh()
            known = self._history.trials.get(number)
            if known is None:
                self._history.refuse(number)
            elif known.state == "running":
                raise ValueError(f"trial {number} is running; only one that has ended is revised")
            else:
                made = None if result is None else result(known)
                self.storage.revise(connection, number, state, made, error)

        with self._lock:
            self._history.refresh()
            known = self._history.trials.get(number)
            self.storage.transact(write, durable=True)
            self._history.refresh()
            assert known is not None  # else it was refused
            return known

    def rename(self, name: str) -> None:
        """Give the study another name."""
        _checked_name(name)
        with self._lock:
            self.storage.rename(name)
            self.name = name

    def contents(self) -> tuple[str, dict[str, list[dict[str, Any]]]]:
        """The description and all rows of the study."""
        with self._lock:
            self._kept.write()
            return self.storage.contents()

    def notes(self) -> dict[str, Any]:
        """What :meth:`note` has kept."""
        with self._lock:
            return {key: json.loads(text) for key, text in self.storage.notes().items()}

    def note(self, notes: Mapping[str, Any]) -> None:
        """Keep JSON values by name, all or none."""
        texts = {key: json.dumps(value) for key, value in plain_notes(notes).items()}

        def store(connection: sqlite3.Connection) -> None:
            for key, text in texts.items():
                self.storage.note(connection, key, text)

        with self._lock:
            self.storage.transact(store)

    def requeue(self, trial: Trial | int) -> None:
        """Queue a running trial again, or the params of a failed one."""
        number = _number(trial)
        with self._lock:
            self._history.refresh()
            failed = self._history.trials.get(number)
            if failed is not None and failed.state == "failed":
                # As a new trial: what has ended stays so, for strategies and for other processes.
                self.enqueue(failed.params)
                return

        def disown(connection: sqlite3.Connection) -> None:
            if not self.storage.claim(connection, number, None):
                self._history.refuse(number)

        with self._lock:
            self.storage.transact(disown)
            self._history.refresh()

    def enqueue(self, params: Mapping[str, Any]) -> None:
        """Add a point to the queue."""
        text = params_to_json(self.space, self.check(params, "the enqueued point"))

        def write(connection: sqlite3.Connection) -> None:
            self._agreement.check(connection)
            self.storage.enqueue(connection, text)

        with self._lock:
            self.storage.transact(write)
            self._history.refresh()

    def close(self) -> None:
        """Queue the trials again that were asked from this object but not told, and close."""
        with self._lock:
            if self._access == "read":
                self.storage.close()
                return
            try:
                self._history.refresh()
                self.release(self._own())
            finally:
                self.storage.close()

    def _own(self) -> list[int]:
        """The trials that run and were given out by this object in this process."""
        own = self._owner.name()
        return [number for number, owner in self._history.owners.items() if owner == own]

    def release(self, numbers: Iterable[int]) -> None:
        """Queue those trials again that still run."""

        def disown(connection: sqlite3.Connection) -> None:
            self.reports.store(connection)
            for number in numbers:
                self.storage.claim(connection, number, None)

        with self._lock:
            self._kept.write()
            self.storage.transact(disown)
            self.reports.clear()
            self.storage.settle()


def _number(trial: Trial | int) -> int:
    if isinstance(trial, Trial):
        return trial.number
    try:
        # Python's own integer: one of NumPy would reach SQLite as bytes, which equal no number.
        return _checks.integer("trial", trial)
    except TypeError:
        raise TypeError(f"trial must be a Trial or its number, got {trial!r}") from None


def _checked_name(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"name must be a string, got {name!r}")
    return name
