"""This process's copy of what the storage holds of one study."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from typing import Any, NoReturn

from fastopt.tune.fronts.domination import dominates
from fastopt.tune.ledger.encoding import lineage_from_json, params_from_json
from fastopt.tune.ledger.liveness import is_alive
from fastopt.tune.ledger.sqlite import Storage
from fastopt.tune.space.space import Space
from fastopt.tune.space.trial import Trial

__all__ = ["History"]


class History:
    """The trials of a study, brought up to date by :meth:`refresh`.

    Attributes
    ----------
    trials : dict of int to Trial
    finished : list of Trial
        In the order in which they were told.
    owners : dict of int to (str or None)
        Who runs each running trial.
    taken : set
        Keys of all trials.
    decided : dict of int to int
        Values of each trial that a scheduler has decided about, those of earlier attempts included.
    best : Trial or None
        Of the feasible ones, if there is one objective.
    front : list of Trial
        The feasible ones that no other dominates, if there are several.
    n_constraints : int or None
        The most that a done trial has, None before one is. Trials before a correction may have
        fewer.
    deleted : set of int
        Numbers of trials that are no more.
    revision : int
        Grows whenever something else has happened to ``finished`` than that trials were appended.
    """

    def __init__(self, space: Space, directions: Sequence[str], storage: Storage) -> None:
        self._space = space
        self._signs = [1.0 if direction == "minimize" else -1.0 for direction in directions]
        self._storage = storage
        self._version = 0
        self._next_number = 0
        self.trials: dict[int, Trial] = {}
        self.finished: list[Trial] = []
        self.owners: dict[int, str | None] = {}
        self.taken: set[Hashable] = set()
        self.decided: dict[int, int] = {}
        self._followers: list[dict[int, Trial]] = []
        self.best: Trial | None = None
        self.front: list[Trial] = []
        self.n_constraints: int | None = None
        self.deleted: set[int] = set()
        self.revision = 0

    def refresh(self) -> None:
        """Read what was written since the last time, by this process or any other."""
        try:
            for row in self._storage.changes(self._version):
                self._take(*row)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{self._storage.path} is damaged, or another process has extended the study's "
                f"space: {error!r}"
            ) from error

    def _take(
        self,
        number: int,
        params: str,
        state: str,
        value: float | None,
        error: str | None,
        epochs: str,
        started: float,
        finished: float | None,
        owner: str | None,
        notes: str,
        decided: int,
        lineage: str,
        objectives: str,
        constraints: str,
        version: int,
    ) -> None:
        self._next_number = max(self._next_number, number + 1)
        trial = self.trials.get(number)
        if state == "deleted":
            self._delete(number, trial)
            self._version = version
            return
        if trial is None:
            trial = Trial(number, params_from_json(self._space, params))
            self.taken.add(self._space.key(trial.params))
            self.trials[number] = trial
        had_ended = trial.state != "running"
        trial.value, trial.error, trial.state = value, error, state
        trial.started, trial.finished = started, finished
        trial.values = json.loads(epochs)
        trial.notes = json.loads(notes)
        trial.objectives = json.loads(objectives)
        trial.constraints = json.loads(constraints)
        trial.lineage = lineage_from_json(self._space, lineage)
        self.decided[number] = decided
        for changed in self._followers:
            changed[number] = trial
        if state == "running":
            self.owners[number] = owner
        else:
            self.owners.pop(number, None)
            if had_ended:
                self._withdraw(trial)
            self.finished.append(trial)
            self._consider(trial)
        self._version = version

    def _withdraw(self, trial: Trial) -> None:
        """As if the trial had not ended: its end is revised, or after Ctrl-C taken once more."""
        self.finished = [other for other in self.finished if other is not trial]
        self.best, self.front, self.n_constraints = None, [], None
        for other in self.finished:
            self._consider(other)
        self.revision += 1

    def _consider(self, trial: Trial) -> None:
        """What a trial that has ended changes in the best, the front, and the constraints."""
        if trial.state == "done":
            self.n_constraints = max(self.n_constraints or 0, len(trial.constraints))
        if trial.feasible:
            self._compare(trial)

    def _compare(self, trial: Trial) -> None:
        """Make a feasible trial the best, or one of the front, if it is."""
        if len(self._signs) == 1:
            self.best = min(self.best or trial, trial, key=self._rank)
            return
        place = self._place(trial)
        others = [self._place(other) for other in self.front]
        if any(dominates(other, place) for other in others):
            return
        self.front = [
            other
            for other, theirs in zip(self.front, others, strict=True)
            if not dominates(place, theirs)
        ]
        self.front.append(trial)
        self.front.sort(key=lambda trial: (self._place(trial), trial.number))

    def _place(self, trial: Trial) -> tuple[float, ...]:
        """Its objectives, all to be minimised."""
        return tuple(s * v for s, v in zip(self._signs, trial.objectives, strict=True))

    def _delete(self, number: int, trial: Trial | None) -> None:
        # In this order, for after Ctrl-C in between the row is taken again.
        if trial is not None:
            self._withdraw(trial)
            trial.state = "deleted"
            others = (other for other in self.trials.values() if other is not trial)
            self.taken = {self._space.key(other.params) for other in others}
            # It may have ended and been deleted since it was last seen, running.
            self.owners.pop(number, None)
            del self.trials[number]
        self.deleted.add(number)

    def next_number(self) -> int:
        """The number of the next new trial; that of a deleted one is not given again."""
        return self._next_number

    def _rank(self, trial: Trial) -> tuple[float, int]:
        assert trial.value is not None  # it is done
        return self._signs[0] * trial.value, trial.number

    def refuse(self, number: Any) -> NoReturn:
        """Raise the error about a trial that should be running and is not."""
        self.refresh()
        if number not in self.trials:
            was = "has been deleted" if number in self.deleted else "does not exist"
            raise ValueError(f"trial {number!r} {was}; there are {len(self.trials)}")
        raise ValueError(f"trial {number} is not running, it is {self.trials[number].state}")

    def runs(self, number: int) -> bool:
        """Whether a trial runs, here or elsewhere, or is queued again."""
        return number in self.owners

    def pending(self) -> list[Trial]:
        """The running trials, by number."""
        return [self.trials[number] for number in sorted(self.owners)]

    def orphans(self) -> list[int]:
        """The running trials whose process is gone, ascending."""
        alive = {owner: is_alive(owner) for owner in set(self.owners.values())}
        return sorted(n for n, owner in self.owners.items() if not alive[owner])

    def follow(self) -> dict[int, Trial]:
        """A dict that holds all trials, and gets each that changes, for its owner to clear."""
        changed = dict(self.trials)
        self._followers.append(changed)
        return changed

    def unfollow(self, changed: dict[int, Trial]) -> None:
        """Leave the dict alone from now on."""
        self._followers = [other for other in self._followers if other is not changed]
