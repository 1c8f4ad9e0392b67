# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, binding=False
"""Arrays to pointers: validation, the GIL, and nothing else.

The functions of the rules are made from the library's table, one built-in function for each row;
`TensorList` is what an optimizer class holds, `RowList` what a population holds, `ExchangeList` is
for tensors of a framework.
"""

from cpython.dict cimport PyDict_GetItem, PyDict_Next, PyDict_Size
from cpython.exc cimport PyErr_Clear
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact
from cpython.long cimport PyLong_CheckExact
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.object cimport PyObject, PyObject_TypeCheck, PyTypeObject
from cpython.pycapsule cimport PyCapsule_GetPointer
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.math cimport isnan
from libc.stdint cimport int32_t, int64_t, uintptr_t
from libc.stdlib cimport calloc, free, qsort, realloc
from libc.string cimport memcpy, memset

cimport cython
cimport numpy as cnp

from fastopt._library cimport *

import numbers
import sys

import numpy

cnp.import_array()

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object value, int *overflow) except? -1
    ctypedef struct PyInterpreterState:
        pass
    PyInterpreterState *PyInterpreterState_Get()
    PyInterpreterState *PyInterpreterState_Main()

cdef enum:
    # A step of more elements takes longer than handing over the GIL.
    RELEASE_GIL_ELEMENTS = 16384

cdef uint64_t LAST_STEP = <uint64_t>1 << 53

include "_checks.pxi"      # numbers and arrays, and the errors about them
include "_sparse.pxi"      # Rows: gradients of some rows only
include "_rules.pxi"       # Rule, and the function of each rule
include "_hypers.pxi"      # a parameter group's hyper-parameters
include "_intervals.pxi"   # which buffers overlap
include "_buffers.pxi"     # BufferList: parameters and states in memory, and their step
include "_tensors.pxi"     # TensorList: many arrays in one call
include "_population.pxi"  # RowList: many models in one call
include "_dlpack.pxi"      # what a framework's tensor says of its memory
include "_exchange.pxi"    # ExchangeList: a framework's tensors in place of arrays
include "_snapshot.pxi"    # Snapshot: whether containers still hold what they did
include "_settings.pxi"    # the norm, threads, instruction sets, versions
include "_embedding.pxi"   # what Cython and Numba call; made by setup.py


cdef const char *status_text(int status) noexcept nogil:
    return fo_status_text(status)


# Before Python 3.12 nothing else keeps a subinterpreter from sharing the module's objects.
if PyInterpreterState_Get() != PyInterpreterState_Main():
    raise ImportError("fastopt cannot be imported in a subinterpreter")
if fo_settings_error() != NULL:
    raise ImportError(text(fo_settings_error()))
