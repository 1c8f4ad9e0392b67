"""Tables of bench.tune.budget and bench.tune.halving: what early stopping gains."""

from __future__ import annotations

import math
import statistics

from bench.documents import table
from bench.tune.ranks import cells_of, complete, mean_ranks
from bench.tune.results import Search, Training

__all__ = ["budget_tables", "halving_tables"]

ALONE = "fastopt, one by one"
PARTS = (0.25, 0.5, 1.0)


def _names(found: list, attribute: str) -> list[str]:
    return list(dict.fromkeys(getattr(each, attribute) for each in found))


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if math.isfinite(value) else "not reached"


def budget_tables(trainings: list[Training]) -> str:
    """Validation losses after parts of the CPU time, and the time to the loss of one by one."""
    found = {training.key: training for training in trainings}
    methods, parts = _names(trainings, "method"), []
    seconds = trainings[0].seconds
    for data in _names(trainings, "data"):
        # The seeds that all methods have
        seeds = [
            seed
            for seed in dict.fromkeys(training.seed for training in trainings)
            if all((method, data, seed) in found for method in methods)
        ]
        lines = []
        for method in methods:
            own = [found[method, data, seed] for seed in seeds]
            losses = [
                statistics.median(training.best_after(part * seconds) for training in own)
                for part in PARTS
            ]
            alone = [found[ALONE, data, seed] for seed in seeds]
            times = [
                (training.seconds_to(goal), other.seconds_to(goal))
                for training, other in zip(own, alone, strict=True)
                for goal in [other.best_after(seconds)]
            ]
            speedup = statistics.median_low([theirs / ours for ours, theirs in times])
            lines.append(
                [
                    method,
                    *(f"{loss:.4f}" for loss in losses),
                    _seconds(statistics.median_high([ours for ours, _ in times])),
                    f"{speedup:.1f}" if speedup else "",
                    f"{sum(math.isfinite(ours) for ours, _ in times)} of {len(times)}",
                ]
            )
        header = [data, *(f"{part * seconds:g} s" for part in PARTS)]
        header += ["to the loss of one by one", "times as fast", "reached"]
        parts.append(table(header, lines))
    return "\n".join(parts)


def halving_tables(searches: list[Search]) -> str:
    """Mean ranks and losses on recorded curves, after parts of the epochs."""
    methods = _names(searches, "rival")
    cells = complete(cells_of(searches), methods)
    parts = []
    for rivals in (["bayes, Halving", "bayes"], methods):
        lines = []
        by_part = [mean_ranks(cells, rivals, part) for part in PARTS]
        for rival in rivals:
            means = [
                statistics.fmean(rank for own in ranks[rival].values() for rank in own)
                for ranks in by_part
            ]
            lines.append([rival, *(f"{mean:.2f}" for mean in means)])
        header = [f"mean rank of {len(rivals)}", *(f"{part:.0%}" for part in PARTS)]
        parts.append(table(header, lines))
    for data in _names(searches, "problem"):
        own = [cell for (problem, _), cell in cells.items() if problem == data]
        lines = [
            [
                method,
                *(
                    f"{statistics.median(cell[method].best_after(part) for cell in own):.4f}"
                    for part in PARTS
                ),
            ]
            for method in methods
        ]
        header = [f"{data}, median loss of {len(own)}", *(f"{part:.0%}" for part in PARTS)]
        parts.append(table(header, lines))
    return "\n".join(parts)
