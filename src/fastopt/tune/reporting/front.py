"""The picture of several objectives."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from fastopt.tune.fronts.domination import non_dominated
from fastopt.tune.reporting.axes import (
    BEST,
    FAINT,
    POINT,
    TEXT,
    clean,
    label_of,
    new_axes,
    show_log,
    unit_of,
    use_log,
)
from fastopt.tune.space import Trial

__all__ = ["draw_front"]


def draw_front(directions: Sequence[str], trials: Sequence[Trial], axes: Any = None) -> Any:
    """See :meth:`fastopt.tune.reporting.plots.Plots.front`."""
    m = len(directions)
    if m == 1:
        raise ValueError("with one objective there is no front; study.plot.history() shows it")
    done = [trial for trial in trials if trial.state == "done"]
    if not done:
        raise ValueError("there is nothing to plot: no trial has succeeded yet")
    if axes is not None and m > 2:
        raise ValueError(f"axes is for two objectives; of {m} each pair has a panel of its own")
    pairs = list(combinations(range(m), 2))
    signs = np.array([1.0 if direction == "minimize" else -1.0 for direction in directions])
    points = np.array([trial.objectives for trial in done])
    feasible = np.array([trial.feasible for trial in done], dtype=bool)
    front = np.zeros(len(done), dtype=bool)
    front[feasible] = non_dominated(signs * points[feasible])
    if axes is None:
        columns = min(3, len(pairs))
        rows = -(-len(pairs) // columns)
        size = (5.6, 4.4) if m == 2 else (3.2 * columns, 2.9 * rows)
        panels = list(new_axes(*size, columns, rows).flat)
    else:
        panels = [axes]
    units = np.array([unit_of(points[:, objective]) for objective in range(m)])
    shown = points / units
    for panel, (x, y) in zip(panels, pairs, strict=False):
        for side, objective in (("x", x), ("y", y)):
            if use_log(shown[:, objective]):
                show_log(panel, side, shown[:, objective])
            what = f"objective {objective} ({directions[objective]})"
            getattr(panel, f"set_{side}label")(label_of(what, units[objective]))
        _draw_pair(panel, shown[:, [x, y]], feasible, front, joined=m == 2, signs=signs)
        clean(panel)
    for panel in panels[len(pairs) :]:
        panel.set_visible(False)
    panels[0].legend(
        loc="lower right", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9, ncols=3,
        labelcolor=TEXT, handletextpad=0.3, columnspacing=1.2,
    )  # fmt: skip
    return panels[0].figure


def _draw_pair(
    axes: Any,
    points: np.ndarray,
    feasible: np.ndarray,
    front: np.ndarray,
    *,
    joined: bool,
    signs: np.ndarray,
) -> None:
    rest, infeasible = points[feasible & ~front], points[~feasible]
    axes.scatter(*rest.T, s=18, color=POINT, alpha=0.75, linewidths=0, label="trial")
    if len(infeasible):
        axes.scatter(
            *infeasible.T, s=16, marker="s", facecolors="none", edgecolors=FAINT, zorder=1,
            label="infeasible",
        )  # fmt: skip
    best = points[front]
    best = best[np.argsort(signs[0] * best[:, 0], kind="stable")] if len(best) else best
    if joined:
        # The edge of what the front dominates: to the next point first along, then up or down.
        axes.step(*best.T, where="post", color=BEST, lw=1.2, alpha=0.6, zorder=2)
    axes.scatter(*best.T, s=26, color=BEST, linewidths=0, zorder=3, label="front")
