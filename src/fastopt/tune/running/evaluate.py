"""Call the objective once and make a result of whatever it does.

This module runs in worker processes too, so it imports little.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastopt.tune.ledger.values import cut, has_diverged, read_value
from fastopt.tune.running.current import within

__all__ = ["Event", "Objective", "Outcome", "evaluate", "evaluate_fully", "explain"]


Objective = Callable[[dict[str, Any]], Any]
Event = tuple[str, int, Any]
"""What a backend says of a trial: "report", "restart" or "end"; its number; the content."""


@dataclass
class Outcome:
    """What a trial came to: the fields of Trial which the objective decides."""

    state: str
    value: float | None = None
    error: str | None = None
    values: list[float] = field(default_factory=list)
    traceback: str | None = None
    diverged: bool = False
    notes: dict[str, Any] = field(default_factory=dict)


def explain(error: BaseException) -> str:
    """One line: what was raised, and where."""
    try:
        text = str(error)
    except Exception:
        text = "(no message)"
    # A lone surrogate (from a file name, say) cannot be stored.
    text = cut(text.encode("utf-8", "backslashreplace").decode())
    line = f"{type(error).__name__}: {text}" if text else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    own = os.path.dirname(os.path.abspath(__file__))
    if frames and os.path.dirname(os.path.abspath(frames[-1].filename)) != own:
        line += f" (at {os.path.basename(frames[-1].filename)}:{frames[-1].lineno})"
    return line


def _trace(error: BaseException) -> str:
    """The traceback below this module's own frame, its end if it is long."""
    below = error.__traceback__ and error.__traceback__.tb_next
    text = "".join(traceback.format_exception(type(error), error, below))
    return cut(text.encode("utf-8", "backslashreplace").decode())


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
        At each epoch, the worst that the best value reported so far may be; a worse one stops the
        trial.
    """
    objective, params, notes = within(objective, params)
    outcome = yield from _evaluate(objective, params, limits, direction)
    outcome.notes = notes
    return outcome


def _evaluate(
    objective: Callable[[dict[str, Any]], Any],
    params: dict[str, Any],
    limits: Sequence[float],
    direction: str,
) -> Generator[float, None, Outcome]:
    values: list[float] = []
    best = min if direction == "minimize" else max
    try:
        result = objective(params)
        if isinstance(result, Iterator):
            while True:
                try:
                    report = next(result)
                except StopIteration as end:
                    result = end.value
                    break
                value, reason = read_value(report)
                if reason is not None:
                    error = f"the objective yielded {reason} (epoch {len(values)})"
                    diverged = has_diverged(report)
                    return Outcome("failed", error=error, values=values, diverged=diverged)
                values.append(value)
                yield value
                if len(values) <= len(limits):
                    so_far, limit = best(values), limits[len(values) - 1]
                    if so_far != limit and best(so_far, limit) == limit:
                        return Outcome("stopped", value, values=values)
            if result is None:
                if not values:
                    return Outcome("failed", error="the objective yielded nothing")
                return Outcome("done", values[-1], values=values)
        value, reason = read_value(result)
        if reason is not None:
            error = f"the objective returned {reason}"
            return Outcome("failed", error=error, values=values, diverged=has_diverged(result))
        return Outcome("done", value, values=values)
    except (Exception, SystemExit) as error:
        return Outcome("failed", error=explain(error), values=values, traceback=_trace(error))


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
