"""Measure, and turn what was measured into tables and a plot.

    python -m bench.report                          everything, about half an hour
    python -m bench.report --quick --suites steps --rules adam --sizes 1e5 1e6 --threads 1
    python -m bench.report --read --publish         no measuring; README, docs and plot anew

Rows are kept in bench/results/latest.json; those of cells measured again are replaced, so the whole
can be measured in parts. `--quick` prints and keeps nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from . import results, tables
from .measure import add_selection
from .plot import plot_steps
from .suites import SUITE_THREADS, SUITES, Row

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "bench" / "results"
BEGIN, END = "<!-- benchmark tables: bench.report -->", "<!-- end of benchmark tables -->"


def measure(suite: str, threads: int, options: list[str]) -> list[Row]:
    """Run bench.measure in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows"
        command = [sys.executable, "-m", "bench.measure", suite, str(path)]
        # NumPy's BLAS has one dot product in it, in the norm; the same thread count for it.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": str(threads)}
        subprocess.run(
            [*command, "--threads", str(threads), *options], check=True, cwd=ROOT, env=environment
        )
        return results.read_rows(path)


def publish(path: Path, text: str) -> None:
    """Replace what stands between the two marks of a document."""
    document = path.read_text()
    if document.count(BEGIN) != 1 or document.count(END) != 1:
        raise ValueError(f"{path.name}: needs one line {BEGIN!r} and one {END!r}")
    before, rest = document.split(BEGIN)
    after = rest.split(END)[1]
    path.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}")


def _measured_options(arguments: argparse.Namespace) -> list[str]:
    options = []
    for name in ("rules", "dtypes", "sizes", "works", "against"):
        values = getattr(arguments, name)
        if values:
            options += [f"--{name}", *map(str, values)]
    return [*options, "--seconds", str(arguments.seconds)]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--suites", nargs="+", choices=SUITES, default=list(SUITES))
    parser.add_argument("--threads", nargs="+", type=int, help="thread counts")
    add_selection(parser)
    parser.add_argument("--results", type=Path, default=FOLDER / "latest.json")
    parser.add_argument("--quick", action="store_true", help="print the tables, keep nothing")
    parser.add_argument("--read", action="store_true", help="measure nothing, use what is kept")
    parser.add_argument(
        "--publish",
        action="store_true",
        help="replace the tables in README.md and docs/performance.md and docs/steps.png",
    )
    arguments = parser.parse_args()
    if arguments.quick and (arguments.read or arguments.publish):
        parser.error("--quick keeps nothing that could be read or published")

    rows = []
    if not arguments.read:
        for suite in arguments.suites:
            for threads in arguments.threads or SUITE_THREADS[suite]:
                found = measure(suite, threads, _measured_options(arguments))
                rows += found
                if not arguments.quick:
                    results.save(arguments.results, found)
    if arguments.quick:
        print(tables.whole(results.environment(), rows))
        return

    environment, rows = results.load(arguments.results)
    short, whole = tables.short(environment, rows), tables.whole(environment, rows)
    (arguments.results.parent / "readme.md").write_text(short)
    (arguments.results.parent / "performance.md").write_text(whole)
    print(whole)
    if any(row.suite == "steps" for row in rows):
        plot_steps(rows, arguments.results.parent / "steps.png")
    if arguments.publish:
        publish(ROOT / "README.md", short)
        publish(ROOT / "docs" / "performance.md", whole)
        plot_steps(rows, ROOT / "docs" / "steps.png")


if __name__ == "__main__":
    main()
