"""The rivals that step torch's tensors: torch itself, fastopt's drop-in for it, and DeepSpeed."""

from __future__ import annotations

import functools
import os
import warnings
from types import MappingProxyType

import numpy as np

import fastopt
from bench.steps.arrays import LR, aligned_copy
from bench.steps.rival import Case, Rival

_TORCH_CLASSES = {
    "sgd": ("SGD", {}),
    "momentum": ("SGD", {"momentum": 0.9}),
    "nag": ("SGD", {"momentum": 0.9, "nesterov": True}),
    "adagrad": ("Adagrad", {}),
    "adadelta": ("Adadelta", {}),
    "adam": ("Adam", {}),
    "adamw": ("AdamW", {}),
    "rmsprop": ("RMSprop", {}),
    "adamax": ("Adamax", {}),
    "radam": ("RAdam", {}),
    "nadam": ("NAdam", {}),
    "asgd": ("ASGD", {}),
    "rprop": ("Rprop", {}),
}

_TORCH_STATES = {"state_sum": "sum", "param_avg": "ax"}


def load_torch(threads):
    import torch

    torch.set_num_threads(threads)


def torch_params(tensors):
    import torch

    params = [torch.from_numpy(tensor.param) for tensor in tensors]
    grads = [torch.from_numpy(tensor.grad) for tensor in tensors]
    for param, grad in zip(params, grads, strict=True):
        param.grad = grad
    return params, grads


def torch_case(optimizer, params, grads, tensors, state_names, max_norm, new_grads=False):
    """Step once so that the states exist, then replace them by the shared arrays, if any."""
    import torch

    optimizer.step()
    for param, tensor in zip(params, tensors, strict=True):
        for name, state in zip(state_names, tensor.states, strict=True):
            if not isinstance(optimizer.state[param][name], torch.Tensor):
                raise TypeError(f"{type(optimizer).__name__} keeps no tensor {name!r}")
            optimizer.state[param][name] = torch.from_numpy(state)
    if max_norm is None and not new_grads:
        return Case(optimizer.step)

    def renew():  # a backward pass brings new tensors
        for param, grad in zip(params, grads, strict=True):
            param.grad = grad.detach()

    if max_norm is None:
        return Case(optimizer.step, renew)

    def step():
        torch.nn.utils.clip_grad_norm_(params, max_norm)
        optimizer.step()
        optimizer.zero_grad()

    return Case(step, renew)  # zero_grad drops the gradients


class Torch(Rival):
    pool = "torch"
    packages = ("torch",)

    def __init__(self, variant):
        self.name = f"torch {variant}"
        self.flags = {
            "unfused": {"foreach": False},
            "foreach": {"foreach": True},
            "fused": {"fused": True},
        }[variant]

    def supports(self, rule, dtype, n_tensors):
        # torch has no fused CPU kernel for the others
        fused = ("sgd", "momentum", "nag", "adagrad", "adam", "adamw")
        if rule.name not in _TORCH_CLASSES or ("fused" in self.flags and rule.name not in fused):
            return False
        return hasattr(self.optimizers(), _TORCH_CLASSES[rule.name][0])

    def load(self, threads):
        load_torch(threads)

    def optimizers(self):
        import torch

        return torch.optim

    def make(self, rule, tensors, max_norm=None, new_grads=False, keywords=MappingProxyType({})):
        class_name, options = _TORCH_CLASSES[rule.name]
        params, grads = torch_params(tensors)
        options = {"lr": LR, **options, **self.flags, **keywords}
        optimizer = getattr(self.optimizers(), class_name)(params, **options)
        names = [_TORCH_STATES.get(name, name) for name in rule.states]
        names = names if tensors[0].states else []
        return torch_case(optimizer, params, grads, tensors, names, max_norm, new_grads)


class FastoptTorch(Torch):
    """fastopt.integrations.torch: torch's interface, fastopt's step."""

    pool = "fastopt torch"

    def __init__(self):
        self.name = "fastopt torch"
        self.flags = {}

    def optimizers(self):
        from fastopt.integrations import torch

        return torch

    def load(self, threads):
        load_torch(threads)
        fastopt.set_num_threads(threads)


def load_deepspeed(threads):
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    load_torch(threads)  # both run on torch's OpenMP
    import cpuinfo

    # The constructors ask for the CPU's name, for which cpuinfo runs programs for seconds.
    if not hasattr(cpuinfo.get_cpu_info, "cache_info"):
        cpuinfo.get_cpu_info = functools.cache(cpuinfo.get_cpu_info)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import deepspeed.ops.adagrad
        import deepspeed.ops.adam
        import deepspeed.ops.lion  # noqa: F401


class DeepSpeed(Rival):
    name = pool = "deepspeed"
    packages = ("torch", "deepspeed")

    def supports(self, rule, dtype, n_tensors):
        return rule.name in ("adagrad", "adam", "adamw", "lion") and np.dtype(dtype) == np.float32

    def load(self, threads):
        load_deepspeed(threads)

    def make(self, rule, tensors, max_norm=None):
        from deepspeed.ops.adagrad import DeepSpeedCPUAdagrad
        from deepspeed.ops.adam import DeepSpeedCPUAdam
        from deepspeed.ops.lion import DeepSpeedCPULion

        if rule.name == "adagrad":  # overwrites the gradients past the last full vector
            tensors = [tensor._replace(grad=aligned_copy(tensor.grad)) for tensor in tensors]
        params, grads = torch_params(tensors)
        if rule.name == "adagrad":
            optimizer, names = DeepSpeedCPUAdagrad(params, lr=LR), ["exp_avg_sq"]
        elif rule.name == "lion":
            optimizer, names = DeepSpeedCPULion(params, lr=LR, weight_decay=1e-3), rule.states
        elif rule.name == "adamw":
            optimizer, names = DeepSpeedCPUAdam(params, lr=LR, weight_decay=1e-2), rule.states
        else:
            optimizer, names = DeepSpeedCPUAdam(params, lr=LR, adamw_mode=False), rule.states
        return torch_case(optimizer, params, grads, tensors, names, max_norm)
