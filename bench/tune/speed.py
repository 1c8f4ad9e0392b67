"""Seconds that one suggestion costs: ask and tell together, at a given number of observations.

    OPENBLAS_NUM_THREADS=1 python -m bench.tune.speed 100 500 [--rivals fastopt optuna-gp]

There are six continuous parameters. The observations are made first, then suggestions are timed in
turn, one of each searcher. The times are printed and kept in results/speed.jsonl, from which the
published table is made. They replace earlier times of the same rival and number of observations.
"""

from __future__ import annotations

import argparse
import contextlib
import time
import warnings

import numpy as np

from bench.steps.results import environment
from bench.tune.report import times_table
from bench.tune.results import SPEED, Timing
from bench.tune.rivals import RIVALS

DIMENSION = 6
REPEATS = 12
SPACE = {f"x{i}": ("float", 0.0, 1.0, False) for i in range(DIMENSION)}


def objective(params):
    x = np.array(list(params.values()))
    return float(((x - 0.3) ** 2).sum() + 0.1 * np.sin(9.0 * x).sum())


def history(n):
    """Points that approach a good one, as those of a search do."""
    rng = np.random.default_rng(0)
    for i in range(n):
        width = 0.4 * (1.0 - i / n) + 0.02
        x = np.clip(0.35 + width * rng.standard_normal(DIMENSION), 0.0, 1.0)
        yield dict(zip(SPACE, x.tolist(), strict=True))


def observe(name, searcher, n):
    """Tell ``n`` observations; a rival to which a history cannot be told searches for them."""
    for params in history(n):
        if name.startswith("fastopt"):
            searcher.study.enqueue(params)
        elif name.startswith("optuna"):
            from optuna.trial import create_trial

            value = objective(params)
            trial = create_trial(params=params, distributions=searcher.space, value=value)
            searcher.study.add_trial(trial)
            continue
        params = searcher.ask()
        searcher.tell(params, objective(params))


def suggestion(searcher):
    """Seconds of one ask and its tell."""
    start = time.perf_counter()
    params = searcher.ask()
    asked = time.perf_counter() - start
    value = objective(params)
    start = time.perf_counter()
    searcher.tell(params, value)
    return asked + time.perf_counter() - start


def machine() -> str:
    here = environment()
    return f"{here['cpu']}, {here['system']}, Python {here['python']}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("observations", type=int, nargs="+")
    parser.add_argument("--rivals", nargs="+", choices=RIVALS, default=["fastopt", "optuna-gp"])
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    with contextlib.suppress(ImportError):
        import torch

        torch.set_num_threads(1)
    for n in arguments.observations:
        searchers = {name: RIVALS[name](SPACE, 0, n + REPEATS) for name in arguments.rivals}
        seconds = {name: [] for name in searchers}
        for name, searcher in searchers.items():
            observe(name, searcher, n)
        for _ in range(REPEATS):
            for name, searcher in searchers.items():
                seconds[name].append(suggestion(searcher))
        new = [
            Timing(machine(), name, n, [round(s, 6) for s in taken])
            for name, taken in seconds.items()
        ]
        replaced = {(timing.rival, timing.observations) for timing in new}
        kept = [t for t in Timing.load(SPEED) if (t.rival, t.observations) not in replaced]
        timings = sorted([*kept, *new], key=lambda t: (t.observations, list(RIVALS).index(t.rival)))
        SPEED.write_text("".join(timing.as_line() for timing in timings))
        print(times_table(new))


if __name__ == "__main__":
    main()
