"""Run searchers on the problems and append one line of JSON for each finished search.

    python bench/tune/run.py RIVAL[,RIVAL...] --seeds 0:5 --minutes 9 [--kinds "bbob 2-d,real"]

Finished searches are skipped, so a run can be cut off and repeated until nothing is left. Every
line holds the values in the order of evaluation and the seconds that each ask and tell took
together. Set OPENBLAS_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from pathlib import Path

from problems import problems
from rivals import RIVALS


def search(make, problem, seed):
    """Values and seconds of one search; a trial whose value is not finite counts as None."""
    objective = problem.start(seed)
    searcher = make(problem.space, seed, problem.budget)
    values, seconds = [], []
    for _ in range(problem.budget):
        start = time.perf_counter()
        params = searcher.ask()
        asked = time.perf_counter() - start
        value = objective(params)
        start = time.perf_counter()
        searcher.tell(params, value)
        seconds.append(asked + time.perf_counter() - start)
        values.append(value if math.isfinite(value) else None)
    return values, seconds


def finished(path):
    if not path.exists():
        return set()
    lines = map(json.loads, path.read_text().splitlines())
    return {(line["rival"], line["problem"], line["seed"]) for line in lines}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rivals", help="names, separated by commas: " + ", ".join(RIVALS))
    parser.add_argument("--seeds", default="0:3", help="first:end")
    parser.add_argument("--kinds", default="", help="beginnings of kinds of problem, by commas")
    parser.add_argument("--problems", default="", help="beginnings of names, by commas")
    parser.add_argument("--minutes", type=float, default=9.0)
    default = Path(__file__).parent / "results" / "searches.jsonl"
    parser.add_argument("--results", type=Path, default=default)
    arguments = parser.parse_args()
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    done = finished(arguments.results)
    deadline = time.monotonic() + 60.0 * arguments.minutes
    warnings.simplefilter("ignore")
    names, kinds = (tuple(text.split(",")) for text in (arguments.problems, arguments.kinds))
    chosen = [p for p in problems() if p.name.startswith(names) and p.kind.startswith(kinds)]
    for seed in range(*map(int, arguments.seeds.split(":"))):
        for problem in chosen:
            for rival in arguments.rivals.split(","):
                if (rival, problem.name, seed) in done:
                    continue
                if time.monotonic() > deadline:
                    print("time is up; run again to go on")
                    return
                values, seconds = search(RIVALS[rival], problem, seed)
                line = {
                    "rival": rival,
                    "problem": problem.name,
                    "kind": problem.kind,
                    "seed": seed,
                    "values": values,
                    "seconds": [round(s, 6) for s in seconds],
                }
                with arguments.results.open("a") as file:
                    file.write(json.dumps(line) + "\n")
    print("all done")


if __name__ == "__main__":
    main()
