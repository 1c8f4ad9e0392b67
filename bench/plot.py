"""One picture: time per element against size, a panel for each thread count."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from .suites import Row

# Hues that stay apart for colour-blind eyes; fastopt alone is drawn strong.
STYLES = {
    "fastopt": {"color": "#d1495b", "linewidth": 2.8, "marker": "o", "zorder": 10},
    "numpy": {"color": "#6c757d", "marker": "s"},
    "torch unfused": {"color": "#f4a259", "marker": "v", "linestyle": ":"},
    "torch foreach": {"color": "#f4a259", "marker": "^", "linestyle": "--"},
    "torch fused": {"color": "#e07a1f", "marker": "D"},
    "deepspeed": {"color": "#2e86ab", "marker": "P"},
    "thinc": {"color": "#5fad56", "marker": "X"},
    "optax": {"color": "#7b5ea7", "marker": "h"},
    "ceiling": {"color": "#202020", "linestyle": (0, (1, 1.5)), "linewidth": 1.3},
}
TITLES = {
    "sgd": "SGD",
    "nag": "NAG",
    "adamw": "AdamW",
    "rmsprop": "RMSprop",
}


def plot_steps(rows: list[Row], path: Path, rules=("adam", "adadelta")) -> None:
    """Draw the `steps` rows of these rules, float32, and write a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = [r for r in rows if r.suite == "steps" and r.dtype == "float32" and r.rule in rules]
    rules = [rule for rule in rules if any(row.rule == rule for row in rows)]
    threads = sorted({row.threads for row in rows})
    if not rows:
        raise ValueError(f"plot: no float32 row of {rules} in the suite `steps`")
    figure, axes = plt.subplots(
        *(len(rules), len(threads)),
        figsize=(5.2 * len(threads) + 1.6, 3.9 * len(rules)),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for line, rule in zip(axes, rules, strict=True):
        for panel, count in zip(line, threads, strict=True):
            found = sorted(
                (row for row in rows if row.rule == rule and row.threads == count),
                key=lambda row: row.elements,
            )
            _draw(panel, found)
            plural = "" if count == 1 else "s"
            name = TITLES.get(rule, rule.capitalize())
            panel.set_title(f"{name}, float32, {count} thread{plural}", fontsize=11, loc="left")
    for panel in axes[-1]:
        panel.set_xlabel("elements")
    for panel in axes[:, 0]:
        panel.set_ylabel("nanoseconds per element")
    handles, labels = {}, []
    for panel in axes.flat:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    labels = [name for name in STYLES if name in handles]
    figure.legend(
        [handles[name] for name in labels], labels, loc="outside right center", frameon=False
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _draw(panel, rows: list[Row]) -> None:
    for name, style in STYLES.items():
        points = [
            (row.elements, median(row.samples[name]) / row.elements * 1e9)
            for row in rows
            if name in row.samples
        ]
        if points:
            panel.plot(*zip(*points, strict=True), label=name, **{"markersize": 5, **style})
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.grid(True, which="major", color="#e3e3e3", linewidth=0.8)
    panel.set_axisbelow(True)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
