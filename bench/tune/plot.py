"""Mean rank over the course of the search, from what `run.py` has measured; one panel for each
``--rivals``.

python bench/tune/plot.py --rivals fastopt,random,optuna-gp --output docs/images/tuning.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from report import RESULTS, complete, interval, load, mean_ranks

STAGES = np.linspace(0.1, 1.0, 19)


def panel(axes, cells, rivals, colours):
    """The mean ranks of ``rivals`` on the searches that all of them have, each named at its end."""
    cells = complete(cells, rivals)
    by_stage = [mean_ranks(cells, rivals, stage) for stage in STAGES]
    final = {}
    for rival in rivals:
        mean, low, high = np.array([interval(ranks[rival]) for ranks in by_stage]).T
        ours = rival == "fastopt"
        axes.plot(100 * STAGES, mean, color=colours[rival], lw=2.8 if ours else 1.3)
        if ours:
            axes.fill_between(100 * STAGES, low, high, color=colours[rival], alpha=0.2, lw=0)
        final[rival] = mean[-1]
    height = -np.inf
    gap = 0.045 * (len(rivals) - 1)
    for rival in sorted(rivals, key=final.get):
        height = max(final[rival], height + gap)
        axes.text(101, height, rival, color=colours[rival], va="center", fontsize=9)
    problems = {problem for problem, _ in cells}
    axes.set_title(f"{len(rivals)} tuners, {len(problems)} problems, {len(cells)} searches each")
    axes.set(xlabel="trials, % of the budget", ylabel="mean rank (1 is best)", xlim=(10, 100))
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, nargs="+", default=RESULTS)
    parser.add_argument("--rivals", action="append", required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    groups = [names.split(",") for names in arguments.rivals]
    everyone = list(dict.fromkeys(rival for group in groups for rival in group))
    colours = dict(zip(everyone, plt.get_cmap("tab10").colors, strict=False))
    cells = load(arguments.results)
    figure, rows = plt.subplots(
        len(groups), figsize=(7, 4 * len(groups)), layout="constrained", squeeze=False
    )
    for (axes,), rivals in zip(rows, groups, strict=True):
        panel(axes, cells, rivals, colours)
    figure.savefig(arguments.output, dpi=110)


if __name__ == "__main__":
    main()
