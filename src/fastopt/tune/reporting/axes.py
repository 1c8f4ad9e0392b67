"""What all pictures of a study share: colours, axes, and how numbers and names are written."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = [
    "BEST",
    "COLORS",
    "FAINT",
    "LINE",
    "POINT",
    "TEXT",
    "clean",
    "new_axes",
    "plain",
    "round_numbers",
    "shorten",
    "title",
    "use_log",
]

BEST = "#d1495b"
LINE = "#30638e"
POINT = "#7d98b3"
FAINT = "#c9ced6"
TEXT = "#3a3f47"
# Good results are dark, whichever direction is good.
COLORS = "viridis"


def new_axes(width: float, height: float, columns: int = 1, rows: int = 1) -> Any:
    try:
        from fastopt.tune.reporting.figure import Figure
    except ImportError as error:
        raise ImportError("study.plot needs matplotlib, which is not installed") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure.subplots(rows, columns, squeeze=False)


def clean(axes: Any) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(FAINT)
    axes.tick_params(colors=TEXT, labelsize=9, length=3)
    axes.xaxis.label.set_color(TEXT)
    axes.yaxis.label.set_color(TEXT)


def use_log(values: np.ndarray) -> bool:
    # matplotlib looks for ticks some decades outside, which must be numbers, too.
    low, high = float(values.min()), float(values.max())
    return low > 1e-250 and high < 1e250 and high > 50.0 * low


def shorten(value: Any) -> str:
    """A parameter's value or a result as a label."""
    if isinstance(value, float):
        text = f"{value:.3g}"
        if "e" not in text:
            return text
        if 1.0 <= abs(value) < 1e6:
            return f"{value:.0f}"
        digits, exponent = text.split("e")
        return f"{digits}e{int(exponent)}"
    name = getattr(value, "__name__", None)
    text = name if isinstance(name, str) else str(value)
    return text if len(text) <= 14 else text[:13] + "…"


def plain(text: str) -> str:
    """A label that matplotlib does not take for mathematics."""
    return text.replace("$", r"\$")


def title(name: str, longest: int = 16) -> str:
    """A parameter's name where there is little room: its beginning and its end."""
    if len(name) > longest:
        half = longest // 2
        name = f"{name[:half]}…{name[len(name) - longest + half + 1 :]}"
    return plain(name)


def round_numbers(low: float, high: float, log: bool) -> list[float]:
    """Up to six numbers that are easy to read, between the bounds."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    locators = [LogLocator(subs=(1.0,), numticks=6), LogLocator(subs=(1.0, 2.0, 5.0), numticks=6)]
    # A tick may miss the bound that it stands for by a rounding error.
    first, last = low - 1e-9 * abs(low), high + 1e-9 * abs(high)
    for locator in [*locators * log, MaxNLocator(5)]:
        with np.errstate(over="ignore"):
            numbers = [float(n) for n in locator.tick_values(low, high) if first <= n <= last]
        if len(numbers) > 2:
            break
    return numbers
