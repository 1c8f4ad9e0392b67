/* Adagrad.
 *
 *     h = h + g*g
 *     p = p - (lr*g)/(sqrt(h) + eps), or with eps_inside p = p - (lr*g)/sqrt(h + eps)
 *
 * J. Duchi, E. Hazan and Y. Singer, JMLR 12 (2011).
 *
 * When to use it: for sparse features and embeddings, whose rare elements keep large steps. Steps only ever
 * shrink, so for long trainings of networks it stops too early. */
#ifndef FO_FORMULA

#include "kernel/kernel.h"

enum { LR, EPS_INSIDE, EPS, COEFFICIENTS };

static void coefficients(const fo_hyper *hyper, FO_UNUSED uint64_t step, double *c)
{
    c[LR] = hyper->lr;
    fo_place_eps(hyper, &c[EPS_INSIDE], &c[EPS]);
}

#define FO_KERNEL adagrad
#define FO_ALWAYS 1 /* For the test of library.c. */
#define FO_FILE "rules/adagrad.c"
#define FO_ROOT_COST FO_LIGHT
#define FO_ONE_IN_DOUBLE 1
#include "kernel/rule.h"

#else

FO_INLINE vec update(vec g, vec *state, FO_UNUSED vec *const *optional, const scalar *c)
{
    vec *h = &state[0];
    *h = *h + g * g;
    return (c[LR] * g) / (square_root(*h + c[EPS_INSIDE]) + c[EPS]);
}

#endif
