"""Tables from what `run.py` has measured.

    python bench/tune/report.py [--results FILE ...] [--rivals fastopt,random,...]

Ranks compare the best value so far of each search among all rivals on the same problem and seed (1
is best, ties share their mean). Only problems and seeds that every chosen rival has finished count.
Intervals are 95 % bootstrap intervals over problems.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

STAGES = (0.25, 0.5, 1.0)
DRAWS = 2000
RESULTS = sorted((Path(__file__).parent / "results").glob("*.jsonl"))


def load(paths):
    """{(problem, seed): {rival: line}}"""
    cells = defaultdict(dict)
    for path in paths:
        for line in map(json.loads, path.read_text().splitlines()):
            cells[line["problem"], line["seed"]][line["rival"]] = line
    return cells


def best_after(line, stage):
    """The best value of the first part ``stage`` of the search."""
    values = line["values"]
    count = max(1, round(stage * len(values)))
    return min((value for value in values[:count] if value is not None), default=math.inf)


def interval(by_problem):
    """Mean over problems and its bootstrap interval."""
    means = np.array([np.mean(values) for values in by_problem.values()])
    rng = np.random.default_rng(0)
    draws = means[rng.integers(len(means), size=(DRAWS, len(means)))].mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return means.mean(), low, high


def complete(cells, rivals):
    return {key: cell for key, cell in cells.items() if all(rival in cell for rival in rivals)}


def mean_ranks(cells, rivals, stage):
    """{rival: {problem: [ranks]}}"""
    ranks = {rival: defaultdict(list) for rival in rivals}
    for (problem, _), cell in complete(cells, rivals).items():
        row = rankdata([best_after(cell[rival], stage) for rival in rivals])
        for rival, rank in zip(rivals, row, strict=True):
            ranks[rival][problem].append(rank)
    return ranks


def share_of_pairs(cells, rival, stage):
    """{problem: [1 for a win of fastopt against ``rival``, 0.5 for a tie, 0 for a loss]}"""
    pairs = defaultdict(list)
    for (problem, _), cell in complete(cells, ["fastopt", rival]).items():
        ours, theirs = (best_after(cell[name], stage) for name in ("fastopt", rival))
        pairs[problem].append(0.5 if ours == theirs else float(ours < theirs))
    return pairs


def print_ranks(cells, rivals):
    used = complete(cells, rivals)
    problems = {problem for problem, _ in used}
    print(f"\nMean rank of {len(rivals)} on {len(problems)} problems, {len(used)} searches each\n")
    print("| | 25 % | 50 % | 100 % |\n|---|---|---|---|")
    final = {rival: interval(found)[0] for rival, found in mean_ranks(used, rivals, 1.0).items()}
    for rival in sorted(rivals, key=final.get):
        row = [interval(mean_ranks(used, rivals, stage)[rival]) for stage in STAGES]
        print(f"| {rival} | " + " | ".join(f"{m:.2f} ({a:.2f}-{b:.2f})" for m, a, b in row) + " |")


def print_counts(cells, rivals):
    """How many searches there are of each rival, by kind of problem."""
    counts = {rival: defaultdict(int) for rival in rivals}
    for cell in cells.values():
        for rival, line in cell.items():
            counts[rival][line["kind"]] += 1
    kinds = list(dict.fromkeys(line["kind"] for cell in cells.values() for line in cell.values()))
    print("\nNumber of searches\n")
    print("| | " + " | ".join(kinds) + " |\n|---" + "|---" * len(kinds) + "|")
    for rival, count in counts.items():
        print(f"| {rival} | " + " | ".join(str(count[kind]) for kind in kinds) + " |")


def print_pairs(cells, rivals):
    print("\nShare of pairs that fastopt wins, and the number of searches compared\n")
    print("| against | 25 % | 50 % | 100 % | problems | searches |\n|---|---|---|---|---|---|")
    for rival in rivals:
        pairs = [share_of_pairs(cells, rival, stage) for stage in STAGES]
        if rival != "fastopt" and pairs[0]:
            row = " | ".join("{:.0%} ({:.0%}-{:.0%})".format(*interval(found)) for found in pairs)
            searches = sum(map(len, pairs[0].values()))
            print(f"| {rival} | {row} | {len(pairs[0])} | {searches} |")


def print_kinds(cells, rivals):
    used = complete(cells, rivals)
    kinds = {problem: cell["fastopt"]["kind"] for (problem, _), cell in used.items()}
    ranks = mean_ranks(used, rivals, 1.0)
    print("\nMean rank at 100 % by kind of problem\n")
    print("| | " + " | ".join(rivals) + " |\n|---" + "|---" * len(rivals) + "|")
    for kind in dict.fromkeys(kinds.values()):
        members = [problem for problem in kinds if kinds[problem] == kind]
        row = [np.mean([r for p in members for r in ranks[rival][p]]) for rival in rivals]
        print(f"| {kind} | " + " | ".join(f"{rank:.2f}" for rank in row) + " |")


def print_against_random(cells):
    """No kind of problem should be searched worse than by independent draws."""
    print("\nShare of pairs that fastopt wins against random, by kind of problem\n")
    print("| | 25 % | 50 % | 100 % | searches |\n|---|---|---|---|---|")
    used = complete(cells, ["fastopt", "random"])
    kinds = {cell["fastopt"]["kind"]: {} for cell in used.values()}
    for key, cell in used.items():
        kinds[cell["fastopt"]["kind"]][key] = cell
    for kind, members in kinds.items():
        pairs = [share_of_pairs(members, "random", stage) for stage in STAGES]
        row = " | ".join(f"{interval(found)[0]:.0%}" for found in pairs)
        print(f"| {kind} | {row} | {len(members)} |")


def print_losses(cells, rivals):
    """Every problem where somebody has a better mean rank than fastopt at the end."""
    ranks = mean_ranks(cells, rivals, 1.0)
    print("\nProblems where fastopt is not first at 100 %\n")
    print("| problem | fastopt | better |\n|---|---|---|")
    for problem in sorted(ranks["fastopt"]):
        mean = {rival: float(np.mean(ranks[rival][problem])) for rival in rivals}
        better = sorted((r for r in rivals if mean[r] < mean["fastopt"]), key=mean.get)
        if better:
            names = ", ".join(f"{rival} {mean[rival]:.1f}" for rival in better)
            print(f"| {problem} | {mean['fastopt']:.1f} | {names} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, nargs="+", default=RESULTS)
    parser.add_argument("--rivals", default="", help="those to rank together; default: all")
    arguments = parser.parse_args()
    cells = load(arguments.results)
    everyone = sorted({rival for cell in cells.values() for rival in cell})
    rivals = arguments.rivals.split(",") if arguments.rivals else everyone
    print_counts(cells, everyone)
    print_pairs(cells, everyone)
    print_ranks(cells, rivals)
    print_kinds(cells, rivals)
    print_against_random(cells)
    print_losses(cells, rivals)


if __name__ == "__main__":
    main()
