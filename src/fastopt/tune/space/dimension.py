"""One coordinate of a space."""

from __future__ import annotations

from dataclasses import dataclass

from fastopt.tune.space.categorical import Categorical
from fastopt.tune.space.levels import Levels
from fastopt.tune.space.number import Float, Int

__all__ = ["Dimension"]


@dataclass(frozen=True)
class Dimension:
    """One coordinate of the unit cube, as a strategy sees it.

    Attributes
    ----------
    name : str
    parameter : Float, Int or Categorical
        Maps the coordinate: ``unit(i)``, ``nearest(u)``, ``value(i)``, ``index(value)``.
    kind : {"continuous", "ordered", "categorical"}
    levels : int or None
        Number of levels; None for a continuous coordinate.
    parents : tuple of (int, tuple of int)
        The conditions, all of which must hold for the parameter to be active: index of another
        dimension, and which of its levels, in ascending order, allow this one. That other one must
        be active too. If very many levels are evenly spaced, a range stands for the tuple.
    """

    name: str
    parameter: Float | Int | Categorical
    kind: str
    levels: int | None
    parents: tuple[tuple[int, Levels], ...]
