# Tensors of a framework in place of arrays, read through DLPack's exchange interface; part of
# _core.pyx.


ctypedef struct counter:
    char *data  # NULL if there is none
    bint is_int
    bint is_float64


cdef double read_number(const counter *place) noexcept:
    if place.is_int:
        return <double>(<int64_t *>place.data)[0]
    if place.is_float64:
        return (<double *>place.data)[0]
    return (<float *>place.data)[0]


cdef void write_number(const counter *place, double number) noexcept:
    if place.is_int:
        (<int64_t *>place.data)[0] = <int64_t>number
    elif place.is_float64:
        (<double *>place.data)[0] = number
    else:
        (<float *>place.data)[0] = <float>number


cdef class ExchangeList(BufferList):
    """Tensors with their states, where the framework keeps each tensor's gradient in ``grad``.

    A tensor must be dense: its elements fill a block of memory in whatever order. The states have
    the order of their parameter.

    Parameters
    ----------
    rules, params, states, groups, names, optional, remainders
        As for `TensorList`, with tensors for arrays. A number that is carried from step to step is
        a tensor of one element, read and written at each step as those of `counters` are. Where the
        rule joins arrays it is an array of NumPy, the same one for all parameters.
    source : tuple
        The tensors' class; a function that is false of a tensor if its memory holds its values as
        they are; and ``adopt(param, grad, name)``, which copies a gradient of another layout than
        its parameter's into that layout, or raises. Of a gradient that has only some rows it
        returns these: their indices, the values, and how many rows the parameter has.
    """

    cdef fo_dltensor_from dltensor_from
    cdef object tensor_class
    cdef object is_lazy
    cdef object adopt
    cdef int64_t *layouts    # of all parameters, one after another: shape, strides
    cdef int *ndims
    cdef list counted_by     # for each parameter the tensor that counts its steps, or None
    cdef counter *places     # where the counters are; no longer than until Python's code runs again
    cdef double *numbers     # what the parameters carry from step to step, while they are stepped
    cdef list refused        # for each group, why it takes no gradients of rows, and no others
    cdef list idle           # for each group, whether it is left alone
    cdef list lenient        # for each group, whether squares may be stored whatever the rounding

    def __cinit__(self, list rules not None, list params not None, list states not None,
                  list groups not None, list names not None, list optional not None,
                  tuple source not None, *, list remainders=None):
        cdef fo_exchange *exchange
        self.hold(rules, params, states, groups, names, optional, remainders)
        self.lenient = [False] * self.group_count
        self.refused = [(None, None)] * self.group_count
        self.idle = [False] * self.group_count
        self.counted_by = [None] * self.count
        self.tensor_class, self.is_lazy, self.adopt = source
        exchange = <fo_exchange *>PyCapsule_GetPointer(
            self.tensor_class.__dlpack_c_exchange_api__, "dlpack_exchange_api")
        if exchange.major != 1 or exchange.dltensor_from == NULL:
            raise ImportError(f"{self.tensor_class} must offer the exchange interface of DLPack 1 "
                              f"for borrowed tensors, got that of DLPack {exchange.major}")
        self.dltensor_from = exchange.dltensor_from
        self.ndims = <int *>calloc(self.count + 1, sizeof(int))
        self.places = <counter *>calloc(self.count + 1, sizeof(counter))
        self.numbers = <double *>calloc(self.count + 1, sizeof(double))
        if not (self.ndims and self.places and self.numbers):
            raise MemoryError
        self.attach()

    def __dealloc__(self):
        free(self.layouts)
        free(self.ndims)
        free(self.places)
        free(self.numbers)

    @property
    def counters(self):
        """For each parameter the framework's tensor of one element that counts its steps, or None
        where `steps` does. It is read and written at each step, wherever it then lies, since others
        may count on it too."""
        return self.counted_by

    @counters.setter
    def counters(self, list tensors not None):
        if len(tensors) != self.count:
            raise ValueError(f"counters must have {self.count} tensors, got {len(tensors)}")
        self.counted_by = tensors

    def set_rounding(self, list seeds not None, list positions not None, list lenient not None):
        """How narrow parameters and states are rounded.

        seeds : for each parameter that of its stochastic rounding, or None: to nearest
        positions : for each parameter the place of its first element among all that have its seed
        lenient : for each group, whether averages of squares may be rounded to nearest where that
            keeps them from decaying, as the framework's own step does
        """
        cdef Py_ssize_t i
        for i in range(self.count):
            self.tensors[i].rounding = FO_NEAREST if seeds[i] is None else FO_STOCHASTIC
            self.tensors[i].seed = 0 if seeds[i] is None else seeds[i]
            self.tensors[i].position = positions[i]
        self.lenient = lenient
        self.forget_hypers()

    def set_refusals(self, list reasons not None):
        """For each group two messages or None: why it takes no gradients of some rows only, and why
        it takes no others."""
        self.refused = reasons

    def set_idle(self, list idle not None):
        """For each group whether it is left alone, as if it had no gradients."""
        if len(idle) != self.group_count:
            raise ValueError(f"idle must have {self.group_count} flags, got {len(idle)}")
        self.idle = idle

    cdef int refuse(self, Py_ssize_t i, Py_ssize_t kind) except -1:
        reason = self.refused[self.tensors[i].group][kind]
        if reason is not None:
            raise RuntimeError(reason)
        return 0

    cdef int check_narrow(self, Py_ssize_t group, const fo_hyper *hyper) except -1:
        return 0 if self.lenient[group] else BufferList.check_narrow(self, group, hyper)

    cdef bint find_number(self, object tensor, counter *place) noexcept:
        """Note where a tensor of one number is; false if it is none on the CPU."""
        cdef fo_dltensor view
        if not PyObject_TypeCheck(tensor, <PyTypeObject *>self.tensor_class):
            return False
        if self.dltensor_from(<void *>tensor, &view) != 0:
            PyErr_Clear()
            return False
        place.data = view.data + view.byte_offset
        place.is_int = view.type_code == FO_DL_INT
        place.is_float64 = view.type_bits == 64
        return (view.device_type == FO_DL_CPU and view.data != NULL and element_count(&view) == 1
                and view.type_lanes == 1 and (view.type_bits == 64 or view.type_bits == 32)
                and (view.type_code == FO_DL_FLOAT
                     or view.type_code == FO_DL_INT and view.type_bits == 64)
                and <uintptr_t>place.data % (<unsigned>view.type_bits // 8) == 0)

    cdef bint find_counter(self, Py_ssize_t i) noexcept:
        return self.find_number(<object>PyList_GET_ITEM(self.counted_by, i), &self.places[i])

    cdef object carrier(self, Py_ssize_t i):
        """What holds the number, or the numbers, that a parameter carries."""
        return <object>PyList_GET_ITEM(self.states[i], self.state_count(i))

    cdef double *carried_of(self, Py_ssize_t i) except? NULL:
        """Where a step reads and writes what a parameter carries; NULL if it carries nothing."""
        if self.state_count(i) == PyList_GET_SIZE(self.states[i]):
            return NULL
        array = self.carrier(i)
        if not cnp.PyArray_Check(array):
            return &self.numbers[i]
        name = self.written_name(i * WRITTEN + WRITTEN - 2)
        check_number_array(name, array, self.shape_of_numbers(self.rules[self.tensors[i].group]))
        check_layout(name, array, True)
        return <double *>cnp.PyArray_DATA(<cnp.ndarray>array)

    cdef int read_carried(self, Py_ssize_t i) except -1:
        cdef counter place
        if self.tensors[i].carried != &self.numbers[i]:
            return 0
        tensor = self.carrier(i)
        if not self.find_number(tensor, &place) or place.is_int:
            raise TypeError(f"{self.written_name(i * WRITTEN + WRITTEN - 2)} must be a tensor of one "
                            f"element on the CPU, of float32 or float64, got {tensor!r}")
        self.numbers[i] = read_number(&place)
        return 0

    cdef int write_carried(self, Py_ssize_t i) except -1:
        """Wherever the tensor lies after the step."""
        cdef counter place
        if (self.tensors[i].carried == &self.numbers[i]
                and self.find_number(self.carrier(i), &place)):
            write_number(&place, self.numbers[i])
        return 0

    cdef int check_counter(self, Py_ssize_t i) except -1:
        cdef double count
        self.places[i].data = NULL
        if PyList_GET_ITEM(self.counted_by, i) == <PyObject *>None:
            return self.check_step(i)
        if not self.find_counter(i):
            raise TypeError(f"step of {self.names[i]} must be a tensor of one element on the CPU, of "
                            f"float32, float64 or int64, got {self.counted_by[i]!r}")
        count = read_number(&self.places[i])
        # Not written so that NaN passes.
        if not (0 <= count < <double>LAST_STEP and count == <double><int64_t>count):
            raise ValueError(f"step of {self.names[i]} must be a whole number from 0 to 2**53 - 1, "
                             f"got {count!r}")
        return 0

    cdef void count_step(self, Py_ssize_t i) noexcept:
        """Add one to the counter, and step with what it then holds: float32 ends at 2**24."""
        cdef const counter *place = &self.places[i]
        if place.data == NULL:
            self.tensors[i].step += 1
        else:
            write_number(place, read_number(place) + 1)
            self.tensors[i].step = <int64_t>read_number(place)

    cdef int uncount_steps(self) except -1:
        """Take the step from the counters again, wherever they lie by now."""
        cdef Py_ssize_t i
        for i in range(self.count):
            if (self.tensors[i].grad != NULL and self.counted_by[i] is not None
                    and self.find_counter(i)):
                write_number(&self.places[i], read_number(&self.places[i]) - 1)
        return 0

    cdef bint borrow(self, object tensor, fo_dltensor *view) noexcept:
        """Whether it is an aligned tensor in the CPU's memory, and where."""
        if not PyObject_TypeCheck(tensor, <PyTypeObject *>self.tensor_class):
            return False
        if self.dltensor_from(<void *>tensor, view) != 0:
            PyErr_Clear()
            return False
        view.data += view.byte_offset
        return (view.device_type == FO_DL_CPU and view.type_lanes == 1 and view.type_bits >= 8
                and (view.strides != NULL or view.ndim == 0)
                and (view.data != NULL or element_count(view) == 0)
                and <uintptr_t>view.data % (<unsigned>view.type_bits // 8) == 0)

    cdef bint is_like(self, Py_ssize_t i, const int64_t *layout, const fo_dltensor *view) noexcept:
        """Whether a tensor has the shape and order of elements of parameter i."""
        cdef int k, ndim = self.ndims[i]
        if view.ndim != ndim:
            return False
        for k in range(ndim):
            # Where there is but one element in a dimension, its stride means nothing.
            if view.shape[k] != layout[k] or (
                    view.strides[k] != layout[ndim + k] and layout[k] != 1):
                return False
        return True

    cdef bint is_blocks(self, Py_ssize_t i, const fo_dltensor *view) noexcept:
        """Whether a tensor is a state of parameter i in blocks: a row of bytes for each."""
        cdef int64_t nbytes = fo_format_describe(FO_BLOCK8).bytes
        return (view.type_code == FO_DL_UINT and view.type_bits == 8 and view.ndim == 2
                and view.shape[0] == self.block_count(&self.tensors[i])
                and view.shape[1] == nbytes and view.strides[1] == 1
                and (view.strides[0] == nbytes or view.shape[0] <= 1)
                and <uintptr_t>view.data % sizeof(float) == 0
                and self.tensors[i].param_format != FO_FLOAT64)

    cdef int attach(self) except -1:
        cdef Py_ssize_t i, k, n = 0, used = 0, number, slot
        cdef fo_dltensor view
        cdef fo_tensor *tensor
        cdef int64_t *layouts
        self.is_attached = False
        for i in range(self.count):
            tensor = &self.tensors[i]
            number = i * WRITTEN
            if (not self.borrow(self.params[i], &view) or format_of(&view) == FO_FORMAT_COUNT
                    or self.is_lazy(self.params[i])):
                raise TypeError(f"{self.names[i]} must be a strided tensor of {format_names()}, "
                                "aligned in the memory of the CPU, got one that holds its values "
                                "otherwise")
            if not is_dense(&view):
                raise ValueError(
                    f"{self.names[i]} must be dense (contiguous or a permutation of it), got shape "
                    f"{tuple([view.shape[k] for k in range(view.ndim)])} with strides "
                    f"{tuple([view.strides[k] for k in range(view.ndim)])}")
            layouts = <int64_t *>realloc(self.layouts, (used + 2 * view.ndim + 1) * sizeof(int64_t))
            if layouts == NULL:
                raise MemoryError
            self.layouts = layouts
            layouts += used
            for k in range(view.ndim):
                layouts[k] = view.shape[k]
                layouts[view.ndim + k] = view.strides[k]
            used += 2 * view.ndim
            self.ndims[i] = view.ndim
            tensor.n = element_count(&view)
            tensor.param_format = tensor.grad_format = format_of(&view)
            tensor.param = view.data
            self.elements += element_count(&view)
            n = self.note_written(view.data, tensor.n * (view.type_bits // 8), number, n)
            tensor.carried = self.carried_of(i)
            for k, state in enumerate(self.states[i][:self.state_count(i)]):
                slot = self.slot(i, k)
                number = i * WRITTEN + 1 + slot
                tensor.state_format[slot] = FO_FORMAT_COUNT
                if self.borrow(state, &view):
                    if self.is_blocks(i, &view):
                        tensor.state_format[slot] = FO_BLOCK8
                    elif self.is_like(i, layouts, &view):
                        tensor.state_format[slot] = format_of(&view)
                if not goes_with(tensor.state_format[slot], tensor.param_format):
                    raise ValueError(f"{self.written_name(number)} must have the shape and strides "
                                     f"of {self.names[i]} and a dtype that goes with its own")
                tensor.state[slot] = view.data
                n = self.note_written(view.data, element_count(&view) * (view.type_bits // 8),
                                      number, n)
            if self.remainders[i] is not None:
                number = i * WRITTEN + WRITTEN - 1
                if not (self.borrow(self.remainders[i], &view) and self.is_like(i, layouts, &view)
                        and view.type_code == FO_DL_INT and view.type_bits == 16
                        and tensor.param_format == FO_BFLOAT16):
                    raise ValueError(f"{self.written_name(number)} must be int16 of the shape and "
                                     f"strides of {self.names[i]}, which must be bfloat16")
                tensor.remainder = <int16_t *>view.data
                n = self.note_written(view.data, tensor.n * 2, number, n)
            self.set_dtype(i)
        return self.check_apart(n)

    cdef bint is_where(self, Py_ssize_t i, const int64_t *layout, object item, const void *data,
                       fo_format format) noexcept:
        """Whether a buffer of parameter i is still what and where it was."""
        cdef fo_dltensor view
        if not (self.borrow(item, &view) and view.data == data):
            return False
        if format == FO_BLOCK8:
            return self.is_blocks(i, &view)
        return format_of(&view) == format and self.is_like(i, layout, &view)

    cdef bint holds(self) noexcept:
        """Whether every parameter, state and remainder is still what and where it was."""
        cdef Py_ssize_t i, k, slot
        cdef const int64_t *layout = self.layouts
        cdef fo_tensor *tensor
        cdef list states
        if not self.is_attached:
            return False
        for i in range(self.count):
            tensor = &self.tensors[i]
            if not self.is_where(i, layout, <object>PyList_GET_ITEM(self.params, i), tensor.param,
                                 tensor.param_format):
                return False
            states = <list>PyList_GET_ITEM(self.states, i)
            for k in range(self.state_count(i)):
                slot = self.slot(i, k)
                if not self.is_where(i, layout, <object>PyList_GET_ITEM(states, k),
                                     tensor.state[slot], tensor.state_format[slot]):
                    return False
            # No format has the numbers of a remainder: they are int16.
            if tensor.remainder != NULL and not self.is_where(
                    i, layout, <object>PyList_GET_ITEM(self.remainders, i), tensor.remainder,
                    FO_FORMAT_COUNT):
                return False
            layout += 2 * self.ndims[i]
        return True

    cdef void set_grad_format(self, Py_ssize_t i, fo_format format) noexcept:
        if self.tensors[i].grad_format != format:
            self.tensors[i].grad_format = format
            self.set_dtype(i)

    cdef int take_rows(self, Py_ssize_t i, object indices, object values, size_t rows) except -1:
        """Note where the gradient of some rows is."""
        cdef fo_dltensor view, at
        cdef size_t k
        cdef const void *empty = self.tensors  # tensors of no elements have no memory
        if not (self.borrow(values, &view) and self.borrow(indices, &at)
                and goes_with(format_of(&view), self.tensors[i].param_format)
                and is_dense(&view) and is_dense(&at)
                and at.type_code == FO_DL_INT and at.type_bits == 64 and at.ndim == 1
                and element_count(&view) * <int64_t>rows
                == element_count(&at) * <int64_t>self.tensors[i].n):
            raise TypeError(f"{self.grad_name(i)} must have rows like those of {self.names[i]}")
        self.set_grad_format(i, format_of(&view))
        # They may have another length the next time, so that they were seen here proves nothing.
        self.seen_grads[i] = NULL
        self.check_grad_apart(i, view.data, element_count(&view) * (view.type_bits // 8))
        self.seen_grads[i] = NULL
        self.tensors[i].grad = view.data if view.data != NULL else empty
        self.refuse_blocks(i)
        self.sparse[i].rows = rows
        self.sparse[i].count = element_count(&at)
        self.sparse[i].indices = at.data if at.data != NULL else empty
        self.sparse[i].is_int64 = True
        self.has_rows = True
        # Here and not only in C: the counters are written before the step.
        for k in range(self.sparse[i].count):
            if not 0 <= (<int64_t *>at.data)[k] < <int64_t>rows:
                raise_index(f"indices of {self.grad_name(i)}", &self.sparse[i], k)
        return 0

    cdef int take_grad(self, Py_ssize_t i, const int64_t *layout, list grads) except -1:
        """Append the gradient of a parameter, and note where it is."""
        cdef fo_dltensor view
        param = <object>PyList_GET_ITEM(self.params, i)
        grad = param.grad
        self.tensors[i].grad = NULL
        self.sparse[i].indices = NULL
        if grad is None or <object>PyList_GET_ITEM(self.idle, self.tensors[i].group) is True:
            return 0
        # A subclass may give its memory another meaning. The framework is slow to refuse a sparse one,
        # so it is asked beforehand where there was one before.
        if (self.sparse[i].rows and grad.is_sparse) or not (
                type(grad) is self.tensor_class and self.borrow(grad, &view)
                and goes_with(format_of(&view), self.tensors[i].param_format)
                and self.is_like(i, layout, &view) and self.is_lazy(grad) is False):
            grad = self.adopt(param, grad, self.names[i])
            if type(grad) is tuple:
                self.refuse(i, 0)
                grads.append(grad)
                return self.take_rows(i, grad[0], grad[1], grad[2])
            if not (self.borrow(grad, &view) and self.is_like(i, layout, &view)
                    and goes_with(format_of(&view), self.tensors[i].param_format)):
                raise TypeError(f"{self.grad_name(i)} must be like {self.names[i]}")
        self.refuse(i, 1)
        self.set_grad_format(i, format_of(&view))
        grads.append(grad)
        self.check_grad_apart(i, view.data, self.tensors[i].n * (view.type_bits // 8))
        # Tensors of no elements have no memory, but they take part in the step and are counted.
        self.tensors[i].grad = view.data if view.data != NULL else <char *>self.tensors
        return 0

    def step_params(self, list groups not None, int max_threads=0, int64_t count=0,
                    double grad_scale=1.0):
        """One step of every parameter that has a gradient; a list of those parameters.

        It uses `max_threads` threads at most, if that is not 0. A `count` other than 0 is the number
        of the step, in place of each parameter's own. Gradients are multiplied by `grad_scale`. None,
        and no step, if a parameter or a state is no longer what or where it was.
        """
        if self.busy:
            raise RuntimeError("another thread is in the middle of a step of this optimizer")
        self.busy = True  # as in a step of arrays
        try:
            return self.step_tensors(groups, max_threads, count, grad_scale)
        finally:
            self.busy = False

    cdef list step_tensors(self, list groups, int max_threads, int64_t count, double grad_scale):
        cdef Py_ssize_t i
        cdef const int64_t *layout = self.layouts
        cdef fo_options options
        cdef fo_result result
        cdef list grads = []
        options.grad_scale = grad_scale
        options.clip = options.skip_nonfinite = False
        options.max_norm = 0
        if count < 0 or <uint64_t>count > LAST_STEP:
            raise ValueError(f"the number of a step must be from 1 to 2**53, got {count}")
        self.read_groups(groups)
        if not self.holds():
            return None
        self.has_rows = False
        for i in range(self.count):
            self.take_grad(i, layout, grads)
            layout += 2 * self.ndims[i]
        # A gradient's copy or a subclass may run Python's code, which can move a counter. From here
        # on none runs, so that each counter is found once and is still there when it is written.
        for i in range(self.count):
            if self.tensors[i].grad != NULL:
                self.check_counter(i)
                self.read_carried(i)
        for i in range(self.count):
            if self.tensors[i].grad != NULL:
                self.count_step(i)
                if count:
                    self.tensors[i].step = count
        fo_limit_caller(max_threads)
        try:
            self.apply(grads, &options, &result)
        except Exception:
            self.uncount_steps()
            raise
        finally:
            fo_limit_caller(0)
        for i in range(self.count):
            if self.tensors[i].grad != NULL:
                self.write_carried(i)
        if len(grads) == self.count:
            return self.params
        return [self.params[i] for i in range(self.count) if self.tensors[i].grad != NULL]
