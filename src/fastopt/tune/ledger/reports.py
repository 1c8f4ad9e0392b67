"""The values that running trials report, and what is decided about them."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

from fastopt.tune.ledger.decider import Decider
from fastopt.tune.ledger.encoding import lineage_to_json
from fastopt.tune.ledger.history import History
from fastopt.tune.ledger.liveness import Owner
from fastopt.tune.ledger.sqlite import Storage
from fastopt.tune.ledger.values import plain_notes
from fastopt.tune.space import Result, Space, Trial
from fastopt.tune.space.trial import own_values

__all__ = ["Reports"]

# Values are written at most this often, in units of the time that takes.
WRITE_EVERY = 20


class Reports:
    """Takes the values of one owner's running trials, and writes them to the study's file.

    Parameters
    ----------
    space : Space
    storage : Storage
    history : History
    owner : Owner
        The values of a trial that is no longer this owner's are not written.
    lock : threading.RLock
        Held while any of these is used.
    """

    def __init__(
        self, space: Space, storage: Storage, history: History, owner: Owner, lock: threading.RLock
    ) -> None:
        self._space = space
        self._storage = storage
        self._history = history
        self._owner = owner
        self._lock = lock
        # Trials with values that are not in the file, and when they may be.
        self._unwritten: set[int] = set()
        self._next_writing = 0.0

    def add(
        self,
        values: Mapping[int, float],
        decider: Decider | None = None,
        notes: Mapping[int, Mapping[str, Any]] = MappingProxyType({}),
    ) -> Mapping[int, str]:
        """Add a value to each of some running trials; what was decided about them.

        The file has them soon, so a kill loses little. Where a scheduler has something to decide,
        it has them now, together with the decisions: trials that are stopped have ended, with their
        ``notes``, which are by number.
        """
        with self._lock:
            trials = [self._history.trials[number] for number in values]
            for trial, value in zip(trials, values.values(), strict=True):
                own_values(trial).append(value)
            self._unwritten.update(values)
            decided: Mapping[int, str] = {}
            if decider is not None and decider.are_due(trials):
                texts = {n: json.dumps(plain_notes(notes.get(n, {}))) for n in values}
                try:
                    decided = self._storage.transact(partial(self._decide, trials, decider, texts))
                except BaseException:
                    for trial in trials:
                        own_values(trial).pop()
                    decider.forget(trials)
                    raise
                self._history.refresh()
                self._unwritten.difference_update(values)
            elif time.monotonic() >= self._next_writing:
                self._write_values()
            return decided

    def _decide(
        self,
        trials: Sequence[Trial],
        decider: Decider,
        notes: Mapping[int, str],
        connection: sqlite3.Connection,
    ) -> Mapping[int, str]:
        # What other processes have written counts.
        self._history.refresh()
        own = self._owner.name()
        trials = [t for t in trials if self.owns(t.number)]
        decided = decider.decide(trials)
        for trial in trials:
            # A paused trial comes to its rung again if it has to start anew.
            epochs = 0 if decided[trial.number] == "pause" else len(own_values(trial))
            epochs = max(self._history.decided[trial.number], epochs)
            self._storage.report(connection, trial.number, own, own_values(trial), epochs)
        going = [trial for trial in trials if decided[trial.number] == "go"]
        for target, source, params in decider.exchange(going):
            trial = self._history.trials[target]
            change = {"epoch": len(own_values(trial)), "source": source, "params": params}
            lineage = lineage_to_json(self._space, [*trial.lineage, change])
            self._storage.exchange(connection, target, lineage)
        for trial in trials:
            if decided[trial.number] == "stop":
                facts = notes[trial.number]
                result = Result(own_values(trial)[-1])
                outcome = "stopped", result, None, own_values(trial), facts, None
                self._storage.finish(connection, trial.number, *outcome)
        return decided

    def owns(self, number: int) -> bool:
        """Whether a trial runs for this owner; one that was queued again may be somebody else's."""
        return self._history.owners.get(number) == self._owner.name()

    def resume(self, paused: Iterable[int], more: bool, decider: Decider) -> int | None:
        """The number of a paused trial that goes on, which is stored, if one does."""

        def choose(connection: sqlite3.Connection) -> int | None:
            self._history.refresh()
            here = filter(self.owns, paused)
            number = decider.resume([self._history.trials[n] for n in here], more)
            if number is not None:
                values = own_values(self._history.trials[number])
                self._storage.report(connection, number, self._owner.name(), values, len(values))
            return number

        with self._lock:
            number = self._storage.transact(choose)
            self._history.refresh()
            return number

    def restart(self, trials: Iterable[Trial]) -> None:
        """Forget the values of these running trials, which start from the beginning."""
        with self._lock:
            for trial in trials:
                own_values(trial).clear()
                self._unwritten.add(trial.number)

    def discard(self, number: int) -> None:
        """Do not write the values of this trial; it has ended."""
        self._unwritten.discard(number)

    def clear(self) -> None:
        """All that was to be written has been."""
        self._unwritten.clear()

    def _write_values(self) -> None:
        start = time.monotonic()
        try:
            self._storage.transact(self.store, wait=False)
            # At once: a row that is read later would lack what was reported since.
            self._history.refresh()
        except OSError:
            # A lock passes, and of what does not the trial's end tells, which keeps the result.
            pass
        else:
            self.clear()
        end = time.monotonic()
        self._next_writing = end + WRITE_EVERY * (end - start)

    def store(self, connection: sqlite3.Connection) -> None:
        """Write what is not in the file; for use in the body of a transaction."""
        for number in self._unwritten:
            values = own_values(self._history.trials[number])
            decided = self._history.decided[number]
            self._storage.report(connection, number, self._owner.name(), values, decided)
