"""Prodigy, which torch does not have, in the form of its authors' package prodigyopt."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.optim.optimizer import ParamsT

from fastopt._core import Rule
from fastopt.integrations.torch import blocks
from fastopt.integrations.torch.groups import count_of, number, require
from fastopt.integrations.torch.packages import Only, Packaged
from fastopt.integrations.torch.sharded import is_part
from fastopt.integrations.torch.states import Entry, check_tensor
from fastopt.integrations.torch.storage import KEYWORDS, Group

__all__ = ["Prodigy"]

# What the groups carry from step to step, in the order of the rule's array
_CARRIED = ("d", "d_numerator", "d_max")
# What prodigyopt writes into the groups at each step, and never reads
_WRITTEN = ("d_denom", "d_hat")
_ONE_PROCESS = "fastopt's sums for the estimate are those of one process; prodigyopt has others"


class Prodigy(Packaged, torch.optim.Optimizer):
    """`prodigyopt.Prodigy` with fastopt's step, the equation of `fastopt.Prodigy`.

    The step size d is an estimate, one for all groups. After each step every group has it as
    ``"d"``, beside ``"d_max"``, ``"d_numerator"`` and the count of steps ``"k"``, as in prodigyopt.
    Neither package needs the other, and each loads the other's state dictionaries.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        A group may have settings of its own, but for betas, beta3, d0, d_coef, growth_rate,
        use_bias_correction and decouple. A group whose lr is 0 is left alone as long as it is.
    lr : float, default 1.0
        Multiplies d. Leave it at 1, or have a scheduler change it.
    betas : tuple of float, default (0.9, 0.999)
        For the averages of gradients and of their squares. The first is above 0.
    beta3 : float, optional
        For the sums of the estimate; without one, the square root of ``betas[1]``.
    eps : float, default 1e-8
    weight_decay : float, default 0
    decouple : bool, default True
        Whether the decay is AdamW's; else it is added to the gradient.
    use_bias_correction : bool, default False
        Correct the averages for their start with zeros, as Adam does.
    safeguard_warmup : bool, default False
        Leave lr out of the estimate's denominator, for a scheduler that warms up.
    d0 : float, default 1e-6
        The first d.
    d_coef : float, default 1.0
        Multiplies the estimate.
    growth_rate : float, default inf
        The most by which d may grow in a step.
    fsdp_in_use : bool, default False
        Must be False.
    slice_p : int, default 1
        Must be 1.
    state_format, master_weights, rounding, seed
        As in `fastopt.Prodigy`, with the same defaults: narrow parameters have states in float32,
        and bfloat16 is rounded stochastically.

    Raises
    ------
    ValueError
        If a setting is out of range or not supported, or a parameter is a DTensor or one of FSDP's.
    TypeError
        If a parameter is not a strided tensor on the CPU.

    Examples
    --------
    >>> import torch
    >>> from fastopt.integrations.torch import Prodigy
    >>> weight = torch.zeros(3, requires_grad=True)
    >>> opt = Prodigy([weight])
    >>> for _ in range(100):
    ...     opt.zero_grad()
    ...     (weight - 5).square().sum().backward()
    ...     opt.step()
    >>> [round(value) for value in weight.tolist()], opt.param_groups[0]["d"] > 0.1
    ([5, 5, 5], True)
    """

    __module__ = "fastopt.integrations.torch"
    _rule_name = "prodigy"
    # Dictionaries of prodigyopt's earlier versions lack these.
    _only: ClassVar[Only] = {
        "slice_p": (
            1,
            "fastopt's sums are over all elements; state_format='bfloat16' saves memory",
        ),
        "fsdp_in_use": (False, _ONE_PROCESS),
    }
    # prodigyopt reads these from the first group, and steps all groups with them.
    _shared = ("betas", "beta3", "d0", "d_coef", "growth_rate", "use_bias_correction", "decouple")
    _default_format: ClassVar[str | None] = "float32"

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1.0,
        betas: tuple[float, float] = (0.9, 0.999),
        beta3: float | None = None,
        eps: float = 1e-8,
        weight_decay: float = 0,
        decouple: bool = True,
        use_bias_correction: bool = False,
        safeguard_warmup: bool = False,
        d0: float = 1e-6,
        d_coef: float = 1.0,
        growth_rate: float = math.inf,
        fsdp_in_use: bool = False,
        slice_p: int = 1,
        *,
        state_format: str | Mapping[str, str] | None = None,
        master_weights: bool = False,
        rounding: str = "stochastic",
        seed: int = 0,
    ) -> None:
        values = (state_format, master_weights, rounding, seed)
        self._given = dict(zip(KEYWORDS, values, strict=True))
        defaults = {
            "lr": lr,
            "betas": betas,
            "beta3": beta3,
            "eps": eps,
            "weight_decay": weight_decay,
            "d": d0,
            "d0": d0,
            "d_max": d0,
            "d_numerator": 0.0,
            "d_coef": d_coef,
            "k": 0,
            "growth_rate": growth_rate,
            "use_bias_correction": use_bias_correction,
            "decouple": decouple,
            "safeguard_warmup": safeguard_warmup,
            "fsdp_in_use": fsdp_in_use,
            "slice_p": slice_p,
        }
        torch.optim.Optimizer.__init__(self, params, defaults)

    def _is_idle(self, group: Group) -> bool:
        return bool(number(group["lr"]) == 0)

    def _hypers(self, rule: Rule, group: Group) -> dict[str, Any]:
        hypers = super()._hypers(rule, group)
        require(group, (*_CARRIED, "k"))
        for name in ("eps", "d0", "growth_rate"):
            value = number(group[name])
            if isinstance(value, (int, float)) and not value > 0:
                raise ValueError(f"{name} must be above 0, got {group[name]!r}")
        if hypers["beta1"] == 0:
            raise ValueError(
                f"betas[0] must be above 0, got {group['betas']!r}: fastopt has no step without an "
                "average of gradients, as prodigyopt has then"
            )
        # The rule has 0 for what is None and infinity here.
        if group["beta3"] is None:
            hypers["beta3"] = 0.0
        elif hypers["beta3"] == 0:
            raise ValueError("beta3 must be above 0, or None for the root of betas[1]; got 0")
        if hypers["growth_rate"] == math.inf:
            hypers["growth_rate"] = 0.0
        return hypers | {"decoupled": bool(group["decouple"])}

    def _take_over(self, param: torch.Tensor, name: str, entry: Entry) -> Entry:
        """Where prodigyopt keeps p0, the parameter at the start, the rule has its distance."""
        _refuse_parts(param, name)
        start = entry.get("p0")
        if start is None or entry.get("p0_offset") is not None:
            return {}
        check_tensor(start, f"p0 of {name}")
        check_tensor(param, name)
        if start.numel() not in (1, param.numel()):
            raise ValueError(
                f"p0 of {name} must have {param.numel()} elements, or 1, got {start.numel()}"
            )
        wide = torch.promote_types(param.dtype, torch.float32)
        start = start.reshape(param.shape if start.numel() == param.numel() else ())
        return {"p0_offset": start.to(wide) - param.detach().to(wide), "p0": None}

    def _check_group(self, group: Group) -> None:
        for index, param in enumerate(group["params"]):
            _refuse_parts(param, f"params[{index}]")
        super()._check_group(group)

    def _read_joined(self, numbers: NDArray[np.float64]) -> int:
        first = self.param_groups[0]
        count = count_of(first, "k")
        numbers[:] = [number(first[name]) for name in _CARRIED]
        if not count and list(numbers) != [number(first["d0"]), 0, number(first["d0"])]:
            given = {name: first[name] for name in _CARRIED}
            raise ValueError(
                f"d and d_max must be d0, and d_numerator 0, before the first step, got {given}; "
                "give another d0"
            )
        return count + 1

    def _write_joined(self, numbers: NDArray[np.float64]) -> None:
        carried = dict(zip(_CARRIED, numbers.tolist(), strict=True))
        for group in self.param_groups:
            group.update(carried)
            group["k"] += 1

    def state_dict(self) -> dict[str, Any]:
        """What prodigyopt's gives, and the state ``p0_offset``, with which no bit is lost."""
        saved = super().state_dict()
        for numbered, group in zip(saved["param_groups"], self.param_groups, strict=True):
            for index, param in zip(numbered["params"], group["params"], strict=True):
                if index in saved["state"]:
                    saved["state"][index] = _as_theirs(param, saved["state"][index])
        return saved

    def _restore_formats(self, loaded: dict[str, Any], known: list[Group]) -> None:
        super()._restore_formats(loaded, known)
        for group in self.param_groups:
            # Where prodigyopt has stepped, the distance is not that of the parameter any more.
            surplus = "p0_offset" if _WRITTEN[0] in group else "p0"
            for name in _WRITTEN:
                group.pop(name, None)
            for param in group["params"]:
                entry = self.state.get(param, {})
                if {"p0", "p0_offset"} <= entry.keys():
                    del entry[surplus]
                s = entry.get("s")
                if isinstance(s, torch.Tensor) and s.dim() == 1 and s.numel() == param.numel():
                    entry["s"] = s.reshape(param.shape)


def _refuse_parts(param: Any, name: str) -> None:
    if is_part(param):
        raise ValueError(
            f"{name} must be a whole parameter, got one that is sharded: {_ONE_PROCESS}"
        )


@torch.no_grad()
def _as_theirs(param: torch.Tensor, entry: Entry) -> Entry:
    """A parameter's state as prodigyopt has it: a count that is an int, p0, and s in one dimension.

    States in blocks stay as they are.
    """
    entry = dict(entry)
    if "step" in entry:
        entry["step"] = int(entry["step"])
    offset = entry.get("p0_offset")
    if offset is not None:
        if offset.dtype == blocks.DTYPE:
            offset = blocks.cast(offset, param, torch.float32, False)
        entry["p0"] = (param + offset).to(param.dtype).flatten()
    if "s" in entry and entry["s"].dtype != blocks.DTYPE:
        entry["s"] = entry["s"].flatten()
    return entry
