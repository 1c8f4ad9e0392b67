/* Adamax.
 *
 *     m = beta1*m + (1-beta1)*g
 *     u = max(beta2*u, |g| + eps)
 *     p = p - (A*m)/u
 *
 *     A = lr/(1-beta1**t)
 *
 * D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015, section 7.1; eps, which
 * the paper does not have, is where torch has it.
 *
 * When to use it: in place of Adam where few elements have a gradient at each step, as in embeddings: the
 * largest gradient of an element is forgotten slowly, and no root is taken. */
#ifndef FO_FORMULA

#include "kernel/kernel.h"

enum { BETA1, ONE_MINUS_BETA1, BETA2, EPS, A, COEFFICIENTS };

static void coefficients(const fo_hyper *hyper, uint64_t step, double *c)
{
    c[BETA1] = hyper->beta1;
    c[ONE_MINUS_BETA1] = 1 - hyper->beta1;
    c[BETA2] = hyper->beta2;
    c[EPS] = hyper->eps;
    c[A] = hyper->lr / (1 - fo_power(hyper->beta1, step));
}

#define FO_KERNEL adamax
#define FO_FILE "rules/adamax.c"
#define FO_ROOT_COST FO_NO_ROOT
#define FO_ONE_INSTANCE 1
#include "kernel/rule.h"

#else

FO_INLINE vec update(vec g, vec *state, FO_UNUSED vec *const *optional, const scalar *c)
{
    vec *m = &state[0], *u = &state[1];
    *m = c[BETA1] * *m + c[ONE_MINUS_BETA1] * g;
    *u = maximum(c[BETA2] * *u, absolute(g) + c[EPS]);
    return (c[A] * *m) / *u;
}

#endif
