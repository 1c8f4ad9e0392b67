"""Read what an objective gave as its result."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

__all__ = ["cut", "has_diverged", "read_value"]

# Characters of an error or a traceback.
LONGEST = 10_000


def read_value(value: Any) -> tuple[float, str | None]:
    """``value`` as a float, and None; or NaN, and why ``value`` is no result.

    Any finite real number is one, scalars, arrays and tensors with one element included. Infinity
    is not: a diverged training has no value to be compared, or averaged, or fitted by a model.
    """
    value = _item(value)
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        kind = type(value).__name__
        return math.nan, f"{_shorten(value)} of type {kind}, needs a real number"
    try:
        number = float(value)
    except (OverflowError, ValueError):
        return math.nan, f"{_shorten(value)}, needs a number that fits a float"
    return number, None if math.isfinite(number) else f"{number}, needs a finite number"


def _item(value: Any) -> Any:
    """The element of an array or a tensor that holds one, unless it is masked; else ``value``."""
    shape = getattr(value, "shape", None)
    if not isinstance(shape, tuple) or math.prod(shape) != 1 or not hasattr(value, "item"):
        return value
    return value if np.ma.is_masked(value) else value.item()


def has_diverged(value: Any) -> bool:
    """Whether ``value`` is a number, but NaN or infinite, as of a training that diverged."""
    value = _item(value)
    return isinstance(value, float) and not math.isfinite(value)


def cut(text: str) -> str:
    """A text of others, which may be megabytes, with its middle left out."""
    if len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 + 3 :]}"


def _shorten(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:
        return "an object without repr"
    return text if len(text) <= 80 else text[:77] + "..."
