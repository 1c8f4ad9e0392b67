"""Hyperband: successive halving from several first rungs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from fastopt import _checks
from fastopt.tune.schedulers.rungs import RungScheduler, rungs

__all__ = ["Hyperband"]


@lru_cache(maxsize=16)
def _cycle(eta: int, brackets: int) -> list[int]:
    """The brackets of consecutive trials, evenly mixed, for one cycle."""
    # Equal work for each bracket: one that halves s more times begins with eta**s as many trials.
    sizes = [-(-brackets * eta**s // (s + 1)) for s in reversed(range(brackets))]
    total, given = sum(sizes), [0] * brackets
    cycle = []
    for n in range(1, total + 1):
        due = [size * n - total * count for size, count in zip(sizes, given, strict=True)]
        bracket = due.index(max(due))
        given[bracket] += 1
        cycle.append(bracket)
    return cycle


@dataclass(frozen=True)
class Hyperband(RungScheduler):
    """Successive halving in several brackets, whose first rungs are ``first``, ``first * eta``, ….

    Early values may mislead: a small learning rate is bad at first. :class:`Halving` stops two in
    three trials after the first value. Some of Hyperband's trials have more time before they are
    compared, and those of the last bracket run to their end. The bracket of a trial follows from
    its number. Each bracket gets about the same number of values in all, and trials are compared
    within their bracket, as in :class:`Halving`.

    Parameters
    ----------
    last : int
        How many values a whole trial yields.
    eta : int, default 3
        At each rung one trial of ``eta`` goes on.
    first : int, default 1
        Values at the first rung of the first bracket.
    pause : bool, default False
        Trials wait at each rung, with their generators in memory, until enough others have come to
        tell which go on. None is stopped before the end of the run. Not with workers or batches.

    Notes
    -----
    Li, Jamieson, DeSalvo, Rostamizadeh, Talwalkar: Hyperband, JMLR 18 (2018) 185 (arXiv
    1603.06560); asynchronous as in arXiv 1810.05934.

    Examples
    --------
    >>> from fastopt import tune
    >>> scheduler = tune.Hyperband(last=9)
    >>> [list(scheduler.rungs(number, below=9)) for number in range(4)]
    [[1, 3], [3], [1, 3], []]
    """

    last: int
    eta: int = 3
    first: int = 1
    pause: bool = False

    def __post_init__(self) -> None:
        for name, least in (("eta", 2), ("first", 1), ("last", 1)):
            value = _checks.integer(f"Hyperband: {name}", getattr(self, name), least=least)
            object.__setattr__(self, name, value)
        object.__setattr__(self, "pause", _checks.flag("Hyperband: pause", self.pause))
        if self.last < self.first:
            raise ValueError(
                f"Hyperband: last must be at least first={self.first}, got {self.last!r}"
            )

    def group(self, number: int) -> int:
        """The bracket, counted from the one with the earliest rung."""
        brackets = sum(1 for _ in rungs(self.first, self.eta, self.last + 1))
        cycle = _cycle(self.eta, brackets)
        return cycle[number % len(cycle)]

    def rungs(self, number: int, below: float) -> Iterator[int]:
        """Those of the trial's bracket; the last one has none."""
        first = self.first * self.eta ** self.group(number)
        return rungs(first, self.eta, min(below, self.last))

    def survivors(self, recorded: int) -> int:
        """One in eta, and at least one."""
        return max(1, recorded // self.eta)

    def resumable(self, recorded: int) -> int:
        """One in eta."""
        return recorded // self.eta
