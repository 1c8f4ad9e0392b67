/* On which CPU a thread of the pool wakes. Internal. */
#ifndef FO_PLACEMENT_H
#define FO_PLACEMENT_H

#include "thread.h"

/* The CPU that the calling thread is on; -1 where the system does not say. */
int fo_current_cpu(void);

/* Let the thread run wherever the caller may, but not on the given CPU. Does nothing if that leaves
 * none. */
void fo_keep_off(fo_thread thread, int cpu);

#endif
