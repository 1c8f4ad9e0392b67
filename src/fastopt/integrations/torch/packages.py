"""What the optimizers share that torch does not have, in the form of the packages that have them.

A class takes the settings of its package's class, under their names, and but for LARS it keeps the
same states. So state dictionaries are interchangeable, and neither package needs the other.
"""

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar, TypeAlias

from fastopt import RULES
from fastopt._core import Rule
from fastopt._rule_names import RuleName
from fastopt.integrations.torch.groups import number, require
from fastopt.integrations.torch.stepping import Stepping
from fastopt.integrations.torch.storage import PARAMETERS, Group

__all__ = ["DECAYS_BY_LR", "Only", "Packaged", "nonnegative", "settings_in"]

# Settings that must have this value, and why
Only: TypeAlias = Mapping[str, tuple[Any, str]]

DECAYS_BY_LR = (
    "fastopt's decay is by lr alone; a schedule of weight_decay in the groups gives the same"
)


class Packaged(Stepping):
    """What the classes share: how they are made, and which settings have one value only.

    A constructor takes the settings of its package, and passes ``**storage`` on. The signature has
    the keywords of all classes there.
    """

    _rule_name: ClassVar[RuleName]

    _only: ClassVar[Only] = {}

    # Settings that are the same in all groups
    _shared: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = inspect.signature(cls.__init__)
        *settings, last = own.parameters.values()
        if "__init__" in vars(cls) and last.name == "storage":
            cls.__init__.__signature__ = own.replace(  # type: ignore[attr-defined]
                parameters=[*settings, *PARAMETERS]
            )

    def _rule(self, group: Group) -> Rule:
        return RULES[self._rule_name]

    def _refusals(self, group: Group) -> tuple[str | None, str | None]:
        return f"{type(self).__name__} does not support sparse gradients", None

    def _hypers(self, rule: Rule, group: Group) -> dict[str, Any]:
        for name, (only, reason) in self._only.items():
            if group.get(name, only) != only:
                raise ValueError(f"{name} must be {only}, got {group[name]!r}: {reason}")
        require(group, self._shared)
        first = self.param_groups[0]
        for name in self._shared:
            if group is not first and _plain(group[name]) != _plain(first.get(name)):
                raise ValueError(
                    f"{name} must be the same in all groups, which are stepped with one; got "
                    f"{first.get(name)!r} and {group[name]!r}"
                )
        return super()._hypers(rule, group)

    def _restore_formats(self, loaded: dict[str, Any], known: list[Group]) -> None:
        super()._restore_formats(loaded, known)
        # What dictionaries of other versions and packages lack stays as it was.
        for group, before in zip(self.param_groups, known, strict=True):
            for name in self.defaults.keys() & before.keys():
                group.setdefault(name, before[name])


def _plain(value: Any) -> Any:
    """A setting that can be compared: numbers for tensors, a tuple for a list."""
    value = number(value)
    return tuple(map(number, value)) if isinstance(value, (list, tuple)) else value


def settings_in(names: Mapping[str, Any]) -> dict[str, Any]:
    """The settings among the local names of a constructor."""
    others = {"self", "params", "storage", "__class__"}
    return {name: value for name, value in names.items() if name not in others}


def nonnegative(group: Group, name: str) -> Any:
    """A setting that the rule calls otherwise, so that an error has the name of the group."""
    value = number(group[name])
    if not value >= 0:
        raise ValueError(f"{name} must be >= 0, got {group[name]!r}")
    return value
