/* Adadelta.
 *
 *     v = rho*v + (1-rho)*(g*g)
 *     d = sqrt((u+eps)/(v+eps))*g
 *     u = rho*u + (1-rho)*(d*d)
 *     p = p - lr*d
 *
 * M. D. Zeiler, "ADADELTA: an adaptive learning rate method", arXiv 1212.5701. The average u of the
 * squared updates is the old one, the average v of the squared gradients the new one. lr is not in the
 * paper (there it is 1) and is not part of the updates that u averages.
 *
 * When to use it: where no learning rate is to be chosen: lr=1 suits most problems. It starts slowly. */
#ifndef FO_FORMULA

#include "kernel/kernel.h"

enum { LR, RHO, ONE_MINUS_RHO, EPS, COEFFICIENTS };

static void coefficients(const fo_hyper *hyper, FO_UNUSED uint64_t step, double *c)
{
    c[LR] = hyper->lr;
    c[RHO] = hyper->rho;
    c[ONE_MINUS_RHO] = 1 - hyper->rho;
    c[EPS] = hyper->eps;
}

#define FO_KERNEL adadelta
#define FO_FILE "rules/adadelta.c"
#define FO_ROOT_COST FO_HEAVY
#define FO_ONE_IN_DOUBLE 1
#include "kernel/rule.h"

#else

FO_INLINE vec update(vec g, vec *state, FO_UNUSED vec *const *optional, const scalar *c)
{
    vec *v = &state[0], *u = &state[1];
    *v = c[RHO] * *v + c[ONE_MINUS_RHO] * (g * g);
    const vec d = square_root((*u + c[EPS]) / (*v + c[EPS])) * g;
    *u = c[RHO] * *u + c[ONE_MINUS_RHO] * (d * d);
    return c[LR] * d;
}

#endif
