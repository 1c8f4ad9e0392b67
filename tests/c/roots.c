/* The square root by multiplications (csrc/kernel/roots.h) against the divider's: every float there is, many
 * doubles at random, and whatever is hard to round from every estimate that the instruction may give. */
#include "build.h"

#include "kernel/kernel.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef FO_TEMPLATE
#define FO_TEMPLATE "../tests/c/roots.c"

/* How far root and h may be off before the last step, in units in the last place. A unit is at most 2u of
 * a number, u being half a unit of 1; so the sum is off by less than (3*3/2 + 3*8) 4u*u and, as the
 * remainder itself is rounded, 6u*u: by 120 u*u of it. */
enum { ROOT_UNITS = 3, H_UNITS = 8 };
/* Where sqrt(x) is that close to the middle M of two numbers, d = x - M*M is below 2*120 u*u*M*M, which is
 * 960, as M has one bit more than a number and so is below 2/u. */
enum { FARTHEST = 1023 };

/* The hard numbers with the given number of bits, scaled to between 1/4 and 1: M is odd and of bits + 1 bits,
 * and M*M + d is divisible by 2^(bits + 1), or by 2^(bits + 2) if it has one bit more. Odd squares are 1 modulo
 * 8, and every number that is 1 modulo 8 has four roots modulo any power of two. */
static int find_hard(int bits, double *hard)
{
    int count = 0;
    for (int t = bits + 1; t <= bits + 2; t++)
        for (int d = -FARTHEST; d <= FARTHEST; d++) {
            if ((-d & 7) != 1)
                continue;
            const unsigned __int128 square = (unsigned __int128)(__int128)-d;
            const unsigned long long modulus = 1ull << t;
            unsigned long long r = 1;
            for (int n = 3; n < t; n++)
                if (((unsigned __int128)r * r - square) >> n & 1)
                    r += 1ull << (n - 1);
            const unsigned long long roots[4] = {r, modulus - r, r + modulus / 2, modulus / 2 - r};
            for (int k = 0; k < 4; k++) {
                const unsigned long long middle = roots[k] % modulus;
                const unsigned __int128 x = (unsigned __int128)middle * middle - square;
                if (middle >> bits == 1 && x >> t >> (bits - 1) == 1)
                    hard[count++] = ldexp((double)(x >> t), t - 2 * bits - 2);
            }
        }
    return count;
}

static unsigned long long next_random(void)
{
    static unsigned long long state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

#include "kernel/instances.h"

int main(void)
{
#if FO_HAS_AVX
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")) {
        check_hard_avx512_f32();
        check_hard_avx512_f64();
        check_iteration_avx512_f32();
        check_iteration_avx512_f64();
        const unsigned flush = _MM_FLUSH_ZERO_ON, denormals_are_zero = 1 << 6;
        for (int mode = 0; mode < 2; mode++) {
            check_every_float_avx512_f32();
            check_random_avx512_f64();
            _mm_setcsr(_mm_getcsr() | flush | denormals_are_zero);
        }
        return 0;
    }
#endif
    puts("no such root on this CPU");
    return 0;
}

#else
#include "kernel/roots.h"
#if FO_HAS_MULTIPLIED_ROOT

#define check FO_NAME(check)
FO_INLINE void check(vec root, vec x)
{
    const vec expected = root_by_divider(x);
    if (memcmp(&root, &expected, sizeof root)) {
        for (size_t lane = 0; lane < LANES; lane++)
            printf("the root of %a: %a, not %a\n", (double)x[lane], (double)root[lane],
                   (double)expected[lane]);
        exit(1);
    }
}

static void FO_NAME(check_hard)(void)
{
    static double hard[8 * (2 * FARTHEST + 1)];
    const int count = find_hard(FO_DOUBLE ? 53 : 24, hard);
    long tried = 0;
    for (int i = 0; i < count; i++) {
        const vec x = (scalar)hard[i] + (vec){0};
        check(root_of(x, 1), x);
        const double exact = 1 / sqrt(hard[i]), off = 0x1p-14 + 0x1p-23;
        for (float estimate = (float)(exact * (1 - off)); estimate <= exact * (1 + off);
             estimate = nextafterf(estimate, INFINITY), tried++) {
            vec root, h;
            iterate_root(x, (scalar)estimate + (vec){0}, &root, &h);
            check(finish_root(x, root, h), x);
        }
    }
    printf("%d %s that are hard to round, %ld estimates: equal bits\n", count,
           FO_DOUBLE ? "doubles" : "floats", tried);
}

/* On numbers from 1 to 4; others are these, shifted. */
static void FO_NAME(check_iteration)(void)
{
    enum { VECTORS = 1 << 22 };
    int root_most = 0, h_most = 0;
    for (int i = 0; i < VECTORS; i++) {
        vec x, estimate;
        for (size_t lane = 0; lane < LANES; lane++) {
            x[lane] = (scalar)(1 + 3 * ((double)next_random() / 0x1p64));
            const double off = (2 * ((double)next_random() / 0x1p64) - 1) * 0x1p-14;
            estimate[lane] = (float)((1 + off) / sqrt(x[lane]));
        }
        vec root, h;
        iterate_root(x, estimate, &root, &h);
        const mask root_off = (mask)root - (mask)root_by_divider(x);
        const mask h_off = (mask)h - (mask)((scalar)0.5 / root_by_divider(x));
        for (size_t lane = 0; lane < LANES; lane++) {
            root_most = abs((int)root_off[lane]) > root_most ? abs((int)root_off[lane]) : root_most;
            h_most = abs((int)h_off[lane]) > h_most ? abs((int)h_off[lane]) : h_most;
        }
    }
    /* They are compared with rounded numbers. */
    if (root_most + 1 > ROOT_UNITS || h_most + 2 > H_UNITS) {
        printf("root off by %d units, h by %d\n", root_most, h_most);
        exit(1);
    }
}

#if FO_DOUBLE
static void FO_NAME(check_random)(void)
{
    enum { VECTORS = 1 << 23 };
    for (int i = 0; i < VECTORS; i++) {
        mask bits;
        for (size_t lane = 0; lane < LANES; lane++)
            bits[lane] = (long long)next_random();
        check(root_of((vec)bits, 1), (vec)bits);
        bits &= INT64_MAX;
        check(root_of((vec)bits, 1), (vec)bits);
    }
    puts("67108864 random doubles: equal bits");
}
#else
static void FO_NAME(check_every_float)(void)
{
    unsigned bits = 0;
    do {
        mask x;
        for (unsigned lane = 0; lane < LANES; lane++)
            x[lane] = (int)(bits + lane);
        check(root_of((vec)x, 1), (vec)x);
        bits += LANES;
    } while (bits);
    puts("4294967296 floats: equal bits");
}
#endif

#undef check
#endif
#endif
