"""fastopt's functions called from compiled code: a loop of many calls in one function.

The functions for Cython and Numba check only numbers and pointers, and no interpreter runs between
the calls. So what remains is the call in C and the arithmetic.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import fastopt
from bench.steps.arrays import LR, STEP, Tensor
from bench.steps.rival import Case, Rival

CALLS = 1000
PROGRAM = """\
# cython: language_level=3
cimport fastopt


def sgd(int count, float[::1] param, float[::1] grad, float[:, ::1] states, double lr, int step):
    cdef size_t n = param.shape[0]
    cdef int status = 0
    with nogil:
        for _ in range(count):
            # weight_decay, decoupled, grad_scale, maximize
            status |= fastopt.sgd_float32(n, &param[0], &grad[0], lr, 0.0, 0, 1.0, 0)
    return status


def adam(int count, float[::1] param, float[::1] grad, float[:, ::1] states, double lr, int step):
    cdef size_t n = param.shape[0]
    cdef int status = 0
    with nogil:
        for _ in range(count):
            # beta1, beta2, eps, eps_hat, and the same as above
            status |= fastopt.adam_float32(
                n, &param[0], &grad[0], &states[0][0], &states[1][0], NULL, step,
                lr, 0.9, 0.999, 1e-8, 0, 0.0, 0, 1.0, 0)
    return status
"""
SETUP = """\
from Cython.Build import cythonize
from setuptools import Extension, setup

setup(ext_modules=cythonize([Extension("calls", ["calls.pyx"])], quiet=True))
"""
RULES = ("sgd", "adam")


def _case(call, rule, tensor: Tensor) -> Case:
    """The loop, after a check that it does the same as CALLS calls from Python."""
    expected = [array.copy() for array in (tensor.param, tensor.grad, *tensor.states)]
    step = {"step": STEP} if "step" in rule.hypers else {}
    for _ in range(CALLS):
        getattr(fastopt, rule.name)(*expected, lr=LR, **step)
    if call() != 0 or not np.array_equal(tensor.param, expected[0]):
        raise RuntimeError(f"{rule.name}: the compiled loop takes other steps than Python's calls")
    return Case(call, steps=CALLS)


class FromCython(Rival):
    """Compiled when it is first used, in a temporary folder."""

    name = "fastopt from Cython"
    packages = ("Cython", "setuptools")

    def supports(self, rule, dtype, n_tensors):
        return rule.name in RULES and np.dtype(dtype) == np.float32 and n_tensors == 1

    def load(self, threads):
        fastopt.set_num_threads(threads)

    def make(self, rule, tensors, max_norm=None):
        ((param, grad, states),) = tensors
        function = getattr(_cython_module(), rule.name)
        stacked = np.stack(states) if states else np.empty((0, 1), np.float32)
        arguments = CALLS, param, grad, stacked, LR, STEP
        return _case(lambda: function(*arguments), rule, Tensor(param, grad, tuple(stacked)))


@functools.cache
def _cython_module():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "calls.pyx").write_text(PROGRAM)
        (folder / "setup.py").write_text(SETUP)
        command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        (built,) = folder.glob("calls.*.so")
        spec = importlib.util.spec_from_file_location("calls", built)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


class FromNumba(Rival):
    name = "fastopt from Numba"
    packages = ("numba",)

    def supports(self, rule, dtype, n_tensors):
        return rule.name in RULES and np.dtype(dtype) == np.float32 and n_tensors == 1

    def load(self, threads):
        fastopt.set_num_threads(threads)

    def make(self, rule, tensors, max_norm=None):
        ((param, grad, states),) = tensors
        function = _numba_functions()[rule.name]
        buffers = [array.ctypes.data for array in (param, grad, *states)]
        arguments = CALLS, param.size, *buffers, LR, STEP
        return _case(lambda: function(*arguments), rule, tensors[0])


@functools.cache
def _numba_functions():
    from numba import njit
    from numba.extending import get_cython_function_address

    pointer, real, flag = ctypes.c_size_t, ctypes.c_double, ctypes.c_int

    def function(name, *arguments):
        address = get_cython_function_address("fastopt._core", name)
        return ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_size_t, *arguments)(address)

    shared = real, flag, real, flag
    sgd = function("sgd_float32", pointer, pointer, real, *shared)
    buffers = [pointer] * 5
    adam = function("adam_float32", *buffers, ctypes.c_uint64, *[real] * 4, flag, *shared)

    @njit
    def sgd_calls(count, n, param, grad, lr, step):
        status = 0
        for _ in range(count):
            status |= sgd(n, param, grad, lr, 0.0, 0, 1.0, 0)
        return status

    @njit
    def adam_calls(count, n, param, grad, exp_avg, exp_avg_sq, lr, step):
        status = 0
        for _ in range(count):
            status |= adam(
                *(n, param, grad, exp_avg, exp_avg_sq, 0, step),
                *(lr, 0.9, 0.999, 1e-8, 0, 0.0, 0, 1.0, 0),
            )
        return status

    return {"sgd": sgd_calls, "adam": adam_calls}


RIVALS = (FromCython(), FromNumba())
