"""What all pictures of a study share: colours, axes, and how numbers and names are written."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from fastopt.tune.space.number import LARGEST

__all__ = [
    "BEST",
    "COLORS",
    "FAINT",
    "LINE",
    "POINT",
    "TEXT",
    "clean",
    "count_along",
    "distinct",
    "full_text",
    "label_of",
    "new_axes",
    "plain",
    "power_of_ten",
    "round_numbers",
    "shorten",
    "shorten_choices",
    "show_log",
    "titles",
    "unit_of",
    "use_log",
]

BEST = "#d1495b"
LINE = "#30638e"
POINT = "#7d98b3"
FAINT = "#c9ced6"
TEXT = "#3a3f47"
# Good results are dark, whichever direction is good.
COLORS = "viridis"
# Exponents of ten within which matplotlib finds ticks on a logarithmic axis.
EXPONENT = 250
# Characters of a label.
LONGEST = 14


def new_axes(width: float, height: float, columns: int = 1, rows: int = 1) -> Any:
    try:
        from fastopt.tune.reporting.figure import Figure
    except ImportError as error:
        raise ImportError(
            "study.plot needs matplotlib; install it with: pip install matplotlib"
        ) from error
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


def count_along(axis: Any) -> None:
    """Ticks at whole numbers only, also around a single one."""
    axis.get_major_locator().set_params(integer=True, min_n_ticks=1)


def use_log(values: np.ndarray) -> bool:
    low, high = float(values.min()), float(values.max())
    return low > 0.0 and high / 50.0 > low


def unit_of(values: np.ndarray) -> float:
    """The power of ten to divide values by, so that matplotlib can show them.

    Of the largest floats a linear axis cannot hold differences and margins.
    """
    most = float(np.abs(values).max())
    if most < 10.0**EXPONENT or use_log(values):
        return 1.0
    return 10.0 ** math.floor(math.log10(most))


def label_of(what: str, unit: float) -> str:
    """The label of an axis on which numbers are divided by ``unit``."""
    return what if unit == 1.0 else f"{what} / {shorten(unit)}"


def show_log(axes: Any, side: str, values: np.ndarray) -> None:
    """Make the axis ``side``, "x" or "y", logarithmic, also where matplotlib finds no ticks.

    Call it before the values are drawn: a linear axis might not hold them. Matplotlib looks for
    ticks some decades outside of the values, where there may be no numbers any more.
    """
    low, high = (math.log10(float(end)) for end in (values.min(), values.max()))
    wide = low < -EXPONENT or high > EXPONENT
    if wide:
        # Before the scale, for which matplotlib would choose other limits.
        room = 0.05 * (high - low)
        first, last = (10.0 ** min(max(end, -307.0), 308.0) for end in (low - room, high + room))
        ends = min(first, float(values.min())), max(last, float(values.max()))
        getattr(axes, f"set_{side}lim")(*ends)
    getattr(axes, f"set_{side}scale")("log")
    if wide:
        every = max(1, math.ceil((high - low) / 6))
        decades = range(math.ceil(low / every) * every, math.floor(high) + 1, every)
        numbers = [10.0**n for n in decades]
        getattr(axes, f"set_{side}ticks")(numbers, [shorten(number) for number in numbers])
        getattr(axes, f"set_{side}ticks")([], minor=True)


def power_of_ten(exponent: float) -> str:
    """Ten to this power, which may be beyond all floats, as a label."""
    if abs(exponent) < EXPONENT:
        return shorten(10.0**exponent, 2)
    whole = math.floor(exponent)
    return f"{10.0 ** (exponent - whole):.2g}e{whole}"


def shorten(value: Any, digits: int = 3) -> str:
    """A parameter's value or a result as a label; a float with this number of digits."""
    if isinstance(value, float):
        text = f"{value:.{digits}g}"
        if "e" not in text:
            return text
        if 1.0 <= abs(value) < 1e6:
            return f"{value:.0f}"
        leading, exponent = text.split("e")
        return f"{leading}e{int(exponent)}"
    return str(value) if type(value) is int and abs(value) <= LARGEST else _clip(full_text(value))


def _clip(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def full_text(value: Any) -> str:
    """A parameter's value, uncut."""
    name = getattr(value, "__name__", None)
    return name if isinstance(name, str) else str(value)


def shorten_choices(values: Sequence[Any]) -> list[str]:
    """Values of one parameter as labels that differ where the values do."""
    return [plain(label) for label in distinct(values)]


def distinct(values: Sequence[Any]) -> list[str]:
    """Short texts of different values, which differ too."""
    if all(isinstance(value, float) for value in values):
        for digits in range(3, 18):
            labels = [shorten(value, digits) for value in values]
            if len(set(labels)) == len(set(values)):
                break
        return labels
    texts = [full_text(value) for value in values]
    labels = [shorten(value) for value in values]
    many = Counter(texts)
    for i, value in enumerate(values):
        code = repr(value)
        # 1 beside "1", for one. Where an object is in memory says nothing.
        if many[texts[i]] > 1 and " at 0x" not in code:
            texts[i], labels[i] = code, _clip(code)
    return _tell_apart(texts, labels)


def plain(text: str) -> str:
    """A label that matplotlib can draw, and does not take for mathematics."""
    # A lone surrogate, as in the name of a file that is no text, is an error to it.
    return text.encode("utf-8", "backslashreplace").decode().replace("$", r"\$")


def titles(names: Sequence[str], longest: int = 16) -> list[str]:
    """Parameters' names where there is little room: beginning and end, or where they differ."""
    return [plain(label) for label in _tell_apart(names, [_cut(name, longest) for name in names])]


def _cut(name: str, longest: int) -> str:
    if len(name) <= longest:
        return name
    half = longest // 2
    return f"{name[:half]}…{name[len(name) - longest + half + 1 :]}"


def _tell_apart(texts: Sequence[str], labels: Sequence[str]) -> list[str]:
    """The labels, but of texts that have become equal the part where they begin to differ.

    Labels that are still equal get numbers.
    """
    told = list(labels)
    groups = [list(range(len(told)))]
    while groups:
        alike: dict[str, list[int]] = {}
        for i in groups.pop():
            alike.setdefault(told[i], []).append(i)
        for group in alike.values():
            within = {texts[i] for i in group}
            if len(within) > 1:
                # A float's label may be shorter; a short window would not hold the difference.
                start, length = _first_difference(within), max(LONGEST, len(told[group[0]]))
                before = [told[i] for i in group]
                for i in group:
                    told[i] = _window(texts[i], start, length)
                if before != [told[i] for i in group]:
                    groups.append(group)
    return _number(told)


def _first_difference(texts: Collection[str]) -> int:
    # The first and the last in the alphabet begin alike no longer than all of them do.
    first, last = min(texts), max(texts)
    pairs = enumerate(zip(first, last, strict=False))
    return next((i for i, (a, b) in pairs if a != b), len(first))


def _window(text: str, place: int, length: int) -> str:
    start = max(0, place - length // 2)
    end = start + length - 2
    return "…" * (start > 0) + text[start:end] + "…" * (end < len(text))


def _number(labels: Sequence[str]) -> list[str]:
    """The labels, but equal ones with numbers."""
    many, seen = Counter(labels), Counter[str]()
    numbered = []
    for label in labels:
        seen[label] += 1
        numbered.append(label if many[label] == 1 else f"{label} ({seen[label]})")
    return numbered


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
