"""Where the states of an optimizer lie."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Layout", "zeros_in_one_block"]

_CACHE_LINE = 64
_PAGE = 4096
# Bytes of an array for which up to a page of padding is little.
_LARGE = 32768


class Layout(NamedTuple):
    """Where a state is to lie, and its shape; without strides it is contiguous."""

    address: int  # of the parameter
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    strides: tuple[int, ...] | None = None

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def place(self, start: int) -> int:
        """The next place from start, if the block begins on a page.

        Vectors then lie in cache lines as those of the parameter do, and no two arrays have a line
        in common, which two threads might write to. A large array begins where the parameter does
        in its page, so that no load stalls on a store whose address lies a little before its own
        modulo a page (4 KiB aliasing).
        """
        start += -start % _CACHE_LINE
        apart = (self.address - start) % (_PAGE if self.nbytes >= _LARGE else _CACHE_LINE)
        # The parameter may be aligned to smaller elements than those of the state.
        return start + apart - apart % self.dtype.alignment


def zeros_in_one_block(layouts: Iterable[Iterable[Layout]]) -> list[list[NDArray[Any]]]:
    """An array of zeros for each layout, all in one block of memory.

    The system backs a large block with large pages, small arrays not; fewer entries of the address
    translation then serve a step over arrays that no cache holds.
    """
    layouts = [list(of_param) for of_param in layouts]
    starts: list[list[int]] = []
    end = 0
    for of_param in layouts:
        starts.append([])
        for layout in of_param:
            starts[-1].append(layout.place(end))
            # Not even empty ones share an address, by which torch.save tells storages apart.
            end = starts[-1][-1] + max(layout.nbytes, 1)
    alignment = _PAGE if end >= _LARGE else _CACHE_LINE
    memory = np.zeros(end + alignment, np.uint8)
    block = memory[-memory.ctypes.data % alignment :]
    return [
        [
            # No step takes Python's objects, and no block of bytes can hold them.
            np.zeros(shape, dtype)
            if dtype.hasobject
            else np.ndarray(shape, dtype, block, start, strides)
            for (_, shape, dtype, strides), start in zip(of_param, of_starts, strict=True)
        ]
        for of_param, of_starts in zip(layouts, starts, strict=True)
    ]
