"""Grid search."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fastopt import _checks
from fastopt.tune.space.number import Float
from fastopt.tune.space.space import Space
from fastopt.tune.strategies.protocol import View
from fastopt.tune.strategies.sequence import SequenceStrategy

__all__ = ["Grid"]


@dataclass(frozen=True)
class Grid(SequenceStrategy):
    """Every point of the space once, the last parameter changing fastest.

    Parameters
    ----------
    points : int or dict of str to int, optional
        How many values of each ``Float`` without ``step``, or of each one by name: evenly spaced
        (in the logarithm under ``log``) with both bounds among them; for one with a distribution
        the quantiles ``(i + 1/2)/points``.

    Raises
    ------
    ValueError
        When the study is made, if ``points`` has no number for a ``Float`` without ``step``.

    Examples
    --------
    >>> from fastopt import tune
    >>> study = tune.Study({"lr": tune.Float(1e-4, 1e-2, log=True)}, strategy=tune.Grid(points=3))
    >>> [round(study.ask().params["lr"], 6) for _ in range(3)]
    [0.0001, 0.001, 0.01]
    >>> study.ask()
    Traceback (most recent call last):
    ...
    fastopt.tune.SpaceExhausted: Grid(points=3) has suggested all of its points (3 in the study)
    """

    points: int | Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        # As plain integers: the study's file compares what repr shows.
        points = self.points
        if isinstance(points, Mapping):
            checked = {name: _check(number) for name, number in points.items()}
            object.__setattr__(self, "points", checked)
        else:
            object.__setattr__(self, "points", _check(points))

    def check(self, space: Space) -> None:
        """Raise ValueError if some parameter has no listed values."""
        self._floats(space)

    def sequence(self, view: View) -> Iterator[dict[str, Any]]:
        """All points that the constraint allows."""
        return filter(view.allows, view.space.points(self._floats(view.space)))

    def _floats(self, space: Space) -> dict[str, list[float]]:
        given = self.points
        if isinstance(given, Mapping):
            for name in given:
                if name not in space.parameters or space.parameters[name].levels is not None:
                    raise ValueError(f"Grid: points names {name!r}, not a Float without step")
        floats = {}
        for name, parameter in space.parameters.items():
            if isinstance(parameter, Float) and parameter.levels is None:
                number = given.get(name) if isinstance(given, Mapping) else given
                if number is None:
                    raise ValueError(
                        f"{name!r} is a Float without step: a grid over it needs "
                        f"strategy=tune.Grid(points=n) or a step"
                    )
                floats[name] = _spread(parameter, number)
        return floats


def _check(number: Any) -> int | None:
    return None if number is None else _checks.integer("Grid: points", number, least=1)


def _spread(parameter: Float, number: int) -> list[float]:
    if parameter.distribution is not None or number == 1:
        units = [(i + 0.5) / number for i in range(number)]
    else:
        units = [i / (number - 1) for i in range(number)]
    # Bounds that are a few rounding errors apart have fewer numbers between them: drop repeats.
    return list(dict.fromkeys(parameter.from_unit(u) for u in units))
