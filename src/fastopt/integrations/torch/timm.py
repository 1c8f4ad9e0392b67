"""Optimizers of timm that torch does not have."""

import math
from typing import Any, ClassVar

import torch
from torch.optim.optimizer import ParamsT

from fastopt._core import Rule
from fastopt.integrations.torch.groups import number, require
from fastopt.integrations.torch.packages import (
    DECAYS_BY_LR,
    Only,
    Packaged,
    nonnegative,
    settings_in,
)
from fastopt.integrations.torch.states import Entry
from fastopt.integrations.torch.storage import Group

__all__ = ["ADOPT", "LAMB", "LARS", "Lion"]

_NO_STEP = "fastopt has no such step of this rule"
_NO_BOUND = "fastopt's trust ratio has no bound"


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
    _only: ClassVar[Only] = {"corrected_weight_decay": (False, DECAYS_BY_LR)}

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
        "corrected_weight_decay": (False, DECAYS_BY_LR),
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
        "corrected_weight_decay": (False, DECAYS_BY_LR),
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
            "trust_coefficient": nonnegative(group, "trust_coeff"),
            "adapt": _adapts(group),
        }


def _adapts(group: Group) -> bool:
    """Whether a trust ratio is taken: timm takes none where weights do not decay."""
    return bool(number(group["weight_decay"]) != 0 or group.get("always_adapt"))
