"""What a study's file holds of a space and of params: plain JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from fastopt.tune.space.categorical import Categorical
from fastopt.tune.space.levels import compact
from fastopt.tune.space.number import Float, Int
from fastopt.tune.space.space import Space

__all__ = [
    "describe",
    "differences",
    "lineage_from_json",
    "lineage_to_json",
    "name_strategy",
    "name_value",
    "params_from_json",
    "params_to_json",
]


def _is_plain(value: Any) -> bool:
    if type(value) is float:
        return math.isfinite(value)
    return value is None or type(value) in (bool, int, str)


def params_to_json(space: Space, params: Mapping[str, Any]) -> str:
    """The params as JSON; Python writes floats so that they read back to the same bits."""
    record = {}
    for name, value in params.items():
        if not _is_plain(value):
            value = {"choice": space.parameters[name].index(value)}
        record[name] = value
    return json.dumps(record)


def params_from_json(space: Space, text: str) -> dict[str, Any]:
    """The inverse of :func:`params_to_json`; containers among the choices are copies."""
    params = {}
    for name, value in json.loads(text).items():
        parameter = space.parameters[name]
        if isinstance(value, dict):
            value = parameter.value(value["choice"])
        elif isinstance(parameter, Categorical):
            value = parameter.check(value)
        params[name] = value
    return params


def lineage_to_json(space: Space, lineage: Sequence[Mapping[str, Any]]) -> str:
    """What became of a trial's params, as JSON."""
    return json.dumps([{**c, "params": params_to_json(space, c["params"])} for c in lineage])


def lineage_from_json(space: Space, text: str) -> list[dict[str, Any]]:
    """The inverse of :func:`lineage_to_json`."""
    return [{**c, "params": params_from_json(space, c["params"])} for c in json.loads(text)]


class _Text(str):
    """A text that is its own repr."""

    __repr__ = str.__str__


def _ordered(value: Any) -> Any:
    """``value`` with texts in place of its sets, which each process orders in its own way."""
    if type(value) in (set, frozenset) and value:
        text = ", ".join(sorted(repr(_ordered(item)) for item in value))
        return _Text(f"{{{text}}}" if type(value) is set else f"frozenset({{{text}}})")
    if type(value) is dict:
        return {_ordered(key): _ordered(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_ordered, value))
    return value


def name_value(value: Any) -> Any:
    """JSON for a value that is only ever compared: the same in every process."""
    if _is_plain(value):
        return value
    if isinstance(value, (list, tuple)):
        return [name_value(item) for item in value]
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    text = repr(_ordered(value))
    # The default repr holds an address, which no other process shares.
    return f"{type(value).__module__}.{type(value).__qualname__}" if " at 0x" in text else text


def _describe(parameter: Float | Int | Categorical) -> dict[str, Any]:
    record: dict[str, Any] = {"type": type(parameter).__name__}
    if isinstance(parameter, Categorical):
        record["choices"] = [name_value(choice) for choice in parameter.choices]
    else:
        record |= {"low": parameter.low, "high": parameter.high}
        record |= {"log": bool(parameter.log), "step": parameter.step}
    distribution = getattr(parameter, "distribution", None)
    if distribution is not None:
        # Bounds may be infinite, which JSON lacks; the distribution says everything.
        record |= {"low": None, "high": None, "distribution": _name_distribution(distribution)}
    record["initial"] = name_value(parameter.initial)
    if parameter.when is not None:
        record["when"] = {
            parent: _name_allowed(values) for parent, values in parameter.when.items()
        }
    return record


def _name_allowed(values: Any) -> Any:
    """JSON for what a condition allows."""
    if isinstance(values, (set, frozenset)):
        return name_value(sorted(values, key=repr))
    if isinstance(values, np.ndarray) and values.ndim == 1:
        listed = values.tolist()
        return name_value(compact(listed) if values.dtype.kind in "iu" else listed)
    return name_value(values)


def _name_distribution(distribution: Any) -> Any:
    if not hasattr(distribution, "dist"):
        return name_value(distribution)
    arguments = [*distribution.args, *sorted(distribution.kwds.items())]
    return [distribution.dist.name, repr(arguments)]


def name_strategy(strategy: Any) -> Any:
    """The strategy with the options that are not at their defaults.

    An option that a later version adds is at its default in a study of an earlier one.
    """
    if not is_dataclass(strategy):
        return name_value(strategy)
    given = [
        f"{field.name}={name_value(value)!r}"
        for field in fields(strategy)
        if field.init and repr(value := getattr(strategy, field.name)) != repr(field.default)
    ]
    return f"{type(strategy).__name__}({', '.join(given)})"


def describe(space: Space, strategy: Any, directions: Sequence[str], seed: int) -> dict[str, Any]:
    """All that must be the same for a study to be resumed."""
    return {
        "space": {name: _describe(parameter) for name, parameter in space.parameters.items()},
        "strategy": name_strategy(strategy),
        "direction": directions[0] if len(directions) == 1 else list(directions),
        "seed": seed,
    }


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """One line for each difference of two descriptions."""
    lines = [
        f"{field}: {there[field]!r} there, {here[field]!r} here"
        for field in ("strategy", "direction", "seed")
        if there[field] != here[field]
    ]
    old, new = there["space"], here["space"]
    compared = _comparable(there, here)
    for name in {**old, **new}:
        if compared[0].get(name) != compared[1].get(name):
            shown = [
                ", ".join(f"{k}={v!r}" for k, v in side[name].items()) if name in side else "absent"
                for side in (old, new)
            ]
            lines.append(f"space, {name!r}: {shown[0]} there, {shown[1]} here")
    if not lines and list(old) != list(new):
        lines.append(f"space: order {list(old)} there, {list(new)} here")
    return lines


def _comparable(*descriptions: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The parameters of each, with what their conditions allow as levels, and a distribution's
    arguments as floats.

    A condition may be written as a value, a list or a range: ``when={"rule": "adam"}`` and
    ``{"rule": ["adam"]}`` are the same. Files of earlier versions have no levels.
    """
    spaces = [description["space"] for description in descriptions]
    if not all("restore" in description for description in descriptions):
        return spaces
    return [
        {
            name: {**record, **_same_however_written(description["restore"]["space"][name])}
            for name, record in space.items()
        }
        for space, description in zip(spaces, descriptions, strict=True)
    ]


def _same_however_written(packed: Mapping[str, Any]) -> dict[str, Any]:
    same = {
        "when": packed["when"],
        # True equals 1, but is another choice.
        "flags": [isinstance(choice, bool) for choice in packed.get("choices", ())],
    }
    if "name" in packed.get("distribution", ()):  # else it is the text of an object
        same["distribution"] = packed["distribution"]
    return same
