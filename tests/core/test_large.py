"""Much memory: more than 2**31 elements in one buffer, where too narrow indices would show, and
passes that alternate in direction.
"""

import ctypes
import math
import mmap
import os

import numpy as np
import pytest

import fastopt

ALIASED = 2**31 + 5 * 2**20
TAIL = 2**20 + 3
PROTECTION = mmap.PROT_READ | mmap.PROT_WRITE
MAP_FIXED = 0x10


def mapped(libc, size):
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)
    address = libc.mmap(None, size, PROTECTION, flags, -1, 0)
    assert address != ctypes.c_void_p(-1).value
    return address


linux_only = pytest.mark.skipif(
    not hasattr(os, "memfd_create"), reason="maps one file many times, on Linux"
)


@pytest.fixture
def long_array():
    """Makes arrays whose first ALIASED elements are a few megabytes of memory mapped many times."""
    libc = ctypes.CDLL(None, use_errno=True)
    mappings = []

    def make(dtype=np.float32):
        size = (ALIASED + TAIL) * np.dtype(dtype).itemsize
        address = mapped(libc, size)
        mappings.append((address, size))
        piece = 4 * 2**20
        file = os.memfd_create("aliased")
        os.ftruncate(file, piece)
        for offset in range(0, ALIASED * np.dtype(dtype).itemsize, piece):
            flags = mmap.MAP_SHARED | MAP_FIXED
            got = libc.mmap(address + offset, piece, PROTECTION, flags, file, 0)
            assert got == address + offset
        os.close(file)
        buffer = (ctypes.c_char * size).from_address(address)
        return np.frombuffer(buffer, dtype)

    yield make
    for address, size in mappings:
        libc.munmap(ctypes.c_void_p(address), ctypes.c_size_t(size))


@linux_only
@pytest.mark.slow
def test_the_norm_and_the_search_for_nan_reach_beyond_two_to_the_31(long_array):
    """All sums are of integers below 2**53, so that the norm is exact."""
    param, grad = long_array(), long_array()
    grad[: 2**20] = 1.0
    grad[ALIASED:] = np.arange(TAIL) % 8
    squares = ALIASED + int((grad[ALIASED:].astype(np.int64) ** 2).sum())
    fastopt.set_num_threads(2)
    optimizer = fastopt.SGD(param, lr=0.0)
    assert optimizer.step(grad, max_norm=1.0) == math.sqrt(squares)
    assert not optimizer.skipped
    grad[-1] = np.nan
    optimizer.step(grad, skip_nonfinite=True)
    assert optimizer.skipped
    assert not param[ALIASED:].any()


@linux_only
@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_more_than_two_to_the_31_elements(long_array, threads):
    param, grad = long_array(), long_array()
    period = 2**20
    passes = ALIASED // period
    grad[:period] = 1.0
    grad[ALIASED:] = np.arange(TAIL)
    param[ALIASED:] = 0.5
    fastopt.set_num_threads(threads)
    fastopt.sgd(param, grad, lr=1.0)
    np.testing.assert_array_equal(param[ALIASED:], 0.5 - np.arange(TAIL, dtype=np.float32))
    np.testing.assert_array_equal(grad[ALIASED:], np.arange(TAIL, dtype=np.float32))
    if threads == 1:
        # Every mapping of the same memory was stepped once
        np.testing.assert_array_equal(param[:period], -float(passes))


# With a momentum of zero all three do the same
@pytest.mark.parametrize("make", [fastopt.SGD, fastopt.Momentum, fastopt.NAG])
@pytest.mark.parametrize("threads", [1, 2])
def test_passes_over_more_memory_than_caches_hold_give_the_same_bits_both_ways(make, threads):
    n = 8_500_001  # more than 64 MiB, and the last cache line is not full
    rng = np.random.default_rng(0)
    values = rng.standard_normal(n + 3)
    param, grad, twin = values[3:].copy(), values[:-3].copy(), values[3:].copy()
    optimizer = make([param[:17], param[17:]], lr=0.1)
    if "momentum" in optimizer.param_groups[0]:
        optimizer.param_groups[0]["momentum"] = 0.0
    fastopt.set_num_threads(threads)
    norms = {optimizer.step([grad[:17], grad[17:]], max_norm=1e9) for _ in range(3)}
    optimizer.step([grad[:17], grad[17:]])
    for _ in range(4):
        twin -= 0.1 * grad
    assert param.tobytes() == twin.tobytes()
    assert len(norms) == 1
