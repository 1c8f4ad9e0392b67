"""Statistics over finished searches: ranks, shares of pairs, and their intervals."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from scipy.stats import rankdata

from bench.tune.results import Search

DRAWS = 2000
OURS = "fastopt"

# {(problem, seed): {rival: search}}
Cells = dict[tuple[str, int], dict[str, Search]]


def cells_of(searches: list[Search]) -> Cells:
    cells: Cells = defaultdict(dict)
    for search in searches:
        cells[search.problem, search.seed][search.rival] = search
    return dict(cells)


def interval(by_problem: dict[str, list[float]]) -> tuple[float, float, float]:
    """Mean over problems and its bootstrap interval."""
    means = np.array([np.mean(values) for values in by_problem.values()])
    rng = np.random.default_rng(0)
    draws = means[rng.integers(len(means), size=(DRAWS, len(means)))].mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return means.mean(), low, high


def complete(cells: Cells, rivals: list[str]) -> Cells:
    """The problems and seeds that all of these rivals have searched."""
    return {key: cell for key, cell in cells.items() if all(rival in cell for rival in rivals)}


def mean_ranks(cells: Cells, rivals: list[str], stage: float) -> dict[str, dict[str, list[float]]]:
    """{rival: {problem: ranks}}"""
    ranks: dict[str, dict[str, list[float]]] = {rival: defaultdict(list) for rival in rivals}
    for (problem, _), cell in complete(cells, rivals).items():
        row = rankdata([cell[rival].best_after(stage) for rival in rivals])
        for rival, rank in zip(rivals, row, strict=True):
            ranks[rival][problem].append(float(rank))
    return ranks


def share_of_pairs(cells: Cells, rival: str, stage: float) -> dict[str, list[float]]:
    """{problem: 1 for a win of fastopt against `rival`, 0.5 for a tie, 0 for a loss}"""
    pairs: dict[str, list[float]] = defaultdict(list)
    for (problem, _), cell in complete(cells, [OURS, rival]).items():
        ours, theirs = (cell[name].best_after(stage) for name in (OURS, rival))
        pairs[problem].append(0.5 if ours == theirs else float(ours < theirs))
    return pairs
