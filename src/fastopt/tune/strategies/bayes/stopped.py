"""An estimate of what a stopped trial would have come to, from its rank when it was stopped.

Its last value is not a result: the loss of a good trial after three epochs may be larger than that
of a poor one after four. But its rank among the others after as many values is known. So it gets
the result that has this rank among their results.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from fastopt.tune.space.trial import Trial

__all__ = ["results"]

# Twice this is finite.
LARGEST = np.finfo(np.float64).max / 2.0


def results(trials: Sequence[Trial], sign: float) -> np.ndarray:
    """Values of finished trials, to be minimised: NaN for failures, an estimate for stopped ones.

    Curves are taken from the longest to the shortest, so that the results of the longer ones are
    known. A trial that was worse than all others gets a value worse than all their results.

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
    """The results with the ranks among ``results`` that ``stood`` has among ``theirs``."""
    theirs, results = np.sort(theirs), np.sort(results)
    place = np.searchsorted(theirs, stood)
    # Halves: the difference of two huge values must stay finite.
    half = 0.5 * theirs[-1]
    spread = (half - 0.5 * theirs[0]) or 1.0
    with np.errstate(over="ignore"):
        excess = np.maximum(0.5 * stood - half, 0.0) / spread
    # Beyond the worst result by less than the range of the results, however bad it was.
    with np.errstate(invalid="ignore"):
        share = np.where(np.isfinite(excess), excess / (1.0 + excess), 1.0)
    worse = 0.5 * results[-1] + share * (0.5 * results[-1] - 0.5 * results[0] or spread)
    worse = 2.0 * np.clip(worse, -LARGEST, LARGEST)
    return np.where(place < len(theirs), results[np.minimum(place, len(theirs) - 1)], worse)
