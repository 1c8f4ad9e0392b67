"""Time contenders in turn, so that their ratios hold on a machine whose speed wanders.

Within one process every round takes one sample of each contender, in a fresh random order; ratios
are taken within rounds and their median reported. Whatever slows the machine for longer than a
round slows all alike and cancels out. In the second half, who is far behind sits out, so that
those who are close are compared as often as the time allows.
"""

from __future__ import annotations

import gc
import math
import random
import time
from statistics import median

from .contenders import Case

SAMPLE_SECONDS = 100e-6
# After a parallel region OpenMP's threads (torch's, DeepSpeed's) spin for milliseconds in wait of
# the next, and would take a core from whoever is timed next.
SETTLE_SECONDS = 0.01
# Steps are timed in full run. A core that slept needs a while to wake and to get back to its speed,
# and a shared cache that others have used holds arrays that fit into it only after some passes.
WARM_SECONDS = 0.003
WARM_CALLS = 5
# Who takes so many times as long as the fastest is far behind, whatever the noise.
FAR_BEHIND = 3


def _time_calls(case: Case, calls: int) -> float:
    """Seconds per call."""
    clock = time.perf_counter
    step = case.step
    if case.restore is None:
        repeats = range(calls)
        start = clock()
        for _ in repeats:
            step()
        return (clock() - start) / calls
    total = 0.0
    for _ in range(calls):
        case.restore()
        start = clock()
        step()
        total += clock() - start
    return total / calls


def _warm(case: Case, most_calls: float) -> None:
    """Step untimed for a while, or so many times if that is less."""
    end = time.perf_counter() + WARM_SECONDS
    calls = 0
    while calls < most_calls and time.perf_counter() < end:
        if case.restore is not None:
            case.restore()
        case.step()
        calls += 1


def calls_per_sample(case: Case) -> int:
    """So many calls that a sample is long enough for the clock.

    At least two, since fastopt goes over much memory forwards and backwards in turn.
    """
    _time_calls(case, 1)  # compilation, first touch of memory, start of threads
    calls = 2
    while True:
        seconds = _time_calls(case, calls)
        if seconds * calls >= SAMPLE_SECONDS / 2:
            return max(2, round(SAMPLE_SECONDS / seconds))
        calls *= 4


def alternate(
    cases: dict[str, Case],
    seconds: float = 1.0,
    min_rounds: int = 15,
    rounds_of_all: int = 5,
    settle: bool = False,
) -> dict[str, list[float]]:
    """Samples of each case, seconds per call; sample i of all cases comes from round i.

    Parameters
    ----------
    cases : the contenders, ready to step.
    seconds : how long to go on, calibration not counted.
    min_rounds : rounds taken however long they last.
    rounds_of_all : so many at least before a case that is far behind the fastest sits out, which
        it does when half of the time is over.
    settle : whether to pause before each sample until the last contender's threads sleep, and to
        step untimed for long enough to wake this one's.
    """
    calls = {}
    for name, case in cases.items():
        if case.before:
            case.before()
        calls[name] = calls_per_sample(case)
    samples: dict[str, list[float]] = {name: [] for name in cases}
    order = list(cases)
    shuffle = random.Random(0).shuffle
    collecting = gc.isenabled()
    gc.disable()
    try:
        start = time.perf_counter()
        rounds, all_take_part = 0, True
        while rounds < min_rounds or time.perf_counter() < start + seconds:
            if (
                all_take_part
                and rounds >= rounds_of_all
                and time.perf_counter() >= start + seconds / 2
            ):
                all_take_part = False
                fastest = min(median(taken) for taken in samples.values())
                order = [name for name in order if median(samples[name]) < FAR_BEHIND * fastest]
            shuffle(order)
            for name in order:
                if settle:
                    time.sleep(SETTLE_SECONDS)
                if cases[name].before:
                    cases[name].before()
                _warm(cases[name], math.inf if settle else WARM_CALLS)
                samples[name].append(_time_calls(cases[name], calls[name]))
            rounds += 1
    finally:
        if collecting:
            gc.enable()
    return samples


def ratio(numerator: list[float], denominator: list[float]) -> float:
    """The median, over the rounds of both, of one contender's time over another's."""
    return median(a / b for a, b in zip(numerator, denominator, strict=False))
