# Made by tools/stubs.py; do not edit.
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastopt import schedules as schedules
from fastopt import tune as tune
from fastopt._classes import create as create
from fastopt._configuration import __version__ as __version__
from fastopt._configuration import get_include as get_include
from fastopt._configuration import show_config as show_config
from fastopt._core import RULES as RULES
from fastopt._core import Rows as Rows
from fastopt._core import Rule
from fastopt._core import get_num_threads as get_num_threads
from fastopt._core import isa as isa
from fastopt._core import set_num_threads as set_num_threads
from fastopt._minimize import methods as methods
from fastopt._minimize import minimize as minimize
from fastopt._optimizer import Number, Params, Rate
from fastopt._optimizer import Optimizer as Optimizer
from fastopt._population import Population as Population
from fastopt._schedule_free import ScheduleFree
from fastopt._statefile import StateFileError as StateFileError

__all__ = [
    "ADOPT",
    "ASGD",
    "LAMB",
    "LARS",
    "NAG",
    "RULES",
    "SGD",
    "AdEMAMix",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "Momentum",
    "NAdam",
    "Optimizer",
    "Population",
    "Prodigy",
    "RAdam",
    "RMSprop",
    "Rows",
    "Rprop",
    "ScheduleFreeAdamW",
    "ScheduleFreeSGD",
    "StableAdamW",
    "StateFileError",
    "__version__",
    "adadelta",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "ademamix",
    "adopt",
    "asgd",
    "create",
    "get_include",
    "get_num_threads",
    "isa",
    "lamb",
    "lars",
    "lion",
    "methods",
    "minimize",
    "momentum",
    "nadam",
    "nag",
    "prodigy",
    "radam",
    "rmsprop",
    "rprop",
    "schedule_free_adamw",
    "schedule_free_sgd",
    "schedules",
    "set_num_threads",
    "sgd",
    "show_config",
    "stableadamw",
    "tune",
]

# One dtype a call, as far as a type checker sees: NumPy has no type for bfloat16.
_Scalar = TypeVar("_Scalar", np.float32, np.float64, np.float16)

def sgd(
    param: NDArray[_Scalar],
    grad: NDArray[_Scalar],
    *,
    lr: Number,
    weight_decay: Number = 0.0,
    decoupled: bool = False,
    grad_scale: Number = 1.0,
    maximize: bool = False,
    rows: NDArray[np.int32] | NDArray[np.int64] | None = None,
) -> None: ...
def momentum(
    param: NDArray[_Scalar],
    grad: NDArray[_Scalar],
    momentum_buffer: NDArray[_Scalar],
    *,
    lr: Number,
    momentum: Number = 0.9,
    dampening: Number = 0.0,
    weight_decay: Number = 0.0,
    decoupled: bool = False,
    grad_scale: Number = 1.0,
    maximize: bool = False,
    cautious: bool = False,
    rows: NDArray[np.int32] | NDArray[np.int64] | None = None,
) -> None: ...
def nag(
    param: NDArray[_Scalar],
    grad: NDArray[_Scalar],
    momentum_buffer: NDArray[_Scalar],
    *,
    lr: Number,
    momentum: Number = 0.9,
    weight_decay: Number = 0.0,
    decoupled: bool = False,
    grad_scale: Number = 1.0,
    maximize: bool = False,
    cautious: bool = False,
    rows: NDArray[np.int32] | NDArray[np.int64] | None = None,
) -> None: ...
def adagrad(
    param: NDArray[_Scalar],
    grad: NDArray[_Scalar],
    state_sum: NDArray[_Scalar],
    *,
    lr: Number = 0.01,
    eps: Number = 1e-10,
    eps_inside: bool = False,
    weight_decay: Number = 0.0,
    decoupled: bool = False,
    grad_scale: Number = 1.0,
    maximize: bool = False,
    rows: NDArray[np.int32] | NDArray[np.int64] | None = None,
) -> None: ...
def adadelta(
    param: NDArray[_Scalar],
    grad: NDArray[_Scalar],
    square_avg: NDArray[_Scalar],
    acc_delta: NDArray[_Scalar],
    *,
    lr: Number = 1.0,
    rho: Number = 0.9,
    eps: Number = 1e-06,
    weight_decay: Number = 0.0,
    decoupled: bool = False,
    grad_scale: Number = 1.0,
    maximize: bool = False,
    rows: NDArray[np.int32] | NDArray[np.int64] | None = None,
) -> None: ...
def adam(
    param: NDArray[_Scalar],
    grad: NDArray[_Scalar],
    exp_avg: NDArray[_Scalar],
    exp_avg_sq: NDArray[_Scalar],
    max_exp_avg_sq: NDArray[_Scalar] | None = None,
    *,
    step: int | np.integer[Any],
    lr: Number = 0.001,
    beta1: Number = 0.9,
    beta2: Number = 0.999,
    eps: Number = 1e-08,
    eps_hat: bool = False,
    weight_decay: Number = 0.0,
    decoupled: bool = False,
    grad_scale: Number = 1.0,
    maximize: bool = False,
    cautious: bool = False,
    rows: NDArray[np.int32] | NDArray[np.int64] | None = None,
) -> None: ...
def adamw(
    param: NDArray[_Scalar],
    grad: NDArray[_Scalar],
    exp_avg: NDArray[_Scalar],
    exp_avg_sq: NDArray[_Scalar],
    max_exp_avg_sq: NDArray[_Scalar] | None = None,
    *,
    step: int | np.integer[Any],
    lr: Number = 0.001,
    beta1: Number = 0.9,
    beta2: Number = 0.999,
    eps: Number = 1e-08,
    eps_hat: bool = False,
    weight_decay: Number = 0.01,
    grad_scale: Number = 1.0,
    maximize: bool = False,
    cautious: bool = False,
    rows: NDArray[np.int32] | NDArray[np.int64] | None = None,
) -> None: ...
def rmsprop(
    param: NDArray[_Scalar],
    grad: NDArray[_Scalar],
    square_avg: NDArray[_Scalar],
    grad_avg: NDArray[_Scalar] | None = None,
    momentum_buffer: NDArray[_Scalar] | None = None,
    *,
    lr: Number = 0.01,
    alpha: Number = 0.99,
    eps: Number = 1e-08,
    eps_inside: bool = False,
    weight_decay: Number = 0.0,
    decoupled: bool = False,
    grad_scale: Number = 1.0,
    maximize: bool = False,
    momentum: Number = 0.0,
    rows: NDArray[np.int32] | NDArray[np.int64] | None = None,
) -> None: ...
def lion(
    param: NDArray[_Scalar],
    grad: NDArray[_Scalar],
    exp_avg: NDArray[_Scalar],
    *,
    lr: Number = 0.0001,
    beta1: Number = 0.9,
    beta2: Number = 0.99,
    weight_decay: Number = 0.001,
    grad_scale: Number = 1.0,
    maximize: bool = False,
    cautious: bool = False,
    rows: NDArray[np.int32] | NDArray[np.int64] | None = None,
) -> None: ...
def adamax(
    param: NDArray[_Scalar],
    grad: NDArray[_Scalar],
    exp_avg: NDArray[_Scalar],
    exp_inf: NDArray[_Scalar],
    *,
    step: int | np.integer[Any],
    lr: Number = 0.002,
    beta1: Number = 0.9,
    beta2: Number = 0.999,
    eps: Number = 1e-08,
    weight_decay: Number = 0.0,
    decoupled: bool = False,
    grad_scale: Number = 1.0,
    maximize: bool = False,
    rows: NDArray[np.int32] | NDArray[np.int64] | None = None,
) -> None: ...
def radam(
    param: NDArray[_Scalar],
    grad: NDArray[_Scalar],
    exp_avg: NDArray[_Scalar],
    exp_avg_sq: NDArray[_Scalar],
    *,
    step: int | np.integer[Any],
    lr: Number = 0.001,
    beta1: Number = 0.9,
    beta2: Number = 0.999,
    eps: Number = 1e-08,
    weight_decay: Number = 0.0,
    decoupled: bool = False,
    grad_scale: Number = 1.0,
    maximize: bool = False,
    rows: NDArray[np.int32] | NDArray[np.int64] | None = None,
) -> None: ...
def rprop(
    param: NDArray[_Scalar],
    grad: NDArray[_Scalar],
    prev: NDArray[_Scalar],
    step_size: NDArray[_Scalar],
    *,
    lr: Number = 0.01,
    eta_minus: Number = 0.5,
    eta_plus: Number = 1.2,
    step_size_min: Number = 1e-06,
    step_size_max: Number = 50.0,
    weight_decay: Number = 0.0,
    decoupled: bool = False,
    grad_scale: Number = 1.0,
    maximize: bool = False,
    rows: NDArray[np.int32] | NDArray[np.int64] | None = None,
) -> None: ...
def nadam(
    param: NDArray[_Scalar],
    grad: NDArray[_Scalar],
    exp_avg: NDArray[_Scalar],
    exp_avg_sq: NDArray[_Scalar],
    *,
    step: int | np.integer[Any],
    mu_product: NDArray[np.float64],
    lr: Number = 0.002,
    beta1: Number = 0.9,
    beta2: Number = 0.999,
    eps: Number = 1e-08,
    momentum_decay: Number = 0.004,
    weight_decay: Number = 0.0,
    decoupled: bool = False,
    grad_scale: Number = 1.0,
    maximize: bool = False,
    cautious: bool = False,
    rows: NDArray[np.int32] | NDArray[np.int64] | None = None,
) -> None: ...
def adopt(
    param: NDArray[_Scalar],
    grad: NDArray[_Scalar],
    exp_avg: NDArray[_Scalar],
    exp_avg_sq: NDArray[_Scalar],
    *,
    step: int | np.integer[Any],
    lr: Number = 0.001,
    beta1: Number = 0.9,
    beta2: Number = 0.9999,
    eps: Number = 1e-06,
    weight_decay: Number = 0.0,
    decoupled: bool = False,
    grad_scale: Number = 1.0,
    maximize: bool = False,
    rows: NDArray[np.int32] | NDArray[np.int64] | None = None,
) -> None: ...
def ademamix(
    param: NDArray[_Scalar],
    grad: NDArray[_Scalar],
    exp_avg: NDArray[_Scalar],
    exp_avg_slow: NDArray[_Scalar],
    exp_avg_sq: NDArray[_Scalar],
    *,
    step: int | np.integer[Any],
    lr: Number = 0.001,
    beta1: Number = 0.9,
    beta2: Number = 0.999,
    beta3: Number = 0.9999,
    slow_weight: Number = 5.0,
    eps: Number = 1e-08,
    weight_decay: Number = 0.0,
    grad_scale: Number = 1.0,
    maximize: bool = False,
    rows: NDArray[np.int32] | NDArray[np.int64] | None = None,
) -> None: ...
def asgd(
    param: NDArray[_Scalar],
    grad: NDArray[_Scalar],
    param_avg: NDArray[_Scalar],
    *,
    step: int | np.integer[Any],
    eta: NDArray[np.float64],
    lr: Number = 0.01,
    lambd: Number = 0.0001,
    alpha: Number = 0.75,
    t0: Number = 1000000.0,
    weight_decay: Number = 0.0,
    decoupled: bool = False,
    grad_scale: Number = 1.0,
    maximize: bool = False,
    rows: NDArray[np.int32] | NDArray[np.int64] | None = None,
) -> None: ...
def stableadamw(
    param: NDArray[_Scalar],
    grad: NDArray[_Scalar],
    exp_avg: NDArray[_Scalar],
    exp_avg_sq: NDArray[_Scalar],
    *,
    step: int | np.integer[Any],
    lr: Number = 0.001,
    beta1: Number = 0.9,
    beta2: Number = 0.99,
    eps: Number = 1e-06,
    weight_decay: Number = 0.01,
    grad_scale: Number = 1.0,
    maximize: bool = False,
) -> None: ...
def lamb(
    param: NDArray[_Scalar],
    grad: NDArray[_Scalar],
    exp_avg: NDArray[_Scalar],
    exp_avg_sq: NDArray[_Scalar],
    *,
    step: int | np.integer[Any],
    lr: Number = 0.001,
    beta1: Number = 0.9,
    beta2: Number = 0.999,
    eps: Number = 1e-06,
    adapt: bool = True,
    weight_decay: Number = 0.01,
    grad_scale: Number = 1.0,
    maximize: bool = False,
) -> None: ...
def lars(
    param: NDArray[_Scalar],
    grad: NDArray[_Scalar],
    momentum_buffer: NDArray[_Scalar],
    *,
    lr: Number,
    momentum: Number = 0.9,
    trust_coefficient: Number = 0.001,
    eps: Number = 1e-08,
    adapt: bool = True,
    weight_decay: Number = 0.0,
    grad_scale: Number = 1.0,
    maximize: bool = False,
) -> None: ...
def schedule_free_sgd(
    param: NDArray[_Scalar],
    grad: NDArray[_Scalar],
    z_offset: NDArray[_Scalar],
    *,
    step: int | np.integer[Any],
    weight_sum: NDArray[np.float64],
    lr: Number = 1.0,
    momentum: Number = 0.9,
    warmup_steps: Number = 0.0,
    weight_decay: Number = 0.0,
    decoupled: bool = False,
    grad_scale: Number = 1.0,
    maximize: bool = False,
    rows: NDArray[np.int32] | NDArray[np.int64] | None = None,
) -> None: ...
def schedule_free_adamw(
    param: NDArray[_Scalar],
    grad: NDArray[_Scalar],
    z_offset: NDArray[_Scalar],
    exp_avg_sq: NDArray[_Scalar],
    *,
    step: int | np.integer[Any],
    weight_sum: NDArray[np.float64],
    lr: Number = 0.0025,
    beta1: Number = 0.9,
    beta2: Number = 0.999,
    eps: Number = 1e-08,
    warmup_steps: Number = 0.0,
    weight_decay: Number = 0.0,
    grad_scale: Number = 1.0,
    maximize: bool = False,
    rows: NDArray[np.int32] | NDArray[np.int64] | None = None,
) -> None: ...
def prodigy(
    param: NDArray[_Scalar],
    grad: NDArray[_Scalar],
    exp_avg: NDArray[_Scalar],
    exp_avg_sq: NDArray[_Scalar],
    s: NDArray[_Scalar],
    p0_offset: NDArray[_Scalar],
    *,
    step: int | np.integer[Any],
    d: NDArray[np.float64],
    lr: Number = 1.0,
    beta1: Number = 0.9,
    beta2: Number = 0.999,
    beta3: Number = 0.0,
    eps: Number = 1e-08,
    d0: Number = 1e-06,
    d_coef: Number = 1.0,
    growth_rate: Number = 0.0,
    use_bias_correction: bool = False,
    safeguard_warmup: bool = False,
    weight_decay: Number = 0.0,
    decoupled: bool = True,
    grad_scale: Number = 1.0,
    maximize: bool = False,
) -> None: ...

class SGD(Optimizer):
    rule: ClassVar[Rule]
    def __init__(
        self,
        params: Params,
        *,
        lr: Rate,
        weight_decay: Number = 0.0,
        decoupled: bool = False,
        maximize: bool = False,
        state_format: str | Mapping[str, str] | None = None,
        master_weights: bool = False,
        rounding: Literal["stochastic", "nearest"] = "stochastic",
        seed: int | np.integer[Any] = 0,
        ema: Number | None = None,
    ) -> None: ...

class Momentum(Optimizer):
    rule: ClassVar[Rule]
    def __init__(
        self,
        params: Params,
        *,
        lr: Rate,
        momentum: Number = 0.9,
        dampening: Number = 0.0,
        weight_decay: Number = 0.0,
        decoupled: bool = False,
        maximize: bool = False,
        cautious: bool = False,
        state_format: str | Mapping[str, str] | None = None,
        master_weights: bool = False,
        rounding: Literal["stochastic", "nearest"] = "stochastic",
        seed: int | np.integer[Any] = 0,
        ema: Number | None = None,
    ) -> None: ...

class NAG(Optimizer):
    rule: ClassVar[Rule]
    def __init__(
        self,
        params: Params,
        *,
        lr: Rate,
        momentum: Number = 0.9,
        weight_decay: Number = 0.0,
        decoupled: bool = False,
        maximize: bool = False,
        cautious: bool = False,
        state_format: str | Mapping[str, str] | None = None,
        master_weights: bool = False,
        rounding: Literal["stochastic", "nearest"] = "stochastic",
        seed: int | np.integer[Any] = 0,
        ema: Number | None = None,
    ) -> None: ...

class Adagrad(Optimizer):
    rule: ClassVar[Rule]
    def __init__(
        self,
        params: Params,
        *,
        lr: Rate = 0.01,
        eps: Number = 1e-10,
        eps_inside: bool = False,
        lr_decay: Number = 0.0,
        weight_decay: Number = 0.0,
        decoupled: bool = False,
        maximize: bool = False,
        initial_accumulator_value: Number = 0.0,
        state_format: str | Mapping[str, str] | None = None,
        master_weights: bool = False,
        rounding: Literal["stochastic", "nearest"] = "stochastic",
        seed: int | np.integer[Any] = 0,
        ema: Number | None = None,
    ) -> None: ...

class Adadelta(Optimizer):
    rule: ClassVar[Rule]
    def __init__(
        self,
        params: Params,
        *,
        lr: Rate = 1.0,
        rho: Number = 0.9,
        eps: Number = 1e-06,
        weight_decay: Number = 0.0,
        decoupled: bool = False,
        maximize: bool = False,
        state_format: str | Mapping[str, str] | None = None,
        master_weights: bool = False,
        rounding: Literal["stochastic", "nearest"] = "stochastic",
        seed: int | np.integer[Any] = 0,
        ema: Number | None = None,
    ) -> None: ...

class Adam(Optimizer):
    rule: ClassVar[Rule]
    def __init__(
        self,
        params: Params,
        *,
        lr: Rate = 0.001,
        beta1: Number = 0.9,
        beta2: Number = 0.999,
        eps: Number = 1e-08,
        eps_hat: bool = False,
        weight_decay: Number = 0.0,
        decoupled: bool = False,
        maximize: bool = False,
        cautious: bool = False,
        amsgrad: bool = False,
        state_format: str | Mapping[str, str] | None = None,
        master_weights: bool = False,
        rounding: Literal["stochastic", "nearest"] = "stochastic",
        seed: int | np.integer[Any] = 0,
        ema: Number | None = None,
    ) -> None: ...

class AdamW(Optimizer):
    rule: ClassVar[Rule]
    def __init__(
        self,
        params: Params,
        *,
        lr: Rate = 0.001,
        beta1: Number = 0.9,
        beta2: Number = 0.999,
        eps: Number = 1e-08,
        eps_hat: bool = False,
        weight_decay: Number = 0.01,
        maximize: bool = False,
        cautious: bool = False,
        amsgrad: bool = False,
        state_format: str | Mapping[str, str] | None = None,
        master_weights: bool = False,
        rounding: Literal["stochastic", "nearest"] = "stochastic",
        seed: int | np.integer[Any] = 0,
        ema: Number | None = None,
    ) -> None: ...

class RMSprop(Optimizer):
    rule: ClassVar[Rule]
    def __init__(
        self,
        params: Params,
        *,
        lr: Rate = 0.01,
        alpha: Number = 0.99,
        eps: Number = 1e-08,
        eps_inside: bool = False,
        weight_decay: Number = 0.0,
        decoupled: bool = False,
        maximize: bool = False,
        momentum: Number = 0.0,
        centered: bool = False,
        state_format: str | Mapping[str, str] | None = None,
        master_weights: bool = False,
        rounding: Literal["stochastic", "nearest"] = "stochastic",
        seed: int | np.integer[Any] = 0,
        ema: Number | None = None,
    ) -> None: ...

class Lion(Optimizer):
    rule: ClassVar[Rule]
    def __init__(
        self,
        params: Params,
        *,
        lr: Rate = 0.0001,
        beta1: Number = 0.9,
        beta2: Number = 0.99,
        weight_decay: Number = 0.001,
        maximize: bool = False,
        cautious: bool = False,
        state_format: str | Mapping[str, str] | None = None,
        master_weights: bool = False,
        rounding: Literal["stochastic", "nearest"] = "stochastic",
        seed: int | np.integer[Any] = 0,
        ema: Number | None = None,
    ) -> None: ...

class Adamax(Optimizer):
    rule: ClassVar[Rule]
    def __init__(
        self,
        params: Params,
        *,
        lr: Rate = 0.002,
        beta1: Number = 0.9,
        beta2: Number = 0.999,
        eps: Number = 1e-08,
        weight_decay: Number = 0.0,
        decoupled: bool = False,
        maximize: bool = False,
        state_format: str | Mapping[str, str] | None = None,
        master_weights: bool = False,
        rounding: Literal["stochastic", "nearest"] = "stochastic",
        seed: int | np.integer[Any] = 0,
        ema: Number | None = None,
    ) -> None: ...

class RAdam(Optimizer):
    rule: ClassVar[Rule]
    def __init__(
        self,
        params: Params,
        *,
        lr: Rate = 0.001,
        beta1: Number = 0.9,
        beta2: Number = 0.999,
        eps: Number = 1e-08,
        weight_decay: Number = 0.0,
        decoupled: bool = False,
        maximize: bool = False,
        state_format: str | Mapping[str, str] | None = None,
        master_weights: bool = False,
        rounding: Literal["stochastic", "nearest"] = "stochastic",
        seed: int | np.integer[Any] = 0,
        ema: Number | None = None,
    ) -> None: ...

class Rprop(Optimizer):
    rule: ClassVar[Rule]
    def __init__(
        self,
        params: Params,
        *,
        lr: Rate = 0.01,
        eta_minus: Number = 0.5,
        eta_plus: Number = 1.2,
        step_size_min: Number = 1e-06,
        step_size_max: Number = 50.0,
        weight_decay: Number = 0.0,
        decoupled: bool = False,
        maximize: bool = False,
        state_format: str | Mapping[str, str] | None = None,
        master_weights: bool = False,
        rounding: Literal["stochastic", "nearest"] = "stochastic",
        seed: int | np.integer[Any] = 0,
        ema: Number | None = None,
    ) -> None: ...

class NAdam(Optimizer):
    rule: ClassVar[Rule]
    def __init__(
        self,
        params: Params,
        *,
        lr: Rate = 0.002,
        beta1: Number = 0.9,
        beta2: Number = 0.999,
        eps: Number = 1e-08,
        momentum_decay: Number = 0.004,
        weight_decay: Number = 0.0,
        decoupled: bool = False,
        maximize: bool = False,
        cautious: bool = False,
        state_format: str | Mapping[str, str] | None = None,
        master_weights: bool = False,
        rounding: Literal["stochastic", "nearest"] = "stochastic",
        seed: int | np.integer[Any] = 0,
        ema: Number | None = None,
    ) -> None: ...

class ADOPT(Optimizer):
    rule: ClassVar[Rule]
    def __init__(
        self,
        params: Params,
        *,
        lr: Rate = 0.001,
        beta1: Number = 0.9,
        beta2: Number = 0.9999,
        eps: Number = 1e-06,
        weight_decay: Number = 0.0,
        decoupled: bool = False,
        maximize: bool = False,
        state_format: str | Mapping[str, str] | None = None,
        master_weights: bool = False,
        rounding: Literal["stochastic", "nearest"] = "stochastic",
        seed: int | np.integer[Any] = 0,
        ema: Number | None = None,
    ) -> None: ...

class AdEMAMix(Optimizer):
    rule: ClassVar[Rule]
    def __init__(
        self,
        params: Params,
        *,
        lr: Rate = 0.001,
        beta1: Number = 0.9,
        beta2: Number = 0.999,
        beta3: Number = 0.9999,
        slow_weight: Number = 5.0,
        eps: Number = 1e-08,
        weight_decay: Number = 0.0,
        maximize: bool = False,
        state_format: str | Mapping[str, str] | None = None,
        master_weights: bool = False,
        rounding: Literal["stochastic", "nearest"] = "stochastic",
        seed: int | np.integer[Any] = 0,
        ema: Number | None = None,
    ) -> None: ...

class ASGD(Optimizer):
    rule: ClassVar[Rule]
    def __init__(
        self,
        params: Params,
        *,
        lr: Rate = 0.01,
        lambd: Number = 0.0001,
        alpha: Number = 0.75,
        t0: Number = 1000000.0,
        weight_decay: Number = 0.0,
        decoupled: bool = False,
        maximize: bool = False,
        state_format: str | Mapping[str, str] | None = None,
        master_weights: bool = False,
        rounding: Literal["stochastic", "nearest"] = "stochastic",
        seed: int | np.integer[Any] = 0,
        ema: Number | None = None,
    ) -> None: ...

class StableAdamW(Optimizer):
    rule: ClassVar[Rule]
    def __init__(
        self,
        params: Params,
        *,
        lr: Rate = 0.001,
        beta1: Number = 0.9,
        beta2: Number = 0.99,
        eps: Number = 1e-06,
        weight_decay: Number = 0.01,
        maximize: bool = False,
        state_format: str | Mapping[str, str] | None = None,
        master_weights: bool = False,
        rounding: Literal["stochastic", "nearest"] = "stochastic",
        seed: int | np.integer[Any] = 0,
        ema: Number | None = None,
    ) -> None: ...

class LAMB(Optimizer):
    rule: ClassVar[Rule]
    def __init__(
        self,
        params: Params,
        *,
        lr: Rate = 0.001,
        beta1: Number = 0.9,
        beta2: Number = 0.999,
        eps: Number = 1e-06,
        adapt: bool = True,
        weight_decay: Number = 0.01,
        maximize: bool = False,
        state_format: str | Mapping[str, str] | None = None,
        master_weights: bool = False,
        rounding: Literal["stochastic", "nearest"] = "stochastic",
        seed: int | np.integer[Any] = 0,
        ema: Number | None = None,
    ) -> None: ...

class LARS(Optimizer):
    rule: ClassVar[Rule]
    def __init__(
        self,
        params: Params,
        *,
        lr: Rate,
        momentum: Number = 0.9,
        trust_coefficient: Number = 0.001,
        eps: Number = 1e-08,
        adapt: bool = True,
        weight_decay: Number = 0.0,
        maximize: bool = False,
        state_format: str | Mapping[str, str] | None = None,
        master_weights: bool = False,
        rounding: Literal["stochastic", "nearest"] = "stochastic",
        seed: int | np.integer[Any] = 0,
        ema: Number | None = None,
    ) -> None: ...

class ScheduleFreeSGD(ScheduleFree):
    rule: ClassVar[Rule]
    def __init__(
        self,
        params: Params,
        *,
        lr: Rate = 1.0,
        momentum: Number = 0.9,
        warmup_steps: Number = 0.0,
        weight_decay: Number = 0.0,
        decoupled: bool = False,
        maximize: bool = False,
        state_format: str | Mapping[str, str] | None = None,
        master_weights: bool = False,
        rounding: Literal["stochastic", "nearest"] = "stochastic",
        seed: int | np.integer[Any] = 0,
        ema: Number | None = None,
    ) -> None: ...

class ScheduleFreeAdamW(ScheduleFree):
    rule: ClassVar[Rule]
    def __init__(
        self,
        params: Params,
        *,
        lr: Rate = 0.0025,
        beta1: Number = 0.9,
        beta2: Number = 0.999,
        eps: Number = 1e-08,
        warmup_steps: Number = 0.0,
        weight_decay: Number = 0.0,
        maximize: bool = False,
        state_format: str | Mapping[str, str] | None = None,
        master_weights: bool = False,
        rounding: Literal["stochastic", "nearest"] = "stochastic",
        seed: int | np.integer[Any] = 0,
        ema: Number | None = None,
    ) -> None: ...

class Prodigy(Optimizer):
    rule: ClassVar[Rule]
    def __init__(
        self,
        params: Params,
        *,
        lr: Rate = 1.0,
        beta1: Number = 0.9,
        beta2: Number = 0.999,
        beta3: Number = 0.0,
        eps: Number = 1e-08,
        d0: Number = 1e-06,
        d_coef: Number = 1.0,
        growth_rate: Number = 0.0,
        use_bias_correction: bool = False,
        safeguard_warmup: bool = False,
        weight_decay: Number = 0.0,
        decoupled: bool = True,
        maximize: bool = False,
        state_format: str | Mapping[str, str] | None = None,
        master_weights: bool = False,
        rounding: Literal["stochastic", "nearest"] = "stochastic",
        seed: int | np.integer[Any] = 0,
        ema: Number | None = None,
    ) -> None: ...
