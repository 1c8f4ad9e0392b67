"""The copy kernel: copying.c, compiled at first use and called through ctypes."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

SOURCE = Path(__file__).with_name("copying.c")
FLAGS = ("-std=c11", "-O3", "-ffp-contract=off", "-shared", "-fPIC", "-pthread")
CHUNK = 65_536


class CopyStep(ctypes.Structure):
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

    @classmethod
    def of(cls, read: np.ndarray, written: tuple[np.ndarray, ...], threads: int) -> CopyStep:
        """One array that is read and up to three that are read and written."""
        return cls(
            read=read.ctypes.data,
            written=(ctypes.c_void_p * 3)(*(array.ctypes.data for array in written)),
            n=read.size,
            chunk=CHUNK,
            scale=0.0,
            n_written=len(written),
            is_double=read.dtype == np.float64,
            threads=threads,
        )


@functools.cache
def copy_library() -> ctypes.CDLL:
    """Compile into the system's temporary folder, once for each version of the source."""
    compiler = os.environ.get("CC", "cc")
    version = hashlib.sha256(SOURCE.read_bytes() + repr((compiler, FLAGS)).encode()).hexdigest()
    folder = Path(tempfile.gettempdir()) / f"fastopt-bench-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"copy-{version[:16]}.so"
    if not path.exists():
        partial = path.with_suffix(f".{os.getpid()}")
        subprocess.run([compiler, *FLAGS, "-o", partial, SOURCE], check=True)
        partial.replace(path)  # whole or not at all, whoever else compiles at this moment
    loaded = ctypes.CDLL(str(path))
    loaded.copy_step.argtypes = (ctypes.POINTER(CopyStep),)
    return loaded
