# cython: language_level=3
"""Calls functions of fastopt, with and without a gradient buffer, outside the interpreter's lock."""

from libc.stdint cimport uint64_t

cimport fastopt


def adam_float32(float[::1] param, float[::1] grad, float[::1] exp_avg, float[::1] exp_avg_sq,
                 float[::1] max_exp_avg_sq, uint64_t step, double lr, bint maximize):
    cdef float *amsgrad = NULL if max_exp_avg_sq is None else &max_exp_avg_sq[0]
    cdef int status
    with nogil:
        status = fastopt.adam_float32(param.shape[0], &param[0], &grad[0], &exp_avg[0], &exp_avg_sq[0],
                                      amsgrad, step, lr, 0.9, 0.999, 1e-8, 0, 0.0, 0, 1.0, maximize)
    return status, fastopt.status_text(status)


def sgd_float64(double[::1] param, double[::1] grad, double lr, double weight_decay, bint decoupled):
    cdef int status
    with nogil:
        status = fastopt.sgd_float64(param.shape[0], &param[0], &grad[0], lr, weight_decay, decoupled,
                                     1.0, 0)
    return status, fastopt.status_text(status)
