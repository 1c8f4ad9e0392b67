"""Adam with parameters, gradients and states in fewer than 32 bits, beside float32 throughout.

For a few combinations torch and DeepSpeed have a step too: these are compared on a whole model.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import fastopt
from bench.steps.arrays import LR, Tensor, aligned_copy, aligned_empty
from bench.steps.rival import Case, Rival
from bench.steps.torch_rivals import load_deepspeed, load_torch, torch_params

FLOAT32, BFLOAT16, BLOCK8 = "float32", "bfloat16", "8 bits"
# Bytes of an element; a block of 64 codes has a scale of four bytes.
SIZES = {FLOAT32: 4.0, BFLOAT16: 2.0, BLOCK8: 68 / 64}


@dataclass(frozen=True)
class Storage:
    """Formats of the buffers of Adam.

    accuracy, how : for the guide: what is lost, and the call.
    """

    param: str
    grad: str
    states: str
    accuracy: str
    remainder: bool = False
    keywords: dict[str, Any] = field(default_factory=dict)

    @property
    def buffers(self) -> str:
        """Of parameter and gradient."""
        param = f"{self.param} with remainder" if self.remainder else self.param
        return param if self.grad == self.param else f"{param}, gradient in {self.grad}"

    @property
    def name(self) -> str:
        return f"{self.buffers}; states {self.states}"

    @property
    def held(self) -> float:
        """Bytes for each parameter."""
        param = SIZES[self.param] + 2 * self.remainder
        return param + SIZES[self.grad] + 2 * SIZES[self.states]

    @property
    def moved(self) -> float:
        """Bytes that a step reads and writes for each parameter."""
        return 2 * self.held - SIZES[self.grad]

    @property
    def clipped(self) -> float:
        """How many times as many bytes are moved where the gradient is read once more."""
        return 1 + SIZES[self.grad] / self.moved

    @property
    def how(self) -> str:
        keywords = "".join(f", {name}={value!r}" for name, value in self.keywords.items())
        return f"Adam(params{keywords})".replace("'", '"')


def _stored(*formats: str, accuracy: str, remainder: bool = False) -> Storage:
    states = {BFLOAT16: "bfloat16", BLOCK8: "block8"}.get(formats[2])
    keywords: dict[str, Any] = {} if states is None else {"state_format": states}
    if remainder:
        keywords["master_weights"] = True
    return Storage(*formats, accuracy, remainder, keywords)


STORAGES = {
    storage.name: storage
    for storage in (
        _stored(FLOAT32, FLOAT32, FLOAT32, accuracy=""),
        _stored(
            *(BFLOAT16, BFLOAT16, FLOAT32),
            remainder=True,
            accuracy="as float32 parameters, bit for bit",
        ),
        _stored(FLOAT32, BFLOAT16, FLOAT32, accuracy="gradient rounded, all else exact"),
        _stored(FLOAT32, FLOAT32, BFLOAT16, accuracy="parameters exact, states rounded"),
        _stored(BFLOAT16, BFLOAT16, FLOAT32, accuracy="parameters rounded at each step"),
        _stored(
            *(BFLOAT16, BFLOAT16, BFLOAT16),
            remainder=True,
            accuracy="parameters exact, states rounded",
        ),
        _stored(BFLOAT16, BFLOAT16, BFLOAT16, accuracy="all rounded at each step"),
        _stored(
            *(FLOAT32, FLOAT32, BLOCK8),
            accuracy="parameters exact, states rounded to 4 significant bits",
        ),
        _stored(BFLOAT16, BFLOAT16, BLOCK8, remainder=True, accuracy="the same"),
        _stored(
            *(BFLOAT16, BFLOAT16, BLOCK8),
            accuracy="parameters rounded to bfloat16, states to 4 bits",
        ),
    )
}
ALL_FLOAT32 = f"{FLOAT32}; states {FLOAT32}"
FULL, NARROW, CLIPPED = "fastopt, float32", "fastopt narrow", "fastopt narrow, clipped"


def _in_format(array: np.ndarray, name: str) -> np.ndarray:
    if name == FLOAT32:
        return aligned_copy(array)
    import ml_dtypes

    return aligned_copy(array.astype(ml_dtypes.bfloat16))


def stored(
    class_name: str, tensors: list[Tensor], storage: Storage, **hypers: Any
) -> tuple[list[np.ndarray], list[np.ndarray], Any]:
    """Parameters and gradients in their formats, and an optimizer of them."""
    params = [_in_format(tensor.param, storage.param) for tensor in tensors]
    grads = [_in_format(tensor.grad, storage.grad) for tensor in tensors]
    return params, grads, getattr(fastopt, class_name)(params, **storage.keywords, **hypers)


class Narrow(Rival):
    """The class, with stochastic rounding as it comes; or all in float32."""

    packages = ("ml_dtypes",)

    def __init__(self, name: str, full: bool = False, clipped: bool = False) -> None:
        self.name, self.full, self.clipped = name, full, clipped

    def supports(self, rule, dtype, n_tensors):
        return rule.name == "adam"

    def load(self, threads):
        fastopt.set_num_threads(threads)

    def make(self, rule, tensors, storage, max_norm):
        chosen = STORAGES[ALL_FLOAT32 if self.full else storage]
        _, grads, optimizer = stored(rule.class_name, tensors, chosen, lr=LR)
        if self.clipped:
            return Case(lambda: optimizer.step(grads, max_norm=max_norm))
        return Case(lambda: optimizer.step(grads))


def in_torch(tensors: list[Tensor]) -> list[Any]:
    """Parameters and gradients in bfloat16, in torch's memory."""
    import torch

    params = []
    for tensor in tensors:
        param = torch.from_numpy(tensor.param).bfloat16()
        param.grad = torch.from_numpy(tensor.grad).bfloat16()
        params.append(param)
    return params


class TorchBfloat16(Rival):
    """All in bfloat16, rounded to nearest: torch's fused step."""

    name, pool = "torch fused, bfloat16", "torch"
    packages: tuple[str, ...] = ("torch",)

    def supports(self, rule, dtype, n_tensors):
        return rule.name in ("adam", "adamw")

    def load(self, threads):
        load_torch(threads)

    def optimizer(self, rule, params):
        import torch

        return getattr(torch.optim, rule.class_name)(params, lr=LR, fused=True)

    def make(self, rule, tensors):
        optimizer = self.optimizer(rule, in_torch(tensors))
        optimizer.step()
        return Case(optimizer.step)


class FastoptTorchBfloat16(TorchBfloat16):
    """The same from fastopt.integrations.torch, with the same rounding and states."""

    name, pool = "fastopt torch, bfloat16", "fastopt torch"

    def load(self, threads):
        super().load(threads)
        fastopt.set_num_threads(threads)

    def optimizer(self, rule, params):
        from fastopt.integrations import torch

        with warnings.catch_warnings():  # that rounding to nearest loses what it loses in torch
            warnings.simplefilter("ignore")
            return getattr(torch, rule.class_name)(params, lr=LR)


class DeepSpeedBfloat16(TorchBfloat16):
    """Parameters and gradients in bfloat16, states in float32: DeepSpeed's step."""

    name = pool = "deepspeed, bfloat16"
    packages = ("torch", "deepspeed")

    def load(self, threads):
        load_deepspeed(threads)

    def optimizer(self, rule, params):
        from deepspeed.ops.adam import DeepSpeedCPUAdam

        return DeepSpeedCPUAdam(params, lr=LR, adamw_mode=rule.name == "adamw")


class DeepSpeedThenCopies(DeepSpeedBfloat16):
    """DeepSpeed's step in float32, and then a copy of the parameters in bfloat16.

    Its gradients must have the dtype of the parameters.
    """

    name = "deepspeed, then copies"

    def make(self, rule, tensors):
        import torch

        params, _ = torch_params(tensors)
        optimizer = self.optimizer(rule, params)
        copies = [torch.empty_like(param, dtype=torch.bfloat16) for param in params]

        def step():
            optimizer.step()
            torch._foreach_copy_(copies, params)

        step()
        return Case(step)


class FastoptCopies(Narrow):
    """Gradients in bfloat16, all else in float32, and the copy written in the same pass."""

    def make(self, rule, tensors):
        import ml_dtypes

        storage = STORAGES[f"{FLOAT32}, gradient in {BFLOAT16}; states {FLOAT32}"]
        _, grads, optimizer = stored(rule.class_name, tensors, storage, lr=LR)
        copies = [aligned_empty(grad.shape, ml_dtypes.bfloat16) for grad in grads]
        return Case(lambda: optimizer.step(grads, copies=copies))


class FastoptDeepSpeedBfloat16(DeepSpeedBfloat16):
    """The same from fastopt.integrations.deepspeed."""

    name = pool = "fastopt deepspeed, bfloat16"

    def load(self, threads):
        super().load(threads)
        fastopt.set_num_threads(threads)

    def optimizer(self, rule, params):
        from fastopt.integrations.deepspeed import CPUAdam

        return CPUAdam(params, lr=LR, adamw_mode=rule.name == "adamw")


RIVALS = (
    Narrow(NARROW),
    Narrow(CLIPPED, clipped=True),
    Narrow(FULL, full=True),
    FastoptTorchBfloat16(),
    TorchBfloat16(),
    FastoptDeepSpeedBfloat16(),
    DeepSpeedBfloat16(),
    FastoptCopies("fastopt copies"),
    DeepSpeedThenCopies(),
)
