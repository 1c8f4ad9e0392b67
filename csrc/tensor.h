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

/* What only mixed tensors have. */
static inline int16_t *fo_remainder(const fo_tensor *tensor)
{
    return tensor->dtype == FO_MIXED ? tensor->remainder : NULL;
}

static inline uint16_t *fo_copy(const fo_tensor *tensor)
{
    return tensor->dtype == FO_MIXED ? tensor->copy : NULL;
}

static inline fo_rounding fo_rounding_of(const fo_tensor *tensor)
{
    return tensor->dtype == FO_MIXED ? tensor->rounding : FO_NEAREST;
}

/* Bit k: the tensor has the k-th optional state, as its pointer says. */
static inline unsigned fo_optional_of(const fo_rule_info *info, const fo_tensor *tensor)
{
    unsigned found = 0;
    for (int k = 0; k < info->optional_count; k++)
        found |= (unsigned)(tensor->state[info->state_count + k] != NULL) << k;
    return found;
}

/* Whether the tensor has the k-th state. */
static inline int fo_has_state(const fo_rule_info *info, const fo_tensor *tensor, int k)
{
    return k < info->state_count ||
           (k < info->state_count + info->optional_count && tensor->state[k] != NULL);
}

/* What a row carries from step to step, as the last step left it, or NULL. A tensor that is not of rows is its
 * own row 0. */
static inline double *fo_carried(const fo_rule_info *info, const fo_tensor *tensor, size_t row)
{
    return info->carried && tensor->carried ? tensor->carried + row * (size_t)info->carried_count
                                            : NULL;
}

typedef struct fo_layout_formats {
    fo_format param, grad, state;
} fo_layout_formats;

static const fo_layout_formats fo_layouts[FO_LAYOUT_COUNT] = {
#define FO_LAYOUT(name, compute, param, grad, state) {param, grad, state},
#include "formats.def"
};

#define FO_IS_DOUBLE_f32 0
#define FO_IS_DOUBLE_f64 1

/* Whether buffers of this format take part in a step that computes in float32. */
static inline int fo_is_narrow(fo_format format)
{
    switch ((unsigned)format) {
#define FO_FORMAT(NAME, name, element, compute)                                                    \
    case FO_##NAME:                                                                                \
        return !FO_IS_DOUBLE_##compute;
#include "formats.def"
    default:
        return 0;
    }
}

/* Whether a state is in blocks, which are not to be parted. */
static inline int fo_has_blocks(const fo_tensor *tensor)
{
    if (tensor->dtype != FO_MIXED)
        return 0;
    for (int k = 0; k < FO_MAX_STATES; k++)
        if (tensor->state[k] && tensor->state_format[k] == FO_BLOCK8)
            return 1;
    return 0;
}

/* Whether the tensor's buffers go together. */
static inline int fo_formats_fit(const fo_tensor *tensor, const fo_rule_info *info)
{
    if (tensor->dtype != FO_MIXED && (tensor->remainder || tensor->copy))
        return 0;
    if (tensor->dtype == FO_FLOAT32 || tensor->dtype == FO_FLOAT64)
        return 1;
    const fo_format param = fo_param_format(tensor);
    const int narrow = fo_is_narrow(param);
    if (param == FO_BLOCK8 || fo_grad_format(tensor) == FO_BLOCK8)
        return 0;
    if ((!narrow && param != FO_FLOAT64) || (unsigned)fo_rounding_of(tensor) > FO_STOCHASTIC)
        return 0;
    if ((fo_remainder(tensor) && param != FO_BFLOAT16) || (fo_copy(tensor) && param != FO_FLOAT32))
        return 0;
    if (narrow ? !fo_is_narrow(fo_grad_format(tensor)) : fo_grad_format(tensor) != param)
        return 0;
    for (int k = 0; k < FO_MAX_STATES; k++) {
        if (!fo_has_state(info, tensor, k))
            continue;
        const fo_format state = fo_state_format(tensor, k);
        if (narrow ? !fo_is_narrow(state) : state != param)
            return 0;
    }
    return 1;
}

/* The row of formats.def that has the formats of the tensor's buffers, or FO_LAYOUT_COUNT. */
static inline fo_layout fo_layout_of(const fo_tensor *tensor, const fo_rule_info *info)
{
    if (fo_remainder(tensor) || fo_copy(tensor))
        return FO_LAYOUT_COUNT;
    for (int i = 0; i < FO_LAYOUT_COUNT; i++) {
        const fo_layout_formats *row = &fo_layouts[i];
        int same = row->param == fo_param_format(tensor) && row->grad == fo_grad_format(tensor);
        for (int k = 0; same && k < FO_MAX_STATES; k++)
            same = !fo_has_state(info, tensor, k) || row->state == fo_state_format(tensor, k);
        if (same)
            return (fo_layout)i;
    }
    return FO_LAYOUT_COUNT;
}

#endif
