/* Which rows a gradient has. Internal. */
#ifndef FO_TOUCHED_H
#define FO_TOUCHED_H

#include "fastopt.h"

#define FO_NO_MORE ((size_t)-1)

/* A row, and the place of its first gradient. */
typedef struct fo_touched_row {
    size_t row, first;
} fo_touched_row;

typedef struct fo_touched {
    void *memory; /* of the arrays, for the caller to free */
    fo_touched_row *rows;
    size_t *next;         /* by place: that of the next gradient of the same row, or FO_NO_MORE */
    size_t count, places; /* of rows, and of gradients */
} fo_touched;

/* Each row once, in the order in which their indices stand last: FO_OK, FO_NO_MEMORY, or FO_BAD_INDEX and the
 * *bad place. */
fo_status fo_find_rows(fo_touched *to, const fo_sparse *sparse, size_t *bad);

#endif
