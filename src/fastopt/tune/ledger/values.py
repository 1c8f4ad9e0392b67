"""Read what an objective gave as its result."""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastopt.tune.space.trial import Result

__all__ = ["cut", "has_diverged", "plain_notes", "read_result", "read_value"]

# Characters of an error or a traceback.
LONGEST = 10_000


def read_value(value: Any) -> tuple[float, str | None]:
    """``value`` as a float, and None; or NaN, and why ``value`` is no result.

    Any finite real number is one, scalars, arrays and tensors with one element included. Infinity
    is not: a diverged training has no value to be compared, or averaged, or fitted by a model.
    """
    value = _item(value)
    # A duration of NumPy is a Real too.
    if isinstance(value, (bool, np.timedelta64)) or not isinstance(value, numbers.Real):
        kind = type(value).__name__
        return math.nan, f"{_shorten(value)} of type {kind}, needs a real number"
    try:
        number = float(value)
    except (OverflowError, ValueError):
        return math.nan, f"{_shorten(value)}, needs a number that fits a float"
    return number, None if math.isfinite(number) else f"{number}, needs a finite number"


def read_result(given: Any, n_objectives: int) -> tuple[Result, str | None]:
    """``given`` as a result of plain floats, and None; or one without, and why it is no result."""
    result = given if isinstance(given, Result) else Result(given)
    value: Any = result.value
    if n_objectives == 1:
        are_several = (_length(value) or 0) > 1
        value, reason = read_value(value)
        if reason is not None and are_several:
            reason += " (for several objectives the study needs directions=)"
    else:
        value, reason = _read_objectives(value, n_objectives)
    constraints = []
    given = result.constraints
    if _length(given) is None:
        wanted = "a result whose constraints must be a list of numbers"
        reason, given = reason or f"{wanted}, got {_shorten(given)}", ()
    for i, constraint in enumerate(given):
        number, problem = read_value(constraint)
        constraints.append(number)
        if problem is not None and reason is None:
            reason = (
                f"a result whose constraint {i} is {problem} (at most 0 where it is satisfied; "
                "where it cannot be told, let the trial fail)"
            )
    if reason is not None:
        return Result(math.nan), reason
    return Result(value, tuple(constraints)), None


def _read_objectives(value: Any, count: int) -> tuple[tuple[float, ...], str | None]:
    if _length(value) != count:
        directions = f"{count} numbers, one for each of the study's directions"
        return (), f"{_shorten(value)}, needs {directions}"
    pairs = [read_value(item) for item in value]
    for i, (_, reason) in enumerate(pairs):
        if reason is not None:
            return (), f"{_shorten(value)}, of which number {i} is {reason}"
    return tuple(number for number, _ in pairs), None


def _length(value: Any) -> int | None:
    """That of a list, a tuple, or an array or a tensor of one axis; None of anything else."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        return shape[0] if len(shape) == 1 else None
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return len(value)
    return None


def _item(value: Any) -> Any:
    """The element of an array or a tensor that holds one, if it may be a number; else ``value``."""
    shape = getattr(value, "shape", None)
    if not isinstance(shape, tuple) or math.prod(shape) != 1 or not hasattr(value, "item"):
        return value
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    # The item of what is masked may be a number, and that of a date or a duration.
    return value if kind in ("m", "M") or np.ma.is_masked(value) else value.item()


def has_diverged(value: Any) -> bool:
    """Whether ``value`` is a number, but NaN or infinite, as of a training that diverged; or holds
    one.
    """
    if isinstance(value, Result):
        return has_diverged(value.value) or has_diverged(value.constraints)
    if (_length(value) or 1) != 1:
        return any(map(has_diverged, value))
    value = _item(value)
    return isinstance(value, float) and not math.isfinite(value)


def plain_notes(notes: Mapping[str, Any]) -> dict[str, Any]:
    """Notes as they come back from a file; TypeError for what JSON cannot hold."""
    if not isinstance(notes, Mapping):
        raise TypeError(f"notes must be a dict, got {notes!r}")
    plain = {}
    for name, value in notes.items():
        if not isinstance(name, str):
            raise TypeError(f"notes: a name must be a string, got {name!r}")
        try:
            plain[name] = json.loads(json.dumps(value, default=_listed))
        except (TypeError, ValueError) as error:
            raise TypeError(f"notes: {name!r} must be what JSON can hold, got {value!r}") from error
    return plain


def _listed(value: Any) -> Any:
    """Scalars and arrays of NumPy, and tensors, as Python's own."""
    if callable(getattr(value, "tolist", None)):
        return value.tolist()
    raise TypeError(value)


def cut(text: str) -> str:
    """A text of others as it can be stored: of megabytes the middle is left out."""
    # A lone surrogate (from a file name, say) is no text.
    text = text.encode("utf-8", "backslashreplace").decode()
    if len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 + 3 :]}"


def _shorten(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:
        return "an object without repr"
    return text if len(text) <= 80 else text[:77] + "..."
