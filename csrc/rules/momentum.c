/* Gradient descent with momentum.
 *
 *     b = momentum*b + (1-dampening)*g
 *     p = p - lr*b
 *
 * B. T. Polyak, "Some methods of speeding up the convergence of iteration methods", 1964, in the
 * variables of torch: the buffer holds a sum of gradients, not of steps. Where the steps are counted,
 * the first is taken without dampening, as torch does.
 *
 * When to use it: for convolutional networks, where it is the custom, with a schedule of lr; and where only
 * one state fits. */
#ifndef FO_FORMULA

#include "kernel/kernel.h"

enum { LR, MU, ONE_MINUS_DAMPENING, COEFFICIENTS };

static void coefficients(const fo_hyper *hyper, uint64_t step, double *c)
{
    c[LR] = hyper->lr;
    c[MU] = hyper->momentum;
    c[ONE_MINUS_DAMPENING] = step == 1 ? 1 : 1 - hyper->dampening;
}

#define FO_KERNEL momentum
#define FO_FILE "rules/momentum.c"
#define FO_ROOT_COST FO_NO_ROOT
#define FO_CAUTIOUS 1
#include "kernel/rule.h"

#else

FO_INLINE vec update(vec g, vec *state, FO_UNUSED vec *const *optional, const scalar *c)
{
    vec *b = &state[0];
    *b = c[MU] * *b + c[ONE_MINUS_DAMPENING] * g;
    return c[LR] * *b;
}

#endif
