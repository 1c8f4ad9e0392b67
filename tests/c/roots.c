/* The square root by multiplications (csrc/simd.h) against the divider's: every float there is, and
 * refined from any estimate that is as good as the instruction's is specified to be. */
#include "kernel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef FO_TEMPLATE
#define FO_TEMPLATE "../tests/c/roots.c"
#include "instances.h"

int main(void)
{
#if FO_AVX
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")) {
        check_every_float_avx512_f32();
        check_every_estimate_avx512_f32();
        const unsigned denormals_are_zero = 1 << 6;
        _mm_setcsr(_mm_getcsr() | _MM_FLUSH_ZERO_ON | denormals_are_zero);
        check_every_float_avx512_f32();
        return 0;
    }
#endif
    puts("no such root on this CPU");
    return 0;
}

#elif FO_HAS_MULTIPLIED_ROOT

static void compare(__m512 root, __m512 expected, unsigned bits)
{
    if (memcmp(&root, &expected, sizeof root)) {
        printf("other bits from one of the 16 floats at %08x\n", bits);
        exit(1);
    }
}

static __m512 floats_at(unsigned bits)
{
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return (__m512)_mm512_add_epi32(_mm512_set1_epi32((int)bits), lanes);
}

static void FO_NAME(check_every_float)(void)
{
    unsigned bits = 0;
    do {
        const __m512 x = floats_at(bits);
        compare((__m512)multiplied_root((vec)x), _mm512_sqrt_ps(x), bits);
        bits += 16;
    } while (bits);
    printf("4294967296 floats: equal bits%s\n",
           _mm_getcsr() & _MM_FLUSH_ZERO_ON ? ", subnormal numbers flushed to zero" : "");
}

/* The instruction's relative error is below 2^-14. One binade of each parity stands for all: other
 * exponents only shift the numbers. */
static void FO_NAME(check_every_estimate)(void)
{
    enum { STEPS = 32 };
    for (int step = -STEPS; step <= STEPS; step++) {
        const __m512 off = _mm512_set1_ps(1 + (float)step / STEPS / (1 << 14));
        for (unsigned bits = 0x3f800000; bits < 0x40800000; bits += 16) {
            const __m512 x = floats_at(bits), root = _mm512_sqrt_ps(x);
            const __m512 estimate = off / root;
            compare(FO_NAME(refine_root)(x, estimate), root, bits);
        }
    }
    printf("16777216 floats, %d estimates of each: equal bits\n", 2 * STEPS + 1);
}

#endif
