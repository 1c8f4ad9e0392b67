"""Turn finished searches into tables and a picture.

    python -m bench.tune.report              print every table, of what was run last too
    python -m bench.tune.report --publish    make that the published results: document and picture
    python -m bench.tune.report --check      compare the document with the published results

Ranks compare the best value so far of each search among all rivals on the same problem and seed (1
is best, ties share their mean). Only problems and seeds that every rival of a table has finished
count. Intervals are 95 % bootstrap intervals over problems.
"""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np

from bench.documents import NOT_MEASURED, ROOT, Place, report, table
from bench.tune.fidelity import budget_tables, halving_tables
from bench.tune.plot import plot_ranks
from bench.tune.ranks import OURS, Cells, cells_of, complete, interval, mean_ranks, share_of_pairs
from bench.tune.results import (
    BUDGET,
    HALVING,
    LATEST,
    PUBLISHED,
    SPEED,
    Search,
    Timing,
    Training,
    add_published,
)
from bench.tune.rivals import RIVALS

STAGES = (0.25, 0.5, 1.0)
STAGE_NAMES = ["25 %", "50 %", "100 %"]
# These take milliseconds for a suggestion, and so have more seeds.
CHEAP = ("fastopt", "random", "fastopt-tpe", "optuna-tpe", "optuna-cmaes", "hyperopt")
# These take seconds for a suggestion, so that a table without them has more searches.
SLOWEST = ("smac", "hebo", "ax")
PICTURE = ROOT / "docs" / "images" / "tuning.png"
SEARCHES = Place("docs/notes/tuning.md", "tuning tables: bench.tune.report", "end of tuning tables")
TIMES = Place("docs/notes/tuning.md", "tuning times: bench.tune.report", "end of tuning times")
BUDGETS = Place("docs/notes/tuning.md", "equal CPU time: bench.tune.report", "end of CPU time")
HALVINGS = Place("docs/notes/tuning.md", "equal epochs: bench.tune.report", "end of equal epochs")


def counts_table(cells: Cells, rivals: list[str]) -> str:
    """How many searches there are of each rival, by kind of problem."""
    searches = [search for cell in cells.values() for search in cell.values()]
    kinds = list(dict.fromkeys(search.kind for search in searches))
    lines = []
    for rival in rivals:
        own = [search.kind for search in searches if search.rival == rival]
        lines.append([rival, *(str(own.count(kind)) for kind in kinds)])
    return table(["searches", *kinds], lines)


def pairs_table(cells: Cells, rivals: list[str]) -> str:
    lines = []
    for rival in rivals:
        pairs = [share_of_pairs(cells, rival, stage) for stage in STAGES]
        if rival != OURS and pairs[0]:
            shares = ["{:.0%} ({:.0%}-{:.0%})".format(*interval(found)) for found in pairs]
            searches = sum(map(len, pairs[0].values()))
            lines.append([rival, *shares, str(len(pairs[0])), str(searches)])
    return table(["against", *STAGE_NAMES, "problems", "searches"], lines)


def ranks_table(cells: Cells, rivals: list[str]) -> str:
    used = complete(cells, rivals)
    by_stage = [mean_ranks(used, rivals, stage) for stage in STAGES]
    final = {rival: interval(found)[0] for rival, found in by_stage[-1].items()}
    lines = []
    for rival in sorted(rivals, key=lambda name: final[name]):
        row = [interval(ranks[rival]) for ranks in by_stage]
        lines.append([rival, *(f"{m:.2f} ({low:.2f}-{high:.2f})" for m, low, high in row)])
    return table(["mean rank", *STAGE_NAMES], lines)


def kinds_table(cells: Cells, rivals: list[str]) -> str:
    used = complete(cells, rivals)
    kinds = {problem: cell[OURS].kind for (problem, _), cell in used.items()}
    ranks = mean_ranks(used, rivals, 1.0)
    lines = []
    for kind in dict.fromkeys(kinds.values()):
        members = [problem for problem in kinds if kinds[problem] == kind]
        means = [np.mean([r for p in members for r in ranks[rival][p]]) for rival in rivals]
        lines.append([kind, *(f"{mean:.2f}" for mean in means)])
    return table(["mean rank at 100 %", *rivals], lines)


def against_random_table(cells: Cells) -> str:
    """No kind of problem should be searched worse than by independent draws."""
    used = complete(cells, [OURS, "random"])
    lines = []
    for kind in dict.fromkeys(cell[OURS].kind for cell in used.values()):
        members = {key: cell for key, cell in used.items() if cell[OURS].kind == kind}
        pairs = [share_of_pairs(members, "random", stage) for stage in STAGES]
        shares = [f"{interval(found)[0]:.0%}" for found in pairs]
        lines.append([kind, *shares, str(len(members))])
    return table(["won against random", *STAGE_NAMES, "searches"], lines)


def not_first_table(cells: Cells, rivals: list[str]) -> str:
    """Every problem where some rival has a better mean rank than fastopt at the end."""
    ranks = mean_ranks(cells, rivals, 1.0)
    lines = []
    for problem in sorted(ranks[OURS]):
        mean = {rival: float(np.mean(ranks[rival][problem])) for rival in rivals}
        better = sorted((r for r in rivals if mean[r] < mean[OURS]), key=mean.__getitem__)
        if better:
            names = ", ".join(f"{rival} {mean[rival]:.1f}" for rival in better)
            lines.append([problem, f"{mean[OURS]:.1f}", names])
    return table(["problem", "fastopt", "better"], lines)


def groups(cells: Cells) -> list[list[str]]:
    """All rivals that were run, those without the slowest, and those that are cheap."""
    present = {rival for cell in cells.values() for rival in cell}
    everyone = [rival for rival in RIVALS if rival in present]
    faster = [rival for rival in everyone if rival not in SLOWEST]
    cheap = [rival for rival in everyone if rival in CHEAP]
    found = [everyone, faster, cheap]
    return [group for i, group in enumerate(found) if group and group not in found[:i]]


def whole(searches: list[Search]) -> str:
    """Every table, in the order in which they are read."""
    cells = cells_of(searches)
    parts = ["Share of pairs (same problem and seed) that fastopt wins, and its 95 % interval:\n"]
    everyone = groups(cells)[0]
    parts.append(pairs_table(cells, everyone))
    for rivals in groups(cells):
        used = complete(cells, rivals)
        problems = {problem for problem, _ in used}
        parts += [
            f"{len(rivals)} tuners on the {len(problems)} problems that all of them have, "
            f"{len(used)} searches each; 1 is the best rank:\n",
            ranks_table(cells, rivals),
            kinds_table(cells, rivals),
            f"Where fastopt is not first of the {len(rivals)} at the end, by mean rank:\n",
            not_first_table(cells, rivals),
        ]
    parts += ["By kind of problem, share of pairs won against random search:\n"]
    parts += [against_random_table(cells), "How many searches there are:\n"]
    return "\n".join([*parts, counts_table(cells, everyone)])


def times_table(timings: list[Timing]) -> str:
    """What a suggestion costs, in milliseconds."""
    lines = []
    for timing in timings:
        costs = [1e3 * seconds for seconds in timing.seconds]
        printed = [f"{f(costs):.1f}" for f in (statistics.median, statistics.fmean, max)]
        lines.append([timing.rival, str(timing.observations), *printed])
    machines = ", ".join(dict.fromkeys(timing.machine for timing in timings))
    header = ["rival", "observations", "median", "mean", "longest"]
    return f"{table(header, lines)}\n{machines}.\n"


def texts() -> dict[Place, str]:
    """What the published results make of each place."""
    searches, timings = Search.load(PUBLISHED), Timing.load(SPEED)
    budgets, halvings = Training.load(BUDGET), Search.load(HALVING)
    return {
        SEARCHES: whole(searches) if searches else NOT_MEASURED,
        TIMES: times_table(timings) if timings else NOT_MEASURED,
        BUDGETS: budget_tables(budgets) if budgets else NOT_MEASURED,
        HALVINGS: halving_tables(halvings) if halvings else NOT_MEASURED,
    }


def publish(results: Path) -> None:
    """Add the searches of a file to those published; then the document and the picture."""
    searches = add_published(PUBLISHED, results, RIVALS)
    for place, text in texts().items():
        place.write(text)
    plot_ranks(cells_of(searches), groups(cells_of(searches)), PICTURE)


def main() -> None:
    report(
        "bench.tune.report",
        __doc__,
        LATEST,
        texts=texts,
        publish=publish,
        printed=lambda results: whole([*Search.load(PUBLISHED), *Search.load(results)]),
    )


if __name__ == "__main__":
    main()
