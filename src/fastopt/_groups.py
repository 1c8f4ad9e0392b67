"""Parameter groups: dicts of arrays and hyper-parameters, which the caller may edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastopt import _checkpoint, _checks
from fastopt._core import Rule
from fastopt._habits import advice
from fastopt._trees import flatten, settled

__all__ = [
    "as_python_bools",
    "complete",
    "flatten_groups",
    "is_group_of",
    "refuse_unknown",
    "require_same_arrays",
    "with_rates",
]

# Keys of a group that torch's schedulers and users know; a step does not read them.
_NOTES = ("name", "initial_lr")


def complete(rule: Rule, defaults: Mapping[str, Any], group: Mapping[str, Any]) -> dict[str, Any]:
    """A group with all its hyper-parameters, in the order of the table."""
    given = {**defaults, **group}
    params = settled(given.pop("params"))
    refuse_unknown(rule, given, _NOTES)
    for name in rule.class_hypers:
        if given[name] is None:
            raise TypeError(f"{rule.class_name}() needs the keyword argument {name}")
    as_python_bools(given)
    if rule.optional_flag is not None:
        _checks.flag(rule.optional_flag, given[rule.optional_flag])
    if rule.initial_value is not None:
        _checks.number(rule.initial_value, given[rule.initial_value], least=0)
    notes = {name: given[name] for name in _NOTES if name in given}
    return {"params": params, **{name: given[name] for name in rule.class_hypers}, **notes}


def require_same_arrays(
    groups: Any,
    grouped: bool,
    own: Sequence[Any],
    own_names: Sequence[str],
    own_trees: Sequence[Any],
) -> None:
    """An error, by name, if edited groups hold other arrays than those of the optimizer."""
    remedy = "add_param_group adds arrays; make a new optimizer to take some away"
    if not isinstance(groups, list):
        raise TypeError(f"param_groups must be a list, got {type(groups).__name__}")
    if len(groups) != len(own_trees):
        raise ValueError(
            f"param_groups must have its {len(own_trees)} groups, got {len(groups)}; {remedy}"
        )
    for index, group in enumerate(groups):
        if not isinstance(group, dict) or "params" not in group:
            raise ValueError(f"param_groups[{index}] must be a dict with 'params', got {group!r}")
    params, names, _ = flatten_groups(groups, grouped)
    for array, name, mine, its_name in zip(params, names, own, own_names, strict=False):
        if array is not mine or name != its_name:
            raise ValueError(
                f"{name} in param_groups is not the array that the optimizer was made with; "
                f"write into that one ({its_name}[...] = new), or make a new optimizer"
            )
    if len(params) != len(own):
        raise ValueError(
            f"param_groups must have its {len(own)} arrays, got {len(params)}; {remedy}"
        )


def flatten_groups(
    groups: Sequence[Mapping[str, Any]], grouped: bool
) -> tuple[list[Any], list[str], list[int]]:
    """All arrays, what a message calls each, and the index of its group."""
    params: list[Any] = []
    names: list[str] = []
    owners: list[int] = []
    for index, group in enumerate(groups):
        arrays, places = flatten(group["params"], f"params[{index}]" if grouped else "params")
        params += arrays
        names += places
        owners += [index] * len(arrays)
    return params, names, owners


def is_group_of(group: Any, params: Any) -> bool:
    return type(group) is dict and group.get("params") is params


def as_python_bools(group: dict[str, Any]) -> None:
    for name, value in group.items():
        if isinstance(value, np.bool_):
            group[name] = bool(value)


def with_rates(groups: Sequence[dict[str, Any]], step: int) -> list[dict[str, Any]]:
    return [{**group, "lr": _checkpoint.rate(group.get("lr"), step)} for group in groups]


def refuse_unknown(rule: Rule, given: Mapping[str, Any], allowed: Sequence[str] = ()) -> None:
    for name in given:
        if name in rule.class_hypers or name in allowed:
            continue
        hint = advice(name, rule.class_hypers)
        raise TypeError(
            f"{rule.class_name}() got an unexpected keyword argument {name!r}"
            f"{': ' + hint if hint else '.'} It takes {', '.join(rule.class_hypers)}"
        )
