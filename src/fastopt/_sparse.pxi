# Gradients that have only some rows of their array; part of _core.pyx.


cdef int check_indices(str name, object indices) except -1:
    """That it can go into C as the numbers of rows; their range is checked there."""
    cdef cnp.ndarray array
    if not cnp.PyArray_CheckExact(indices):
        raise TypeError(f"{name} must be a numpy.ndarray of int32 or int64, "
                        f"got {type(indices).__name__}")
    array = <cnp.ndarray>indices
    if not (cnp.PyTypeNum_ISSIGNED(cnp.PyArray_TYPE(array)) and cnp.PyArray_ISNOTSWAPPED(array)
            and cnp.PyArray_ITEMSIZE(array) in (4, 8)):
        raise TypeError(f"{name} must have dtype int32 or int64 in native byte order, "
                        f"got {indices.dtype!r}; indices.astype(numpy.int64) makes a copy of that")
    if cnp.PyArray_NDIM(array) != 1:
        raise ValueError(f"{name} must have one dimension, got shape {indices.shape}")
    return check_layout(name, array, False)


cdef int check_rows(str grad_name, cnp.ndarray grad, str indices_name, cnp.ndarray indices,
                    str param_name, cnp.ndarray param) except -1:
    """That the gradient has a row like those of param for each index."""
    cdef int i
    cdef int ndim = cnp.PyArray_NDIM(param)
    cdef bint same = ndim and cnp.PyArray_NDIM(grad) == ndim
    if same:
        same = cnp.PyArray_DIMS(grad)[0] == cnp.PyArray_SIZE(indices)
        for i in range(1, ndim):
            same = same and cnp.PyArray_DIMS(grad)[i] == cnp.PyArray_DIMS(param)[i]
    if same:
        return 0
    if not ndim:
        raise ValueError(f"{param_name} must have rows for {indices_name} to name, got shape ()")
    rest = ", ".join(map(str, (<object>param).shape[1:]))
    raise ValueError(f"{grad_name} must have a row for each of the {cnp.PyArray_SIZE(indices)} "
                     f"{indices_name}, ({cnp.PyArray_SIZE(indices)}, {rest}), "
                     f"got {(<object>grad).shape}")


cdef bint is_row_wise(Rule rule, cnp.ndarray state, cnp.ndarray param) noexcept:
    """Whether the state has a number for each row of param: row-wise Adagrad."""
    return (rule.defaults.rule == FO_RULE_adagrad and cnp.PyArray_NDIM(state) == 1
            and cnp.PyArray_NDIM(param) > 1
            and cnp.PyArray_DIMS(state)[0] == cnp.PyArray_DIMS(param)[0])


cdef int check_row_wise(str name, int format, int param_format) except -1:
    if format != (<int>FO_FLOAT64 if param_format == FO_FLOAT64 else <int>FO_FLOAT32):
        raise TypeError(f"{name} with a number for each row must be "
                        f"{'float64' if param_format == FO_FLOAT64 else 'float32'}, got "
                        f"{text(fo_format_describe(format).name)}")
    return 0


cdef void note_rows(fo_sparse *to, cnp.ndarray param, cnp.ndarray indices) noexcept:
    to.rows = cnp.PyArray_DIMS(param)[0]
    to.count = cnp.PyArray_SIZE(indices)
    to.indices = cnp.PyArray_DATA(indices)
    to.is_int64 = cnp.PyArray_ITEMSIZE(indices) == 8


cdef int raise_index(str name, const fo_sparse *sparse, size_t place) except -1:
    if sparse.is_int64:
        index = (<const int64_t *>sparse.indices)[place]
    else:
        index = (<const int32_t *>sparse.indices)[place]
    raise ValueError(f"{name} must be from 0 to below {sparse.rows}, the number of rows, "
                     f"got {index} at {place}")


@cython.final
cdef class Rows:
    """A gradient of only some rows of an array, such as the rows of an embedding table that a batch
    used.

    `Optimizer.step` takes it in place of an array. Only those rows of the parameter and of its
    states are read and written: weight decay and the decay of averages leave the others alone. The
    step is counted for the whole parameter.

    Parameters
    ----------
    indices : ndarray of int32 or int64
        The numbers of the rows along the first axis, from 0, in any order. Where one stands more
        than once, its gradients are added up first, in the order in which they stand, and the row
        is stepped once.
    values : ndarray
        The gradient: a row for each index, else of the shape of the parameter.

    Attributes
    ----------
    indices, values : ndarray
        The arrays themselves.

    Examples
    --------
    >>> import fastopt
    >>> import numpy as np
    >>> table = np.zeros((1000, 2))
    >>> opt = fastopt.Adagrad(table, lr=0.5)
    >>> opt.step(fastopt.Rows(np.array([7, 3, 7]), np.ones((3, 2))))
    >>> table[[3, 7]]
    array([[-0.5, -0.5],
           [-0.5, -0.5]])
    >>> int((table != 0).sum())
    4
    """

    cdef readonly cnp.ndarray indices
    cdef readonly cnp.ndarray values

    def __init__(self, indices, values):
        check_indices("indices", indices)
        check_type("values", values)
        if not values.shape or values.shape[0] != indices.size:
            raise ValueError(f"values must have a row for each of the {indices.size} indices, "
                             f"got shape {values.shape}")
        self.indices = indices
        self.values = values

    def __reduce__(self):
        return Rows, (self.indices, self.values)

    def __repr__(self):
        return f"Rows({self.indices!r}, {self.values!r})"
