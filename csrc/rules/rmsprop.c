/* RMSprop.
 *
 *     v = alpha*v + (1-alpha)*(g*g)
 *     p = p - (lr*g)/(sqrt(v) + eps), or with eps_inside p = p - (lr*g)/sqrt(v + eps)
 *
 * G. Hinton, "Neural networks for machine learning", lecture 6e, 2012; eps outside the root as in
 * torch, inside as in Keras. */
#ifndef FO_FORMULA

#include "kernel.h"

enum { LR, ALPHA, ONE_MINUS_ALPHA, EPS_INSIDE, EPS, COEFFICIENTS };

static void coefficients(const fo_hyper *hyper, uint64_t step, double *c)
{
    (void)step;
    c[LR] = hyper->lr;
    c[ALPHA] = hyper->alpha;
    c[ONE_MINUS_ALPHA] = 1 - hyper->alpha;
    fo_place_eps(hyper, &c[EPS_INSIDE], &c[EPS]);
}

/* Four multiplications, fewer than in Adam, leave room for every other root. */
#define FO_TURNS 2
#define FO_KERNEL rmsprop
#define FO_FILE "rules/rmsprop.c"
#include "rule.h"

#else

FO_INLINE void update(vec *p, vec g, vec *state, const scalar *c, int with_optional)
{
    (void)with_optional;
    vec *v = &state[0];
    *v = c[ALPHA] * *v + c[ONE_MINUS_ALPHA] * (g * g);
    *p = *p - (c[LR] * g) / (square_root(*v + c[EPS_INSIDE]) + c[EPS]);
}

#endif
