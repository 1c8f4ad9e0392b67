"""Results as a user gives them: of a trial that was asked, or from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from fastopt import _checks
from fastopt.tune.ledger.ledger import Ledger
from fastopt.tune.ledger.values import plain_notes, read_result, read_value
from fastopt.tune.space import Trial

__all__ = ["MISSING", "add", "tell"]

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
    _checks.choice("state", state, ("done", "failed", "stopped"))
    if (state == "failed") is not (value is MISSING):
        raise TypeError("add needs a value, or for a failed trial error= or state='failed'")
    if error is not None and state != "failed":
        raise TypeError(f"add: error= is for failed trials, got state={state!r}")
    result = None
    if value is not MISSING:
        result, reason = read_result(value, len(ledger.directions))
        if reason is None and state == "done":
            ledger.finished()  # of other processes too
            reason = ledger.other_constraints(result)
        if reason is not None:
            raise ValueError(f"add: the value is {reason}")
    facts = json.dumps(plain_notes(notes))
    curve = [_checks.number("values", item) for item in values]
    checked = ledger.check(params, "the added point")
    return ledger.insert(checked, (state, result, error, curve, facts, None))
