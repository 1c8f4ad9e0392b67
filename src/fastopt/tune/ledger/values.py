"""Read what an objective gave as its result."""

from __future__ import annotations

import math
import numbers
from typing import Any

__all__ = ["has_diverged", "read_value"]


def read_value(value: Any) -> tuple[float, str | None]:
    """``value`` as a float, and None; or NaN, and why ``value`` is no result.

    Any finite real number is one, NumPy's scalars and arrays with one element included. Infinity
    is not: a diverged training has no value to be compared, or averaged, or fitted by a model.
    """
    if getattr(value, "shape", None) is not None and getattr(value, "size", None) == 1:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        kind = type(value).__name__
        return math.nan, f"{_shorten(value)} of type {kind}, needs a real number"
    try:
        number = float(value)
    except (OverflowError, ValueError):
        return math.nan, f"{_shorten(value)}, needs a number that fits a float"
    return number, None if math.isfinite(number) else f"{number}, needs a finite number"


def has_diverged(value: Any) -> bool:
    """Whether ``value`` is a number, but NaN or infinite, as of a training that diverged."""
    if getattr(value, "shape", None) is not None and getattr(value, "size", None) == 1:
        value = value.item()
    return isinstance(value, float) and not math.isfinite(value)


def _shorten(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:
        return "an object without repr"
    return text if len(text) <= 80 else text[:77] + "..."
