from libc.stddef cimport size_t
from libc.stdint cimport int16_t, uint16_t, uint32_t, uint64_t


cdef extern from "fastopt.h" nogil:
    ctypedef int fo_format
    enum:
        FO_FORMAT_COUNT
        FO_FLOAT32
        FO_FLOAT64
        FO_BFLOAT16
        FO_FLOAT16
        FO_BLOCK8
        FO_MIXED

    enum:
        FO_BLOCK

    ctypedef int fo_rounding
    enum:
        FO_NEAREST
        FO_STOCHASTIC

    ctypedef int fo_rule
    ctypedef int fo_hyper_index
    enum:
        FO_RULE_COUNT
        FO_HYPER_COUNT
        FO_MAX_STATES
        FO_MAX_THREADS

    ctypedef struct fo_hyper:
        double cautious
        double grad_scale

    ctypedef struct fo_group:
        fo_rule rule
        fo_hyper hyper

    ctypedef struct fo_tensor:
        uint32_t group
        fo_format dtype
        size_t n
        void *param
        const void *grad
        void *state[4]  # FO_MAX_STATES
        uint64_t step
        fo_format param_format
        fo_format grad_format
        fo_format state_format[4]  # FO_MAX_STATES
        double *carried
        fo_rounding rounding
        int16_t *remainder
        uint16_t *copy
        uint64_t seed
        uint64_t position
        void *average
        double ema

    ctypedef struct fo_options:
        double grad_scale
        int clip
        double max_norm
        int skip_nonfinite

    ctypedef struct fo_result:
        double norm
        int skipped
        size_t tensor
        size_t group
        int hyper

    ctypedef struct fo_sparse:
        size_t rows
        size_t count
        const void *indices
        int is_int64
        int row_wise

    ctypedef struct fo_rows:
        size_t count
        const double *hyper[99]  # FO_HYPER_COUNT
        const uint64_t *const *step
        const uint64_t *seed
        const double *grad_scale
        const double *max_norm
        double *norm
        unsigned char *skipped

    ctypedef enum fo_status:
        FO_OK
        FO_BAD_RULE
        FO_BAD_HYPER
        FO_BAD_OPTION
        FO_BAD_TENSOR
        FO_BAD_STEP
        FO_NO_MEMORY
        FO_UNREPRESENTABLE
        FO_BAD_INDEX
        FO_NEEDS_WHOLE

    ctypedef enum fo_domain:
        FO_FINITE
        FO_NONNEGATIVE
        FO_FRACTION
        FO_FLAG

    ctypedef enum fo_scope:
        FO_COMMON
        FO_CLASS_ONLY
        FO_CALL_ONLY
        FO_FIXED

    ctypedef struct fo_hyper_info:
        const char *name
        fo_domain domain

    ctypedef struct fo_hyper_entry:
        fo_hyper_index index
        double value
        fo_scope scope

    ctypedef struct fo_format_info:
        const char *name
        size_t bytes

    ctypedef struct fo_rule_info:
        const char *name
        const char *class_name
        const char *kernel
        const char *states[4]
        int state_count
        int optional_count
        const char *optional_states[4]  # FO_MAX_STATES
        const char *optional_flags[4]
        const char *initial_value
        int needs_step
        const char *carried
        int carried_count
        const fo_hyper_entry *hypers
        int hyper_count
        unsigned squares

    int fo_version()
    fo_hyper fo_defaults(fo_rule rule)
    fo_status fo_step(const fo_group *groups, size_t group_count, const fo_tensor *tensors,
                      size_t tensor_count, const fo_options *options, fo_result *result)
    fo_status fo_step_sparse(const fo_group *groups, size_t group_count, const fo_tensor *tensors,
                             const fo_sparse *sparse, size_t tensor_count,
                             const fo_options *options, fo_result *result)
    fo_status fo_step_rows(const fo_group *group, const fo_rows *rows, const fo_tensor *tensors,
                           size_t tensor_count, const fo_options *options, fo_result *result)
    fo_status fo_check_hyper(const fo_group *group, int *bad)
    fo_status fo_norm(const fo_tensor *tensors, size_t tensor_count, double *norm)
    fo_status fo_update_states(int rule, fo_format format, size_t n, void *param, const void *grad,
                               void *const *state, int state_count, uint64_t step,
                               const fo_hyper *hyper)
    const char *fo_status_text(int status)
    const fo_rule_info *fo_rule_describe(fo_rule rule)
    int fo_rule_takes_norms(fo_rule rule)
    int fo_rule_joins_tensors(fo_rule rule)
    const fo_hyper_info *fo_hyper_describe(fo_hyper_index index)
    const fo_format_info *fo_format_describe(fo_format format)
    int fo_get_num_threads()
    fo_status fo_set_num_threads(int threads)
    int fo_cpu_count()
    const char *fo_isa()
    const char *fo_isa_available(int index)
    const char *fo_settings_error()

cdef extern from "threads/pool.h" nogil:
    void fo_limit_caller(int threads)
