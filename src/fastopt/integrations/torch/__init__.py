"""Drop-in replacements for torch's optimizers, for parameters on the CPU.

Each class is a subclass of torch's own of the same name. Constructor, schedulers, hooks, groups and
state dictionaries are torch's; only the arithmetic of `step` is fastopt's. Parameters, gradients
and states stay torch tensors and are updated in place, without a copy. A state dictionary of either
can be loaded into the other. Of rules that torch lacks, `Lion`, `ADOPT` and `LAMB` are the same for
those of timm, `AdEMAMix` and `StableAdamW` for those of pytorch_optimizer, `ScheduleFreeAdamW` and
`ScheduleFreeSGD` for those of schedulefree, and `Prodigy` for that of prodigyopt. `LARS` has the
settings of timm's, and states of its own.

Tensors are in float32, float64, bfloat16 or float16. Narrow parameters are by default stepped as
torch steps them, with states in their dtype and rounding to nearest. Every class has the further
keywords ``state_format``, ``master_weights``, ``rounding`` and ``seed`` of `fastopt.Adam`, with two
other defaults: states for which no format is named have the parameters' dtype, and rounding is to
nearest if none of the keywords is given. `Prodigy` has the defaults of `fastopt.Prodigy`. With
``state_format="block8"`` a state is a tensor of bytes, with a row for each 64 elements. SGD with
momentum, Adam, AdamW and NAdam take ``cautious``, that of `fastopt.Adam`, as a keyword and in a
group; Lion calls it ``caution``, as timm does.

A parameter must be dense: contiguous, or a permutation of a contiguous tensor such as
``channels_last``. A gradient of another layout than its parameter's is copied into that layout
first. Of a DTensor the part that the process holds is stepped; its states are DTensors, too.

Sparse gradients, such as those of ``torch.nn.Embedding(sparse=True)``, are taken by the classes
that take them in torch: SGD without momentum, Adagrad and SparseAdam. They step only the rows that
the gradient has.

What is not supported is refused: sparse gradients elsewhere, sparse parameters, complex, CUDA and
meta tensors, other wrapper subclasses, duplicate and overlapping parameters, gradients that share a
parameter's memory, ``capturable`` and ``differentiable``. ``foreach`` and ``fused`` make no
difference. The count of steps is the state ``step``, as in torch.
"""

from typing import Any, ClassVar

try:
    import torch
except ImportError as error:
    raise ModuleNotFoundError(
        "fastopt.integrations.torch needs PyTorch; install it with: pip install torch",
        name="torch",
    ) from error

if not hasattr(torch.Tensor, "__dlpack_c_exchange_api__"):
    raise ImportError(
        "fastopt.integrations.torch needs a PyTorch with DLPack's exchange interface (tested with "
        f"2.13), got {torch.__version__}; update it with: pip install -U torch",
        name="torch",
    )

from fastopt import RULES
from fastopt._core import Rule
from fastopt.integrations.torch.prodigy import Prodigy
from fastopt.integrations.torch.pytorch_optimizer import AdEMAMix, StableAdamW
from fastopt.integrations.torch.schedule_free import ScheduleFreeAdamW, ScheduleFreeSGD
from fastopt.integrations.torch.states import a_number
from fastopt.integrations.torch.stepping import Stepping
from fastopt.integrations.torch.storage import Group
from fastopt.integrations.torch.timm import ADOPT, LAMB, LARS, Lion

__all__ = [
    "ADOPT",
    "ASGD",
    "LAMB",
    "LARS",
    "SGD",
    "AdEMAMix",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "NAdam",
    "Prodigy",
    "RAdam",
    "RMSprop",
    "Rprop",
    "ScheduleFreeAdamW",
    "ScheduleFreeSGD",
    "SparseAdam",
    "StableAdamW",
]


# What torch says
_ADAM_IS_DENSE = "Adam does not support sparse gradients, please consider SparseAdam instead"


def _with_weight_decay(group: Group) -> str | None:
    if group["weight_decay"] != 0:
        return "weight_decay option is not compatible with sparse gradients"
    return None


class SGD(Stepping, torch.optim.SGD):
    """`torch.optim.SGD` with fastopt's step: plain, with momentum, or Nesterov's.

    Takes what torch's class takes. Momentum and dampening must be in [0, 1); with ``nesterov`` the
    equation is that of `fastopt.nag`, with ``momentum`` that of `fastopt.momentum`, else that of
    `fastopt.sgd`. Sparse gradients step only the rows that they have; momentum and weight_decay
    must then be 0. (torch takes them with momentum too, and then keeps a sparse buffer.)

    Examples
    --------
    >>> import torch
    >>> from fastopt.integrations.torch import SGD
    >>> weight = torch.ones(3, requires_grad=True)
    >>> opt = SGD([weight], lr=0.25, momentum=0.9)
    >>> weight.sum().backward()
    >>> opt.step()
    >>> weight.tolist()
    [0.75, 0.75, 0.75]
    """

    _has_cautious = True
    _counts = False

    def _rule(self, group: Group) -> Rule:
        if group["momentum"] == 0:
            return RULES["sgd"]
        if not group["nesterov"]:
            return RULES["momentum"]
        if group["dampening"] != 0:
            raise ValueError(f"dampening must be 0 with nesterov, got {group['dampening']!r}")
        return RULES["nag"]

    def _refusals(self, group: Group) -> tuple[str | None, str | None]:
        if group["momentum"] != 0:
            return "SGD with momentum does not support sparse gradients", None
        return _with_weight_decay(group), None


class ASGD(Stepping, torch.optim.ASGD):
    """`torch.optim.ASGD` with fastopt's step, the equation of `fastopt.asgd`.

    Takes what torch's class takes, but for ``capturable`` and ``differentiable``; alpha must be in
    [0, 1). The weight ``mu`` of the average follows from the step count and t0. It is part of
    `state_dict`, for torch, and `step` does not read it.

    Examples
    --------
    >>> import torch
    >>> from fastopt.integrations.torch import ASGD
    >>> weight = torch.ones(3, requires_grad=True)
    >>> opt = ASGD([weight], lr=0.25, lambd=0.0)
    >>> weight.sum().backward()
    >>> opt.step()
    >>> weight.tolist()
    [0.75, 0.75, 0.75]
    """

    def _rule(self, group: Group) -> Rule:
        return RULES["asgd"]

    def __setstate__(self, state: dict[str, Any]) -> None:
        for entry in state["state"].values():  # of a copy, from which torch's wants mu
            if entry:
                entry.setdefault("mu", a_number(1.0))
        super().__setstate__(state)

    def state_dict(self) -> dict[str, Any]:
        """What torch's gives, where each parameter has the weight of its next step's average."""
        saved = super().state_dict()
        for group in saved["param_groups"]:
            for number in saved["state"].keys() & set(group["params"]):
                entry = saved["state"][number]
                if entry:  # to ask for the state of a parameter makes an empty one
                    mu = 1 / max(1.0, float(entry["step"]) - float(group["t0"]))
                    saved["state"][number] = {**entry, "mu": a_number(mu)}
        return saved


class Adagrad(Stepping, torch.optim.Adagrad):
    """`torch.optim.Adagrad` with fastopt's step, the equation of `fastopt.adagrad`.

    Takes what torch's class takes. With sparse gradients only the rows that these have are stepped;
    weight_decay must then be 0, as in torch.

    Examples
    --------
    >>> import torch
    >>> from fastopt.integrations.torch import Adagrad
    >>> weight = torch.ones(3, requires_grad=True)
    >>> opt = Adagrad([weight], lr=0.25)
    >>> weight.sum().backward()
    >>> opt.step()
    >>> weight.tolist()
    [0.75, 0.75, 0.75]
    """

    def _rule(self, group: Group) -> Rule:
        return RULES["adagrad"]

    def _refusals(self, group: Group) -> tuple[str | None, str | None]:
        return _with_weight_decay(group), None


class Adadelta(Stepping, torch.optim.Adadelta):
    """`torch.optim.Adadelta` with fastopt's step, the equation of `fastopt.adadelta`.

    Takes what torch's class takes, but for ``capturable``; rho must be in [0, 1).

    Examples
    --------
    >>> import torch
    >>> from fastopt.integrations.torch import Adadelta
    >>> weight = torch.ones(3, requires_grad=True)
    >>> opt = Adadelta([weight])
    >>> weight.sum().backward()
    >>> opt.step()
    >>> bool((weight < 1).all())
    True
    """

    def _rule(self, group: Group) -> Rule:
        return RULES["adadelta"]


class Adam(Stepping, torch.optim.Adam):
    """`torch.optim.Adam` with fastopt's step, the equation of `fastopt.adam`.

    Takes what torch's class takes, but for ``capturable`` and ``differentiable``.

    Examples
    --------
    >>> import torch
    >>> from fastopt.integrations.torch import Adam
    >>> weight = torch.ones(3, requires_grad=True)
    >>> opt = Adam([weight], lr=0.25)
    >>> weight.sum().backward()
    >>> opt.step()
    >>> [round(value, 6) for value in weight.tolist()]
    [0.75, 0.75, 0.75]
    """

    _has_cautious = True

    def _rule(self, group: Group) -> Rule:
        return RULES["adam"]

    def _refusals(self, group: Group) -> tuple[str | None, str | None]:
        return _ADAM_IS_DENSE, None


class AdamW(Stepping, torch.optim.AdamW):
    """`torch.optim.AdamW` with fastopt's step, the equation of `fastopt.adamw`.

    Takes what torch's class takes, but for ``capturable`` and ``differentiable``.

    Examples
    --------
    >>> import torch
    >>> from fastopt.integrations.torch import AdamW
    >>> weight = torch.ones(3, requires_grad=True)
    >>> opt = AdamW([weight], lr=0.25, weight_decay=0.0)
    >>> weight.sum().backward()
    >>> opt.step()
    >>> [round(value, 6) for value in weight.tolist()]
    [0.75, 0.75, 0.75]
    """

    _has_cautious = True

    def _rule(self, group: Group) -> Rule:
        # torch's AdamW is its Adam, which reads this setting from the group at each step.
        return RULES["adamw" if group["decoupled_weight_decay"] else "adam"]

    def _refusals(self, group: Group) -> tuple[str | None, str | None]:
        return _ADAM_IS_DENSE, None


class SparseAdam(Stepping, torch.optim.SparseAdam):
    """`torch.optim.SparseAdam` with fastopt's step: Adam for sparse gradients.

    Takes what torch's class takes. The equation is that of `fastopt.adam` with ``eps_hat=True``:
    torch's SparseAdam adds eps without the bias correction. Only the rows that a gradient has are
    stepped, with the step count of the whole parameter. In `state_dict` the count is an int, as in
    torch.

    Examples
    --------
    >>> import torch
    >>> from fastopt.integrations.torch import SparseAdam
    >>> table = torch.nn.Embedding(1000, 2, sparse=True)
    >>> opt = SparseAdam(table.parameters(), lr=0.25)
    >>> before = table.weight.detach().clone()
    >>> table(torch.tensor([7, 3, 7])).sum().backward()
    >>> opt.step()
    >>> (before - table.weight.detach()).abs().sum(dim=1).nonzero().flatten().tolist()
    [3, 7]
    """

    _fixed: ClassVar[dict[str, Any]] = {"eps_hat": True}

    def _rule(self, group: Group) -> Rule:
        return RULES["adam"]

    def _refusals(self, group: Group) -> tuple[str | None, str | None]:
        return None, "SparseAdam does not support dense gradients, please consider Adam instead"

    def state_dict(self) -> dict[str, Any]:
        """What torch's gives: with a tensor for the count, torch would go on in float32."""
        saved = super().state_dict()
        saved["state"] = {
            key: {name: int(value) if name == "step" else value for name, value in entry.items()}
            for key, entry in saved["state"].items()
        }
        return saved


class Adamax(Stepping, torch.optim.Adamax):
    """`torch.optim.Adamax` with fastopt's step, the equation of `fastopt.adamax`.

    Takes what torch's class takes, but for ``capturable`` and ``differentiable``.

    Examples
    --------
    >>> import torch
    >>> from fastopt.integrations.torch import Adamax
    >>> weight = torch.ones(3, requires_grad=True)
    >>> opt = Adamax([weight], lr=0.25)
    >>> weight.sum().backward()
    >>> opt.step()
    >>> [round(value, 6) for value in weight.tolist()]
    [0.75, 0.75, 0.75]
    """

    def _rule(self, group: Group) -> Rule:
        return RULES["adamax"]


class NAdam(Stepping, torch.optim.NAdam):
    """`torch.optim.NAdam` with fastopt's step, the equation of `fastopt.nadam`.

    Takes what torch's class takes, but for ``capturable`` and ``differentiable``. The product of
    the momenta, the state ``mu_product``, is multiplied in double, and stored in float32 as torch
    stores it, or in float64 where that is torch's default dtype.

    Examples
    --------
    >>> import torch
    >>> from fastopt.integrations.torch import NAdam
    >>> weight = torch.ones(3, requires_grad=True)
    >>> opt = NAdam([weight], lr=0.25)
    >>> weight.sum().backward()
    >>> opt.step()
    >>> bool((weight < 1).all())
    True
    """

    _has_cautious = True

    def _rule(self, group: Group) -> Rule:
        return RULES["nadam"]


class RAdam(Stepping, torch.optim.RAdam):
    """`torch.optim.RAdam` with fastopt's step, the equation of `fastopt.radam`.

    Takes what torch's class takes, but for ``capturable`` and ``differentiable``.

    Examples
    --------
    >>> import torch
    >>> from fastopt.integrations.torch import RAdam
    >>> weight = torch.ones(3, requires_grad=True)
    >>> opt = RAdam([weight], lr=0.25)
    >>> weight.sum().backward()
    >>> opt.step()
    >>> [round(value, 6) for value in weight.tolist()]
    [0.75, 0.75, 0.75]
    """

    def _rule(self, group: Group) -> Rule:
        return RULES["radam"]


class RMSprop(Stepping, torch.optim.RMSprop):
    """`torch.optim.RMSprop` with fastopt's step, the equation of `fastopt.rmsprop`.

    Takes what torch's class takes, but for ``capturable`` and ``differentiable``; alpha and
    momentum must be in [0, 1). With ``centered`` a variance that rounding makes negative counts as
    0, where torch gets NaN.

    Examples
    --------
    >>> import torch
    >>> from fastopt.integrations.torch import RMSprop
    >>> weight = torch.ones(3, requires_grad=True)
    >>> opt = RMSprop([weight], lr=0.025)
    >>> weight.sum().backward()
    >>> opt.step()
    >>> [round(value, 5) for value in weight.tolist()]
    [0.75, 0.75, 0.75]
    """

    def _rule(self, group: Group) -> Rule:
        return RULES["rmsprop"]


class Rprop(Stepping, torch.optim.Rprop):
    """`torch.optim.Rprop` with fastopt's step, the equation of `fastopt.rprop`.

    Takes what torch's class takes, but for ``capturable`` and ``differentiable``. A step size that
    is 0 becomes lr, as it is at the start.

    Examples
    --------
    >>> import torch
    >>> from fastopt.integrations.torch import Rprop
    >>> weight = torch.ones(3, requires_grad=True)
    >>> opt = Rprop([weight], lr=0.25)
    >>> weight.sum().backward()
    >>> opt.step()
    >>> weight.tolist()
    [0.75, 0.75, 0.75]
    """

    def _rule(self, group: Group) -> Rule:
        return RULES["rprop"]
