"""DeepSpeed's optimizers for offloading, with fastopt's step.

`CPUAdam`, `CPUAdagrad` and `CPULion` take the arguments of ``DeepSpeedCPUAdam``,
``DeepSpeedCPUAdagrad`` and ``DeepSpeedCPULion`` and keep the states that these use, so state
dictionaries are interchangeable. Nothing is compiled when they
are created. Parameters, gradients and states lie in the memory of the CPU, where ZeRO's
``offload_optimizer`` has them. They are in float32, bfloat16 and float16, in any mixture.
"""

from collections.abc import Iterable
from typing import Any

try:
    import deepspeed  # noqa: F401
except ImportError as error:
    raise ModuleNotFoundError(
        "fastopt.integrations.deepspeed needs DeepSpeed; install it with: pip install deepspeed",
        name="deepspeed",
    ) from error

import torch
from deepspeed.ops.adagrad import DeepSpeedCPUAdagrad
from deepspeed.ops.adam import DeepSpeedCPUAdam
from deepspeed.ops.lion import DeepSpeedCPULion

from fastopt import RULES
from fastopt._core import Rule
from fastopt.integrations.torch.stepping import Stepping

__all__ = ["CPUAdagrad", "CPUAdam", "CPULion"]


class _Offloaded(Stepping):
    """What they share: DeepSpeed's interface without its compiled operators."""

    def _begin(
        self,
        model_params: Iterable[Any],
        defaults: dict[str, Any],
        fp32_optimizer_states: bool,
        **storage: Any,
    ) -> None:
        self.fp32_optimizer_states = fp32_optimizer_states
        state_format = "float32" if fp32_optimizer_states else None
        self._given = {"state_format": state_format, **storage}
        torch.optim.Optimizer.__init__(self, model_params, defaults)  # type: ignore[arg-type]

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles. What torch keeps there lacks the settings that no group has."""
        own = {"adam_w_mode", "fp32_optimizer_states"} & vars(self).keys()
        state: Any = super().__getstate__()
        return {**state, **{name: getattr(self, name) for name in own}}

    def state_dict(self) -> dict[str, Any]:
        """As DeepSpeed's, with step counts that are numbers."""
        result = super().state_dict()  # type: ignore[misc]
        result["state"] = {
            key: {**entry, "step": int(entry["step"])} if "step" in entry else entry
            for key, entry in result["state"].items()
        }
        return result

    def step_subgroup(self, subgroup_id: int, closure: Any = None) -> Any:
        raise NotImplementedError("only DeepSpeed's own optimizer steps single subgroups")

    def rollback_subgroup(self, sub_group_id: int, closure: Any = None) -> Any:
        raise NotImplementedError("only DeepSpeed's own optimizer takes steps back")


class CPUAdam(_Offloaded, DeepSpeedCPUAdam):
    """`deepspeed.ops.adam.DeepSpeedCPUAdam` with fastopt's step.

    The equation is that of `fastopt.adamw` with ``adamw_mode``, else that of `fastopt.adam`.

    Parameters
    ----------
    model_params, lr, betas, eps, weight_decay
        As DeepSpeed has them.
    bias_correction : bool, default True
        Must be True.
    amsgrad : bool, default False
        Must be False.
    adamw_mode : bool, default True
    fp32_optimizer_states : bool, default True
        Whether states are in float32 for every dtype of parameters; else they have the parameters'
        dtype.
    master_weights, rounding, seed
        As in `fastopt.Adam`, but rounding is to nearest by default, as in DeepSpeed.

    Raises
    ------
    ValueError
        If ``bias_correction`` is False, or a hyper-parameter is out of range.
    RuntimeError
        If ``amsgrad`` is True, as in DeepSpeed.

    Examples
    --------
    >>> from fastopt.integrations.deepspeed import CPUAdam
    >>> import torch
    >>> weight = torch.nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    >>> optimizer = CPUAdam([weight], lr=0.25, weight_decay=0.0)
    >>> weight.grad = torch.ones_like(weight)
    >>> optimizer.step()
    >>> weight.tolist()
    [0.75, 0.75, 0.75]
    """

    def __init__(
        self,
        model_params: Iterable[Any],
        lr: float = 1e-3,
        bias_correction: bool = True,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        adamw_mode: bool = True,
        fp32_optimizer_states: bool = True,
        *,
        master_weights: bool = False,
        rounding: str = "nearest",
        seed: int = 0,
    ) -> None:
        self.adam_w_mode = adamw_mode
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "bias_correction": bias_correction,
            "amsgrad": amsgrad,
        }
        storage = {"master_weights": master_weights, "rounding": rounding, "seed": seed}
        self._begin(model_params, defaults, fp32_optimizer_states, **storage)

    def _rule(self, group: dict[str, Any]) -> Rule:
        if not group["bias_correction"]:
            raise ValueError("bias_correction must be True, fastopt's Adam always corrects")
        return RULES["adamw" if self.adam_w_mode else "adam"]


class CPUAdagrad(_Offloaded, DeepSpeedCPUAdagrad):
    """`deepspeed.ops.adagrad.DeepSpeedCPUAdagrad` with fastopt's step, that of `fastopt.adagrad`.

    Parameters
    ----------
    model_params, lr, eps, weight_decay
        As DeepSpeed has them.
    amsgrad : bool, default False
        Makes no difference, as in DeepSpeed.
    fp32_optimizer_states : bool, default True
        Whether the sum is in float32 for every dtype of parameters; else it has the parameters'
        dtype.
    master_weights, rounding, seed
        As in `fastopt.Adagrad`, but rounding is to nearest by default, as in DeepSpeed.

    Examples
    --------
    >>> from fastopt.integrations.deepspeed import CPUAdagrad
    >>> import torch
    >>> weight = torch.nn.Parameter(torch.ones(3))
    >>> optimizer = CPUAdagrad([weight], lr=0.25)
    >>> weight.grad = torch.ones_like(weight)
    >>> optimizer.step()
    >>> weight.tolist()
    [0.75, 0.75, 0.75]
    """

    def __init__(
        self,
        model_params: Iterable[Any],
        lr: float = 1e-2,
        eps: float = 1e-10,
        weight_decay: float = 0,
        amsgrad: bool = False,
        fp32_optimizer_states: bool = True,
        *,
        master_weights: bool = False,
        rounding: str = "nearest",
        seed: int = 0,
    ) -> None:
        defaults = {"lr": lr, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad}
        storage = {"master_weights": master_weights, "rounding": rounding, "seed": seed}
        self._begin(model_params, defaults, fp32_optimizer_states, **storage)

    def _rule(self, group: dict[str, Any]) -> Rule:
        return RULES["adagrad"]

    def _state_names(self, rule: Rule, group: dict[str, Any]) -> list[str]:
        return ["exp_avg_sq"]


class CPULion(_Offloaded, DeepSpeedCPULion):
    """`deepspeed.ops.lion.DeepSpeedCPULion` with fastopt's step, that of `fastopt.lion`.

    Parameters
    ----------
    model_params, lr, betas, weight_decay
        As DeepSpeed has them. The decay is decoupled.
    fp32_optimizer_states : bool, default True
        Whether the average is in float32 for every dtype of parameters; else it has the parameters'
        dtype.
    master_weights, rounding, seed
        As in `fastopt.Lion`, but rounding is to nearest by default, as in DeepSpeed.

    Notes
    -----
    DeepSpeed's class also holds a state ``exp_avg_sq`` that its step never uses. This one does not.

    Examples
    --------
    >>> from fastopt.integrations.deepspeed import CPULion
    >>> import torch
    >>> weight = torch.nn.Parameter(torch.ones(3))
    >>> optimizer = CPULion([weight], lr=0.25)
    >>> weight.grad = torch.ones_like(weight)
    >>> optimizer.step()
    >>> weight.tolist()
    [0.75, 0.75, 0.75]
    """

    def __init__(
        self,
        model_params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0,
        fp32_optimizer_states: bool = True,
        *,
        master_weights: bool = False,
        rounding: str = "nearest",
        seed: int = 0,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "weight_decay": weight_decay}
        storage = {"master_weights": master_weights, "rounding": rounding, "seed": seed}
        self._begin(model_params, defaults, fp32_optimizer_states, **storage)

    def _rule(self, group: dict[str, Any]) -> Rule:
        return RULES["lion"]
