/* AdEMAMix.
 *
 *     m = beta1*m + (1-beta1)*g
 *     s = beta3*s + (1-beta3)*g
 *     v = beta2*v + (1-beta2)*(g*g)
 *     p = p - (A*m + B*s)/(sqrt(v) + E)
 *
 *     A = lr*sqrt(1-beta2**t)/(1-beta1**t)
 *     B = lr*sqrt(1-beta2**t)*slow_weight
 *     E = eps*sqrt(1-beta2**t)
 *
 * M. Pagliardini, P. Ablin and D. Grangier, "The AdEMAMix optimizer: better, faster, older", ICLR 2025;
 * slow_weight is their alpha. The slow average s has no bias correction, and weight decay is decoupled. Their
 * schedules of alpha and beta3 are the caller's: both may be changed in param_groups between steps.
 *
 * When to use it: in place of AdamW in long runs of tens of thousands of steps, at the cost of a third state. */
#ifndef FO_FORMULA

#include "kernel/kernel.h"

#include <math.h>

enum {
    BETA1,
    ONE_MINUS_BETA1,
    BETA2,
    ONE_MINUS_BETA2,
    BETA3,
    ONE_MINUS_BETA3,
    A,
    B,
    E,
    COEFFICIENTS
};

static void coefficients(const fo_hyper *hyper, uint64_t step, double *c)
{
    const double root = sqrt(1 - fo_power(hyper->beta2, step));
    c[BETA1] = hyper->beta1;
    c[ONE_MINUS_BETA1] = 1 - hyper->beta1;
    c[BETA2] = hyper->beta2;
    c[ONE_MINUS_BETA2] = 1 - hyper->beta2;
    c[BETA3] = hyper->beta3;
    c[ONE_MINUS_BETA3] = 1 - hyper->beta3;
    c[A] = hyper->lr * root / (1 - fo_power(hyper->beta1, step));
    c[B] = hyper->lr * root * hyper->slow_weight;
    c[E] = hyper->eps * root;
}

#define FO_KERNEL ademamix
#define FO_FILE "rules/ademamix.c"
#define FO_ROOT_COST FO_MODERATE
#define FO_ONE_IN_DOUBLE 1
#include "kernel/rule.h"

#else

FO_INLINE vec update(vec g, vec *state, FO_UNUSED vec *const *optional, const scalar *c)
{
    vec *m = &state[0], *s = &state[1], *v = &state[2];
    *m = c[BETA1] * *m + c[ONE_MINUS_BETA1] * g;
    *s = c[BETA3] * *s + c[ONE_MINUS_BETA3] * g;
    *v = c[BETA2] * *v + c[ONE_MINUS_BETA2] * (g * g);
    return (c[A] * *m + c[B] * *s) / (square_root(*v) + c[E]);
}

#endif
