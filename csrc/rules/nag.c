/* Nesterov's accelerated gradient.
 *
 *     b = momentum*b + g
 *     p = p - lr*(g + momentum*b)
 *
 * Y. Nesterov, 1983, as I. Sutskever et al. (ICML 2013) write it, in the variables of the look-ahead
 * point: the classical form takes the gradient at p - momentum*v, and p here is that point.
 *
 * When to use it: in place of Momentum where that overshoots. */
#ifndef FO_FORMULA

#include "kernel/kernel.h"

enum { LR, MU, COEFFICIENTS };

static void coefficients(const fo_hyper *hyper, FO_UNUSED uint64_t step, double *c)
{
    c[LR] = hyper->lr;
    c[MU] = hyper->momentum;
}

#define FO_KERNEL nag
#define FO_ALWAYS 1 /* For the test of library.c. */
#define FO_FILE "rules/nag.c"
#define FO_ROOT_COST FO_NO_ROOT
#define FO_CAUTIOUS 1
#include "kernel/rule.h"

#else

FO_INLINE vec update(vec g, vec *state, FO_UNUSED vec *const *optional, const scalar *c)
{
    vec *b = &state[0];
    *b = c[MU] * *b + g;
    return c[LR] * (g + c[MU] * *b);
}

#endif
