/* Dividing work among threads. Knows no rule. Internal. */
#ifndef FO_PARALLEL_H
#define FO_PARALLEL_H

#include <stddef.h>

typedef void fo_task(void *context, size_t begin, size_t end);

/* Calls the task for chunks that together make up 0 … total, on up to the given number of threads, of
 * which the caller is one. Returns when all is done. */
void fo_parallel(int threads, size_t total, size_t chunk, fo_task *task, void *context);

/* How many threads are worth their hand-over for parameters, or gradients, of so many bytes: no more than
 * fo_get_num_threads, and fewer when nobody has asked for a while. To be called once a step. */
int fo_threads_for(size_t bytes);

/* The i with starts[i] <= x < starts[i + 1], where starts ascends and has count + 1 entries. */
size_t fo_find_interval(const size_t *starts, size_t count, size_t x);

/* How many CPUs this process may use: its affinity mask and its control group's quota. */
int fo_cpu_count(void);

#endif
