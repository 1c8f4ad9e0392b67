"""What both benchmarks share: Markdown tables, and the places of documents that hold them."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOT_MEASURED = "No results are published yet."


def table(header: list[str], lines: list[list[str]], left: int = 1) -> str:
    """Markdown; the first `left` columns to the left, the others to the right."""
    rule = ["---"] * left + ["--:"] * (len(header) - left)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *lines)) + "\n"


class Place:
    """The part of a document between two marks, each of which occurs once."""

    def __init__(self, path: str, begin: str, end: str) -> None:
        self.path = path
        self.begin, self.end = f"<!-- {begin} -->", f"<!-- {end} -->"

    def _split(self) -> tuple[str, str, str]:
        document = (ROOT / self.path).read_text()
        for mark in (self.begin, self.end):
            if document.count(mark) != 1:
                raise ValueError(
                    f"{self.path}: {mark} must occur once, got {document.count(mark)} times"
                )
        before, rest = document.split(self.begin)
        between, after = rest.split(self.end)
        return before, between, after

    def write(self, text: str) -> None:
        before, _, after = self._split()
        content = f"{before}{self.begin}\n\n{text.rstrip()}\n\n{self.end}{after}"
        (ROOT / self.path).write_text(content)

    def difference(self, text: str) -> str:
        """Empty if the document holds exactly this text."""
        _, between, _ = self._split()
        expected = f"\n\n{text.rstrip()}\n\n"
        return "".join(
            difflib.unified_diff(
                expected.splitlines(keepends=True),
                between.splitlines(keepends=True),
                "recomputed from the results",
                self.path,
            )
        )


def report(
    module: str,
    description: str | None,
    latest: Path,
    *,
    texts: Callable[[], dict[Place, str]],
    publish: Callable[[Path], None],
    printed: Callable[[Path], str],
) -> None:
    """The command line of both reports: print what was measured, publish it, or check documents."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--results", type=Path, default=latest)
    parser.add_argument("--publish", action="store_true")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    if arguments.check:
        differences = [place.difference(text) for place, text in texts().items()]
        sys.exit("".join(differences) or None)
    if arguments.publish:
        publish(arguments.results)
    else:
        print(printed(arguments.results))
