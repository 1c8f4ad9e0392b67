"""End trials early that are worse than the others were at the same epoch."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from fastopt import _checks
from fastopt.tune.space.trial import Trial

__all__ = ["Median"]


@dataclass(frozen=True)
class Median:
    """Stop a trial whose best value so far is worse than the median of earlier trials' there.

    For objectives that yield a value per epoch. What is compared is the best of all values up to
    that epoch, the trial's own and the others', so a single bad epoch stops nobody. Nor is anybody
    stopped at the last epoch that any earlier trial has reached: there is nothing left to save. The
    limits are taken when a trial starts, so they reach any worker and a serial run is reproducible.
    A stopped trial never becomes the best.

    Parameters
    ----------
    trials : int, default 5
        Earlier trials which must have reached an epoch before it can stop anything.
    epochs : int, default 1
        The first epochs, during which nothing is stopped.

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
        """The worst that the best value so far may be, by epoch, as far as enough trials came."""
        none = float("inf") if direction == "minimize" else float("-inf")
        best = min if direction == "minimize" else max
        curves = [
            list(accumulate(trial.values, best))
            for trial in finished
            if trial.values and trial.state != "failed"
        ]
        limits: list[float] = []
        last = max(map(len, curves), default=0) - 1
        for epoch in range(last):
            reached = [curve[epoch] for curve in curves if len(curve) > epoch]
            if len(reached) < self.trials:
                break
            limits.append(none if epoch < self.epochs else statistics.median(reached))
        return limits
