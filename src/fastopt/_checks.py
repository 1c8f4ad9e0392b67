"""Checks of single arguments: integers, numbers, seconds, flags, choices.

Each takes the argument's name first, returns the value as a plain Python object, and raises an
error that names the argument, what it got and what it needs. NumPy's scalars are accepted wherever
Python's are; a bool is never a number.
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Collection
from typing import Any, TypeVar, cast

import numpy as np

__all__ = ["choice", "flag", "integer", "number", "seconds"]

_Choice = TypeVar("_Choice", bound=str)


def integer(name: str, value: Any, *, least: int | None = None, most: int | None = None) -> int:
    """An integer from ``least`` to ``most``."""
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    result = operator.index(value)
    if least is not None and result < least:
        raise ValueError(f"{name} must be at least {least}, got {value!r}")
    if most is not None and result > most:
        raise ValueError(f"{name} must be at most {most}, got {value!r}")
    return result


def number(
    name: str,
    value: Any,
    *,
    least: float = -math.inf,
    above: float = -math.inf,
    most: float = math.inf,
    below: float = math.inf,
    finite: bool = True,
) -> float:
    """A real number with ``least <= value <= most`` and ``above < value < below``.

    Without ``finite`` an infinity within these bounds is accepted too; NaN never is.
    """
    # A duration of NumPy is a Real too.
    if isinstance(value, (bool, np.bool_, np.timedelta64)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        result = float(value)
    except OverflowError:
        raise ValueError(f"{name} must be a finite number, got {value!r}") from None
    if math.isnan(result) or (finite and math.isinf(result)):
        raise ValueError(f"{name} must be a finite number, got {value!r}")
    if result < least:
        raise ValueError(f"{name} must be at least {least:g}, got {value!r}")
    if above != -math.inf and result <= above:
        raise ValueError(f"{name} must be greater than {above:g}, got {value!r}")
    if result > most:
        raise ValueError(f"{name} must be at most {most:g}, got {value!r}")
    if below != math.inf and result >= below:
        raise ValueError(f"{name} must be less than {below:g}, got {value!r}")
    return result


def seconds(name: str, value: Any) -> float:
    """A positive number of seconds; None and infinity mean without end."""
    return math.inf if value is None else number(name, value, above=0, finite=False)


def flag(name: str, value: Any) -> bool:
    """A bool of Python or NumPy."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be a bool, got {value!r}")
    return bool(value)


def choice(name: str, value: Any, choices: Collection[_Choice]) -> _Choice:
    """One of some strings; the error suggests the one that was probably meant."""
    if isinstance(value, str) and value in choices:
        return cast(_Choice, value)
    listed = ", ".join(map(repr, choices))
    text = f"{name} must be one of {listed}, got {value!r}"
    if not isinstance(value, str):
        raise TypeError(text)
    import difflib  # takes as long as the rest of the package's own imports

    close = difflib.get_close_matches(value, list(choices), n=1)
    raise ValueError(f"{text}; did you mean {close[0]!r}?" if close else text)
