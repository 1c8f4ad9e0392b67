/* Which CPUs this process and its threads may use. (fo_cpu_count is in fastopt.h.) Internal. */
#ifndef FO_CPUS_H
#define FO_CPUS_H

#include "threads/system.h"

/* The CPU that the calling thread runs on, or -1 where the system does not say. */
int fo_current_cpu(void);

/* A hash of the set of CPUs that the calling thread may run on, or 0 where the system does not say. */
unsigned long long fo_cpus_of_caller(void);

/* Lets the thread run wherever the caller may, except on the given CPU if that leaves another one. With -1
 * nothing is excepted. */
void fo_keep_off(fo_thread thread, int cpu);

#endif
