"""All trials for a while, then the best of them to the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fastopt import _checks
from fastopt.tune.schedulers.rungs import RungScheduler

__all__ = ["TopK"]


@dataclass(frozen=True)
class TopK(RungScheduler):
    """Only the best ``k`` trials go on after their first values.

    This is a single comparison, and hard to beat where one epoch tells much. A trial is compared,
    by its best value, with all that have come as far. Of a batch exactly the best k go on. If
    trials run one after the other, more than k go on, since a better one may come later.

    Parameters
    ----------
    k : int
        How many go on.
    after : int, default 1
        After how many values.
    pause : bool, default False
        Trials wait there, with their generators in memory, until no other can come. Then the best k
        go on. Not with workers or batches.

    Notes
    -----
    Egele, Guyon, Sun, Balaprakash: Is One Epoch All You Need For Multi-Fidelity Hyperparameter
    Optimization? ESANN 2023 (arXiv 2307.15422).

    Examples
    --------
    >>> from fastopt import tune
    >>> def training(params):
    ...     yield from [params["x"], params["x"] / 2, params["x"] / 4]
    >>> study = tune.Study({"x": tune.Int(1, 6)}, strategy="grid")
    >>> study.run(training, scheduler=tune.TopK(2))
    >>> [trial.state for trial in study.trials]
    ['done', 'done', 'stopped', 'stopped', 'stopped', 'stopped']
    """

    k: int
    after: int = 1
    pause: bool = False

    def __post_init__(self) -> None:
        for name in ("k", "after"):
            value = _checks.integer(f"TopK: {name}", getattr(self, name), least=1)
            object.__setattr__(self, name, value)
        object.__setattr__(self, "pause", _checks.flag("TopK: pause", self.pause))

    def rungs(self, number: int, below: float) -> Iterator[int]:
        """The one at which all are compared."""
        return iter([self.after] if self.after < below else [])

    def survivors(self, recorded: int) -> int:
        """The same however many there are."""
        return self.k

    def resumable(self, recorded: int) -> int:
        """None: a better one may come."""
        return 0
