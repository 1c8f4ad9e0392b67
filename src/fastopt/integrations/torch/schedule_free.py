"""The schedule-free optimizers, which torch does not have, in the form of the package schedulefree.

schedulefree keeps the point z of its paper; the rule has the state ``z_offset``, how far z is from
the parameter where gradients are taken.
"""

import math
from typing import Any

import numpy as np
import torch
from torch.optim.optimizer import ParamsT

from fastopt._core import Rule
from fastopt._formats import join, split
from fastopt.integrations.torch import blocks
from fastopt.integrations.torch.groups import count_of, number, require
from fastopt.integrations.torch.packages import Packaged, settings_in
from fastopt.integrations.torch.sharded import part_of, whole_of
from fastopt.integrations.torch.states import Entry, check_tensor, keep
from fastopt.integrations.torch.storage import REMAINDER, Group

__all__ = ["ScheduleFreeAdamW", "ScheduleFreeSGD"]

# What a group holds besides its settings, and what it is before the first step
_CARRIED = {"k": 0, "train_mode": False, "weight_sum": 0.0, "lr_max": -1.0, "scheduled_lr": 0.0}
# In a state dictionary: how many steps had been taken when z_offset was that of z
_OFFSET_AFTER = "z_offset_k"


class _ScheduleFree(Packaged):
    """What both share: the weights of the steps, and the two points that parameters may be at."""

    _counted_by_group = "k"

    def _hypers(self, rule: Rule, group: Group) -> dict[str, Any]:
        hypers = super()._hypers(rule, group)
        require(group, (*_CARRIED, "r", "weight_lr_power"))
        if _share(group) == 0:
            name = "betas[0]" if "betas" in group else "momentum"
            raise ValueError(f"{name} must be above 0, got 0: there is no average without it")
        for name in ("r", "weight_lr_power"):
            power = number(group[name])
            if isinstance(power, bool) or not isinstance(power, (int, float)):
                raise TypeError(f"{name} must be a number, got {group[name]!r}")
            if not math.isfinite(power):
                raise ValueError(f"{name} must be finite, got {group[name]!r}")
        return hypers

    def add_param_group(self, param_group: Group) -> None:
        """Add a group to the optimizer, in the mode in which the first one is."""
        if self.param_groups and isinstance(param_group, dict):
            param_group.setdefault("train_mode", self.param_groups[0]["train_mode"])
        super().add_param_group(param_group)

    # the weights of the steps

    def _rate(self, group: Group) -> float:
        """The learning rate of the next step."""
        lr, warmup = float(number(group["lr"])), number(group["warmup_steps"])
        step = count_of(group, "k") + 1
        return lr * (step / warmup) if step < warmup else lr

    def _weight(self, group: Group) -> float:
        """The weight of the next step in the average."""
        largest, power = max(self._rate(group), group["lr_max"]), number(group["weight_lr_power"])
        # The rule's own weight is the product, whose last bit may differ from the power's.
        of_rate = largest * largest if power == 2 else largest**power
        return float((group["k"] + 1) ** number(group["r"]) * of_rate)

    def _carried(self, group: Group) -> float:
        """The sum of the weights, in a unit in which the next weight is the square of its rate.

        That is the rule's weight, and schedulefree's as long as the rate does not fall and ``r``
        and ``weight_lr_power`` have their defaults.
        """
        if not group["train_mode"]:
            raise RuntimeError(
                "the parameters must be where gradients are taken; call train() before the first "
                "step() and after eval()"
            )
        rate, weight = self._rate(group), self._weight(group)
        return float(group["weight_sum"] * (rate * rate / weight)) if weight else 0.0

    def _count_groups(self) -> None:
        for group in self.param_groups:
            rate, weight = self._rate(group), self._weight(group)
            group["weight_sum"] += weight
            group["lr_max"] = max(rate, group["lr_max"])
            group["scheduled_lr"] = rate
        super()._count_groups()

    # the two points

    def train(self) -> None:
        """Have the parameters where gradients are taken, before the first step and after `eval`."""
        self._move(True)

    def eval(self) -> None:
        """Have the parameters be the average, to evaluate, use or save the model."""
        self._move(False)

    @torch.no_grad()
    def _move(self, training: bool) -> None:
        moves = []
        index = -1
        for group in self.param_groups:
            self._hypers(self._rule(group), group)  # whose errors are those of a step
            share = _share(group)
            for param in group["params"]:
                index += 1
                entry = self.state.get(param)
                if entry and bool(group["train_mode"]) is not training:
                    parts = {name: part_of(value) for name, value in entry.items()}
                    # Seen from the average, z is farther away.
                    taken = _offset(
                        part_of(param), f"params[{index}]", parts, share if training else 1
                    )
                    moves.append((param, parts | taken, taken, 1 / share - 1))
        for param, parts, taken, factor in moves:
            _go(part_of(param), parts, factor if training else -factor)
            keep(self.state[param], taken, param)
            # Autograd sees the change of a DTensor's part only so.
            torch.autograd.graph.increment_version(param)
        for group in self.param_groups:
            group["train_mode"] = training

    def _take_over(self, param: torch.Tensor, name: str, entry: Entry) -> Entry:
        return _offset(part_of(param), name, entry, 1)

    # state dictionaries

    def state_dict(self) -> dict[str, Any]:
        """What schedulefree's gives, and the state ``z_offset``, with which no bit is lost."""
        saved: dict[str, Any] = super().state_dict()  # type: ignore[misc]
        for numbered, group in zip(saved["param_groups"], self.param_groups, strict=True):
            numbered[_OFFSET_AFTER] = group["k"]
            share = 1 if group["train_mode"] else _share(group)
            for place, param in zip(numbered["params"], group["params"], strict=True):
                entry = saved["state"].get(place, {})
                if "z_offset" in entry:
                    saved["state"][place] = {**entry, "z": _z(param, entry, share)}
        return saved

    def _restore_formats(self, loaded: dict[str, Any], known: list[Group]) -> None:
        super()._restore_formats(loaded, known)
        for group in self.param_groups:
            # Where schedulefree has stepped, the offset is not that of its z any more.
            surplus = "z" if group.pop(_OFFSET_AFTER, None) == group["k"] else "z_offset"
            for param in group["params"]:
                entry = self.state.get(param, {})
                if {"z", "z_offset"} <= entry.keys():
                    del entry[surplus]


def _share(group: Group) -> float:
    """Where gradients are taken: the share of the average in that point, beside z."""
    return float(number(group["betas"][0] if "betas" in group else group["momentum"]))


def _has_remainder(entry: Entry) -> bool:
    return getattr(entry.get(REMAINDER), "dtype", None) == torch.int16


def _wide(param: torch.Tensor, entry: Entry) -> torch.Tensor:
    """A parameter in the type that it computes in."""
    if _has_remainder(entry):
        joined = join(_bits(param).numpy(), entry[REMAINDER].numpy())
        return torch.from_numpy(np.asarray(joined))
    return param.detach().to(torch.promote_types(param.dtype, torch.float32))


def _bits(param: torch.Tensor) -> torch.Tensor:
    return param.detach().view(torch.int16)


def _wide_offset(param: torch.Tensor, entry: Entry) -> torch.Tensor:
    offset: torch.Tensor = entry["z_offset"]
    if offset.dtype == blocks.DTYPE:
        return blocks.cast(offset, param, torch.float32, False)
    return offset.to(torch.promote_types(offset.dtype, torch.float32))


def _offset(param: torch.Tensor, name: str, entry: Entry, share: float) -> Entry:
    """The rule's state where schedulefree has left z, a share of the way there."""
    z = entry.get("z")
    if z is None or entry.get("z_offset") is not None:
        return {}
    check_tensor(param, name)
    check_tensor(z, f"z of {name}")
    if z.shape != param.shape:
        raise ValueError(f"z of {name} must be of shape {tuple(param.shape)}, got {tuple(z.shape)}")
    wide = _wide(param, entry)
    return {"z_offset": share * (z.to(wide.dtype) - wide), "z": None}


@torch.no_grad()
def _z(param: torch.Tensor, entry: Entry, share: float) -> torch.Tensor:
    part, parts = part_of(param), {name: part_of(value) for name, value in entry.items()}
    z = _wide(part, parts) + _wide_offset(part, parts) / share
    return whole_of(z.to(part.dtype), param)


def _go(param: torch.Tensor, entry: Entry, factor: float) -> None:
    """Move a parameter by a factor of its offset."""
    if entry.get("z_offset") is None:
        return
    moved = _wide(param, entry) + factor * _wide_offset(param, entry)
    if not _has_remainder(entry):
        param.copy_(moved)
        return
    high, low = split(moved.numpy(), np.dtype(np.int16))
    _bits(param).copy_(torch.from_numpy(high))
    entry[REMAINDER].copy_(torch.from_numpy(low))


class ScheduleFreeAdamW(_ScheduleFree, torch.optim.Optimizer):
    """`schedulefree.AdamWScheduleFree` with fastopt's step, that of `fastopt.ScheduleFreeAdamW`.

    Call `train` before the first step, and `eval` before the model is evaluated or saved. As in
    schedulefree, each group counts its steps as ``"k"``, and has ``"weight_sum"``, ``"lr_max"``,
    ``"scheduled_lr"`` and ``"train_mode"``.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
    lr : float, default 0.0025
        To be above AdamW's.
    betas : tuple of float, default (0.9, 0.999)
        Where gradients are taken between z and the average, which is above 0; and for the average
        of the gradients' squares.
    eps : float, default 1e-8
    weight_decay : float, default 0
        Decoupled, and taken where gradients are.
    warmup_steps : int, default 0
        In how many steps lr is reached.
    r : float, default 0.0
        The weight of a step in the average has its number to this power.
    weight_lr_power : float, default 2.0
        It also has the largest learning rate so far to this power.
    foreach, state_format, master_weights, rounding, seed
        As in the other classes of this module.

    Examples
    --------
    >>> import torch
    >>> from fastopt.integrations.torch import ScheduleFreeAdamW
    >>> weight = torch.zeros(3, requires_grad=True)
    >>> opt = ScheduleFreeAdamW([weight], lr=0.5, warmup_steps=10)
    >>> opt.train()
    >>> for _ in range(200):
    ...     opt.zero_grad()
    ...     (weight - 5).square().sum().backward()
    ...     opt.step()
    >>> opt.eval()
    >>> [round(value) for value in weight.tolist()]
    [5, 5, 5]
    """

    __module__ = "fastopt.integrations.torch"
    _rule_name = "schedule_free_adamw"

    def __init__(
        self,
        params: ParamsT,
        lr: float | torch.Tensor = 0.0025,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        warmup_steps: int = 0,
        r: float = 0.0,
        weight_lr_power: float = 2.0,
        foreach: bool | None = True,
        **storage: Any,
    ) -> None:
        super().__init__(params, settings_in(locals()) | _CARRIED, **storage)


class ScheduleFreeSGD(_ScheduleFree, torch.optim.Optimizer):
    """`schedulefree.SGDScheduleFree` with fastopt's step, that of `fastopt.ScheduleFreeSGD`.

    What `ScheduleFreeAdamW` says of train, eval and the groups is the same here.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
    lr : float, default 1.0
    momentum : float, default 0.9
        Where gradients are taken between z and the average; above 0.
    weight_decay : float, default 0
        Added to the gradient.
    warmup_steps, r, weight_lr_power, foreach, state_format, master_weights, rounding, seed
        As in `ScheduleFreeAdamW`.

    Examples
    --------
    >>> import torch
    >>> from fastopt.integrations.torch import ScheduleFreeSGD
    >>> weight = torch.zeros(2, requires_grad=True)
    >>> opt = ScheduleFreeSGD([weight], lr=0.5, momentum=0.5)
    >>> opt.train()
    >>> weight.sum().backward()
    >>> for _ in range(2):
    ...     opt.step()
    >>> opt.eval()
    >>> weight.tolist()
    [-0.75, -0.75]
    """

    __module__ = "fastopt.integrations.torch"
    _rule_name = "schedule_free_sgd"

    def __init__(
        self,
        params: ParamsT,
        lr: float | torch.Tensor = 1.0,
        momentum: float = 0.9,
        weight_decay: float = 0,
        warmup_steps: int = 0,
        r: float = 0.0,
        weight_lr_power: float = 2,
        foreach: bool | None = True,
        **storage: Any,
    ) -> None:
        super().__init__(params, settings_in(locals()) | _CARRIED, **storage)
