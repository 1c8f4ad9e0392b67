/* RMSprop.
 *
 *     v = alpha*v + (1-alpha)*(g*g)
 *     p = p - (lr*g)/(sqrt(v) + eps), or with eps_inside p = p - (lr*g)/sqrt(v + eps)
 *
 * G. Hinton, "Neural networks for machine learning", lecture 6e, 2012; eps outside the root as in
 * torch, inside as in Keras. */
#ifndef FO_FORMULA

#include "kernel/kernel.h"

enum { LR, ALPHA, ONE_MINUS_ALPHA, EPS_INSIDE, EPS, COEFFICIENTS };

static void coefficients(const fo_hyper *hyper, FO_UNUSED uint64_t step, double *c)
{
    c[LR] = hyper->lr;
    c[ALPHA] = hyper->alpha;
    c[ONE_MINUS_ALPHA] = 1 - hyper->alpha;
    fo_place_eps(hyper, &c[EPS_INSIDE], &c[EPS]);
}

#define FO_KERNEL rmsprop
#define FO_FILE "rules/rmsprop.c"
#define FO_ROOT_COST FO_LIGHT
#include "kernel/rule.h"

#else

FO_INLINE vec update(vec g, vec *state, FO_UNUSED vec *optional, const scalar *c)
{
    vec *v = &state[0];
    *v = c[ALPHA] * *v + c[ONE_MINUS_ALPHA] * (g * g);
    return (c[LR] * g) / (square_root(*v + c[EPS_INSIDE]) + c[EPS]);
}

#endif
