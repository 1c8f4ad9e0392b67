/* What may be wrong with a step. Nothing is written until all of it has been checked. */
#include "build.h"

#include "check.h"

#include "average.h"
#include "hyper.h"
#include "kernel/kernel.h"
#include "tensor.h"

#include <math.h>

/* *held: float32 surely holds every number of every group, grad_scale multiplied by scale. */
static fo_status check_groups(const fo_group *groups, size_t count, double scale, fo_result *result,
                              int *held)
{
    *held = 1;
    for (size_t i = 0; i < count; i++) {
        int all;
        const fo_status status = fo_check_domains(&groups[i], &result->hyper, &all);
        if (status != FO_OK || !fo_is_compiled(groups[i].rule)) {
            result->group = i;
            return status != FO_OK ? status : FO_LEFT_OUT;
        }
        *held &= all & fo_float32_holds(groups[i].hyper.grad_scale * scale);
    }
    return FO_OK;
}

fo_status fo_check_tensor(const fo_group *groups, size_t group_count, const fo_tensor *tensor,
                          int *is_double)
{
    if (tensor->group >= group_count)
        return FO_BAD_TENSOR;
    const fo_rule_info *info = fo_rule_describe(groups[tensor->group].rule);
    if (!fo_formats_fit(tensor, info))
        return FO_BAD_FORMAT;
    *is_double = fo_param_format(tensor) == FO_FLOAT64;
    if (!fo_is_step_of(info, tensor->step))
        return FO_BAD_STEP;
    if (!tensor->n)
        return FO_OK;
    if (!tensor->param)
        return FO_BAD_TENSOR;
    for (int k = 0; k < info->state_count; k++)
        if (!tensor->state[k])
            return FO_BAD_TENSOR;
    if (info->carried && !tensor->carried)
        return FO_BAD_TENSOR;
    return fo_check_average(tensor);
}

/* Every tensor that has a gradient; counts their parameters' bytes in the type that they compute in. held: as
 * of check_groups. */
static fo_status check_tensors(const fo_group *groups, size_t group_count, const fo_tensor *tensors,
                               size_t count, double scale, int held, fo_result *result,
                               size_t *bytes)
{
    *bytes = 0;
    for (size_t i = 0; i < count; i++) {
        const fo_tensor *tensor = &tensors[i];
        if (!tensor->grad)
            continue;
        int is_double;
        const fo_status status = fo_check_tensor(groups, group_count, tensor, &is_double);
        result->tensor = i;
        if (status != FO_OK)
            return status;
        *bytes += tensor->n * (is_double ? sizeof(double) : sizeof(float));
        if (!held && !is_double) {
            const int lost = fo_first_lost(&groups[tensor->group], scale);
            if (lost < FO_HYPER_COUNT) {
                result->group = tensor->group;
                result->hyper = lost;
                return FO_UNREPRESENTABLE;
            }
        }
    }
    result->tensor = 0;
    return FO_OK;
}

fo_status fo_check_step(const fo_group *groups, size_t group_count, const fo_tensor *tensors,
                        size_t tensor_count, const fo_options *options, fo_result *result,
                        size_t *bytes)
{
    if (!isfinite(options->grad_scale) ||
        (options->clip && !(isfinite(options->max_norm) && options->max_norm >= 0)))
        return FO_BAD_OPTION;
    int held;
    const fo_status status = check_groups(groups, group_count, options->grad_scale, result, &held);
    if (status != FO_OK)
        return status;
    return check_tensors(groups, group_count, tensors, tensor_count, options->grad_scale, held,
                         result, bytes);
}
