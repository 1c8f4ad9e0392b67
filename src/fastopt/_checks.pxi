# The checks of numbers and arrays, and the errors that they raise; part of _core.pyx.


cdef str text(const char *string):
    return None if string == NULL else sys.intern(string.decode("ascii"))


cdef str needs(fo_domain domain):
    if domain == FO_FINITE:
        return "a finite number"
    if domain == FO_NONNEGATIVE:
        return "a finite number >= 0"
    if domain == FO_FRACTION:
        return "a number in [0, 1)"
    return "a bool"


cdef double to_double(str name, object value, fo_domain domain) except? -1.0:
    """The value as a C double; its type is checked here, its domain by the library."""
    if PyFloat_CheckExact(value):
        if domain != FO_FLAG:
            return PyFloat_AS_DOUBLE(value)
    elif value is True or value is False or isinstance(value, numpy.bool_):
        if domain == FO_FLAG:
            return bool(value)
    elif isinstance(value, numpy.timedelta64):  # a Real too
        pass
    elif domain != FO_FLAG and isinstance(value, numbers.Real):
        try:
            return float(value)
        except OverflowError:
            raise ValueError(f"{name} must be {needs(domain)}, got {value!r}") from None
    raise TypeError(f"{name} must be {needs(domain)}, got {type(value).__name__} {value!r}")


cdef uint64_t to_step(object value) except? 0:
    cdef int overflow = 0
    cdef long long count
    if PyLong_CheckExact(value):
        count = PyLong_AsLongLongAndOverflow(value, &overflow)
        if overflow or not 1 <= count <= <long long>LAST_STEP:
            raise ValueError(f"step must be from 1 to 2**53, got {value}")
        return count
    # numpy.timedelta64 counts as Integral too.
    if isinstance(value, (bool, numpy.timedelta64)) or not isinstance(value, numbers.Integral):
        raise TypeError(f"step must be an integer, got {type(value).__name__} {value!r}")
    return to_step(int(value))


cdef int raise_hyper(fo_status status, str name, fo_domain domain, double value) except -1:
    if status == FO_BAD_HYPER:
        raise ValueError(f"{name} must be {needs(domain)}, got {value!r}")
    raise ValueError(f"{name} must be a number that float32 can hold, as that is "
                     f"what the arrays compute in, got {value!r}, which becomes "
                     f"{'0' if abs(value) < 1 else 'infinity'} there")


cdef int raise_status(fo_status status, const fo_group *groups, const fo_options *options,
                      const fo_result *result) except -1:
    """The exception of a status; the groups, options and result are those of the step."""
    cdef const fo_hyper_info *info
    cdef const double *hyper
    if status == FO_NO_MEMORY:
        raise MemoryError
    if status == FO_BAD_HYPER or status == FO_UNREPRESENTABLE:
        info = fo_hyper_describe(result.hyper)
        hyper = <const double *>&groups[result.group].hyper
        value = hyper[result.hyper]
        if options != NULL and &hyper[result.hyper] == &groups[result.group].hyper.grad_scale:
            value *= options.grad_scale
        raise_hyper(status, text(info.name), info.domain, value)
    raise ValueError(text(fo_status_text(status)))


# Arrays: their formats are numbered as in the library, NumPy's types as in NumPy.

cdef int numpy_type_of(int format):
    """The number of NumPy's own type for a format, or -1: a package that adds one, as ml_dtypes does
    for bfloat16, gets its number when it is first imported."""
    try:
        return numpy.dtype(text(fo_format_describe(format).name)).num
    except TypeError:
        return -1


cdef int numpy_types[FO_FORMAT_COUNT]
for _index in range(FO_FORMAT_COUNT):
    numpy_types[_index] = numpy_type_of(_index)


# Blocks are of states alone, and no array of elements.
BLOCK8 = numpy.dtype([("scale", numpy.float32), ("codes", numpy.uint8, (FO_BLOCK,))], align=True)


cdef str format_names():
    *names, last = [text(fo_format_describe(i).name) for i in range(FO_FORMAT_COUNT)
                    if i != FO_BLOCK8]
    return f"{', '.join(names)} or {last}"


cdef int format_of_type(cnp.ndarray array) noexcept:
    """The format of an array's elements, or FO_FORMAT_COUNT."""
    cdef int found = 0, numpy_type = cnp.PyArray_TYPE(array)
    if not cnp.PyArray_ISNOTSWAPPED(array):
        return FO_FORMAT_COUNT
    while found < FO_FORMAT_COUNT and numpy_types[found] != numpy_type:
        found += 1
    return added_format(array) if found == FO_FORMAT_COUNT else found


cdef int added_format(cnp.ndarray array) noexcept:
    """The same of a type that a package has added, by its name."""
    cdef int found
    name = (<object>array).dtype.type.__name__
    for found in range(FO_FORMAT_COUNT):
        if (numpy_types[found] == -1 and name == text(fo_format_describe(found).name)
                and cnp.PyArray_ITEMSIZE(array) == <Py_ssize_t>fo_format_describe(found).bytes):
            numpy_types[found] = cnp.PyArray_TYPE(array)
            return found
    return FO_FORMAT_COUNT


# Errors are made by functions of their own, so that what is called for each array stays short.

cdef int check_type(str name, object array) except -1:
    """The format of what must be exactly an ndarray, in native byte order."""
    cdef int found
    if not cnp.PyArray_CheckExact(array):
        raise no_array(name, array)
    found = format_of_type(<cnp.ndarray>array)
    if found == FO_FORMAT_COUNT:
        raise no_format(name, array)
    return found


cdef object no_array(str name, object array):
    hint = "; numpy.asarray makes a plain view" if isinstance(array, cnp.ndarray) else ""
    return TypeError(f"{name} must be a numpy.ndarray, got {type(array).__name__}{hint}")


cdef object no_format(str name, object array):
    hint = ""
    if array.dtype == numpy.uint16:
        hint = "; view it as ml_dtypes.bfloat16 if it is that"
    elif array.dtype.kind in "biuf":
        hint = "; astype makes a copy in one of these, to use in its place from then on"
    return TypeError(f"{name} must have dtype {format_names()} in native byte order, "
                     f"got {array.dtype!r}{hint}")


cdef int check_state_type(str name, object array) except -1:
    """The same of a state, which may be in blocks."""
    if cnp.PyArray_CheckExact(array) and (<object>array).dtype == BLOCK8:
        return FO_BLOCK8
    return check_type(name, array)


cdef inline bint goes_with(int format, int param_format) noexcept:
    """All else than float64 computes in float32 and may be mixed."""
    return format != FO_FORMAT_COUNT and (format == FO_FLOAT64) == (param_format == FO_FLOAT64)


cdef inline int check_goes_with(str name, int format, int param_format) except -1:
    if not goes_with(format, param_format):
        raise other_dtype(name, format, param_format)
    return 0


cdef object other_dtype(str name, int format, int param_format):
    called = text(fo_format_describe(format).name)
    its = text(fo_format_describe(param_format).name)
    if param_format == FO_BFLOAT16 or param_format == FO_FLOAT16:
        return TypeError(f"{name} must have dtype float32, bfloat16 or float16, as param is {its}, "
                         f"got {called}; astype(numpy.float32) makes a copy of that")
    return TypeError(f"{name} must have the dtype of param, {its}, got {called}; "
                     "astype(param.dtype) makes a copy of that")


cdef int check_squares(Rule rule, const fo_hyper *hyper, int state, int format, str name) except -1:
    """An average of squares by rounding to the nearest bfloat16 or code needs a decay that is above
    half of the last place, or it never decays."""
    cdef double kept, most = 0.99 if format == FO_BFLOAT16 else 0.9
    if (format != FO_BFLOAT16 and format != FO_BLOCK8) or not rule.info.squares >> state & 1:
        return 0
    called = text(fo_format_describe(format).name)
    if rule.kept_share < 0:
        raise ValueError(f"{name} is a sum of squares, which stops growing where each addition is "
                         f"rounded to the nearest {called}; take rounding='stochastic', as the "
                         "classes do by default, or float32")
    kept = (<const double *>hyper)[rule.kept_share]
    if kept > most:
        raise ValueError(f"{name} would never decay with "
                         f"{text(fo_hyper_describe(rule.kept_share).name)}={kept!r}, as each step "
                         f"changes it by less than half of the last place of {called}, and is rounded "
                         "to the nearest; take rounding='stochastic', as the classes do by default, "
                         f"float32, or at most {most}")
    return 0


cdef int check_layout(str name, cnp.ndarray array, bint written) except -1:
    cdef int flags = cnp.PyArray_FLAGS(array)
    if not flags & cnp.NPY_ARRAY_C_CONTIGUOUS:
        # A step of a copy that nobody holds would be lost without a word.
        hint = ", to use in its place from then on" if written else ""
        raise ValueError(
            f"{name} must be C-contiguous, got shape {(<object>array).shape} "
            f"with strides {(<object>array).strides}; numpy.ascontiguousarray makes a contiguous "
            f"copy{hint}"
        )
    if not flags & cnp.NPY_ARRAY_ALIGNED:
        raise ValueError(f"{name} must be aligned to its dtype, got a misaligned array")
    if written and not flags & cnp.NPY_ARRAY_WRITEABLE:
        raise ValueError(f"{name} must be writeable, got a read-only array")
    return 0


cdef int check_number_array(str name, object array, tuple wanted) except -1:
    """Check that an array is of float64, in the shape that is wanted."""
    if not cnp.PyArray_CheckExact(array):
        raise TypeError(f"{name} must be a numpy.ndarray, got {type(array).__name__}")
    if (cnp.PyArray_TYPE(<cnp.ndarray>array) != cnp.NPY_DOUBLE
            or not cnp.PyArray_ISNOTSWAPPED(<cnp.ndarray>array)):
        raise TypeError(f"{name} must have dtype float64 in native byte order, got {array.dtype!r}")
    if array.shape != wanted:
        raise ValueError(f"{name} must have the shape {wanted}, got {array.shape}")
    return 0


cdef inline bint same_shape(cnp.ndarray a, cnp.ndarray b) noexcept:
    cdef int i, ndim = cnp.PyArray_NDIM(a)
    if cnp.PyArray_NDIM(b) != ndim:
        return False
    for i in range(ndim):
        if cnp.PyArray_DIMS(a)[i] != cnp.PyArray_DIMS(b)[i]:
            return False
    return True


cdef int raise_shape(str name, object array, str other, object param) except -1:
    raise ValueError(f"{name} must have the shape of {other}, {param.shape}, got {array.shape}")


cdef inline bint overlap(cnp.ndarray a, cnp.ndarray b) noexcept:
    cdef char *first = <char *>cnp.PyArray_DATA(a)
    cdef char *second = <char *>cnp.PyArray_DATA(b)
    return first < second + cnp.PyArray_NBYTES(b) and second < first + cnp.PyArray_NBYTES(a)
