"""What a search of :mod:`fastopt.integrations.sklearn` keeps in its study's storage."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import joblib

from fastopt import tune

__all__ = ["Memory", "fingerprint"]


def fingerprint(name: str, value: Any) -> str:
    """The same for what is the same, in every process."""
    try:
        return joblib.hash(value)
    except Exception as error:
        raise TypeError(
            f"storage: {name} must be picklable, so that it can be compared when the search is "
            f"resumed, got {value!r}"
        ) from error


class Memory:
    """The splits of all candidates of a search, those of earlier fits included.

    Each candidate's stand in the study's storage before its score is told. ``evaluating`` are the
    trials whose candidates scikit-learn has just been given.
    """

    def __init__(self, study: tune.Study) -> None:
        self._study = study
        self._storage = study._storage
        self.evaluating: list[tune.Trial] = []
        notes, told = self._storage.notes(), study.finished
        self._splits: dict[int, list[dict[str, Any]]] = {
            trial.number: json.loads(notes[f"splits of {trial.number}"])
            for trial in told
            if f"splits of {trial.number}" in notes
        }
        # All their fits failed, see SearchCV: their splits come with those of the next candidate.
        self.held = [trial for trial in told if trial.number not in self._splits]

    def __len__(self) -> int:
        return len(self._splits)

    def __reduce__(self) -> Any:
        # scikit-learn sends the search to its workers, which have no use for this: None.
        return type(None), ()

    def compare(self, facts: dict[str, str]) -> None:
        """See that the search in the storage is this one."""

        def note_once(connection: sqlite3.Connection) -> dict[str, str]:
            if not self._study.finished:
                self._storage.note(connection, "search", json.dumps(facts))
            return json.loads(self._storage.notes().get("search", "{}"))

        there = self._storage.transact(note_once)
        changed = [name for name, fact in facts.items() if there.get(name) != fact]
        if changed:
            raise ValueError(
                f"{self._storage.path}, study {self._storage.name!r}, is a search with another "
                f"{', '.join(changed)} and cannot be resumed with this"
            )

    def known(self) -> tune.Trial:
        """A trial with fits that succeeded."""
        trials = self._study.trials
        return trials[min(self._splits, key=lambda number: trials[number].state != "done")]

    def add(self, n_splits: int, out: list[dict[str, Any]]) -> tuple[list[Any], list[Any]]:
        """Keep the last of ``out``, those of ``evaluating``; all candidates and all splits."""
        fresh = out[len(out) - n_splits * len(self.evaluating) :]

        def note_splits(connection: sqlite3.Connection) -> None:
            for index, trial in enumerate(self.evaluating):
                splits = fresh[index * n_splits : (index + 1) * n_splits]
                self._splits[trial.number] = splits
                text = json.dumps(splits, default=lambda number: number.item())
                self._storage.note(connection, f"splits of {trial.number}", text)

        self._storage.transact(note_splits)
        trials = self._study.trials
        candidates = [trials[number].params for number in self._splits]
        return candidates, [split for splits in self._splits.values() for split in splits]
