"""Comparison of trials at rungs, by what each had reached there.

A rung is a number of values. A trial is recorded there with the best of them, once it has as many,
whether or not it goes on. Failed trials are not recorded.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from math import inf, nextafter

from fastopt.tune.schedulers.protocol import Decision, Moment, best_so_far
from fastopt.tune.space.trial import Trial, own_values

__all__ = ["RungScheduler", "rungs"]

Rung = tuple[int, int]
"""Whose rung it is, and after how many values."""


def rungs(first: int, eta: int, below: float) -> Iterator[int]:
    """first, first * eta, first * eta**2, … as long as they are below the limit.

    In integers: a logarithm to base 3, rounded, finds 243 below the fifth power.
    """
    rung = first
    while rung < below:
        yield rung
        rung *= eta


def _lot(number: int) -> int:
    """The order of trials with equal values, a hash of their numbers.

    With the earlier trial first, of many trials at chance level the first would go on and no other.
    """
    return number * 0x9E3779B1 % 2**32


class _Records:
    """The records at every rung, the best first: value and lot."""

    def __init__(self) -> None:
        self._rungs: dict[Rung, list[tuple[float, int]]] = {}
        # Of each trial: when its attempt started, and its records.
        self._of: dict[int, tuple[float | None, dict[Rung, tuple[float, int]]]] = {}
        # Values of the done trial that has most.
        self.longest = 0

    def take(self, moment: Moment, trial: Trial, reached: Iterator[Rung]) -> None:
        """Record the trial where it is not yet; forget an attempt that was broken off."""
        started, records = self._of.get(trial.number, (None, {}))
        for rung, record in list(records.items()):
            if (
                trial.state == "failed"
                or started != trial.started
                or rung[1] > len(own_values(trial))
            ):
                entries = self._rungs[rung]
                del entries[bisect_left(entries, record)]
                del records[rung]
        if trial.state == "done":
            self.longest = max(self.longest, len(own_values(trial)))
        if trial.state != "failed":
            for rung in reached:
                if rung not in records:
                    record = best_so_far(moment, trial, rung[1]), _lot(trial.number)
                    insort(self._rungs.setdefault(rung, []), record)
                    records[rung] = record
        self._of[trial.number] = trial.started, records

    def rank(self, rung: Rung, number: int) -> tuple[int, int]:
        """How many are better there, and how many there are."""
        entries = self._rungs[rung]
        return bisect_left(entries, self._of[number][1][rung]), len(entries)

    def entries(self, rung: Rung) -> list[tuple[float, int]]:
        """The records of a rung, the best first."""
        return self._rungs.get(rung, [])


class RungScheduler:
    """Base of the schedulers that compare at rungs; a subclass says where, and how many go on."""

    def group(self, number: int) -> int:
        """Trials are compared within a group only."""
        return 0

    def rungs(self, number: int, below: float) -> Iterator[int]:
        """The rungs of a trial that are below the limit, ascending."""
        raise NotImplementedError

    pause = False

    def survivors(self, recorded: int) -> int:
        """How many go on of those that are recorded at a rung."""
        raise NotImplementedError

    def resumable(self, recorded: int) -> int:
        """How many of those that are recorded go on while others can still come."""
        raise NotImplementedError

    def _records(self, moment: Moment) -> _Records:
        if "records" not in moment.cache:
            moment.cache["records"] = _Records()
        return moment.cache["records"]

    def tell(self, moment: Moment, trial: Trial) -> None:
        """Record the trial at the rungs that it has reached."""
        group, epochs = self.group(trial.number), len(own_values(trial))
        reached = ((group, rung) for rung in self.rungs(trial.number, epochs + 1))
        self._records(moment).take(moment, trial, reached)

    def _due(self, number: int, decided: int, epochs: int) -> list[int]:
        return [rung for rung in self.rungs(number, epochs + 1) if rung > decided]

    def is_due(self, number: int, decided: int, epochs: int) -> bool:
        """Whether the trial has come to a rung."""
        return bool(self._due(number, decided, epochs))

    def decide(self, moment: Moment) -> Decision:
        """``"stop"`` at a rung unless the trial is among the best there."""
        number, epochs = moment.trial.number, moment.epochs
        # A rung between two reports of a trial counts at the second.
        due = self._due(number, moment.decided, epochs)
        records = self._records(moment)
        # A trial with as many values as the longest done trial has no more to come.
        if not due or epochs == records.longest:
            return "go"
        if self.pause:
            return "pause"
        rank, recorded = records.rank((self.group(number), due[-1]), number)
        return "go" if rank < self.survivors(recorded) else "stop"

    def resume(self, moments: Sequence[Moment], more: bool) -> int | None:
        """Of the trials that wait at the highest rung and may go on, the best."""
        enough = self.resumable if more else self.survivors
        found = None
        for moment in moments:
            number, epochs = moment.trial.number, moment.epochs
            rank, recorded = self._records(moment).rank((self.group(number), epochs), number)
            if rank < enough(recorded):
                found = max(found or (epochs, -rank, number), (epochs, -rank, number))
        return found and found[2]

    def thresholds(self, moment: Moment) -> dict[int, float]:
        """The worst best value that would still go on at each rung."""
        number, records = moment.trial.number, self._records(moment)
        limits: dict[int, float] = {}
        for rung in self.rungs(number, records.longest or inf):
            entries = records.entries((self.group(number), rung))
            if not entries:
                break
            place = self.survivors(len(entries) + 1) - 1
            if place < len(entries):
                limits[rung] = _just_better(moment, *entries[place])
        return limits


def _just_better(moment: Moment, value: float, lot: int) -> float:
    """The worst value with which the trial is better than a record."""
    if _lot(moment.trial.number) < lot:
        return moment.sign * value
    return moment.sign * nextafter(value, -inf)
