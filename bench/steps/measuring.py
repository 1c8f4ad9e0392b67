"""Time rivals in turn, so that their times can be compared on a machine whose speed changes.

Every round takes one sample of each rival, in a new random order. Whatever slows the machine for
longer than a round slows all rivals alike. The samples are taken by worker processes, only one of
which works at a time. With one thread there is one worker for all rivals. With several threads
there is one for each library, because the threads of one OpenMP pool disturb those of another in
the same process.
"""

from __future__ import annotations

import contextlib
import gc
import math
import multiprocessing
import os
import random
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import fastopt
from bench.steps.problems import Problem
from bench.steps.results import WIDE, Row
from bench.steps.rival import Case
from bench.steps.rivals import RIVALS

SAMPLE_SECONDS = 200e-6
# After a parallel region OpenMP's threads (torch's, DeepSpeed's) spin for milliseconds and wait for
# the next one. They would take a core from the rival that is timed next.
SETTLE_SECONDS = 0.01
# Steps are timed in a steady state. A core that slept needs a while to reach its full speed, and a
# shared cache that others have used holds the arrays only after some passes, if they fit.
WARM_SECONDS = 0.003
WARM_CALLS = 5
# A rival whose step takes this many times as long as the fastest is not measured beyond the first
# rounds: no noise would make it the fastest.
FAR_BEHIND = 3
FIRST_ROUNDS = 5
MIN_ROUNDS, MAX_ROUNDS = 15, 45
# Steps of arrays as large as these wait for memory and differ little from round to round.
LARGE, FIRST_ROUNDS_LARGE = 10_000_000, 2


def time_calls(case: Case, calls: int) -> float:
    """Seconds per step."""
    clock = time.perf_counter
    step = case.step
    if case.restore is None:
        repeats = range(calls)
        start = clock()
        for _ in repeats:
            step()
        return (clock() - start) / (calls * case.steps)
    total = 0.0
    for _ in range(calls):
        case.restore()
        start = clock()
        step()
        total += clock() - start
    return total / (calls * case.steps)


def warm(case: Case, most_calls: float) -> None:
    """Step untimed for a while, but at most ``most_calls`` times."""
    end = time.perf_counter() + WARM_SECONDS
    calls = 0
    while calls < most_calls and time.perf_counter() < end:
        if case.restore is not None:
            case.restore()
        case.step()
        calls += 1


def calls_per_sample(case: Case) -> int:
    """How many calls make a sample that is long enough for the clock.

    At least two, since fastopt goes over large arrays forwards and backwards in turn.
    """
    time_calls(case, 1)  # compilation, first touch of memory, start of threads
    if time_calls(case, 1) * case.steps > SAMPLE_SECONDS:
        return 2
    calls = 2
    while True:
        seconds = time_calls(case, calls) * case.steps
        if seconds * calls >= SAMPLE_SECONDS / 2:
            return max(2, round(SAMPLE_SECONDS / seconds))
        calls *= 4


def rounds_in_turn(
    sample: Callable[[str], float],
    names: list[str],
    seconds: float,
    min_rounds: int = MIN_ROUNDS,
    max_rounds: int = MAX_ROUNDS,
    first_rounds: int = FIRST_ROUNDS,
    decided: Callable[[dict[str, list[float]]], bool] = lambda samples: False,
) -> dict[str, list[float]]:
    """Samples of each name, in seconds per step; sample i of each comes from round i.

    Parameters
    ----------
    sample : takes one sample of the rival of that name.
    seconds : no round begins later than this, once there are `min_rounds`.
    first_rounds : how many rounds all rivals take part in, also those that are far behind.
    decided : whether these samples suffice; asked from `min_rounds` on.
    """
    samples: dict[str, list[float]] = {name: [] for name in names}
    order = list(names)
    shuffle = random.Random(0).shuffle
    end = time.perf_counter() + seconds
    for number in range(max_rounds):
        if number >= min_rounds and (time.perf_counter() >= end or decided(samples)):
            break
        if number == first_rounds:
            fastest = min(median(taken) for taken in samples.values())
            order = [name for name in order if median(samples[name]) < FAR_BEHIND * fastest]
        shuffle(order)
        for name in order:
            samples[name].append(sample(name))
    return samples


def _serve(connection: Any, threads: int) -> None:
    """A worker: make rivals ready and take samples of them on request, until `None` comes."""
    if threads == 1 and hasattr(os, "sched_setaffinity"):
        # XLA has a thread for each CPU that its process may use, whatever its flags say.
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    gc.disable()
    loaded: set[str] = set()
    cases: dict[str, Case] = {}

    def make(problem: Problem, names: list[str]) -> dict[str, int]:
        for name in names:
            if name not in loaded:
                RIVALS[name].load(threads)
                loaded.add(name)
                gc.freeze()  # to search what the libraries made would take most of `release`
        tensors, rule = problem.tensors(), fastopt.RULES[problem.rule]
        for name in names:
            cases[name] = RIVALS[name].make(rule, tensors, **problem.options)
        return {name: calls_per_sample(case) for name, case in cases.items()}

    def sample(name: str, calls: int, warm_calls: float) -> float:
        warm(cases[name], warm_calls)
        return time_calls(cases[name], calls)

    def release() -> None:
        cases.clear()
        gc.collect()

    actions: dict[str, Callable[..., Any]] = {"make": make, "sample": sample, "release": release}
    actions["cpu_seconds"] = lambda: sum(os.times()[:2])
    while (message := connection.recv()) is not None:
        action, *arguments = message
        try:
            connection.send((actions[action](*arguments), None))
        except Exception:
            connection.send((None, traceback.format_exc()))


class Worker:
    """A process in which rivals step."""

    def __init__(self, threads: int) -> None:
        # NumPy's BLAS has one dot product in it, in the norm; XLA is told in `load`.
        os.environ["OPENBLAS_NUM_THREADS"] = str(threads)
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        arguments = (theirs, threads)
        self.process = context.Process(target=_serve, args=arguments, daemon=True)
        self.process.start()

    def ask(self, action: str, *arguments: Any) -> Any:
        self.connection.send((action, *arguments))
        result, error = self.connection.recv()
        if error is not None:
            raise RuntimeError(f"worker: {error}")
        return result

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.connection.send(None)
        self.process.join()


class Workers(dict):
    """Workers by pool and number of threads, started when first needed."""

    def __missing__(self, key: tuple[str, int]) -> Worker:
        self[key] = Worker(threads=key[1])
        return self[key]

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in self.values():
            worker.close()


def _machine_seconds() -> float | None:
    """CPU time of the whole machine, where the system tells."""
    statistics = Path("/proc/stat")
    if not statistics.exists():
        return None
    user, nice, system, _idle, _wait, irq, softirq, *_ = map(
        int, statistics.read_text().splitlines()[0].split()[1:]
    )
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def competitors(count: int) -> Iterator[None]:
    """`count` processes, each of which only keeps a core busy."""
    command = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def decided(problem: Problem, samples: dict[str, list[float]]) -> bool:
    """Whether more rounds would only confirm what is known."""
    row = Row(*problem.key, elements=problem.elements, samples=samples)
    if row.best is None:
        return True
    low, high = row.interval(row.best)
    return row.verdict != "undecided" and high <= WIDE * low


def participants(problem: Problem, against: list[str] | None) -> dict[str, tuple[str, int]]:
    """{label: (rival, threads)} of the rivals that are wanted, installed, and have the rule."""
    rule = fastopt.RULES[problem.rule]
    names = [
        name
        for name in problem.rivals
        if (not against or name in against or name.startswith("fastopt"))
        and RIVALS[name].installed()
        and RIVALS[name].supports(rule, problem.dtype, len(problem.shapes))
    ]
    if not any(name.startswith("fastopt") for name in names):
        return {}
    taking_part = {name: (name, problem.threads) for name in names}
    if problem.busy:
        taking_part |= {f"{name}, 1 thread": (name, 1) for name in names}
    return taking_part


def measure(
    problem: Problem,
    workers: Workers,
    seconds: float,
    against: list[str] | None = None,
    min_rounds: int = MIN_ROUNDS,
) -> Row:
    """One row. After `min_rounds` it takes at most `seconds`, and less if it is decided earlier."""
    taking_part = participants(problem, against)
    several = problem.threads > 1
    at: dict[str, Worker] = {}
    for label, (name, threads) in taking_part.items():
        at[label] = workers[(RIVALS[name].pool if several else "all", threads)]
    calls: dict[str, int] = {}
    used = list(dict.fromkeys(at.values()))
    for worker in used:
        labels = [label for label in at if at[label] is worker]
        made = worker.ask("make", problem, [taking_part[label][0] for label in labels])
        calls |= {label: made[taking_part[label][0]] for label in labels}

    # A step that takes longer than warming up needs none.
    large = problem.elements >= LARGE
    warm_calls = 0 if large else math.inf if several else WARM_CALLS

    def sample(label: str) -> float:
        if several:
            time.sleep(SETTLE_SECONDS)
        name = taking_part[label][0]
        return at[label].ask("sample", name, calls[label], warm_calls)

    def own_seconds() -> float:
        return sum(os.times()[:2]) + sum(worker.ask("cpu_seconds") for worker in used)

    try:
        with competitors(len(os.sched_getaffinity(0)) if problem.busy else 0):
            start, machine, own = time.perf_counter(), _machine_seconds(), own_seconds()
            samples = rounds_in_turn(
                sample,
                list(taking_part),
                seconds,
                min_rounds=min_rounds,
                first_rounds=FIRST_ROUNDS_LARGE if large else FIRST_ROUNDS,
                decided=lambda samples: decided(problem, samples),
            )
            elapsed, machine_end = time.perf_counter() - start, _machine_seconds()
            own_end = own_seconds()
    finally:
        for worker in used:
            worker.ask("release")
    others = 0.0
    if machine is not None and machine_end is not None and not problem.busy:
        others = max(0.0, (machine_end - machine - own_end + own) / elapsed)
    return Row(*problem.key, elements=problem.elements, samples=samples, others=others)
