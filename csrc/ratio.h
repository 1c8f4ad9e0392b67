/* Steps that have norms or a mean of the whole tensor in them, or sums over all tensors. Internal. */
#ifndef FO_RATIO_H
#define FO_RATIO_H

#include "fastopt.h"
#include "kernel/kernel.h"

/* One tensor that is stepped. */
typedef struct fo_measured {
    fo_tensor tensor; /* of one row, where there are several */
    fo_group group;
    double scale; /* of the gradients, besides the group's own */
    /* If the rule joins tensors, and this is the tensor's first step: what a tensor carries that has taken steps
     * before and rests in this one. NULL if there is none. */
    const double *resting;
} fo_measured;

typedef void fo_measured_of(const void *context, size_t item, fo_measured *to);

/* What follows for a step from the terms of its rule. */
typedef struct fo_measure {
    /* By what lr is multiplied, or in a cautious step the mask; 1 where neither is. */
    double ratio;
    /* If the rule joins tensors: the numbers that it carries, first as the last step left them, then as this one
     * leaves them. */
    double carried[2 * FO_MAX_CARRIED];
} fo_measure;

/* The measures of count items. Each `run` of them in sequence is stepped together. Tensors are only read. FO_OK or
 * FO_NO_MEMORY. */
fo_status fo_take_measures(fo_measured_of *of, const void *context, size_t count, size_t run,
                           int threads, fo_measure *measures);

#endif
