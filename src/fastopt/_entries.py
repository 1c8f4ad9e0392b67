"""What `state` shows of a parameter: its step count and the arrays of its states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["Entry"]


class Entry(dict[str, Any]):
    """A dict that is made anew each time, so that to replace what it holds would change nothing.

    The arrays are the states themselves and may be written into. A pickle or copy is a plain dict.
    """

    def __setitem__(self, name: str, value: Any) -> None:
        # An operator such as *= writes into the array and then puts it back.
        if name in self and value is not self[name]:
            remedy = (
                "load_state_dict sets the count of steps"
                if name == "step"
                else f"write into the array: state[...][{name!r}][...] = new"
            )
            raise TypeError(f"{name!r} in state cannot be replaced: {remedy}")
        super().__setitem__(name, value)

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[Mapping[str, Any]]]:
        return dict, (dict(self),)
