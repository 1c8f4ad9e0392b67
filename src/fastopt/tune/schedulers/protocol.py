"""What a scheduler is, and what it is shown.

All that a moment holds is in the study's file. Values, decisions and results are written there
together, so a study that was killed and resumed decides as an uninterrupted one. ``decide`` runs
while the file is locked, so that no two processes decide at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from fastopt.tune.space.constraint import satisfies
from fastopt.tune.space.space import Space
from fastopt.tune.space.trial import Trial, own_values

__all__ = ["Copy", "Decision", "Moment", "Scheduler", "best_so_far"]

Decision = Literal["go", "stop", "pause"]


class Copy(NamedTuple):
    """A row of a batch that goes on from what another holds, with other params."""

    target: int
    source: int
    params: dict[str, Any]


@dataclass(frozen=True)
class Moment:
    """A study at the moment at which a trial has reported. Read it, never write to it.

    Attributes
    ----------
    trial : Trial
        Its ``values`` end with those that have just come.
    decided : int
        How many of its values have been decided about before.
    space : Space
    direction : {"minimize", "maximize"}
    seed : int
    constraint : callable or None
        Use :meth:`allows`.
    finished : sequence of Trial
        Done, failed and stopped trials in the order in which they ended.
    running : sequence of Trial
        Trials that are running or queued again, this one among them, by number.
    cache : dict
        Scratch memory of this scheduler, kept for one ``run``; it may save time but must never
        change a decision.
    """

    trial: Trial
    decided: int
    space: Space
    direction: str
    seed: int
    constraint: Callable[[dict[str, Any]], Any] | None
    finished: Sequence[Trial]
    running: Sequence[Trial]
    cache: dict[Any, Any]

    @property
    def sign(self) -> float:
        """1 if small values are good, else -1."""
        return 1.0 if self.direction == "minimize" else -1.0

    @property
    def epochs(self) -> int:
        """How many values the trial has reported."""
        return len(own_values(self.trial))

    @property
    def params(self) -> dict[str, Any]:
        """The params with which the trial got its last value."""
        earlier = [change for change in self.trial.lineage if change["epoch"] < self.epochs]
        return dict(earlier[-1]["params"] if earlier else self.trial.params)

    def allows(self, params: Mapping[str, Any]) -> bool:
        """Whether the user's constraint accepts ``params``."""
        return satisfies(self.constraint, params)


def best_so_far(moment: Moment, trial: Trial, epochs: int) -> float:
    """The best of a trial's first values, its sign changed where large ones are good."""
    values = own_values(trial)[:epochs]
    return min(values) if moment.sign > 0 else -max(values)


class Scheduler(Protocol):
    """The one method that every scheduler has.

    It may also have these methods.

    ``tell(moment, trial)``
        Called before the next ``decide`` with every trial that has got values, has started anew or
        has ended since.
    ``is_due(number, decided, epochs)``
        False if there is nothing to decide about trial ``number``, which has reported ``epochs``
        values, the first ``decided`` of which were decided about before.
    ``thresholds(moment)``
        For executors, called when a trial starts: a dict from a number of values to the worst
        allowed best of them.
    ``resume(moments, more)``
        In a run without workers ``decide`` may return ``"pause"``: the trial waits with its
        generator in memory. Whenever a trial could start, ``resume`` gets the waiting ones and
        whether new ones can start (``more``). It returns the number of one that goes on, or None.
        Trials that still wait at the end of the run are stopped.
    ``exchange(moments)``
        For batched objectives, called with all rows that go on. It returns a list of (target,
        source, params): the trial ``target`` goes on from what the trial ``source`` holds, with
        other params.
    ``check(space)``
        Called before the run; raises ValueError for a space that does not suit it.

    Decisions must be a pure function of what the moment holds, its ``cache`` excepted.
    """

    def decide(self, moment: Moment) -> Decision:
        """Whether the trial goes on after the values that it has just reported."""
        ...
