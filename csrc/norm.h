/* The sum of the squares of all gradients, in double: the same bits for any instruction set and any
 * number of threads. Internal. */
#ifndef FO_NORM_H
#define FO_NORM_H

#include "fastopt.h"

/* A sum for each row, where each gradient has this number of rows, of n elements each. FO_OK or FO_NO_MEMORY. */
fo_status fo_sum_squares(const fo_tensor *tensors, size_t count, size_t rows, int threads,
                         double *sums);

/* Of one row. */
int fo_all_finite(const fo_tensor *tensors, size_t count, size_t row);

#endif
