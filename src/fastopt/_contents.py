"""New contents of arrays: whether they fit, in which type they are, and writing all at once."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastopt._blocks import BLOCK8, pack, shape_of, unpack
from fastopt._formats import STATE_FORMATS, compute_type, join, name_of_dtype, split

__all__ = ["converted", "param_of", "require_like", "require_params", "wide_param", "write"]


def require_params(
    found: Sequence[NDArray[Any]] | None, own: Sequence[NDArray[Any]], convert: bool = False
) -> None:
    if found is None:
        return
    if len(found) != len(own):
        raise ValueError(f"there are {len(found)} parameters, this optimizer has {len(own)}")
    for index, (array, param) in enumerate(zip(found, own, strict=True)):
        require_like(array, param, f"parameter {index}", convert)
        if not param.flags.writeable:
            raise ValueError(f"parameter {index} of this optimizer is read-only")


def require_like(
    array: Any,
    own: NDArray[Any],
    name: str,
    convert: bool = False,
    shape: tuple[int, ...] | None = None,
) -> None:
    """Raise if an array cannot stand for our own.

    For a state, which may be in blocks, `shape` is that of its parameter.
    """
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{name} must be a numpy.ndarray, got {type(array).__name__}")
    can_convert = (
        _is_float(array)
        and _is_float(own)
        and _has_shape(array, own.shape if shape is None else shape)
    )
    if convert and can_convert:
        return
    if array.shape != own.shape or array.dtype != own.dtype:
        hint = "; convert=True casts" if can_convert else ""
        raise ValueError(
            f"{name} must be {name_of_dtype(own.dtype)} of shape {own.shape}, "
            f"got {name_of_dtype(array.dtype)} of {array.shape}{hint}"
        )


def _is_float(array: NDArray[Any]) -> bool:
    return name_of_dtype(array.dtype) in ("float64", *STATE_FORMATS)


def _has_shape(array: NDArray[Any], shape: tuple[int, ...]) -> bool:
    return array.shape == (shape_of(shape) if array.dtype == BLOCK8 else shape)


def wide_param(param: NDArray[Any], remainder: NDArray[Any] | None) -> NDArray[Any]:
    """A parameter in the type that it computes in."""
    return param.astype(compute_type(param)) if remainder is None else join(param, remainder)


def param_of(
    param: NDArray[Any],
    remainder: NDArray[Any] | None,
    content: NDArray[Any] | None,
    content_remainder: NDArray[Any] | None,
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """What a parameter is to be, and its remainder where it has one: itself without a content."""
    if content is None:
        is_new = remainder is not None and content_remainder is not None
        return param, content_remainder if is_new else remainder
    if content_remainder is not None:
        _require_remainder(content_remainder, content)
        content = join(content, content_remainder)
    if remainder is None:
        return converted(param, content), None
    with np.errstate(under="ignore"):
        return split(content.astype(np.float32), param.dtype)


def _require_remainder(remainder: NDArray[Any], param: NDArray[Any]) -> None:
    of_bfloat16 = name_of_dtype(param.dtype) == "bfloat16"
    if not of_bfloat16 or remainder.dtype != np.int16 or remainder.shape != param.shape:
        raise ValueError(
            "a remainder must be int16 beside a bfloat16 parameter of its shape, got "
            f"{remainder.dtype} of {remainder.shape} beside {name_of_dtype(param.dtype)} of "
            f"{param.shape}"
        )


def converted(
    own: NDArray[Any], content: NDArray[Any], shape: Sequence[int] = (), squares: bool = False
) -> NDArray[Any]:
    """The content in the dtype of our own array.

    Where one of the two is in blocks, `shape` is that of their parameter, and `squares` says
    whether these blocks are of squares.
    """
    if content.dtype == own.dtype:
        return content
    # By way of float32, from which and to which every dtype can be cast.
    with np.errstate(under="ignore"):
        in_blocks = content.dtype == BLOCK8
        wide = unpack(content, squares, shape) if in_blocks else content.astype(np.float32)
        return pack(wide, squares) if own.dtype == BLOCK8 else wide.astype(own.dtype)


def write(
    arrays: Sequence[Any],
    contents: Sequence[Any],
    notes: Iterable[partial[None]],
    place: Any = ...,
) -> None:
    """Write a content into each array, at the same place of all, after the calls in notes.

    All in one call into C, so that Ctrl-C, which Python looks for between its own instructions,
    comes before the first write or after the last. What the notes call is not written in Python.
    """
    writes = map(operator.setitem, arrays, repeat(place), contents)
    list(chain(map(partial.__call__, notes), writes))
