# Which buffers of memory overlap; part of _core.pyx.


ctypedef struct interval:
    uintptr_t begin
    uintptr_t end
    Py_ssize_t array


cdef int by_address(const void *a, const void *b) noexcept nogil:
    cdef uintptr_t first = (<const interval *>a).begin, second = (<const interval *>b).begin
    return (first > second) - (first < second)


cdef Py_ssize_t sort_intervals(interval *intervals, Py_ssize_t n) noexcept:
    """Sort them by address; the index of the first that overlaps the one before it, or 0."""
    cdef Py_ssize_t i
    qsort(intervals, n, sizeof(interval), by_address)
    for i in range(1, n):
        if intervals[i].begin < intervals[i - 1].end:
            return i
    return 0


cdef const interval *find_overlap(const interval *intervals, Py_ssize_t n, uintptr_t begin,
                                  uintptr_t end) noexcept:
    """Of n sorted intervals that lie apart one that overlaps [begin, end), or NULL."""
    cdef Py_ssize_t low = 0, high = n, middle
    if begin >= end:
        return NULL
    # The last one that begins before the end must end before the beginning.
    while low < high:
        middle = (low + high) // 2
        if intervals[middle].begin < end:
            low = middle + 1
        else:
            high = middle
    return &intervals[low - 1] if low and intervals[low - 1].end > begin else NULL
