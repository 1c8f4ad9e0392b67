# The rules of the table, and their functions; part of _core.pyx.

cdef extern from *:
    """
    /* The table of methods stores one type of function pointer for all calling conventions. */
    typedef PyObject *(*fo_fastcall)(PyObject *, PyObject *const *, Py_ssize_t, PyObject *);
    static PyObject *fo_new_function(PyMethodDef *definition, const char *name, const char *doc,
                                     fo_fastcall function, PyObject *self, PyObject *module)
    {
        definition->ml_name = name;
        definition->ml_doc = doc;
        definition->ml_meth = (PyCFunction)(void (*)(void))function;
        definition->ml_flags = METH_FASTCALL | METH_KEYWORDS;
        return PyCFunction_NewEx(definition, self, module);
    }
    """
    ctypedef struct PyMethodDef:
        pass
    ctypedef object (*fo_fastcall)(PyObject *, PyObject *const *, Py_ssize_t, PyObject *)
    object fo_new_function(PyMethodDef *definition, const char *name, const char *doc,
                           fo_fastcall function, object self, object module)

cdef enum:
    MAX_ARRAYS = 2 + FO_MAX_STATES
    MAX_KEYWORDS = 32
    STEP_KEYWORD = -1
    CARRIED_KEYWORD = -2
    ROWS_KEYWORD = -3
    FIRST_FLAG = -4  # of the first optional state; that of the next one is one less

# What other libraries call a keyword.
OTHER_NAMES = {"betas": "beta1= and beta2=", "learning_rate": "lr=", "wd": "weight_decay="}


cdef class Rule:
    """One update rule, as the library's table has it.

    Attributes
    ----------
    name, class_name : str
        Of the function and of the optimizer class.
    kernel : str
        The file of csrc/rules that has its formula.
    states : tuple of str
        The arrays that are always needed, in positional order after ``param`` and ``grad``.
    optional : dict of str to str
        Further arrays that switch variants on, each with the keyword of the class for it: a flag, or
        a hyper-parameter that is not 0 then.
    carried : str or None
        What each step leaves for the next one: an array of float64, of the shape `carried_shape`.
    carried_shape : tuple of int
        () for a single number.
    squares : tuple of str
        The states, optional ones included, that are averages, sums or maxima of squares.
    takes_norms : bool
        Whether the step of each element depends on norms of its whole array, or on all arrays.
    joins_arrays : bool
        Whether it depends on all arrays that are stepped together.
    hypers : dict
        Keywords of the function and their defaults; None where one must be given.
    class_hypers : dict
        The same for the class, which counts the steps itself.
    function
        The function itself.
    """

    cdef readonly str name
    cdef readonly str class_name
    cdef readonly str kernel
    cdef readonly tuple states
    cdef readonly tuple squares
    cdef readonly dict optional
    cdef readonly str initial_value
    cdef readonly str carried
    cdef readonly tuple carried_shape
    cdef readonly bint takes_norms
    cdef readonly bint joins_arrays
    cdef readonly dict hypers
    cdef readonly dict class_hypers
    cdef readonly object function
    cdef const fo_rule_info *info
    cdef fo_group defaults
    cdef PyMethodDef definition
    cdef bytes function_name
    cdef bytes documentation
    cdef tuple arrays        # the names of the positional arguments
    cdef tuple keywords      # all keywords: the arrays' names, then the hyper-parameters
    cdef int indices[MAX_KEYWORDS]
    cdef tuple group_keys    # the hyper-parameters that a parameter group holds
    cdef int group_indices[MAX_KEYWORDS]
    cdef int optional_hypers[FO_MAX_STATES]  # of the optional states, or -1: the keyword is a flag
    cdef int required[MAX_KEYWORDS]  # the hyper-parameters without a default
    cdef int required_count
    cdef int kept_share      # the hyper-parameter that says how much of an average of squares stays

    def __cinit__(self, int index):
        cdef const fo_hyper_entry *entry
        cdef int i
        cdef int keyword_count, group_count = 0
        self.info = fo_rule_describe(index)
        if self.info == NULL:
            raise ValueError(f"there is no rule {index}")
        self.defaults.rule = index
        self.defaults.hyper = fo_defaults(index)
        self.name = text(self.info.name)
        self.class_name = text(self.info.class_name)
        self.kernel = text(self.info.kernel)
        self.states = tuple([text(self.info.states[i]) for i in range(self.info.state_count)])
        self.optional = {text(self.info.optional_states[i]): text(self.info.optional_flags[i])
                         for i in range(self.info.optional_count)}
        self.initial_value = text(self.info.initial_value)
        self.carried = text(self.info.carried)
        self.carried_shape = (self.info.carried_count,) if self.info.carried_count > 1 else ()
        self.takes_norms = fo_rule_takes_norms(index)
        self.joins_arrays = fo_rule_joins_tensors(index)
        arrays = ["param", "grad", *self.states, *self.optional]
        self.squares = tuple([name for i, name in enumerate(arrays[2:])
                              if self.info.squares >> i & 1])
        self.arrays = tuple([sys.intern(name) for name in arrays])
        keywords = list(self.arrays)
        keyword_count = len(keywords)
        group_keys = []
        self.hypers = {}
        self.class_hypers = {}
        if self.info.needs_step:
            keywords.append("step")
            self.indices[keyword_count] = STEP_KEYWORD
            keyword_count += 1
            self.hypers["step"] = None
        if self.carried is not None:
            keywords.append(self.carried)
            self.indices[keyword_count] = CARRIED_KEYWORD
            keyword_count += 1
            self.hypers[self.carried] = None
        for i in range(self.info.hyper_count):
            entry = &self.info.hypers[i]
            if entry.scope == FO_FIXED:
                continue
            name = text(fo_hyper_describe(entry.index).name)
            if isnan(entry.value):
                default = None
                self.required[self.required_count] = entry.index
                self.required_count += 1
            elif fo_hyper_describe(entry.index).domain == FO_FLAG:
                default = entry.value != 0
            else:
                default = entry.value
            if entry.scope != FO_CLASS_ONLY:
                self.hypers[name] = default
                keywords.append(name)
                self.indices[keyword_count] = entry.index
                keyword_count += 1
            if entry.scope != FO_CALL_ONLY:
                self.class_hypers[name] = default
                group_keys.append(name)
                self.group_indices[group_count] = entry.index
                group_count += 1
        if not self.takes_norms:
            keywords.append("rows")
            self.indices[keyword_count] = ROWS_KEYWORD
        for i, name in enumerate(self.optional.values()):
            self.optional_hypers[i] = -1
            if name in self.class_hypers:
                self.optional_hypers[i] = self.group_indices[group_keys.index(name)]
                continue
            self.class_hypers[name] = False
            group_keys.append(name)
            self.group_indices[group_count] = FIRST_FLAG - i
            group_count += 1
        if self.initial_value is not None:
            self.class_hypers[self.initial_value] = 0.0
        self.kept_share = -1
        for i in range(FO_HYPER_COUNT):
            if text(fo_hyper_describe(i).name) in ("beta2", "alpha", "rho") and (
                    text(fo_hyper_describe(i).name) in self.hypers):
                self.kept_share = i
        self.keywords = tuple(keywords)
        self.group_keys = tuple(group_keys)

    def define(self, str documentation):
        """Make the function, with its documentation, and return it."""
        self.function_name = self.name.encode("ascii")
        self.documentation = documentation.encode("utf-8")
        self.function = fo_new_function(&self.definition, self.function_name, self.documentation,
                                        call_rule, self, "fastopt")
        return self.function

    def __getattr__(self, str name):
        # A built-in function is pickled as an attribute, by its name, of what it is bound to.
        if name == self.name and self.function is not None:
            return self.function
        raise AttributeError(f"Rule has no attribute {name!r}")

    def __reduce__(self):
        return rule_named, (self.name,)

    def __repr__(self):
        return f"<Rule {self.name}>"


RULES = {}
for _index in range(FO_RULE_COUNT):
    _rule = Rule(_index)
    RULES[_rule.name] = _rule


def rule_named(name):
    """The rule of the table that has the name."""
    return RULES[name]


cdef void set_formats(fo_tensor *tensor, const int *formats, int count) noexcept:
    """Of param, grad and states; rounded to nearest."""
    cdef int i
    tensor.dtype = FO_MIXED
    tensor.param_format = formats[0]
    tensor.grad_format = formats[1]
    for i in range(FO_MAX_STATES):
        tensor.state_format[i] = formats[2 + i] if 2 + i < count else FO_FLOAT32
    tensor.rounding = FO_NEAREST
    tensor.seed = tensor.position = 0


cdef int keyword_index(Rule rule, PyObject *keyword, int hint) except -1:
    """The place of a keyword: by identity, which interned names have; else by comparison."""
    cdef int i, count = <int>PyTuple_GET_SIZE(rule.keywords)
    if hint < count and <PyObject *>PyTuple_GET_ITEM(rule.keywords, hint) == keyword:
        return hint
    for i in range(count):
        if <PyObject *>PyTuple_GET_ITEM(rule.keywords, i) == keyword:
            return i
    for i in range(count):
        if rule.keywords[i] == <object>keyword:
            return i
    name = <object>keyword
    hint_text = f"; write {OTHER_NAMES[name]}" if name in OTHER_NAMES else ""
    if name == "rows":
        hint_text = f", since a step of {rule.name} depends on whole arrays"
    raise TypeError(f"{rule.name}() got an unexpected keyword argument {name!r}{hint_text}; "
                    f"it takes {', '.join(rule.keywords)}")


cdef fo_status step_one(const fo_group *group, const fo_tensor *tensor, const fo_sparse *sparse,
                        fo_result *result) noexcept nogil:
    if sparse.indices == NULL:
        return fo_step(group, 1, tensor, 1, NULL, result)
    return fo_step_sparse(group, 1, tensor, sparse, 1, NULL, result)


cdef object no_keyword(str name, object number):
    return TypeError(f"{name} must be a numpy.ndarray, got {number!r}; "
                     "hyper-parameters are keywords, such as lr=")


cdef object call_rule(PyObject *self, PyObject *const *args, Py_ssize_t positional, PyObject *names):
    """What every function of a rule does: sort the arguments, check them all, take the step."""
    cdef Rule rule = <Rule>self
    cdef PyObject *arrays[MAX_ARRAYS]
    cdef int formats[MAX_ARRAYS]
    cdef char *begins[MAX_ARRAYS]
    cdef char *ends[MAX_ARRAYS]
    cdef fo_group group
    cdef fo_tensor tensor
    cdef fo_sparse sparse
    cdef fo_result result
    cdef fo_status status
    cdef double *hyper = <double *>&group.hyper
    cdef int array_count = <int>PyTuple_GET_SIZE(rule.arrays)
    cdef int needed = 2 + rule.info.state_count
    cdef int i, k, index, hint
    cdef bint has_step = False, is_mixed = False
    cdef PyObject *carried = NULL
    cdef cnp.ndarray param, array
    cdef object rows = None

    if positional > array_count:
        raise TypeError(f"{rule.name}() takes {array_count} positional arguments "
                        f"({', '.join(rule.arrays)}) but {positional} were given; "
                        "hyper-parameters are keywords")
    memcpy(&group, &rule.defaults, sizeof(fo_group))  # an assignment would copy it twice
    for i in range(MAX_ARRAYS):
        arrays[i] = args[i] if i < positional else NULL
        formats[i] = FO_FORMAT_COUNT
    tensor.step = 0
    sparse.row_wise = 0
    hint = array_count
    if names != NULL:
        for k in range(<int>PyTuple_GET_SIZE(<tuple>names)):
            index = keyword_index(rule, <PyObject *>PyTuple_GET_ITEM(<tuple>names, k), hint)
            hint = index + 1
            value = <object>args[positional + k]
            if index < array_count:
                if arrays[index] != NULL:
                    raise TypeError(f"{rule.name}() got two values for {rule.arrays[index]}")
                arrays[index] = args[positional + k]
            elif rule.indices[index] == ROWS_KEYWORD:
                rows = value
            elif rule.indices[index] == STEP_KEYWORD:
                tensor.step = to_step(value)
                has_step = True
            elif rule.indices[index] == CARRIED_KEYWORD:
                check_number_array(rule.carried, value, rule.carried_shape)
                check_layout(rule.carried, <cnp.ndarray>value, True)
                carried = args[positional + k]
            else:
                hyper[rule.indices[index]] = to_double(
                    rule.keywords[index], value,
                    fo_hyper_describe(rule.indices[index]).domain)
    if rule.info.needs_step and not has_step:
        raise TypeError(f"{rule.name}() needs the keyword argument step")
    if rule.info.carried != NULL and carried == NULL:
        raise TypeError(f"{rule.name}() needs the keyword argument {rule.carried}")
    for i in range(rule.required_count):
        k = rule.required[i]
        if isnan(hyper[k]) and (names == NULL or text(fo_hyper_describe(k).name)
                                not in <tuple>names):
            raise TypeError(f"{rule.name}() needs the keyword argument "
                            f"{text(fo_hyper_describe(k).name)}")
    for i in range(needed, array_count):
        if arrays[i] != NULL and <object>arrays[i] is None:
            arrays[i] = NULL
        index = rule.optional_hypers[i - needed]
        if (arrays[i] == NULL and index >= 0 and hyper[index] != 0
                and fo_check_hyper(&group, &k) == FO_OK):
            raise TypeError(f"{rule.name}() needs the argument {rule.arrays[i]} where "
                            f"{text(fo_hyper_describe(index).name)} is not 0, got {hyper[index]!r}")

    for i in range(array_count):
        formats[i] = FO_FLOAT32
        if arrays[i] == NULL:
            if i >= needed:
                continue
            raise TypeError(f"{rule.name}() needs the argument {rule.arrays[i]}")
        if needed <= i < positional and isinstance(<object>arrays[i], numbers.Real):
            raise no_keyword(rule.arrays[i], <object>arrays[i])
        formats[i] = check_type(rule.arrays[i], <object>arrays[i])
        check_goes_with(rule.arrays[i], formats[i], formats[0])
        is_mixed = is_mixed or formats[i] != formats[0]
        if i > 1:
            check_squares(rule, &group.hyper, i - 2, formats[i], rule.arrays[i])
    if rows is not None:
        check_indices("rows", rows)
        if group.hyper.cautious != 0:
            raise ValueError(f"rows must be None with cautious, since a cautious step of {rule.name} "
                             "depends on whole arrays")
    param = <cnp.ndarray>arrays[0]
    for i in range(array_count):
        if arrays[i] == NULL:
            continue
        array = <cnp.ndarray>arrays[i]
        check_layout(rule.arrays[i], array, i != 1)
        if i == 1 and rows is not None:
            check_rows("grad", array, "rows", rows, "param", param)
        elif i == 2 and rows is not None and is_row_wise(rule, array, param):
            check_row_wise(rule.arrays[i], formats[i], formats[0])
            sparse.row_wise = 1
        elif i and not same_shape(array, param):
            raise_shape(rule.arrays[i], array, "param", param)
        begins[i] = <char *>cnp.PyArray_DATA(array)
        ends[i] = begins[i] + cnp.PyArray_NBYTES(array)
        for k in range(i):
            if arrays[k] != NULL and begins[i] < ends[k] and begins[k] < ends[i]:
                raise ValueError(f"{rule.arrays[i]} must not overlap {rule.arrays[k]} in memory")
        if i != 1 and rows is not None and overlap(array, <cnp.ndarray>rows):
            raise ValueError(f"rows must not overlap {rule.arrays[i]} in memory")
        if carried != NULL and overlap(array, <cnp.ndarray>carried):
            raise ValueError(f"{rule.carried} must not overlap {rule.arrays[i]} in memory")

    tensor.group = 0
    tensor.average = NULL
    tensor.remainder = NULL
    tensor.copy = NULL
    if is_mixed:
        set_formats(&tensor, formats, array_count)
    else:
        tensor.dtype = formats[0]
    tensor.carried = NULL if carried == NULL else <double *>cnp.PyArray_DATA(<cnp.ndarray>carried)
    tensor.n = cnp.PyArray_SIZE(param)
    tensor.param = cnp.PyArray_DATA(param)
    tensor.grad = cnp.PyArray_DATA(<cnp.ndarray>arrays[1])
    for i in range(FO_MAX_STATES):
        tensor.state[i] = (cnp.PyArray_DATA(<cnp.ndarray>arrays[2 + i])
                           if 2 + i < array_count and arrays[2 + i] != NULL else NULL)
    sparse.indices = NULL
    if rows is not None:
        note_rows(&sparse, param, <cnp.ndarray>rows)
    if cnp.PyArray_SIZE(<cnp.ndarray>arrays[1]) < RELEASE_GIL_ELEMENTS:
        status = step_one(&group, &tensor, &sparse, &result)
    else:
        # References of our own: the caller's containers may change while others run.
        held = [<object>arrays[i] for i in range(array_count) if arrays[i] != NULL]
        with nogil:
            status = step_one(&group, &tensor, &sparse, &result)
    if status == FO_BAD_INDEX:
        raise_index("rows", &sparse, result.group)
    if status != FO_OK:
        raise_status(status, &group, NULL, &result)
    return None
