"""The format of state files: round trips, arguments, every kind of damage."""

import hashlib
import io
import json
import os
import pickle
import struct
import tracemalloc
import zipfile

import hypothesis
import hypothesis.extra.numpy as npst
import numpy as np
import pytest
from hypothesis import strategies as st

from fastopt import _container
from fastopt import _statefile as statefile
from fastopt._blocks import BLOCK8
from fastopt._statefile import StateFileError

HEADER = {"rule": "adam", "groups": [{"lr": 1e-3, "amsgrad": False}], "note": None}


def assert_same(actual, expected):
    header, arrays = actual
    assert header == expected[0]
    assert list(arrays) == list(expected[1])
    for name, array in expected[1].items():
        assert arrays[name].dtype == array.dtype
        assert arrays[name].shape == array.shape
        assert arrays[name].tobytes() == array.tobytes()


def assemble(header, content=b"", *, version=1, magic=b"\x89fastopt", extra=0):
    """A file with a right checksum around whatever header and content."""
    body = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = 24 + len(body)
    padding = bytes(-size % 64)
    total = size + len(padding) + len(content) + 32
    start = struct.pack("<8sIIQ", magic, version, len(body), total + extra) + body + padding
    return start + content + hashlib.sha256(start + content).digest()


def read_bytes(tmp_path, content):
    path = tmp_path / "damaged"
    path.write_bytes(content)
    return statefile.read(path)


def refused(tmp_path, content):
    """The message of the refusal, without the name of the file, which must be in it."""
    path = tmp_path / "damaged"
    path.write_bytes(content)
    with pytest.raises(StateFileError) as caught:
        statefile.read(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small"
    statefile.write(path, {"lr": 0.5}, {"p": np.array([1.5, -2.0], dtype=np.float32)})
    return path.read_bytes()


# round trips


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.float16, BLOCK8])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (16,), (17,), (2, 3, 4)])
def test_round_trip_keeps_bits_shape_and_dtype(tmp_path, dtype, shape):
    array = np.random.default_rng(0).integers(-9, 9, shape).astype(dtype)
    statefile.write(tmp_path / "s", HEADER, {"a": array, "b": array})
    assert_same(statefile.read(tmp_path / "s"), (HEADER, {"a": array, "b": array}))


def test_special_values_keep_their_bits(tmp_path):
    patterns = np.array([0x7FC12345, 0xFF800000, 0x80000000, 1, 0x7F7FFFFF], dtype=np.uint32)
    array = patterns.view(np.float32)
    statefile.write(tmp_path / "s", {}, {"a": array})
    assert_same(statefile.read(tmp_path / "s"), ({}, {"a": array}))


def test_empty_header_and_no_arrays(tmp_path):
    statefile.write(tmp_path / "s", {}, {})
    assert statefile.read(tmp_path / "s") == ({}, {})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
stored_arrays = st.sampled_from([np.float32, np.float64, np.int64]).flatmap(
    lambda dtype: npst.arrays(dtype, npst.array_shapes(min_dims=0, max_dims=4, min_side=0))
)


@hypothesis.given(
    header=st.dictionaries(st.text(), json_values, max_size=4),
    arrays=st.dictionaries(st.text(), stored_arrays, max_size=4),
)
@hypothesis.settings(
    deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
def test_anything_that_is_written_comes_back(tmp_path, header, arrays):
    statefile.write(tmp_path / "s", header, arrays)
    assert_same(statefile.read(tmp_path / "s"), (header, arrays))


@pytest.mark.parametrize(
    "view",
    [
        np.arange(20.0)[::3],
        np.arange(20.0)[::-1],
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.broadcast_to(np.float64(2.0), (3, 2)),
    ],
    ids=["strided", "reversed", "fortran", "broadcast"],
)
def test_any_memory_layout_is_stored_in_c_order(tmp_path, view):
    statefile.write(tmp_path / "s", {}, {"a": view})
    array = statefile.read(tmp_path / "s")[1]["a"]
    np.testing.assert_array_equal(array, view)
    assert array.flags.c_contiguous


def test_what_is_read_is_aligned_writeable_and_owned(tmp_path):
    statefile.write(tmp_path / "s", {}, {"a": np.ones(3, np.float32), "b": np.ones((2, 2))})
    for array in statefile.read(tmp_path / "s")[1].values():
        assert array.flags.aligned
        assert array.flags.writeable
        assert array.flags.c_contiguous
        assert array.dtype.isnative


def test_elements_start_at_multiples_of_64(tmp_path):
    path = tmp_path / "s"
    statefile.write(path, {}, {"a": np.full(3, 11.25), "b": np.full(9, -7.5)})
    content = path.read_bytes()
    assert content.index(np.full(3, 11.25).tobytes()) % 64 == 0
    assert content.index(np.full(9, -7.5).tobytes()) % 64 == 0


def test_the_layout_is_the_documented_one(tmp_path):
    path = tmp_path / "s"
    array = np.array([[1, 2], [3, 4]], dtype=np.int64)
    statefile.write(path, {"k": 1}, {"a": array})
    header = {"header": {"k": 1}, "arrays": [["a", "int64", [2, 2]]]}
    content = array.astype("<i8").tobytes() + bytes(32)
    assert path.read_bytes() == assemble(header, content)


def test_big_arrays_are_not_copied(tmp_path):
    array = np.ones(2**20)
    tracemalloc.start()
    statefile.write(tmp_path / "s", {}, {"a": array})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < array.nbytes / 8


# arguments of write


@pytest.mark.parametrize(
    ("header", "error", "message"),
    [
        ([], TypeError, "header must be a dict, got list"),
        ({"a": float("nan")}, ValueError, "header cannot be written as JSON"),
        ({"a": np.float32(1)}, TypeError, "header cannot be written as JSON"),
        ({"a": (1, 2)}, TypeError, "unchanged"),
        ({1: 2}, TypeError, "unchanged"),
    ],
)
def test_header_that_json_would_change_is_refused(tmp_path, header, error, message):
    with pytest.raises(error, match=message):
        statefile.write(tmp_path / "s", header, {})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "array",
    [
        [1.0],
        None,
        np.float64(1.0),
        np.ones(2, dtype=np.uint16),
        np.ones(2, dtype=np.int32),
        np.ones(2, dtype=bool),
        np.ones(2, dtype=complex),
        np.array([{}], dtype=object),
        np.ones(2, dtype=np.dtype(np.float32).newbyteorder()),
        np.ma.masked_array([1.0, 2.0], [True, False]),
        np.ones((1, 2)).view(np.matrix),
    ],
    ids=lambda array: f"{type(array).__name__}-{getattr(array, 'dtype', '')}",
)
def test_array_of_another_kind_is_refused(tmp_path, array):
    with pytest.raises(TypeError, match="array 'exp_avg' must be"):
        statefile.write(tmp_path / "s", {}, {"exp_avg": array})
    assert os.listdir(tmp_path) == []


def test_name_of_array_must_be_a_string(tmp_path):
    with pytest.raises(TypeError, match="names of arrays must be strings, got 3"):
        statefile.write(tmp_path / "s", {}, {3: np.ones(2)})


def test_header_over_the_limit_is_refused_on_both_sides(tmp_path, monkeypatch):
    monkeypatch.setattr(_container, "MAX_HEADER_BYTES", 100)
    with pytest.raises(ValueError, match=r"header has \d+ bytes, limit 100"):
        statefile.write(tmp_path / "s", {"text": "x" * 200}, {})
    header = {"header": {"text": "x" * 200}, "arrays": []}
    assert "limit 100" in refused(tmp_path, assemble(header))


# damage


def test_every_truncation_is_refused(tmp_path, small):
    for length in range(len(small)):
        refused(tmp_path, small[:length])
    assert_same(
        read_bytes(tmp_path, small),
        ({"lr": 0.5}, {"p": np.array([1.5, -2.0], dtype=np.float32)}),
    )


def test_every_flipped_bit_is_refused(tmp_path, small):
    for position in range(len(small)):
        for bit in range(8):
            damaged = bytearray(small)
            damaged[position] ^= 1 << bit
            refused(tmp_path, damaged)


def test_trailing_bytes_are_refused(tmp_path, small):
    assert refused(tmp_path, small + b"\0") == "has 1 trailing bytes"
    assert refused(tmp_path, small + small) == f"has {len(small)} trailing bytes"


def test_newer_version_says_so(tmp_path):
    message = refused(tmp_path, assemble({"layout": "unknown"}, version=2))
    assert message == (
        "has format version 2, written by a newer fastopt; this one reads up to version 1"
    )


def test_version_zero_is_refused(tmp_path):
    message = refused(tmp_path, assemble({"header": {}, "arrays": []}, version=0))
    assert message == "has format version 0, which does not exist"


class Bomb:
    def __reduce__(self):
        return (os.abort, ())


def archive():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("p.npy", bytes(10**6))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [pickle.dumps(Bomb()) + bytes(64), archive(), b"\x89PNG\r\n\x1a\n" + bytes(64)],
    ids=["pickle", "zip", "png"],
)
def test_foreign_file_is_refused(tmp_path, content):
    assert refused(tmp_path, content) == "is not a fastopt state file"


def test_empty_file_is_refused(tmp_path):
    assert refused(tmp_path, b"") == "has 0 bytes, fewer than the smallest state file"


@hypothesis.given(
    st.binary(max_size=200).map(lambda tail: b"\x89fastopt\x01\0\0\0" + tail) | st.binary()
)
@hypothesis.settings(
    deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
def test_random_bytes_are_refused(tmp_path, content):
    refused(tmp_path, content)


json_trees = st.recursive(
    st.sampled_from(["header", "arrays", "p", "float32", "int8", 0, 1, -1, 2**70, True, None, 0.5]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["header", "arrays", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@hypothesis.given(header=json_trees, content=st.sampled_from([b"", bytes(64)]))
@hypothesis.settings(
    deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
def test_any_header_with_a_right_checksum_reads_or_is_refused(tmp_path, header, content):
    try:
        read_header, arrays = read_bytes(tmp_path, assemble(header, content))
    except StateFileError:
        return
    assert read_header == header["header"]
    assert [[n, a.dtype.name, list(a.shape)] for n, a in arrays.items()] == header["arrays"]


def entries(*arrays):
    return {"header": {}, "arrays": list(arrays)}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (entries(["p", "float32", [2**40]]), "holds arrays for a file of"),
        (entries(["p", "float64", [2**32, 2**32]]), "holds arrays for a file of"),
        (entries(["p", "float32", [2**61, 8]]), "holds arrays for a file of"),
        (entries(["p", "float32", [1] * 100]), "impossible shape"),
        (entries(["p", "float32", [-1]]), r"of shape \[-1\]"),
        (entries(["p", "float32", [-4, -4]]), "of shape"),
        (entries(["p", "float32", [1.0]]), "of shape"),
        (entries(["p", "float32", [True]]), "of shape"),
        (entries(["p", "float32", 16]), r"not \[name, dtype, shape\]"),
        (entries(["p", "float32"]), r"not \[name, dtype, shape\]"),
        (entries([7, "float32", [16]]), r"not \[name, dtype, shape\]"),
        (entries(["p", "object", [16]]), "has dtype 'object', not one of"),
        (entries(["p", "uint16", [16]]), "has dtype 'uint16', not one of"),
        (entries(["p", "float32", [8]], ["p", "float32", [8]]), "has 'p' twice"),
        (b'{"header": {"a": 1, "a": 2}, "arrays": []}', "has 'a' twice"),
        (b'{"header": {}, "arrays": [], "arrays": []}', "has 'arrays' twice"),
        (b'{"header": {"lr": NaN}, "arrays": []}', "has NaN in its header"),
        (b'{"header": {}, "arrays": [}', "is not JSON"),
        (b'{"header": {}, "arrays": []}\xff', "is not JSON"),
        (b'{"header": ' + b"[" * 200_000, "is not JSON"),
        (b"", "is not JSON"),
        ([], "a header that is not"),
        ({"header": {}}, "a header that is not"),
        ({"header": [], "arrays": []}, "a header that is not"),
        ({"header": {}, "arrays": {}}, "a header that is not"),
        ({"header": {}, "arrays": [], "more": 1}, "a header that is not"),
    ],
)  # fmt: skip
def test_inconsistent_header_with_a_right_checksum_is_refused(tmp_path, header, message):
    with pytest.raises(StateFileError, match=message):
        read_bytes(tmp_path, assemble(header, bytes(64)))


def test_empty_array_of_impossible_dimensions_is_refused(tmp_path):
    assert "an impossible shape" in refused(
        tmp_path, assemble(entries(["p", "float32", [0, 2**62]]))
    )


@pytest.mark.parametrize("length", [2**32 - 1, 2**25])
@pytest.mark.parametrize("offset", [12, 16], ids=["header length", "file length"])
def test_huge_declared_length_allocates_nothing(tmp_path, small, offset, length):
    damaged = bytearray(small)
    struct.pack_into("<I", damaged, offset, length)
    path = tmp_path / "damaged"
    path.write_bytes(damaged)
    tracemalloc.start()
    with pytest.raises(StateFileError):
        statefile.read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**18
