"""Change what is known of trials that have ended, after the fact."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fastopt.tune.ledger.ledger import Ledger
from fastopt.tune.ledger.values import read_result
from fastopt.tune.space import Result, Trial

__all__ = ["correct", "delete", "invalidate"]


def correct(ledger: Ledger, trial: Trial | int, value: Any) -> Trial:
    """Give a trial another value; one that had failed is done.

    A value alone leaves the constraints as they are.
    """
    given, reason = read_result(value, len(ledger.directions))
    if reason is not None:
        raise ValueError(f"correct: the value is {reason}")

    def result(known: Trial) -> Result:
        if isinstance(value, Result):
            return given
        kept = replace(given, constraints=tuple(known.constraints))
        reason = ledger.other_constraints(kept)
        if reason is not None and known.state != "done":
            raise ValueError(f"correct: the value is {reason}")
        return kept

    return ledger.revise(trial, "done", result, None)


def invalidate(ledger: Ledger, trial: Trial | int, error: str) -> Trial:
    """Make a trial a failed one."""
    if not isinstance(error, str):
        raise TypeError(f"invalidate: error must be a string, got {error!r}")
    return ledger.revise(trial, "failed", None, error)


def delete(ledger: Ledger, trial: Trial | int) -> Trial:
    """Take a trial out of the study."""
    return ledger.revise(trial, "deleted", None, None)
