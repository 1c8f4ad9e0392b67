"""Measure, and append one row for each problem to a file.

    python -m bench.steps.run                                  everything that is published
    python -m bench.steps.run --suites models --threads 1      a part of it
    python -m bench.steps.run --minutes 8                      stops after 8 minutes; run it again
    python -m bench.steps.run --suites calls rows rules --rounds 5 --seconds 1
    python -m bench.steps.run --quick --suites steps --rules adam --sizes 1e5 --threads 1

Problems whose row is already in the file are not measured again, so that a run can be interrupted
and repeated until nothing is left. `--quick` takes a few rounds of each, prints the tables and
keeps nothing.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

from bench.steps import tables
from bench.steps.measuring import MIN_ROUNDS, Workers, measure, participants
from bench.steps.problems import (
    DROP_IN_MODELS,
    PUBLISHED_SUITES,
    SUITE_THREADS,
    SUITES,
    Problem,
    Selection,
)
from bench.steps.results import LATEST, Results, environment
from bench.steps.rivals import RIVALS

QUICK_ROUNDS = 3


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="python -m bench.steps.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = result.add_argument
    add("--suites", nargs="+", choices=SUITES, default=list(PUBLISHED_SUITES))
    add("--threads", nargs="+", type=int, help="thread counts; default: 1 and 2")
    add("--rules", nargs="+", help="names in fastopt.RULES")
    add("--dtypes", nargs="+", choices=("float32", "float64"))
    add("--sizes", nargs="+", type=float, help="numbers of elements, as 1e6")
    add("--models", nargs="+", choices=DROP_IN_MODELS)
    add("--against", nargs="+", choices=RIVALS, help="rivals besides fastopt; default: all")
    add("--rounds", type=int, default=MIN_ROUNDS, help="of each row at least; default: 15")
    add("--seconds", type=float, default=5.0, help="at most for a row, after these rounds")
    add("--minutes", type=float, help="begin no row later than this")
    add("--results", type=Path, default=LATEST)
    add("--quick", action="store_true", help="three rounds, print the tables, keep nothing")
    return result


def chosen(arguments: argparse.Namespace) -> Iterator[Problem]:
    sizes = arguments.sizes and [int(size) for size in arguments.sizes]
    selection = Selection(arguments.rules, arguments.dtypes, sizes, arguments.models)
    for suite in arguments.suites:
        for threads in SUITE_THREADS[suite]:
            if not arguments.threads or threads in arguments.threads:
                yield from SUITES[suite](selection, threads)


def main() -> None:
    arguments = parser().parse_args()
    results = None if arguments.quick else Results(arguments.results)
    todo = [
        problem
        for problem in chosen(arguments)
        if (results is None or problem.key not in results.keys)
        and participants(problem, arguments.against)
    ]
    start, rows = time.monotonic(), []
    with Workers() as workers:
        for number, problem in enumerate(todo):
            if arguments.minutes and time.monotonic() - start > 60 * arguments.minutes:
                print(f"time is up, {len(todo) - number} rows are left; run again to go on")
                return
            row = measure(
                problem,
                workers,
                seconds=0 if arguments.quick else arguments.seconds,
                against=arguments.against,
                min_rounds=QUICK_ROUNDS if arguments.quick else arguments.rounds,
            )
            rows.append(row)
            if results is not None:
                results.append(row)
            rounds = max(map(len, row.samples.values()))
            seconds = time.monotonic() - start
            print(f"{seconds:6.1f} s  {tables.summary(row)}, {rounds} rounds", flush=True)
    if arguments.quick:
        print(tables.printed(environment(), rows))


if __name__ == "__main__":
    main()
