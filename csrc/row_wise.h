/* Row-wise Adagrad: a number for each row in place of the state. Internal. */
#ifndef FO_ROW_WISE_H
#define FO_ROW_WISE_H

#include "sparse.h"

enum { FO_RATE = 0 }; /* the one coefficient of gradient descent */

/* Whether the tensor may be stepped row-wise. That it has a state has been checked, but not the state's size. */
int fo_can_be_row_wise(const fo_group *group, const fo_tensor *tensor, const fo_sparse *sparse);

/* Updates the sum of a row, and returns the rate of its step. No two threads may share the row. */
double fo_rate_of_row(const fo_sparse_tensor *it, fo_touched_row at);

#endif
