"""The order in which trials are shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastopt.tune.fronts.domination import non_dominated
from fastopt.tune.space import Trial

__all__ = ["order_trials"]


def order_trials(directions: Sequence[str], trials: Sequence[Trial]) -> tuple[list[Trial], int]:
    """The done trials, and how many of them, which come first, are the best one or the front.

    Feasible ones come by their value or first objective, then the others by their violation.
    """
    signs = [1.0 if direction == "minimize" else -1.0 for direction in directions]
    done = [trial for trial in trials if trial.state == "done"]
    places = {trial.number: _place(signs, trial) for trial in done}
    done.sort(key=lambda trial: (trial.violation, *places[trial.number], trial.number))
    feasible = [trial for trial in done if trial.feasible]
    if len(signs) == 1:
        return done, min(1, len(feasible))
    kept = non_dominated(
        np.array([places[trial.number] for trial in feasible]).reshape(-1, len(signs))
    )
    front = [trial for trial, is_kept in zip(feasible, kept, strict=True) if is_kept]
    numbers = {trial.number for trial in front}
    return [*front, *(trial for trial in done if trial.number not in numbers)], len(front)


def _place(signs: Sequence[float], trial: Trial) -> list[float]:
    values = trial.objectives if len(signs) > 1 else [trial.value]
    return [sign * value for sign, value in zip(signs, values, strict=True) if value is not None]
