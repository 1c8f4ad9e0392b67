/* The formats of a tensor's buffers. Internal. */
#ifndef FO_TENSOR_H
#define FO_TENSOR_H

#include "fastopt.h"
#include "kernel/kernel.h"

static inline fo_format fo_param_format(const fo_tensor *tensor)
{
    return tensor->dtype == FO_MIXED ? tensor->param_format : tensor->dtype;
}

static inline fo_format fo_grad_format(const fo_tensor *tensor)
{
    return tensor->dtype == FO_MIXED ? tensor->grad_format : tensor->dtype;
}

static inline fo_format fo_state_format(const fo_tensor *tensor, int k)
{
    return tensor->dtype == FO_MIXED ? tensor->state_format[k] : tensor->dtype;
}

/* The states that a tensor has: the optional one is there if its pointer is. */
static inline int fo_has_optional(const fo_rule_info *info, const fo_tensor *tensor)
{
    return info->optional_state && tensor->state[info->state_count];
}

typedef struct fo_layout_formats {
    fo_format param, grad, state;
    int is_double; /* what it computes in */
} fo_layout_formats;

#define FO_IS_DOUBLE_f32 0
#define FO_IS_DOUBLE_f64 1
static const fo_layout_formats fo_layouts[FO_LAYOUT_COUNT] = {
#define FO_LAYOUT(name, compute, param, grad, state) {param, grad, state, FO_IS_DOUBLE_##compute},
#include "formats.def"
};

/* The row of formats.def that has the formats of the tensor's buffers, or FO_LAYOUT_COUNT. */
static inline fo_layout fo_layout_of(const fo_tensor *tensor, const fo_rule_info *info)
{
    const int states = info->state_count + fo_has_optional(info, tensor);
    for (int i = 0; i < FO_LAYOUT_COUNT; i++) {
        const fo_layout_formats *row = &fo_layouts[i];
        int same = row->param == fo_param_format(tensor) && row->grad == fo_grad_format(tensor);
        for (int k = 0; same && k < states; k++)
            same = row->state == fo_state_format(tensor, k);
        if (same)
            return (fo_layout)i;
    }
    return FO_LAYOUT_COUNT;
}

#endif
