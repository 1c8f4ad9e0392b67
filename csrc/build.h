/* What every source includes first. Equal bits need IEEE arithmetic in the order that is written. This header
 * undoes flags that change it, where the compiler allows that, and refuses those that it can see. The
 * self-test of library.c catches the others when the library is loaded. */
#ifndef FO_BUILD_H
#define FO_BUILD_H

#if defined(__FAST_MATH__) || defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) ||     \
    (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error                                                                                             \
    "fast-math breaks the promise of equal bits: compile without -Ofast, -ffast-math and its parts"
#endif

/* Before any header: with -std=c11 those of the system would hide what is not C itself. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

/* Before any header, so that intrinsics and the functions that they are inlined into agree. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#pragma clang fp reassociate(off)
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off", "no-associative-math", "no-reciprocal-math",               \
                     "no-unsafe-math-optimizations", "signed-zeros", "no-math-errno")
#endif

/* A function that runs when the library is loaded, and before the constructors of C++ objects: linked with the static
 * library, these may step. */
#define FO_WHEN_LOADED __attribute__((constructor(101)))

#endif
