/* Dividing work among threads. Knows no rule. Internal. */
#ifndef FO_POOL_H
#define FO_POOL_H

#include <stddef.h>

typedef void fo_task(void *context, size_t begin, size_t end);

/* Calls the task for chunks that together make up 0 … total, on up to the given number of threads, of
 * which the caller is one. Returns when all is done. */
void fo_parallel(int threads, size_t total, size_t chunk, fo_task *task, void *context);

/* Begins a step over this many bytes of parameters or gradients: notes when, and returns how many threads are
 * worth the hand-over. Never more than fo_get_num_threads; fewer for small steps, and when the last step was
 * long ago, as the workers then sleep. */
int fo_engage_threads(size_t bytes);

/* The most threads for the steps that the calling thread takes from now on, if that is fewer than
 * fo_get_num_threads; 0: no limit of its own. */
void fo_limit_caller(int threads);

/* The i with starts[i] <= x < starts[i + 1], where starts ascends and has count + 1 entries: of the items that
 * lie side by side in a total, the one that x falls into. */
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
