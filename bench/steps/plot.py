"""One picture: Adam's time per element against size, a panel for each thread count.

The panels stand one above the other and the letters are large, so that the picture can be read on
a phone too.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from bench.steps.results import COPY, Row

# Hues that stay apart for colour-blind eyes; fastopt alone is drawn strong.
STYLES = {
    "fastopt": {"color": "#d1495b", "linewidth": 4, "marker": "o", "markersize": 9, "zorder": 10},
    "numpy": {"color": "#6c757d", "marker": "s"},
    "torch foreach": {"color": "#f4a259", "marker": "^", "linestyle": "--"},
    "torch fused": {"color": "#c2600c", "marker": "D"},
    "deepspeed": {"color": "#2e86ab", "marker": "P"},
    "thinc": {"color": "#5fad56", "marker": "X"},
    "optax": {"color": "#7b5ea7", "marker": "h"},
    COPY: {"color": "#202020", "linestyle": (0, (1, 1.5))},
}
RULE = "adam"
FONT_SIZE = 15
WIDTH, HEIGHT = 6.6, 4.6  # inches, of each panel
DPI = 150


def plot_steps(rows: list[Row], path: Path) -> None:
    """Draw Adam's float32 rows of the suite `steps` and write a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = [r for r in rows if (r.suite, r.rule, r.dtype) == ("steps", RULE, "float32")]
    if not rows:
        raise ValueError(f"rows: got none of {RULE} in float32 of the suite 'steps', need some")
    sizes = Counter(row.threads for row in rows)
    # A single size makes no line, so it is drawn only if there is nothing else.
    threads = sorted(count for count in sizes if sizes[count] > 1) or sorted(sizes)
    with plt.rc_context({"font.size": FONT_SIZE, "axes.titlesize": FONT_SIZE + 1}):
        figure, panels = plt.subplots(
            len(threads),
            figsize=(WIDTH, HEIGHT * len(threads) + 1.2),
            sharex=True,
            squeeze=False,
            layout="constrained",
        )
        for panel, count in zip(panels.flat, threads, strict=True):
            _draw(panel, sorted((r for r in rows if r.threads == count), key=lambda r: r.elements))
            title = f"Adam, float32, {count} thread{'s' if count > 1 else ''}"
            panel.set_title(title, loc="left")
            panel.set_ylabel("ns per element")
        panels.flat[-1].set_xlabel("elements")
        handles, labels = panels.flat[0].get_legend_handles_labels()
        options = {"loc": "outside lower center", "ncols": 3, "frameon": False}
        figure.legend(handles, labels, columnspacing=1.2, handlelength=1.6, **options)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=DPI)
        plt.close(figure)


def _draw(panel, rows: list[Row]) -> None:
    for name, style in STYLES.items():
        points = [(r.elements, r.time(name) / r.elements * 1e9) for r in rows if name in r.samples]
        if points:
            usual = {"linewidth": 1.8, "markersize": 6}
            panel.plot(*zip(*points, strict=True), label=name, **{**usual, **style})
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.grid(True, which="major", color="#e3e3e3", linewidth=0.8)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
