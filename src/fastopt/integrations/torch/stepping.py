"""What the optimizers for torch share: `step`, and what is kept between two steps.

A step goes through the parameters in C, where their memory is found through the exchange interface
of DLPack. One call of it tells of a tensor what takes half a dozen of its methods.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from fastopt._core import ExchangeList, Rule, Snapshot, TensorList
from fastopt._placement import Layout, zeros_in_one_block

Group: TypeAlias = dict[str, Any]
Entry: TypeAlias = dict[str, Any]


class Stepping:
    """What the classes share: `step`, and what it keeps between two steps."""

    param_groups: list[Group]
    defaults: dict[str, Any]
    state: defaultdict[torch.Tensor, Any]

    # Made by the first step, and again whenever a tensor or a state is no longer what it was.
    _plan: "Plan | None" = None

    def _rule(self, group: Group) -> Rule:
        """The rule of a group, of its settings as they now are."""
        raise NotImplementedError

    @property
    def _step_supports_amp_scaling(self) -> bool:
        """False: GradScaler unscales the gradients itself, and leaves out steps that it must."""
        return False

    @_step_supports_amp_scaling.setter
    def _step_supports_amp_scaling(self, value: bool) -> None:
        """torch's constructors set it for ``fused=True``, which makes no difference here."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[misc]
        self._plan = None

    def add_param_group(self, param_group: Group) -> None:
        super().add_param_group(param_group)  # type: ignore[misc]
        group = self.param_groups[-1]
        try:
            rule = self._rule(group)
            no_arrays = TensorList([rule], [], [], [], [], [_has_optional(rule, group)])
            no_arrays.check([_hypers(rule, group, self.defaults)])
            for index, param in enumerate(group["params"]):
                if param.requires_grad:
                    _check_tensor(param, f"params[{index}]")
        except (TypeError, ValueError):
            del self.param_groups[-1]
            raise

    @torch.no_grad()
    def _move_states(self) -> None:
        """Have the states that torch's constructor made, Adagrad's, where those of a step are."""
        fresh = []
        for group in self.param_groups:
            for param in group["params"]:
                if param.requires_grad:
                    names = _state_names(self._rule(group), group)
                    fresh.append((param, self.state[param], names, group))
        _make_states(fresh)

    @torch.compiler.disable
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient by one step.

        Parameters
        ----------
        closure : callable, optional
            Evaluates the model again and returns the loss, which `step` then returns.

        Raises
        ------
        TypeError
            If a parameter with a gradient, or the gradient, is not a strided float32 or float64
            tensor on the CPU, or if the step count in its state is not a tensor of one number.
        ValueError
            If a parameter is not dense, tensors overlap in memory, or a hyper-parameter is out of
            range. No parameter and no state has changed then, in whichever group.
        RuntimeError
            If the call is being traced: the trace would lack the step.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        # Of the step a trace would hold nothing, which is not made of torch's operators.
        if get_proxy_mode() is not None or torch.jit.is_tracing():
            raise RuntimeError(
                "a step of fastopt cannot be traced (make_fx, torch.jit.trace): trace torch's own "
                "optimizer, whose state dictionaries are interchangeable with this one's"
            )
        if self._plan is None or not self._plan.step(self):
            plan = _make_plan(self)
            if not plan.step(self):
                raise RuntimeError("another thread is changing the parameters of this optimizer")
            self._plan = plan
        return loss


def _make_plan(optimizer: Stepping) -> "Plan":
    # Parameters that were stepped before are taken in even if they have no gradient now, since a
    # model may leave out others at each step. What is wrong with them must not stop the step.
    try:
        return Plan(optimizer, only_with_gradient=False)
    except (TypeError, ValueError):
        return Plan(optimizer, only_with_gradient=True)


class Plan:
    """The parameters that are stepped, with their states: all of them in one call into C.

    It holds as long as the groups and the state have the same tensors at the same places in memory.
    Nothing of it is in the optimizer's state before the first step has succeeded.
    """

    @torch.no_grad()
    def __init__(self, optimizer: Stepping, *, only_with_gradient: bool):
        self.groups, self.state = optimizer.param_groups, optimizer.state
        self.rules = [optimizer._rule(group) for group in self.groups]
        self.optional = list(map(_has_optional, self.rules, self.groups))
        self.idle: list[torch.Tensor] = []
        self.structure: Snapshot | None = None
        self.updates: list[tuple[torch.Tensor, Entry]] = []
        self.params: list[torch.Tensor] = []
        names, owners, states, steps, counters, fresh = [], [], [], [], [], []
        stepped = set(map(id, optimizer._plan.params if optimizer._plan else ()))
        index = -1
        for owner, (rule, group) in enumerate(zip(self.rules, self.groups, strict=True)):
            wanted = _state_names(rule, group)
            for param in group["params"]:
                index += 1
                name = f"params[{index}]"
                entry = self.state.get(param) or {}
                if param.grad is None and (
                    only_with_gradient
                    or not _fits(param, entry, wanted)
                    or not (wanted or id(param) in stepped)
                ):
                    self.idle.append(param)
                    continue
                _check_tensor(param, name)
                is_new = all(entry.get(state) is None for state in wanted)
                update = {} if is_new else _usable_states(param, name, entry, wanted)
                if rule.name in COUNTED:
                    update = _counter(name, entry, is_new) | update
                self.params.append(param)
                names.append(name)
                owners.append(owner)
                states.append((entry, update, wanted))
                # A buffer means that SGD's first step, the one without dampening, is over.
                steps.append(0 if is_new else 1)
                counters.append({**entry, **update}["step"] if rule.name in COUNTED else None)
                if is_new:
                    fresh.append((param, update, wanted, group))
                self.updates.append((param, update))
        _make_states(fresh)
        self.tensors = ExchangeList(
            self.rules,
            self.params,
            [[{**entry, **update}[state] for state in wanted] for entry, update, wanted in states],
            owners,
            names,
            self.optional,
            (torch.Tensor, torch.Tensor.is_neg, _adopt),
        )
        self.tensors.steps, self.tensors.counters = steps, counters
        self._read_settings(optimizer)

    def _read_settings(self, optimizer: Stepping) -> None:
        self.settings = Snapshot([*self.groups])
        # The value of a tensor, such as lr, or of a list can change while the object is the same.
        values = [group.get(name) for group in self.groups for name in optimizer.defaults]
        self.is_fixed = all(
            isinstance(number, IMMUTABLE)
            for value in values
            for number in (value if isinstance(value, tuple) else (value,))
        )
        self.hypers = [
            _hypers(rule, group, optimizer.defaults)
            for rule, group in zip(self.rules, self.groups, strict=True)
        ]

    def _keep_states(self) -> None:
        """Have in the optimizer's state what the first step made."""
        for param, update in self.updates:
            if update:
                self.state[param].update(update)
        self.updates = []
        lists = [group["params"] for group in self.groups]
        self.structure = Snapshot([self.groups, self.state, *lists, *self.state.values()])

    def step(self, optimizer: Stepping) -> bool:
        """Take the step; False, and nothing is done, if the plan no longer holds."""
        if not (
            optimizer.param_groups is self.groups
            and optimizer.state is self.state
            and (self.structure is None or self.structure.holds())
            and all(param.grad is None for param in self.idle)
        ):
            return False
        if not (self.is_fixed and self.settings.holds()):
            rules = [optimizer._rule(group) for group in self.groups]
            if rules != self.rules or self.optional != list(map(_has_optional, rules, self.groups)):
                return False
            self._read_settings(optimizer)
        stepped = self.tensors.step_params(self.hypers, torch.get_num_threads())
        if stepped is None:
            return False
        torch.autograd.graph.increment_version(stepped)
        if self.structure is None:
            self._keep_states()
        return True


# torch's names of states, where they differ from the rules'; and the rules whose steps it counts
TORCH_STATES = {"state_sum": "sum"}
COUNTED = {"adagrad", "adadelta", "adam", "adamw", "rmsprop"}


def _state_names(rule: Rule, group: Group) -> list[str]:
    names = [TORCH_STATES.get(state, state) for state in rule.states]
    if rule.optional_state and _has_optional(rule, group):
        names.append(rule.optional_state)
    return names


def _fits(param: torch.Tensor, entry: Entry, names: list[str]) -> bool:
    """Whether a parameter has all states, and they can be stepped as they are."""
    return all(
        isinstance(entry.get(state), torch.Tensor) and _is_alike(entry[state], param)
        for state in names
    )


def _is_alike(state: torch.Tensor, param: torch.Tensor) -> bool:
    return (
        state.shape == param.shape
        and state.dtype == param.dtype
        and state.layout is param.layout is torch.strided
        and _strides(state) == _strides(param)
        and not state.is_neg()
    )


def _strides(tensor: torch.Tensor) -> list[int]:
    """The strides that mean something."""
    return [stride for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size != 1]


def _usable_states(param: torch.Tensor, name: str, entry: Entry, names: list[str]) -> Entry:
    """Of a parameter's states those that must be copied, in its own layout and dtype.

    Another dtype than the parameter's is what ``module.double()`` leaves behind.
    """
    copies = {}
    for state in names:
        value = entry.get(state)
        if value is None:
            raise ValueError(f"the state of {name} must have {names}, got {list(entry)}")
        _check_tensor(value, f"{state} of {name}")
        if value.shape != param.shape:
            raise ValueError(
                f"{state} of {name} must be of shape {tuple(param.shape)}, got {tuple(value.shape)}"
            )
        if not _is_alike(value, param):
            copies[state] = torch.empty_like(param, requires_grad=False).copy_(value)
    return copies


def _counter(name: str, entry: Entry, is_new: bool) -> Entry:
    """The tensor that counts a parameter's steps, if there is none."""
    step = entry.get("step")
    if isinstance(step, torch.Tensor):
        if step.is_neg():
            raise TypeError(f"step of {name} must hold its value, got a negated view")
        count = step.item() if step.numel() == 1 and step.device.type == "cpu" else 0
    elif step is None or isinstance(step, (int, float)):
        count = step or 0
    else:
        raise TypeError(f"step of {name} must be a tensor of one element, got {step!r}")
    if is_new and count:
        raise ValueError(f"the state of {name} must have averages after {count} steps, got none")
    if isinstance(step, torch.Tensor):
        return {}
    dtype = torch.float64 if torch.get_default_dtype() == torch.float64 else torch.float32
    return {"step": torch.tensor(count, dtype=dtype, device="cpu")}


NUMPY_DTYPES: dict[torch.dtype, Any] = {
    torch.float32: np.dtype(np.float32),
    torch.float64: np.dtype(np.float64),
}


def _make_states(fresh: list[tuple[torch.Tensor, Entry, list[str], Group]]) -> None:
    """The states of new parameters, in the layouts that torch would give them.

    fresh : for each parameter, itself, where its states are to be, their names, its group.
    """
    layouts = []
    for param, _, names, _ in fresh:
        strides = torch.empty_like(param, device="meta").stride()
        bytes_apart = tuple(stride * param.element_size() for stride in strides)
        dtype = NUMPY_DTYPES[param.dtype]
        layout = Layout(param.data_ptr(), tuple(param.shape), dtype, bytes_apart)
        layouts.append([layout] * len(names))
    blocks = zeros_in_one_block(layouts)
    for (_, entry, names, group), arrays in zip(fresh, blocks, strict=True):
        # Tensors of their own, and not views of one: each is saved without the others.
        entry.update(zip(names, map(torch.from_numpy, arrays), strict=True))
        start = group.get("initial_accumulator_value", 0.0)
        if start:
            entry[names[0]].fill_(start)


@torch.no_grad()
def _adopt(param: torch.Tensor, grad: torch.Tensor, name: str) -> torch.Tensor:
    """A copy of the gradient in the layout of its parameter."""
    name = f"the gradient of {name}"
    _check_tensor(grad, name)
    if grad.shape != param.shape or grad.dtype != param.dtype:
        raise ValueError(
            f"{name} must be {param.dtype} of shape {tuple(param.shape)}, "
            f"got {grad.dtype} of {tuple(grad.shape)}"
        )
    return torch.empty_like(param, requires_grad=False).copy_(grad)


def _check_tensor(tensor: Any, name: str) -> None:
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(tensor).__name__}")
    if tensor.layout is not torch.strided or tensor.device.type != "cpu":
        got = f"a tensor of layout {tensor.layout} on {tensor.device}"
        raise TypeError(f"{name} must be a strided tensor on the CPU, got {got}")
    if tensor.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{name} must be float32 or float64, got {tensor.dtype}")


# What a group can hold that has the same value as long as it is the same object
IMMUTABLE = (int, float, bool, str, type(None))


def _has_optional(rule: Rule, group: Group) -> bool:
    return rule.optional_flag is not None and bool(group[rule.optional_flag])


def _hypers(rule: Rule, group: Group, defaults: dict[str, Any]) -> dict[str, Any]:
    """A group's hyper-parameters in the rule's words; the rule's where torch has no word."""
    for name in ("capturable", "differentiable", "centered"):
        if group.get(name):
            raise ValueError(f"{name} must be False, fastopt has no such step; got {group[name]!r}")
    hypers = dict(rule.class_hypers)
    for name in (*hypers, "betas"):
        if name in defaults and name not in group:
            raise ValueError(f"a parameter group must have {name!r}, got {sorted(group)}")
    for name, default in hypers.items():
        if name in group:
            # torch takes anything for a flag.
            hypers[name] = bool(group[name]) if isinstance(default, bool) else _number(group[name])
    if "beta1" in hypers:
        hypers["beta1"], hypers["beta2"] = map(_number, group["betas"])
        if "decoupled" in hypers:
            hypers["decoupled"] = bool(group["decoupled_weight_decay"])
    return hypers


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, torch.Tensor) else value
