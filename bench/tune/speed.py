"""Seconds that one suggestion costs: ask and tell together, at a given number of observations.

    OPENBLAS_NUM_THREADS=1 python bench/tune/speed.py 100 500

Six continuous parameters; the history is told first, then suggestions are timed in turn, one of
each searcher.
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings

import numpy as np
from rivals import RIVALS

DIMENSION = 6
REPEATS = 12
SPACE = {f"x{i}": ("float", 0.0, 1.0, False) for i in range(DIMENSION)}


def objective(params):
    x = np.array(list(params.values()))
    return float(((x - 0.3) ** 2).sum() + 0.1 * np.sin(9.0 * x).sum())


def history(n):
    """Points that draw nearer to a good one, as those of a search do."""
    rng = np.random.default_rng(0)
    for i in range(n):
        width = 0.4 * (1.0 - i / n) + 0.02
        x = np.clip(0.35 + width * rng.standard_normal(DIMENSION), 0.0, 1.0)
        yield dict(zip(SPACE, x.tolist(), strict=True))


def tell_history(name, searcher, n):
    for params in history(n):
        value = objective(params)
        if name == "fastopt":
            searcher.study.enqueue(params)
            searcher.tell(searcher.ask(), value)
        else:
            from optuna.trial import create_trial

            trial = create_trial(params=params, distributions=searcher.space, value=value)
            searcher.study.add_trial(trial)


def main():
    warnings.simplefilter("ignore")
    try:
        import torch

        torch.set_num_threads(1)
        names = ["fastopt", "optuna-gp"]
    except ImportError:
        names = ["fastopt"]
    for n in map(int, sys.argv[1:]):
        searchers = {name: RIVALS[name](SPACE, 0, 0) for name in names}
        seconds = {name: [] for name in names}
        for name, searcher in searchers.items():
            tell_history(name, searcher, n)
        for _ in range(REPEATS):
            for name, searcher in searchers.items():
                start = time.perf_counter()
                params = searcher.ask()
                asked = time.perf_counter() - start
                value = objective(params)
                start = time.perf_counter()
                searcher.tell(params, value)
                seconds[name].append(asked + time.perf_counter() - start)
        for name, times in seconds.items():
            milliseconds = [1e3 * t for t in times]
            print(
                f"{n} observations, {name}: median {statistics.median(milliseconds):.1f} ms, "
                f"mean {statistics.fmean(milliseconds):.1f}, longest {max(milliseconds):.1f}"
            )


if __name__ == "__main__":
    main()
