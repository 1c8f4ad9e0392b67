"""States in 8-bit blocks as tensors: bytes, in a row for each block."""

from collections.abc import Sequence
from typing import Any

import torch

from fastopt._blocks import BLOCK8, pack, shape_of, unpack

__all__ = ["DTYPE", "as_blocks", "cast", "from_blocks", "is_of_blocks", "shape_of"]

DTYPE = torch.uint8


def _shape_of_rows(shape: Sequence[int]) -> tuple[int, int]:
    """That of a state of a parameter of this shape."""
    return (*shape_of(shape), BLOCK8.itemsize)  # type: ignore[return-value]  # one dimension


def is_of_blocks(state: torch.Tensor, param: torch.Tensor) -> bool:
    """Whether a tensor has the layout of a state of this parameter."""
    return (
        state.dtype == DTYPE
        and state.shape == _shape_of_rows(param.shape)
        and state.is_contiguous()
        and state.data_ptr() % BLOCK8.alignment == 0
    )


def as_blocks(state: torch.Tensor) -> Any:
    """The same memory as an array of `BLOCK8`."""
    return state.detach().numpy().reshape(-1).view(BLOCK8)


def from_blocks(array: Any, param: torch.Tensor) -> torch.Tensor:
    """The same memory as the state of a parameter."""
    return torch.from_numpy(array.view("u1").reshape(_shape_of_rows(param.shape)))


def cast(
    state: torch.Tensor, param: torch.Tensor, dtype: torch.dtype, squares: bool
) -> torch.Tensor:
    """A state as a new one of another dtype, where one of the two is in blocks.

    Blocks have the elements of a parameter in the order in which they lie in memory.
    """
    wide = torch.empty_like(param, dtype=torch.float32, requires_grad=False)
    flat = wide.as_strided((param.numel(),), (1,))
    if state.dtype == DTYPE:
        flat.copy_(torch.from_numpy(unpack(as_blocks(state.clone()), squares, flat.shape)))
    else:
        wide.copy_(state)
    if dtype == DTYPE:
        return from_blocks(pack(flat.numpy(), squares), param)
    return torch.empty_like(param, dtype=dtype, requires_grad=False).copy_(wide)
