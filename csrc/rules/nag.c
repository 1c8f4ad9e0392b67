/* Nesterov's accelerated gradient.
 *
 *     b = mu*b + g
 *     p = p - lr*(g + mu*b)
 *
 * Y. Nesterov, 1983, as I. Sutskever et al. (ICML 2013) write it, in the variables of the look-ahead
 * point: the classical form takes the gradient at p - mu*v, and p here is that point. */
#ifndef FO_FORMULA

#include "kernel.h"

enum { LR, MU, COEFFICIENTS };

static void coefficients(const fo_hyper *hyper, uint64_t step, double *c)
{
    (void)step;
    c[LR] = hyper->lr;
    c[MU] = hyper->momentum;
}

#define FO_KERNEL nag
#define FO_FILE "rules/nag.c"
#include "rule.h"

#else

FO_INLINE void update(vec *p, vec g, vec *state, const scalar *c, int with_optional)
{
    (void)with_optional;
    vec *b = &state[0];
    *b = c[MU] * *b + g;
    *p = *p - c[LR] * (g + c[MU] * *b);
}

#endif
