"""Optimizers of pytorch_optimizer that torch does not have."""

import math
from typing import Any, ClassVar

import torch
from torch.optim.optimizer import ParamsT

from fastopt._core import Rule
from fastopt.integrations.torch.groups import count_of, number, numbers, require
from fastopt.integrations.torch.packages import (
    DECAYS_BY_LR,
    Only,
    Packaged,
    nonnegative,
    settings_in,
)
from fastopt.integrations.torch.storage import Group

__all__ = ["AdEMAMix", "StableAdamW"]


class _GroupsCount(Packaged):
    """What both share: groups count, and say how weights decay."""

    _counted_by_group = "step"

    def _hypers(self, rule: Rule, group: Group) -> dict[str, Any]:
        require(group, ("weight_decay", "weight_decouple"))
        if number(group["weight_decay"]) > 0 and not group["weight_decouple"]:
            raise ValueError(
                "weight_decouple must be True with a weight_decay, since fastopt's decay of this "
                f"rule is decoupled; got {group['weight_decouple']!r}"
            )
        return super()._hypers(rule, group)


class AdEMAMix(_GroupsCount, torch.optim.Optimizer):
    """`pytorch_optimizer.AdEMAMix` with fastopt's step, the equation of `fastopt.ademamix`.

    As in pytorch_optimizer, each group counts its steps as ``"step"``, and all its parameters are
    stepped with that count.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
    lr : float, default 1e-3
    betas : tuple of float, default (0.9, 0.999, 0.9999)
        For the fast average of gradients, for that of their squares, and for the slow average.
    weight_decay : float, default 0
    weight_decouple : bool, default False
        Must be True if weight_decay is not 0.
    fixed_decay : bool, default False
        Must be False.
    alpha : float, default 5.0
        The weight of the slow average.
    t_alpha_beta3 : float, optional
        In how many steps alpha, and the slow average's beta, rise to their values.
    eps : float, default 1e-8
    maximize, foreach, state_format, master_weights, rounding, seed
        As in the other classes of this module.

    Examples
    --------
    >>> import torch
    >>> from fastopt.integrations.torch import AdEMAMix
    >>> weight = torch.ones(3, requires_grad=True)
    >>> opt = AdEMAMix([weight], lr=0.25, t_alpha_beta3=1000)
    >>> weight.sum().backward()
    >>> opt.step()
    >>> [round(value, 4) for value in weight.tolist()]
    [0.7499, 0.7499, 0.7499]
    """

    __module__ = "fastopt.integrations.torch"
    _rule_name = "ademamix"
    _only: ClassVar[Only] = {"fixed_decay": (False, DECAYS_BY_LR)}

    def __init__(
        self,
        params: ParamsT,
        lr: float | torch.Tensor = 1e-3,
        betas: tuple[float, float, float] = (0.9, 0.999, 0.9999),
        weight_decay: float = 0.0,
        weight_decouple: bool = False,
        fixed_decay: bool = False,
        alpha: float = 5.0,
        t_alpha_beta3: float | None = None,
        eps: float = 1e-8,
        maximize: bool = False,
        foreach: bool | None = None,
        **storage: Any,
    ) -> None:
        super().__init__(params, settings_in(locals()) | {"step": 0}, **storage)

    def _is_scheduled(self, group: Group) -> bool:
        return group.get("t_alpha_beta3") is not None

    def _hypers(self, rule: Rule, group: Group) -> dict[str, Any]:
        require(group, ("betas", "alpha", "t_alpha_beta3"))
        beta1, beta2, beta3 = numbers("betas", group["betas"], 3)
        alpha, steps = nonnegative(group, "alpha"), number(group["t_alpha_beta3"])
        if steps is not None:
            if not (steps > 0 and 0 < beta1 < 1 and 0 < beta3 < 1):
                raise ValueError(
                    "t_alpha_beta3 must be None, or above 0 with betas[0] and betas[2] between 0 "
                    f"and 1; got {steps!r} and {group['betas']!r}"
                )
            part = (count_of(group, "step") + 1) / steps
            start, end = math.log(beta1), math.log(beta3)
            alpha = min(part * alpha, alpha)
            beta3 = min(math.exp(start * end / ((1 - part) * end + part * start)), beta3)
        hypers = super()._hypers(rule, {**group, "betas": (beta1, beta2)})
        return hypers | {"beta3": beta3, "slow_weight": alpha}


class StableAdamW(_GroupsCount, torch.optim.Optimizer):
    """`pytorch_optimizer.StableAdamW` with fastopt's step, the equation of `fastopt.stableadamw`.

    Each group counts its steps, as `AdEMAMix` does.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        A parameter must be whole, since its step depends on a mean over all its elements.
    lr : float, default 1e-3
    betas : tuple of float, default (0.9, 0.99)
    kahan_sum : bool, default True
        Makes no difference: ``master_weights`` is what keeps small updates of bfloat16.
    weight_decay : float, default 0.01
    weight_decouple : bool, default True
        As in `AdEMAMix`.
    eps : float, default 1e-8
        Also the least root by which a gradient is divided for that mean.
    maximize, foreach, state_format, master_weights, rounding, seed
        As in the other classes of this module.

    Examples
    --------
    >>> import torch
    >>> from fastopt.integrations.torch import StableAdamW
    >>> weight = torch.ones(2, requires_grad=True)
    >>> weight.grad = torch.tensor([1.0, -3.0])
    >>> opt = StableAdamW([weight], lr=0.25, weight_decay=0.0)
    >>> opt.step()
    >>> [round(value, 6) for value in weight.tolist()]
    [0.75, 1.25]
    """

    __module__ = "fastopt.integrations.torch"
    _rule_name = "stableadamw"

    def __init__(
        self,
        params: ParamsT,
        lr: float | torch.Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.99),
        kahan_sum: bool = True,
        weight_decay: float = 1e-2,
        weight_decouple: bool = True,
        eps: float = 1e-8,
        foreach: bool | None = None,
        maximize: bool = False,
        **storage: Any,
    ) -> None:
        super().__init__(params, settings_in(locals()) | {"step": 0}, **storage)
