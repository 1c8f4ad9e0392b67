"""The picture that tune_digits.py draws: learning curves, and the course of the search."""

import math

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

STRATEGIES = {"grid": "0.65", "random": "#e69f00", "sobol": "#009e73", "bayes": "#0072b2"}
RULES = ("#882255", "#cc6677", "#ddaa33", "#117733", "#44aabb", "#332288")
GUESSING = math.log(10)
CEILING = 4.0

STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "0.4",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.92",
    "legend.frameon": False,
}


def draw(results, studies, strategy, path):
    """Write the picture of all studies to a PNG file.

    Parameters
    ----------
    results : dict
        For each rule a dict with ``"test"``, the test accuracy in per cent.
    studies : dict
        A study for each pair of a rule and a strategy.
    strategy : str
        The one that chose the hyper-parameters of the learning curves.
    path : path
    """
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(12, 7.6), layout="constrained")
        figure.suptitle(
            "Six update rules learn to read handwritten digits", x=0.008, ha="left", weight="bold"
        )
        top, bottom = figure.subfigures(2, 1, height_ratios=(1.2, 1))
        left, right = top.subplots(1, 2)
        _learning(left, results, studies, strategy)
        _progress(right, results, studies)
        bottom.suptitle(
            "Every trial, in the colour of its strategy. Ring: chosen, its test accuracy above. "
            "Cross at the top: diverged.",
            x=0.008,
            ha="left",
            fontsize="medium",
        )
        panels = bottom.subplots(1, 6, sharex=True, sharey=True)
        for axes, (rule, result) in zip(panels, results.items(), strict=True):
            _search(axes, rule, studies, strategy)
            axes.set_title(f"{rule}: {result['test']:.1f} %")
        panels[0].set(ylabel="validation loss of a trial", ylim=(None, 1.25 * CEILING))
        beside = panels[-1].get_yaxis_transform()
        panels[-1].text(1.01, GUESSING, "guessing", transform=beside, color="0.4", va="center")
        figure.savefig(path, dpi=110)
        plt.close(figure)


def _log_losses(axes):
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(which="minor", length=0)


def _learning(axes, results, studies, strategy):
    """The validation loss of each rule's best trial, epoch by epoch."""
    best = {rule: studies[rule, strategy].best for rule in results}
    colours = dict(zip(results, RULES, strict=True))
    for rule in sorted(best, key=lambda rule: best[rule].value):
        losses = best[rule].values
        label = f"{losses[-1]:.3f}  {rule}"
        axes.plot(range(1, len(losses) + 1), losses, color=colours[rule], lw=1.6, label=label)
    _log_losses(axes)
    axes.set(title=f"Learning, with the hyper-parameters chosen by {strategy}")
    axes.set(xlabel="epoch", ylabel="validation loss", xlim=(0, None))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(title="in the end", alignment="left")


def _progress(axes, results, studies):
    """The best loss so far of each strategy, over all rules."""
    for strategy in dict.fromkeys(strategy for _, strategy in studies):
        best = []
        for rule in results:
            values = [trial.value for trial in studies[rule, strategy].trials]
            best.append(np.fmin.accumulate(np.array(values, float)))
        mean = np.exp(np.log(best).mean(axis=0))
        number = range(1, len(mean) + 1)
        axes.step(number, mean, where="post", color=STRATEGIES[strategy], lw=2, label=strategy)
    _log_losses(axes)
    axes.set(title="Search, the best so far: geometric mean over the six rules")
    axes.set(xlabel="trials for each rule", ylabel="validation loss", xlim=(0, None))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()


def _search(axes, rule, studies, strategy):
    """The learning rate and the loss of every trial; what diverged is a cross at the top."""
    for (name, searched_by), study in studies.items():
        if name != rule:
            continue
        rates = np.array([trial.params["lr"] for trial in study.trials])
        losses = np.array([trial.value for trial in study.trials], float)
        diverged = ~(losses < CEILING)
        colour = STRATEGIES[searched_by]
        axes.scatter(rates[~diverged], losses[~diverged], s=20, color=colour, alpha=0.85, lw=0)
        axes.scatter(
            rates[diverged], np.full(diverged.sum(), CEILING), s=20, color=colour, marker="x", lw=1
        )
    best = studies[rule, strategy].best
    axes.scatter(best.params["lr"], best.value, s=70, facecolor="none", edgecolor="black", lw=1.2)
    axes.axhline(GUESSING, color="0.4", lw=0.8, ls=(0, (4, 4)))
    axes.set(xscale="log", xlabel="learning rate")
    axes.set_xticks([1e-4, 1e-2, 1])
    _log_losses(axes)
