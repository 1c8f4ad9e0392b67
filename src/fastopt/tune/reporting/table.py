"""Trials as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastopt.tune.space.trial import Trial

__all__ = ["result_columns", "to_pandas"]


def result_columns(n_objectives: int, trials: Sequence[Trial]) -> dict[str, list[float | None]]:
    """What the trials came to: ``value`` or ``objective_0`` …, and ``constraint_0`` … if any."""
    columns: dict[str, list[float | None]] = {}
    if n_objectives == 1:
        columns["value"] = [trial.value for trial in trials]
    else:
        for i in range(n_objectives):
            columns[f"objective_{i}"] = [t.objectives[i] if t.objectives else None for t in trials]
    for i in range(max((len(trial.constraints) for trial in trials), default=0)):
        columns[f"constraint_{i}"] = [
            trial.constraints[i] if i < len(trial.constraints) else None for trial in trials
        ]
    return columns


def to_pandas(names: Sequence[str], directions: Sequence[str], trials: Sequence[Trial]) -> Any:
    """See :meth:`fastopt.tune.Study.to_pandas`."""
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError("to_pandas needs pandas; install it with: pip install pandas") from error
    columns: dict[str, Any] = {
        "number": [trial.number for trial in trials],
        "state": [trial.state for trial in trials],
    }
    results = result_columns(len(directions), trials)
    columns.update(results)
    if any(trial.constraints for trial in trials):
        columns["feasible"] = [trial.feasible for trial in trials]
    for name in names:
        columns[f"param_{name}"] = [trial.params.get(name) for trial in trials]
    for name in dict.fromkeys(name for trial in trials for name in trial.notes):
        columns[f"note_{name}"] = [trial.notes.get(name) for trial in trials]
    columns["error"] = [trial.error for trial in trials]
    for name in ("started", "finished"):
        seconds = [getattr(trial, name) for trial in trials]
        columns[name] = pd.to_datetime(pd.Series(seconds, dtype=float), unit="s", utc=True)
    columns["seconds"] = pd.Series([trial.seconds for trial in trials], dtype=float)
    frame = pd.DataFrame(columns)
    return frame.astype(dict.fromkeys(results, float)).set_index("number")
