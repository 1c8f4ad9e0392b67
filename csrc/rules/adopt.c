/* ADOPT.
 *
 *     n = clip(g/max(sqrt(v), eps), -C, C)
 *     m = beta1*m + (1-beta1)*n
 *     v = beta2*v + (1-beta2)*(g*g)
 *     p = p - lr*m
 *
 *     C = (t-1)**0.25; at t = 1, v = g*g and m stays as it is
 *
 * S. Taniguchi et al., "ADOPT: modified Adam can converge with any beta2 with the optimal rate", NeurIPS
 * 2024, clipped as in optax. The gradient is divided by the average of those before it. The first
 * step begins that average, and moves nothing.
 *
 * When to use it: in place of Adam where that diverges, or only converges with a beta2 found by search. */
#ifndef FO_FORMULA

#include "kernel/kernel.h"

#include <math.h>

enum { LR, BETA1, ONE_MINUS_BETA1, BETA2, ONE_MINUS_BETA2, EPS, LIMIT, COEFFICIENTS };

static void coefficients(const fo_hyper *hyper, uint64_t step, double *c)
{
    const double beta1 = step == 1 ? 1 : hyper->beta1, beta2 = step == 1 ? 0 : hyper->beta2;
    c[LR] = hyper->lr;
    c[BETA1] = beta1;
    c[ONE_MINUS_BETA1] = 1 - beta1;
    c[BETA2] = beta2;
    c[ONE_MINUS_BETA2] = 1 - beta2;
    /* What the first step divides is clipped to 0. Its divisor must not be 0, which eps may be. */
    c[EPS] = step == 1 ? 1 : hyper->eps;
    c[LIMIT] = sqrt(sqrt((double)(step - 1)));
}

#define FO_KERNEL adopt
#define FO_FILE "rules/adopt.c"
#define FO_ROOT_COST FO_MODERATE
#define FO_ONE_IN_DOUBLE 1
#define FO_NARROW_IN_TILES 1
#include "kernel/rule.h"

#else

FO_INLINE vec update(vec g, vec *state, FO_UNUSED vec *const *optional, const scalar *c)
{
    vec *m = &state[0], *v = &state[1];
    const vec zero = {0}, limit = zero + c[LIMIT], root = square_root(*v);
    const vec n = g / where(root < c[EPS], zero + c[EPS], root);
    const vec clipped = where(n > limit, limit, where(n < -limit, -limit, n));
    *m = c[BETA1] * *m + c[ONE_MINUS_BETA1] * clipped;
    *v = c[BETA2] * *v + c[ONE_MINUS_BETA2] * (g * g);
    return c[LR] * *m;
}

#endif
