"""What a stopped trial would have come to: no more is known than how it stood when it was stopped.

Its last value is no result. After three epochs a loss may be large in a trial that would have won,
and an epoch later small in one that would not. It says how the trial stood among the others that
had as many values. So it takes the result that has this place among theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from fastopt.tune.space.trial import Trial

__all__ = ["results"]

# Its double is finite.
LARGEST = np.finfo(np.float64).max / 2.0


def results(trials: Sequence[Trial], sign: float) -> np.ndarray:
    """Values of finished trials, to be minimised: NaN for failures, an estimate for stopped ones.

    From the longest curves to the shortest, so that the others' own results are known. A trial that
    was worse than all others is worse than all their results.

    Parameters
    ----------
    trials : sequence of Trial
    sign : float
        1 if small values are good, else -1.
    """
    values = np.array([np.nan if t.value is None else sign * t.value for t in trials])
    stopped: dict[int, list[int]] = {}
    for i, trial in enumerate(trials):
        if trial.state == "stopped" and trial.values:
            stopped.setdefault(len(trial.values), []).append(i)
    if not stopped:
        return values
    curves = [
        [] if t.state == "failed" else list(accumulate((sign * v for v in t.values), min))
        for t in trials
    ]
    for epochs in sorted(stopped, reverse=True):
        mine = stopped[epochs]
        others = [
            i
            for i, curve in enumerate(curves)
            if len(curve) > epochs or (len(curve) == epochs and trials[i].state == "done")
        ]
        stood = np.array([curves[i][epochs - 1] for i in mine])
        if others:
            theirs = np.array([curves[i][epochs - 1] for i in others])
            values[mine] = _by_place(stood, theirs, values[others])
        else:
            values[mine] = stood
    return values


def _by_place(stood: np.ndarray, theirs: np.ndarray, results: np.ndarray) -> np.ndarray:
    """The results that have the place among ``results`` that ``stood`` has among ``theirs``."""
    theirs, results = np.sort(theirs), np.sort(results)
    place = np.searchsorted(theirs, stood)
    # Halves: the difference of two huge values must stay finite.
    half = 0.5 * theirs[-1]
    spread = (half - 0.5 * theirs[0]) or 1.0
    with np.errstate(over="ignore"):
        excess = np.maximum(0.5 * stood - half, 0.0) / spread
    # By less than the results are apart, however bad it was.
    with np.errstate(invalid="ignore"):
        share = np.where(np.isfinite(excess), excess / (1.0 + excess), 1.0)
    worse = 0.5 * results[-1] + share * (0.5 * results[-1] - 0.5 * results[0] or spread)
    worse = 2.0 * np.clip(worse, -LARGEST, LARGEST)
    return np.where(place < len(theirs), results[np.minimum(place, len(theirs) - 1)], worse)
