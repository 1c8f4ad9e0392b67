"""Turn finished searches for fronts and feasible points into tables.

    python -m bench.tune.fronts.report              print the tables, of what was run last too
    python -m bench.tune.fronts.report --publish    make that the published results
    python -m bench.tune.fronts.report --check      compare the document with the published results

Ranks and shares of pairs as in ``bench.tune.report``, by hypervolume or best feasible value.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from bench.documents import NOT_MEASURED, Place, report, table
from bench.tune.fronts.rivals import RIVALS
from bench.tune.fronts.run import LATEST, PUBLISHED
from bench.tune.ranks import Cells, cells_of, complete
from bench.tune.report import STAGES, pairs_table, ranks_table
from bench.tune.results import Search, add_published

KINDS = {
    "fronts": "Median hypervolume after a quarter, half and all of the trials; larger is better:\n",
    "constrained": (
        "Median distance of the best feasible value from the optimum, after a quarter, half and "
        "all of the trials (- where most searches have found no feasible point):\n"
    ),
}
PLACE = Place(
    "docs/notes/tuning.md", "front tables: bench.tune.fronts.report", "end of front tables"
)


def medians_table(cells: Cells, rivals: list[str], sign: float) -> str:
    problems = dict.fromkeys(problem for problem, _ in cells)
    lines = []
    for problem in problems:
        row = [problem]
        for rival in rivals:
            found = [
                cell[rival]
                for (name, _), cell in cells.items()
                if name == problem and rival in cell
            ]
            medians = [
                float(np.median([search.best_after(stage) for search in found]))
                for stage in STAGES
                if found
            ]
            shown = [f"{sign * value:.4g}" if math.isfinite(value) else "-" for value in medians]
            row.append(" / ".join(shown))
        lines.append(row)
    return table(["problem", *rivals], lines)


def whole(searches: list[Search]) -> str:
    """Every table."""
    parts = []
    for kind, title in KINDS.items():
        cells = cells_of([search for search in searches if search.kind == kind])
        rivals = [rival for rival in RIVALS if any(rival in cell for cell in cells.values())]
        used = complete(cells, rivals)
        problems = {problem for problem, _ in used}
        parts += [
            f"**{kind.capitalize()}**: share of pairs that fastopt wins:\n",
            pairs_table(cells, rivals),
            f"Mean rank on the {len(problems)} problems that all have, by {len(used)} searches:\n",
            ranks_table(used, rivals),
            title,
            medians_table(cells, rivals, -1.0 if kind == "fronts" else 1.0),
        ]
    return "\n".join(parts)


def texts() -> dict[Place, str]:
    """What the published results make of the document."""
    searches = Search.load(PUBLISHED)
    return {PLACE: whole(searches) if searches else NOT_MEASURED}


def publish(results: Path) -> None:
    """Add the searches of a file to those published, and write the document."""
    add_published(PUBLISHED, results, RIVALS)
    for place, text in texts().items():
        place.write(text)


def main() -> None:
    report(
        "bench.tune.fronts.report",
        __doc__,
        LATEST,
        texts=texts,
        publish=publish,
        printed=lambda results: whole([*Search.load(PUBLISHED), *Search.load(results)]),
    )


if __name__ == "__main__":
    main()
