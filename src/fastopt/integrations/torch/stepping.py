"""What the optimizers for torch share: `step`, and what is kept between two steps.

A step goes through the parameters in C, where their memory is found through the exchange interface
of DLPack. One call of it tells of a tensor what takes half a dozen of its methods.
"""

import numpy as np
import torch

from fastopt._core import ExchangeList, Snapshot, TensorList
from fastopt._placement import Layout, zeros_in_one_block


class Stepping:
    """What the classes share: `step`, and what it keeps between two steps."""

    # Made by the first step, and again whenever a tensor or a state is no longer what it was.
    _plan = None

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._move_states()
        # GradScaler then unscales the gradients itself, and leaves out steps that it must.
        self._step_supports_amp_scaling = False

    def __setstate__(self, state):
        super().__setstate__(state)
        self._plan = None

    def add_param_group(self, param_group):
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        try:
            _check_group(self._rule(group), group)
            for index, param in enumerate(group["params"]):
                if param.requires_grad:
                    _check_tensor(param, f"params[{index}]")
        except (TypeError, ValueError):
            del self.param_groups[-1]
            raise

    @torch.no_grad()
    def _move_states(self):
        """Have the states that torch's constructor made, Adagrad's, where those of a step are."""
        fresh = []
        for group in self.param_groups:
            for param in group["params"]:
                entry = self.state.get(param)
                if entry and param.requires_grad:
                    names = _state_names(self._rule(group), group)
                    fresh.append((param, entry, names, group))
        _make_states(fresh)

    @torch.compiler.disable
    def step(self, closure=None):
        """Update every parameter that has a gradient by one step.

        Parameters
        ----------
        closure : callable, optional
            Evaluates the model again and returns the loss, which `step` then returns.

        Raises
        ------
        TypeError
            If a parameter or gradient is not a strided float32 or float64 tensor on the CPU.
        ValueError
            If a parameter is not dense, tensors overlap in memory, or a hyper-parameter is out of
            range. No parameter and no state has changed then, in whichever group.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self._plan is None or not self._plan.step(self):
            self._plan = Plan(self)
            if not self._plan.step(self):
                raise RuntimeError("another thread is changing the parameters of this optimizer")
        return loss


class Plan:
    """The parameters that have had a gradient, with their states: all of them in one call into C.

    It holds as long as the groups and the state have the same tensors at the same places in memory.
    """

    @torch.no_grad()
    def __init__(self, optimizer):
        self.groups, self.state = optimizer.param_groups, optimizer.state
        self.rules = [optimizer._rule(group) for group in self.groups]
        self.idle, self.params, self.names, self.owners = [], [], [], []
        entries, steps, fresh = [], [], []
        index = 0
        for owner, group in enumerate(self.groups):
            for param in group["params"]:
                name = f"params[{index}]"
                index += 1
                if param.grad is None and not self.state.get(param):
                    self.idle.append(param)
                    continue
                _check_tensor(param, name)
                self.params.append(param)
                self.names.append(name)
                self.owners.append(owner)
                entry, names, step, is_new = self._entry(param, owner, name)
                entries.append((entry, names))
                steps.append(step)
                if is_new:
                    fresh.append((param, entry, names, group))
        _make_states(fresh)
        states = [[entry[state] for state in names] for entry, names in entries]
        self.tensors = ExchangeList(
            self.rules,
            self.params,
            states,
            self.owners,
            self.names,
            list(map(_has_optional, self.rules, self.groups)),
            (torch.Tensor, torch.Tensor.is_neg, _adopt),
        )
        self.tensors.steps = steps
        if any(rule.name in COUNTED for rule in self.rules):
            # torch's counts are tensors in the state; here all of them are views of one array.
            counts = torch.from_numpy(self.tensors.share_counts())
            for param, count in zip(self.params, counts, strict=True):
                self.state[param]["step"] = count
        lists = [group["params"] for group in self.groups]
        self.structure = Snapshot([self.groups, self.state, *lists, *self.state.values()])
        self.read_settings()

    def _entry(self, param, owner, name):
        """A parameter's entry, the names of its states, its count of steps, if it has no states."""
        rule, group = self.rules[owner], self.groups[owner]
        names = _state_names(rule, group)
        if not names:
            return {}, names, 0, False
        entry = self.state[param]
        if rule.name in COUNTED:
            entry.setdefault("step", torch.tensor(0.0))
        is_new = all(entry.get(state) is None for state in names)
        return entry, names, _count_steps(entry, names, param, name, is_new), is_new

    def read_settings(self):
        self.settings = Snapshot(self.groups)
        # The value of a tensor, which lr may be, can change while the tensor is the same.
        self.is_fixed = not any(
            isinstance(number, torch.Tensor)
            for group in self.groups
            for value in group.values()
            for number in (value if isinstance(value, tuple) else (value,))
        )
        self.hypers = list(map(_hypers, self.rules, self.groups))

    def step(self, optimizer):
        """Take the step; False, and nothing is done, if the plan no longer holds."""
        if not (
            optimizer.param_groups is self.groups
            and optimizer.state is self.state
            and self.structure.holds()
            and all(param.grad is None for param in self.idle)
        ):
            return False
        if not (self.is_fixed and self.settings.holds()):
            if [optimizer._rule(group) for group in self.groups] != self.rules:
                return False
            self.read_settings()
        stepped = self.tensors.step_params(self.hypers)
        if stepped is None:
            return False
        torch.autograd.graph.increment_version(stepped)
        return True


# torch's names of states, where they differ from the rules'; and the rules whose steps it counts
TORCH_STATES = {"state_sum": "sum"}
COUNTED = {"adagrad", "adadelta", "adam", "adamw", "rmsprop"}


def _state_names(rule, group):
    names = [TORCH_STATES.get(state, state) for state in rule.states]
    if _has_optional(rule, group):
        names.append(rule.optional_state)
    return names


def _count_steps(entry, names, param, name, is_new):
    """How many steps a parameter has taken; states that there are get its layout."""
    # torch's SGD has no count; a buffer means that the first step, without dampening, is over.
    step = int(entry.get("step", not is_new))
    if is_new:
        if step:
            raise ValueError(f"the state of {name} must have {names} after {step} steps, got none")
        return 0
    for state in names:
        value = entry.get(state)
        if value is None:
            raise ValueError(f"the state of {name} must have {names}, got {list(entry)}")
        _check_tensor(value, f"{state} of {name}")
        if value.shape != param.shape or value.dtype != param.dtype:
            raise ValueError(
                f"{state} of {name} must be {param.dtype} of shape {tuple(param.shape)}, "
                f"got {value.dtype} of {tuple(value.shape)}"
            )
        if value.stride() != param.stride() or value.is_neg():
            entry[state] = torch.empty_like(param, requires_grad=False).copy_(value)
    return step


NUMPY_DTYPES = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}


def _make_states(fresh):
    """The states of new parameters, in the layouts that torch would give them.

    fresh : for each parameter, itself, its entry of the state, the names of its states, its group.
    """
    layouts = []
    for param, _, _, _ in fresh:
        strides = torch.empty_like(param, device="meta").stride()
        bytes_apart = tuple(stride * param.element_size() for stride in strides)
        dtype = NUMPY_DTYPES[param.dtype]
        layouts.append(Layout(param.data_ptr(), tuple(param.shape), dtype, bytes_apart))
    blocks = zeros_in_one_block(layouts, [len(names) for _, _, names, _ in fresh])
    for (_, entry, names, group), arrays in zip(fresh, blocks, strict=True):
        # Tensors of their own, and not views of one: each is saved without the others.
        entry.update(zip(names, map(torch.from_numpy, arrays), strict=True))
        start = group.get("initial_accumulator_value", 0.0)
        if start:
            entry[names[0]].fill_(start)


@torch.no_grad()
def _adopt(param, grad, name):
    """A copy of the gradient in the layout of its parameter."""
    name = f"the gradient of {name}"
    _check_tensor(grad, name)
    if grad.shape != param.shape or grad.dtype != param.dtype:
        raise ValueError(
            f"{name} must be {param.dtype} of shape {tuple(param.shape)}, "
            f"got {grad.dtype} of {tuple(grad.shape)}"
        )
    return torch.empty_like(param, requires_grad=False).copy_(grad)


def _check_tensor(tensor, name):
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(tensor).__name__}")
    if tensor.layout is not torch.strided or tensor.device.type != "cpu":
        got = f"a tensor of layout {tensor.layout} on {tensor.device}"
        raise TypeError(f"{name} must be a strided tensor on the CPU, got {got}")
    if tensor.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{name} must be float32 or float64, got {tensor.dtype}")


def _check_group(rule, group):
    for name in ("capturable", "differentiable", "centered"):
        if group.get(name):
            raise ValueError(f"{name} must be False, fastopt has no such step; got {group[name]!r}")
    no_arrays = TensorList([rule], [], [], [], [], [_has_optional(rule, group)])
    no_arrays.check([_hypers(rule, group)])


def _has_optional(rule, group):
    return rule.optional_flag is not None and bool(group[rule.optional_flag])


def _hypers(rule, group):
    """A group's hyper-parameters in the rule's words; defaults where torch has no word."""
    hypers = dict(rule.class_hypers)
    for name in hypers:
        if name in group:
            hypers[name] = _number(group[name])
    if "beta1" in hypers:
        hypers["beta1"], hypers["beta2"] = map(_number, group["betas"])
        if "decoupled" in hypers:
            hypers["decoupled"] = bool(group["decoupled_weight_decay"])
    return hypers


def _number(value):
    return value.item() if isinstance(value, torch.Tensor) else value
