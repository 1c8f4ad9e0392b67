"""A search space: named parameters, their conditions, and their common unit cube."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

import numpy as np

from fastopt.tune.space.categorical import Categorical
from fastopt.tune.space.count import Count
from fastopt.tune.space.dimension import Dimension
from fastopt.tune.space.levels import Levels, compact, holds, holds_each
from fastopt.tune.space.number import Float, Int
from fastopt.tune.space.parameter import Parameter

__all__ = ["Dimension", "Space"]

# Where an inactive parameter stands in the unit cube.
INACTIVE = 0.5


class Space:
    """A validated search space.

    Parameters
    ----------
    parameters : dict
        Name to :class:`Float`, :class:`Int` or :class:`Categorical`, at least one.

    Attributes
    ----------
    dimensions : tuple of Dimension
        In the order of the dict.
    order : tuple of int
        The dimensions in an order in which every one comes after its parents.
    size : int or float
        Number of distinct points; infinite if any parameter is continuous.

    Notes
    -----
    Points live in two forms. ``params`` is a dict of what the objective gets; inactive
    parameters are absent. ``u`` is a point of the unit cube [0, 1]^d with one coordinate per
    dimension; inactive ones stand at 0.5, ordered and categorical ones at the centre of a level.

    Examples
    --------
    >>> from fastopt import tune
    >>> space = tune.Space({
    ...     "rule": tune.Categorical(["adam", "nag"]),
    ...     "beta1": tune.Float(0.8, 1.0, when={"rule": ["adam"]}),
    ... })
    >>> space.decode([0.2, 0.5])
    {'rule': 'adam', 'beta1': 0.9}
    >>> space.decode([0.9, 0.1])
    {'rule': 'nag'}
    >>> space.encode({"rule": "nag"}).tolist()
    [0.75, 0.5]
    """

    def __init__(self, parameters: Mapping[str, Parameter]) -> None:
        if not isinstance(parameters, Mapping):
            raise TypeError(f"space must be a dict of parameters, got {parameters!r}")
        if not parameters:
            raise ValueError("space must hold at least one parameter, got an empty dict")
        self.parameters: dict[str, Float | Int | Categorical] = {}
        for name, parameter in parameters.items():
            if not isinstance(name, str):
                raise TypeError(f"space: the name of a parameter must be a string, got {name!r}")
            if not isinstance(parameter, (Float, Int, Categorical)):
                raise TypeError(
                    f"space: {name!r} must be a Float, an Int or a Categorical, got {parameter!r}"
                )
            self.parameters[name] = parameter
        self.names = tuple(parameters)
        self.dimensions = tuple(
            Dimension(name, parameter, parameter.kind, parameter.levels, self._parents(name))
            for name, parameter in self.parameters.items()
        )
        self.order = self._sort()
        self.size = self._count()

    def __len__(self) -> int:
        return len(self.dimensions)

    def __repr__(self) -> str:
        return f"Space({self.parameters!r})"

    def _parents(self, name: str) -> tuple[tuple[int, Levels], ...]:
        when = self.parameters[name].when
        if when is None:
            return ()
        if not isinstance(when, Mapping) or not when:
            raise TypeError(f"{name!r}: when must be a dict of allowed values, got {when!r}")
        parents = []
        for parent, values in when.items():
            if parent not in self.parameters:
                raise ValueError(
                    f"{name!r}: when names {parent!r}, which is not a parameter; "
                    f"there are {', '.join(map(repr, self.names))}"
                )
            parameter = self.parameters[parent]
            if parameter.levels is None:
                raise ValueError(
                    f"{name!r}: when needs a parameter with listed values; "
                    f"{parent!r} is a Float without step"
                )
            if isinstance(values, np.ndarray) and values.ndim == 1:
                values = values.tolist()
            elif not isinstance(values, (list, tuple, set, frozenset, range)):
                values = [values]
            if not values:
                raise ValueError(f"{name!r}: when allows no value of {parent!r}")
            try:
                levels = parameter.indices(values)
            except (TypeError, ValueError) as error:
                raise ValueError(f"{name!r}: when={when!r} cannot hold: {error}") from None
            parents.append((self.names.index(parent), compact(levels)))
        return tuple(parents)

    def _sort(self) -> tuple[int, ...]:
        order: dict[int, None] = {}
        while len(order) < len(self):
            ready = [
                j
                for j, dimension in enumerate(self.dimensions)
                if j not in order and all(parent in order for parent, _ in dimension.parents)
            ]
            if not ready:
                stuck = [name for j, name in enumerate(self.names) if j not in order]
                raise ValueError(
                    f"when: the conditions of {', '.join(map(repr, stuck))} form a circle"
                )
            order.update(dict.fromkeys(ready))
        return tuple(order)

    def _count(self) -> int | float:
        if any(dimension.levels is None for dimension in self.dimensions):
            return math.inf
        return Count(self.dimensions).points(self.order)

    def _is_active(self, j: int, chosen: Mapping[int, int]) -> bool:
        return all(
            holds(levels, chosen.get(parent)) for parent, levels in self.dimensions[j].parents
        )

    def active(self, points: Any) -> np.ndarray:
        """Which coordinates count, for an array of points of the cube.

        Parameters
        ----------
        points : (n, d) array

        Returns
        -------
        (n, d) array of bool
        """
        points = np.asarray(points, float)
        active = np.ones(points.shape, bool)
        for j in self.order:
            for parent, levels in self.dimensions[j].parents:
                level = self.dimensions[parent].parameter.nearest(points[:, parent])
                active[:, j] &= active[:, parent] & holds_each(levels, level)
        return active

    def snap(self, points: Any) -> np.ndarray:
        """Move points of the cube to where they are evaluated.

        Ordered and categorical coordinates go to the centre of their level, inactive ones to 0.5,
        continuous ones into [0, 1]. For these kinds ``encode(decode(u))`` gives the same bits;
        for continuous ones it agrees to rounding.

        Parameters
        ----------
        points : (n, d) array

        Returns
        -------
        (n, d) array, new
        """
        points = np.clip(np.asarray(points, float), 0.0, 1.0)
        snapped = points.copy()
        for j, dimension in enumerate(self.dimensions):
            if dimension.levels is not None:
                parameter = dimension.parameter
                snapped[:, j] = parameter.unit(parameter.nearest(points[:, j]))
        snapped[~self.active(points)] = INACTIVE
        return snapped

    def encode(self, params: Mapping[str, Any]) -> np.ndarray:
        """The point of the unit cube for ``params``, shape (d,)."""
        return np.array(
            [
                parameter.to_unit(params[name]) if name in params else INACTIVE
                for name, parameter in self.parameters.items()
            ]
        )

    def decode(self, u: Any) -> dict[str, Any]:
        """The params at point ``u`` of the unit cube, shape (d,)."""
        return self._select(lambda j: self.dimensions[j].parameter.from_unit(u[j]))

    def _select(self, value_of: Callable[[int], Any]) -> dict[str, Any]:
        """Params from a value for each dimension, asked for only where it is active."""
        values: dict[int, Any] = {}
        chosen: dict[int, int] = {}
        for j in self.order:
            if self._is_active(j, chosen):
                values[j] = value_of(j)
                if self.dimensions[j].levels is not None:
                    chosen[j] = self.dimensions[j].parameter.index(values[j])
        return {self.names[j]: values[j] for j in sorted(values)}

    def key(self, params: Mapping[str, Any]) -> Hashable:
        """What two params have in common if and only if they are the same point."""
        return tuple(
            None
            if name not in params
            else params[name]
            if parameter.levels is None
            else parameter.index(params[name])
            for name, parameter in self.parameters.items()
        )

    def check(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """``params`` in the space's own values and order.

        Raises
        ------
        ValueError, TypeError
            Names the parameter that is missing, unknown, inactive, or out of bounds.
        """
        if not isinstance(params, Mapping):
            raise TypeError(f"params must be a dict, got {params!r}")
        for name in params:
            if name not in self.parameters:
                raise ValueError(
                    f"params: {name!r} is not a parameter; "
                    f"there are {', '.join(map(repr, self.names))}"
                )

        def value_of(j: int) -> Any:
            name = self.names[j]
            if name not in params:
                raise ValueError(f"params: {name!r} is missing")
            try:
                return self.parameters[name].check(params[name])
            except (TypeError, ValueError) as error:
                raise type(error)(f"params: {name!r}: {error}") from None

        checked = self._select(value_of)
        for name in params:
            if name not in checked:
                raise ValueError(
                    f"params: {name!r} must be absent here: its condition "
                    f"{dict(self.parameters[name].when or {})!r} does not hold"
                )
        return checked

    def complete(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """``params`` with the ``initial`` values of active parameters that it lacks."""

        def value_of(j: int) -> Any:
            name = self.names[j]
            return params[name] if name in params else self.parameters[name].initial

        return self._select(value_of)

    def points(self, floats: Mapping[str, list[float]] | None = None) -> Iterator[dict[str, Any]]:
        """Every point once, in a fixed order; the last parameter changes fastest.

        Parameters
        ----------
        floats : dict, optional
            The values to take for each continuous parameter.

        Yields
        ------
        dict
            Params.
        """
        floats = floats or {}
        for name, parameter in self.parameters.items():
            if parameter.levels is None and name not in floats:
                raise ValueError(f"{name!r} is a Float without step: its points cannot be listed")

        def walk(position: int, values: dict[int, Any], chosen: dict[int, int]) -> Iterator[dict]:
            if position == len(self.order):
                yield {self.names[j]: values[j] for j in sorted(values)}
                return
            j = self.order[position]
            parameter = self.dimensions[j].parameter
            if not self._is_active(j, chosen):
                yield from walk(position + 1, values, chosen)
            elif parameter.levels is None:
                for value in floats[self.names[j]]:
                    yield from walk(position + 1, {**values, j: value}, chosen)
            else:
                for level in range(parameter.levels):
                    yield from walk(
                        position + 1,
                        {**values, j: parameter.value(level)},
                        {**chosen, j: level},
                    )

        return walk(0, {}, {})

    def initial(self) -> dict[str, Any] | None:
        """The point of the ``initial`` values, the others at the centre; None if there are none."""
        if all(parameter.initial is None for parameter in self.parameters.values()):
            return None

        def value_of(j: int) -> Any:
            parameter = self.dimensions[j].parameter
            return parameter.from_unit(0.5) if parameter.initial is None else parameter.initial

        return self._select(value_of)
