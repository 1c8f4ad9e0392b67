"""The rivals: which rules each has, and how it is called.

Rivals that share a process step the same arrays: the gradients, and wherever the interface allows
it the parameters and states too. So the place of the memory, and whether the system gave huge
pages, matter for all of them alike.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import operator
import os
import warnings
from types import MappingProxyType

import numpy as np

import fastopt
from bench.steps import compiled_rivals, narrow, numpy_steps, populations, sparse_rivals
from bench.steps.arrays import LR, STEP, aligned_copy
from bench.steps.copying import CopyStep, copy_library
from bench.steps.package_rivals import PACKAGES
from bench.steps.rival import Case, Rival
from bench.steps.torch_rivals import DeepSpeed, FastoptTorch, Torch


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
            case (a, b), True if rule.carried is None:
                return Case(lambda: function(param, grad, a, b, step=STEP, lr=LR))
        hypers = {"lr": LR, "step": STEP} if "step" in rule.hypers else {"lr": LR}
        if rule.carried is not None:
            hypers[rule.carried] = np.zeros(rule.carried_shape)
        return Case(lambda: function(param, grad, *states, **hypers))


class FastoptClass(Rival):
    name = "fastopt class"

    def supports(self, rule, dtype, n_tensors):
        return True

    def load(self, threads):
        _load_fastopt(threads)

    def make(self, rule, tensors, max_norm=None, keywords=MappingProxyType({})):
        params = [tensor.param for tensor in tensors]
        optimizer = getattr(fastopt, rule.class_name)(params, lr=LR, **keywords)
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
    "lion": ("lion", {}),
    "adamax": ("adamax", {}),
    "radam": ("radam", {}),
    "nadam": ("nadam", {}),
    "lamb": ("lamb", {"weight_decay": 1e-2}),
    "lars": ("lars", {}),
    "rprop": ("rprop", {}),
    "adopt": ("contrib.adopt", {}),
    "ademamix": ("contrib.ademamix", {}),
    "schedule_free_sgd": ("contrib.schedule_free_sgd", {}),
    "schedule_free_adamw": ("contrib.schedule_free_adamw", {}),
    "prodigy": ("contrib.prodigy", {}),
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
            import optax.contrib  # noqa: F401
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_enable_x64", True)

    def make(self, rule, tensors, max_norm=None, keywords=MappingProxyType({})):
        import jax
        import optax

        name, options = _OPTAX_FUNCTIONS[rule.name]
        transform = operator.attrgetter(name)(optax)(LR, **{**options, **keywords})
        if max_norm is not None:
            transform = optax.chain(optax.clip_by_global_norm(max_norm), transform)

        @functools.partial(jax.jit, donate_argnums=(0, 2))
        def update(params, grads, state):
            updates, state = transform.update(grads, state, params)
            return optax.apply_updates(params, updates), state

        params = [jax.numpy.array(tensor.param) for tensor in tensors]
        grads = [jax.numpy.array(tensor.grad) for tensor in tensors]
        # Some states hold the parameters themselves, which would then be donated twice.
        state = jax.tree.map(jax.numpy.copy, transform.init(params))

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
        *PACKAGES,
        CopyKernel(),
        *populations.RIVALS,
        *sparse_rivals.RIVALS,
        *compiled_rivals.RIVALS,
        *narrow.RIVALS,
    )
}
