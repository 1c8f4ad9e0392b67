"""Call the objective once and make a result of whatever it does.

This module runs in worker processes too, so it imports little.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fastopt.tune.ledger.values import cut, has_diverged, read_result, read_value
from fastopt.tune.running.current import within
from fastopt.tune.space.trial import Result

__all__ = [
    "Event",
    "Objective",
    "Outcome",
    "Steps",
    "evaluate",
    "evaluate_fully",
    "explain",
    "with_notes",
]


NO_GENERATOR = (
    "a generator objective yields the values of one objective, and the study has several: "
    "return the numbers at the end, without yield"
)

Objective = Callable[[dict[str, Any]], Any]
Event = tuple[str, int, Any]
"""What a backend says of a task: "report", "restart" or "end"; its number; the content."""


@dataclass
class Outcome:
    """What a trial came to: the fields of Trial which the objective decides.

    That of a batch has in ``values`` the results and in ``constraints`` those of each row, and its
    ``notes`` by the numbers of its trials.
    """

    state: str
    value: Result | float | None = None
    error: str | None = None
    values: list[float] = field(default_factory=list)
    traceback: str | None = None
    diverged: bool = False
    notes: dict[Any, Any] = field(default_factory=dict)
    constraints: list[list[float]] = field(default_factory=list)


Steps = Generator[Any, Any, Outcome]
"""An objective at work: yields what it reports, takes the answer, returns the outcome."""


def explain(error: BaseException) -> str:
    """One line: what was raised, and where."""
    try:
        text = str(error)
    except Exception:
        text = "(no message)"
    text = cut(text)
    line = f"{type(error).__name__}: {text}" if text else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    own = os.path.dirname(os.path.abspath(__file__))
    if frames and os.path.dirname(os.path.abspath(frames[-1].filename)) != own:
        line += f" (at {os.path.basename(frames[-1].filename)}:{frames[-1].lineno})"
    return line


def trace(error: BaseException) -> str:
    """The traceback below our own frame, its end if it is long."""
    below = error.__traceback__ and error.__traceback__.tb_next
    text = "".join(traceback.format_exception(type(error), error, below))
    return cut(text)


def evaluate(objective: Objective, params: dict[str, Any]) -> Steps:
    """Run the objective of one trial; yields each value that it reports, returns the outcome.

    A value comes together with the trial's notes, or None if these are as before. The answer is
    None, or "stop", which ends the trial.
    """
    n_objectives = getattr(params, "n_objectives", 1)
    objective, params, notes = within(objective, params)
    return (yield from with_notes(_evaluate(objective, params, n_objectives), lambda: dict(notes)))


def with_notes(steps: Steps, notes: Callable[[], dict[Any, Any]]) -> Steps:
    """What an objective reports, each time with a copy of its notes, or None if nothing is new."""
    answer = None
    known: dict[Any, Any] = {}
    while True:
        try:
            report = steps.send(answer)
        except StopIteration as end:
            end.value.notes = notes()
            return end.value
        before, known = known, notes()
        answer = yield report, None if known == before else known


def _evaluate(objective: Objective, params: dict[str, Any], n_objectives: int) -> Steps:
    values: list[float] = []
    try:
        result = objective(params)
        if isinstance(result, Iterator):
            if n_objectives > 1:
                return Outcome("failed", error=NO_GENERATOR)
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
                if (yield value) == "stop":
                    return Outcome("stopped", value, values=values)
            if result is None:
                if not values:
                    return Outcome("failed", error="the objective yielded nothing")
                return Outcome("done", values[-1], values=values)
        read, reason = read_result(result, n_objectives)
        if reason is not None:
            error = f"the objective returned {reason}"
            return Outcome("failed", error=error, values=values, diverged=has_diverged(result))
        return Outcome("done", read, values=values)
    except (Exception, SystemExit) as error:
        return Outcome("failed", error=explain(error), values=values, traceback=trace(error))


def evaluate_fully(
    objective: Objective, params: dict[str, Any], limits: Mapping[int, float], direction: str
) -> Outcome:
    """:func:`evaluate` in one call, for executors that return only once.

    Parameters
    ----------
    limits : dict of int to float
        For a number of values, the worst that the best of them may be; a worse one stops the trial.
    """
    steps = evaluate(objective, params)
    best = min if direction == "minimize" else max
    values: list[float] = []
    answer = None
    while True:
        try:
            value, _ = steps.send(answer)
        except StopIteration as end:
            return end.value
        values.append(value)
        limit = limits.get(len(values))
        if limit is not None and best(*values, limit) == limit != best(values):
            answer = "stop"
