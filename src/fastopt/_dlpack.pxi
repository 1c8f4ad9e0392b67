# What a tensor of a framework says of its memory, in the structures of DLPack; part of _core.pyx.
# Nothing of the framework is needed to compile this.

cdef extern from *:
    """
    /* The structures of DLPack 1.x, as far as they are read here. */
    typedef struct fo_dltensor {
        void *data;
        int32_t device_type, device_id;
        int32_t ndim;
        uint8_t type_code, type_bits;
        uint16_t type_lanes;
        int64_t *shape, *strides;
        uint64_t byte_offset;
    } fo_dltensor;
    typedef int (*fo_dltensor_from)(void *object, fo_dltensor *out);
    typedef struct fo_exchange {
        uint32_t major, minor;
        void *previous;
        void (*allocate)(void), (*managed_from)(void), (*managed_to)(void);
        fo_dltensor_from dltensor_from;
    } fo_exchange;
    enum { FO_DL_CPU = 1, FO_DL_INT = 0, FO_DL_UINT = 1, FO_DL_FLOAT = 2, FO_DL_BFLOAT = 4 };
    """
    ctypedef struct fo_dltensor:
        char *data
        int device_type
        int ndim
        int type_code
        int type_bits
        int type_lanes
        int64_t *shape
        int64_t *strides
        uint64_t byte_offset
    ctypedef int (*fo_dltensor_from)(void *object, fo_dltensor *out)
    ctypedef struct fo_exchange:
        int major
        fo_dltensor_from dltensor_from
    cdef enum:
        FO_DL_CPU
        FO_DL_INT
        FO_DL_UINT
        FO_DL_FLOAT
        FO_DL_BFLOAT


cdef int64_t element_count(const fo_dltensor *view) noexcept:
    cdef int64_t n = 1
    cdef int i
    for i in range(view.ndim):
        n *= view.shape[i]
    return n


cdef bint is_dense(const fo_dltensor *view) noexcept:
    """Whether the elements fill a block of memory, each place once, in whatever order."""
    cdef int64_t n = element_count(view), filled = 1
    cdef int i
    cdef bint found = n > 1
    while found:
        found = False
        for i in range(view.ndim):
            if view.shape[i] != 1 and view.strides[i] == filled:
                filled *= view.shape[i]
                found = True
                break
    return filled == n or n == 0


cdef fo_format format_of(const fo_dltensor *view) noexcept:
    """The format of its elements, or FO_FORMAT_COUNT."""
    if view.type_code == FO_DL_FLOAT and view.type_bits == 32:
        return FO_FLOAT32
    if view.type_code == FO_DL_FLOAT and view.type_bits == 64:
        return FO_FLOAT64
    if view.type_code == FO_DL_BFLOAT and view.type_bits == 16:
        return FO_BFLOAT16
    if view.type_code == FO_DL_FLOAT and view.type_bits == 16:
        return FO_FLOAT16
    return FO_FORMAT_COUNT
