/* Dividing work among threads. Knows no rule. Internal. */
#ifndef FO_POOL_H
#define FO_POOL_H

#include <stddef.h>

typedef void fo_task(void *context, size_t begin, size_t end);

/* Calls the task for chunks that together make up 0 … total, on at most the given number of threads. The
 * caller is one of them. Returns when all chunks are done. */
void fo_parallel(int threads, size_t total, size_t chunk, fo_task *task, void *context);

/* How many threads a step over this many bytes of parameters or gradients is worth, at most
 * fo_get_num_threads. Small steps get fewer; so do steps that come long after the one before, because the
 * workers then sleep. To know that, the function notes when it was called. */
int fo_engage_threads(size_t bytes);

/* The most threads for the steps that the calling thread takes from now on, if that is fewer than
 * fo_get_num_threads; 0: no limit of its own. */
void fo_limit_caller(int threads);

/* The i with starts[i] <= x < starts[i + 1]. starts ascends and has count + 1 entries: where items begin that
 * lie side by side, and where the last one ends. */
static inline size_t fo_interval_of(const size_t *starts, size_t count, size_t x)
{
    size_t low = 0, high = count;
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        if (starts[middle] <= x)
            low = middle;
        else
            high = middle;
    }
    return low;
}

#endif
