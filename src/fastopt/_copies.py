"""Copies and pickles of what holds arrays together with counts of their steps.

They hand the arrays over as they are, so that those who copy or pickle them along with their
optimizer get an optimizer of the copies.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from fastopt._core import TensorList

__all__ = ["attributes_of_subclasses", "copy_deeply", "copy_states", "pickled", "restored"]


def attributes_of_subclasses(optimizer: object, own: Collection[str]) -> dict[str, Any]:
    """What an optimizer has besides its own attributes: it belongs to a subclass of the user's."""
    found = {name: value for name, value in vars(optimizer).items() if name not in own}
    for owner in type(optimizer).__mro__:
        slots = owner.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(optimizer, name):
                found[name] = getattr(optimizer, name)
    return found


def copy_states(parts: dict[str, Any]) -> None:
    """Put copies of the states, remainders and averages in their place."""
    parts["states"] = [[state.copy() for state in states] for states in parts["states"]]
    for name in ("remainders", "averages"):
        parts[name] = [None if array is None else array.copy() for array in parts[name]]


def copy_deeply(
    original: Any, tensors: TensorList, parts: Callable[[], dict[str, Any]], memo: dict[int, Any]
) -> Any:
    """A new object with copies of the parts, none of which is of another step than the others."""
    kind: Any = type(original)
    new = memo[id(original)] = kind.__new__(kind)
    with tensors:
        copied = copy.deepcopy(parts(), memo)
    new.__setstate__(copied)
    return new


def restored(kind: Any, parts: dict[str, Any]) -> Any:
    """An object of the class from its parts."""
    new = kind.__new__(kind)
    new.__setstate__(parts)
    return new


def pickled(tensors: TensorList, parts: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The parts for a pickle."""
    with tensors:
        return {**parts(), "whole": _Whole(tensors)}


class _Whole:
    """The last thing in a pickle: an error if another thread has stepped meanwhile."""

    def __init__(self, tensors: TensorList) -> None:
        self.tensors = tensors
        self.steps = tensors.steps

    def __reduce__(self) -> tuple[type[bool], tuple[bool]]:
        with self.tensors:
            if not np.array_equal(self.tensors.steps, self.steps):
                raise RuntimeError(
                    "another thread has taken a step of this optimizer while it was pickled"
                )
        return bool, (True,)
