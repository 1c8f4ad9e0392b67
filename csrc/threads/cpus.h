/* Which CPUs there are for this process and its threads. (fo_cpu_count is in fastopt.h.) Internal. */
#ifndef FO_CPUS_H
#define FO_CPUS_H

#include "threads/system.h"

/* The CPU that the calling thread is on; -1 where the system does not say. */
int fo_current_cpu(void);

/* A fingerprint of the CPUs that the calling thread may run on; 0 where the system does not say. */
unsigned long long fo_cpus_of_caller(void);

/* Let the thread run wherever the caller may, but not on the given CPU, if that leaves one; -1: wherever
 * the caller may. */
void fo_keep_off(fo_thread thread, int cpu);

#endif
