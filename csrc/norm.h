/* The sum of the squares of all gradients, in double: the same bits for any instruction set and any
 * number of threads. Internal. */
#ifndef FO_NORM_H
#define FO_NORM_H

#include "fastopt.h"

/* A sum for each row, where each gradient has this number of rows, of n elements each. FO_OK or FO_NO_MEMORY. */
fo_status fo_sum_squares(const fo_tensor *tensors, size_t count, size_t rows, int threads,
                         double *sums);

/* The parts of such a sum, for those who make the numbers that are squared. A block of FO_NORM_BLOCK elements
 * is summed in FO_ACCUMULATORS sums that start at zero. They are added to in portions of a multiple of FO_ACCUMULATORS
 * numbers, but for the last one, and then added up. */
enum { FO_NORM_BLOCK = 4096, FO_ACCUMULATORS = 32 };
void fo_add_squares(double *accumulators, int is_double, const void *numbers, size_t n);
/* The numbers themselves, for a sum of these. */
void fo_add_numbers(double *accumulators, int is_double, const void *numbers, size_t n);
double fo_add_accumulators(double *accumulators);

/* The sums of all blocks; they are overwritten. */
double fo_add_in_pairs(double *sums, size_t count);

/* Of one row. */
int fo_all_finite(const fo_tensor *tensors, size_t count, size_t row);

#endif
