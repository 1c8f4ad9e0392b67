"""What tune_digits.py shows: two tables, and a picture of the search and of the learning."""

import itertools
import math

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

STRATEGIES = {"grid": "0.6", "random": "#e69f00", "sobol": "#009e73", "bayes": "#0072b2"}
RULES = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")
GUESSING = math.log(10)
CEILING = 4.0

STYLE = {
    "font.size": 10.5,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titlepad": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "0.4",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.92",
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "legend.labelspacing": 0.3,
}


def print_tables(trials, best):
    """What was found for each rule, then how low a loss each strategy came to.

    Parameters are those of `draw`.
    """
    rows = {"found by": [chosen.strategy for chosen in best.values()]}
    for name in dict.fromkeys(itertools.chain(*(chosen.hypers for chosen in best.values()))):
        rows[name] = [chosen.hypers.get(name, "") for chosen in best.values()]
    rows["validation loss"] = [f"{chosen.losses[-1]:.4f}" for chosen in best.values()]
    rows["test accuracy, %"] = [f"{chosen.accuracy:.2f}" for chosen in best.values()]
    _print_table("the best of all", best, rows)

    losses = {
        rule: [_best_so_far(found)[-1] for found in by_strategy.values()]
        for rule, by_strategy in trials.items()
    }
    losses["geometric mean"] = np.exp(np.log(list(losses.values())).mean(axis=0))
    rows = {name: [f"{loss:.4f}" for loss in row] for name, row in losses.items()}
    strategies = next(iter(trials.values()))
    count = max(len(found) for found in strategies.values())
    _print_table(f"loss, {count} trials", strategies, rows)


def _print_table(title, columns, rows):
    print(f"\n{title:<20}" + "".join(f"{column:>10}" for column in columns))
    print("-" * (20 + 10 * len(columns)))
    for name, cells in rows.items():
        texts = [f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in cells]
        print((f"{name:<20}" + "".join(f"{text:>10}" for text in texts)).rstrip())


def _best_so_far(trials):
    """The lowest loss after each trial; NaN before the first that has not failed."""
    return np.fmin.accumulate(np.array([trial.value for trial in trials], float))


def draw(trials, best, path):
    """Write the picture of all trials to a PNG file.

    Parameters
    ----------
    trials : dict
        For each rule a dict with the list of the trials of each strategy.
    best : dict
        For each rule the ``strategy`` that found the best trial, its ``hypers`` and ``losses``, and
        its ``accuracy`` in per cent.
    path : path
    """
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(7, 8.2), layout="constrained")
        figure.suptitle(
            "Six update rules learn to read handwritten digits", x=0.01, ha="left", weight="bold"
        )
        top, bottom = figure.subfigures(2, 1, height_ratios=(1, 1.35))
        left, right = top.subplots(1, 2)
        _course(left, trials)
        _learning(right, best)
        bottom.suptitle(
            "Every trial, coloured as above. Ring: the best, its test above. Cross: diverged.",
            x=0.01,
            ha="left",
            fontsize="medium",
        )
        panels = bottom.subplots(2, 3, sharex=True, sharey=True)
        for axes, rule in zip(panels.flat, trials, strict=True):
            _search(axes, trials[rule], best[rule])
            axes.set_title(f"{rule}, {best[rule].accuracy:.1f} %")
        panels[0, 0].set(ylim=(None, 1.25 * CEILING))
        panels[0, 0].text(0.03, 1.12 * GUESSING, "guessing", ha="center", color="0.4")
        bottom.supxlabel("learning rate", fontsize="medium")
        bottom.supylabel("validation loss", fontsize="medium")
        figure.savefig(path, dpi=140)
        plt.close(figure)


def _log_losses(axes, ticks=(1, 2, 5)):
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=ticks))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(which="minor", length=0)


def _course(axes, trials):
    """The best loss so far of each strategy: mean over the rules, and its standard error."""
    lowest = math.inf
    for strategy in next(iter(trials.values())):
        best = np.log([_best_so_far(found[strategy]) for found in trials.values()])
        mean, error = best.mean(axis=0), best.std(axis=0, ddof=1) / math.sqrt(len(best))
        number = range(1, len(mean) + 1)
        colour = STRATEGIES[strategy]
        axes.step(number, np.exp(mean), where="post", color=colour, lw=2, label=strategy)
        band = np.exp(mean - error), np.exp(mean + error)
        axes.fill_between(number, *band, step="post", color=colour, alpha=0.15, lw=0)
        lowest = min(lowest, band[0].min())
    _log_losses(axes, ticks=(1, 1.5, 2, 3, 5, 7))
    axes.set(title="The search: best so far", xlabel="trials", ylabel="validation loss")
    axes.xaxis.get_major_locator().set_params(integer=True)
    # The first trials are luck, and what matters is at the bottom.
    axes.set(xlim=(1, None), ylim=(0.9 * lowest, 6 * lowest))
    axes.legend(title="mean over the rules,\nits standard error", alignment="left")


def _learning(axes, best):
    """The validation loss of each rule's best trial, epoch by epoch."""
    colours = dict(zip(best, RULES, strict=True))
    for rule in sorted(best, key=lambda rule: best[rule].losses[-1]):
        losses = best[rule].losses
        label = f"{losses[-1]:.3f}  {rule}"
        axes.plot(range(1, len(losses) + 1), losses, color=colours[rule], lw=1.6, label=label)
    _log_losses(axes)
    axes.set(title="Learning: the best of each rule", xlabel="epoch", xlim=(1, None))
    # Room for the legend.
    axes.set_ylim(top=3 * axes.get_ylim()[1])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(title="in the end", alignment="left")


def _search(axes, by_strategy, best):
    """The learning rate and the loss of every trial; what diverged is a cross at the top."""
    for strategy, trials in by_strategy.items():
        rates = np.array([trial.params["lr"] for trial in trials])
        losses = np.array([trial.value for trial in trials], float)
        diverged = ~(losses < CEILING)
        colour = STRATEGIES[strategy]
        axes.scatter(rates[~diverged], losses[~diverged], s=16, color=colour, alpha=0.8, lw=0)
        axes.scatter(
            rates[diverged], np.full(diverged.sum(), CEILING), s=20, color=colour, marker="x", lw=1
        )
    ring = {"s": 70, "facecolor": "none", "edgecolor": "black", "lw": 1.2}
    axes.scatter(best.hypers["lr"], best.losses[-1], **ring)
    axes.axhline(GUESSING, color="0.4", lw=0.8, ls=(0, (4, 4)))
    axes.set(xscale="log")
    axes.set_xticks([1e-4, 1e-2, 1])
    _log_losses(axes)
