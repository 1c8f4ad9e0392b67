"""The layout of a state file: one JSON header and any number of arrays.

Layout, version 1. Integers are unsigned and little-endian, offsets are from the start of the file:

====== ======== =====================================================================
offset bytes    content
====== ======== =====================================================================
0      8        magic, ``b"\x89fastopt"``
8      4        version
12     4        ``n``, the length of the header
16     8        the length of the whole file
24     ``n``    header: JSON in UTF-8, ``{"header": {...}, "arrays": [[name, dtype, shape], ...]}``
...    0 to 63  zeros up to the next multiple of 64
...             the elements of each array, little-endian in C order, in the order of the header,
                each followed by zeros up to the next multiple of 64
last   32       SHA-256 of everything before it
====== ======== =====================================================================

The dtypes are ``float32``, ``float64``, ``int64``, ``float16``, ``int16``, ``bfloat16``, which
the package ml_dtypes reads, and ``block8``, blocks of 68 bytes: a ``float32``, which is the scale,
and 64 codes. There are no offsets in the header: each array starts where the one before it ends, so
no two can overlap.

Nothing that is read is ever executed, and nothing is allocated for a size that the file only
claims: every length is compared with the real length of the file first, and the header may not be
longer than `MAX_HEADER_BYTES`.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Iterable, Iterator
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fastopt._blocks import BLOCK8
from fastopt._formats import name_of_dtype, named_dtype

__all__ = ["CHUNK_BYTES", "StateFileError", "decode", "encode", "read_one", "with_digest"]

VERSION = 1
MAX_HEADER_BYTES = 64 * 2**20

_MAGIC = b"\x89fastopt"
_PREFIX = struct.Struct("<8sIIQ")
_ALIGNMENT = 64
CHUNK_BYTES = 2**16
_DIGEST_BYTES = hashlib.sha256().digest_size
_DTYPES = {
    name: np.dtype(name).newbyteorder("<")
    for name in ("float32", "float64", "int64", "float16", "int16")
}
_DTYPES["block8"] = BLOCK8.newbyteorder("<")
# Keyed by the native dtypes, since the attribute `name` of a dtype is slow.
_NAMES = {dtype.newbyteorder("="): name for name, dtype in _DTYPES.items()}
# NumPy knows no bfloat16: as an integer of its bits until the file has been verified.
_BFLOAT16 = "bfloat16"
_BITS = np.dtype("<u2")


class StateFileError(ValueError):
    """A file that is not a whole, undamaged state file; the message names the file and the fault.

    Examples
    --------
    >>> import fastopt
    >>> issubclass(fastopt.StateFileError, ValueError)
    True
    """

    __module__ = "fastopt"


def encode(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> list[memoryview]:
    """The content of a file up to its checksum: the header, then each array."""
    arrays = {name: _checked(name, array) for name, array in arrays.items()}
    encoded = _encode_header(header, arrays)
    spans = [array.reshape(-1).view(np.uint8).data for array in arrays.values()]
    size = _aligned(_PREFIX.size + len(encoded))
    size += sum(_aligned(span.nbytes) for span in spans) + _DIGEST_BYTES
    prefix = _PREFIX.pack(_MAGIC, VERSION, len(encoded), size) + encoded
    return [memoryview(prefix), *spans]


def with_digest(parts: Iterable[memoryview]) -> Iterator[memoryview | bytes | bytearray]:
    """The content of the file in pieces; the last is its checksum."""
    digest = hashlib.sha256()
    for chunk in _gathered(_padded(parts)):
        digest.update(chunk)
        yield chunk
    yield digest.digest()


def _padded(spans: Iterable[memoryview]) -> Iterator[memoryview | bytes]:
    for span in spans:
        yield span
        yield bytes(_aligned(span.nbytes) - span.nbytes)


def _gathered(parts: Iterable[memoryview | bytes]) -> Iterator[memoryview | bytes | bytearray]:
    """The same bytes in fewer pieces; a system call for each small array would cost the most."""
    pending = bytearray()
    for part in parts:
        if len(part) < CHUNK_BYTES // 16:
            pending += part
            if len(pending) < CHUNK_BYTES:
                continue
            part = b""
        yield pending
        yield part
        pending = bytearray()
    yield pending


def read_one(file: IO[bytes]) -> bytes:
    """The bytes of one state, whose prefix holds its length; fewer if the file ends early."""
    content = _read_up_to(file, _PREFIX.size)
    if len(content) == _PREFIX.size and content.startswith(_MAGIC):
        size = _PREFIX.unpack(content)[3]
        content += _read_up_to(file, size - len(content))
    return content


def _read_up_to(file: IO[bytes], count: int) -> bytes:
    # In pieces: a length that a file only claims must not become an allocation.
    content = bytearray()
    while len(content) < count:
        piece = file.read(min(count - len(content), 2**20))
        if not piece:
            break
        content += piece
    return bytes(content)


def decode(file: BinaryIO, size: int) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The header and the arrays of a file of ``size`` bytes."""
    if size < _PREFIX.size + _DIGEST_BYTES:
        raise StateFileError(f"has {size} bytes, fewer than the smallest state file")
    prefix = bytearray(_PREFIX.size)
    _read_into(file, prefix)
    magic, version, header_bytes, declared_size = _PREFIX.unpack(prefix)
    if magic != _MAGIC:
        raise StateFileError("is not a fastopt state file")
    if version > VERSION:
        raise StateFileError(
            f"has format version {version}, written by a newer fastopt; this one reads up to "
            f"version {VERSION}"
        )
    if version < 1:
        raise StateFileError(f"has format version {version}, which does not exist")
    if size < declared_size:
        raise StateFileError(f"is truncated: {size} of {declared_size} bytes")
    if size > declared_size:
        raise StateFileError(f"has {size - declared_size} trailing bytes")
    if header_bytes > MAX_HEADER_BYTES:
        raise StateFileError(f"has a header of {header_bytes} bytes, limit {MAX_HEADER_BYTES}")
    header_end = _aligned(_PREFIX.size + header_bytes)
    if header_end + _DIGEST_BYTES > size:
        raise StateFileError(f"has a header of {header_bytes} bytes that overruns the file")

    padded_header = bytearray(header_end - _PREFIX.size)
    _read_into(file, padded_header)
    header, entries = _decode_header(padded_header[:header_bytes])
    expected = header_end + sum(_aligned(nbytes) for *_, nbytes in entries) + _DIGEST_BYTES
    if expected != size:
        raise StateFileError(f"holds arrays for a file of {expected} bytes but has {size}")

    digest = hashlib.sha256(prefix + padded_header)
    arrays = {}
    for name, dtype, shape, nbytes in entries:
        try:
            array = np.empty(shape, dtype)
        except ValueError as error:  # an empty array of more or larger dimensions than NumPy has
            raise StateFileError(f"has an impossible shape of array {name!r}: {error}") from error
        padding = bytearray(_aligned(nbytes) - nbytes)
        for part in (array.reshape(-1).view(np.uint8).data, padding):
            _read_into(file, part)
            digest.update(part)
        arrays[name] = array.astype(dtype.newbyteorder("="), copy=False)
        if dtype == _BITS:
            arrays[name] = arrays[name].view(named_dtype(_BFLOAT16))
    stored = bytearray(_DIGEST_BYTES)
    _read_into(file, stored)
    if stored != digest.digest():
        raise StateFileError("is damaged: its SHA-256 does not match its content")
    return header, arrays


def _read_into(file: BinaryIO, buffer: memoryview | bytearray) -> None:
    view = memoryview(buffer)
    while view:
        count = file.readinto(view)  # type: ignore[attr-defined]  # BinaryIO does not declare it
        if not count:
            raise StateFileError("became shorter while it was read")
        view = view[count:]


def _encode_header(header: dict[str, object], arrays: dict[str, NDArray[Any]]) -> bytes:
    if not isinstance(header, dict):
        raise TypeError(f"header must be a dict, got {type(header).__name__}")
    try:
        text = json.dumps(header, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise type(error)(f"header cannot be written as JSON: {error}") from error
    if json.loads(text) != header:
        raise TypeError("header must come back from JSON unchanged: string keys, no tuples")
    entries = [
        [
            name,
            _BFLOAT16 if array.dtype == _BITS else _NAMES[array.dtype.newbyteorder("=")],
            list(array.shape),
        ]
        for name, array in arrays.items()
    ]
    encoded = f'{{"header": {text}, "arrays": {json.dumps(entries)}}}'.encode()
    if len(encoded) > MAX_HEADER_BYTES:
        raise ValueError(f"header has {len(encoded)} bytes, limit {MAX_HEADER_BYTES}")
    return encoded


def _decode_header(
    encoded: bytearray,
) -> tuple[dict[str, object], list[tuple[str, np.dtype[Any], tuple[int, ...], int]]]:
    try:
        content = json.loads(
            encoded.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant
        )
    except StateFileError:
        raise
    except (ValueError, RecursionError) as error:
        raise StateFileError(f"has a header that is not JSON: {error}") from error
    if not (
        isinstance(content, dict)
        and content.keys() == {"header", "arrays"}
        and isinstance(content["header"], dict)
        and isinstance(content["arrays"], list)
    ):
        raise StateFileError('has a header that is not {"header": {...}, "arrays": [...]}')
    entries = [_decode_entry(entry) for entry in content["arrays"]]
    _unique([(name, None) for name, *_ in entries])
    return content["header"], entries


def _decode_entry(entry: object) -> tuple[str, np.dtype[Any], tuple[int, ...], int]:
    match entry:
        case [str(name), str(dtype), list(shape)]:
            pass
        case _:
            raise StateFileError(f"describes an array as {entry!r:.80}, not [name, dtype, shape]")
    if dtype not in _DTYPES and dtype != _BFLOAT16:
        raise StateFileError(f"has dtype {dtype!r:.80}, not one of {[*_DTYPES, _BFLOAT16]}")
    if not all(type(length) is int and length >= 0 for length in shape):
        raise StateFileError(f"has array {name!r} of shape {shape!r:.80}")
    # Python integers: the product cannot wrap around.
    stored = _DTYPES.get(dtype, _BITS)
    return name, stored, tuple(shape), math.prod(shape) * stored.itemsize


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = {}
    for name, value in pairs:
        if name in result:
            raise StateFileError(f"has {name!r:.80} twice in its header")
        result[name] = value
    return result


def _refuse_constant(constant: str) -> None:
    raise StateFileError(f"has {constant} in its header")


def _checked(name: str, array: NDArray[Any]) -> NDArray[Any]:
    if not isinstance(name, str):
        raise TypeError(f"names of arrays must be strings, got {name!r}")
    if type(array) is not np.ndarray:
        raise TypeError(f"array {name!r} must be a numpy.ndarray, got {type(array).__name__}")
    if name_of_dtype(array.dtype) == _BFLOAT16:
        return np.asarray(array.view(np.uint16), dtype=_BITS, order="C")
    if array.dtype not in _NAMES:
        raise TypeError(
            f"array {name!r} must be one of {[*_DTYPES, _BFLOAT16]} in native byte order, "
            f"got {array.dtype.str}"
        )
    return np.asarray(array, dtype=_DTYPES[_NAMES[array.dtype]], order="C")


def _aligned(nbytes: int) -> int:
    return -(-nbytes // _ALIGNMENT) * _ALIGNMENT
