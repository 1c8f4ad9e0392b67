/* Compiles the file FO_TEMPLATE once for every instruction set and compute type. Between here and the
 * template lie names.h, which makes each name one of this instance, and the vocabulary of simd.h and
 * formats.h.
 *
 * A template is included several times in one source rather than compiled several times: then a rule is
 * one file, and building the library needs no build system that knows which flags go with which
 * object. */
#define FO_NAME(name) FO_CAT(name, FO_CAT(FO_ISA, FO_COMPUTE))
#define FO_INLINE static inline __attribute__((always_inline, unused))
/* What a FO_WHOLE function calls becomes a part of it, and a FO_PART function is called by these alone. GCC compiles an
 * always_inline function for itself too, before it copies it to where it is called: if large ones call each other, it
 * compiles all of it many times. Parts are copied once. Clang's flatten goes only one call deep. */
#if defined(__clang__)
#define FO_PART FO_INLINE
#define FO_WHOLE static __attribute__((noinline))
#else
#define FO_PART static inline __attribute__((unused))
#define FO_WHOLE static __attribute__((noinline, flatten))
#endif

#if defined(__x86_64__)
/* GCC reads the header twice as fast without the options of build.h, which it notes at each function. They
 * concern arithmetic that is written with operators, and no intrinsic here is. */
#if !defined(__clang__)
#pragma GCC push_options
#pragma GCC reset_options
#endif
#if FO_HAS_AVX
#include <immintrin.h>
#else
#include <emmintrin.h> /* all that SSE2 needs, and far less to read */
#endif
#if !defined(__clang__)
#pragma GCC pop_options
#endif
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

/* What simd.h is written in. */
#define FO_GENERIC 0
#define FO_SSE2 1
#define FO_AVX2 2
#define FO_AVX512 3
#define FO_NEON 4

#if defined(__aarch64__)
#define FO_ISA neon
#define FO_VOCABULARY FO_NEON
#elif defined(__x86_64__)
#define FO_ISA baseline
#define FO_VOCABULARY FO_SSE2
#else
#define FO_ISA baseline
#define FO_VOCABULARY FO_GENERIC
#endif
#define FO_VECTOR_BYTES 16
#if defined(__aarch64__)
#define FO_IN_REGISTERS 1
#else
#define FO_IN_REGISTERS 0
#endif
#include "kernel/instance.h"
#undef FO_IN_REGISTERS
#define FO_IN_REGISTERS 1

#if FO_HAS_AVX

/* Features are switched on for the functions between push and pop and for nothing else, so that no
 * instruction leaks into code that runs before the CPU has been asked. */
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif
#define FO_ISA avx2
#define FO_VOCABULARY FO_AVX2
#define FO_VECTOR_BYTES 32
#include "kernel/instance.h"
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
#define FO_VOCABULARY FO_AVX512
#define FO_VECTOR_BYTES 64
#include "kernel/instance.h"
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#define FO_ISAS(X, x)                                                                              \
    X(FO_ISA_BASELINE, baseline, x) X(FO_ISA_AVX2, avx2, x) X(FO_ISA_AVX512, avx512, x)
#elif defined(__aarch64__)
#define FO_ISAS(X, x) X(FO_ISA_NEON, neon, x)
#else
#define FO_ISAS(X, x) X(FO_ISA_BASELINE, baseline, x)
#endif
