"""Parameter groups, which the caller may edit: arrays, hyper-parameters, the rate of a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastopt import _checks
from fastopt._core import Rule, Snapshot
from fastopt._formats import KEYWORDS, emas_of
from fastopt._habits import advice
from fastopt._trees import flatten, map_arrays, match, settled

__all__ = [
    "ParameterGroups",
    "complete",
    "flags",
    "is_schedule",
    "rate",
    "refuse_unknown",
    "with_rates",
]

# Keys of a group that torch's schedulers and users know; a step does not read them.
_NOTES = ("name", "initial_lr")
# Keywords of the classes of which a group may have its own
_OWN = ("ema",)


class ParameterGroups:
    """The groups of an optimizer, and their arrays in the order in which they are stepped.

    The caller may edit the groups. Each step compares the objects in them with those that were
    there when they were last looked at (``seen``), and looks again only where one has changed.

    Parameters
    ----------
    groups
    grouped : bool
        Whether there may be more than one.
    default_ema : float or None
        The ``ema`` of groups that have none of their own.
    """

    __slots__ = (
        "_containers",
        "_trees",
        "arrays",
        "default_ema",
        "ema",
        "grouped",
        "groups",
        "has_scalars",
        "names",
        "owners",
        "scheduled",
        "seen",
        "takes_array",
        "takes_list",
    )

    def __init__(
        self, groups: list[dict[str, Any]], grouped: bool, default_ema: float | None
    ) -> None:
        self.grouped = grouped
        self.default_ema = default_ema
        self.arrays, self.names, self.owners = _flatten_groups(groups, grouped)
        if not self.arrays:
            raise ValueError("params must hold at least one array, got none")
        for array, name in zip(self.arrays, self.names, strict=True):
            if isinstance(array, np.generic):
                raise TypeError(
                    f"{name} must be a numpy.ndarray, got {type(array).__name__}, which cannot be "
                    "changed in place; numpy.array makes one of it"
                )
            if not isinstance(array, np.ndarray):
                raise TypeError(
                    f"{name} must be a numpy.ndarray, got {type(array).__name__}{_remedy(array)}"
                )
        self.has_scalars = any(array.ndim == 0 for array in self.arrays)
        self.ema = emas_of(groups, default_ema, "param_groups")
        self._adopt(groups)

    def exchange(self, groups: Any) -> None:
        """Take over other groups of the same arrays."""
        _require_same_arrays(groups, self.grouped, self.arrays, self.names, self._trees)
        self.ema = self._changed_emas(groups)
        self._adopt(groups)

    def _changed_emas(self, groups: list[dict[str, Any]]) -> list[float | None]:
        """The shares of edited groups, checked: averages can neither be begun nor ended."""
        found = emas_of(groups, self.default_ema, "param_groups")
        for index, (share, before) in enumerate(zip(found, self.ema, strict=True)):
            if (share is None) != (before is None):
                raise ValueError(
                    f"ema of param_groups[{index}] cannot be changed from {before} to {share}, "
                    "since averages are made at construction; make a new optimizer, and load the "
                    "state of this one with convert=True"
                )
        return found

    def _adopt(self, groups: list[dict[str, Any]]) -> None:
        """Note what the groups hold."""
        self.groups = groups
        trees = [group["params"] for group in groups]
        containers = [tree for tree in trees if isinstance(tree, (list, dict))]
        self._trees = trees
        self._containers = Snapshot(containers)
        self.seen = Snapshot([groups, *groups, *containers])
        self.scheduled = any(is_schedule(group.get("lr")) for group in groups)
        # The usual shapes of gradients need no tree walked.
        is_plain = not self.grouped and not self.has_scalars
        self.takes_list = is_plain and isinstance(trees[0], list)
        self.takes_array = is_plain and isinstance(trees[0], np.ndarray)

    def look(self) -> None:
        """Take over edited hyper-parameters; refuse edited arrays."""
        if self.seen.holds():
            return
        groups = self.groups
        if (
            type(groups) is not list
            or len(groups) != len(self._trees)
            or not all(map(_is_group_of, groups, self._trees))
            or not self._containers.holds()
        ):
            _require_same_arrays(groups, self.grouped, self.arrays, self.names, self._trees)
        self.ema = self._changed_emas(groups)
        for group in groups:
            _as_python_bools(group)
        self._adopt(groups)

    def like(self, arrays: Sequence[Any]) -> Any:
        """Arrays, one for each of the parameters in order, in the structure of the parameters."""
        found = iter(arrays)
        trees = [map_arrays(lambda _: next(found), tree) for tree in self._trees]
        return trees if self.grouped else trees[0]

    def flat_grads(self, grads: Any, name: str = "grads") -> list[Any]:
        """The gradients, or other arrays, as a flat list in the order of the parameters."""
        if not self.grouped:
            flat = match(grads, self._trees[0], name)
        else:
            if not isinstance(grads, (list, tuple)) or len(grads) != len(self._trees):
                raise ValueError(
                    f"{name} must be a list with an entry for each of the {len(self._trees)} groups"
                )
            flat = []
            for index, (tree, params) in enumerate(zip(grads, self._trees, strict=True)):
                if isinstance(tree, dict) and "params" in tree:
                    tree = tree["params"]
                flat += match(tree, params, f"{name}[{index}]")
        if self.has_scalars and name == "grads":
            # Arithmetic on an array without dimensions gives a scalar.
            flat = [np.asarray(grad) if isinstance(grad, np.generic) else grad for grad in flat]
        return flat


def is_schedule(lr: Any) -> bool:
    """Whether a learning rate is a function of the step."""
    return callable(lr) and not isinstance(lr, type)


def rate(lr: Any, step: int) -> Any:
    """The learning rate of a step: the number itself, or what the schedule gives."""
    if not is_schedule(lr):
        return lr
    value = lr(step)
    # Schedules of other libraries give arrays without dimensions.
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()
    return _checks.number(f"lr({step})", value, least=0)


def with_rates(groups: Sequence[Mapping[str, Any]], step: int) -> list[dict[str, Any]]:
    """The groups with the rates of a step in place of schedules."""
    return [
        {**group, "lr": rate(group["lr"], step)} if "lr" in group else dict(group)
        for group in groups
    ]


def flags(rule: Rule) -> list[str]:
    """The keywords of the class that switch a state on and are nothing else."""
    return [name for name in rule.optional.values() if name not in rule.hypers]


def complete(rule: Rule, defaults: Mapping[str, Any], group: Mapping[str, Any]) -> dict[str, Any]:
    """A group with all its hyper-parameters, in the order of the table."""
    given = {**defaults, **group}
    params = settled(given.pop("params"))
    refuse_unknown(rule, given, (*_NOTES, *_OWN))
    for name in rule.class_hypers:
        if given[name] is None:
            raise TypeError(f"{rule.class_name}() needs the keyword argument {name}")
    _as_python_bools(given)
    for name in flags(rule):
        _checks.flag(name, given[name])
    if rule.initial_value is not None:
        _checks.number(rule.initial_value, given[rule.initial_value], least=0)
    notes = {name: given[name] for name in (*_OWN, *_NOTES) if name in given}
    return {"params": params, **{name: given[name] for name in rule.class_hypers}, **notes}


def _require_same_arrays(
    groups: Any,
    grouped: bool,
    own: Sequence[Any],
    own_names: Sequence[str],
    own_trees: Sequence[Any],
) -> None:
    """Raise if edited groups hold other arrays than the optimizer's; the message names one."""
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
    params, names, _ = _flatten_groups(groups, grouped)
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


def _flatten_groups(
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


def _remedy(array: Any) -> str:
    """What helps where something else is in the place of an array, if anything is known to."""
    if isinstance(array, (list, tuple, dict)):
        return "; params is one list or dict of arrays, without others inside: flatten it"
    if type(array).__module__.partition(".")[0] == "torch":
        return "; fastopt.integrations.torch has optimizers of tensors"
    return ""


def _is_group_of(group: Any, params: Any) -> bool:
    return type(group) is dict and group.get("params") is params


def _as_python_bools(group: dict[str, Any]) -> None:
    for name, value in group.items():
        if isinstance(value, np.bool_):
            group[name] = bool(value)


def refuse_unknown(rule: Rule, given: Mapping[str, Any], allowed: Sequence[str] = ()) -> None:
    offered = [*rule.class_hypers, *allowed]
    for name in given:
        if name in offered:
            continue
        hint = (
            "it is given to the optimizer, for all groups together."
            if name in KEYWORDS
            else advice(name, offered)
        )
        raise TypeError(
            f"{rule.class_name}() got an unexpected keyword argument {name!r}"
            f"{': ' + hint if hint else '.'} It takes {', '.join(offered)}"
        )
