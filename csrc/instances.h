/* Compiles the file FO_TEMPLATE once for every instruction set and dtype. The template finds the
 * SIMD vocabulary of simd.h, and names what it defines with FO_NAME. */
#define FO_CAT_(a, b) a##_##b
#define FO_CAT(a, b) FO_CAT_(a, b)
#define FO_NAME(name) FO_CAT(name, FO_CAT(FO_ISA, FO_DTYPE))
#define FO_INLINE static inline __attribute__((always_inline, unused))

#if defined(__FAST_MATH__)
#error "fast-math breaks the promise of equal bits"
#endif
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__aarch64__)
#define FO_ISA neon
#define FO_VECTOR_BYTES 16
#include "dtypes.h"
#else
#define FO_ISA baseline
#define FO_VECTOR_BYTES 16
#include "dtypes.h"
#endif

#if FO_AVX

/* Features are switched on for the functions between push and pop and for nothing else, so that no
 * instruction leaks into code that runs before the CPU has been asked. Neither set includes FMA by
 * itself; contraction must be off all the same, since AVX-512 brings its own. */
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif
#define FO_ISA avx2
#define FO_VECTOR_BYTES 32
#include "dtypes.h"
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,bmi2"))),   \
                             apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,bmi2")
#endif
#define FO_ISA avx512
#define FO_VECTOR_BYTES 64
#include "dtypes.h"
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#define FO_ISAS(X) X(FO_ISA_BASELINE, baseline) X(FO_ISA_AVX2, avx2) X(FO_ISA_AVX512, avx512)
#elif defined(__aarch64__)
#define FO_ISAS(X) X(FO_ISA_NEON, neon)
#else
#define FO_ISAS(X) X(FO_ISA_BASELINE, baseline)
#endif
