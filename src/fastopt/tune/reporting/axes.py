"""What all pictures of a study share: colours, axes, and how numbers and names are written."""

from __future__ import annotations

from collections.abc import Sequence
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
    "shorten_choices",
    "titles",
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
    text = _text(value)
    return text if len(text) <= 14 else text[:13] + "…"


def _text(value: Any) -> str:
    name = getattr(value, "__name__", None)
    return name if isinstance(name, str) else str(value)


def shorten_choices(values: Sequence[Any]) -> list[str]:
    """Values of one parameter as labels that differ where the values do."""
    labels = [shorten(value) for value in values]
    return [plain(label) for label in _tell_apart([_text(value) for value in values], labels)]


def plain(text: str) -> str:
    """A label that matplotlib does not take for mathematics."""
    return text.replace("$", r"\$")


def titles(names: Sequence[str], longest: int = 16) -> list[str]:
    """Parameters' names where there is little room: beginning and end, or where they differ."""
    return [plain(label) for label in _tell_apart(names, [_cut(name, longest) for name in names])]


def _cut(name: str, longest: int) -> str:
    if len(name) <= longest:
        return name
    half = longest // 2
    return f"{name[:half]}…{name[len(name) - longest + half + 1 :]}"


def _tell_apart(texts: Sequence[str], labels: Sequence[str]) -> list[str]:
    """The labels, but of texts that have become equal the part where they begin to differ."""
    told = []
    for text, label in zip(texts, labels, strict=True):
        alike = {other for other, its in zip(texts, labels, strict=True) if its == label}
        if len(alike) > 1:
            # The first and the last in the alphabet begin alike no longer than all of them do.
            first, last = min(alike), max(alike)
            pairs = enumerate(zip(first, last, strict=False))
            same = next((i for i, (a, b) in pairs if a != b), len(first))
            start = max(0, same - len(label) // 2)
            end = start + len(label) - 2
            label = "…" * (start > 0) + text[start:end] + "…" * (end < len(text))
        told.append(label)
    return told


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
