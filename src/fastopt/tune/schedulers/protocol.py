"""What a scheduler is, and what it is shown.

All that a moment holds is in the study's file, in which values, decisions and results are written
together: whoever resumes a killed study decides as it would have. ``decide`` runs while the file is
locked, so that no two processes decide at once.
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
    """The one method that every scheduler has.

    It may also have ``tell(moment, trial)``, called before the next ``decide`` with every trial
    that has got values, has started anew or has ended since; ``is_due(number, decided, epochs)``,
    false where there is nothing to decide about trial ``number`` after so many values, of which so
    many were decided about before; and, for executors, ``thresholds(moment)``: a dict from a number
    of values to the worst that the best of them may be, as things stand when a trial starts.

    Decisions must be a pure function of what the moment holds, its ``cache`` excepted.
    """

    def decide(self, moment: Moment) -> Decision:
        """Whether the trial goes on after the values that it has just reported."""
        ...
