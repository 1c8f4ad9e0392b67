"""Call the objective once and make a result of whatever it does.

This module runs in worker processes too, so it imports little.
"""

from __future__ import annotations

import math
import numbers
import os
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Outcome", "evaluate", "evaluate_fully", "explain", "read_value"]


@dataclass
class Outcome:
    """What a trial came to: the fields of Trial which the objective decides."""

    state: str
    value: float | None = None
    error: str | None = None
    values: list[float] = field(default_factory=list)


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


def _shorten(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:
        return "an object without repr"
    return text if len(text) <= 80 else text[:77] + "..."


def explain(error: BaseException) -> str:
    """One line: what was raised, and where."""
    try:
        text = str(error)
    except Exception:
        text = "(no message)"
    # A lone surrogate (from a file name, say) cannot be stored.
    text = text.encode("utf-8", "backslashreplace").decode()
    line = f"{type(error).__name__}: {text}" if text else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    own = os.path.dirname(os.path.abspath(__file__))
    if frames and os.path.dirname(os.path.abspath(frames[-1].filename)) != own:
        line += f" (at {os.path.basename(frames[-1].filename)}:{frames[-1].lineno})"
    return line


def evaluate(
    objective: Callable[[dict[str, Any]], Any],
    params: dict[str, Any],
    limits: Sequence[float],
    direction: str,
) -> Generator[float, None, Outcome]:
    """Run the objective; yields each value that it reports, returns the outcome.

    Parameters
    ----------
    limits : sequence of float
        The worst value that may be reported at each epoch; a worse one stops the trial.
    """
    values: list[float] = []
    try:
        result = objective(params)
        if not isinstance(result, Iterator):
            value, reason = read_value(result)
            if reason is not None:
                return Outcome("failed", error=f"the objective returned {reason}")
            return Outcome("done", value)
        for epoch, report in enumerate(result):
            value, reason = read_value(report)
            if reason is not None:
                error = f"the objective yielded {reason} (epoch {epoch})"
                return Outcome("failed", error=error, values=values)
            values.append(value)
            yield value
            if epoch < len(limits):
                limit = limits[epoch]
                if value > limit if direction == "minimize" else value < limit:
                    return Outcome("stopped", value, values=values)
    except (Exception, SystemExit) as error:
        return Outcome("failed", error=explain(error), values=values)
    if not values:
        return Outcome("failed", error="the objective yielded nothing")
    return Outcome("done", values[-1], values=values)


def evaluate_fully(
    objective: Callable[[dict[str, Any]], Any],
    params: dict[str, Any],
    limits: Sequence[float],
    direction: str,
) -> Outcome:
    """:func:`evaluate` in one call, for executors that return only once."""
    steps = evaluate(objective, params, limits, direction)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
