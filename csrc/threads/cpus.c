#include "build.h"

#include "threads/cpus.h"

#include "fastopt.h"

#if defined(__linux__)
#include <sched.h>
#include <stdio.h>
#include <string.h>

int fo_current_cpu(void)
{
    return sched_getcpu();
}

/* On a machine with more than 1,024 CPUs these calls fail, and the kernel places the workers alone. */
unsigned long long fo_cpus_of_caller(void)
{
    cpu_set_t set;
    if (pthread_getaffinity_np(pthread_self(), sizeof set, &set))
        return 0;
    unsigned long long hash = 14695981039346656037u;
    for (size_t i = 0; i < sizeof set; i++)
        hash = (hash ^ ((const unsigned char *)&set)[i]) * 1099511628211u;
    return hash;
}

void fo_keep_off(fo_thread thread, int cpu)
{
    cpu_set_t set;
    if (pthread_getaffinity_np(pthread_self(), sizeof set, &set))
        return;
    if (cpu >= 0 && CPU_COUNT(&set) > 1)
        CPU_CLR(cpu, &set);
    pthread_setaffinity_np(thread, sizeof set, &set);
}

static int affinity_count(void)
{
    /* The kernel returns EINVAL until the mask has room for every CPU that it was built for. */
    for (int cpus = 1024; cpus <= 1 << 20; cpus *= 4) {
        cpu_set_t *set = CPU_ALLOC(cpus);
        if (!set)
            return 0;
        const size_t size = CPU_ALLOC_SIZE(cpus);
        const int found = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 0;
        CPU_FREE(set);
        if (found)
            return found;
    }
    return 0;
}

/* The CPU quota of one control group, in CPUs and rounded up, or 0 if it has none. */
static int quota_of(const char *folder)
{
    char path[1280];
    long long quota = 0, period = 0;
    int fields = 0;
    snprintf(path, sizeof path, "%s/cpu.max", folder);
    FILE *file = fopen(path, "r");
    if (file) {
        fields = fscanf(file, "%lld %lld", &quota, &period);
        fclose(file);
    } else {
        snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", folder);
        if ((file = fopen(path, "r"))) {
            fields = fscanf(file, "%lld", &quota);
            fclose(file);
        }
        snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
        if ((file = fopen(path, "r"))) {
            fields += fscanf(file, "%lld", &period);
            fclose(file);
        }
    }
    if (fields != 2 || quota <= 0 || period <= 0)
        return 0;
    const long long cpus = (quota + period - 1) / period;
    return cpus > 1 << 20 ? 0 : (int)cpus;
}

/* The smallest quota from the process's own control group up to the root. */
static int quota_count(void)
{
    FILE *file = fopen("/proc/self/cgroup", "r");
    if (!file)
        return 0;
    int least = 0;
    char line[1024];
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group)
            continue;
        *group++ = 0;
        controllers++;
        const char *root;
        if (!*controllers)
            root = "/sys/fs/cgroup";
        else if (strstr(controllers, "cpu") && !strstr(controllers, "cpuset"))
            root = "/sys/fs/cgroup/cpu";
        else
            continue;
        for (;;) {
            char folder[1200];
            snprintf(folder, sizeof folder, "%s%s", root, group);
            const int quota = quota_of(folder);
            if (quota && (!least || quota < least))
                least = quota;
            char *slash = strrchr(group, '/');
            if (!slash)
                break;
            *slash = 0;
        }
    }
    fclose(file);
    return least;
}

#else

int fo_current_cpu(void)
{
    return -1;
}

unsigned long long fo_cpus_of_caller(void)
{
    return 0;
}

void fo_keep_off(fo_thread thread, int cpu)
{
    (void)thread, (void)cpu;
}

static int quota_count(void)
{
    return 0;
}

#if defined(_WIN32)
#include <windows.h>

static int affinity_count(void)
{
    DWORD_PTR process, system;
    if (!GetProcessAffinityMask(GetCurrentProcess(), &process, &system))
        return 0;
    /* Windows reports zero masks for a process whose CPUs do not fit into one mask. */
    return process ? __builtin_popcountll(process)
                   : (int)GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
}

#else
#include <unistd.h>

static int affinity_count(void)
{
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 0;
}

#endif
#endif

int fo_cpu_count(void)
{
    const int affinity = affinity_count(), quota = quota_count();
    int count = affinity ? affinity : 1;
    if (quota && quota < count)
        count = quota;
    return count;
}
