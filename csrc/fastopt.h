/* fastopt: gradient-descent steps on plain memory. The C interface.
 *
 * There is nothing to set up. One parameter is updated by the function of the rule's name, which takes
 * the buffers that the rule has:
 *
 *     fo_hyper hyper = fo_defaults(FO_RULE_adam);
 *     hyper.lr = 1e-3;
 *     fo_status status = fo_adam_f32(n, param, grad, exp_avg, exp_avg_sq, NULL, 1, &hyper);
 *
 * Many buffers are updated by one call of fo_step, which can also clip by their global norm and skip
 * gradients that are not finite. fo_step_sparse also takes gradients that have only some rows of a tensor.
 * Many models, with hyper-parameters of their own, are updated by one call of fo_step_rows. The formulas are in rules/, the names of states and hyper-parameters in rules.def.
 * States start at zero.
 *
 * Every function may be called from any thread at any time, as long as no two calls are given the same
 * buffers. No function aborts, prints, throws or sets a global; errors are returned.
 */
#ifndef FASTOPT_H
#define FASTOPT_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__) && !defined(_WIN32)
#define FO_API __attribute__((visibility("default")))
#else
#define FO_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define FO_VERSION_MAJOR 0
#define FO_VERSION_MINOR 1
#define FO_VERSION_PATCH 0

/* The version of this header. fo_version() is that of the library that is linked. */
#define FO_VERSION (10000 * FO_VERSION_MAJOR + 100 * FO_VERSION_MINOR + FO_VERSION_PATCH)
FO_API int fo_version(void);

/* How a buffer stores its numbers. The rows of formats.def: FO_FLOAT32 (float), FO_FLOAT64 (double), and,
 * 16 bits in a uint16_t, FO_BFLOAT16 and FO_FLOAT16. FO_BLOCK8 (fo_block8) is for states alone. */
typedef enum fo_format {
#define FO_FORMAT(NAME, ...) FO_##NAME,
#include "formats.def"
    FO_FORMAT_COUNT,
    FO_MIXED = 255 /* of a tensor: each of its buffers says its own */
} fo_format;
typedef fo_format fo_dtype;

/* FO_BLOCK elements of a state, 8 bits each; a buffer of n elements has (n + FO_BLOCK - 1)/FO_BLOCK of these. The
 * scale is the largest magnitude in the block. To nearest, an element is off by a sixteenth of itself at most, and
 * a signed one by a further millionth of the scale; a square below 2^-32 of the scale becomes that. A block of
 * zero bytes is 0, and a block whose scale would be below 2^-126 becomes 0. One with a NaN or an infinity gets a
 * scale of NaN: all its elements are then NaN. kernel/blocks.h defines the codes. */
enum { FO_BLOCK = 64 };
typedef struct fo_block8 {
    float scale;
    uint8_t codes[FO_BLOCK]; /* those past the end of the buffer are 0 */
} fo_block8;

/* How numbers are rounded that are stored in bfloat16 or blocks. float16 is always rounded to nearest even. */
typedef enum fo_rounding {
    FO_NEAREST, /* ties to even */
    FO_STOCHASTIC /* up or down with the probabilities that keep the mean; by seed, step and position */
} fo_rounding;

/* The rows of rules.def: FO_RULE_sgd, FO_RULE_adam, ... */
typedef enum fo_rule {
#define FO_RULE(name, ...) FO_RULE_##name,
#include "rules.def"
    FO_RULE_COUNT
} fo_rule;

/* Every hyper-parameter that some rule has; a rule reads its own and ignores the others.
 * Flags are 0 or 1. */
typedef struct fo_hyper {
#define FO_HYPER(name, domain) double name;
#include "rules.def"
} fo_hyper;

/* The index of a hyper-parameter: its place in fo_hyper, seen as an array of doubles. */
typedef enum fo_hyper_index {
#define FO_HYPER(name, domain) FO_##name,
#include "rules.def"
    FO_HYPER_COUNT
} fo_hyper_index;

/* No rule has more states, the optional one included, or carries more numbers from step to step. */
enum { FO_MAX_STATES = 4, FO_MAX_CARRIED = 3 };

/* A group: tensors that share a rule and its hyper-parameters. */
typedef struct fo_group {
    fo_rule rule;
    fo_hyper hyper;
} fo_group;

/* One parameter with its gradient and states: buffers of n elements, aligned to the element (FO_BLOCK8 to
 * float), no written one overlapping any other. grad is only read; if it is NULL the tensor is left alone.
 * Begin with one that is all zeros, {0}: what is not set is then not there. The same of fo_sparse and fo_rows. */
typedef struct fo_tensor {
    uint32_t group; /* index into the groups of the call */
    fo_dtype dtype; /* the format of all its buffers, or FO_MIXED */
    size_t n;
    void *param;
    const void *grad;
    void *state[FO_MAX_STATES]; /* in the order of rules.def; an optional state may be NULL */
    uint64_t step;              /* counts from 1 to 2^53; rules that need no count take 0 as well */
    /* Read only where dtype is FO_MIXED. A buffer of float64 goes with buffers of float64 alone. */
    fo_format param_format, grad_format, state_format[FO_MAX_STATES];
    fo_rounding rounding;
    /* Where dtype is FO_MIXED and param FO_BFLOAT16, or NULL: how far the float32 parameter is from param, in units
     * of its last place. With it the step is that of a float32 parameter. Starts at zero. */
    int16_t *remainder;
    /* Where dtype is FO_MIXED and param FO_FLOAT32, or NULL: gets the bfloat16 nearest to the new parameter. */
    uint16_t *copy;
    /* Read and written where the rule carries a number from step to step (STEP_AND in rules.def), or an array of
     * numbers (carried_count of fo_rule_info). In step 1 it is only written. With rows, there is one number or array
     * for each row. Where the rule joins tensors (fo_rule_joins_tensors), it is read from the first of the tensors
     * with the most steps; if these are in their first, from a tensor without a gradient whose step is above 1. It
     * is written for all tensors of the call, also those without a gradient, if not NULL. */
    double *carried;
    /* Stochastic rounding is a function of these and of step, which therefore counts for every rule. seed is
     * any number; position is the place of the first element among all that are stepped with this seed. */
    uint64_t seed, position;
    /* Or NULL: n elements of the type that the tensor computes in, double or float, that become the moving average
     * of the parameters; ema, in [0, 1), is the share of it that a step keeps. It starts at zero and is always
     * corrected for that: after step 1 it is the parameter, and with t steps each p has ema**(t-i) as its weight.
     * step then counts for every rule. Elements that are not stepped are not averaged. */
    void *average;
    double ema;
} fo_tensor;

/* What a step does besides updating. */
typedef struct fo_options {
    double grad_scale; /* multiplies every gradient, and each group's own grad_scale */
    int clip;          /* scale the gradients down where the global norm of grad_scale*grad, over */
    double max_norm;   /* all tensors, is above max_norm >= 0 */
    int skip_nonfinite; /* do nothing at all if any gradient is NaN or infinite */
} fo_options;

/* What NULL stands for: fo_options options = FO_DEFAULT_OPTIONS; */
#define FO_DEFAULT_OPTIONS {1.0, 0, 0.0, 0}

/* What a step found. */
typedef struct fo_result {
    double norm;   /* of grad_scale*grad, before clipping; NaN where the step did not need it */
    int skipped;   /* skip_nonfinite found a reason */
    size_t tensor; /* FO_BAD_TENSOR, FO_BAD_STEP, FO_BAD_FORMAT, FO_UNREPRESENTABLE: which */
    size_t group;  /* FO_BAD_RULE, FO_LEFT_OUT, FO_BAD_HYPER, FO_UNREPRESENTABLE: which */
    int hyper;     /* FO_BAD_HYPER, FO_UNREPRESENTABLE: the fo_hyper_index */
} fo_result;

/* What a caller and the library must agree on: the version up to the minor number, and the sizes of the
 * structures. Every function that reads or writes a structure of the caller is given the caller's, and
 * returns FO_BAD_VERSION before it touches one if its own differs; the inline functions below see to
 * that. (From another language, call the functions in _abi with the number that this header gave when
 * the binding was written.) */
#define FO_ABI                                                                                     \
    ((uint64_t)(FO_VERSION / 100) << 32 | (uint64_t)sizeof(fo_group) << 20 |                       \
     (uint64_t)sizeof(fo_tensor) << 10 | (uint64_t)(sizeof(fo_options) + sizeof(fo_result)))

typedef enum fo_status {
    FO_OK,
    FO_BAD_RULE,   /* no such rule */
    FO_BAD_HYPER,  /* a hyper-parameter is outside its domain */
    FO_BAD_OPTION, /* grad_scale or max_norm is not finite, or max_norm is negative */
    FO_BAD_TENSOR, /* a NULL buffer, an unknown dtype or group, or ema outside [0, 1) */
    FO_BAD_STEP,   /* step outside 1 … 2^53 */
    FO_NO_MEMORY,
    FO_BAD_VERSION,     /* the caller was compiled with the header of another version */
    FO_BAD_FORMAT,      /* a tensor's buffers, remainder and copy included, do not go together */
    FO_UNREPRESENTABLE, /* a hyper-parameter, or both grad_scale multiplied, is not 0 but becomes 0 or
                         * infinity in the type that the tensor computes in */
    FO_BAD_BUILD,   /* the library was compiled with flags that change floating-point arithmetic */
    FO_BAD_INDEX,   /* an index is not that of a row */
    FO_NEEDS_WHOLE, /* the step depends on the whole of a tensor whose gradient has only some rows */
    FO_LEFT_OUT     /* the library was compiled without this rule */
} fo_status;

/* A sentence for people; never NULL, whatever the number. */
FO_API const char *fo_status_text(fo_status status);

/* The rule's defaults. A hyper-parameter that has none and must be set (lr of some rules) is NaN; so are
 * all of them if there is no such rule or the versions differ, and every step refuses that. */
FO_API fo_status fo_defaults_abi(uint64_t abi, fo_rule rule, fo_hyper *hyper);
static inline fo_hyper fo_defaults(fo_rule rule)
{
    fo_hyper hyper;
    if (fo_defaults_abi(FO_ABI, rule, &hyper) != FO_OK)
        for (int i = 0; i < FO_HYPER_COUNT; i++)
            ((double *)&hyper)[i] = NAN;
    return hyper;
}

/* One step of every tensor. options and result may be NULL. On any status but FO_OK, no buffer has
 * been written. The bits that are written do not depend on the CPU, the number of threads, the
 * alignment, or on how the work is divided into tensors. With clipping there is one exception: the norm is
 * summed tensor by tensor, so another division may change its last bit. Rules that take norms of whole tensors
 * (fo_rule_takes_norms) and cautious steps depend on the division by design. Rules that join tensors
 * (fo_rule_joins_tensors) sum tensor by tensor, as clipping does. */
FO_API fo_status fo_step_abi(uint64_t abi, const fo_group *groups, size_t group_count,
                             const fo_tensor *tensors, size_t tensor_count,
                             const fo_options *options, fo_result *result);
static inline fo_status fo_step(const fo_group *groups, size_t group_count,
                                const fo_tensor *tensors, size_t tensor_count,
                                const fo_options *options, fo_result *result)
{
    return fo_step_abi(FO_ABI, groups, group_count, tensors, tensor_count, options, result);
}

/* That the gradient of a tensor has only some of its rows: those of an embedding table that a batch used. */
typedef struct fo_sparse {
    size_t rows;         /* of the tensor, whose n is a multiple of it */
    size_t count;        /* of indices; the gradient has as many rows, in their order */
    const void *indices; /* each from 0 to below rows, in any order. NULL: the gradient is dense */
    int is_int64;        /* indices are int64_t, else int32_t */
    /* 1: row-wise Adagrad, for tensors of FO_RULE_adagrad that have indices. state[0] then has rows numbers of the
     * type that the tensor computes in, each of which stands for all elements of its row:
     *     h = h + mean(g*g),  p = p - (lr/(sqrt(h) + eps))*g
     * The mean is taken in double, and the quotient, which is rounded once. */
    int row_wise;
} fo_sparse;

/* As fo_step, where sparse[i] belongs to tensors[i]. Of a tensor with indices, only the rows that they name
 * are read and written. Where an index stands more than once, its gradients are first added up, in the order
 * in which they stand and in the type that the tensor computes in; then the row is stepped once. Each row
 * gets the bits that fo_step gives to it as a tensor of its own, whose position is that of its first element.
 * The norm is that of the sums: of one dense gradient, with the rows in the order in which their indices
 * stand last.
 *
 * FO_BAD_INDEX: result->tensor says which tensor, result->group the place among its indices. FO_NEEDS_WHOLE:
 * result->tensor has indices, and a rule that takes norms of whole tensors (fo_rule_takes_norms) or is cautious.
 * FO_BAD_TENSOR also means that n is no multiple of rows, or that row_wise does not fit. */
FO_API fo_status fo_step_sparse_abi(uint64_t abi, const fo_group *groups, size_t group_count,
                                    const fo_tensor *tensors, const fo_sparse *sparse,
                                    size_t tensor_count, const fo_options *options,
                                    fo_result *result);
static inline fo_status fo_step_sparse(const fo_group *groups, size_t group_count,
                                       const fo_tensor *tensors, const fo_sparse *sparse,
                                       size_t tensor_count, const fo_options *options,
                                       fo_result *result)
{
    return fo_step_sparse_abi(FO_ABI, groups, group_count, tensors, sparse, tensor_count, options,
                              result);
}

/* K models of the same shapes that are stepped together: every buffer of a tensor has K rows of n elements
 * one after the other, and row k of all tensors is model k. What differs from row to row is an array of K
 * numbers; NULL stands for what group, tensors and options say, for all rows alike. */
typedef struct fo_rows {
    size_t count;                        /* K */
    const double *hyper[FO_HYPER_COUNT]; /* by fo_hyper_index */
    const uint64_t *const *step;         /* for each tensor its own array */
    const uint64_t *seed;                /* of stochastic rounding */
    const double *grad_scale, *max_norm; /* as in the options; max_norm counts only with clip */
    double *norm;                        /* written where options ask for norms: of each row */
    unsigned char *skipped; /* written: 1 where skip_nonfinite left the row out, else 0 */
} fo_rows;

/* One step of every row: each has the bits that fo_step gives to it alone, with the hyper-parameters, step
 * counts and options of that row. A row's own norm decides how it is clipped, its own gradients whether it is
 * skipped. A max_norm of infinity takes the norm and clips nothing.
 *
 *     group     the rule, and the hyper-parameters that are the same for all rows
 *     tensors   n is the number of elements of one row; group must be 0; grad NULL: left alone in all rows
 *     options, result   may be NULL. result->skipped is 1 if any row was; result->norm is NaN. With
 *               FO_BAD_HYPER, FO_BAD_OPTION, FO_BAD_STEP and FO_UNREPRESENTABLE, result->group is the row
 *
 * On any status but FO_OK, nothing has been written. */
FO_API fo_status fo_step_rows_abi(uint64_t abi, const fo_group *group, const fo_rows *rows,
                                  const fo_tensor *tensors, size_t tensor_count,
                                  const fo_options *options, fo_result *result);
static inline fo_status fo_step_rows(const fo_group *group, const fo_rows *rows,
                                     const fo_tensor *tensors, size_t tensor_count,
                                     const fo_options *options, fo_result *result)
{
    return fo_step_rows_abi(FO_ABI, group, rows, tensors, tensor_count, options, result);
}

/* The Euclidean norm of the gradients of all tensors, in double, as clipping takes it. param, states and
 * step are not looked at. */
FO_API fo_status fo_norm_abi(uint64_t abi, const fo_tensor *tensors, size_t tensor_count,
                             double *norm);
static inline fo_status fo_norm(const fo_tensor *tensors, size_t tensor_count, double *norm)
{
    return fo_norm_abi(FO_ABI, tensors, tensor_count, norm);
}

/* One step of one parameter, for a rule that is known only at run time:
 *
 *     format       of all the buffers
 *     n            elements in each of them; with 0 they are not looked at
 *     param        written
 *     grad         read
 *     state        pointers in the order of rules.def, written; NULL for an optional state leaves it out. Last
 *                  comes the pointer to what the rule carries from step to step, if it carries anything
 *     state_count  how many pointers state has; no more are read. The optional state may be left off the
 *                  end; more than the rule has are ignored
 *     step         counts from 1 to 2^53; rules that need no count ignore it
 *     hyper        NULL: the rule's defaults
 */
FO_API fo_status fo_update_states_abi(uint64_t abi, fo_rule rule, fo_format format, size_t n,
                                      void *param, const void *grad, void *const *state,
                                      int state_count, uint64_t step, const fo_hyper *hyper);
static inline fo_status fo_update_states(fo_rule rule, fo_format format, size_t n, void *param,
                                         const void *grad, void *const *state, int state_count,
                                         uint64_t step, const fo_hyper *hyper)
{
    return fo_update_states_abi(FO_ABI, rule, format, n, param, grad, state, state_count, step,
                                hyper);
}

/* The same by name and type, two functions for every row of rules.def: fo_sgd_f32, fo_sgd_f64, ...
 *
 *     fo_status fo_adam_f32(size_t n, float *param, const float *grad, float *exp_avg, float *exp_avg_sq,
 *                           float *max_exp_avg_sq, uint64_t step, const fo_hyper *hyper)
 *
 * The states are those of the row, an optional one last, which may be NULL; step is there where the rule
 * counts, and after it the address of what it carries from step to step: a number, or an array of them. */
#define FO_AS_PARAMETERS_NO_STATES
#define FO_AS_PARAMETERS_ONE_STATE(a) FO_REAL *a,
#define FO_AS_PARAMETERS_TWO_STATES(a, b) FO_REAL *a, FO_REAL *b,
#define FO_AS_PARAMETERS_THREE_STATES(a, b, c) FO_REAL *a, FO_REAL *b, FO_REAL *c,
#define FO_AS_PARAMETERS_FOUR_STATES(a, b, c, d) FO_REAL *a, FO_REAL *b, FO_REAL *c, FO_REAL *d,
#define FO_AS_PARAMETERS_NO_OPTIONAL
#define FO_AS_PARAMETERS_OPTIONAL(state, flag) FO_REAL *state,
#define FO_AS_PARAMETERS_TWO_ADDED(a, flag_a, b, flag_b)
#define FO_AS_PARAMETERS_NO_STEP
#define FO_AS_PARAMETERS_STEP uint64_t step,
#define FO_AS_PARAMETERS_STEP_AND(number) uint64_t step, double *number,
#define FO_AS_PARAMETERS_STEP_AND_ARRAY(numbers, count) uint64_t step, double *numbers,
#define FO_AS_POINTERS_NO_STATES
#define FO_AS_POINTERS_ONE_STATE(a) a,
#define FO_AS_POINTERS_TWO_STATES(a, b) a, b,
#define FO_AS_POINTERS_THREE_STATES(a, b, c) a, b, c,
#define FO_AS_POINTERS_FOUR_STATES(a, b, c, d) a, b, c, d,
#define FO_AS_POINTERS_NO_OPTIONAL
#define FO_AS_POINTERS_OPTIONAL(state, flag) state,
#define FO_AS_POINTERS_TWO_ADDED(a, flag_a, b, flag_b)
#define FO_AS_POINTERS_NO_STEP
#define FO_AS_POINTERS_STEP
#define FO_AS_POINTERS_STEP_AND(number) number,
#define FO_AS_POINTERS_STEP_AND_ARRAY(numbers, count) numbers,
#define FO_STEP_OF_NO_STEP 0
#define FO_STEP_OF_STEP step
#define FO_STEP_OF_STEP_AND(number) step
#define FO_STEP_OF_STEP_AND_ARRAY(numbers, count) step
#define FO_TYPED(name, suffix, format, parameters, pointers, step_or_0)                            \
    static inline fo_status fo_##name##suffix(size_t n, FO_REAL *param, const FO_REAL *grad,       \
                                              parameters const fo_hyper *hyper)                    \
    {                                                                                              \
        void *const state[] = {pointers NULL};                                                     \
        return fo_update_states(FO_RULE_##name, format, n, param, grad, state,                     \
                                (int)(sizeof state / sizeof *state) - 1, step_or_0, hyper);        \
    }
#define FO_REAL float
#define FO_RULE(name, class_name, kernel, states, optional, initial, counts, hypers)               \
    FO_TYPED(name, _f32, FO_FLOAT32,                                                               \
             FO_AS_PARAMETERS_##states FO_AS_PARAMETERS_##optional FO_AS_PARAMETERS_##counts,      \
             FO_AS_POINTERS_##states FO_AS_POINTERS_##optional FO_AS_POINTERS_##counts,            \
             FO_STEP_OF_##counts)
#include "rules.def"
#undef FO_REAL
#define FO_REAL double
#define FO_RULE(name, class_name, kernel, states, optional, initial, counts, hypers)               \
    FO_TYPED(name, _f64, FO_FLOAT64,                                                               \
             FO_AS_PARAMETERS_##states FO_AS_PARAMETERS_##optional FO_AS_PARAMETERS_##counts,      \
             FO_AS_POINTERS_##states FO_AS_POINTERS_##optional FO_AS_POINTERS_##counts,            \
             FO_STEP_OF_##counts)
#include "rules.def"
#undef FO_REAL
#undef FO_AS_PARAMETERS_NO_STATES
#undef FO_AS_PARAMETERS_ONE_STATE
#undef FO_AS_PARAMETERS_TWO_STATES
#undef FO_AS_PARAMETERS_THREE_STATES
#undef FO_AS_PARAMETERS_FOUR_STATES
#undef FO_AS_PARAMETERS_NO_OPTIONAL
#undef FO_AS_PARAMETERS_OPTIONAL
#undef FO_AS_PARAMETERS_TWO_ADDED
#undef FO_AS_PARAMETERS_NO_STEP
#undef FO_AS_PARAMETERS_STEP
#undef FO_AS_PARAMETERS_STEP_AND
#undef FO_AS_PARAMETERS_STEP_AND_ARRAY
#undef FO_AS_POINTERS_NO_STATES
#undef FO_AS_POINTERS_ONE_STATE
#undef FO_AS_POINTERS_TWO_STATES
#undef FO_AS_POINTERS_THREE_STATES
#undef FO_AS_POINTERS_FOUR_STATES
#undef FO_AS_POINTERS_NO_OPTIONAL
#undef FO_AS_POINTERS_OPTIONAL
#undef FO_AS_POINTERS_TWO_ADDED
#undef FO_AS_POINTERS_NO_STEP
#undef FO_AS_POINTERS_STEP
#undef FO_AS_POINTERS_STEP_AND
#undef FO_AS_POINTERS_STEP_AND_ARRAY
#undef FO_STEP_OF_NO_STEP
#undef FO_STEP_OF_STEP
#undef FO_STEP_OF_STEP_AND
#undef FO_STEP_OF_STEP_AND_ARRAY
#undef FO_TYPED
/* Older programs call fo_update, and fo_sgd to fo_rmsprop, which take the format first and an array of states
 * without its length. So they read only the states that the rule always has, and an optional one is left out
 * whether it is in the array or not. Use the functions above. */
#if defined(__GNUC__)
#define FO_SUPERSEDED(by) __attribute__((deprecated("it leaves out an optional state: use " by)))
#else
#define FO_SUPERSEDED(by)
#endif
FO_API fo_status fo_update_abi(uint64_t abi, fo_rule rule, fo_dtype dtype, size_t n, void *param,
                               const void *grad, void *const *state, uint64_t step,
                               const fo_hyper *hyper);
FO_SUPERSEDED("fo_update_states, which takes the number of states")
static inline fo_status fo_update(fo_rule rule, fo_dtype dtype, size_t n, void *param,
                                  const void *grad, void *const *state, uint64_t step,
                                  const fo_hyper *hyper)
{
    return fo_update_abi(FO_ABI, rule, dtype, n, param, grad, state, step, hyper);
}
#define FO_RULE(name, ...)                                                                         \
    FO_SUPERSEDED("fo_" #name "_f32 or _f64, which take the buffers by name")                      \
    static inline fo_status fo_##name(fo_dtype dtype, size_t n, void *param, const void *grad,     \
                                      void *const *state, uint64_t step, const fo_hyper *hyper)    \
    {                                                                                              \
        return fo_update_abi(FO_ABI, FO_RULE_##name, dtype, n, param, grad, state, step, hyper);   \
    }
#include "rules.def"
#undef FO_SUPERSEDED

/* Whether each of the rule's hyper-parameters is in its domain; if not, *bad is the fo_hyper_index of
 * the first that is outside. bad may be NULL. */
FO_API fo_status fo_check_hyper_abi(uint64_t abi, const fo_group *group, int *bad);
static inline fo_status fo_check_hyper(const fo_group *group, int *bad)
{
    return fo_check_hyper_abi(FO_ABI, group, bad);
}

/* What the table says about a rule; see rules.def. These structures are the library's own and are only
 * for callers whose FO_VERSION / 100 is fo_version() / 100. */
typedef enum fo_domain {
    FO_FINITE,      /* any finite number */
    FO_NONNEGATIVE, /* finite and >= 0 */
    FO_FRACTION,    /* from 0 to below 1 */
    FO_FLAG         /* 0 or 1 */
} fo_domain;
typedef enum fo_scope {
    FO_COMMON,     /* a keyword of functions and optimizer classes */
    FO_CLASS_ONLY, /* a keyword of classes, which count the steps */
    FO_CALL_ONLY,  /* a keyword of functions; classes take it at each step */
    FO_FIXED       /* part of what the rule is; no keyword */
} fo_scope;

/* A hyper-parameter, whichever rules have it. */
typedef struct fo_hyper_info {
    const char *name;
    fo_domain domain;
} fo_hyper_info;

/* A hyper-parameter of one rule. */
typedef struct fo_hyper_entry {
    fo_hyper_index index;
    double value; /* the default; NaN: must be given */
    fo_scope scope;
} fo_hyper_entry;

/* A row of rules.def. */
typedef struct fo_rule_info {
    const char *name;
    const char *class_name;
    const char *kernel; /* the file of rules/ that has the formula */
    const char
        *states[FO_MAX_STATES]; /* the names of the states that are always needed, then NULL */
    int state_count;            /* of those */
    const char *optional_state; /* or NULL: the first that is switched on by its presence */
    const char *optional_flag;  /* the flag of the classes that switches it on */
    int optional_count;         /* of such states; they come after the others */
    const char *optional_states[FO_MAX_STATES], *optional_flags[FO_MAX_STATES]; /* all of them */
    const char *initial_value; /* or NULL: the flag of the classes that fills the first state */
    int needs_step;            /* whether the formula has t in it */
    const char *carried;       /* or NULL: the number that is carried from step to step */
    int carried_count;         /* how many numbers that is: 0, 1, or those of an array */
    const fo_hyper_entry *hypers;
    int hyper_count;
    unsigned squares; /* bit k: state k is an average, sum or maximum of squares */
} fo_rule_info;

/* A row of formats.def. */
typedef struct fo_format_info {
    const char *name;
    size_t bytes;    /* of an element, or of a block */
    size_t elements; /* 1, or those of a block */
} fo_format_info;

FO_API const fo_rule_info *fo_rule_describe(fo_rule rule); /* NULL past the end */
/* Whether the step of each element depends on norms of its whole tensor, and so on how parameters are divided into
 * tensors. A cautious step of another rule does, too. */
FO_API int fo_rule_takes_norms(fo_rule rule);
/* Whether it depends on sums over all tensors of the call, or of a row, that are stepped by this rule. */
FO_API int fo_rule_joins_tensors(fo_rule rule);
FO_API const fo_format_info *fo_format_describe(fo_format format);   /* NULL past the end */
FO_API const fo_hyper_info *fo_hyper_describe(fo_hyper_index index); /* NULL past the end */

/* Threads. The default is FASTOPT_NUM_THREADS, else OMP_NUM_THREADS, else fo_cpu_count. Small work is done by
 * the caller alone whatever the number. */
FO_API int fo_get_num_threads(void);
FO_API fo_status fo_set_num_threads(int threads); /* 1 … FO_MAX_THREADS, else FO_BAD_OPTION */
enum { FO_MAX_THREADS = 1024 };
/* The CPUs that the process may use: its affinity mask, and the quota of its control group. */
FO_API int fo_cpu_count(void);

/* The instruction set in use: "baseline", "avx2", "avx512" or "neon". */
FO_API const char *fo_isa(void);
/* The name of the index-th instruction set that this CPU and system can run, best last, or NULL. */
FO_API const char *fo_isa_available(int index);
/* NULL if the environment's settings and the library's build are in order, else a sentence that says
 * what is wrong. With wrong settings the library runs with the defaults; a library of a wrong build
 * returns FO_BAD_BUILD from every step. */
FO_API const char *fo_settings_error(void);

#ifdef __cplusplus
}
#endif

#endif
