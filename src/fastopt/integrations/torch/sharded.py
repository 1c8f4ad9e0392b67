"""DTensors, of which each process holds a part: that part is stepped where it lies."""

import math
from typing import Any

import torch

__all__ = ["first_place", "grad_of", "is_part", "is_sharded", "part_of", "whole_of"]


def is_sharded(tensor: Any) -> bool:
    return hasattr(tensor, "to_local") and hasattr(tensor, "placements")


def is_part(tensor: Any) -> bool:
    """Whether this process holds a part of it, as a DTensor or as a flat parameter of FSDP's."""
    return is_sharded(tensor) or hasattr(tensor, "_fsdp_flattened")


def part_of(tensor: Any) -> Any:
    """The part of a DTensor that this process holds; any other tensor itself."""
    return tensor.to_local() if is_sharded(tensor) else tensor


def whole_of(part: torch.Tensor, param: Any) -> torch.Tensor:
    """The DTensor, sharded as a parameter is, of which this process holds a part."""
    if not is_sharded(param):
        return part
    from torch.distributed.tensor import DTensor

    return DTensor.from_local(
        part,
        param.device_mesh,
        param.placements,
        run_check=False,
        shape=param.shape,
        stride=param.stride(),
    )


def grad_of(param: Any) -> torch.Tensor | None:
    """This process's part of a DTensor's gradient, sharded as the parameter is."""
    if param.grad is None:
        return None
    grad = param.grad
    if grad.placements != param.placements:
        grad = grad.redistribute(param.device_mesh, param.placements)
    return grad.to_local()


def first_place(param: Any) -> int:
    """The place of a part's first element among all elements of its parameter.

    If a parameter is sharded in its first dimension, as by FSDP, a part is one range of places. Its
    stochastic rounding is then the same as in the whole parameter.
    """
    if not is_sharded(param):
        return 0
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    _, offset = compute_local_shape_and_global_offset(
        param.shape, param.device_mesh, param.placements
    )
    return sum(start * math.prod(param.shape[axis + 1 :]) for axis, start in enumerate(offset))
