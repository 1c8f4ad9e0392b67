import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastopt._core import Rule

_Number: TypeAlias = float | np.floating[Any] | np.integer[Any]
_Array: TypeAlias = NDArray[np.float32] | NDArray[np.float64]
# A sequence is of arrays or of groups; spelled out, a literal list of groups would not be accepted.
_Params: TypeAlias = _Array | Sequence[Any] | Mapping[Any, _Array]
_Grads: TypeAlias = _Array | Sequence[Any] | Mapping[Any, _Array | None] | None

class Optimizer:
    rule: ClassVar[Rule | None]
    param_groups: list[dict[str, Any]]
    skipped_steps: int

    def __init__(self, params: _Params, **hypers: Any) -> None: ...
    def step(
        self,
        grads: _Grads,
        *,
        max_norm: _Number | None = None,
        grad_scale: _Number = 1.0,
        skip_nonfinite: bool = False,
    ) -> float | None: ...
    @property
    def skipped(self) -> bool: ...
    @property
    def lr(self) -> float: ...
    @lr.setter
    def lr(self, value: _Number) -> None: ...
    def add_param_group(self, group: dict[str, Any]) -> None: ...
    @property
    def state(self) -> list[dict[str, Any]]: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None: ...
    def save(self, path: str | os.PathLike[str]) -> None: ...
    def load(self, path: str | os.PathLike[str]) -> None: ...
    def __getstate__(self) -> dict[str, Any]: ...
    def __setstate__(self, state: dict[str, Any]) -> None: ...

CLASSES: dict[str, type[Optimizer]]
