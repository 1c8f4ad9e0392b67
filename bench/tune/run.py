"""Run searchers on the problems and append one line of JSON for each finished search.

    python -m bench.tune.run RIVAL [RIVAL ...] --seeds 0:5 --minutes 8 [--kinds "bbob 2-d" real]

Finished searches are skipped, so a run can be interrupted and repeated until nothing is left. Every
line holds the number of trials and each trial that was better than all before it, with its value.
From these the best value after any part of the search is known. Set OPENBLAS_NUM_THREADS=1.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

from bench.tune import sweep
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


def main() -> None:
    parser = sweep.parser("bench.tune.run", __doc__, seeds="0:3", results=LATEST)
    parser.add_argument("rivals", nargs="+", choices=RIVALS)
    parser.add_argument("--kinds", nargs="+", default=[""], help="beginnings of kinds of problem")
    parser.add_argument("--problems", nargs="+", default=[""], help="beginnings of names")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    chosen = {
        problem.name: problem
        for problem in problems()
        if problem.name.startswith(tuple(arguments.problems))
        and problem.kind.startswith(tuple(arguments.kinds))
    }
    done = (found.key for path in (PUBLISHED, arguments.results) for found in Search.load(path))
    for rival, name, seed in sweep.pending(arguments, arguments.rivals, list(chosen), done):
        search(rival, RIVALS[rival], chosen[name], seed).append_to(arguments.results)


if __name__ == "__main__":
    main()
