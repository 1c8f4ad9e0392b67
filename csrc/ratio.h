/* Rules whose step has norms of the whole tensor in it. Internal. */
#ifndef FO_RATIO_H
#define FO_RATIO_H

#include "fastopt.h"

/* One tensor that is stepped. */
typedef struct fo_measured {
    fo_tensor tensor; /* of one row, where there are several */
    fo_group group;
    double scale; /* of the gradients, besides the group's own */
} fo_measured;

typedef void fo_measured_of(const void *context, size_t item, fo_measured *to);

/* By what lr is multiplied for each item; 1 where the rule takes no norms, and for nothing. The buffers are only
 * read. FO_OK or FO_NO_MEMORY. */
fo_status fo_take_ratios(fo_measured_of *of, const void *context, size_t count, int threads,
                         double *ratios);

#endif
