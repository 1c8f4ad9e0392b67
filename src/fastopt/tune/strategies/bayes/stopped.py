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


def results(trials: Sequence[Trial], sign: float) -> np.ndarray:
    """Values of finished trials, to be minimised: NaN for failures, an estimate for stopped ones.

    From the longest curves to the shortest, so that the others' own results are known. A trial that
    was worse than all others is worse than all their results, by as much in units of the spread.

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
    spread, range_ = theirs[-1] - theirs[0], results[-1] - results[0]
    unit = range_ / spread if spread > 0.0 and range_ > 0.0 else 1.0
    worse = results[-1] + unit * (stood - theirs[-1])
    return np.where(place < len(theirs), results[np.minimum(place, len(theirs) - 1)], worse)
