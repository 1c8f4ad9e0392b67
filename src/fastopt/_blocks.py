"""States in 8-bit blocks, as arrays: their shape, what is in them, and what a number becomes.

`BLOCK8` is the dtype of a block: a ``scale``, which is the largest magnitude in it, and 64
``codes``. ``csrc/kernel/blocks.h`` defines what they stand for. Steps go without this module.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastopt._core import BLOCK8

__all__ = ["BLOCK8", "fill", "pack", "shape_of", "unpack"]

_LENGTH = BLOCK8["codes"].shape[0]


def shape_of(shape: Sequence[int], rows: int | None = None) -> tuple[int, ...]:
    """That of the blocks of a parameter; in a population, each of the rows has its own."""
    if rows is None:
        return (-(-math.prod(shape) // _LENGTH),)
    return (rows, *shape_of(shape[1:]))


def _code_of_zero(squares: bool) -> tuple[np.uint32, np.float32]:
    """The bits, from the 20th on, of the float32 behind code 0, and the shift that is subtracted
    from the floats behind all codes."""
    first = np.uint32(761 if squares else 889)
    smallest = np.float32(9 / 8 * 2.0**-16)
    return first, np.float32(0) if squares else smallest


def unpack(blocks: NDArray[Any], squares: bool, shape: Sequence[int]) -> NDArray[np.float32]:
    """The numbers in blocks, in the shape of their parameter."""
    first, shift = _code_of_zero(squares)
    codes = blocks["codes"]
    magnitudes = (codes if squares else codes & np.uint8(0x7F)) + first
    values: NDArray[np.float32] = (magnitudes << np.uint32(20)).view(np.float32) - shift
    with np.errstate(invalid="ignore", under="ignore"):
        values *= (blocks["scale"] / (np.float32(1) - shift))[:, None]
    if not squares:
        np.negative(values, where=codes >= 0x80, out=values)
    return values.reshape(-1)[: math.prod(shape)].reshape(shape)


def pack(values: NDArray[np.float32], squares: bool) -> NDArray[Any]:
    """Blocks of the nearest numbers that they can hold."""
    first, shift = _code_of_zero(squares)
    blocks = np.zeros(shape_of(values.shape), BLOCK8)
    padded = np.zeros((len(blocks), _LENGTH), np.float32)
    padded.reshape(-1)[: values.size] = values.reshape(-1)
    largest = np.abs(padded).max(axis=1, initial=0)
    with np.errstate(all="ignore"):
        bits = (np.abs(padded) * ((1 - shift) / largest)[:, None] + shift).view(np.uint32)
    bits += np.uint32(0x7FFFF) + ((bits >> np.uint32(20)) & np.uint32(1))
    codes = np.maximum((bits >> np.uint32(20)).astype(np.int32) - np.int32(first), 0)
    if not squares:
        codes |= np.signbit(padded).astype(np.int32) << 7
    smallest_normal = np.finfo(np.float32).smallest_normal
    is_coded = np.isfinite(largest) & (largest >= smallest_normal)
    blocks["codes"][is_coded] = codes[is_coded]
    blocks["codes"].reshape(-1)[values.size :] = 0
    blocks["scale"] = np.where(largest < smallest_normal, 0, largest)
    blocks["scale"][~np.isfinite(largest)] = np.nan
    return blocks


def fill(blocks: NDArray[Any], value: float, squares: bool, count: int) -> None:
    """Set all of `count` numbers to one value."""
    for length, chosen in ((_LENGTH, slice(None)), (count % _LENGTH, slice(-1, None))):
        if length and blocks.size:
            blocks[chosen] = pack(np.full(length, value, np.float32), squares)
