"""The finished trials as arrays, and which of them are the better ones."""

from __future__ import annotations

import bisect
import heapq
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastopt.tune.fronts.boxes import Bounds
from fastopt.tune.fronts.domination import ranks
from fastopt.tune.space import Space, Trial
from fastopt.tune.strategies.tpe.parzen import NEWEST

__all__ = ["MOST_WORSE", "History"]

# The better trials are a tenth of all, and at most this number.
MOST_BETTER = 25
# Kernels for the worse trials; beyond it older trials are left out, evenly.
MOST_WORSE = 500


class History:
    """The finished trials as arrays, which grow as trials end.

    Attributes
    ----------
    n_results : int
        How many trials have a result, those that were stopped included.
    """

    def __init__(self, space: Space, signs: Sequence[float]) -> None:
        self._space = space
        self._signs = np.array(signs)
        self._points = np.empty((16, len(space)))
        self._values = np.empty((16, len(signs)))
        # (value, number) of the best trials that are done, if there is one objective.
        self._best: list[tuple[float, int]] = []
        # Sort keys of stopped and infeasible trials, which rank after all others with a result.
        self._later: list[tuple[float, float, int]] = []
        self._n = 0
        self.n_results = 0

    def read(self, finished: Any) -> None:
        """Take over what has ended since the last time."""
        while self._n < len(finished):
            self._add(finished[self._n])

    def _add(self, trial: Trial) -> None:
        n = self._n
        if n == len(self._values):
            self._points = np.concatenate([self._points, np.empty_like(self._points)])
            self._values = np.concatenate([self._values, np.empty_like(self._values)])
        self._points[n] = self._space.encode(trial.params)
        values = trial.objectives or ([] if trial.value is None else [trial.value])
        signed = self._signs * values if values else np.full(len(self._signs), math.inf)
        if trial.state == "stopped":
            # A trial that was stopped later ranks higher, whatever its values.
            self._later.append((-len(trial.values), signed[0], n))
        elif trial.feasible is False:
            self._later.append((1.0, trial.violation, n))
        self._values[n] = signed if trial.feasible else math.inf
        if len(self._signs) == 1:
            bisect.insort(self._best, (self._values[n, 0], n))
            del self._best[MOST_BETTER:]
        self.n_results += bool(values)
        self._n += 1

    def split(self) -> tuple[np.ndarray, np.ndarray]:
        """The points of the better and of the worse trials, each in the order of their ends."""
        points, values = self._points[: self._n], self._values[: self._n]
        count = min(math.ceil(0.1 * self.n_results), MOST_BETTER)
        done = min(count, self.n_results - len(self._later))
        better = [n for *_, n in heapq.nsmallest(count - done, self._later)]
        if values.shape[1] == 1:
            better += [n for _, n in self._best[:done]]
        elif done:
            there = np.flatnonzero(np.isfinite(values[:, 0]))
            better += there[_outermost(values[there], done)].tolist()
        better.sort()
        return points[better], points[_worse(self._n, better)]


def _outermost(values: np.ndarray, count: int) -> np.ndarray:
    """Indices of ``count`` rows, by rank.

    If only a part of a rank fits, its rows are chosen one by one, each time the one that adds most
    to the hypervolume.
    """
    rank = ranks(values, count)
    last = int(np.sort(rank)[count - 1])
    chosen = list(np.flatnonzero(rank < last))
    left = list(np.flatnonzero(rank == last))
    if len(left) <= count - len(chosen):
        return np.array([*chosen, *left])
    # By powers of two, which change no bit: products of sides must stay finite.
    front = np.ldexp(values[left], -np.frexp(np.abs(values[left]).max(axis=0))[1])
    high = front.max(axis=0)
    extent = high - front.min(axis=0)
    reference = high + 0.1 * np.where(extent > 0.0, extent, 1.0)
    bounds = Bounds(reference)
    taken: list[int] = []
    while len(chosen) + len(taken) < count:
        gain = bounds.gains(front)
        gain[taken] = -np.inf
        taken.append(int(gain.argmax()))
        bounds.add(front[taken[-1]])
    return np.array([*chosen, *(left[i] for i in taken)])


def _worse(n: int, better: list[int]) -> np.ndarray:
    """The numbers of the trials up to ``n`` that are not ``better``, in order.

    If there are many, the newest and an even choice of older ones.
    """
    count = n - len(better)
    if count <= MOST_WORSE:
        return np.delete(np.arange(n), better)
    older = np.linspace(0, count - NEWEST - 1, MOST_WORSE - NEWEST).astype(int)
    places = np.concatenate([older, np.arange(count - NEWEST, count)])
    # Each better trial shifts the numbers after it by one.
    return places + np.searchsorted(np.array(better) - np.arange(len(better)), places, "right")
