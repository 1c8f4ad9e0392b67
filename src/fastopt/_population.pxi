# Many models at once, each a row of every array; part of _core.pyx.


cdef class RowList(TensorList):
    """A `TensorList` whose arrays have a row for each of K models.

    Each row has step counts of its own, for each array. Hyper-parameters are given at each step.
    """

    cdef readonly Py_ssize_t rows
    cdef public object skipped_rows  # of the last step; an array of K bools
    cdef cnp.ndarray row_seeds         # K numbers of 64 bits
    cdef fo_tensor *of_rows            # the tensors, with the elements of a single row
    cdef uint64_t *counts              # for each array those of its rows
    cdef const uint64_t **counts_of
    cdef double *columns               # K numbers for each hyper-parameter, and for two options

    def __cinit__(self, list rules, list params, *others, object seed=None, **keywords):
        cdef Py_ssize_t i
        self.rows = params[0].shape[0]
        self.skipped_rows = numpy.zeros(self.rows, numpy.bool_)
        self.row_seeds = numpy.full(self.rows, 0 if seed is None else seed, numpy.uint64)
        self.of_rows = <fo_tensor *>calloc(self.count, sizeof(fo_tensor))
        self.counts = <uint64_t *>calloc(self.count * self.rows + 1, sizeof(uint64_t))
        self.counts_of = <const uint64_t **>calloc(self.count, sizeof(uint64_t *))
        self.columns = <double *>calloc((FO_HYPER_COUNT + 2) * self.rows + 1, sizeof(double))
        if not (self.of_rows and self.counts and self.counts_of and self.columns):
            raise MemoryError
        for i in range(self.count):
            self.counts_of[i] = self.counts + i * self.rows

    cdef Py_ssize_t row_count(self) noexcept:
        return self.rows

    cdef tuple block_shape(self, Py_ssize_t i):
        return self.rows, self.block_count(&self.tensors[i]) // self.rows

    def __dealloc__(self):
        free(self.of_rows)
        free(self.counts)
        free(self.counts_of)
        free(self.columns)

    cdef tuple shape_of_numbers(self, Rule rule):
        return (self.rows, *rule.carried_shape)

    @property
    def seeds(self):
        """Of the stochastic rounding of each row, or None where it is to nearest."""
        return self.row_seeds.copy() if self.is_stochastic else None

    @seeds.setter
    def seeds(self, values):
        self.seed = None if values is None else int(values[0])
        self.row_seeds = numpy.zeros(self.rows, numpy.uint64)
        if values is not None:
            self.row_seeds[:] = values

    cdef int check_squares(self, const fo_group *group, const fo_rows *rows) except -1:
        """States that are rounded to nearest, against the row that keeps most of them."""
        cdef Rule rule = self.rules[0]
        cdef fo_group most = group[0]
        cdef Py_ssize_t i, k
        cdef bint is_narrow = False
        cdef int kept = rule.kept_share
        cdef double *share
        for i in range(self.count):
            for k in range(FO_MAX_STATES):
                is_narrow = (is_narrow or self.tensors[i].state_format[k] == FO_BFLOAT16
                             or self.tensors[i].state_format[k] == FO_BLOCK8)
        if not is_narrow:
            return 0
        if kept >= 0 and rows.hyper[kept] != NULL:
            share = &(<double *>&most.hyper)[kept]
            share[0] = rows.hyper[kept][0]
            for i in range(self.rows):
                if rows.hyper[kept][i] > share[0]:
                    share[0] = rows.hyper[kept][i]
        return self.check_narrow(0, &most.hyper)

    cdef bint is_column(self, object value) noexcept:
        """Whether it is K doubles that can be copied as they are."""
        cdef int wanted = cnp.NPY_ARRAY_C_CONTIGUOUS | cnp.NPY_ARRAY_ALIGNED
        return (cnp.PyArray_CheckExact(value)
                and cnp.PyArray_TYPE(<cnp.ndarray>value) == cnp.NPY_DOUBLE
                and cnp.PyArray_FLAGS(<cnp.ndarray>value) & wanted == wanted
                and cnp.PyArray_ISNOTSWAPPED(<cnp.ndarray>value)
                and cnp.PyArray_NDIM(<cnp.ndarray>value) == 1
                and cnp.PyArray_DIMS(<cnp.ndarray>value)[0] == self.rows)

    cdef const double *read(self, str name, object value, fo_domain domain, Py_ssize_t index,
                            double *common) except? NULL:
        """The column of K numbers, or NULL and the one number of all rows."""
        cdef double *column = self.columns + index * self.rows
        cdef cnp.ndarray array
        if PyFloat_CheckExact(value) or value is True or value is False:
            common[0] = to_double(name, value, domain)
            return NULL
        if self.is_column(value) and domain != FO_FLAG:
            memcpy(column, cnp.PyArray_DATA(<cnp.ndarray>value), self.rows * sizeof(double))
            return column
        if isinstance(value, numpy.ndarray) and not cnp.PyArray_NDIM(<cnp.ndarray>value):
            value = value[()]
        if not isinstance(value, (numpy.ndarray, list, tuple)):
            common[0] = to_double(name, value, domain)
            return NULL
        array = numpy.asarray(value)
        if (<object>array).dtype.kind not in ("b" if domain == FO_FLAG else "fiu"):
            kind = "bools" if domain == FO_FLAG else "numbers"
            raise TypeError(f"{name} must be {needs(domain)} or an array of {self.rows} {kind}, "
                            f"one for each row, got dtype {(<object>array).dtype}")
        if cnp.PyArray_NDIM(array) != 1 or cnp.PyArray_DIMS(array)[0] != self.rows:
            raise ValueError(f"{name} must have one number, or {self.rows}, one for each row, "
                             f"got shape {(<object>array).shape}")
        array = numpy.ascontiguousarray(array, numpy.float64)
        memcpy(column, cnp.PyArray_DATA(array), self.rows * sizeof(double))
        return column

    cdef int read_hypers(self, dict hypers, fo_group *group, fo_rows *rows) except -1:
        cdef Rule rule = self.rules[0]
        cdef Py_ssize_t k, row
        cdef int index, optional = self.optional[0]
        group[0] = rule.defaults
        memset(rows, 0, sizeof(fo_rows))
        rows.count = self.rows
        rows.step = self.counts_of
        rows.seed = <const uint64_t *>cnp.PyArray_DATA(self.row_seeds)
        for k in range(PyTuple_GET_SIZE(rule.group_keys)):
            name = <str>PyTuple_GET_ITEM(rule.group_keys, k)
            if name not in hypers:
                raise ValueError(f"hypers must have {name!r}")
            value = hypers[name]
            index = rule.group_indices[k]
            if index <= FIRST_FLAG:
                check_flag(name, value, optional >> (FIRST_FLAG - index) & 1)
                continue
            rows.hyper[index] = self.read(name, value, fo_hyper_describe(index).domain, index,
                                          &(<double *>&group.hyper)[index])
        for k in range(rule.info.optional_count):
            index = rule.optional_hypers[k]
            if index < 0:
                continue
            if rows.hyper[index] == NULL:
                check_switch(rule, k, optional >> k & 1, (<double *>&group.hyper)[index])
            else:
                for row in range(self.rows):
                    check_switch(rule, k, optional >> k & 1, rows.hyper[index][row])
        return 0 if self.is_stochastic else self.check_squares(group, rows)

    cdef int raise_row(self, fo_status status, const fo_group *group, const fo_rows *rows,
                       const fo_options *options, const fo_result *result) except -1:
        cdef const fo_hyper_info *info
        cdef size_t row = result.group
        if status == FO_BAD_HYPER or status == FO_UNREPRESENTABLE:
            info = fo_hyper_describe(result.hyper)
            name = text(info.name)
            value = (<const double *>&group.hyper)[result.hyper]
            if rows.hyper[result.hyper] != NULL:
                name, value = f"{name}[{row}]", rows.hyper[result.hyper][row]
            if name == "grad_scale":
                value = options.grad_scale
                if rows.grad_scale != NULL:
                    name, value = f"{name}[{row}]", rows.grad_scale[row]
            raise_hyper(status, name, info.domain, value)
        if status == FO_BAD_OPTION:
            value = options.grad_scale if rows.grad_scale == NULL else rows.grad_scale[row]
            if not (value - value == 0):
                name = "grad_scale" if rows.grad_scale == NULL else f"grad_scale[{row}]"
                raise ValueError(f"{name} must be a finite number, got {value!r}")
            name, value = (("max_norm", options.max_norm) if rows.max_norm == NULL
                           else (f"max_norm[{row}]", rows.max_norm[row]))
            raise ValueError(f"{name} must be a number >= 0, or infinity to take norms only, "
                             f"got {value!r}")
        if status == FO_BAD_STEP:
            raise ValueError(f"step of row {row} of {self.names[result.tensor]} must be from 1 to "
                             f"2**53, got {rows.step[result.tensor][row]}")
        return raise_status(status, group, options, result)

    def check(self, hypers):
        """Raise what `step` would raise for these hyper-parameters."""
        cdef fo_group group
        cdef fo_rows rows
        cdef fo_result result
        cdef fo_tensor *empty
        self.read_hypers(hypers, &group, &rows)
        rows.step = NULL
        empty = self.without_elements()
        status = fo_step_rows(&group, &rows, empty, self.count, NULL, &result)
        free(empty)
        if status != FO_OK:
            self.raise_row(status, &group, &rows, NULL, &result)

    def step(self, list grads not None, hypers, object max_norm, object grad_scale,
             object skip_nonfinite):
        """One step of every row of every array that has a gradient; the rows' norms if they were
        taken, else None."""
        if self.busy:
            raise RuntimeError("another thread is in the middle of a step of this population")
        self.busy = True  # as in a step of an optimizer
        try:
            return self.step_rows(grads, hypers, max_norm, grad_scale, skip_nonfinite)
        finally:
            self.busy = False

    cdef object step_rows(self, list grads, dict hypers, object max_norm, object grad_scale,
                          object skip_nonfinite):
        cdef Py_ssize_t i, k
        cdef fo_group group
        cdef fo_rows rows
        cdef fo_options options
        cdef fo_result result
        cdef fo_status status
        self.read_hypers(hypers, &group, &rows)
        options.skip_nonfinite = <int>to_double("skip_nonfinite", skip_nonfinite, FO_FLAG)
        options.clip = max_norm is not None
        options.max_norm = 0.0
        rows.grad_scale = self.read("grad_scale", grad_scale, FO_FINITE, FO_HYPER_COUNT,
                                    &options.grad_scale)
        if options.clip:
            rows.max_norm = self.read("max_norm", max_norm, FO_NONNEGATIVE, FO_HYPER_COUNT + 1,
                                      &options.max_norm)
        self.check_unchanged()
        # As in a step of an optimizer
        if PyList_GET_SIZE(grads) != self.count:
            raise ValueError(f"grads must have {self.count} arrays, one for each parameter, "
                             f"got {len(grads)}")
        for i in range(self.count):
            grad = <object>PyList_GET_ITEM(grads, i)
            if grad is not None:
                if type(grad) is Rows:
                    raise TypeError(f"{self.grad_name(i)} must be an array: a population takes no "
                                    "gradients of single rows, got Rows")
                self.check_grad(i, grad)
            # After the check, which notes the format of the gradient in the tensor.
            self.of_rows[i] = self.tensors[i]
            self.of_rows[i].n //= self.rows
            self.of_rows[i].position //= self.rows
            self.of_rows[i].grad = (NULL if grad is None
                                    else cnp.PyArray_DATA(<cnp.ndarray>grad))
        norms = None
        if options.clip or options.skip_nonfinite:
            norms = numpy.empty(self.rows)
            rows.norm = <double *>cnp.PyArray_DATA(<cnp.ndarray>norms)
        skipped = numpy.zeros(self.rows, numpy.bool_)
        rows.skipped = <unsigned char *>cnp.PyArray_DATA(<cnp.ndarray>skipped)
        self.count_step(1)
        if self.elements < RELEASE_GIL_ELEMENTS:
            status = fo_step_rows(&group, &rows, self.of_rows, self.count, &options, &result)
        else:
            held = list(grads)  # the caller may change its own list while others run
            with nogil:
                status = fo_step_rows(&group, &rows, self.of_rows, self.count, &options, &result)
        if status != FO_OK:
            try:
                self.raise_row(status, &group, &rows, &options, &result)
            finally:
                self.count_step(-1)
        self.skipped = result.skipped
        if self.skipped:
            for k in range(self.rows):
                if rows.skipped[k]:
                    for i in range(self.count):
                        if self.of_rows[i].grad != NULL:
                            self.counts[i * self.rows + k] -= 1
        self.skipped_rows = skipped
        return norms

    cdef void count_step(self, int by) noexcept:
        cdef Py_ssize_t i, k
        for i in range(self.count):
            if self.of_rows[i].grad != NULL:
                for k in range(self.rows):
                    self.counts[i * self.rows + k] += by

    @property
    def steps(self):
        """How many steps each row of each array has taken."""
        counts = numpy.empty((self.count, self.rows), numpy.int64)
        memcpy(cnp.PyArray_DATA(<cnp.ndarray>counts), self.counts,
               self.count * self.rows * sizeof(int64_t))
        return counts

    @steps.setter
    def steps(self, values):
        counts = numpy.ascontiguousarray(values, numpy.int64)
        if (<object>counts).shape != (self.count, self.rows):
            raise ValueError(f"steps must have the shape {(self.count, self.rows)}, "
                             f"got {counts.shape}")
        if counts.size and not (0 <= counts.min() and counts.max() <= LAST_STEP):
            raise ValueError("steps must be from 0 to 2**53")
        memcpy(self.counts, cnp.PyArray_DATA(<cnp.ndarray>counts),
               self.count * self.rows * sizeof(int64_t))

    @property
    def last_steps(self):
        """The largest step count of each row."""
        return self.steps.max(axis=0)
