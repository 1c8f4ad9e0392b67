# Many arrays in one call; part of _core.pyx.


cdef class TensorList(BufferList):
    """Parameters with their states and step counts, checked once, and again only where they changed.

    Parameters
    ----------
    rules : list of Rule
        For each group.
    params : list of ndarray
    states : list of list of ndarray
        For each parameter, in the rule's order; last the number that the rule carries, if it does.
    groups : list of int
        For each parameter, the index of its group.
    names : list of str
        What messages call the parameters.
    optional : list of int
        For each group bit k: its tensors have the k-th optional state.
    read_only : bool
        Take arrays that cannot be written, too: a step then refuses them.
    remainders : list of ndarray or None, optional
        For each parameter, what makes a bfloat16 parameter an exact float32.
    seed : int, optional
        Of the stochastic rounding to bfloat16; without one it is to nearest.
    averages : list of ndarray or None, optional
        For each parameter, its moving average in the type that it computes in.
    ema : list of float or None, optional
        For each group the share of its averages that a step keeps, or None where it has none.
    """

    cdef readonly list averages  # for each parameter an array or None
    cdef list copies            # for each parameter an array in bfloat16 or None
    cdef bint has_copies
    cdef list shares_kept       # for each group, of its averages, or None
    cdef list all_rows          # where a state has a number for each row, the indices of all rows
    cdef bint is_stochastic
    cdef bint read_only

    def __cinit__(self, list rules not None, list params not None, list states not None,
                  list groups not None, list names not None, list optional not None,
                  bint read_only=False, list remainders=None, object seed=None, list averages=None,
                  list ema=None):
        self.hold(rules, params, states, groups, names, optional, remainders)
        self.read_only = read_only
        self.averages = [None] * self.count if averages is None else averages
        self.copies = [None] * self.count
        self.all_rows = [None] * self.count
        self.seed = seed
        self.ema = [None] * self.group_count if ema is None else ema

    def __init__(self, *args, **keywords):
        self.attach()
        self.read_only = False

    cdef int attach(self) except -1:
        """Check every parameter and state, and note where they are."""
        cdef Py_ssize_t i, k, n = 0, number, slot
        cdef fo_tensor *tensor
        cdef cnp.ndarray param
        self.elements = 0
        self.is_attached = False
        formats = []
        for i in range(self.count):
            param_format = check_type(self.names[i], self.params[i])
            formats.append([param_format])
            for k, state in enumerate(self.states[i][:self.state_count(i)]):
                name = self.written_name(i * WRITTEN + 1 + self.slot(i, k))
                formats[i].append(check_state_type(name, state))
                check_goes_with(name, formats[i][1 + k], param_format)
        for i in range(self.count):
            tensor = &self.tensors[i]
            number = i * WRITTEN
            param = self.params[i]
            self.seen_grads[i] = NULL
            self.sparse[i].row_wise = 0
            tensor.n = cnp.PyArray_SIZE(param)
            tensor.position = self.elements
            tensor.param_format = tensor.grad_format = formats[i][0]
            self.elements += cnp.PyArray_SIZE(param)
            n = self.attach_array(param, number, n)
            tensor.param = cnp.PyArray_DATA(param)
            for k, state in enumerate(self.states[i][:self.state_count(i)]):
                slot = self.slot(i, k)
                number = i * WRITTEN + 1 + slot
                if formats[i][1 + k] == FO_BLOCK8:
                    if (<object>state).shape != self.block_shape(i):
                        raise ValueError(f"{self.written_name(number)} must have the shape "
                                         f"{self.block_shape(i)}, {FO_BLOCK} elements in each "
                                         f"block, got {(<object>state).shape}")
                elif k == 0 and is_row_wise(self.rules[tensor.group], state, param):
                    check_row_wise(self.written_name(number), formats[i][1], formats[i][0])
                    self.sparse[i].row_wise = 1
                    self.all_rows[i] = numpy.arange(param.shape[0])
                elif not same_shape(state, param):
                    raise_shape(self.written_name(number), state, self.names[i], param)
                n = self.attach_array(state, number, n)
                tensor.state[slot] = cnp.PyArray_DATA(<cnp.ndarray>state)
                tensor.state_format[slot] = formats[i][1 + k]
            tensor.carried = NULL
            if self.state_count(i) < len(self.states[i]):
                n = self.attach_carried(i, self.states[i][self.state_count(i)], n)
            tensor.remainder = NULL
            if self.remainders[i] is not None:
                n = self.attach_remainder(i, self.remainders[i], n)
            tensor.average = NULL
            if self.averages[i] is not None:
                n = self.attach_average(i, self.averages[i], n)
            tensor.copy = NULL
            if self.copies[i] is not None:
                n = self.attach_copy(i, self.copies[i], n)
            self.set_dtype(i)
        return self.check_apart(n)

    cdef tuple block_shape(self, Py_ssize_t i):
        """The shape of a state in blocks."""
        return self.block_count(&self.tensors[i]),

    cdef Py_ssize_t attach_carried(self, Py_ssize_t i, cnp.ndarray array, Py_ssize_t n) except -1:
        cdef Py_ssize_t number = i * WRITTEN + WRITTEN - 2
        check_number_array(self.written_name(number), array,
                           self.shape_of_numbers(self.rules[self.tensors[i].group]))
        self.tensors[i].carried = <double *>cnp.PyArray_DATA(array)
        return self.attach_array(array, number, n)

    cdef Py_ssize_t attach_remainder(self, Py_ssize_t i, cnp.ndarray array, Py_ssize_t n) except -1:
        cdef Py_ssize_t number = i * WRITTEN + WRITTEN - 1
        if (self.tensors[i].param_format != FO_BFLOAT16 or cnp.PyArray_TYPE(array) != cnp.NPY_INT16
                or not cnp.PyArray_ISNOTSWAPPED(array)
                or not same_shape(array, <cnp.ndarray>self.params[i])):
            raise ValueError(f"{self.written_name(number)} must be int16 of the shape of {self.names[i]}, "
                             "which must be bfloat16")
        self.tensors[i].remainder = <int16_t *>cnp.PyArray_DATA(array)
        return self.attach_array(array, number, n)

    cdef int average_type(self, Py_ssize_t i) noexcept:
        return (cnp.NPY_DOUBLE if self.tensors[i].param_format == FO_FLOAT64 else cnp.NPY_FLOAT)

    cdef Py_ssize_t attach_average(self, Py_ssize_t i, cnp.ndarray array, Py_ssize_t n) except -1:
        cdef Py_ssize_t number = i * WRITTEN + WRITTEN - 3
        if (cnp.PyArray_TYPE(array) != self.average_type(i)
                or not cnp.PyArray_ISNOTSWAPPED(array)
                or not same_shape(array, <cnp.ndarray>self.params[i])):
            raise ValueError(f"{self.written_name(number)} must be of the shape of {self.names[i]}, "
                             "in the type that it computes in")
        self.tensors[i].average = cnp.PyArray_DATA(array)
        return self.attach_array(array, number, n)

    cdef Py_ssize_t attach_copy(self, Py_ssize_t i, object array, Py_ssize_t n) except -1:
        cdef Py_ssize_t number = i * WRITTEN + WRITTEN - 4
        name = self.written_name(number)
        if check_type(name, array) != FO_BFLOAT16:
            raise TypeError(f"{name} must be bfloat16 of ml_dtypes, got {array.dtype}")
        if self.tensors[i].param_format != FO_FLOAT32:
            raise TypeError(f"{name} must belong to a float32 parameter, {self.names[i]} is "
                            f"{self.params[i].dtype}")
        if not same_shape(<cnp.ndarray>array, <cnp.ndarray>self.params[i]):
            raise_shape(name, array, self.names[i], self.params[i])
        self.tensors[i].copy = <uint16_t *>cnp.PyArray_DATA(<cnp.ndarray>array)
        return self.attach_array(<cnp.ndarray>array, number, n)

    cdef int set_copies(self, list copies) except -1:
        """What further steps write the new parameters to, rounded to bfloat16; None for nothing."""
        cdef Py_ssize_t i
        cdef bint changed = False
        copies = [None] * self.count if copies is None else copies
        if PyList_GET_SIZE(copies) != self.count:
            raise ValueError(f"copies must have {self.count} arrays, one for each parameter, "
                             f"got {len(copies)}")
        for i in range(self.count):
            changed = changed or copies[i] is not self.copies[i]
        if changed:
            self.copies = list(copies)
            self.has_copies = any([copy is not None for copy in copies])
            self.is_attached = False
        return 0

    cdef Py_ssize_t attach_array(self, cnp.ndarray array, Py_ssize_t number, Py_ssize_t n) except -1:
        check_layout(self.written_name(number), array, not self.read_only)
        return self.note_written(cnp.PyArray_DATA(array), cnp.PyArray_NBYTES(array), number, n)

    cdef bint is_unchanged_state(self, cnp.ndarray array, fo_tensor *tensor, int k) noexcept:
        cdef Py_ssize_t rows, i = tensor - self.tensors
        cdef cnp.ndarray param
        if tensor.state_format[k] != FO_BLOCK8:
            if self.sparse[i].row_wise:
                param = <cnp.ndarray>PyList_GET_ITEM(self.params, i)
                rows = cnp.PyArray_SIZE(<cnp.ndarray>PyList_GET_ITEM(self.all_rows, i))
                return (cnp.PyArray_NDIM(param) > 1 and cnp.PyArray_DIMS(param)[0] == rows
                        and self.is_unchanged(array, rows, tensor.state[k],
                                              numpy_types[tensor.state_format[k]]))
            return self.is_unchanged(array, tensor.n, tensor.state[k],
                                     numpy_types[tensor.state_format[k]])
        return (cnp.PyArray_ITEMSIZE(array) == <Py_ssize_t>fo_format_describe(FO_BLOCK8).bytes
                and self.is_unchanged(array, self.block_count(tensor), tensor.state[k],
                                      cnp.NPY_VOID))

    cdef bint is_unchanged(self, cnp.ndarray array, Py_ssize_t size, const void *data,
                           int numpy_type) noexcept:
        """Whether an array that was checked once is still what it was. NumPy lets owners change all
        of this in place."""
        cdef int wanted = (cnp.NPY_ARRAY_C_CONTIGUOUS | cnp.NPY_ARRAY_ALIGNED
                           | cnp.NPY_ARRAY_WRITEABLE)
        return (cnp.PyArray_DATA(array) == data
                and cnp.PyArray_FLAGS(array) & wanted == wanted
                and cnp.PyArray_SIZE(array) == size
                and cnp.PyArray_TYPE(array) == numpy_type
                and cnp.PyArray_ISNOTSWAPPED(array))

    cdef int check_unchanged(self) except -1:
        cdef Py_ssize_t i, k, slot
        cdef list states
        cdef fo_tensor *tensor
        if not self.is_attached:
            return self.attach()
        for i in range(self.count):
            tensor = &self.tensors[i]
            if not self.is_unchanged(<cnp.ndarray>PyList_GET_ITEM(self.params, i), tensor.n,
                                     tensor.param, numpy_types[tensor.param_format]):
                return self.attach()
            states = <list>PyList_GET_ITEM(self.states, i)
            for k in range(<int>self.state_count(i)):
                slot = self.slot(i, k)
                if not self.is_unchanged_state(<cnp.ndarray>PyList_GET_ITEM(states, k), tensor,
                                               slot):
                    return self.attach()
            if tensor.remainder != NULL and not self.is_unchanged(
                    <cnp.ndarray>PyList_GET_ITEM(self.remainders, i), tensor.n, tensor.remainder,
                    cnp.NPY_INT16):
                return self.attach()
            if tensor.average != NULL and not self.is_unchanged(
                    <cnp.ndarray>PyList_GET_ITEM(self.averages, i), tensor.n, tensor.average,
                    self.average_type(i)):
                return self.attach()
            if tensor.copy != NULL and not self.is_unchanged(
                    <cnp.ndarray>PyList_GET_ITEM(self.copies, i), tensor.n, tensor.copy,
                    numpy_types[FO_BFLOAT16]):
                return self.attach()
            if tensor.carried != NULL and not self.is_unchanged(
                    <cnp.ndarray>PyList_GET_ITEM(states, self.state_count(i)),
                    (<Rule>PyList_GET_ITEM(self.rules, tensor.group)).info.carried_count
                    * self.row_count(), tensor.carried, cnp.NPY_DOUBLE):
                return self.attach()
        return 0

    cdef int check_grad(self, Py_ssize_t i, object grad) except -1:
        cdef cnp.ndarray param = <cnp.ndarray>PyList_GET_ITEM(self.params, i)
        cdef fo_tensor *tensor = &self.tensors[i]
        # The whole test in the common case: the names are made only for a message.
        if not (cnp.PyArray_CheckExact(grad)
                and cnp.PyArray_TYPE(<cnp.ndarray>grad) == numpy_types[tensor.grad_format]
                and cnp.PyArray_ISNOTSWAPPED(<cnp.ndarray>grad)
                and cnp.PyArray_FLAGS(<cnp.ndarray>grad) & cnp.NPY_ARRAY_C_CONTIGUOUS
                and cnp.PyArray_FLAGS(<cnp.ndarray>grad) & cnp.NPY_ARRAY_ALIGNED
                and same_shape(<cnp.ndarray>grad, param)):
            name = self.grad_name(i)
            format = check_type(name, grad)
            check_goes_with(name, format, tensor.param_format)
            check_layout(name, grad, False)
            if not same_shape(<cnp.ndarray>grad, param):
                raise_shape(name, grad, self.names[i], param)
            tensor.grad_format = format
            self.set_dtype(i)
            self.seen_grads[i] = NULL
        return self.check_grad_apart(i, cnp.PyArray_DATA(<cnp.ndarray>grad),
                                     cnp.PyArray_NBYTES(<cnp.ndarray>grad))

    cdef int refuse_norms(self, Py_ssize_t i) except -1:
        """Nor has it a step that depends on the whole parameter."""
        cdef const fo_group *group = &self.groups[self.tensors[i].group]
        cdef const fo_rule_info *info = fo_rule_describe(group.rule)
        if group.hyper.cautious != 0:
            raise ValueError(f"{self.grad_name(i)} must not be sparse: a cautious step depends on "
                             f"the whole of {self.names[i]}; take cautious=False, or a dense "
                             "gradient")
        if fo_rule_takes_norms(group.rule):
            raise ValueError(f"{self.grad_name(i)} must not be sparse: a step of "
                             f"{text(info.class_name)} depends on the whole of {self.names[i]}; "
                             "take another rule, or a dense gradient")
        return 0

    cdef int check_rows(self, Py_ssize_t i, Rows grad) except -1:
        cdef fo_tensor *tensor = &self.tensors[i]
        cdef fo_format format
        name = self.grad_name(i)
        format = check_type(f"values of {name}", grad.values)
        check_goes_with(f"values of {name}", format, tensor.param_format)
        check_layout(f"values of {name}", grad.values, False)
        check_indices(f"indices of {name}", grad.indices)
        self.refuse_blocks(i)
        self.refuse_norms(i)
        check_rows(f"values of {name}", grad.values, "indices", grad.indices, self.names[i],
                   self.params[i])
        if tensor.grad_format != format:
            tensor.grad_format = format
            self.set_dtype(i)
        # They may have another length the next time, so that they were seen here proves nothing.
        for array in (grad.indices, grad.values):
            self.seen_grads[i] = NULL
            self.check_grad_apart(i, cnp.PyArray_DATA(<cnp.ndarray>array),
                                  cnp.PyArray_NBYTES(<cnp.ndarray>array))
        self.seen_grads[i] = NULL
        return 0

    def step(self, list grads not None, list groups not None, object seen, object max_norm,
             object grad_scale, object skip_nonfinite, list copies=None):
        """One step of every tensor that has a gradient; the norm if one was taken, else None. seen is
        a Snapshot of the groups, or None: under the same one they are not read again. copies has an
        array for each tensor, or None, that gets the new parameter in bfloat16."""
        if self.busy:
            raise RuntimeError("another thread is in the middle of a step of this optimizer")
        # While the arguments are read, Python's code may run, and other threads with it.
        self.busy = True
        try:
            return self.step_arrays(grads, groups, seen, max_norm, grad_scale, skip_nonfinite, copies)
        finally:
            self.busy = False

    cdef object step_arrays(self, list grads, list groups, object seen, object max_norm,
                            object grad_scale, object skip_nonfinite, list copies):
        cdef Py_ssize_t i
        cdef fo_options options
        cdef fo_result result
        options.grad_scale = to_double("grad_scale", grad_scale, FO_FINITE)
        options.clip = max_norm is not None
        options.max_norm = to_double("max_norm", max_norm, FO_NONNEGATIVE) if options.clip else 0.0
        options.skip_nonfinite = <int>to_double("skip_nonfinite", skip_nonfinite, FO_FLAG)
        if not (options.grad_scale - options.grad_scale == 0):
            raise ValueError(f"grad_scale must be a finite number, got {grad_scale!r}")
        if options.clip and not 0 <= options.max_norm < float("inf"):
            raise ValueError(f"max_norm must be a finite number >= 0, got {max_norm!r}")
        if seen is None or seen is not self.read_under:
            self.read_groups(groups)
            self.read_under = seen
        if copies is not None or self.has_copies:
            self.set_copies(copies)
        self.check_unchanged()
        # What has been read so far may have run Python's code, which can change the list.
        if PyList_GET_SIZE(grads) != self.count:
            raise ValueError(f"grads must have {self.count} arrays, one for each parameter, "
                             f"got {len(grads)}")
        for i in range(self.count):
            grad = <object>PyList_GET_ITEM(grads, i)
            if grad is None:
                continue
            if type(grad) is Rows:
                self.check_rows(i, <Rows>grad)
            else:
                self.check_grad(i, grad)
            self.check_step(i)
        self.has_rows = False
        for i in range(self.count):
            grad = <object>PyList_GET_ITEM(grads, i)
            self.sparse[i].indices = NULL
            if grad is None:
                self.tensors[i].grad = NULL
                continue
            if type(grad) is Rows:
                self.has_rows = True
                note_rows(&self.sparse[i], self.params[i], (<Rows>grad).indices)
                grad = (<Rows>grad).values
            elif self.sparse[i].row_wise:
                self.has_rows = True
                note_rows(&self.sparse[i], self.params[i], self.all_rows[i])
            self.tensors[i].grad = cnp.PyArray_DATA(<cnp.ndarray>grad)
            self.tensors[i].step += 1
        self.apply(grads, &options, &result)
        return None if isnan(result.norm) and not (options.clip or options.skip_nonfinite) \
            else result.norm

    @property
    def seed(self):
        """Of the stochastic rounding to bfloat16, or None where it is to nearest. What a new one goes
        with is checked by the next `check` or `step`."""
        return self.tensors[0].seed if self.is_stochastic else None

    @seed.setter
    def seed(self, value):
        self.is_stochastic = value is not None
        for i in range(self.count):
            self.tensors[i].rounding = FO_STOCHASTIC if self.is_stochastic else FO_NEAREST
            self.tensors[i].seed = value if self.is_stochastic else 0
        self.forget_hypers()

    @property
    def ema(self):
        """For each group the share of its averages that a step keeps, or None where it has none."""
        return self.shares_kept

    @ema.setter
    def ema(self, list shares not None):
        if len(shares) != self.group_count:
            raise ValueError(f"ema must have {self.group_count} numbers, got {len(shares)}")
        self.shares_kept = shares
        for i in range(self.count):
            share = shares[self.tensors[i].group]
            self.tensors[i].ema = 0 if share is None else share
