"""A batched objective: one that trains many trials at once, each a row of its arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fastopt.tune.running.evaluate import Objective, Outcome, Steps, explain, trace
from fastopt.tune.space.parameters import Categorical, Int
from fastopt.tune.space.space import Space
from fastopt.tune.space.trial import Trial

__all__ = ["diverged_outcome", "evaluate_batch", "row_outcome", "stack"]


def _kind(parameter: Any) -> Any:
    """The dtype of a parameter's values in an array: the same whatever the values are."""
    if isinstance(parameter, Categorical):
        kinds = {type(choice) for choice in parameter.choices}
        plain = kinds <= {int, float} or kinds in ({bool}, {str})
        whole = plain and parameter.when is None
        return np.array(list(parameter.choices)).dtype if whole else object
    return np.int64 if isinstance(parameter, Int) and parameter.when is None else np.float64


def stack(space: Space, rows: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """The params of many trials as one array for each parameter.

    Floats are float64, integers int64, choices that are all strings, numbers or flags an array of
    these, any others objects. A parameter with a condition is NaN in the rows where it does not
    hold, so integers with one are float64, or None, if it is a choice.
    """
    columns = {}
    for name, parameter in space.parameters.items():
        kind = _kind(parameter)
        absent = None if kind is object else np.nan
        column = np.empty(len(rows), kind)
        for i, params in enumerate(rows):
            column[i] = params.get(name, absent)
        columns[name] = column
    return columns


def _read(losses: Any, rows: int, verb: str) -> list[float]:
    """One number for each row."""
    given = np.asanyarray(losses)
    if given.shape != (rows,):
        raise ValueError(
            f"the objective {verb} an array of shape {given.shape} for {rows} rows, "
            f"needs ({rows},): `rows = yield losses` says which rows go on"
        )
    return np.ma.filled(given.astype(np.float64), np.nan).tolist()


def evaluate_batch(objective: Objective, params: dict[str, np.ndarray], rows: int) -> Steps:
    """Run a batched objective; yields a list of the rows' losses.

    The answer is a list of the rows that go on, or "stop" if none does. The outcome is that of all rows that are left; its ``values``, if there are any, are the
    results of each.
    """
    try:
        result = objective(params)
        if isinstance(result, Iterator):
            answer: np.ndarray | None = None
            while True:
                try:
                    losses = next(result) if answer is None else result.send(answer)  # type: ignore[attr-defined]
                except StopIteration as end:
                    result = end.value
                    break
                left = yield _read(losses, rows, "yielded")
                if left == "stop":
                    return Outcome("stopped")
                rows, answer = len(left), np.array(left)
            if result is None:
                return Outcome("done")
        return Outcome("done", values=_read(result, rows, "returned"))
    except (Exception, SystemExit) as error:
        return Outcome("failed", error=explain(error), traceback=trace(error))


def diverged_outcome(trial: Trial, loss: float) -> Outcome:
    """That of a row whose loss is NaN or infinite."""
    error = f"the objective yielded {loss}, needs a finite number (epoch {len(trial.values)})"
    return Outcome("failed", error=error, values=[*trial.values], diverged=True)


def row_outcome(outcome: Outcome, row: int, trial: Trial) -> Outcome:
    """That of one row of those that were left when the objective ended."""
    values = [*trial.values]
    if outcome.state == "failed":
        return replace(outcome, values=values)
    value = outcome.values[row] if outcome.values else values[-1] if values else None
    if value is None:
        return Outcome("failed", error="the objective yielded nothing")
    if not math.isfinite(value):
        error = f"the objective returned {value}, needs a finite number"
        return Outcome("failed", error=error, values=values, diverged=True)
    return Outcome("done", value, values=values)
