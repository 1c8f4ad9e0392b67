"""The storage formats in NumPy: how a step over narrow buffers must round, bit for bit.

A step over buffers of any format is the step of float32, on what the buffers load as; what it
leaves in float32 is then rounded into the format of each buffer. 16-bit floats are kept as uint16
here, so nothing depends on a package that knows bfloat16; blocks have a dtype of fields.
"""

import numpy as np
from reference import REFERENCE

import fastopt

U32, U64 = np.uint32, np.uint64
GOLDEN = 0x9E3779B97F4A7C15
MASK = 2**64 - 1

# param, grad, states, master_weights: what converts in registers, but for blocks
IN_REGISTERS = (
    ("bfloat16", "bfloat16", "bfloat16", False),
    ("bfloat16", "bfloat16", "bfloat16", True),
    ("float32", "float32", "bfloat16", False),
    ("float32", "bfloat16", "float32", False),
    ("bfloat16", "bfloat16", "float32", False),
    ("bfloat16", "bfloat16", "float32", True),
)


def bits(x):
    return np.ascontiguousarray(x, np.float32).view(U32)


# bfloat16: the upper half of a float32


def load_bfloat16(stored):
    return (stored.astype(U32) << U32(16)).view(np.float32)


def upper_half(x, rounded):
    """The upper half of the rounded bits; of a NaN, of its own bits made quiet."""
    return np.where(np.isnan(x), bits(x) | U32(0x400000), rounded) >> U32(16)


def nearest(x):
    """To the nearest bfloat16, ties to even."""
    u = bits(x)
    return upper_half(x, u + U32(0x7FFF) + ((u >> U32(16)) & U32(1))).astype(np.uint16)


def stochastic(x, random):
    """Up with the probability that the lower half says; 16 random bits."""
    return upper_half(x, bits(x) + random.astype(U32)).astype(np.uint16)


# bfloat16 with its remainder: together they are the float32


def split(x):
    """The nearest bfloat16, ties up, and what is left, in units of the float32's last place."""
    u = np.where(np.isnan(x), (bits(x) | U32(0x400000)) & U32(0xFFFF0000), bits(x))
    high = (u + U32(0x8000)) >> U32(16)
    low = u - (high << U32(16))
    return high.astype(np.uint16), low.astype(np.uint16).view(np.int16)


def join(high, low):
    return ((high.astype(U32) << U32(16)) + low.astype(np.int32).view(U32)).view(np.float32)


# Random words


def mix(z):
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def random_halves(seed, step, positions, count):
    """For each of `count` buffers 16 random bits for each position: a function of these alone."""
    positions = np.asarray(positions, U64)
    halves = [np.empty(positions.shape, U32) for _ in range(count)]
    for upper in set((positions >> U64(32)).tolist()):
        key = mix(seed + GOLDEN & MASK)
        key = mix((key ^ step) + GOLDEN & MASK)
        key = mix((key ^ upper) + GOLDEN & MASK)
        chosen = positions >> U64(32) == U64(upper)
        position = positions[chosen].astype(U32)
        x = (position >> U32(1)) * U32(0x9E3779B1) + U32(key & 0xFFFFFFFF)
        x = (x ^ (x >> U32(16)) ^ U32(key >> 32)) * U32(0x85EBCA6B)
        x = x ^ (x >> U32(15))
        for k, half in enumerate(halves):
            if k:
                x = x * U32(0xC2B2AE35)
                x = x ^ (x >> U32(15))
            half[chosen] = np.where(position & U32(1), x >> U32(16), x & U32(0xFFFF))
    return halves


# 8-bit blocks: 64 elements that have a scale in common, the largest of their magnitudes

BLOCK = 64
BLOCK8 = np.dtype([("scale", np.float32), ("codes", np.uint8, (BLOCK,))], align=True)
# Code 0 stands for these bits of a float32 from the 20th on, by whether the state is of squares.
FIRST = {True: 761, False: 889}


def smallest(squares):
    """What code 0 stands for, and what is subtracted from all codes, so that 0 has one."""
    t = np.array(FIRST[squares] << 20, U32).view(np.float32)[()]
    return t, (np.float32(0) if squares else t)


def load_block8(stored, squares, n):
    _, shift = smallest(squares)
    code, sign = stored["codes"].astype(U32), False
    if not squares:
        code, sign = code & U32(0x7F), code >= 0x80
    t = ((code + U32(FIRST[squares])) << U32(20)).view(np.float32)
    with np.errstate(under="ignore", invalid="ignore"):
        x = (t - shift) * (stored["scale"] / (np.float32(1) - shift))[:, None]
    return np.where(sign, -x, x).reshape(-1)[:n]


def store_block8(x, squares, random=None):
    """To the nearest code, ties to even; or up with the probability that 16 random bits say."""
    blocks = np.zeros((-(-x.size // BLOCK), BLOCK), np.float32)
    blocks.reshape(-1)[: x.size] = x
    _, shift = smallest(squares)
    scale = np.abs(blocks).max(axis=1, initial=0)
    stored = np.zeros(len(blocks), BLOCK8)
    is_number = np.isfinite(scale)
    stored["scale"] = np.where(is_number, np.where(scale < 2.0**-126, 0, scale), np.nan)
    used = is_number & (scale >= 2.0**-126)
    blocks, scale = blocks[used], scale[used, None]
    with np.errstate(under="ignore"):
        t = bits(np.abs(blocks) * ((np.float32(1) - shift) / scale) + shift)
    if random is None:
        t = t + U32(0x7FFFF) + ((t >> U32(20)) & U32(1))
    else:
        words = np.zeros(len(stored) * BLOCK, U32)
        words[: x.size] = random
        t = t + (words.reshape(-1, BLOCK)[used] << U32(4)) + U32(8)
    code = np.maximum((t >> U32(20)).astype(np.int64) - FIRST[squares], 0).astype(np.uint8)
    if not squares:
        code |= np.signbit(blocks).astype(np.uint8) << 7
    stored["codes"][used] = code
    # Past the end nothing is stored.
    stored["codes"].reshape(-1)[x.size :] = 0
    return stored


# A step


LOADS = {
    "float32": lambda stored: stored.copy(),
    "bfloat16": load_bfloat16,
    "float16": lambda stored: stored.view(np.float16).astype(np.float32),
}
DTYPES = {"float32": np.float32, "bfloat16": np.uint16, "float16": np.uint16}


def load(format, stored, squares=False, n=None):
    return load_block8(stored, squares, n) if format == "block8" else LOADS[format](stored)


def store(format, x, random=None, squares=False):
    """What float32 numbers are stored as; stochastically where there are random bits."""
    if format == "block8":
        return store_block8(x, squares, random)
    if format == "float32":
        return x.copy()
    if format == "float16":
        with np.errstate(over="ignore"):
            return x.astype(np.float16).view(np.uint16)
    return nearest(x) if random is None else stochastic(x, random)


def squares_of(rule):
    """The numbers of the states that are of squares."""
    row = fastopt.RULES[rule]
    return {k for k, name in enumerate((*row.states, *row.optional)) if name in row.squares}


def step(
    rule,
    buffers,
    formats,
    hypers,
    *,
    names=(),
    remainder=None,
    copy=None,
    seed=None,
    count=1,
    position=0,
):
    """One step in place of `buffers` (param, grad, states), each of one of `formats`.

    `names` are those of the states that have to be passed by name, since one before them is absent.

    With a `seed`, bfloat16 and blocks are rounded stochastically, by the step `count` and the
    position of the first element. With a `remainder`, param is exact. `copy` gets the bfloat16
    nearest to param.
    """
    n, squares = buffers[0].size, squares_of(rule)
    wide = [
        load(format, buffer, k - 2 in squares, n)
        for k, (buffer, format) in enumerate(zip(buffers, formats, strict=True))
    ]
    if remainder is not None:
        wide[0] = join(buffers[0], remainder)
    first = len(wide) - len(names)
    REFERENCE[rule](*wide[:first], **dict(zip(names, wide[first:], strict=True)), **hypers)
    written = [k for k in range(len(buffers)) if k != 1]
    rounded = [
        k
        for k in written
        if formats[k] in ("bfloat16", "block8") and not (k == 0 and remainder is not None)
    ]
    positions = np.arange(buffers[0].size, dtype=U64) + U64(position)
    random = {}
    if seed is not None:
        random = dict(
            zip(rounded, random_halves(seed, count, positions, len(rounded)), strict=True)
        )
    for k in written:
        if k == 0 and remainder is not None:
            buffers[0][...], remainder[...] = split(wide[0])
        else:
            buffers[k][...] = store(formats[k], wide[k], random.get(k), k - 2 in squares)
    if copy is not None:
        copy[...] = nearest(wide[0])
