/* What this CPU and system can run, and the choice. */
#include "build.h"

#include "fastopt.h"
#include "isa.h"

#include <stdio.h>
#include <string.h>

#if FO_HAS_AVX
#include <cpuid.h>
#endif

static const char *const isa_names[] = {
    [FO_ISA_BASELINE] = "baseline",
    [FO_ISA_AVX2] = "avx2",
    [FO_ISA_AVX512] = "avx512",
    [FO_ISA_NEON] = "neon",
};
_Static_assert(sizeof isa_names / sizeof *isa_names == FO_ISA_COUNT,
               "each instruction set has a name");

static fo_isa_index available[FO_ISA_COUNT];
static int available_count;
static fo_isa_index in_use;

#if FO_HAS_AVX
/* The register states that the system saves when it switches threads. A register that it does not save cannot
 * be used, though the CPU has it. */
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
#if FO_HAS_AVX
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

void fo_isa_choose(const char *wanted, char *error, size_t size)
{
    probe();
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
    snprintf(error, size, "FASTOPT_ISA is '%.40s', but this CPU and system can run only: %s",
             wanted, list);
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
