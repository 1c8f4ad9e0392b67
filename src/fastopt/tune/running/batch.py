"""A batched objective: one that trains many trials at once, each a row of its arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fastopt.tune.ledger.values import read_result
from fastopt.tune.running.current import CurrentTrial, Within
from fastopt.tune.running.evaluate import Objective, Outcome, Steps, explain, trace, with_notes
from fastopt.tune.space.categorical import Categorical
from fastopt.tune.space.number import Int
from fastopt.tune.space.space import Space
from fastopt.tune.space.trial import Result, Trial

__all__ = ["Rows", "diverged_outcome", "evaluate_batch", "row_outcome", "stack"]


def _kind(parameter: Any) -> Any:
    """The dtype of a parameter's values in an array: the same whatever the values are."""
    if isinstance(parameter, Categorical):
        kinds = {type(choice) for choice in parameter.choices}
        plain = kinds <= {int, float} or kinds in ({bool}, {str})
        if not plain or parameter.when is not None:
            return object
        column = np.array(parameter.choices)
        # 2**53 + 1 is no float, for one, and NumPy's texts end in no null character.
        same = zip(column.tolist(), parameter.choices, strict=True)
        return column.dtype if all(a == b or b != b for a, b in same) else object
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


class Rows(np.ndarray):
    """What ``yield`` returns to a batched objective: where each row goes on from.

    An array of integers: places among the rows that there were. With :class:`PopulationBased` a
    place can stand for several rows.

    Attributes
    ----------
    params : dict of str to ndarray
        The params of the rows, as arrays.
    kept : ndarray
        The places of the trials that go on, each once.
    source, target : ndarray
        Which of the rows that are kept are copied, and onto which, counted among these.
    """

    params: dict[str, np.ndarray]
    kept: np.ndarray
    source: np.ndarray
    target: np.ndarray


def make_rows(kept: list[int], sources: list[int], params: dict[str, np.ndarray]) -> Rows:
    """The rows ``kept``, of which each goes on from its source among them."""
    places, origin = np.array(kept), np.array(sources)
    rows = places[origin].view(Rows)
    rows.params, rows.kept = params, places
    rows.target = np.flatnonzero(origin != np.arange(len(origin)))
    rows.source = origin[rows.target]
    return rows


def _read(losses: Any, rows: int, verb: str) -> list[float]:
    """One number for each row."""
    given = np.asanyarray(losses)
    if given.shape != (rows,):
        raise ValueError(
            f"the objective {verb} an array of shape {given.shape} for {rows} rows, "
            f"needs ({rows},): `rows = yield losses` says which rows go on"
        )
    return np.ma.filled(given.astype(np.float64), np.nan).tolist()


def _read_constraints(constraints: Any, rows: int) -> list[list[float]]:
    """Those of each row."""
    given = np.asanyarray(constraints)
    if given.shape == (0,):  # none, as in a Result by default
        return []
    if given.ndim != 2 or len(given) != rows:
        raise ValueError(
            f"the objective returned constraints of shape {given.shape} for {rows} rows, needs "
            f"({rows}, number of constraints)"
        )
    return np.ma.filled(given.astype(np.float64), np.nan).tolist()


def evaluate_batch(
    objective: Objective, params: dict[str, np.ndarray], given: Sequence[tuple[int, str | None]]
) -> Steps:
    """Run a batched objective; yields a list of the rows' losses.

    ``given`` are the number and the folder of each row's trial. The losses come together with the
    notes of all trials by number, or None if these are as before. The answer is "stop" if none goes
    on, else the places of those that do, from which of these each does, and all params, if some
    have changed. The outcome is that of all rows that are left; its ``values``, if there are any,
    are the results of each.
    """
    trials = [CurrentTrial(number, folder) for number, folder in given]

    def notes() -> dict[int, dict[str, Any]]:
        return {trial.number: dict(trial.notes) for trial in trials if trial.notes}

    return (yield from with_notes(_evaluate_rows(objective, params, [*trials]), notes))


def _evaluate_rows(
    objective: Objective, params: dict[str, np.ndarray], trials: list[CurrentTrial]
) -> Steps:
    objective = Within(trials, objective)
    try:
        result = objective(params)
        if isinstance(result, Iterator):
            answer: Rows | None = None
            while True:
                try:
                    losses = next(result) if answer is None else result.send(answer)  # type: ignore[attr-defined]
                except StopIteration as end:
                    result = end.value
                    break
                reply = yield _read(losses, len(trials), "yielded")
                if reply == "stop":
                    return Outcome("stopped")
                kept, sources, changed = reply
                # The objective may have written into its own.
                params = changed or {name: column[kept] for name, column in params.items()}
                trials[:] = [trials[place] for place in kept]
                answer = make_rows(kept, sources, {**params})
            if result is None:
                return Outcome("done")
        constraints = []
        if isinstance(result, Result):
            constraints = _read_constraints(result.constraints, len(trials))
            result = result.value
        losses = _read(result, len(trials), "returned")
        return Outcome("done", values=losses, constraints=constraints)
    except (Exception, SystemExit) as error:
        return Outcome("failed", error=explain(error), traceback=trace(error))


def diverged_outcome(trial: Trial, loss: float, notes: dict[str, Any]) -> Outcome:
    """That of a row whose loss is NaN or infinite."""
    error = f"the objective yielded {loss}, needs a finite number (epoch {len(trial.values)})"
    return Outcome("failed", error=error, values=trial.values, diverged=True, notes=notes)


def row_outcome(outcome: Outcome, row: int, trial: Trial) -> Outcome:
    """That of one row of those that were left when the objective ended."""
    values, notes = trial.values, outcome.notes.get(trial.number, {})
    if outcome.state == "failed":
        return replace(outcome, values=values, notes=notes)
    value = outcome.values[row] if outcome.values else values[-1] if values else None
    if value is None:
        return Outcome("failed", error="the objective yielded nothing", notes=notes)
    constraints = outcome.constraints[row] if outcome.constraints else ()
    result, reason = read_result(Result(value, constraints), 1)
    if reason is not None:
        error = f"the objective returned {reason}"
        return Outcome("failed", error=error, values=values, diverged=True, notes=notes)
    return Outcome("done", result, values=values, notes=notes)
