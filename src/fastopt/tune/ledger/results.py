"""Results as a user gives them: of a trial that was asked, or from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from fastopt import _checks
from fastopt.tune.ledger.kept import Outcome
from fastopt.tune.ledger.ledger import Ledger
from fastopt.tune.ledger.values import plain_notes, read_result, read_value
from fastopt.tune.space import Result, Trial

__all__ = ["MISSING", "add", "add_all", "tell"]

MISSING = object()


def tell(
    ledger: Ledger,
    trial: Trial | int,
    value: Any,
    error: str | None,
    values: Iterable[float],
    notes: Mapping[str, Any],
) -> Trial:
    """Store a value, or an error if ``value`` is MISSING; the trial, which has ended."""
    if (value is MISSING) is (error is None):
        raise TypeError("tell needs either a value or error=, not both")
    curve, problem = _read_curve(values)
    if error is not None:
        return ledger.finish(trial, "failed", None, str(error), curve, notes)
    result, reason = read_result(value, len(ledger.directions))
    if reason is not None:
        problem = f"the value is {reason}"
    if problem is not None:
        return ledger.finish(trial, "failed", None, problem, curve, notes)
    return ledger.finish(trial, "done", result, None, curve, notes)


def _read_curve(values: Iterable[Any]) -> tuple[list[float], str | None]:
    """The values up to the first that is no finite number, and what is wrong with that one."""
    curve: list[float] = []
    for value in values:
        number, reason = read_value(value)
        if reason is not None:
            return curve, f"the value of epoch {len(curve)} is {reason}"
        curve.append(number)
    return curve, None


def add(
    ledger: Ledger,
    params: Mapping[str, Any],
    value: Any,
    state: str | None,
    error: str | None,
    values: Iterable[float],
    notes: Mapping[str, Any],
) -> Trial:
    """Store a result from elsewhere as a trial of its own."""
    if state is None:
        state = "done" if error is None else "failed"
    ended = _ended(ledger, params, value, state, error, values, notes)
    _check_constraints(ledger, [ended[1]])
    return ledger.insert([ended])[0]


def add_all(ledger: Ledger, trials: Iterable[Trial]) -> None:
    """Store trials of another study that have ended: all of them, or none if one does not fit.

    They may differ in how many constraints they have, as a correction leaves them.
    """
    ended = []
    for trial in trials:
        value: Any = MISSING
        if trial.state != "failed":
            given: Any = trial.objectives or trial.value
            value = Result(given, trial.constraints)
        facts = trial.state, trial.error, trial.values, trial.notes
        ended.append(_ended(ledger, trial.params, value, *facts))
    done = [outcome for _, outcome in ended if outcome[0] == "done"]
    if len({len(result.constraints) for _, result, *_ in done if result is not None}) == 1:
        _check_constraints(ledger, done)
    ledger.insert(ended)


def _ended(
    ledger: Ledger,
    params: Mapping[str, Any],
    value: Any,
    state: str,
    error: str | None,
    values: Iterable[float],
    notes: Mapping[str, Any],
) -> tuple[dict[str, Any], Outcome]:
    """Params and outcome of a trial, checked."""
    _checks.choice("state", state, ("done", "failed", "stopped"))
    if (state == "failed") is not (value is MISSING):
        raise TypeError("add needs a value, or for a failed trial error= or state='failed'")
    if error is not None and state != "failed":
        raise TypeError(f"add: error= is for failed trials, got state={state!r}")
    result = None
    if value is not MISSING:
        result, reason = read_result(value, len(ledger.directions))
        if reason is not None:
            raise ValueError(f"add: the value is {reason}")
    facts = json.dumps(plain_notes(notes))
    curve = [_checks.number("values", item) for item in values]
    checked = ledger.check(params, "the added point")
    return checked, (state, result, error, curve, facts, None)


def _check_constraints(ledger: Ledger, outcomes: Iterable[Outcome]) -> None:
    """Raise ValueError if one that is done has not as many as the trials before."""
    ledger.finished()  # of other processes too
    for state, result, *_ in outcomes:
        reason = ledger.other_constraints(result) if state == "done" and result else None
        if reason is not None:
            raise ValueError(f"add: the value is {reason}")
