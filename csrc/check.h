/* The checks of a step. Internal. */
#ifndef FO_CHECK_H
#define FO_CHECK_H

#include "fastopt.h"

static inline int fo_is_step_of(const fo_rule_info *info, uint64_t step)
{
    return step <= (uint64_t)1 << 53 && (step || !info->needs_step);
}

/* Options, groups, and the tensors that have a gradient. *bytes: those of all parameters, in the type that they compute
 * in. */
fo_status fo_check_step(const fo_group *groups, size_t group_count, const fo_tensor *tensors,
                        size_t tensor_count, const fo_options *options, fo_result *result,
                        size_t *bytes);

/* One tensor that has a gradient: its group, formats, step and buffers. *is_double: it computes in float64. */
fo_status fo_check_tensor(const fo_group *groups, size_t group_count, const fo_tensor *tensor,
                          int *is_double);

#endif
