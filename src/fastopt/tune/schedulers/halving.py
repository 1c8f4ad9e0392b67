"""Successive halving: at each rung the best part of the trials goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from fastopt import _checks
from fastopt.tune.schedulers.rungs import RungScheduler, rungs

__all__ = ["Halving"]


@dataclass(frozen=True)
class Halving(RungScheduler):
    """Asynchronous successive halving: of all trials that reach a rung the best 1/eta go on.

    The rungs are ``first``, ``first * eta``, ``first * eta**2``, … values. There a trial's best
    value so far is compared with those that all trials had there. Of n trials, itself among them,
    the best ``n // eta`` go on, and always the best one. No trial waits for others, so early trials
    pass more easily. The rows of a batched objective reach a rung together, and exactly the best
    part of them goes on. Between equal values a lot decides that depends on the trial's number
    alone. No trial is stopped after as many values as any done trial has, or from ``last`` on.
    Without ``last``, and before the first trial is done, the final epoch may be a rung like any
    other: the best trial goes on and is done, and others end there as stopped.

    Parameters
    ----------
    eta : int, default 3
        At each rung one trial of ``eta`` goes on.
    first : int, default 1
        Values at the first rung.
    last : int, optional
        How many values a whole trial yields, if that is known. There is no rung from there on, as
        with ``max_t`` in Ray; Optuna may prune after the last value.
    pause : bool, default False
        Trials wait at each rung, with their generators in memory, until enough others have come to
        tell which go on. None is stopped before the end of the run. Not with workers or batches.

    Notes
    -----
    ASHA, in its variant that stops: Li, Jamieson, Rostamizadeh, Gonina, Hardt, Recht, Talwalkar: A
    System for Massively Parallel Hyperparameter Tuning, MLSys 2020 (arXiv 1810.05934).

    Examples
    --------
    >>> from fastopt import tune
    >>> def training(params):
    ...     for epoch in range(9):
    ...         yield params["x"] + 1.0 / (1 + epoch)
    >>> study = tune.Study({"x": tune.Int(0, 8)}, strategy="grid")
    >>> study.run(training, scheduler=tune.Halving())
    >>> [len(trial.values) for trial in study.trials]
    [9, 1, 1, 1, 1, 1, 1, 1, 1]
    """

    eta: int = 3
    first: int = 1
    last: int | None = None
    pause: bool = False

    def __post_init__(self) -> None:
        for name, least in (("eta", 2), ("first", 1)):
            value = _checks.integer(f"Halving: {name}", getattr(self, name), least=least)
            object.__setattr__(self, name, value)
        if self.last is not None:
            last = _checks.integer("Halving: last", self.last, least=1)
            object.__setattr__(self, "last", last)
            if last < self.first:
                raise ValueError(f"Halving: last must be at least first={self.first}, got {last}")
        object.__setattr__(self, "pause", _checks.flag("Halving: pause", self.pause))

    def rungs(self, number: int, below: float) -> Iterator[int]:
        """The same for every trial."""
        return rungs(self.first, self.eta, min(below, self.last or inf))

    def survivors(self, recorded: int) -> int:
        """One in eta, and at least one."""
        return max(1, recorded // self.eta)

    def resumable(self, recorded: int) -> int:
        """One in eta."""
        return recorded // self.eta
