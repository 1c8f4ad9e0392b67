"""Tell observers of a study what happens, whatever they do with it."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable
from typing import Any

__all__ = ["EVENTS", "check_callbacks", "notify"]

EVENTS = ("on_study_start", "on_trial_start", "on_report", "on_trial_end", "on_study_end")


def check_callbacks(callbacks: Any) -> list[Any]:
    """The callbacks as a list; TypeError for one that would never be called."""
    if not isinstance(callbacks, Iterable):
        raise TypeError(f"callbacks must be a list of objects, got {callbacks!r}")
    callbacks = list(callbacks)
    for callback in callbacks:
        if isinstance(callback, type):
            raise TypeError(
                f"callbacks: each must be an object, got the class {callback.__name__}; "
                f"{callback.__name__}(...) makes one"
            )
        names = [name for name in dir(callback) if name.startswith("on_")]
        for name in names:
            close = difflib.get_close_matches(name, EVENTS, n=1, cutoff=0.8)
            if name not in EVENTS and close and close[0] not in names:
                raise TypeError(
                    f"callbacks: {callback!r} has a method {name}; did you mean {close[0]}?"
                )
        if not any(callable(getattr(callback, event, None)) for event in EVENTS):
            raise TypeError(
                f"callbacks: each must be an object with any of the methods {', '.join(EVENTS)}, "
                f"got {callback!r}"
            )
    return callbacks


def notify(
    callbacks: Iterable[Any], warned: list[Any], study: Any, event: str, *arguments: Any
) -> None:
    """Call ``event`` of the study on every callback that has it.

    An observer must not end a search that took hours: what it raises becomes one warning for that
    callback (``warned`` remembers which), then silence.
    """
    for callback in callbacks:
        method = getattr(callback, event, None)
        if method is None:
            continue
        try:
            method(study, *arguments)
        except Exception as error:
            if not any(callback is known for known in warned):
                warned.append(callback)
                warnings.warn(
                    f"callback {callback!r} failed in {event}, the study goes on: {error!r}",
                    RuntimeWarning,
                    stacklevel=2,
                )
