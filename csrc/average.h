/* The moving average of a parameter, of a tensor that has one. Internal. */
#ifndef FO_AVERAGE_H
#define FO_AVERAGE_H

#include "fastopt.h"
#include "kernel/kernel.h"

/* A step and its average take turns over as many elements, which stay in the first-level cache in between. Whole
 * blocks and lines. */
enum { FO_AVERAGED = 1024 };

/* Whether the tensor has none, or one that can be brought up to date. */
static inline fo_status fo_check_average(const fo_tensor *tensor)
{
    if (!tensor->average)
        return FO_OK;
    if (!(tensor->ema >= 0 && tensor->ema < 1))
        return FO_BAD_TENSOR;
    return tensor->step ? FO_OK : FO_BAD_STEP;
}

static inline void *fo_average_at(const fo_tensor *tensor, size_t i)
{
    const fo_format format = tensor->dtype == FO_MIXED ? tensor->param_format : tensor->dtype;
    return (char *)tensor->average + i * (format == FO_FLOAT64 ? sizeof(double) : sizeof(float));
}

/* Elements from begin up to end, which the step has just written. */
void fo_take_average(const fo_tensor *tensor, size_t begin, size_t end);

#endif
