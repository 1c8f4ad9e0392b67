"""Run searchers on the functions and append one line of JSON for each finished search.

    python -m bench.tune.fronts.run RIVAL [RIVAL ...] --seeds 0:5 --minutes 8

As with ``bench.tune.run``, finished searches are skipped, so a run can be interrupted and repeated.
A line holds each trial that enlarged the hypervolume (with a minus sign, so that smaller is better)
or brought the best feasible value nearer to the optimum. Set OPENBLAS_NUM_THREADS=1.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.tune import sweep
from bench.tune.fronts.problems import BUDGET, PROBLEMS, Problem
from bench.tune.fronts.rivals import RIVALS
from bench.tune.results import Search
from fastopt.tune.fronts.boxes import hypervolume

FOLDER = Path(__file__).with_name("results")
PUBLISHED, LATEST = FOLDER / "published.jsonl", FOLDER / "latest.jsonl"


def merit(problem: Problem, feasible: list) -> float:
    """What the feasible results are worth together; smaller is better."""
    if not feasible:
        return math.inf
    if len(problem.reference) == 1:
        return min(value for (value,) in feasible) - problem.reference[0]
    return -hypervolume(np.array(feasible), np.array(problem.reference))


def search(rival: str, make: Callable, problem: Problem, seed: int) -> Search:
    """One search to the end of the budget."""
    searcher = make(problem, seed)
    best, improvements, feasible = math.inf, [], []
    for number in range(1, BUDGET + 1):
        objectives, constraints = problem.evaluate(searcher.ask())
        searcher.tell(objectives, constraints)
        if all(constraint <= 0.0 for constraint in constraints):
            feasible.append(tuple(objectives))
            value = merit(problem, feasible)
            if value < best:
                best = value
                improvements.append((number, value))
    return Search(rival, problem.name, problem.kind, seed, BUDGET, improvements)


def main() -> None:
    parser = sweep.parser("bench.tune.fronts.run", __doc__, seeds="0:3", results=LATEST)
    parser.add_argument("rivals", nargs="+", choices=RIVALS)
    parser.add_argument("--problems", nargs="+", default=[""], help="beginnings of names")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    begins = tuple(arguments.problems)
    chosen = {problem.name: problem for problem in PROBLEMS if problem.name.startswith(begins)}
    done = (found.key for path in (PUBLISHED, arguments.results) for found in Search.load(path))
    for rival, name, seed in sweep.pending(arguments, arguments.rivals, list(chosen), done):
        search(rival, RIVALS[rival], chosen[name], seed).append_to(arguments.results)


if __name__ == "__main__":
    main()
