"""For programs that run many searches, can be interrupted, and go on when they are run again."""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path


def parser(
    module: str, documentation: str, *, seeds: str, results: Path
) -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=documentation,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("--seeds", default=seeds, help="first:end")
    result.add_argument("--minutes", type=float, help="begin no search later than this")
    result.add_argument("--results", type=Path, default=results)
    return result


def pending(
    arguments: argparse.Namespace,
    searchers: Sequence[str],
    problems: Sequence[str],
    done: Iterable[tuple[str, str, int]],
) -> Iterator[tuple[str, str, int]]:
    """(searcher, problem, seed) of each search that is not done, until the time is up.

    All searchers are run on a problem before the next problem, and all problems before the next
    seed, so that an interrupted run leaves results that can be compared.
    """
    done = set(done)
    seeds = range(*map(int, arguments.seeds.split(":")))
    start = time.monotonic()
    for seed, problem, searcher in itertools.product(seeds, problems, searchers):
        if (searcher, problem, seed) in done:
            continue
        if arguments.minutes and time.monotonic() - start > 60 * arguments.minutes:
            print("time is up; run again to go on")
            return
        yield searcher, problem, seed
    print("all done")
