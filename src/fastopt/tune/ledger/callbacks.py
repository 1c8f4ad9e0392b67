"""Tell observers of a study what happens, whatever they do with it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

__all__ = ["EVENTS", "notify"]

EVENTS = ("on_study_start", "on_trial_start", "on_report", "on_trial_end", "on_study_end")


def notify(callbacks: Iterable[Any], warned: set[int], event: str, *arguments: Any) -> None:
    """Call ``event`` on every callback that has it.

    An observer must not end a search that took hours: what it raises becomes one warning for that
    callback (``warned`` remembers which), then silence.
    """
    for callback in callbacks:
        method = getattr(callback, event, None)
        if method is None:
            continue
        try:
            method(*arguments)
        except Exception as error:
            if id(callback) not in warned:
                warned.add(id(callback))
                warnings.warn(
                    f"callback {callback!r} failed in {event}, the study goes on: {error!r}",
                    RuntimeWarning,
                    stacklevel=3,
                )
