"""Trials as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastopt.tune.space.trial import Trial

__all__ = ["to_pandas"]


def to_pandas(names: Sequence[str], trials: Sequence[Trial]) -> Any:
    """See :meth:`fastopt.tune.Study.to_pandas`."""
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError("to_pandas needs pandas, which is not installed") from error
    columns: dict[str, Any] = {
        "number": [trial.number for trial in trials],
        "state": [trial.state for trial in trials],
        "value": [trial.value for trial in trials],
    }
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
    return frame.astype({"value": float}).set_index("number")
