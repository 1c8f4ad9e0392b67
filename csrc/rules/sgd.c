/* Gradient descent.
 *
 *     p = p - lr*g
 *
 * When to use it: as a baseline. It keeps no state, so it costs least, and suits models that are too large or
 * too many for a state. */
#ifndef FO_FORMULA

#include "kernel/kernel.h"

enum { LR, COEFFICIENTS };

static void coefficients(const fo_hyper *hyper, FO_UNUSED uint64_t step, double *c)
{
    c[LR] = hyper->lr;
}

#define FO_KERNEL sgd
#define FO_ALWAYS 1 /* Averages and row-wise steps are its steps. */
#define FO_FILE "rules/sgd.c"
#define FO_ROOT_COST FO_NO_ROOT
#include "kernel/rule.h"

#else

FO_INLINE vec update(vec g, FO_UNUSED vec *state, FO_UNUSED vec *const *optional, const scalar *c)
{
    return c[LR] * g;
}

#endif
