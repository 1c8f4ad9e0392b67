"""What compare_rules.py shows: a table, paths over contour lines, and losses with intervals.

The letters are large, so that the pictures can be read on a phone too.
"""

import io

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

# Colours that colour-blind eyes tell apart, and widths that show lines below others.
LINES = (
    {"color": "#0072b2", "linewidth": 4.5},
    {"color": "#e69f00", "linewidth": 3.2},
    {"color": "#cc3377", "linewidth": 2.2},
    {"color": "#111111", "linewidth": 1.4},
)
FONT_SIZE, DPI, WIDTH = 20, 100, 9.9
COLOURS = 20


def show(found, equals, interval):
    """A line for each rule, the lowest loss first. The last column is `equals`, if another rule."""
    print("fresh trainings on the test images: the median of their losses, and its 95 % interval")
    print("lr: the lowest and the highest that a search chose\n")
    header = f"{'lr':>9}{'':>9}{'loss':>9}{'interval':>16}{'wrong, %':>10}"
    print(f"{'rule':<20}{header}  not told from")
    for rule, best in equals.items():
        settings, losses, errors = found[rule]
        rates = "".join(f"{rate:>9.2g}" for rate in (settings["lr"].min(), settings["lr"].max()))
        low, high = interval(losses)
        measured = (
            f"{np.median(losses):>9.4f}{low:>8.4f}{high:>8.4f}{100 * np.median(errors):>10.1f}"
        )
        print(f"{rule:<20}{rates}{measured}  {best if best != rule else ''}".rstrip())


def save(figure, path):
    """Write a PNG with few colours, which takes a quarter of the bytes."""
    memory = io.BytesIO()
    figure.savefig(memory, dpi=DPI)
    plt.close(figure)
    image = Image.open(memory).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    image.save(path, optimize=True)


def contours(ax, function, window):
    across, along = (np.linspace(*limits, 240) for limits in window)
    heights = function(*np.meshgrid(across, along))[0]
    levels = np.geomspace(heights.min() + heights.max() * 3e-5, heights.max(), 9)
    ax.contour(across, along, heights, levels, colors="#c4c4c4", linewidths=0.8)
    ax.set(xlim=window[0], ylim=window[1], xticks=[], yticks=[])
    ax.spines[:].set_color("#bbbbbb")


def name_lines(figure, group, left, height):
    """The names of some rules in one line, each behind a piece of its line in the paths."""
    width = figure.bbox.width
    for line, rule in zip(LINES, group, strict=False):
        sample = [left, left + 34 / width]
        figure.add_artist(
            plt.Line2D(sample, [height + 0.3 / 72 / figure.get_figheight()] * 2, **line)
        )
        text = figure.text(
            sample[1] + 8 / width,
            height,
            rule,
            color=line["color"],
            fontsize=FONT_SIZE,
            va="center",
        )
        left = (text.get_window_extent().x1 + 26) / width


def draw_paths(descents, functions, path):
    """Four rules in a row of panels, with their names above."""
    rules = list(descents)
    groups = [rules[k : k + len(LINES)] for k in range(0, len(rules), len(LINES))]
    height = 2.7 * len(groups) + 0.5
    figure, axes = plt.subplots(len(groups), len(functions), figsize=(WIDTH, height), squeeze=False)
    top = 1 - 1.05 / height
    figure.subplots_adjust(0.008, 0.006, 0.992, top, wspace=0.03, hspace=0.27)
    for row, group in zip(axes, groups, strict=True):
        for ax, (name, case) in zip(row, functions.items(), strict=True):
            function, start, minimum, window = case
            contours(ax, function, window)
            for line, rule in zip(LINES, group, strict=False):
                _, points, _ = descents[rule][name]
                ax.plot(*points.T, **line, solid_capstyle="round")
                ax.plot(*points[-1], "o", color=line["color"], markersize=5 + line["linewidth"])
            ax.plot(*start, "s", color="white", markeredgecolor="#111111", markersize=8)
            ax.plot(*minimum, "*", color="white", markeredgecolor="#111111", markersize=15)
        name_lines(figure, group, 0.012, row[0].get_position().y1 + 0.22 / height)
    for ax, name in zip(axes[0], functions, strict=True):
        place = ax.get_position()
        middle = (place.x0 + place.x1) / 2
        figure.text(middle, 1 - 0.4 / height, name, ha="center", fontsize=FONT_SIZE)
    save(figure, path)


def draw_digits(found, equals, interval, path):
    """Median, interval and the median of each search, the lowest loss on top."""
    order = list(equals)[::-1]
    best = order[-1]
    figure, ax = plt.subplots(figsize=(WIDTH, 0.45 * len(order) + 1.5))
    for height, rule in enumerate(order):
        losses = found[rule][1]
        colour = "#0072b2" if equals[rule] == best else "#a65200"
        ax.plot(interval(losses), [height, height], color=colour, linewidth=5)
        searches = np.median(losses, axis=1)
        ax.plot(searches, np.full(len(searches), height), "|", color="#555555", markersize=13)
        middle = {"markerfacecolor": colour if equals[rule] == best else "white"}
        middle |= {"markeredgecolor": colour, "markeredgewidth": 2.5, "markersize": 11}
        ax.plot(np.median(losses), height, "o", **middle)
    ax.set_yticks(range(len(order)), order, fontsize=FONT_SIZE)
    ax.set_ylim(-0.7, len(order) - 0.3)
    ax.set_xscale("log")
    ticks = [0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1, 2]
    low, high = ax.get_xlim()
    ticks = [tick for tick in ticks if low <= tick <= high]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.tick_params(axis="x", labelsize=FONT_SIZE - 2)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("loss on the test images", fontsize=FONT_SIZE)
    ax.grid(axis="x", color="#e6e6e6")
    ax.set_axisbelow(True)
    ax.spines[["top", "right", "left"]].set_visible(False)
    figure.tight_layout()
    save(figure, path)
