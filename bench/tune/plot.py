"""One picture: mean rank over the course of the search, a panel for each group of rivals."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.tune.ranks import OURS, Cells, complete, interval, mean_ranks

STAGES = np.linspace(0.1, 1.0, 19)
FONT_SIZE = 13
WIDTH, HEIGHT = 6.6, 4.8  # inches, of each panel
DPI = 150


def plot_ranks(cells: Cells, groups: list[list[str]], path: Path) -> None:
    """Draw the mean ranks of each group of rivals among each other and write a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    everyone = list(dict.fromkeys(rival for group in groups for rival in group))
    palette = [*plt.get_cmap("tab10").colors, "black", "goldenrod"]
    colours = dict(zip(everyone, palette[: len(everyone)], strict=True))
    with plt.rc_context({"font.size": FONT_SIZE}):
        size = (WIDTH, HEIGHT * len(groups))
        figure, panels = plt.subplots(
            len(groups), figsize=size, layout="constrained", squeeze=False
        )
        for panel, rivals in zip(panels.flat, groups, strict=True):
            _draw(panel, complete(cells, rivals), rivals, colours)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=DPI)
        plt.close(figure)


def _draw(panel, cells: Cells, rivals: list[str], colours: dict) -> None:
    """The mean ranks of `rivals` on the searches that all of them have, each named at its end."""
    by_stage = [mean_ranks(cells, rivals, stage) for stage in STAGES]
    final = {}
    for rival in rivals:
        mean, low, high = np.array([interval(ranks[rival]) for ranks in by_stage]).T
        ours = rival == OURS
        panel.plot(100 * STAGES, mean, color=colours[rival], lw=3.5 if ours else 1.5)
        if ours:
            panel.fill_between(100 * STAGES, low, high, color=colours[rival], alpha=0.2, lw=0)
        final[rival] = mean[-1]
    names = sorted(rivals, key=final.__getitem__)
    heights = _apart([final[name] for name in names], 0.06 * (len(names) - 1))
    for name, height in zip(names, heights, strict=True):
        weight = "bold" if name == OURS else "normal"
        panel.text(101, height, name, color=colours[name], va="center", weight=weight)
    problems = {problem for problem, _ in cells}
    title = f"{len(rivals)} tuners, {len(problems)} problems, {len(cells)} searches each"
    panel.set_title(title, loc="left")
    panel.set(xlabel="trials, % of the budget", ylabel="mean rank (1 is best)", xlim=(10, 100))
    panel.invert_yaxis()
    panel.spines[["top", "right"]].set_visible(False)


def _apart(heights: list[float], gap: float) -> list[float]:
    """Ascending heights, moved until neighbours are a gap apart; the last one stays."""
    placed = [heights[0]]
    for height in heights[1:]:
        placed.append(max(height, placed[-1] + gap))
    placed[-1] = heights[-1]
    for i in range(len(placed) - 2, -1, -1):
        placed[i] = min(placed[i], placed[i + 1] - gap)
    return placed
