"""The trials that no other beats: the best of one objective, the front of several."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastopt import _checks
from fastopt.tune.fronts.boxes import hypervolume
from fastopt.tune.ledger.ledger import Ledger
from fastopt.tune.space import Trial

__all__ = ["best", "dominated_volume", "front"]


def best(ledger: Ledger) -> Trial:
    """The best trial; a ValueError that says why where there is none."""
    if len(ledger.directions) > 1:
        raise ValueError(
            "with several objectives no trial is the best; study.front lists those that no "
            "other beats in all of them"
        )
    found = ledger.best()
    if found is None:
        raise ValueError(_why_none(ledger.finished()))
    return found


def _why_none(ended: Sequence[Trial]) -> str:
    done = [trial for trial in ended if trial.state == "done"]
    if done:
        nearest = min(done, key=lambda trial: (trial.violation, trial.number))
        return (
            f"no trial is feasible yet: each of the {len(done)} done ones violates a "
            f"constraint; trial {nearest.number} comes nearest, by {nearest.violation:.6g}"
        )
    failed = [trial for trial in ended if trial.state == "failed"]
    last = f"; the last failure: {failed[-1].error}" if failed else ""
    return f"no trial has succeeded yet ({len(ended)} ended, {len(failed)} failed{last})"


def front(ledger: Ledger) -> list[Trial]:
    """The front; a ValueError for one objective."""
    if len(ledger.directions) == 1:
        raise ValueError("with one objective there is no front; study.best is its best trial")
    return ledger.front()


def dominated_volume(ledger: Ledger, reference: Sequence[float]) -> float:
    """The volume between the front and a reference point."""
    trials = front(ledger)
    signs = np.where(np.array(ledger.directions) == "minimize", 1.0, -1.0)
    if np.ndim(reference) != 1 or len(reference) != len(signs):
        raise ValueError(
            f"reference must be {len(signs)} numbers, one for each of the study's directions, "
            f"got {reference!r}"
        )
    place = np.array([_checks.number("reference", number) for number in reference])
    points = np.array([trial.objectives for trial in trials]).reshape(-1, len(signs))
    return hypervolume(signs * points, signs * place)
