"""What a group of torch's says, by the names of the rule that steps it."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from fastopt._core import Rule
from fastopt.integrations.torch.sharded import is_part, is_sharded
from fastopt.integrations.torch.storage import TORCH_STATES, Group

# Of rules' hyper-parameters that torch has in pairs
PAIRS = {
    "betas": ("beta1", "beta2"),
    "etas": ("eta_minus", "eta_plus"),
    "step_sizes": ("step_size_min", "step_size_max"),
}


def state_names(rule: Rule, group: Group) -> list[str]:
    names = [TORCH_STATES.get(state, state) for state in rule.states]
    return [*names, *(name for name, switch in rule.optional.items() if group.get(switch))]


def squares_of(rule: Rule, names: Sequence[str]) -> set[str]:
    """Those of a rule's states, under torch's names, that are of squares."""
    own = (*rule.states, *rule.optional)
    return {name for name, state in zip(names, own, strict=False) if state in rule.squares}


def optional_states(rule: Rule, group: Group) -> int:
    """The set of the optional states of a group, in bits."""
    return sum(1 << k for k, switch in enumerate(rule.optional.values()) if group.get(switch))


def require(group: Group, names: Iterable[str]) -> None:
    for name in names:
        if name not in group:
            raise ValueError(f"a parameter group must have {name!r}, got {sorted(group)}")


def hypers_of(rule: Rule, group: Group, defaults: dict[str, Any]) -> dict[str, Any]:
    """A group's hyper-parameters by the rule's names; the rule's defaults for those torch lacks."""
    for name in ("capturable", "differentiable"):
        if group.get(name):
            raise ValueError(f"{name} must be False, fastopt has no such step; got {group[name]!r}")
    hypers = dict(rule.class_hypers)
    require(group, [name for name in (*hypers, *PAIRS) if name in defaults])
    for name, default in hypers.items():
        if name in group and name in defaults:
            # torch accepts any object as a flag.
            hypers[name] = bool(group[name]) if isinstance(default, bool) else number(group[name])
    for pair, own in PAIRS.items():
        if own[0] in hypers:
            hypers.update(zip(own, numbers(pair, group[pair], 2), strict=True))
    if "decoupled" in hypers:
        hypers["decoupled"] = bool(group.get("decoupled_weight_decay"))
    if rule.takes_norms and any(map(is_part, group["params"])):
        raise ValueError(
            f"params must be whole for {rule.name}, whose step depends on norms of each; got one "
            "that is sharded"
        )
    if group.get("cautious"):
        _check_cautious(rule, group)
    if "cautious" in hypers:
        hypers["cautious"] = group.get("cautious", False)
    return hypers


def _check_cautious(rule: Rule, group: Group) -> None:
    if "cautious" not in rule.class_hypers:
        remedy = "; give it a momentum" if rule.name == "sgd" else ""
        raise ValueError(
            f"cautious must be False for {rule.name}, which has no such step{remedy}; "
            f"got {group['cautious']!r}"
        )
    if any(map(is_sharded, group["params"])):
        raise ValueError(
            "cautious must be False for DTensors, since a cautious step depends on the whole of a "
            f"parameter; got {group['cautious']!r}"
        )


def count_of(group: Group, name: str) -> int:
    """How many steps a group has counted."""
    require(group, [name])
    count = number(group[name])
    is_number = isinstance(count, (int, float)) and not isinstance(count, bool)
    if not (is_number and count >= 0 and count % 1 == 0):
        raise ValueError(f"{name} must be an integer >= 0, got {group[name]!r}")
    return int(count)


def numbers(name: str, values: Any, count: int) -> list[Any]:
    found = [number(value) for value in values] if isinstance(values, Iterable) else []
    if len(found) != count:
        raise ValueError(f"{name} must be {_WRITTEN[count]} numbers, got {values!r}")
    return found


_WRITTEN = {2: "two", 3: "three"}


def number(value: Any) -> Any:
    """The number in a tensor; any other value itself."""
    return value.item() if isinstance(value, torch.Tensor) else value
