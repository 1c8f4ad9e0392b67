"""End trials early that are worse than the others were at the same epoch."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import inf

from fastopt import _checks
from fastopt.tune.schedulers.protocol import Decision, Moment, best_so_far
from fastopt.tune.space.trial import Trial, own_values

__all__ = ["Median"]

# Up to this number of new values, inserting each is quicker than sorting all.
FEW = 16


@dataclass(frozen=True)
class Median:
    """Stop a trial whose best value so far is worse than the median of earlier trials' there.

    For objectives that yield a value per epoch. Of each trial the best of all values up to that
    epoch is compared, so a single bad epoch stops no trial. No trial is stopped at the last epoch
    that any earlier trial has reached either, since nothing is left to save there. Earlier trials
    are those that have ended. A stopped trial never becomes the best.

    Parameters
    ----------
    trials : int, default 5
        How many earlier trials must have reached an epoch before a trial can be stopped there.
    epochs : int, default 1
        The number of first epochs in which no trial is stopped.

    Raises
    ------
    TypeError, ValueError
        If ``trials`` is not an integer of at least 1, or ``epochs`` not one of at least 0.

    Examples
    --------
    >>> from fastopt import tune
    >>> earlier = [tune.Trial(i, {}, values=[3.0 + i, 2.0 + i, 1.0]) for i in range(3)]
    >>> tune.Median(trials=3).limits("minimize", earlier)
    [inf, 3.0]
    """

    trials: int = 5
    epochs: int = 1

    def __post_init__(self) -> None:
        for name, least in (("trials", 1), ("epochs", 0)):
            value = _checks.integer(f"Median: {name}", getattr(self, name), least=least)
            object.__setattr__(self, name, value)

    def limits(self, direction: str, finished: Sequence[Trial]) -> list[float]:
        """The worst allowed best value so far, for each epoch that enough trials have reached."""
        curves = _Curves(1.0 if direction == "minimize" else -1.0)
        for trial in finished:
            curves.take(trial)
        return list(self._limits(curves))

    def _limits(self, curves: _Curves) -> Iterator[float]:
        for epoch in range(curves.longest - 1):
            limit = self._limit(curves, epoch)
            if limit is None:
                break
            yield curves.sign * limit

    def _limit(self, curves: _Curves, epoch: int) -> float | None:
        """As a value to be minimised; None at the last epoch, or if too few trials reached it."""
        if epoch >= curves.longest - 1:
            return None
        reached = curves.at(epoch)
        if len(reached) < self.trials:
            return None
        return inf if epoch < self.epochs else _middle(reached)

    def _curves(self, moment: Moment) -> _Curves:
        return moment.cache.setdefault("curves", _Curves(moment.sign))

    def tell(self, moment: Moment, trial: Trial) -> None:
        """Take note of a trial that has ended."""
        if trial.state != "running":
            self._curves(moment).take(trial)

    def decide(self, moment: Moment) -> Decision:
        """``"stop"`` if the best value so far is worse than the median."""
        limit = self._limit(self._curves(moment), moment.epochs - 1)
        best = best_so_far(moment, moment.trial, moment.epochs)
        return "stop" if limit is not None and best > limit else "go"

    def thresholds(self, moment: Moment) -> dict[int, float]:
        """The medians as they are when the trial starts."""
        return dict(enumerate(self._limits(self._curves(moment)), start=1))


class _Curves:
    """What the trials that have ended had reached at each epoch."""

    def __init__(self, sign: float) -> None:
        self.sign = sign
        self.longest = 0
        self._best: list[list[float]] = []
        # How many of the first entries of each list are sorted.
        self._sorted: list[int] = []
        self._known: set[int] = set()

    def take(self, trial: Trial) -> None:
        if trial.state == "failed" or trial.number in self._known:
            return
        self._known.add(trial.number)
        while len(self._best) < len(own_values(trial)):
            self._best.append([])
            self._sorted.append(0)
        self.longest = len(self._best)
        best = accumulate((self.sign * value for value in own_values(trial)), min)
        for reached, value in zip(self._best, best, strict=False):
            reached.append(value)

    def at(self, epoch: int) -> list[float]:
        """The best values up to the epoch, ascending."""
        reached, n = self._best[epoch], self._sorted[epoch]
        if len(reached) - n > FEW:
            reached.sort()
        else:
            new = reached[n:]
            del reached[n:]
            for value in new:
                insort(reached, value)
        self._sorted[epoch] = len(reached)
        return reached


def _middle(ordered: list[float]) -> float:
    """:func:`statistics.median` of what is sorted already."""
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
