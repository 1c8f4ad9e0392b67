"""The rivals: which rules each has, and how it is called.

Where they share a process, all step the same arrays: the gradients, and wherever the
interface allows it the parameters and states too. So no one is helped or hurt by where its memory
lies or whether the system gave it huge pages.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.util
import os
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import fastopt
from bench.steps import numpy_steps
from bench.steps.arrays import LR, STEP, Tensor, aligned_copy
from bench.steps.copying import CopyStep, copy_library


class Case(NamedTuple):
    """One rival made ready to step.

    step : the call that is timed.
    restore : undoes, untimed and before every call, what `step` used up; None if nothing.
    """

    step: Callable[[], object]
    restore: Callable[[], None] | None = None


class Rival:
    """A library and a way to call it. Nothing foreign is imported before `load`.

    `pool` names the library whose threads step: with several threads, rivals of different pools
    are measured in different processes, since the threads of one pool spin after a step and would
    take a core from the next rival.
    """

    name: str
    pool = "fastopt"
    packages: tuple[str, ...] = ()

    def installed(self) -> bool:
        return all(importlib.util.find_spec(package) for package in self.packages)

    def supports(self, rule: fastopt.Rule, dtype: str, n_tensors: int) -> bool:
        raise NotImplementedError

    def load(self, threads: int) -> None:
        """Import the library and give it so many threads."""

    def make(
        self, rule: fastopt.Rule, tensors: list[Tensor], max_norm: float | None = None
    ) -> Case:
        raise NotImplementedError


class FastoptFunction(Rival):
    name = "fastopt"

    def supports(self, rule, dtype, n_tensors):
        return n_tensors == 1

    def load(self, threads):
        _load_fastopt(threads)

    def make(self, rule, tensors, max_norm=None):
        function = getattr(fastopt, rule.name)
        ((param, grad, states),) = tensors
        # Spelled out: unpacking would cost a fifth of the whole call on 64 elements.
        match states, "step" in rule.hypers:
            case (), False:
                return Case(lambda: function(param, grad, lr=LR))
            case (a,), False:
                return Case(lambda: function(param, grad, a, lr=LR))
            case (a, b), False:
                return Case(lambda: function(param, grad, a, b, lr=LR))
            case (a, b), True:
                return Case(lambda: function(param, grad, a, b, step=STEP, lr=LR))
        hypers = {"lr": LR, "step": STEP} if "step" in rule.hypers else {"lr": LR}
        return Case(lambda: function(param, grad, *states, **hypers))


class FastoptClass(Rival):
    name = "fastopt class"

    def supports(self, rule, dtype, n_tensors):
        return True

    def load(self, threads):
        _load_fastopt(threads)

    def make(self, rule, tensors, max_norm=None):
        optimizer = getattr(fastopt, rule.class_name)([t.param for t in tensors], lr=LR)
        grads = [tensor.grad for tensor in tensors]
        if max_norm is None:
            return Case(lambda: optimizer.step(grads))
        return Case(lambda: optimizer.step(grads, max_norm=max_norm))


def _load_fastopt(threads):
    fastopt.set_num_threads(threads)


class Numpy(Rival):
    name = "numpy"

    def supports(self, rule, dtype, n_tensors):
        return rule.name in numpy_steps.STEPS

    def make(self, rule, tensors, max_norm=None):
        return Case(numpy_steps.make_step(rule, tensors, max_norm))


_TORCH_CLASSES = {
    "sgd": ("SGD", {}),
    "momentum": ("SGD", {"momentum": 0.9}),
    "nag": ("SGD", {"momentum": 0.9, "nesterov": True}),
    "adagrad": ("Adagrad", {}),
    "adadelta": ("Adadelta", {}),
    "adam": ("Adam", {}),
    "adamw": ("AdamW", {}),
    "rmsprop": ("RMSprop", {}),
}


def _load_torch(threads):
    import torch

    torch.set_num_threads(threads)


def _torch_params(tensors):
    import torch

    params = [torch.from_numpy(tensor.param) for tensor in tensors]
    grads = [torch.from_numpy(tensor.grad) for tensor in tensors]
    for param, grad in zip(params, grads, strict=True):
        param.grad = grad
    return params, grads


def _torch_case(optimizer, params, grads, tensors, state_names, max_norm, new_grads=False):
    """Step once so that the states exist, then let them be the arrays that are shared, if any."""
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
        return rule.name in _TORCH_CLASSES and ("fused" not in self.flags or rule.name in fused)

    def load(self, threads):
        _load_torch(threads)

    def optimizers(self):
        import torch

        return torch.optim

    def make(self, rule, tensors, max_norm=None, new_grads=False):
        class_name, options = _TORCH_CLASSES[rule.name]
        params, grads = _torch_params(tensors)
        optimizer = getattr(self.optimizers(), class_name)(params, lr=LR, **options, **self.flags)
        names = ["sum" if name == "state_sum" else name for name in rule.states]
        names = names if tensors[0].states else []
        return _torch_case(optimizer, params, grads, tensors, names, max_norm, new_grads)


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
        _load_torch(threads)
        _load_fastopt(threads)


class DeepSpeed(Rival):
    name = pool = "deepspeed"
    packages = ("torch", "deepspeed")

    def supports(self, rule, dtype, n_tensors):
        return rule.name in ("adagrad", "adam", "adamw") and np.dtype(dtype) == np.float32

    def load(self, threads):
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
        _load_torch(threads)  # both run on torch's OpenMP
        import cpuinfo

        # The constructors ask it for the CPU's name, which runs programs: seconds each time.
        if not hasattr(cpuinfo.get_cpu_info, "cache_info"):
            cpuinfo.get_cpu_info = functools.cache(cpuinfo.get_cpu_info)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import deepspeed.ops.adagrad
            import deepspeed.ops.adam  # noqa: F401

    def make(self, rule, tensors, max_norm=None):
        from deepspeed.ops.adagrad import DeepSpeedCPUAdagrad
        from deepspeed.ops.adam import DeepSpeedCPUAdam

        if rule.name == "adagrad":  # overwrites the gradients past the last full vector
            tensors = [tensor._replace(grad=aligned_copy(tensor.grad)) for tensor in tensors]
        params, grads = _torch_params(tensors)
        if rule.name == "adagrad":
            optimizer, names = DeepSpeedCPUAdagrad(params, lr=LR), ["exp_avg_sq"]
        elif rule.name == "adamw":
            optimizer, names = DeepSpeedCPUAdam(params, lr=LR, weight_decay=1e-2), rule.states
        else:
            optimizer, names = DeepSpeedCPUAdam(params, lr=LR, adamw_mode=False), rule.states
        return _torch_case(optimizer, params, grads, tensors, names, max_norm)


class Thinc(Rival):
    name = pool = "thinc"
    packages = ("thinc",)

    def supports(self, rule, dtype, n_tensors):
        return rule.name == "adam" and np.dtype(dtype) == np.float32 and n_tensors == 1

    def load(self, threads):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import thinc.api  # noqa: F401

    def make(self, rule, tensors, max_norm=None):
        from thinc.api import NumpyOps

        step = NumpyOps().adam
        ((param, grad, (exp_avg, exp_avg_sq)),) = tensors
        param = param.reshape(-1)
        # It overwrites the gradient with zeros, so it gets a gradient of its own, and betas so
        # close to 1 that the moments do not decay into denormals however often it is called.
        beta1 = beta2 = float(np.nextafter(np.float32(1), np.float32(0)))
        grad = aligned_copy(grad.reshape(-1))
        exp_avg.fill(1)
        exp_avg_sq.fill(1)
        moments = exp_avg.reshape(-1), exp_avg_sq.reshape(-1)
        return Case(lambda: step(param, grad, *moments, beta1, beta2, 1e-8, LR))


_OPTAX_FUNCTIONS = {
    "sgd": ("sgd", {}),
    "momentum": ("sgd", {"momentum": 0.9}),
    "nag": ("sgd", {"momentum": 0.9, "nesterov": True}),
    "adagrad": ("adagrad", {"initial_accumulator_value": 0.0}),
    "adadelta": ("adadelta", {}),
    "adam": ("adam", {}),
    "adamw": ("adamw", {"weight_decay": 1e-2}),
    "rmsprop": ("rmsprop", {"decay": 0.99, "eps_in_sqrt": False}),
}


class Optax(Rival):
    """Jitted, with the old parameters and state donated, so that XLA can work in place."""

    name = pool = "optax"
    packages = ("jax", "optax")

    def supports(self, rule, dtype, n_tensors):
        return rule.name in _OPTAX_FUNCTIONS

    threads: int | None = None

    def load(self, threads):
        if self.threads not in (None, threads):  # XLA reads its flags once
            raise RuntimeError(
                f"optax: has {self.threads} threads, got {threads}; new process needed"
            )
        self.threads = threads
        if threads == 1:
            flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
            os.environ["XLA_FLAGS"] = flags
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import jax
            import optax  # noqa: F401
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_enable_x64", True)

    def make(self, rule, tensors, max_norm=None):
        import jax
        import optax

        name, options = _OPTAX_FUNCTIONS[rule.name]
        transform = getattr(optax, name)(LR, **options)
        if max_norm is not None:
            transform = optax.chain(optax.clip_by_global_norm(max_norm), transform)

        @functools.partial(jax.jit, donate_argnums=(0, 2))
        def update(params, grads, state):
            updates, state = transform.update(grads, state, params)
            return optax.apply_updates(params, updates), state

        params = [jax.numpy.array(tensor.param) for tensor in tensors]
        grads = [jax.numpy.array(tensor.grad) for tensor in tensors]
        state = transform.init(params)

        def step():
            nonlocal params, state
            params, state = update(params, grads, state)
            return jax.block_until_ready(params)

        return Case(step)


class ThincOptimizer(Thinc):
    """The whole call of the optimizer, as spaCy makes it: clipping, L2 and averages."""

    def __init__(self, name, module):
        self.name = self.pool = name
        self.module = module

    def load(self, threads):
        super().load(threads)
        _load_fastopt(threads)

    def make(self, rule, tensors, max_norm=None, **hypers):
        optimizer = importlib.import_module(self.module).Adam(LR, **hypers)
        ((param, grad, _),) = tensors
        zeroed = aligned_copy(grad)

        def restore():  # a step sets the gradient to zero
            zeroed[...] = grad

        return Case(lambda: optimizer((0, "W"), param, zeroed), restore)


class CopyKernel(Rival):
    """Moves the bytes of a rule's step and computes next to nothing."""

    name = "copy kernel"

    def supports(self, rule, dtype, n_tensors):
        return n_tensors == 1 and len(rule.states) <= 2

    def load(self, threads):
        self.threads = threads
        copy_library()

    def make(self, rule, tensors, max_norm=None):
        ((param, grad, states),) = tensors
        pointer = ctypes.pointer(CopyStep.of(grad, (param, *states), self.threads))
        function = copy_library().copy_step
        if function(pointer) != 0:
            raise ValueError(
                f"copy kernel: refused {1 + len(states)} arrays, {self.threads} threads"
            )
        return Case(lambda: function(pointer))


RIVALS: dict[str, Rival] = {
    rival.name: rival
    for rival in (
        FastoptFunction(),
        FastoptClass(),
        FastoptTorch(),
        ThincOptimizer("fastopt thinc", "fastopt.integrations.thinc"),
        Numpy(),
        Torch("unfused"),
        Torch("foreach"),
        Torch("fused"),
        DeepSpeed(),
        Thinc(),
        ThincOptimizer("thinc optimizer", "thinc.optimizers"),
        Optax(),
        CopyKernel(),
    )
}
