# The hyper-parameters of a parameter group, from Python to C; part of _core.pyx.


cdef list read_group(Rule rule, str name, dict group, int optional, fo_group *to):
    """Fill the C struct of a group, and return the objects that it was made from.

    `optional` has bit k set if the group's tensors have the k-th optional state.
    """
    cdef Py_ssize_t k
    cdef fo_result result
    cdef list read = []
    to[0] = rule.defaults
    for k, key in enumerate(rule.group_keys):
        try:
            item = group[key]
        except KeyError:
            raise ValueError(f"{name} must have {key!r}") from None
        read.append(item)
        if rule.group_indices[k] <= FIRST_FLAG:
            check_flag(key, item, optional >> (FIRST_FLAG - rule.group_indices[k]) & 1)
            continue
        (<double *>&to.hyper)[rule.group_indices[k]] = to_double(
            key, item, fo_hyper_describe(rule.group_indices[k]).domain)
    result.group = 0
    status = fo_check_hyper(to, &result.hyper)
    if status != FO_OK:
        raise_status(status, to, NULL, &result)
    for k in range(rule.info.optional_count):
        if rule.optional_hypers[k] >= 0:
            check_switch(rule, k, optional >> k & 1,
                         (<double *>&to.hyper)[rule.optional_hypers[k]])
    return read


cdef int check_flag(str name, object value, bint was) except -1:
    """That the flag of an optional state is what it was when the states were made."""
    if not (isinstance(value, (bool, numpy.bool_)) and value == was):
        raise ValueError(f"{name} cannot be changed after construction: it was {was}, "
                         f"got {value!r}")
    return 0


cdef int check_switch(Rule rule, Py_ssize_t optional, bint was, double value) except -1:
    """The same for a hyper-parameter whose state is there if it is not 0."""
    if (value != 0) != was:
        name = text(fo_hyper_describe(rule.optional_hypers[optional]).name)
        raise ValueError(f"{name} cannot be changed {'to' if was else 'from'} 0 after "
                         f"construction, as its state {'is' if was else 'would be'} "
                         f"{rule.arrays[2 + rule.info.state_count + optional]}, "
                         f"got {value!r}")
    return 0
