#define _GNU_SOURCE
#include "placement.h"

#if defined(__linux__)
#include <sched.h>

int fo_current_cpu(void)
{
    return sched_getcpu();
}

void fo_keep_off(fo_thread thread, int cpu)
{
    cpu_set_t set;
    /* Beyond 1,024 CPUs this fails, and the kernel, which then hardly lacks an idle one, decides. */
    if (pthread_getaffinity_np(pthread_self(), sizeof set, &set))
        return;
    CPU_CLR(cpu, &set);
    if (CPU_COUNT(&set))
        pthread_setaffinity_np(thread, sizeof set, &set);
}
#else
int fo_current_cpu(void)
{
    return -1;
}

void fo_keep_off(fo_thread thread, int cpu)
{
    (void)thread, (void)cpu;
}
#endif
