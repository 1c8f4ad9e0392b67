"""Mean rank over the course of the search, from what `run.py` has measured.

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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, nargs="+", default=RESULTS)
    parser.add_argument("--rivals", required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    rivals = arguments.rivals.split(",")
    cells = complete(load(arguments.results), rivals)
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    by_stage = [mean_ranks(cells, rivals, stage) for stage in STAGES]
    for rival in rivals:
        mean, low, high = np.array([interval(ranks[rival]) for ranks in by_stage]).T
        (line,) = axes.plot(100 * STAGES, mean, label=rival, lw=2.5 if rival == "fastopt" else 1.2)
        if rival == "fastopt":
            axes.fill_between(100 * STAGES, low, high, color=line.get_color(), alpha=0.2, lw=0)
    axes.set(xlabel="trials, % of the budget", ylabel="mean rank (1 is best)")
    axes.invert_yaxis()
    axes.legend(ncols=3, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(arguments.output, dpi=110)


if __name__ == "__main__":
    main()
