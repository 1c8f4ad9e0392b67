"""The levels of a parent that a condition allows: listed, or a range if they are many.

A condition on a million values then costs no more than one on a few.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection
from math import gcd, lcm

import numpy as np

__all__ = ["Levels", "compact", "holds", "holds_each", "meet"]

# Up to this number they are listed; beyond it a range has those that are evenly spaced.
LISTED = 64
# Ascending.
Levels = range | tuple[int, ...]


def compact(levels: Collection[int]) -> Levels:
    """The distinct levels in ascending order. The same levels always give equal results."""
    if isinstance(levels, range) and len(levels) > LISTED:
        levels = levels if levels.step > 0 else levels[::-1]
        return range(levels[0], levels[-1] + 1, levels.step)
    listed = sorted(set(levels))
    if len(listed) > LISTED:
        even = range(listed[0], listed[-1] + 1, listed[1] - listed[0])
        if len(even) == len(listed) and all(a == b for a, b in zip(even, listed, strict=True)):
            return even
    return tuple(listed)


def holds(levels: Levels, level: int | None) -> bool:
    """Whether ``level`` is one of the levels; None is in none."""
    if level is None or isinstance(levels, range):
        return level is not None and level in levels
    place = bisect_left(levels, level)
    return place < len(levels) and levels[place] == level


def holds_each(levels: Levels, level: np.ndarray) -> np.ndarray:
    """The same for each of an array of integers."""
    if not isinstance(levels, range):
        return np.isin(level, levels)
    inside = (level >= levels[0]) & (level <= levels[-1])
    return inside & ((level - levels[0]) % levels.step == 0)


def meet(a: range, b: range) -> range:
    """What two ascending ranges have in common."""
    common = gcd(a.step, b.step)
    behind, uneven = divmod(b.start - a.start, common)
    if uneven:
        return range(0)
    # The Chinese remainder theorem.
    step = lcm(a.step, b.step)
    steps = behind * pow(a.step // common, -1, b.step // common) % (b.step // common)
    first, least = a.start + a.step * steps, max(a.start, b.start)
    return range(first + -(-(least - first) // step) * step, min(a.stop, b.stop), step)
