# Many parameters in one call, whatever holds their memory; part of _core.pyx.


cdef enum:
    # A parameter, its states, its copy, its average, the number that it carries, its remainder.
    WRITTEN = 5 + FO_MAX_STATES


cdef class BufferList:
    """Parameters with their states and step counts as buffers in memory: what is the same for arrays
    (`TensorList`) and for the tensors of a framework (`ExchangeList`).

    These find the buffers and check them. Here are what messages call a buffer, which buffers overlap,
    the hyper-parameters of the groups, the step counts, and the call into C.
    """

    cdef list rules
    cdef readonly list params
    cdef readonly list states
    cdef readonly list remainders  # for each parameter what makes a bfloat16 an exact float32, or None
    cdef list names
    cdef list optional          # for each group the set of its optional states, in bits
    cdef list seen_hypers       # for each group, the objects that its C struct was made from
    cdef object read_under      # the Snapshot of the groups that all of them were made from, or None
    cdef Py_ssize_t count
    cdef Py_ssize_t group_count
    cdef Py_ssize_t elements
    cdef fo_tensor *tensors
    cdef fo_group *groups
    cdef fo_sparse *sparse      # which rows the gradients have
    cdef bint has_rows          # any of them has only some
    cdef interval *written      # all written buffers by address
    cdef Py_ssize_t written_count
    cdef bint is_attached       # every buffer has passed its checks since it last changed
    cdef const void **seen_grads  # where each gradient was when it was last found to overlap nothing
    cdef bint busy
    cdef readonly bint skipped

    cdef int hold(self, list rules, list params, list states, list groups, list names,
                  list optional, list remainders) except -1:
        """Take them over, for a subclass that is being made and will check them."""
        cdef Py_ssize_t i
        cdef Rule rule
        self.rules = rules
        self.params = params
        self.states = states
        self.count = len(params)
        self.remainders = [None] * self.count if remainders is None else remainders
        self.names = names
        self.group_count = len(optional)
        self.optional = optional
        self.seen_hypers = [[None] * len((<Rule>rule).group_keys) for rule in rules]
        self.tensors = <fo_tensor *>calloc(self.count + 1, sizeof(fo_tensor))
        self.sparse = <fo_sparse *>calloc(self.count + 1, sizeof(fo_sparse))
        self.groups = <fo_group *>calloc(self.group_count + 1, sizeof(fo_group))
        self.written = <interval *>calloc(self.count * WRITTEN + 1, sizeof(interval))
        self.seen_grads = <const void **>calloc(self.count + 1, sizeof(void *))
        if not (self.tensors and self.sparse and self.groups and self.written and self.seen_grads):
            raise MemoryError
        for i in range(self.group_count):
            rule = rules[i]
            self.groups[i] = rule.defaults
        for i in range(self.count):
            self.tensors[i].group = groups[i]
        return 0

    def __dealloc__(self):
        free(self.tensors)
        free(self.sparse)
        free(self.groups)
        free(self.written)
        free(self.seen_grads)

    cdef str written_name(self, Py_ssize_t array):
        cdef Py_ssize_t place = array % WRITTEN
        cdef Rule rule = self.rules[self.tensors[array // WRITTEN].group]
        name = self.names[array // WRITTEN]
        if not place:
            return name
        if place == WRITTEN - 1:
            return f"remainder of {name}"
        if place == WRITTEN - 2:
            return f"{rule.carried} of {name}"
        if place == WRITTEN - 3:
            return f"ema of {name}"
        if place == WRITTEN - 4:
            return name.replace("params", "copies", 1)
        return f"{rule.arrays[1 + place]} of {name}"

    cdef tuple shape_of_numbers(self, Rule rule):
        """The shape of the array that is carried from step to step."""
        return rule.carried_shape

    cdef Py_ssize_t state_count(self, Py_ssize_t i) noexcept:
        """How many of the states of a parameter are shaped like it: all but the carried number."""
        cdef Rule rule = <Rule>PyList_GET_ITEM(self.rules, self.tensors[i].group)
        return (PyList_GET_SIZE(<list>PyList_GET_ITEM(self.states, i))
                - (rule.info.carried != NULL))

    cdef Py_ssize_t slot(self, Py_ssize_t i, Py_ssize_t k) noexcept:
        """Where the k-th state of a parameter stands among all that its rule has."""
        cdef Py_ssize_t group = self.tensors[i].group
        cdef Rule rule = <Rule>PyList_GET_ITEM(self.rules, group)
        cdef Py_ssize_t found = rule.info.state_count
        cdef int optional
        if k < found:
            return k
        optional = <object>PyList_GET_ITEM(self.optional, group)
        k -= found
        while k or not optional & 1:
            k -= optional & 1
            optional >>= 1
            found += 1
        return found

    def state_names(self, Py_ssize_t i):
        """The names of the states of a parameter."""
        cdef Rule rule = self.rules[self.tensors[i].group]
        names = [rule.arrays[2 + self.slot(i, k)] for k in range(self.state_count(i))]
        return (*names, *filter(None, [rule.carried]))

    cdef Py_ssize_t row_count(self) noexcept:
        """How many rows an array has that are in blocks of their own."""
        return 1

    cdef Py_ssize_t block_count(self, const fo_tensor *tensor) noexcept:
        cdef Py_ssize_t rows = self.row_count()
        return rows * ((<Py_ssize_t>tensor.n // rows + FO_BLOCK - 1) // FO_BLOCK)

    cdef void set_dtype(self, Py_ssize_t i) noexcept:
        """One for all buffers where they have one: that is checked fastest."""
        cdef fo_tensor *tensor = &self.tensors[i]
        cdef fo_format format = tensor.param_format
        cdef Py_ssize_t k
        cdef bint same = ((format == FO_FLOAT32 or format == FO_FLOAT64)
                          and tensor.grad_format == format and tensor.copy == NULL)
        for k in range(self.state_count(i)):
            same = same and tensor.state_format[self.slot(i, k)] == format
        tensor.dtype = format if same else FO_MIXED

    cdef Py_ssize_t note_written(self, const void *data, size_t nbytes, Py_ssize_t number,
                                 Py_ssize_t n) noexcept:
        if nbytes:
            self.written[n].begin = <uintptr_t>data
            self.written[n].end = self.written[n].begin + nbytes
            self.written[n].array = number
            n += 1
        return n

    cdef int check_apart(self, Py_ssize_t n) except -1:
        """Sort the n written buffers; none may overlap another."""
        cdef Py_ssize_t i = sort_intervals(self.written, n)
        self.written_count = n
        if i:
            first, second = sorted((self.written[i - 1].array, self.written[i].array))
            raise ValueError(f"{self.written_name(second)} must not overlap "
                             f"{self.written_name(first)} in memory")
        self.is_attached = True
        return 0

    cdef int check_narrow(self, Py_ssize_t group, const fo_hyper *hyper) except -1:
        """The states of a group that are rounded to nearest against its hyper-parameters."""
        cdef Py_ssize_t i, k, slot
        for i in range(self.count):
            if (<Py_ssize_t>self.tensors[i].group != group
                    or self.tensors[i].rounding == FO_STOCHASTIC):
                continue
            for k in range(self.state_count(i)):
                slot = self.slot(i, k)
                check_squares(self.rules[group], hyper, slot, self.tensors[i].state_format[slot],
                              self.written_name(i * WRITTEN + 1 + slot))
        return 0

    cdef int refuse_blocks(self, Py_ssize_t i) except -1:
        """A parameter whose gradient has only some rows has no states in blocks."""
        cdef int k
        for k in range(FO_MAX_STATES):
            if (self.tensors[i].state[k] != NULL
                    and self.tensors[i].state_format[k] == FO_BLOCK8):
                raise ValueError(f"{self.grad_name(i)} must not be sparse: the states of "
                                 f"{self.names[i]} are in the format block8, whose blocks do not "
                                 "end where rows do; take state_format='bfloat16', or a dense "
                                 "gradient")
        return 0

    cdef int check_grad_apart(self, Py_ssize_t i, const void *data, size_t nbytes) except -1:
        """A gradient must not overlap anything written."""
        cdef const interval *overlap
        if data == self.seen_grads[i]:
            return 0
        overlap = find_overlap(self.written, self.written_count, <uintptr_t>data,
                               <uintptr_t>data + nbytes)
        if overlap != NULL:
            raise ValueError(f"{self.grad_name(i)} must not overlap "
                             f"{self.written_name(overlap.array)} in memory; pass a copy")
        self.seen_grads[i] = data
        return 0

    cdef int check_step(self, Py_ssize_t i) except -1:
        if self.tensors[i].step >= LAST_STEP:
            raise ValueError(f"step of {self.names[i]} must be from 1 to 2**53, "
                             f"got {self.tensors[i].step + 1}")
        return 0

    cdef str grad_name(self, Py_ssize_t i):
        return self.names[i].replace("param", "grad", 1)

    cdef int read_groups(self, list groups) except -1:
        """The groups' hyper-parameters into the C structs, where they are not the objects that were
        read last time."""
        cdef Py_ssize_t i, k
        cdef dict group
        cdef list seen
        cdef Rule rule
        cdef PyObject *value
        cdef fo_group scratch
        cdef bint changed
        self.read_under = None
        if PyList_GET_SIZE(groups) != self.group_count:
            raise ValueError(f"param_groups must have {self.group_count} groups, got {len(groups)}")
        for i in range(self.group_count):
            group = groups[i]
            seen = <list>PyList_GET_ITEM(self.seen_hypers, i)
            rule = <Rule>PyList_GET_ITEM(self.rules, i)
            changed = False
            for k in range(PyTuple_GET_SIZE(rule.group_keys)):
                value = PyDict_GetItem(group, <object>PyTuple_GET_ITEM(rule.group_keys, k))
                if value != <PyObject *>PyList_GET_ITEM(seen, k):
                    changed = True
                    break
            if not changed:
                continue
            # To read a number may run Python's code, which can change the list.
            groups = list(groups)
            fresh = read_group(rule, f"param_groups[{i}]", group, self.optional[i], &scratch)
            self.check_narrow(i, &scratch.hyper)
            self.groups[i] = scratch
            self.seen_hypers[i] = fresh
        return 0

    def __enter__(self):
        """Keep the steps of other threads out while the arrays are copied or the groups read."""
        if self.busy:
            raise RuntimeError("another thread is in the middle of a step of this optimizer")
        self.busy = True

    def __exit__(self, *error):
        self.busy = False

    cdef fo_tensor *without_elements(self) except NULL:
        """The tensors as if they were empty, for the caller to free: a step of these checks the
        hyper-parameters and writes nothing."""
        cdef Py_ssize_t i
        cdef fo_tensor *empty = <fo_tensor *>calloc(self.count + 1, sizeof(fo_tensor))
        if empty == NULL:
            raise MemoryError
        for i in range(self.count):
            empty[i] = self.tensors[i]
            empty[i].n = 0
            empty[i].step = 1
            empty[i].carried = NULL
            empty[i].grad = empty  # any address: one without a gradient would be left out
        return empty

    def check(self, list groups not None):
        """Raise what `step` would raise for these groups."""
        cdef fo_result result
        cdef fo_tensor *empty
        self.read_groups(groups)
        empty = self.without_elements()
        status = fo_step(self.groups, self.group_count, empty, self.count, NULL, &result)
        free(empty)
        if status != FO_OK:
            raise_status(status, self.groups, NULL, &result)

    cdef fo_status call(self, const fo_options *options, fo_result *result) noexcept nogil:
        if self.has_rows:
            return fo_step_sparse(self.groups, self.group_count, self.tensors, self.sparse,
                                  self.count, options, result)
        return fo_step(self.groups, self.group_count, self.tensors, self.count, options, result)

    cdef int apply(self, list grads, const fo_options *options, fo_result *result) except -1:
        """The step itself, of the tensors whose gradient is not NULL; their counts are already those
        of the step."""
        cdef Py_ssize_t i
        cdef fo_status status
        if self.elements < RELEASE_GIL_ELEMENTS:
            status = self.call(options, result)
        else:
            held = list(grads)  # the caller may change its own list while others run
            with nogil:
                status = self.call(options, result)
        self.skipped = status == FO_OK and result.skipped
        if status != FO_OK or result.skipped:
            for i in range(self.count):
                if self.tensors[i].grad != NULL:
                    self.tensors[i].step -= 1
        if status == FO_BAD_INDEX:
            raise_index(f"indices of {self.grad_name(result.tensor)}", &self.sparse[result.tensor],
                        result.group)
        if status != FO_OK:
            raise_status(status, self.groups, options, result)
        return 0

    @property
    def steps(self):
        """How many steps each tensor has taken."""
        return [self.tensors[i].step for i in range(self.count)]

    @steps.setter
    def steps(self, values):
        counts = [0 if value == 0 else to_step(value) for value in values]
        if len(counts) != self.count:
            raise ValueError(f"steps must have {self.count} numbers, got {len(counts)}")
        for i, value in enumerate(counts):
            self.tensors[i].step = value

    cdef void forget_hypers(self) except *:
        """Have the next step read them, and check them against how the arrays are rounded."""
        self.seen_hypers = [[None] * len(seen) for seen in self.seen_hypers]
        self.read_under = None
