"""Pictures of a study, with matplotlib, which is imported on use.

Every method draws into the Axes that it is given, or into a new Figure, and returns the Figure. The
new one does not belong to pyplot: a notebook shows it, ``figure.savefig`` stores it, nothing
piles up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import Any, NoReturn

import numpy as np

from fastopt.tune.reporting.axes import (
    BEST,
    COLORS,
    FAINT,
    LINE,
    POINT,
    TEXT,
    clean,
    count_along,
    label_of,
    new_axes,
    power_of_ten,
    shorten,
    show_log,
    titles,
    unit_of,
    use_log,
)
from fastopt.tune.reporting.coordinates import label_axis, positions, ticks
from fastopt.tune.reporting.front import draw_front
from fastopt.tune.reporting.importance import FEWEST, importance, intervals
from fastopt.tune.reporting.surrogate import local_average
from fastopt.tune.reporting.surrogate import surface as process_surface
from fastopt.tune.space import Space, Trial

__all__ = ["Plots"]

# Epochs at which trials are stopped are not marked if two are closer than this share of the axis.
# It is logarithmic if the longest curve is this many times as long as the first rung.
CLOSE, FAR = 0.09, 20
# Trials times parameters for which a picture may take ten times as long.
INTERVALS_UP_TO = 500


class Plots:
    """``study.plot``: history, curves, parallel, slices, contour, importance, front.

    Examples
    --------
    >>> from fastopt import tune
    >>> space = {"a": tune.Float(0.0, 1.0), "b": tune.Int(1, 9)}
    >>> study = tune.minimize(lambda p: p["a"] * p["b"], space, n_trials=16, strategy="sobol")
    >>> study.plot.history().axes[0].get_ylabel()
    'value'
    """

    def __init__(
        self, space: Space, directions: Sequence[str], trials: Callable[[], Sequence[Trial]]
    ) -> None:
        self._space = space
        self._directions = directions
        self._sign = 1.0 if directions[0] == "minimize" else -1.0
        self._trials = trials

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(
            "study.plot has a method for each picture: study.plot.history(), curves(), parallel(), "
            "slices(), contour(), importance(), front()"
        )

    def _of_one_objective(self) -> Sequence[Trial]:
        if len(self._directions) > 1:
            raise ValueError("this picture is of one objective; study.plot.front() shows several")
        return self._trials()

    def _done(self) -> list[Trial]:
        done = [trial for trial in self._of_one_objective() if trial.state == "done"]
        if not done:
            raise ValueError("there is nothing to plot: no trial has succeeded yet")
        return done

    def _best(self, done: list[Trial]) -> int:
        """Index of the best, the first of equals: a feasible one, or else the nearest to it."""
        values = self._sign * np.array([trial.value for trial in done])
        violations = np.array([trial.violation for trial in done])
        return int(np.lexsort((values, violations))[0])

    def _goodness(self, done: list[Trial]) -> np.ndarray:
        """Rank of each trial from 0, the best, to 1, the worst."""
        values = self._sign * np.array([trial.value for trial in done])
        return np.searchsorted(np.sort(values), values) / max(1, len(values) - 1)

    def _worst_shown(self, values: np.ndarray) -> float:
        """The worst value, unless it is so far from the others that they would look alike."""
        signed = np.sort(self._sign * values)
        most = float(np.quantile(signed, 0.9))
        limit = most + 2.0 * (most - float(signed[0]))
        if limit == most or not math.isfinite(limit):
            limit = float(signed[-1])
        return self._sign * min(float(signed[-1]), limit)

    def _show_range(self, axes: Any, values: np.ndarray) -> None:
        """A logarithmic axis where that helps, else without what is far worse than the others."""
        if use_log(values):
            show_log(axes, "y", values)
            return
        worst = self._worst_shown(values)
        if worst != self._sign * (self._sign * values).max():
            best = self._sign * (self._sign * values).min()
            room = 0.05 * (worst - best)
            axes.set_ylim(*sorted((best - room, worst + room)))

    def history(self, axes: Any = None) -> Any:
        """Each trial's value and the best so far.

        Failed trials are crosses at the foot, stopped ones hollow, infeasible ones hollow squares,
        which are never the best. The axis is logarithmic if the
        values are positive and span more than a factor of 50; else what is far worse than nine in
        ten trials is left out.
        """
        done = self._done()
        axes = new_axes(7.0, 4.0)[0, 0] if axes is None else axes
        numbers = np.array([trial.number for trial in done])
        values = np.array([trial.value for trial in done])
        stopped = [trial for trial in self._trials() if trial.state == "stopped"]
        reached = np.array([trial.value for trial in stopped], dtype=float)
        unit = unit_of(np.concatenate([values, reached]))
        values, reached = values / unit, reached / unit
        self._show_range(axes, np.concatenate([values, reached]))
        accumulate = np.minimum if self._sign > 0 else np.maximum
        feasible = np.array([trial.feasible for trial in done], dtype=bool)
        best = accumulate.accumulate(np.where(feasible, values, self._sign * math.inf))
        best[np.isinf(best)] = math.nan
        last = max(trial.number for trial in self._trials())
        axes.scatter(
            numbers[feasible], values[feasible], s=18, color=POINT, alpha=0.75, linewidths=0,
            label="trial",
        )  # fmt: skip
        if not feasible.all():
            axes.scatter(
                numbers[~feasible], values[~feasible], s=16, marker="s", facecolors="none",
                edgecolors=POINT, alpha=0.75, label="infeasible",
            )  # fmt: skip
        if stopped:
            axes.scatter(
                [trial.number for trial in stopped], reached, s=18, facecolors="none",
                edgecolors=POINT, label="stopped",
            )  # fmt: skip
        axes.step(
            [*numbers, last], [*best, best[-1]], where="post", color=BEST, lw=1.8, label="best"
        )
        failed = [trial.number for trial in self._trials() if trial.state == "failed"]
        if failed:
            foot = axes.get_xaxis_transform()
            axes.scatter(
                failed, [0.02] * len(failed), s=20, marker="x", color=TEXT, lw=1,
                transform=foot, label="failed",
            )  # fmt: skip
        if feasible.any():
            axes.annotate(
                shorten(float(best[-1]) * unit), (last, best[-1]), xytext=(6, 0), color=BEST,
                textcoords="offset points", va="center", fontsize=9, annotation_clip=False,
            )  # fmt: skip
        axes.set(xlabel="trial", ylabel=label_of("value", unit))
        count_along(axes.xaxis)
        axes.legend(
            loc="lower right", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9, ncols=5,
            labelcolor=TEXT, handletextpad=0.3, columnspacing=1.2,
        )  # fmt: skip
        clean(axes)
        return axes.figure

    def front(self, axes: Any = None) -> Any:
        """Each pair of objectives, the trials of the front in red.

        Infeasible trials are hollow squares. An axis is logarithmic if its values are positive and
        span more than a factor of 50. ``axes`` is for two objectives.
        """
        return draw_front(self._directions, self._trials(), axes)

    def curves(self, axes: Any = None) -> Any:
        """What generator objectives yielded, by epoch; the best is red, failed trials are grey.

        A stopped trial ends in a ring. Where trials were stopped, a line says how many of those
        that came so far went on, unless there are too many such epochs to be told apart. The axis
        of the epochs is logarithmic if the first of them is early in the longest curve.
        """
        drawn = [trial for trial in self._of_one_objective() if trial.values]
        done = self._done() if not drawn else [t for t in self._trials() if t.state == "done"]
        if not drawn:
            raise ValueError("there are no curves to plot: the objective yields no values")
        axes = new_axes(7.0, 4.2)[0, 0] if axes is None else axes
        first = done[self._best(done)].number if done else None
        faint = max(0.2, min(0.55, 20.0 / len(drawn)))
        every = np.concatenate([trial.values for trial in drawn])
        unit = unit_of(every)
        self._show_range(axes, every / unit)
        for trial in drawn:
            best, stopped = trial.number == first, trial.state == "stopped"
            values = np.array(trial.values) / unit
            axes.plot(
                range(1, len(values) + 1), values, lw=2.2 if best else 0.9,
                color=BEST if best else TEXT if trial.state == "failed" else POINT,
                alpha=1.0 if best else faint if stopped else max(0.4, faint),
                zorder=4 if best else 2, marker="o" if stopped or len(values) == 1 else None,
                markevery=[-1], markersize=3.5, markerfacecolor="none", markeredgewidth=0.9,
            )  # fmt: skip
        axes.set(xlabel="epoch", ylabel=label_of("value", unit))
        count_along(axes.xaxis)
        clean(axes)
        self._mark_rungs(axes, drawn)
        return axes.figure

    def _mark_rungs(self, axes: Any, drawn: list[Trial]) -> None:
        """A line wherever trials were stopped, and how many went on there."""
        lengths = np.array([len(trial.values) for trial in drawn])
        ends = np.array([len(t.values) for t in drawn if t.state == "stopped"], dtype=int)
        rungs = np.unique(ends)
        longest = int(lengths.max())
        far = len(rungs) > 0 and longest > rungs[0] * FAR
        places = np.log(rungs) / np.log(longest) if far else rungs / longest
        if len(rungs) == 0 or (np.diff(places) < CLOSE).any():
            return
        if far:
            axes.set_xscale("log")
            ticks = sorted({*rungs.tolist(), longest})
            axes.set_xticks(ticks, [str(tick) for tick in ticks])
            axes.set_xticks([], minor=True)
        for rung in rungs:
            reached = int((lengths >= rung).sum())
            axes.axvline(rung, color=FAINT, lw=1, zorder=1)
            axes.annotate(
                f"{reached - int((ends == rung).sum())} of {reached}\ngo on", (rung, 1.0),
                xytext=(0, 4), xycoords=axes.get_xaxis_transform(), textcoords="offset points",
                ha="center", va="bottom", fontsize=8, color=TEXT, annotation_clip=False,
            )  # fmt: skip

    def parallel(self, axes: Any = None) -> Any:
        """One line per trial through its params; dark is good, the best is red.

        A line is interrupted where a parameter is inactive. The axes have the scale of the search
        (logarithmic under ``log``).
        """
        done = self._done()
        names = self._space.names
        axes = new_axes(1.5 * len(names) + 2.5, 4.2)[0, 0] if axes is None else axes
        goodness, first = self._goodness(done), self._best(done)
        from matplotlib import colormaps

        colors = colormaps[COLORS](0.92 * goodness)
        for i in sorted(range(len(done)), key=lambda i: -goodness[i]):
            params = done[i].params
            heights = [
                self._space.parameters[name].to_unit(params[name]) if name in params else math.nan
                for name in names
            ]
            line = [*heights, 1.0 - goodness[i]]
            best = i == first
            axes.plot(
                range(len(line)), line, color=BEST if best else colors[i], lw=2.4 if best else 0.9,
                alpha=1.0 if best else 0.25 + 0.5 * (1.0 - goodness[i]), zorder=3 if best else 2,
                marker="o", markersize=5 if best else 2.5, solid_joinstyle="round",
            )  # fmt: skip
        for place, name in enumerate(names):
            axes.axvline(place, color=FAINT, lw=1, zorder=1)
            for height, label in zip(*ticks(self._space.parameters[name]), strict=True):
                axes.annotate(
                    label, (place, height), xytext=(-5, 0), textcoords="offset points",
                    ha="right", va="center", fontsize=8, color=TEXT, zorder=4,
                    bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.8},
                )  # fmt: skip
        axes.axvline(len(names), color=FAINT, lw=1, zorder=1)
        ordered = np.argsort(goodness, kind="stable")
        named = {goodness[i]: done[i].value for i in ordered[[0, len(done) // 2, -1]]}
        for rank, value in named.items():
            axes.annotate(
                shorten(value), (len(names), 1.0 - rank), xytext=(6, 0), textcoords="offset points",
                va="center", fontsize=8, color=TEXT, annotation_clip=False,
            )  # fmt: skip
        axes.set_xticks(range(len(names) + 1), [*titles(names), "value\n(by rank)"])
        axes.set_yticks([])
        axes.set(xlim=(-0.6, len(names) + 0.35), ylim=(-0.05, 1.05))
        clean(axes)
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        axes.tick_params(length=0)
        return axes.figure

    def slices(self) -> Any:
        """Value over each parameter, one panel each; dark points came late, the best is red."""
        done = self._done()
        names = self._space.names
        rows = 2 if len(names) == 4 else -(-len(names) // 4)
        columns = -(-len(names) // rows)
        panels = new_axes(2.6 * columns + 0.8, 2.5 * rows + 0.3, columns, rows)
        values = np.array([trial.value for trial in done])
        unit = unit_of(values)
        values = values / unit
        numbers = [trial.number for trial in done]
        last = max(1, *numbers)
        best, labels = self._best(done), titles(names)
        for i, axes in enumerate(panels.flat):
            if i >= len(names):
                axes.set_visible(False)
                continue
            units = positions(done, names[i], self._space.parameters[names[i]])
            self._show_range(axes, values)
            drawn = axes.scatter(
                units, values, s=16, c=numbers, cmap="Blues", vmin=-0.6 * last - 1, vmax=last,
                alpha=0.85, linewidths=0,
            )  # fmt: skip
            axes.scatter(units[best], values[best], s=55, color=BEST, edgecolors="white", zorder=3)
            label_axis(axes.xaxis, labels[i], self._space.parameters[names[i]], width=118)
            axes.set_xlim(-0.04, 1.04)
            clean(axes)
            if i % columns == 0:
                axes.set_ylabel(label_of("value", unit))
            else:
                axes.sharey(panels.flat[0])
                axes.tick_params(labelleft=False)
        bar = panels.flat[0].figure.colorbar(drawn, ax=panels, shrink=0.8, aspect=30, pad=0.01)
        bar.set_label("trial", color=TEXT, fontsize=9)
        bar.outline.set_visible(False)
        bar.ax.set_ylim(0, last)
        count_along(bar.ax.yaxis)
        bar.ax.tick_params(colors=TEXT, labelsize=8, length=2)
        return panels.flat[0].figure

    def contour(self, x: str | None = None, y: str | None = None, axes: Any = None) -> Any:
        """The value over two parameters, by default the most important that a trial has together.

        With fewer than eight trials these are the first of the space.
        It is the mean of the Gaussian process of :meth:`Study.importance`, averaged over all other
        parameters; blank where one of the two is inactive. Where that process is not trusted, for
        it has too few trials or does not predict them, it is a local average of the trials
        themselves: a map of where good ones were, not a model. The colour bar says which.
        """
        done = self._done()
        for argument, name in (("x", x), ("y", y)):
            if name is not None and name not in self._space.parameters:
                raise ValueError(f"{argument} must be one of {self._space.names}, got {name!r}")
        if x is None or y is None:
            x, y = self._pair(done, x, y)
        done = [trial for trial in done if x in trial.params and y in trial.params]
        if not done:
            raise ValueError(f"no trial has both {x!r} and {y!r}")
        axes = new_axes(5.6, 4.4)[0, 0] if axes is None else axes
        values = np.array([trial.value for trial in done])
        unit = unit_of(values)
        values = values / unit
        log = use_log(values)
        worst = self._worst_shown(values)
        clipped = np.minimum(values, worst) if self._sign > 0 else np.maximum(values, worst)
        heights = np.log10(values) if log else clipped
        points = np.stack(
            [positions(done, name, self._space.parameters[name]) for name in (x, y)], axis=1
        )
        places = np.linspace(0.0, 1.0, 33)
        pair = self._space.names.index(x), self._space.names.index(y)
        encoded = np.array([self._space.encode(trial.params) for trial in done])
        surface = process_surface(self._space, encoded, heights, pair, places)
        label = f"{label_of('value', unit)}, mean of a Gaussian process"
        if surface is None:
            surface = local_average(points, heights, places)
            label = f"{label_of('value', unit)}, local average"
        colors = COLORS if self._sign > 0 else COLORS + "_r"
        low, high = np.nanmin(surface), np.nanmax(surface)
        level = high - low <= 1e-9 * max(abs(low), abs(high))  # but for rounding errors
        room = 0.1 * abs(high) or 0.1
        levels = [low - room, high + room] if level else 14
        drawn = axes.contourf(places, places, surface, levels=levels, cmap=colors, alpha=0.9)
        axes.scatter(*points.T, s=14, color="white", edgecolors=TEXT, linewidths=0.5)
        best = self._best(done)
        axes.scatter(*points[best], s=90, color=BEST, edgecolors="white", zorder=3)
        labels = dict(zip(self._space.names, titles(self._space.names), strict=True))
        label_axis(axes.xaxis, labels[x], self._space.parameters[x], width=255)
        label_axis(axes.yaxis, labels[y], self._space.parameters[y])
        axes.set(xlim=(0, 1), ylim=(0, 1))
        bar = axes.figure.colorbar(drawn, ax=axes, aspect=30, pad=0.02)
        if level:
            bar.set_ticks([low])
        if log:
            bar.formatter = lambda height, _: power_of_ten(height)
        bar.update_ticks()
        bar.set_label(label, color=TEXT, fontsize=9)
        bar.outline.set_visible(False)
        bar.ax.tick_params(colors=TEXT, labelsize=8, length=2)
        clean(axes)
        return axes.figure

    def _pair(self, done: list[Trial], x: str | None, y: str | None) -> tuple[str, str]:
        """The most important parameters, of which one may be given, that a trial has together."""
        enough = len(done) >= FEWEST
        names = list(importance(self._space, done)) if enough else self._space.names
        pairs: Iterable[tuple[str, str]] = combinations(names, 2)
        if x is not None or y is not None:
            others = [name for name in names if name not in (x, y)]
            pairs = [(name if x is None else x, name if y is None else y) for name in others]
        for pair in pairs:
            if any(trial.params.keys() >= {*pair} for trial in done):
                return pair
        missing = "two" if x is y is None else f"one beside {y if x is None else x!r}"
        raise ValueError(f"a contour needs two parameters, and no trial has {missing}")

    def importance(
        self,
        axes: Any = None,
        with_intervals: bool | None = None,
        objective: int | None = None,
    ) -> Any:
        """What each parameter explains alone of the variance; see :meth:`Study.importance`.

        The lines are the intervals of :meth:`Study.importance_intervals`. They take ten times as
        long: by default they are drawn up to 500 trials times parameters.
        """
        trials = self._trials()
        shares = importance(self._space, trials, objective)
        if with_intervals is None:
            done = sum(trial.state == "done" for trial in trials)
            with_intervals = done * len(self._space) <= INTERVALS_UP_TO
        axes = new_axes(6.0, 0.42 * len(shares) + 1.3)[0, 0] if axes is None else axes
        rest = max(0.0, 1.0 - sum(shares.values())) if any(shares.values()) else 0.0
        names = [*shares, "in combination"]
        widths = [*shares.values(), rest]
        axes.barh(range(len(names)), widths, color=[LINE] * len(shares) + [FAINT], height=0.62)
        ends, labels = list(widths), [f"{width:.0%}" for width in widths]
        if with_intervals:
            lows, highs = zip(*intervals(self._space, trials, objective).values(), strict=True)
            axes.hlines(range(len(shares)), lows, highs, color=TEXT, lw=1.4)
            ends = [max(*each) for each in zip(widths, [*highs, rest], strict=True)]
            for i, (low, high) in enumerate(zip(lows, highs, strict=True)):
                labels[i] += f" ({low:.0%} to {high:.0%})" if f"{low:.0%}" != f"{high:.0%}" else ""
        for place, (label, end) in enumerate(zip(labels, ends, strict=True)):
            axes.annotate(
                label, (end, place), xytext=(4, 0), textcoords="offset points",
                va="center", fontsize=9, color=TEXT,
            )  # fmt: skip
        axes.set_yticks(range(len(names)), titles(names, 30))
        axes.invert_yaxis()
        axes.set_xlim(0, max(ends) * 1.12 or 1.0)
        axes.set_xlabel("share of the variance of the results")
        axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        clean(axes)
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        return axes.figure
