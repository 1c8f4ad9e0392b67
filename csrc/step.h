/* What a step of tensors and a step of rows have in common. Internal. */
#ifndef FO_STEP_H
#define FO_STEP_H

#include "build.h"

#include "fastopt.h"
#include "kernel/kernel.h"
#include "library.h"
#include "narrow.h"
#include "ratio.h"
#include "tensor.h"

#include <math.h>

enum { FO_CACHE_LINE = 64 };
/* In cache lines of param. Long enough that claiming a chunk is a negligible part of its time, short enough
 * that the other threads do not wait long for the last one. */
enum { FO_CHUNK_LINES = 512 };

/* What the work is counted in: cache lines of param, or whole blocks where a state has them. */
static inline size_t fo_elements_per_line(const fo_tensor *tensor)
{
    return fo_has_blocks(tensor) ? FO_BLOCK : FO_CACHE_LINE / fo_size_of(fo_param_format(tensor));
}

/* Where param starts on its first cache line, in elements: lines of a tensor are counted from there. */
static inline size_t fo_elements_before(const fo_tensor *tensor)
{
    if (fo_has_blocks(tensor))
        return 0;
    return ((uintptr_t)tensor->param & (FO_CACHE_LINE - 1)) / fo_size_of(fo_param_format(tensor));
}

static inline size_t fo_element_at_line(const fo_tensor *tensor, size_t line)
{
    const size_t element = line * fo_elements_per_line(tensor);
    const size_t before = fo_elements_before(tensor);
    if (element <= before)
        return 0;
    return element - before < tensor->n ? element - before : tensor->n;
}

/* Where a step begins: a caller that cannot be served is refused, options that are NULL become the defaults,
 * a result that is NULL becomes own, and the result is cleared. */
static inline fo_status fo_begin_step(uint64_t abi, const fo_options **options, fo_result **result,
                                      fo_result *own)
{
    static const fo_options defaults = FO_DEFAULT_OPTIONS;
    const fo_status status = fo_check_caller(abi);
    if (status != FO_OK)
        return status;
    if (!*options)
        *options = &defaults;
    if (!*result)
        *result = own;
    **result = (fo_result){.norm = NAN};
    return FO_OK;
}

/* A norm that is NaN is passed on. */
static inline double fo_clip_factor(double norm, double max_norm)
{
    const double factor = max_norm / (norm + 1e-6);
    return factor > 1 ? 1 : factor;
}

/* What holds for all tensors of a call. */
typedef struct fo_call {
    const fo_group *groups;
    size_t group_count;
    double scale;               /* of the gradients, besides the groups' own */
    size_t bytes;               /* of all parameters, in the type that they compute in */
    const fo_measure *measures; /* of each tensor, where a step has terms, else NULL */
} fo_call;

/* What a row of a tensor carries to this step, or NULL. */
static inline const double *fo_numbers(const fo_group *group, const fo_tensor *tensor, size_t row,
                                       const fo_measure *measure)
{
    return fo_kernels[group->rule]->carry ? measure->carried
                                          : fo_carried(fo_rule_describe(group->rule), tensor, row);
}

/* A loop and what it needs besides the buffers. Tensors share it if they have the same group, step and
 * formats. */
typedef struct fo_bound_loop {
    const fo_tensor *tensor; /* the first of them */
    int is_narrow;           /* loop is for buffers of float32, which the tensor's are not */
    fo_narrow_loop *in_registers;
    fo_loop *loop;
    const fo_rule_info *info;
    size_t number_bytes; /* of what the tensors carry */
    const double *numbers;
    double ratio;
    fo_loop_call with;
} fo_bound_loop;

/* measure: that of the tensor, or NULL. */
void fo_bind(fo_bound_loop *to, const fo_call *call, const fo_tensor *tensor,
             const fo_measure *measure);

/* Elements from begin up to end. */
void fo_update_elements(const fo_bound_loop *it, const fo_call *call, const fo_tensor *tensor,
                        size_t begin, size_t end);

/* The gradients' norm where the options ask for it, whether the step is skipped, and, in call, by what the
 * gradients are scaled. FO_OK or FO_NO_MEMORY. */
fo_status fo_take_norm(fo_call *call, const fo_tensor *tensors, size_t count,
                       const fo_options *options, int threads, fo_result *result);

/* Every tensor that has a gradient. FO_OK or FO_NO_MEMORY. */
fo_status fo_update_all(const fo_call *call, const fo_tensor *tensors, size_t count, int threads);

/* Updates the numbers that these tensors carry to the next step. For rules that join tensors, fo_update_all has done
 * that. */
void fo_carry_all(const fo_call *call, size_t group_count, const fo_tensor *tensors, size_t count);

/* What the loop of a group's rule needs besides buffers, at a step; numbers are what the rule carries to it, or
 * NULL; bytes are those of all parameters of the call; grad_scale multiplies the group's own; ratio is that of an
 * fo_measure. */
void fo_fill_loop_call(fo_loop_call *with, const fo_group *group, uint64_t step,
                       const double *numbers, double ratio, double grad_scale, size_t bytes);

/* Updates what a tensor, or a row of it, carries, after a step. */
void fo_carry(const fo_group *group, uint64_t step, double *carried, const fo_measure *measure);

/* The loop for the formats of a tensor's buffers, or NULL if there is none: then narrow.h steps them. */
fo_loop *fo_loop_of(fo_rule rule, const fo_tensor *tensor);

#endif
