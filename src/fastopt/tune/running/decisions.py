"""A scheduler at work on a study: what it is shown, and when it is asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fastopt.tune.ledger.ledger import Ledger
from fastopt.tune.schedulers.driver import SchedulerDriver
from fastopt.tune.schedulers.protocol import Copy, Decision
from fastopt.tune.space.trial import Trial, own_values

__all__ = ["Decisions"]


class Decisions:
    """The decisions of one scheduler in one run.

    Those of an attempt that was broken off hold: up to the value that it had come to, the trial
    goes on without asking. By then others have been compared with it.
    """

    def __init__(self, scheduler: Any, ledger: Ledger) -> None:
        self._driver = SchedulerDriver(
            scheduler, ledger.space, ledger.directions[0], ledger.seed, ledger.constraint
        )
        self._history = ledger.history
        self._changed = self._history.follow()
        self._revision = self._history.revision

    def close(self) -> None:
        """Nothing is decided any more."""
        self._history.unfollow(self._changed)

    def start(self, trials: Iterable[Trial]) -> dict[int, float] | None:
        """The limits of the first of some trials that are about to start; see the driver."""
        limits = [
            self._driver.start(trial, self._news(), self._history.finished, self._history.pending())
            for trial in trials
        ]
        return limits[0]

    def _news(self) -> list[Trial]:
        """The trials that have changed since the last time; all, where ended ones were revised."""
        if self._history.revision != self._revision:
            self._revision = self._history.revision
            self._driver.forget()
            self._changed.update(self._history.trials)
        news = [t for number, t in self._changed.items() if number in self._history.trials]
        self._changed.clear()
        return news

    def _undecided(self, trial: Trial) -> bool:
        return len(own_values(trial)) > self._history.decided[trial.number]

    def are_due(self, trials: Iterable[Trial]) -> bool:
        """Whether there is something to decide about what trials have just reported."""
        return any(
            self._undecided(trial)
            and self._driver.is_due(trial, self._history.decided[trial.number])
            for trial in trials
        )

    def decide(self, trials: Sequence[Trial]) -> dict[int, Decision]:
        """What becomes of trials that have reported together, by number."""
        for trial in trials:
            self._changed[trial.number] = trial
        asked = [trial for trial in trials if self._undecided(trial)]
        decisions = self._driver.decide(
            [(trial, self._history.decided[trial.number]) for trial in asked],
            self._news(),
            self._history.finished,
            self._history.pending(),
        )
        decided: dict[int, Decision] = {trial.number: "go" for trial in trials}
        decided.update(zip((trial.number for trial in asked), decisions, strict=True))
        return decided

    def resume(self, trials: Iterable[Trial], more: bool) -> int | None:
        """Which of some paused trials goes on; ``more``: new ones can start."""
        return self._driver.resume(
            [(trial, self._history.decided[trial.number]) for trial in trials],
            more,
            self._news(),
            self._history.finished,
            self._history.pending(),
        )

    def exchange(self, trials: Sequence[Trial]) -> list[Copy]:
        """Which of these, the rows that go on, do so from others."""
        asked = [trial for trial in trials if self._undecided(trial)]
        if not asked:
            return []
        return self._driver.exchange(
            [(trial, self._history.decided[trial.number]) for trial in asked],
            self._history.finished,
            self._history.pending(),
        )

    def forget(self, trials: Iterable[Trial]) -> None:
        """What these have reported is not stored after all."""
        self._changed.update((trial.number, trial) for trial in trials)
