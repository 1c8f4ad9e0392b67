"""One thread of BLAS, for matrices too small for more."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import scipy.linalg

__all__ = ["one_blas_thread"]

# The names in NumPy's and SciPy's wheels, with 64-bit and with 32-bit integers, and in a system's
# own OpenBLAS.
NAMES = (
    "scipy_openblas_{}_num_threads64_",
    "scipy_openblas_{}_num_threads",
    "openblas_{}_num_threads64_",
    "openblas_{}_num_threads",
)


def _openblas(path: str | None) -> tuple[Callable[[], int], Callable[[int], None]] | None:
    """How to get and set the thread count of the OpenBLAS that an extension module is linked to."""
    try:
        # a symbol is looked up in the libraries that this one needs, too
        library = ctypes.CDLL(path)
    except OSError:
        return None
    for name in NAMES:
        if hasattr(library, name.format("set")) and hasattr(library, name.format("get")):
            return library[name.format("get")], library[name.format("set")]
    return None


class _Threads:
    """The thread counts of the libraries, and the callers that need them to be one.

    Ctrl-C may interrupt any line here. A caller therefore calls `leave` twice, which does nothing
    for a caller that has left already or never entered.
    """

    def __init__(self) -> None:
        modules = (np.linalg._umath_linalg, scipy.linalg._fblas)
        found = [_openblas(module.__file__) for module in modules]
        self.libraries = [functions for functions in found if functions is not None]
        # reentrant: the garbage collector may close an interrupted caller while another enters
        self.lock = threading.RLock()
        self.callers: set[object] = set()
        self.before: list[int] | None = None
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget_callers)

    def enter(self, caller: object) -> None:
        with self.lock:
            self.callers.add(caller)
            if self.before is None:
                self.before = [get() for get, _ in self.libraries]
            self._set([1] * len(self.libraries))

    def leave(self, caller: object) -> None:
        with self.lock:
            self.callers.discard(caller)
            if not self.callers and self.before is not None:
                self._set(self.before)
                self.before = None

    def _forget_callers(self) -> None:
        # a forked child lacks the parent's other threads, which would leave or release the lock
        self.lock = threading.RLock()
        self.callers.clear()
        self.leave(None)

    def _set(self, counts: list[int]) -> None:
        for (_, change), count in zip(self.libraries, counts, strict=True):
            change(count)


_threads = _Threads()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """While any thread of the process is inside, NumPy's and SciPy's OpenBLAS use one thread.

    On a few hundred rows a second thread costs more than it gains, and it changes the rounding:
    with one, results do not depend on the number of CPUs. Other libraries (MKL, Accelerate) are
    left as they are.
    """
    caller = object()
    try:
        try:
            _threads.enter(caller)
            yield
        finally:
            _threads.leave(caller)
    finally:
        # in case Ctrl-C interrupted the first call
        _threads.leave(caller)
