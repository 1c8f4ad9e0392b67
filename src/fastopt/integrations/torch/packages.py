"""Optimizers that torch does not have, in the form of the packages that have them.

A class takes the settings of its package's class, under their names, and keeps the same states. So
state dictionaries are interchangeable, and neither package needs the other.
"""

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar, TypeAlias

import torch
from torch.optim.optimizer import ParamsT

from fastopt import RULES
from fastopt._core import Rule
from fastopt._rule_names import RuleName
from fastopt.integrations.torch.stepping import Stepping
from fastopt.integrations.torch.storage import PARAMETERS, Group

__all__ = ["Lion", "Only", "Packaged", "settings_in"]

# Settings that must have this value, and why
Only: TypeAlias = Mapping[str, tuple[Any, str]]

_BY_LR = "fastopt's decay is by lr alone; a schedule of weight_decay in the groups gives the same"


class Packaged(Stepping):
    """What the classes share: how they are made, and which settings have one value only.

    A constructor takes the settings of its package, and passes ``**storage`` on. The signature has
    the keywords of all classes there.
    """

    _rule_name: ClassVar[RuleName]

    _only: ClassVar[Only] = {}

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
        return super()._hypers(rule, group)

    def _restore_formats(self, loaded: dict[str, Any], known: list[Group]) -> None:
        super()._restore_formats(loaded, known)
        # What dictionaries of other versions and packages lack stays as it was.
        for group, before in zip(self.param_groups, known, strict=True):
            for name in self.defaults.keys() & before.keys():
                group.setdefault(name, before[name])


def settings_in(names: Mapping[str, Any]) -> dict[str, Any]:
    """The settings among the local names of a constructor."""
    others = {"self", "params", "storage", "__class__"}
    return {name: value for name, value in names.items() if name not in others}


class Lion(Packaged, torch.optim.Optimizer):
    """`timm.optim.Lion` with fastopt's step, the equation of `fastopt.lion`.

    The first settings are also those of the package lion-pytorch, whose state dictionaries are
    taken, too.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
    lr : float, default 1e-4
        To be 3 to 10 times smaller than for AdamW, since every step has the same size.
    betas : tuple of float, default (0.9, 0.99)
        For the step, and for the average of gradients.
    weight_decay : float, default 0
        Decoupled; to be as many times larger than for AdamW.
    caution : bool, default False
        Leave elements where they are whose step goes against the gradient, as ``cautious`` of
        `fastopt.Lion`.
    corrected_weight_decay : bool, default False
        Must be False.
    maximize : bool, default False
    foreach, state_format, master_weights, rounding, seed
        As in the other classes of this module.

    Examples
    --------
    >>> import torch
    >>> from fastopt.integrations.torch import Lion
    >>> weight = torch.ones(3, requires_grad=True)
    >>> opt = Lion([weight], lr=0.25)
    >>> weight.sum().backward()
    >>> opt.step()
    >>> weight.tolist()
    [0.75, 0.75, 0.75]
    """

    __module__ = "fastopt.integrations.torch"
    _rule_name = "lion"
    _counts = False
    _only: ClassVar[Only] = {"corrected_weight_decay": (False, _BY_LR)}

    def __init__(
        self,
        params: ParamsT,
        lr: float | torch.Tensor = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        caution: bool = False,
        corrected_weight_decay: bool = False,
        maximize: bool = False,
        foreach: bool | None = None,
        **storage: Any,
    ) -> None:
        super().__init__(params, settings_in(locals()), **storage)

    def _hypers(self, rule: Rule, group: Group) -> dict[str, Any]:
        cautious = bool(group.get("caution") or group.get("cautious"))
        return super()._hypers(rule, {**group, "cautious": cautious})
