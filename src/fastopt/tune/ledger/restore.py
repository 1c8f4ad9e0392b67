"""What a study's file holds of its space so that it can be made again without the program.

The description that is compared on resuming (``encoding``) names choices; this one holds them, as
far as JSON can. Of any other object it holds the text, for which a stand-in comes back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastopt.tune.ledger.encoding import name_value
from fastopt.tune.space import Categorical, Float, Int, Space
from fastopt.tune.space.levels import Levels

__all__ = ["StoredObject", "has_objects", "pack_space", "unpack_space"]


class StoredObject:
    """Stands for a choice of which a file holds only the text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _pack(value: Any) -> Any:
    """A choice as JSON, from which it can be made again."""
    kind = type(value)
    if kind is float and not math.isfinite(value):
        return {"float": repr(value)}
    if value is None or kind in (bool, int, float, str):
        return value
    if kind in (list, tuple):
        return {kind.__name__: [_pack(item) for item in value]}
    if kind is dict:
        return {"dict": [[_pack(key), _pack(item)] for key, item in value.items()]}
    if isinstance(value, np.generic) and type(item := value.item()) in (bool, int, float, str):
        return {"numpy": [value.dtype.str, _pack(item)]}
    text = name_value(value)
    return {"object": text if isinstance(text, str) else repr(text)}


def _unpack(packed: Any) -> Any:
    if not isinstance(packed, dict):
        return packed
    ((kind, content),) = packed.items()
    if kind == "float":
        return float(content)
    if kind == "numpy":
        return np.dtype(content[0]).type(_unpack(content[1]))
    if kind in ("list", "tuple"):
        items = [_unpack(item) for item in content]
        return items if kind == "list" else tuple(items)
    if kind == "dict":
        return {_unpack(key): _unpack(item) for key, item in content}
    return StoredObject(content)


def _pack_distribution(distribution: Any) -> dict[str, Any]:
    """The name and the arguments of one of scipy.stats; of any other the text."""
    try:
        args = [float(value) for value in distribution.args]
        kwds = {name: float(value) for name, value in distribution.kwds.items()}
        return {"name": distribution.dist.name, "args": args, "kwds": kwds}
    except (AttributeError, TypeError, ValueError):
        return {"object": repr(distribution)}


def pack_space(space: Space) -> dict[str, Any]:
    """The parameters by name, as JSON."""
    return {
        dimension.name: {
            **_pack_parameter(dimension.parameter),
            "when": {space.names[p]: _pack_levels(levels) for p, levels in dimension.parents},
        }
        for dimension in space.dimensions
    }


def _pack_levels(levels: Levels) -> Any:
    if isinstance(levels, range):
        return {"range": [levels.start, levels.stop, levels.step]}
    return list(levels)


def _unpack_levels(parent: Float | Int | Categorical, packed: Any) -> Any:
    """The values of the levels; many integers, evenly spaced, are a range again."""
    levels = range(*packed["range"]) if isinstance(packed, dict) else packed
    if isinstance(levels, range) and not isinstance(parent, Categorical):
        first, second, last = (parent.value(levels[i]) for i in (0, 1, -1))
        if first == int(first) and second == int(second):
            return range(int(first), int(last) + 1, int(second - first))
    return [parent.value(level) for level in levels]


def _pack_parameter(parameter: Float | Int | Categorical) -> dict[str, Any]:
    packed: dict[str, Any] = {"type": type(parameter).__name__}
    if isinstance(parameter, Categorical):
        packed["choices"] = [_pack(choice) for choice in parameter.choices]
        initial = None if parameter.initial is None else parameter.index(parameter.initial)
        return {**packed, "initial": initial}
    distribution = getattr(parameter, "distribution", None)
    if distribution is not None:
        packed["distribution"] = _pack_distribution(distribution)
    else:
        packed |= {"low": parameter.low, "high": parameter.high}
        packed |= {"log": bool(parameter.log), "step": parameter.step}
    return {**packed, "initial": parameter.initial}


def unpack_space(packed: Mapping[str, Mapping[str, Any]]) -> Space:
    """The inverse of :func:`pack_space`.

    Raises
    ------
    ValueError
        For a distribution that is not one of scipy.stats.
    """
    arguments = {name: _arguments(name, parameter) for name, parameter in packed.items()}
    kinds = {"Float": Float, "Int": Int, "Categorical": Categorical}
    alone = {name: kinds[packed[name]["type"]](**options) for name, options in arguments.items()}
    parameters = {}
    for name, options in arguments.items():
        when = {
            parent: _unpack_levels(alone[parent], levels)
            for parent, levels in packed[name]["when"].items()
        }
        parameters[name] = kinds[packed[name]["type"]](**options, when=when or None)
    return Space(parameters)


def _arguments(name: str, packed: Mapping[str, Any]) -> dict[str, Any]:
    if packed["type"] == "Categorical":
        choices = [_unpack(choice) for choice in packed["choices"]]
        initial = packed["initial"]
        return {"choices": choices, "initial": None if initial is None else choices[initial]}
    if "distribution" not in packed:
        return {key: packed[key] for key in ("low", "high", "log", "step", "initial")}
    distribution = packed["distribution"]
    if "object" in distribution:
        raise ValueError(
            f"{name!r} has a distribution that a file cannot hold, {distribution['object']}; open "
            "the study with tune.Study and its space"
        )
    import scipy.stats

    made = getattr(scipy.stats, distribution["name"])(*distribution["args"], **distribution["kwds"])
    return {"low": made, "initial": packed["initial"]}


def has_objects(packed: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether stand-ins come back for some choices."""

    def holds(value: Any) -> bool:
        if isinstance(value, list):
            return any(map(holds, value))
        return isinstance(value, dict) and ("object" in value or any(map(holds, value.values())))

    return any(holds(parameter.get("choices", [])) for parameter in packed.values())
