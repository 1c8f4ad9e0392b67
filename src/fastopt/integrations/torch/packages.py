"""Optimizers that torch does not have, in the form of the packages that have them.

A class takes the settings of its package's class, under their names, and but for LARS it keeps the
same states. So state dictionaries are interchangeable, and neither package needs the other.
"""

import inspect
import math
from collections.abc import Mapping
from typing import Any, ClassVar, TypeAlias

import torch
from torch.optim.optimizer import ParamsT

from fastopt import RULES
from fastopt._core import Rule
from fastopt._rule_names import RuleName
from fastopt.integrations.torch.groups import count_of, number, numbers, require
from fastopt.integrations.torch.states import Entry
from fastopt.integrations.torch.stepping import Stepping
from fastopt.integrations.torch.storage import PARAMETERS, Group

__all__ = [
    "ADOPT",
    "LAMB",
    "LARS",
    "AdEMAMix",
    "Lion",
    "Only",
    "Packaged",
    "StableAdamW",
    "settings_in",
]

# Settings that must have this value, and why
Only: TypeAlias = Mapping[str, tuple[Any, str]]

_NO_STEP = "fastopt has no such step of this rule"
_NO_BOUND = "fastopt's trust ratio has no bound"
_BY_LR = "fastopt's decay is lr*weight_decay; set another weight_decay in the group for another one"


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
    maximize, foreach, state_format, master_weights, rounding, seed
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


class ADOPT(Packaged, torch.optim.Optimizer):
    """`timm.optim.Adopt` with fastopt's step, the equation of `fastopt.adopt`.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
    lr : float, default 1e-3
    betas : tuple of float, default (0.9, 0.9999)
        For the averages of the divided gradients, and of the gradients' squares.
    eps : float, default 1e-6
    clip_exp : float, default 0.25
        Must be 0.25, as in the authors' own code. The default of timm is 0.333.
    weight_decay : float, default 0
    decoupled : bool, default False
        Whether the decay is AdamW's; else it is added to the gradient. In the first step, which
        moves nothing else, timm leaves it out.
    corrected_weight_decay, caution : bool, default False
        Must be False.
    maximize, foreach, state_format, master_weights, rounding, seed
        As in the other classes of this module.
    capturable, differentiable : bool, default False
        Must be False.

    Examples
    --------
    >>> import torch
    >>> from fastopt.integrations.torch import ADOPT
    >>> weight = torch.ones(3, requires_grad=True)
    >>> opt = ADOPT([weight], lr=0.25)
    >>> weight.sum().backward()
    >>> for _ in range(3):  # the first step moves nothing
    ...     opt.step()
    >>> [round(value, 4) for value in weight.tolist()]
    [0.9275, 0.9275, 0.9275]
    """

    __module__ = "fastopt.integrations.torch"
    _rule_name = "adopt"
    _only: ClassVar[Only] = {
        "clip_exp": (0.25, "fastopt clips by the fourth root of the number of steps"),
        "caution": (False, _NO_STEP),
        "corrected_weight_decay": (False, _BY_LR),
    }

    def __init__(
        self,
        params: ParamsT,
        lr: float | torch.Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.9999),
        eps: float = 1e-6,
        clip_exp: float = 0.25,
        weight_decay: float = 0.0,
        decoupled: bool = False,
        corrected_weight_decay: bool = False,
        *,
        caution: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        **storage: Any,
    ) -> None:
        super().__init__(params, settings_in(locals()), **storage)

    def _hypers(self, rule: Rule, group: Group) -> dict[str, Any]:
        return super()._hypers(rule, group) | {"decoupled": bool(group.get("decoupled"))}


class _OfPytorchOptimizer(Packaged):
    """What the classes of pytorch_optimizer share: groups count, and say how weights decay."""

    _counted_by_group = "step"

    def _hypers(self, rule: Rule, group: Group) -> dict[str, Any]:
        require(group, ("weight_decay", "weight_decouple"))
        if number(group["weight_decay"]) > 0 and not group["weight_decouple"]:
            raise ValueError(
                "weight_decouple must be True with a weight_decay, since fastopt's decay of this "
                f"rule is decoupled; got {group['weight_decouple']!r}"
            )
        return super()._hypers(rule, group)


class AdEMAMix(_OfPytorchOptimizer, torch.optim.Optimizer):
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
    _only: ClassVar[Only] = {"fixed_decay": (False, _BY_LR)}

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
        alpha, steps = _nonnegative(group, "alpha"), number(group["t_alpha_beta3"])
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


class StableAdamW(_OfPytorchOptimizer, torch.optim.Optimizer):
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


class LAMB(Packaged, torch.optim.Optimizer):
    """`timm.optim.Lamb` with fastopt's step, the equation of `fastopt.lamb`.

    As in timm, each group counts its steps as ``"step"``, and all its parameters are stepped with
    that count.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        A parameter must be whole, since its step depends on norms over all its elements.
    lr : float, default 1e-3
    bias_correction : bool, default True
        Must be True.
    betas : tuple of float, default (0.9, 0.999)
    eps : float, default 1e-6
    weight_decay : float, default 0.01
        Multiplied by the trust ratio, too.
    grad_averaging : bool, default True
        Must be True.
    max_grad_norm : float, optional, default 1.0
        The most that the norm of all gradients together may be, else they are scaled down for the
        step; None: they are left as they are. It is the same for all groups.
    trust_clip : bool, default False
        Must be False.
    always_adapt : bool, default False
        Whether a trust ratio is taken in a group without weight_decay, too.
    caution, decoupled_decay, corrected_weight_decay : bool, default False
        Must be False.
    foreach, state_format, master_weights, rounding, seed
        As in the other classes of this module.

    Examples
    --------
    >>> import torch
    >>> from fastopt.integrations.torch import LAMB
    >>> weight = torch.full((4,), 2.0, requires_grad=True)
    >>> weight.sum().backward()
    >>> opt = LAMB([weight], lr=0.25, weight_decay=0.0, always_adapt=True)
    >>> opt.step()
    >>> [round(value, 4) for value in weight.tolist()]
    [1.5, 1.5, 1.5, 1.5]
    """

    __module__ = "fastopt.integrations.torch"
    _rule_name = "lamb"
    _counted_by_group = "step"
    _shared = ("max_grad_norm",)
    _only: ClassVar[Only] = {
        "bias_correction": (True, "fastopt's averages are corrected"),
        "grad_averaging": (True, "fastopt's averages are such"),
        "trust_clip": (False, _NO_BOUND),
        "caution": (False, _NO_STEP),
        "decoupled_decay": (False, "fastopt's decay is multiplied by the trust ratio"),
        "corrected_weight_decay": (False, _BY_LR),
    }

    def __init__(
        self,
        params: ParamsT,
        lr: float | torch.Tensor = 1e-3,
        bias_correction: bool = True,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        grad_averaging: bool = True,
        max_grad_norm: float | None = 1.0,
        trust_clip: bool = False,
        always_adapt: bool = False,
        caution: bool = False,
        decoupled_decay: bool = False,
        corrected_weight_decay: bool = False,
        foreach: bool | None = None,
        **storage: Any,
    ) -> None:
        super().__init__(params, settings_in(locals()) | {"step": 0}, **storage)

    def _hypers(self, rule: Rule, group: Group) -> dict[str, Any]:
        hypers = super()._hypers(rule, group)
        most = number(group["max_grad_norm"])
        if most is not None and not most >= 0:
            raise ValueError(f"max_grad_norm must be None or >= 0, got {group['max_grad_norm']!r}")
        return hypers | {"adapt": _adapts(group)}

    def _grad_scale(self) -> float:
        most = number(self.param_groups[0]["max_grad_norm"])
        if most is None:
            return 1.0
        grads = [param.grad for group in self.param_groups for param in group["params"]]
        # A step says what is wrong with the others.
        taken = [grad for grad in grads if grad is not None and grad.layout is torch.strided]
        norm = float(torch.nn.utils.get_total_norm(taken))
        return most / norm if most < norm < math.inf else 1.0


class LARS(Packaged, torch.optim.Optimizer):
    """LARS with the settings of `timm.optim.Lars` and fastopt's step, that of `fastopt.lars`.

    As in the paper the learning rate goes into what is kept from step to step, the state
    ``"velocity"``. timm multiplies its ``"momentum_buffer"`` by it, which is the same as long as it
    is constant. So state dictionaries are not interchangeable.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        A parameter must be whole, since its step depends on norms over all its elements.
    lr : float, default 1.0
    momentum : float, default 0
    dampening : float, default 0
        Must be 0.
    weight_decay : float, default 0
    nesterov : bool, default False
        Must be False.
    trust_coeff : float, default 0.001
        The trust ratio is multiplied by it.
    eps : float, default 1e-8
        Added to the divisor of the trust ratio.
    trust_clip : bool, default False
        Must be False.
    always_adapt : bool, default False
        As in `LAMB`.
    foreach, state_format, master_weights, rounding, seed
        As in the other classes of this module.

    Examples
    --------
    >>> import torch
    >>> from fastopt.integrations.torch import LARS
    >>> weight = torch.full((4,), 2.0, requires_grad=True)
    >>> weight.sum().backward()
    >>> opt = LARS([weight], lr=10.0, trust_coeff=0.01, always_adapt=True)
    >>> opt.step()
    >>> [round(value, 4) for value in weight.tolist()]
    [1.8, 1.8, 1.8, 1.8]
    """

    __module__ = "fastopt.integrations.torch"
    _rule_name = "lars"
    _counts = False
    _only: ClassVar[Only] = {
        "dampening": (0, _NO_STEP),
        "nesterov": (False, _NO_STEP),
        "trust_clip": (False, _NO_BOUND),
    }

    def __init__(
        self,
        params: ParamsT,
        lr: float | torch.Tensor = 1.0,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        trust_coeff: float = 0.001,
        eps: float = 1e-8,
        trust_clip: bool = False,
        always_adapt: bool = False,
        foreach: bool | None = None,
        **storage: Any,
    ) -> None:
        super().__init__(params, settings_in(locals()), **storage)

    def _state_names(self, rule: Rule, group: Group) -> list[str]:
        return ["velocity"]

    def _take_over(self, param: torch.Tensor, name: str, entry: Entry) -> Entry:
        if entry.get("momentum_buffer") is not None:
            raise ValueError(
                f"the state of {name} must not have 'momentum_buffer', which lacks the learning "
                "rate that fastopt's 'velocity' has; go on in timm, or begin with another optimizer"
            )
        return {}

    def _hypers(self, rule: Rule, group: Group) -> dict[str, Any]:
        hypers = super()._hypers(rule, group)
        require(group, ["trust_coeff"])
        return hypers | {
            "trust_coefficient": _nonnegative(group, "trust_coeff"),
            "adapt": _adapts(group),
        }


def _nonnegative(group: Group, name: str) -> Any:
    """A setting that the rule calls otherwise, so that an error has the name of the group."""
    value = number(group[name])
    if not value >= 0:
        raise ValueError(f"{name} must be >= 0, got {group[name]!r}")
    return value


def _adapts(group: Group) -> bool:
    """Whether a trust ratio is taken: timm takes none where weights do not decay."""
    return bool(number(group["weight_decay"]) != 0 or group.get("always_adapt"))
