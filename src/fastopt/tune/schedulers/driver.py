"""Show a scheduler the trials, and take its decisions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, get_args

from fastopt.tune.schedulers.protocol import Copy, Decision, Moment, best_so_far
from fastopt.tune.space.space import Space
from fastopt.tune.space.trial import Trial, own_values

__all__ = ["SchedulerDriver", "check_scheduler"]


def check_scheduler(name: str, scheduler: Any) -> Any:
    """Return the scheduler; raise TypeError if the object is none.

    An object that has ``limits(direction, finished)`` instead of ``decide`` is a scheduler too. It
    is called when a trial starts, and gives the worst best value so far that is allowed at each
    epoch.
    """
    if isinstance(scheduler, type):
        raise TypeError(f"{name} must be an object, got a class: write {scheduler.__name__}(…)")
    if any(callable(getattr(scheduler, method, None)) for method in ("decide", "limits")):
        return scheduler
    raise TypeError(
        f"{name} must be an object with decide(moment), such as tune.Halving(), got {scheduler!r}"
    )


class SchedulerDriver:
    """One scheduler in one run.

    Parameters
    ----------
    scheduler : object
        What :func:`check_scheduler` accepts.
    space, direction, seed, constraint
        What every moment shows.
    """

    def __init__(
        self,
        scheduler: Any,
        space: Space,
        direction: str,
        seed: int,
        constraint: Callable[[dict[str, Any]], Any] | None = None,
    ) -> None:
        self._scheduler = scheduler
        self._always = (space, direction, seed, constraint)
        self._direction = direction
        self._decides = callable(getattr(scheduler, "decide", None))
        self.forget()
        self._limits: dict[int, Sequence[float]] = {}

    def forget(self) -> None:
        """Start the scheduler's scratch memory anew; it must be told all trials again."""
        self._cache: dict[Any, Any] = {}

    def _moment(
        self, trial: Trial, decided: int, finished: Sequence[Trial], running: Sequence[Trial]
    ) -> Moment:
        return Moment(trial, decided, *self._always, finished, running, self._cache)

    def _tell(self, moment: Moment, changed: Iterable[Trial]) -> None:
        if hasattr(self._scheduler, "tell"):
            for trial in changed:
                self._scheduler.tell(moment, trial)

    def start(
        self,
        trial: Trial,
        changed: Iterable[Trial],
        finished: Sequence[Trial],
        running: Sequence[Trial],
    ) -> dict[int, float] | None:
        """The limits of a trial that are known before it starts; None if there are none.

        Parameters
        ----------
        trial : Trial
        changed : iterable of Trial
            Those that have got values, or have started or ended, since the last call of this
            driver; in the first call all trials.
        finished, running
            As in :class:`Moment`.
        """
        moment = self._moment(trial, 0, finished, running)
        self._tell(moment, changed)
        if not self._decides:
            limits = self._limits[trial.number] = self._scheduler.limits(self._direction, finished)
            return dict(enumerate(limits, start=1))
        if callable(getattr(self._scheduler, "thresholds", None)):
            return self._scheduler.thresholds(moment)
        return None

    def is_due(self, trial: Trial, decided: int) -> bool:
        """Whether the scheduler may have something to decide about the trial's last value."""
        due = getattr(self._scheduler, "is_due", None)
        return due is None or due(trial.number, decided, len(own_values(trial)))

    def decide(
        self,
        reported: Iterable[tuple[Trial, int]],
        changed: Iterable[Trial],
        finished: Sequence[Trial],
        running: Sequence[Trial],
    ) -> list[Decision]:
        """The decisions about trials that report together.

        Parameters
        ----------
        reported : iterable of (Trial, int)
            Each trial with the number of its values that were decided about before.
        changed, finished, running
            As in :meth:`start`.
        """
        moments = [self._moment(*pair, finished, running) for pair in reported]
        # Tell all of them before the first decision: rows of a batch are compared with each other.
        if moments:
            self._tell(moments[0], changed)
        return [self._decision(moment) for moment in moments]

    def resume(
        self,
        paused: Iterable[tuple[Trial, int]],
        more: bool,
        changed: Iterable[Trial],
        finished: Sequence[Trial],
        running: Sequence[Trial],
    ) -> int | None:
        """Which of the paused trials goes on, if one does; the arguments are those of decide."""
        moments = [self._moment(*pair, finished, running) for pair in paused]
        if not moments or not hasattr(self._scheduler, "resume"):
            return None
        self._tell(moments[0], changed)
        return self._scheduler.resume(moments, more)

    def exchange(
        self,
        reported: Iterable[tuple[Trial, int]],
        finished: Sequence[Trial],
        running: Sequence[Trial],
    ) -> list[Copy]:
        """Which rows of a batch go on from which others; the arguments are those of decide."""
        if not hasattr(self._scheduler, "exchange"):
            return []
        return self._scheduler.exchange(
            [self._moment(*pair, finished, running) for pair in reported]
        )

    def _decision(self, moment: Moment) -> Decision:
        if not self._decides:
            return self._compare(moment)
        decision = self._scheduler.decide(moment)
        if decision not in get_args(Decision):
            raise ValueError(
                f"scheduler: {self._scheduler!r} decided {decision!r}, "
                "needs 'go', 'stop' or 'pause'"
            )
        return decision

    def _compare(self, moment: Moment) -> Decision:
        limits = self._limits.get(moment.trial.number, ())
        if moment.epochs > len(limits):
            return "go"
        best = best_so_far(moment, moment.trial, moment.epochs)
        return "stop" if best > moment.sign * limits[moment.epochs - 1] else "go"
