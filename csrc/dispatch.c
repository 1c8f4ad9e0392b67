/* What this CPU and system can run, what the environment asks for, and the tables of rules. */
#include "kernel.h"
#include "parallel.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if FO_AVX
#include <cpuid.h>
#endif

static const char *const isa_names[FO_ISA_COUNT] = {"baseline", "avx2", "avx512", "neon"};

static fo_isa_index available[FO_ISA_COUNT];
static int available_count;
static fo_isa_index in_use;
static char settings_error[400];

#if FO_AVX
/* The state components that the system saves when it switches threads: without them an instruction
 * that the CPU has would still be lost or refused. */
static unsigned saved_components(void)
{
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}
#endif

static void probe(void)
{
#if defined(__aarch64__)
    available[available_count++] = FO_ISA_NEON;
#else
    available[available_count++] = FO_ISA_BASELINE;
#endif
#if FO_AVX
    enum { YMM = 0x6, ZMM = 0xe6 };
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_AVX))
        return;
    const unsigned saved = saved_components();
    if ((saved & YMM) != YMM || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_AVX2))
        return;
    available[available_count++] = FO_ISA_AVX2;
    const unsigned needed = bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL | bit_BMI2;
    if ((saved & ZMM) == ZMM && (b & needed) == needed)
        available[available_count++] = FO_ISA_AVX512;
#endif
}

static void list_available(char *text, size_t size)
{
    size_t used = 0;
    for (int i = 0; i < available_count; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s", i ? ", " : "",
                                 isa_names[available[i]]);
}

static void choose_isa(const char *wanted)
{
    in_use = available[available_count - 1];
    if (!wanted)
        return;
    for (int i = 0; i < available_count; i++)
        if (!strcmp(wanted, isa_names[available[i]])) {
            in_use = available[i];
            return;
        }
    char list[100];
    list_available(list, sizeof list);
    snprintf(settings_error, sizeof settings_error,
             "FASTOPT_ISA is '%.40s', but this CPU and system can run only: %s", wanted, list);
}

static void choose_threads(const char *wanted)
{
    if (wanted) {
        char *end;
        errno = 0;
        const long threads = strtol(wanted, &end, 10);
        if (*wanted && !*end && !errno && threads >= 1 && threads <= FO_MAX_THREADS) {
            fo_set_num_threads((int)threads);
            return;
        }
        snprintf(settings_error, sizeof settings_error,
                 "FASTOPT_NUM_THREADS is '%.40s', but must be an integer from 1 to %d", wanted,
                 FO_MAX_THREADS);
    }
    const int cpus = fo_cpu_count();
    fo_set_num_threads(cpus > FO_MAX_THREADS ? FO_MAX_THREADS : cpus);
}

__attribute__((constructor)) static void set_up(void)
{
    probe();
    choose_isa(getenv("FASTOPT_ISA"));
    choose_threads(getenv("FASTOPT_NUM_THREADS"));
}

fo_isa_index fo_isa_in_use(void)
{
    return in_use;
}

const char *fo_isa(void)
{
    return isa_names[in_use];
}

const char *fo_isa_available(int index)
{
    return index >= 0 && index < available_count ? isa_names[available[index]] : NULL;
}

const char *fo_settings_error(void)
{
    return settings_error[0] ? settings_error : NULL;
}

int fo_version(void)
{
    return FO_VERSION;
}

const char *fo_status_text(fo_status status)
{
    static const char *const texts[] = {
        [FO_OK] = "no error",
        [FO_BAD_RULE] = "there is no such rule",
        [FO_BAD_HYPER] = "a hyper-parameter is outside its domain",
        [FO_BAD_OPTION] = "an option is outside its domain",
        [FO_BAD_TENSOR] = "a tensor has a NULL buffer, an unknown dtype or an unknown group",
        [FO_BAD_STEP] = "step must be from 1 to 2^53",
        [FO_NO_MEMORY] = "out of memory",
        [FO_BAD_VERSION] = "the caller was compiled with the fastopt.h of another version",
    };
    return (unsigned)status < sizeof texts / sizeof *texts ? texts[status] : "unknown status";
}

#define FO_HYPER(name, domain) {#name, domain},
static const fo_hyper_info hyper_infos[] = {
#include "rules.def"
};

#define HYPERS(...) {__VA_ARGS__}
#define HYPER(name, value) {FO_##name, value, FO_COMMON}
#define REQUIRED(name) {FO_##name, NAN, FO_COMMON}
#define CLASS_ONLY(name, value) {FO_##name, value, FO_CLASS_ONLY}
#define CALL_ONLY(name, value) {FO_##name, value, FO_CALL_ONLY}
#define FIXED(name, value) {FO_##name, value, FO_FIXED}
#define FO_RULE(name, class_name, kernel, states, optional, initial, step, hypers)                 \
    static const fo_hyper_entry hypers_of_##name[] = hypers;
#include "rules.def"

#define STATES(...) {__VA_ARGS__}
#define OPTIONAL(state, flag) state, flag
#define NO_OPTIONAL NULL, NULL
#define INITIAL(name) name
#define NO_INITIAL NULL
#define STEP 1
#define NO_STEP 0
#define FO_RULE(name, class_name, kernel, states, optional, initial, step, hypers)                 \
    {#name,                                                                                        \
     #class_name,                                                                                  \
     #kernel,                                                                                      \
     states,                                                                                       \
     FO_STATES_##name,                                                                             \
     optional,                                                                                     \
     initial,                                                                                      \
     step,                                                                                         \
     hypers_of_##name,                                                                             \
     sizeof hypers_of_##name / sizeof(fo_hyper_entry)},
static const fo_rule_info rule_infos[] = {
#include "rules.def"
};

#define FO_RULE(name, class_name, kernel, ...) &fo_kernel_##kernel,
const fo_kernel *const fo_kernels[FO_RULE_COUNT] = {
#include "rules.def"
};

const fo_rule_info *fo_rule_describe(fo_rule rule)
{
    return (unsigned)rule < FO_RULE_COUNT ? &rule_infos[rule] : NULL;
}

const fo_hyper_info *fo_hyper_describe(fo_hyper_index index)
{
    return (unsigned)index < FO_HYPER_COUNT ? &hyper_infos[index] : NULL;
}

fo_status fo_defaults_abi(uint64_t abi, fo_rule rule, fo_hyper *hyper)
{
    if (abi != FO_ABI)
        return FO_BAD_VERSION;
    const fo_rule_info *info = fo_rule_describe(rule);
    if (!info)
        return FO_BAD_RULE;
    *hyper = (fo_hyper){.grad_scale = 1.0};
    for (int i = 0; i < info->hyper_count; i++)
        ((double *)hyper)[info->hypers[i].index] = info->hypers[i].value;
    return FO_OK;
}

fo_status fo_check_hyper_abi(uint64_t abi, const fo_group *group, int *bad)
{
    if (abi != FO_ABI)
        return FO_BAD_VERSION;
    const fo_rule_info *info = fo_rule_describe(group->rule);
    if (!info)
        return FO_BAD_RULE;
    for (int i = 0; i < info->hyper_count; i++) {
        const fo_hyper_entry *entry = &info->hypers[i];
        const double value = ((const double *)&group->hyper)[entry->index];
        int right = 0;
        switch (hyper_infos[entry->index].domain) {
        case FO_FINITE:
            right = isfinite(value);
            break;
        case FO_NONNEGATIVE:
            right = isfinite(value) && value >= 0;
            break;
        case FO_FRACTION:
            right = value >= 0 && value < 1;
            break;
        case FO_FLAG:
            right = value == 0 || value == 1;
            break;
        }
        if (entry->scope == FO_FIXED)
            right = value == entry->value;
        if (!right) {
            if (bad)
                *bad = entry->index;
            return FO_BAD_HYPER;
        }
    }
    return FO_OK;
}
