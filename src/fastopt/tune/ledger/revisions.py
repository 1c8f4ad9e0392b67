"""Change what is known of trials that have ended, after the fact."""

from __future__ import annotations

from fastopt.tune.ledger.ledger import Ledger
from fastopt.tune.ledger.values import read_value
from fastopt.tune.space import Trial

__all__ = ["correct", "delete", "invalidate"]


def correct(ledger: Ledger, trial: Trial | int, value: float) -> Trial:
    """Give a trial another value; one that had failed is done."""
    number, reason = read_value(value)
    if reason is not None:
        raise ValueError(f"correct: the value is {reason}")
    return ledger.revise(trial, "done", number, None)


def invalidate(ledger: Ledger, trial: Trial | int, error: str) -> Trial:
    """Make a trial a failed one."""
    if not isinstance(error, str):
        raise TypeError(f"invalidate: error must be a string, got {error!r}")
    return ledger.revise(trial, "failed", None, error)


def delete(ledger: Ledger, trial: Trial | int) -> Trial:
    """Take a trial out of the study."""
    return ledger.revise(trial, "deleted", None, None)
