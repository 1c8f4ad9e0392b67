/* Gradient descent.
 *
 *     p = p - lr*g
 */
#ifndef FO_FORMULA

#include "kernel.h"

enum { LR, COEFFICIENTS };

static void coefficients(const fo_hyper *hyper, uint64_t step, double *c)
{
    (void)step;
    c[LR] = hyper->lr;
}

#define FO_KERNEL sgd
#define FO_FILE "rules/sgd.c"
#include "rule.h"

#else

FO_INLINE void update(vec *p, vec g, vec *state, const scalar *c, int with_optional)
{
    (void)with_optional;
    (void)state;
    *p = *p - c[LR] * g;
}

#endif
