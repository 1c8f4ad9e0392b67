"""Drop-in replacements for torch's optimizers, for parameters on the CPU.

Each class is a subclass of torch's own of the same name: constructor, schedulers, hooks, groups
and state dictionaries are torch's; only the arithmetic of `step` is fastopt's. Parameters,
gradients and states stay torch tensors and are updated in place, without a copy. A state dictionary
of one can be loaded into the other.

float32 and float64. A parameter must be dense: contiguous, or a permutation of a contiguous tensor
such as ``channels_last``. A gradient of another layout than its parameter's is copied into that
layout first. What is not supported is refused: sparse, complex, half-precision and CUDA tensors,
``capturable``, ``differentiable``, and the ``centered`` and ``momentum`` variants of RMSprop.
``foreach`` and ``fused`` make no difference.
"""

try:
    import torch
except ImportError as error:
    raise ModuleNotFoundError(
        "fastopt.integrations.torch needs PyTorch; install it with: pip install torch",
        name="torch",
    ) from error

import numpy as np

from fastopt import RULES
from fastopt._core import TensorList

__all__ = ["SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "RMSprop"]


class _Fastopt:
    """What the classes share: `step`, and what it keeps between two steps."""

    # Made by the first step, and again whenever a tensor or a state is no longer what it was.
    _plan = None

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
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

    @torch.compiler.disable
    @torch.no_grad()
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
            range.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        rules = [self._rule(group) for group in self.param_groups]
        if self._plan is None or not self._plan.holds(self, rules):
            self._plan = _Plan(self, rules)
        self._plan.step(self.param_groups)
        return loss


class _Plan:
    """Arrays that share the memory of the parameters that have had a gradient, and of their states.

    It holds as long as every tensor is still the same object at the same place in memory.
    """

    def __init__(self, optimizer, rules):
        self.rules = rules
        self.idle = []
        parts = {}
        index = 0
        for number, (group, rule) in enumerate(zip(optimizer.param_groups, rules, strict=True)):
            part = parts.setdefault(rule, _Part(rule, optimizer.param_groups))
            for param in group["params"]:
                if param.grad is None and not optimizer.state.get(param):
                    self.idle.append(param)
                else:
                    part.append(optimizer, number, param, f"params[{index}]")
                index += 1
        self.parts = [part for part in parts.values() if part.params]
        for part in self.parts:
            part.attach(optimizer)
        self.mark = _fingerprint(optimizer)

    def holds(self, optimizer, rules):
        return (
            rules == self.rules
            and all(param.grad is None for param in self.idle)
            and all(part.counts_hold() for part in self.parts)
            and _fingerprint(optimizer) == self.mark
        )

    def step(self, groups):
        # Everything is looked at before the first part is stepped.
        ready = [(part, part.grads(), part.hypers(groups)) for part in self.parts]
        for part, grads, hypers in ready:
            part.step(grads, hypers)


class _Part:
    """The tensors of one rule: all of them in one call into C."""

    def __init__(self, rule, groups):
        self.rule = rule
        self.optional = [_has_optional(rule, group) for group in groups]
        self.params, self.names, self.groups, self.states, self.steps = [], [], [], [], []

    def append(self, optimizer, group, param, name):
        _check_tensor(param, name)
        if not _is_dense(param):
            raise ValueError(
                f"{name} must be dense (contiguous or a permutation of it), got shape "
                f"{tuple(param.shape)} with strides {param.stride()}"
            )
        names = [TORCH_STATES.get(state, state) for state in self.rule.states]
        if self.optional[group]:
            names.append(self.rule.optional_state)
        settings = optimizer.param_groups[group]
        states, step = [], 0
        if names:
            entry = optimizer.state[param]
            if self.rule.class_name in COUNTED:
                entry.setdefault("step", torch.tensor(0.0))
            step = _states_of(entry, names, param, name, settings)
            states = [_array(entry[state]) for state in names]
        self.params.append(param)
        self.names.append(name)
        self.groups.append(group)
        self.states.append(states)
        self.steps.append(step)

    def attach(self, optimizer):
        self.tensors = TensorList(
            self.rule,
            [_array(param) for param in self.params],
            self.states,
            self.groups,
            self.names,
            self.optional,
        )
        self.tensors.steps = self.steps
        # torch's counts are tensors in the state; here all of them are views of one array.
        self.counts = np.array(self.steps, np.float32)
        self.counted = self.counts.tobytes()
        if self.rule.class_name in COUNTED:
            for param, count in zip(self.params, torch.from_numpy(self.counts), strict=True):
                optimizer.state[param]["step"] = count
        self.contiguous = [param.is_contiguous() for param in self.params]

    def hypers(self, groups):
        hypers = [_hypers(self.rule, group) for group in groups]
        self.tensors.check(hypers)
        return hypers

    def counts_hold(self):
        return self.counts.tobytes() == self.counted

    def grads(self):
        arrays = []
        for param, name, contiguous in zip(self.params, self.names, self.contiguous, strict=True):
            grad = param.grad
            if grad is None:
                arrays.append(None)
                continue
            try:
                # torch refuses this for whatever is not plain memory that numbers can be read from.
                array = grad.numpy() if contiguous and grad.is_contiguous() else None
            except (RuntimeError, TypeError):
                array = None
            if array is None:
                array = _grad_like(param, grad, f"the gradient of {name}")
            arrays.append(array)
        return arrays

    def step(self, grads, hypers):
        self.tensors.step(grads, hypers, None, 1.0, False)
        if self.rule.class_name in COUNTED:
            self.counts[:] = self.tensors.steps
            self.counted = self.counts.tobytes()
        torch.autograd.graph.increment_version(
            [param for param, grad in zip(self.params, grads, strict=True) if grad is not None]
        )


# torch's names of states, where they differ from the rules'; and the classes that count steps
TORCH_STATES = {"state_sum": "sum"}
COUNTED = {"Adagrad", "Adadelta", "Adam", "AdamW", "RMSprop"}


def _fingerprint(optimizer):
    """What changes when a parameter or a state is replaced, or moves to other memory."""
    sizes = [len(group["params"]) for group in optimizer.param_groups]
    params = [param for group in optimizer.param_groups for param in group["params"]]
    states = [
        value
        for entry in optimizer.state.values()
        for value in entry.values()
        if isinstance(value, torch.Tensor)
    ]
    tensors = params + states
    return (
        sizes,
        list(map(id, optimizer.state)),
        list(map(id, tensors)),
        list(map(torch.Tensor.data_ptr, tensors)),
        list(map(torch.Tensor.stride, params)),
    )


def _states_of(entry, names, param, name, group):
    """Bring a parameter's entry of the state into order; how many steps it has taken."""
    is_new = all(entry.get(state) is None for state in names)
    # torch's SGD has no count; a buffer means that the first step, without dampening, is over.
    step = int(entry.get("step", not is_new))
    if is_new and step:
        raise ValueError(f"the state of {name} must have {names} after {step} steps, got none")
    for index, state in enumerate(names):
        value = entry.get(state)
        if value is None:
            if not is_new:
                raise ValueError(f"the state of {name} must have {names}, got {list(entry)}")
            start = group.get("initial_accumulator_value", 0.0) if index == 0 else 0.0
            entry[state] = torch.full_like(
                param, start, memory_format=torch.preserve_format, requires_grad=False
            )
            continue
        _check_tensor(value, f"{state} of {name}")
        if value.shape != param.shape or value.dtype != param.dtype:
            raise ValueError(
                f"{state} of {name} must be {param.dtype} of shape {tuple(param.shape)}, "
                f"got {value.dtype} of {tuple(value.shape)}"
            )
        if value.stride() != param.stride():
            entry[state] = torch.empty_like(param, requires_grad=False).copy_(value)
    return step


def _grad_like(param, grad, name):
    """The gradient in the layout of its parameter, copied if it has another."""
    _check_tensor(grad, name)
    if grad.shape != param.shape or grad.dtype != param.dtype:
        raise ValueError(
            f"{name} must be {param.dtype} of shape {tuple(param.shape)}, "
            f"got {grad.dtype} of {tuple(grad.shape)}"
        )
    grad = grad.detach().resolve_neg()
    if grad.stride() != param.stride():
        grad = torch.empty_like(param, requires_grad=False).copy_(grad)
    return _array(grad)


def _array(tensor):
    """An array on the tensor's memory: of its shape if that is contiguous, else flat."""
    tensor = tensor.detach()
    if not tensor.is_contiguous():
        tensor = tensor.as_strided((tensor.numel(),), (1,))
    return tensor.numpy()


def _is_dense(tensor):
    """Whether the elements fill a block of memory, each place once, in whatever order."""
    if tensor.is_contiguous():
        return True
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size != 1:
            if stride != expected:
                return False
            expected *= size
    return True


def _check_tensor(tensor, name):
    if tensor.layout is not torch.strided or tensor.device.type != "cpu":
        got = f"a tensor of layout {tensor.layout} on {tensor.device}"
        raise TypeError(f"{name} must be a strided tensor on the CPU, got {got}")
    if tensor.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{name} must be float32 or float64, got {tensor.dtype}")


def _check_group(rule, group):
    for name in ("capturable", "differentiable", "centered"):
        if group.get(name):
            raise ValueError(f"{name} must be False, fastopt has no such step; got {group[name]!r}")
    no_arrays = TensorList(rule, [], [], [], [], [_has_optional(rule, group)])
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


class SGD(_Fastopt, torch.optim.SGD):
    """`torch.optim.SGD` with fastopt's step: plain, with momentum, or Nesterov's.

    Takes what torch's class takes. Momentum and dampening must be in [0, 1); with ``nesterov`` the
    equation is that of `fastopt.nag`, with ``momentum`` that of `fastopt.momentum`, else that of
    `fastopt.sgd`.

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

    def _rule(self, group):
        if group["momentum"] == 0:
            return RULES["sgd"]
        if not group["nesterov"]:
            return RULES["momentum"]
        if group["dampening"] != 0:
            raise ValueError(f"dampening must be 0 with nesterov, got {group['dampening']!r}")
        return RULES["nag"]


class Adagrad(_Fastopt, torch.optim.Adagrad):
    """`torch.optim.Adagrad` with fastopt's step, the equation of `fastopt.adagrad`.

    Takes what torch's class takes; gradients must not be sparse.

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

    def _rule(self, group):
        return RULES["adagrad"]


class Adadelta(_Fastopt, torch.optim.Adadelta):
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

    def _rule(self, group):
        return RULES["adadelta"]


class Adam(_Fastopt, torch.optim.Adam):
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

    def _rule(self, group):
        return RULES["adam"]


class AdamW(_Fastopt, torch.optim.AdamW):
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

    def _rule(self, group):
        return RULES["adamw"]


class RMSprop(_Fastopt, torch.optim.RMSprop):
    """`torch.optim.RMSprop` with fastopt's step, the equation of `fastopt.rmsprop`.

    Takes what torch's class takes, but for ``centered``, a momentum, and ``capturable``; alpha must
    be in [0, 1).

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

    def _rule(self, group):
        if group["momentum"] != 0:
            raise ValueError(
                f"momentum must be 0, fastopt's RMSprop has none; got {group['momentum']!r}"
            )
        return RULES["rmsprop"]
