"""Run searchers on the problems and append one line of JSON for each finished search.

    python -m bench.tune.run RIVAL [RIVAL ...] --seeds 0:5 --minutes 8 [--kinds "bbob 2-d" real]

Finished searches are skipped, so a run can be cut off and repeated until nothing is left. Every
line holds the number of trials and each trial that was better than all before it, with its value:
from these the best value after any part of the search is known. Set OPENBLAS_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from bench.tune.problems import Problem, problems
from bench.tune.results import LATEST, PUBLISHED, Search
from bench.tune.rivals import RIVALS


def search(rival: str, make: Callable, problem: Problem, seed: int) -> Search:
    """One search to the end of the problem's budget."""
    objective = problem.start(seed)
    searcher = make(problem.space, seed, problem.budget)
    best, improvements = math.inf, []
    for number in range(1, problem.budget + 1):
        params = searcher.ask()
        value = objective(params)
        searcher.tell(params, value)
        if value < best:
            best = value
            improvements.append((number, value))
    return Search(rival, problem.name, problem.kind, seed, problem.budget, improvements)


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="python -m bench.tune.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("rivals", nargs="+", choices=RIVALS)
    result.add_argument("--seeds", default="0:3", help="first:end")
    result.add_argument("--kinds", nargs="+", default=[""], help="beginnings of kinds of problem")
    result.add_argument("--problems", nargs="+", default=[""], help="beginnings of names")
    result.add_argument("--minutes", type=float, help="begin no search later than this")
    result.add_argument("--results", type=Path, default=LATEST)
    return result


def main() -> None:
    arguments = parser().parse_args()
    warnings.simplefilter("ignore")
    done = {found.key for path in (PUBLISHED, arguments.results) for found in Search.load(path)}
    chosen = [
        problem
        for problem in problems()
        if problem.name.startswith(tuple(arguments.problems))
        and problem.kind.startswith(tuple(arguments.kinds))
    ]
    start = time.monotonic()
    for seed in range(*map(int, arguments.seeds.split(":"))):
        for problem in chosen:
            for rival in arguments.rivals:
                if (rival, problem.name, seed) in done:
                    continue
                if arguments.minutes and time.monotonic() - start > 60 * arguments.minutes:
                    print("time is up; run again to go on")
                    return
                search(rival, RIVALS[rival], problem, seed).append_to(arguments.results)
    print("all done")


if __name__ == "__main__":
    main()
