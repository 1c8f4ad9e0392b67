"""The ceiling kernel: bench/ceiling.c, compiled at first use and called through ctypes."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from .contenders import Case, Contender

SOURCE = Path(__file__).with_name("ceiling.c")
FLAGS = ("-std=c11", "-O3", "-ffp-contract=off", "-shared", "-fPIC", "-pthread")
CHUNK = 65_536
# Below, the call through ctypes counts; with more threads, their start at every call.
MIN_SIZE, MIN_SIZE_THREADED = 10_000, 10_000_000


class CeilingStep(ctypes.Structure):
    _fields_ = (
        ("read", ctypes.c_void_p),
        ("written", ctypes.c_void_p * 3),
        ("n", ctypes.c_size_t),
        ("chunk", ctypes.c_size_t),
        ("scale", ctypes.c_double),
        ("n_written", ctypes.c_int),
        ("is_double", ctypes.c_int),
        ("threads", ctypes.c_int),
    )


@functools.cache
def library() -> ctypes.CDLL:
    """Compile into the system's temporary folder, once for each version of the source."""
    compiler = os.environ.get("CC", "cc")
    version = hashlib.sha256(SOURCE.read_bytes() + repr((compiler, FLAGS)).encode()).hexdigest()
    folder = Path(tempfile.gettempdir()) / f"fastopt-bench-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"ceiling-{version[:16]}.so"
    if not path.exists():
        partial = path.with_suffix(f".{os.getpid()}")
        subprocess.run([compiler, *FLAGS, "-o", partial, SOURCE], check=True)
        partial.replace(path)  # whole or not at all, whoever else compiles at this moment
    loaded = ctypes.CDLL(str(path))
    loaded.ceiling_step.argtypes = (ctypes.POINTER(CeilingStep),)
    return loaded


class Ceiling(Contender):
    """Moves the bytes of a rule's step and computes next to nothing."""

    name = "ceiling"

    def supports(self, rule, dtype, n_tensors):
        return n_tensors == 1 and len(rule.states) <= 2

    def load(self, threads):
        self.threads = threads
        library()

    def make(self, rule, tensors, max_norm=None):
        ((param, grad, states),) = tensors
        written = (param, *states)
        step = CeilingStep(
            read=grad.ctypes.data,
            written=(ctypes.c_void_p * 3)(*(array.ctypes.data for array in written)),
            n=param.size,
            chunk=CHUNK,
            scale=0.0,
            n_written=len(written),
            is_double=param.dtype == np.float64,
            threads=self.threads,
        )
        pointer = ctypes.pointer(step)
        function = library().ceiling_step
        if function(pointer) != 0:
            raise ValueError(
                f"ceiling kernel refused {len(written)} arrays, {self.threads} threads"
            )
        return Case(lambda: function(pointer))
