"""What every parameter of a search space is: the protocol of Float, Int and Categorical.

Each parameter maps its values to the unit interval and back. ``kind`` and ``levels`` tell a
strategy what the interval holds:

=============  ==================================================================================
kind           the unit interval
=============  ==================================================================================
"continuous"   every point is a value; ``levels`` is None
"ordered"      ``levels`` values in ascending order, the bounds widened by half a step so that
               every level owns its share of the interval: half an interval would otherwise be
               missing at either end
"categorical"  ``levels`` cells of equal width, one per choice; their order means nothing
=============  ==================================================================================

``unit(i)`` is the position of level ``i``, ``nearest(u)`` the level that owns ``u``; both take
arrays. ``value(i)`` and ``index(value)`` do the same with values.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

__all__ = ["Parameter"]


def show(parameter: Any) -> str:
    """The call that makes a parameter, without what is left at its default."""
    given = [
        f"{field.name}={value!r}" if field.kw_only else repr(value)
        for field in fields(parameter)
        if (value := getattr(parameter, field.name)) is not field.default
        and (field.default is None or value != field.default)
    ]
    return f"{type(parameter).__name__}({', '.join(given)})"


class Parameter:
    """What every parameter is: type checkers find this in a dict of several kinds."""

    initial: Any
    when: Mapping[str, Any] | None

    def check(self, value: Any) -> Any:
        """``value`` as the parameter gives it, or ValueError."""
        raise NotImplementedError

    def index(self, value: Any) -> int:
        """The level of ``value``."""
        raise NotImplementedError

    def indices(self, values: Collection[Any]) -> Collection[int]:
        """The levels of values, which are checked, in any order."""
        return {self.index(self.check(value)) for value in values}

    def __repr__(self) -> str:
        return show(self)
