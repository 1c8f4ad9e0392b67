"""What trials came to, from when it is told until it is in the file."""

from __future__ import annotations

import sqlite3
import warnings

from fastopt.tune.ledger.history import History
from fastopt.tune.ledger.sqlite import Storage
from fastopt.tune.space import Result

__all__ = ["Kept", "Outcome"]

# State, result, error, values, notes as JSON, traceback: as Storage.finish takes them.
Outcome = tuple[str, Result | None, str | None, list[float], str, str | None]


class Kept:
    """Holds outcomes while the file cannot be written.

    Parameters
    ----------
    storage : Storage
    history : History
    """

    def __init__(self, storage: Storage, history: History) -> None:
        self._storage = storage
        self._history = history
        self._outcomes: dict[int, Outcome] = {}

    def __contains__(self, number: int) -> bool:
        return number in self._outcomes

    def add(self, number: int, outcome: Outcome) -> None:
        """Keep the outcome of a trial."""
        self._outcomes[number] = outcome

    def discard(self, number: int) -> None:
        """Forget it."""
        self._outcomes.pop(number, None)

    def write(self, own: int | None = None) -> None:
        """Write what is kept, that of ``own`` or an error among it."""
        if not self._outcomes:
            return
        refused: list[int] = []

        def store(connection: sqlite3.Connection) -> None:
            refused.clear()
            for number, outcome in self._outcomes.items():
                if not self._storage.finish(connection, number, *outcome):
                    refused.append(number)

        self._storage.transact(store, durable=True)
        kept, self._outcomes = self._outcomes, {}
        for number in refused:
            if number != own:
                warnings.warn(
                    f"trial {number} does not run any more: what it came to late, "
                    f"{kept[number]!r}, is not stored",
                    RuntimeWarning,
                    stacklevel=2,
                )
        if own in refused:
            self._history.refuse(own)
