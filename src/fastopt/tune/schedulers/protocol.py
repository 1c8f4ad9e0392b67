"""What a scheduler is, and what it is shown.

A scheduler is any object with ``decide(moment)``, which gives ``"go"`` or ``"stop"``. It may also
have

``tell(moment, trial)``
    called with every trial that has got values, has started anew or has ended since it was last
    told, before the next ``decide``; those of other processes and of earlier sessions included
``is_due(number, decided, epochs)``
    whether there may be something to decide about trial ``number``, which has reported ``epochs``
    values; about ``decided`` of them it has been decided before. Each decision waits for the file
``thresholds(moment)``
    for executors, which bring back nothing before a trial's end: a dict from the number of values
    to the worst that the best of them may be, as things stand when the trial starts

The decision must be a pure function of what the moment holds (``cache`` excepted), and that is in
the study's file: values, decisions and results are written together. Whoever resumes a killed study
decides as it would have. ``decide`` runs while the file is locked, so that no two processes decide
at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from fastopt.tune.space.trial import Trial

__all__ = ["Decision", "Moment", "Scheduler", "best_so_far"]

Decision = Literal["go", "stop"]


@dataclass(frozen=True)
class Moment:
    """A study at the moment at which a trial has reported. Read it, never write to it.

    Attributes
    ----------
    trial : Trial
        Its ``values`` end with those that have just come.
    decided : int
        How many of its values have been decided about before.
    direction : {"minimize", "maximize"}
    seed : int
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
    direction: str
    seed: int
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
        return len(self.trial.values)


def best_so_far(moment: Moment, trial: Trial, epochs: int) -> float:
    """The best of a trial's first values, its sign changed where large ones are good."""
    values = trial.values[:epochs]
    return min(values) if moment.sign > 0 else -max(values)


class Scheduler(Protocol):
    """The one method that every scheduler has."""

    def decide(self, moment: Moment) -> Decision:
        """Whether the trial goes on after the values that it has just reported."""
        ...
