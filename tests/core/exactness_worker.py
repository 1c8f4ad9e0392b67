"""One check of exactness, under the ISA that FASTOPT_ISA forces on this process.

    python exactness_worker.py pinned        # or one of CHECKS

A child process, because an ISA is chosen when the library is loaded and because a kernel that
oversteps a buffer kills the process. Prints one JSON object: for each property the number of cases
and the first failures, or the digests. The line written to stderr before each rule tells where a
crash happened.
"""

import ctypes
import functools
import hashlib
import itertools
import json
import mmap
import sys

import cases
import numpy as np
from cases import (
    DTYPES,
    RULES,
    cautious_variants,
    function_of,
    function_variants,
    same_but_nan_payload,
    states_of,
    step_keyword,
)
from reference import REFERENCE

import fastopt

VECTOR_BYTES = 64
GUARD_BYTE = 0xA5
STEPS = 4
# More than 2 MiB, so that one thread works in two places
LARGE_BYTES = 2_400_044
# Longer buffers repeat this many elements. It is a prime, so that no two chunks are equal.
PERIOD = 4099
THREADS = (1, 2, 3, 7)
FEW_THREADS = (1, 2, 7)
PINNED_STEPS = 100
PINNED_LENGTH = 259
SPECIAL_STEPS = (1, 2, 1000, 2**31, 2**53)
PROT_NONE = 0
# States that are maxima, where they are the last state
MAXIMA = {"max_exp_avg_sq", "exp_inf"}

LIBC = ctypes.CDLL(None, use_errno=True)
numbers = functools.cache(cases.numbers)


@functools.cache
def repeated_numbers(seed, n, dtype):
    return np.resize(numbers(seed, min(n, PERIOD), dtype), n)


class Arena:
    """Memory for one buffer. Between calls every byte of it is a guard byte."""

    def __init__(self, raw):
        self.raw = raw
        self.guard = bytes([GUARD_BYTE]) * raw.size
        self.raw[:] = GUARD_BYTE

    @classmethod
    def heap(cls, size):
        raw = np.empty(size + VECTOR_BYTES, np.uint8)
        start = -raw.ctypes.data % VECTOR_BYTES
        return cls(raw[start : start + size])

    @classmethod
    def between_protected_pages(cls):
        memory = mmap.mmap(-1, 3 * mmap.PAGESIZE)
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        for page in (0, 2):
            start = ctypes.c_void_p(address + page * mmap.PAGESIZE)
            if LIBC.mprotect(start, ctypes.c_size_t(mmap.PAGESIZE), PROT_NONE):
                raise OSError(ctypes.get_errno(), "mprotect")
        return cls(np.frombuffer(memory, np.uint8, mmap.PAGESIZE, mmap.PAGESIZE))

    def place(self, values, offset):
        """`values` copied to `offset` (bytes; from the end if negative), as an array."""
        if offset < 0:
            offset = self.raw.size - values.nbytes
        view = self.raw[offset : offset + values.nbytes].view(values.dtype)
        view[:] = values
        return view, offset

    def holds_only(self, values, offset):
        """Whether the arena holds `values` at `offset` and guard bytes elsewhere."""
        end = offset + values.nbytes
        return (
            self.raw[:offset].tobytes() == self.guard[:offset]
            and self.raw[end:].tobytes() == self.guard[end:]
            and LIBC.memcmp(
                ctypes.c_void_p(self.raw.ctypes.data + offset),
                ctypes.c_void_p(values.ctypes.data),
                ctypes.c_size_t(values.nbytes),
            )
            == 0
        )

    def clear(self):
        self.raw[:] = GUARD_BYTE


class Variant:
    """One rule, dtype and choice of flags, and its twin's result on `n` elements."""

    def __init__(self, rule, dtype, keywords, optional, n, steps=STEPS):
        self.rule, self.keywords, self.optional = rule, keywords, optional
        self.dtype = np.dtype(dtype)
        self.names = ("param", *states_of(rule, optional))
        self.gradients = [repeated_numbers(k + 1, n, dtype) for k in range(steps)]
        self.initial = [np.zeros(n, dtype) for _ in self.names]
        self.initial[0][:] = repeated_numbers(0, n, dtype)
        self.is_whole = rule.takes_norms or keywords.get("cautious", False)
        self.expected = self.expected_of(n if self.is_whole else PERIOD, n)
        self.shorter = None

    def expected_of(self, period, n):
        """The twin's result on a period, repeated up to n elements."""
        buffers = [buffer[:period].copy() for buffer in self.initial]
        self.run(REFERENCE[self.rule.name], buffers, [each[:period] for each in self.gradients])
        return [np.resize(buffer, n) for buffer in buffers]

    def run(self, function, buffers, gradients):
        param, *states = buffers
        for k, gradient in enumerate(gradients):
            keywords = {**self.keywords, **step_keyword(self.rule, k + 1)}
            function(param, gradient, **self.by_name(states), **keywords)

    def by_name(self, states):
        """Of two optional states the second may be there alone."""
        return dict(zip(self.names[1:], states, strict=True))

    def mismatches(self, arenas, n, offsets):
        """Names of the buffers that differ, after the first `n` elements were stepped in place."""
        function = function_of(self.rule)
        expected = self.expected
        if self.is_whole and n < len(expected[0]):
            # Fewer elements have other norms. Kept, since each length comes several times.
            if self.shorter is None or len(self.shorter[0]) != n:
                self.shorter = self.expected_of(n, n)
            expected = self.shorter
        gradient_arena, *written_arenas = arenas
        placed = [
            arena.place(buffer[:n], offset)
            for arena, buffer, offset in zip(written_arenas, self.initial, offsets[1:], strict=True)
        ]
        param, *states = (view for view, _ in placed)
        wrong = []
        for k, values in enumerate(self.gradients):
            gradient, start = gradient_arena.place(values[:n], offsets[0])
            keywords = {**self.keywords, **step_keyword(self.rule, k + 1)}
            function(param, gradient, **self.by_name(states), **keywords)
            if not gradient_arena.holds_only(values[:n], start):
                wrong.append("grad")
        for name, arena, buffer, (_, start) in zip(
            self.names, written_arenas, expected, placed, strict=True
        ):
            if not arena.holds_only(buffer[:n], start):
                wrong.append(name)
        for arena in arenas:
            arena.clear()
        return wrong

    def describe(self, **where):
        return {
            "rule": self.rule.name,
            "dtype": self.dtype.name,
            "optional": self.optional,
            **self.keywords,
            **where,
        }


class Report:
    """Cases and failures, per property."""

    def __init__(self):
        self.properties = {}

    def add(self, name, variant, wrong, **where):
        entry = self.properties.setdefault(name, {"cases": 0, "failed": 0, "failures": []})
        entry["cases"] += 1
        if wrong:
            entry["failed"] += 1
            if len(entry["failures"]) < 20:
                entry["failures"].append(variant.describe(wrong=wrong, **where))


def choices(every=True):
    """Every choice of flags of every rule and dtype, or the first and the last of each, and the
    last of those that are cautious."""
    for rule in RULES:
        print(rule.name, file=sys.stderr, flush=True)
        flags, cautious = list(function_variants(rule)), list(cautious_variants(rule))
        chosen = flags + cautious if every else (flags[0], flags[-1], *cautious[-1:])
        for dtype in DTYPES:
            for keywords, optional in chosen:
                yield rule, dtype, keywords, optional


def element_offsets(n, buffers, per_vector):
    """Starting elements: all buffers at the same odd one, then each buffer at another."""
    yield (n * 2 + 1,) * buffers
    yield tuple((n + 1 + 3 * i * (i + 1)) % (2 * per_vector) for i in range(buffers))
    yield tuple((5 * n + 7 * i) % per_vector for i in range(buffers))


def check_lengths(report, every):
    """At every length and three starts. Without `every`, at lengths near whole vectors and at one
    start, in turn."""
    longest = 4 * VECTOR_BYTES // 4 + 1
    heap = [Arena.heap((4 * longest + 8) * 8) for _ in range(8)]
    pages = [Arena.between_protected_pages() for _ in range(8)]
    for place, choice in enumerate(choices()):
        # Two steps are enough for all flags: later steps treat a length in the same way.
        variant = Variant(*choice, longest, steps=2 if every else STEPS)
        size = variant.dtype.itemsize
        per_vector = VECTOR_BYTES // size
        buffers = len(variant.names) + 1
        for n in range(4 * per_vector + 2):
            if not every and 1 < n % per_vector < per_vector - 1 and n != place % per_vector:
                continue
            starts, ends = tuple(element_offsets(n, buffers, per_vector)), (0, -1)
            if not every:
                turn = place + n
                starts, ends = starts[turn % 3 :][:1], ends[turn % 2 :][:1]
            for offsets in starts:
                wrong = variant.mismatches(heap[:buffers], n, [size * o for o in offsets])
                report.add("lengths", variant, wrong, n=n, offsets=offsets)
            for offset in ends:
                wrong = variant.mismatches(pages[:buffers], n, [offset] * buffers)
                report.add("protected_pages", variant, wrong, n=n, at_end=offset < 0)


def check_threads(report, every):
    arenas = [Arena.heap(LARGE_BYTES + 16 * 8) for _ in range(8)]
    for place, (rule, dtype, *flags) in enumerate(choices(every)):
        size = np.dtype(dtype).itemsize
        n = LARGE_BYTES // size
        variant = Variant(rule, dtype, *flags, n, steps=2)
        buffers = len(variant.names) + 1
        # With all flags, each choice has half of the numbers of threads, in turn.
        for threads in THREADS[place % 2 :: 2] if every else FEW_THREADS:
            fastopt.set_num_threads(threads)
            offsets = [size * ((2 * i + 1) % 16) for i in range(buffers)]
            wrong = variant.mismatches(arenas[:buffers], n, offsets)
            report.add("threads", variant, wrong, threads=threads)


def special_values(dtype, few):
    info = np.finfo(dtype)
    values = [0.0, -0.0, np.nan, np.inf, -np.inf, info.smallest_subnormal, -info.tiny, 1.5, -3.0]
    if not few:
        values += [-info.smallest_subnormal, info.tiny / 3, info.max, -info.max, info.eps]
    return np.array(values, dtype)


def check_special_values(report):
    for rule in RULES:
        print(rule.name, file=sys.stderr, flush=True)
        variants = (*function_variants(rule), *cautious_variants(rule))
        for dtype, (keywords, optional) in itertools.product(DTYPES, variants):
            count = len(states_of(rule, optional)) + 2
            axes = [special_values(dtype, few=count > 3)] * count
            names = ("param", "grad", *states_of(rule, optional))
            if names[-1] in MAXIMA:
                # numpy.maximum does not define the sign of max(-0, 0)
                axes[-1] = np.delete(axes[-1], 1)
            # With six buffers, a sample of the grid; 1009 is coprime to the number of values.
            grid = [axis.ravel()[:: 1009 if count > 5 else 1] for axis in np.meshgrid(*axes)]
            for hypers in special_hypers(rule, keywords, dtype):
                expected = [np.ascontiguousarray(buffer) for buffer in grid]
                got = [buffer.copy() for buffer in expected]
                step = hypers.pop("step", None)
                for function, buffers in (
                    (REFERENCE[rule.name], expected),
                    (function_of(rule), got),
                ):
                    by_name = dict(zip(names, buffers, strict=True))
                    function(**by_name, **hypers, **step_keyword(rule, step))
                wrong = [
                    name
                    for name, a, b in zip(names, expected, got, strict=True)
                    if not same_but_nan_payload(a, b)
                ]
                variant = Variant(rule, dtype, keywords, optional, 0)
                report.add("special_values", variant, wrong, hypers=hypers)


def special_hypers(rule, keywords, dtype):
    """The keywords, each of these once: eps = 0, a tiny decay, the steps up to the last allowed."""
    choices = {}
    if "eps" in keywords:
        choices["eps"] = (keywords["eps"], 0.0)
    if keywords["weight_decay"]:
        # Its product with most numbers is 0, but with infinity it is infinity.
        tiny = float(np.finfo(dtype).smallest_subnormal)
        choices["weight_decay"] = (keywords["weight_decay"], tiny)
    if "step" in rule.hypers:
        choices["step"] = SPECIAL_STEPS
    for i in range(max(map(len, choices.values()), default=1)):
        yield {**keywords, **{name: values[i % len(values)] for name, values in choices.items()}}


def pinned_digests():
    """One digest per rule, dtype and set of optional states, where there are several of these; and
    of cautious steps."""
    hashes = {}
    for choice in choices():
        variant = Variant(*choice, 0, steps=0)
        several = variant.optional if len(variant.rule.optional) > 1 else ()
        cautious = ("cautious",) if variant.keywords.get("cautious") else ()
        key = "-".join((variant.rule.name, variant.dtype.name, *several, *cautious))
        digest = hashes.setdefault(key, hashlib.sha256())
        buffers = [np.zeros(PINNED_LENGTH, variant.dtype) for _ in variant.names]
        buffers[0][:] = numbers(0, PINNED_LENGTH, variant.dtype)
        gradients = (numbers(k + 1, PINNED_LENGTH, variant.dtype) for k in range(PINNED_STEPS))
        variant.run(function_of(variant.rule), buffers, gradients)
        for buffer in buffers:
            assert np.isfinite(buffer).all(), "only numbers have bits that can be pinned"
            digest.update(buffer.astype(variant.dtype.newbyteorder("<")).tobytes())
    return {key: digest.hexdigest()[:32] for key, digest in hashes.items()}


CHECKS = {
    "few_lengths": functools.partial(check_lengths, every=False),
    "every_length": functools.partial(check_lengths, every=True),
    "special_values": check_special_values,
    "few_threads": functools.partial(check_threads, every=False),
    "every_threads": functools.partial(check_threads, every=True),
}


def main(check):
    if check == "pinned":
        found = pinned_digests()
    else:
        report = Report()
        CHECKS[check](report)
        found = report.properties
    print(json.dumps({"isa": fastopt.isa(), "found": found}))


if __name__ == "__main__":
    main(sys.argv[1])
