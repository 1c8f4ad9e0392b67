# Made by tools/stubs.py; do not edit.
from typing import Any, ClassVar, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastopt import schedules as schedules
from fastopt._core import RULES as RULES
from fastopt._core import Rule
from fastopt._core import get_num_threads as get_num_threads
from fastopt._core import isa as isa
from fastopt._core import set_num_threads as set_num_threads
from fastopt.configuration import __version__ as __version__
from fastopt.configuration import get_include as get_include
from fastopt.configuration import show_config as show_config
from fastopt.minimization import methods as methods
from fastopt.minimization import minimize as minimize
from fastopt.optimizers import Optimizer as Optimizer
from fastopt.optimizers import _Params
from fastopt.statefile import StateFileError as StateFileError

__all__ = [
    "NAG",
    "RULES",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Momentum",
    "Optimizer",
    "RMSprop",
    "StateFileError",
    "__version__",
    "adadelta",
    "adagrad",
    "adam",
    "adamw",
    "get_include",
    "get_num_threads",
    "isa",
    "methods",
    "minimize",
    "momentum",
    "nag",
    "rmsprop",
    "schedules",
    "set_num_threads",
    "sgd",
    "show_config",
]

# One dtype a call.
_Scalar = TypeVar("_Scalar", np.float32, np.float64)
_Number: TypeAlias = float | np.floating[Any] | np.integer[Any]

def sgd(
    param: NDArray[_Scalar],
    grad: NDArray[_Scalar],
    *,
    lr: _Number,
    weight_decay: _Number = 0.0,
    decoupled: bool = False,
    grad_scale: _Number = 1.0,
    maximize: bool = False,
) -> None: ...
def momentum(
    param: NDArray[_Scalar],
    grad: NDArray[_Scalar],
    momentum_buffer: NDArray[_Scalar],
    *,
    lr: _Number,
    momentum: _Number = 0.9,
    dampening: _Number = 0.0,
    weight_decay: _Number = 0.0,
    decoupled: bool = False,
    grad_scale: _Number = 1.0,
    maximize: bool = False,
) -> None: ...
def nag(
    param: NDArray[_Scalar],
    grad: NDArray[_Scalar],
    momentum_buffer: NDArray[_Scalar],
    *,
    lr: _Number,
    momentum: _Number = 0.9,
    weight_decay: _Number = 0.0,
    decoupled: bool = False,
    grad_scale: _Number = 1.0,
    maximize: bool = False,
) -> None: ...
def adagrad(
    param: NDArray[_Scalar],
    grad: NDArray[_Scalar],
    state_sum: NDArray[_Scalar],
    *,
    lr: _Number = 0.01,
    eps: _Number = 1e-10,
    eps_inside: bool = False,
    weight_decay: _Number = 0.0,
    decoupled: bool = False,
    grad_scale: _Number = 1.0,
    maximize: bool = False,
) -> None: ...
def adadelta(
    param: NDArray[_Scalar],
    grad: NDArray[_Scalar],
    square_avg: NDArray[_Scalar],
    acc_delta: NDArray[_Scalar],
    *,
    lr: _Number = 1.0,
    rho: _Number = 0.9,
    eps: _Number = 1e-06,
    weight_decay: _Number = 0.0,
    decoupled: bool = False,
    grad_scale: _Number = 1.0,
    maximize: bool = False,
) -> None: ...
def adam(
    param: NDArray[_Scalar],
    grad: NDArray[_Scalar],
    exp_avg: NDArray[_Scalar],
    exp_avg_sq: NDArray[_Scalar],
    max_exp_avg_sq: NDArray[_Scalar] | None = None,
    *,
    step: int | np.integer[Any],
    lr: _Number = 0.001,
    beta1: _Number = 0.9,
    beta2: _Number = 0.999,
    eps: _Number = 1e-08,
    eps_hat: bool = False,
    weight_decay: _Number = 0.0,
    decoupled: bool = False,
    grad_scale: _Number = 1.0,
    maximize: bool = False,
) -> None: ...
def adamw(
    param: NDArray[_Scalar],
    grad: NDArray[_Scalar],
    exp_avg: NDArray[_Scalar],
    exp_avg_sq: NDArray[_Scalar],
    max_exp_avg_sq: NDArray[_Scalar] | None = None,
    *,
    step: int | np.integer[Any],
    lr: _Number = 0.001,
    beta1: _Number = 0.9,
    beta2: _Number = 0.999,
    eps: _Number = 1e-08,
    eps_hat: bool = False,
    weight_decay: _Number = 0.01,
    grad_scale: _Number = 1.0,
    maximize: bool = False,
) -> None: ...
def rmsprop(
    param: NDArray[_Scalar],
    grad: NDArray[_Scalar],
    square_avg: NDArray[_Scalar],
    *,
    lr: _Number = 0.01,
    alpha: _Number = 0.99,
    eps: _Number = 1e-08,
    eps_inside: bool = False,
    weight_decay: _Number = 0.0,
    decoupled: bool = False,
    grad_scale: _Number = 1.0,
    maximize: bool = False,
) -> None: ...

class SGD(Optimizer):
    rule: ClassVar[Rule]
    def __init__(
        self,
        params: _Params,
        *,
        lr: _Number,
        weight_decay: _Number = 0.0,
        decoupled: bool = False,
        maximize: bool = False,
    ) -> None: ...

class Momentum(Optimizer):
    rule: ClassVar[Rule]
    def __init__(
        self,
        params: _Params,
        *,
        lr: _Number,
        momentum: _Number = 0.9,
        dampening: _Number = 0.0,
        weight_decay: _Number = 0.0,
        decoupled: bool = False,
        maximize: bool = False,
    ) -> None: ...

class NAG(Optimizer):
    rule: ClassVar[Rule]
    def __init__(
        self,
        params: _Params,
        *,
        lr: _Number,
        momentum: _Number = 0.9,
        weight_decay: _Number = 0.0,
        decoupled: bool = False,
        maximize: bool = False,
    ) -> None: ...

class Adagrad(Optimizer):
    rule: ClassVar[Rule]
    def __init__(
        self,
        params: _Params,
        *,
        lr: _Number = 0.01,
        eps: _Number = 1e-10,
        eps_inside: bool = False,
        lr_decay: _Number = 0.0,
        weight_decay: _Number = 0.0,
        decoupled: bool = False,
        maximize: bool = False,
        initial_accumulator_value: _Number = 0.0,
    ) -> None: ...

class Adadelta(Optimizer):
    rule: ClassVar[Rule]
    def __init__(
        self,
        params: _Params,
        *,
        lr: _Number = 1.0,
        rho: _Number = 0.9,
        eps: _Number = 1e-06,
        weight_decay: _Number = 0.0,
        decoupled: bool = False,
        maximize: bool = False,
    ) -> None: ...

class Adam(Optimizer):
    rule: ClassVar[Rule]
    def __init__(
        self,
        params: _Params,
        *,
        lr: _Number = 0.001,
        beta1: _Number = 0.9,
        beta2: _Number = 0.999,
        eps: _Number = 1e-08,
        eps_hat: bool = False,
        weight_decay: _Number = 0.0,
        decoupled: bool = False,
        maximize: bool = False,
        amsgrad: bool = False,
    ) -> None: ...

class AdamW(Optimizer):
    rule: ClassVar[Rule]
    def __init__(
        self,
        params: _Params,
        *,
        lr: _Number = 0.001,
        beta1: _Number = 0.9,
        beta2: _Number = 0.999,
        eps: _Number = 1e-08,
        eps_hat: bool = False,
        weight_decay: _Number = 0.01,
        maximize: bool = False,
        amsgrad: bool = False,
    ) -> None: ...

class RMSprop(Optimizer):
    rule: ClassVar[Rule]
    def __init__(
        self,
        params: _Params,
        *,
        lr: _Number = 0.01,
        alpha: _Number = 0.99,
        eps: _Number = 1e-08,
        eps_inside: bool = False,
        weight_decay: _Number = 0.0,
        decoupled: bool = False,
        maximize: bool = False,
    ) -> None: ...
