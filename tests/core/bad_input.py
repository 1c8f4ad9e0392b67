"""Arrays and numbers that must be refused, good ones, and the check that nothing has changed."""

from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from cases import function_of, numbers, states_of, step_keyword

SHAPE = (6, 4)


@dataclass(frozen=True)
class Fault:
    """What is wrong: `make` turns a good value into a bad one, which has to raise `error`."""

    name: str
    make: object
    error: type
    read_only_grad_is_good: bool = False
    shape_or_dtype_of_another: bool = False


def misaligned(a):
    raw = np.zeros(a.nbytes + 1, np.uint8)
    view = raw[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def read_only(a):
    copy = a.copy()
    copy.flags.writeable = False
    return copy


def zero_stride(a):
    view = np.lib.stride_tricks.as_strided(np.ones(1, a.dtype), a.shape, (0, 0))
    assert view.flags.writeable
    return view


def repeated_rows(a):
    return np.lib.stride_tricks.as_strided(a.copy(), a.shape, (0, a.itemsize))


def byte_swapped(a):
    return a.astype(a.dtype.newbyteorder())


def other_float(a):
    return a.astype(np.float64 if a.dtype == np.float32 else np.float32)


ARRAY_FAULTS = [
    Fault("None", lambda a: None, TypeError),
    Fault("list", lambda a: a.tolist(), TypeError),
    Fault("tuple", lambda a: tuple(map(tuple, a)), TypeError),
    Fault("float", lambda a: 1.0, TypeError),
    Fault("numpy scalar", lambda a: a.dtype.type(1), TypeError),
    Fault("str", lambda a: "param", TypeError),
    Fault("bytes", lambda a: a.tobytes(), TypeError),
    Fault("memoryview", lambda a: memoryview(a), TypeError),
    Fault("dict", lambda a: {"a": a}, TypeError),
    Fault("array type", lambda a: np.ndarray, TypeError),
    Fault("int64", lambda a: a.astype(np.int64), TypeError),
    Fault("int32", lambda a: a.astype(np.int32), TypeError),
    Fault("uint8", lambda a: a.astype(np.uint8), TypeError),
    Fault("bool", lambda a: a > 0, TypeError),
    Fault("complex64", lambda a: a.astype(np.complex64), TypeError),
    Fault("complex128", lambda a: a.astype(np.complex128), TypeError),
    Fault("object", lambda a: a.astype(object), TypeError),
    Fault("uint16", lambda a: a.astype(np.uint16), TypeError),
    Fault("longdouble", lambda a: a.astype(np.longdouble), TypeError),
    Fault("structured", lambda a: a.view([("x", a.dtype)]), TypeError),
    Fault("datetime64", lambda a: a.astype("M8[s]"), TypeError),
    Fault("string array", lambda a: a.astype("U8"), TypeError),
    Fault("byte-swapped", byte_swapped, TypeError),
    Fault("other float", other_float, TypeError, shape_or_dtype_of_another=True),
    Fault("masked array", np.ma.masked_array, TypeError),
    Fault("matrix", lambda a: a.view(np.matrix), TypeError),
    Fault("read-only", read_only, ValueError, read_only_grad_is_good=True),
    Fault("misaligned", misaligned, ValueError),
    Fault("strided", lambda a: np.repeat(a, 2, axis=1)[:, ::2], ValueError),
    Fault("strided rows", lambda a: np.repeat(a, 2, axis=0)[::2], ValueError),
    Fault("negative stride", lambda a: a.copy()[::-1], ValueError),
    Fault("Fortran order", np.asfortranarray, ValueError),
    Fault("zero stride", zero_stride, ValueError),
    Fault("repeated rows", repeated_rows, ValueError),
    Fault("transposed", lambda a: a.T.copy(), ValueError, shape_or_dtype_of_another=True),
    Fault("flattened", lambda a: a.ravel().copy(), ValueError, shape_or_dtype_of_another=True),
    Fault("one axis more", lambda a: a[None].copy(), ValueError, shape_or_dtype_of_another=True),
    Fault("one row less", lambda a: a[1:].copy(), ValueError, shape_or_dtype_of_another=True),
    Fault("broadcastable", lambda a: a[:1].copy(), ValueError, shape_or_dtype_of_another=True),
    Fault("empty", lambda a: a[:0].copy(), ValueError, shape_or_dtype_of_another=True),
]


def argument_names(rule, optional):
    return ("param", "grad", *states_of(rule, optional))


def good_arrays(rule, optional, dtype=np.float32):
    """Name -> array, all values positive, all of one shape."""
    return {
        name: np.abs(numbers(i, SHAPE[0] * SHAPE[1], dtype)).reshape(SHAPE)
        for i, name in enumerate(argument_names(rule, optional))
    }


def good_keywords(rule):
    return {"lr": 0.1, **step_keyword(rule, 2)}


def bytes_of(value):
    """All the memory that a value shows or is a view of."""
    while isinstance(value, np.ndarray) and isinstance(value.base, np.ndarray):
        value = value.base
    return value.tobytes() if isinstance(value, np.ndarray) else repr(value)


def assert_refused(rule, arrays, keywords, error, fragments, case=""):
    """The call raises, its message holds one of the fragments, and all memory stays."""
    before = [bytes_of(array) for array in arrays.values()]
    caught = None
    try:
        function_of(rule)(*arrays.values(), **keywords)
    except Exception as raised:
        caught = raised
    assert type(caught) is error, f"{case}: {caught!r}"
    assert [bytes_of(array) for array in arrays.values()] == before, case
    assert any(fragment in str(caught) for fragment in fragments), f"{case}: {caught}"


NOT_NUMBERS = ["0.1", b"0.1", None, True, False, np.bool_(True), 1j, [0.1], (0.1,), {}, object()]
NOT_NUMBERS += [np.array([0.1]), np.complex128(1), float, Decimal("nan"), np.timedelta64(1, "s")]
NOT_FINITE = [
    float("nan"),
    float("inf"),
    -float("inf"),
    np.float32("nan"),
    np.float64("inf"),
    10**400,
]
NEGATIVE = [-1e-300, -1, -0.5, np.float32(-0.1)]
NOT_BELOW_ONE = [1.0, 1, 1.5, 1e300, np.float32(1)]
MAY_BE_NEGATIVE = {"grad_scale"}


def is_number(name, default):
    return name != "step" and not isinstance(default, bool)
