"""Measure one suite with one thread count and write rows as lines of JSON.

One process for each thread count: XLA takes its number of threads from the environment, once.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from .suites import SUITE_THREADS, SUITES, Selection


def add_selection(parser: argparse.ArgumentParser) -> None:
    """The options that choose cells, shared with bench.report."""
    parser.add_argument("--rules", nargs="+", help="names in fastopt.RULES")
    parser.add_argument("--dtypes", nargs="+", choices=("float32", "float64"))
    parser.add_argument("--sizes", nargs="+", type=float, help="numbers of elements, as 1e6")
    parser.add_argument("--works", nargs="+", help="models: mlp, resnet50, gpt2")
    parser.add_argument("--against", nargs="+", help="contenders besides fastopt")
    parser.add_argument("--seconds", type=float, default=1.0, help="time for each cell")


def selection(arguments: argparse.Namespace, threads: int) -> Selection:
    return Selection(
        threads=threads,
        rules=arguments.rules,
        dtypes=arguments.dtypes,
        sizes=arguments.sizes and [int(size) for size in arguments.sizes],
        works=arguments.works,
        against=arguments.against,
        seconds=arguments.seconds,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", choices=SUITES)
    parser.add_argument("rows", type=Path, help="file that the rows are appended to")
    parser.add_argument("--threads", type=int, default=SUITE_THREADS["overhead"][0])
    add_selection(parser)
    arguments = parser.parse_args()
    with arguments.rows.open("a") as file:
        for row in SUITES[arguments.suite](selection(arguments, arguments.threads)):
            file.write(json.dumps(row.as_dict()) + "\n")
            file.flush()


if __name__ == "__main__":
    main()
