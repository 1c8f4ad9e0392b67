"""The finished trials of a view as arrays: what they came to, to be minimised."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastopt.tune.space.trial import Trial

__all__ = ["constraints", "n_constraints", "objectives", "violations"]


def objectives(trials: Sequence[Trial], signs: Sequence[float]) -> np.ndarray:
    """Of several objectives, (n, m): NaN for failures."""
    nothing = [np.nan] * len(signs)
    return np.array([t.objectives or nothing for t in trials]).reshape(-1, len(signs)) * signs


def n_constraints(trials: Sequence[Trial]) -> int:
    """The most constraints that a done trial has; 0 before one is."""
    return max((len(trial.constraints) for trial in trials if trial.state == "done"), default=0)


def constraints(trials: Sequence[Trial], count: int) -> np.ndarray:
    """(n, count): NaN where they are not known."""
    nothing = [np.nan] * count
    rows = [t.constraints if len(t.constraints) == count else nothing for t in trials]
    return np.array(rows).reshape(-1, count)


def violations(trials: Sequence[Trial]) -> np.ndarray:
    """(n,): the sum over the constraints, infinite for trials that are not done."""
    return np.array([t.violation if t.state == "done" else np.inf for t in trials])
