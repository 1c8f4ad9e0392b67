/* One tensor whose gradient has only some of its rows. Internal. */
#ifndef FO_SPARSE_H
#define FO_SPARSE_H

#include "step.h"
#include "touched.h"

enum { FO_WRITTEN = 1 + FO_MAX_STATES };

/* A tensor with the loop for its formats. */
typedef struct fo_bound_tensor {
    fo_tensor tensor;
    fo_bound_loop loop;
} fo_bound_tensor;

typedef struct fo_sparse_tensor {
    size_t index; /* among all tensors */
    fo_touched touched;
    size_t n, lines; /* of a row */
    size_t ahead;    /* rows that are prefetched before they are stepped */
    void *sums;      /* NULL, or the gradients of each row added up */
    fo_call call;
    int row_wise;
    fo_group descent;              /* what a row-wise tensor is stepped with */
    fo_bound_tensor given, summed; /* with the gradient as it is, and in the compute type */
    unsigned optional;             /* as in fo_loop */
    char *written[FO_WRITTEN];
    size_t row_bytes[FO_WRITTEN];
} fo_sparse_tensor;

/* How many elements of a row's gradients are added up at a time, in the compute type. */
enum { FO_ADDED = 512 };

typedef union fo_added {
    float floats[FO_ADDED];
    double doubles[FO_ADDED];
} __attribute__((aligned(FO_CACHE_LINE))) fo_added;

static inline const void *fo_gradient_at(const fo_sparse_tensor *it, size_t place, size_t element)
{
    const fo_tensor *tensor = &it->given.tensor;
    const size_t at = place * it->n + element;
    return (const char *)tensor->grad + at * fo_size_of(tensor->grad_format);
}

/* The sum of a row's gradients, n <= FO_ADDED elements of each, in the compute type. place: that of the first one. */
void fo_add_gradients(const fo_sparse_tensor *it, size_t place, size_t element, size_t n, void *to);

#endif
